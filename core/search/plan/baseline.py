"""Values known before the first suggestion.

places, space --own_values--> the script's own values, with which a search that is no grid begins
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from studio.errors import BadInput, StudioError
from studio.experiment import Failure
from studio.script.constants import UNKNOWN
from studio.script.places import Place
from studio.space import Constant, Parameter, Space
from studio.text import parse_literal

# values for all names and their fitness; or None, and the class of their failure
Known = tuple[dict[str, Any], float | None, Failure]


def own_values(places: Mapping[str, Place], space: Space) -> tuple[dict[str, Any] | None, str]:
    """Return the values that the script has where those of `space` go; or None, and which of them is not known.

    Raises BadInput for a value that is no part of its range.
    """
    values: dict[str, Any] = {}
    for parameter in space:
        name, place = parameter.name, places.get(parameter.name)
        if isinstance(parameter, Constant) and not isinstance(parameter.value, np.ndarray):
            values[name] = parameter.value  # asked for, whatever the script has
            continue
        value = UNKNOWN if place is None else value_today(place)
        if value is UNKNOWN:
            return None, f"no source shows the value of {name}"
        if place is not None and place.varies:
            return None, f"{name} has several values in {place.file}"
        values[name] = within_range(parameter, value)
    return space.checked(values), ""


def within_range(parameter: Parameter, value: Any) -> Any:
    """Return `value`, or what its text means, as a value of `parameter`. BadInput if it is outside the range."""
    outside = BadInput(f"hyperparameter {parameter.name}: no value")
    for candidate in (value, parse_literal(value)) if isinstance(value, str) else (value,):
        try:
            parameter.to_unit(candidate)
        except StudioError as error:  # a plugin's range need not say which
            outside = BadInput(str(error))
            continue
        return candidate
    raise outside


def value_today(place: Place) -> Any:
    return os.environ.get(place.name, place.value) if place.prefix == "env:" else place.value
