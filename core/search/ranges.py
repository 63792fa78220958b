"""From what the user wrote to a `Space`: each range goes to the plugin that reads it."""

from collections.abc import Iterable, Mapping
from typing import Any

from studio.errors import RangeError
from studio.host import Host
from studio.space import Choice, Constant, Parameter, Space


def split_hyperparams(texts: Iterable[str]) -> dict[str, str]:
    """`["lr=0.01:0.01:0.1"]` as `{"lr": "0.01:0.01:0.1"}`."""
    ranges: dict[str, str] = {}
    for text in texts:
        name, equals, range_text = text.partition("=")
        if not equals:
            raise RangeError(f"--hyperparam {text!r} is not NAME=RANGE; write for example lr=0.01:0.01:0.1")
        if name in ranges:
            raise RangeError(f"hyperparameter {name!r} is given twice; list its values as one range, like {name}=1,2,3")
        ranges[name] = range_text
    return ranges


def read_space(ranges: Mapping[str, Any], host: Host, *, grid: bool) -> Space:
    """The space of `ranges`: name -> range text, list of values, single value, or a ready `Parameter`."""
    return Space([_parameter(name, given, host, grid) for name, given in ranges.items()])


def _parameter(name: str, given: Any, host: Host, grid: bool) -> Parameter:
    if not isinstance(name, str) or not name.strip() or name != name.strip() or not name.isprintable() or "=" in name:
        raise RangeError(f"hyperparameter {name!r}={given}: name a variable, an option or another place, such as lr")
    if isinstance(given, Parameter):
        if given.name != name:
            raise RangeError(f"hyperparameter {name!r}: the parameter given for it is called {given.name!r}")
        return given
    if isinstance(given, str):
        return host.parse_range(name, given, grid=grid)
    if isinstance(given, list | tuple):
        return Choice(name, tuple(given)) if len(given) > 1 else Constant(name, _only(name, given))
    return Constant(name, given)


def _only(name: str, given: Any) -> Any:
    if not given:
        raise RangeError(f"hyperparameter {name!r}: an empty list of values")
    return given[0]
