"""How numbers of a column stand below each other; static/format.js is held to the same cases by the browser's tests."""

import json
from pathlib import Path

import pytest

from studio.dashboard.columns import column_form, place_class
from studio.format import number

CASES = json.loads((Path(__file__).parents[1] / "data/shown.json").read_text())["column"]


@pytest.mark.parametrize(("values", "places", "wide", "classes"), CASES)
def test_points_stand_below_each_other(values, places, wide, classes):
    assert column_form(iter(values)) == (places, wide)
    assert [f"w{wide}" + place_class(number(value), places) for value in values] == classes
    shown = [number(value) for value in values if value is not None]
    for text, given in zip(shown, classes, strict=False):
        if "e" in text or not places:
            continue
        moved = next((int(each[1:]) for each in given.split() if each[0] == "a"), 0)
        assert len(text.partition(".")[2]) + moved == places
