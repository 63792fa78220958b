"""What an optimizer can take beyond a fitness. It says so by its methods; nothing is declared twice.

| ability       | an optimizer has it when                    | what comes                                              |
|---------------|---------------------------------------------|---------------------------------------------------------|
| `reports`     | it has a method `report`                    | each value of the metric while the experiment runs      |
| `cost`        | its `tell` has a parameter `cost`           | how long the experiment took, in seconds                |
| `constraints` | its `tell` has a parameter `constraints`    | a list of numbers, each at most 0 where it is satisfied |
| `objectives`  | its `tell` has a parameter `objectives`     | a list of fitnesses, the first one being `fitness`      |
| `failure`     | its `tell` has a parameter `failure`        | with fitness None, its class: memory, timeout, lost ... |
"""

import inspect
from collections.abc import Mapping
from typing import Any

from studio.errors import BadInput
from studio.experiment import FAILURES
from studio.interfaces import Optimizer

TOLD = ("cost", "constraints", "objectives", "failure")  # those that come with `tell`


def abilities_of(optimizer: type[Optimizer]) -> frozenset[str]:
    """The optional abilities of an optimizer class."""
    parameters = inspect.signature(optimizer.tell).parameters
    found = {name for name in TOLD if name in parameters}
    return frozenset(found | {"reports"} if callable(getattr(optimizer, "report", None)) else found)


def require(optimizer: type[Optimizer], ability: str) -> None:
    """BadInput where `optimizer` lacks an ability that the search needs."""
    if ability not in abilities_of(optimizer):
        has = ", ".join(sorted(abilities_of(optimizer))) or "none"
        raise BadInput(
            f"optimizer {optimizer.name} does not take {ability} (it has of the optional abilities: {has}); "
            "`studio plugins` shows which do"
        )


def checked_extras(optimizer: type[Optimizer], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is told beside the fitness, as the journal keeps it."""
    extras = {}
    for name, value in given.items():
        if value is not None:
            require(optimizer, name)
            extras[name] = plain_extra(name, value)
    return extras


def plain_extra(name: str, value: Any) -> Any:
    if name == "failure":
        if value not in FAILURES:
            raise BadInput(f"failure={value!r} is no class of failure; there are {', '.join(FAILURES)}")
        return value
    return float(value) if name == "cost" else [float(item) for item in value]
