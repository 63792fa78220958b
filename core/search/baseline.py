"""The script's own values, which a search that is no grid begins with.

places, space --own_values--> name -> value, or why there are none
"""

import os
from collections.abc import Mapping
from typing import Any

from studio.errors import StudioError
from studio.script.constants import UNKNOWN
from studio.script.places import Place
from studio.space import Space
from studio.text import literal


def own_values(places: Mapping[str, Place], space: Space) -> tuple[dict[str, Any] | None, str]:
    """Return the values that the script has where those of `space` go; or None, and which of them is not known or no part
    of its range."""
    values: dict[str, Any] = {}
    for parameter in space:
        name, place = parameter.name, places.get(parameter.name)
        value = UNKNOWN if place is None else _today(place)
        if value is UNKNOWN:
            return None, f"no source shows the value of {name}"
        if place is not None and place.varies:
            return None, f"{name} has several values in {place.file}"
        for candidate in (value, literal(value)) if isinstance(value, str) else (value,):
            try:
                parameter.to_unit(candidate)
            except StudioError as error:
                reason = str(error)
                continue
            values[name] = candidate
            break
        else:
            return None, reason
    return space.checked(values), ""


def _today(place: Place) -> Any:
    return os.environ.get(place.name, place.value) if place.prefix == "env:" else place.value
