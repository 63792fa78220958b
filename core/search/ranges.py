"""From what the user wrote to a `Space`: each range goes to the plugin that reads it."""

from collections.abc import Mapping
from typing import Any

from studio.errors import RangeError
from studio.host import Host
from studio.space import Choice, Constant, Parameter, Space


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
