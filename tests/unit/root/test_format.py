"""Numbers, times, money and sizes as text; the browser's formatters are held to the same cases in `tests/dashboard`."""

import json
import math
from pathlib import Path

import pytest

from studio import format as shown

CASES = json.loads((Path(__file__).parents[2] / "data/shown.json").read_text())
FORMATTERS = {
    "number": shown.number,
    "value": shown.short,
    "duration": shown.duration,
    "about": shown.about,
    "money": shown.money,
    "size": shown.byte_size,
}


@pytest.mark.parametrize("family", FORMATTERS)
def test_values_have_one_form(family: str) -> None:
    assert [(given, FORMATTERS[family](given)) for given, _ in CASES[family]] == [tuple(case) for case in CASES[family]]


def test_counts_have_their_noun() -> None:
    assert [shown.counted(count, noun) for count, noun, _ in CASES["counted"]] == [
        text for *_, text in CASES["counted"]
    ]


@pytest.mark.parametrize(("values", "sign", "low", "high", "log"), CASES["range"])
def test_outliers_are_clipped_by_one_rule(values, sign, low, high, log) -> None:
    assert shown.visible_range(values, sign) == (pytest.approx(low), pytest.approx(high), log)


def test_states_are_counted_in_one_order() -> None:
    assert shown.counts({"pruned": 16, "completed": 1075, "failed": 0}) == "1,075 completed, 16 pruned"


@pytest.mark.parametrize(
    ("passed", "text"), [(59, "just now"), (3599, "59 min ago"), (84_960, "23 h ago"), (138_240, "1 d ago")]
)
def test_ages_are_not_rounded_up(passed, text, monkeypatch) -> None:
    monkeypatch.setattr(shown.time, "time", lambda: 1e9)
    assert shown.age(1e9 - passed) == text


def test_what_json_cannot_say_is_null() -> None:
    assert shown.finite({"a": [1.0, math.nan, (math.inf,)], "b": "nan"}) == {"a": [1.0, None, [None]], "b": "nan"}
