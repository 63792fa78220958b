"""Colours of pictures and states against the page, as WCAG 2.2 measures contrast, in both themes."""

import re
from pathlib import Path

import pytest

import studio.dashboard

SHEET = (Path(studio.dashboard.__file__).parent / "static/colours.css").read_text()
LINES = (
    "done",
    "prune",
    "run-fill",
    "bad",
    "accent",
    *(f"c-{at}" for at in range(1, 9)),
    *(f"seq-{at}" for at in range(1, 5)),
)
TEXTS = ("ink", "ink-2", "ink-3", "accent", "best", "bad", "run", "seq-1")
LIGHT, DARK, SYSTEM = (
    dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in re.findall(r":root[^{]*{([^}]*)}", SHEET)
)


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    full = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(full[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(each * weight for each, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, LIGHT | DARK], ids=["light", "dark"])
def test_what_carries_information_can_be_seen(theme):
    """4.5 for texts and the best lines, 3 for other lines and points; from the best results to the worst it falls."""
    against = {name: contrast(theme[name], theme["surface"]) for name in (*TEXTS, *LINES)}
    assert {name: round(against[name], 2) for name in TEXTS if against[name] < 4.5} == {}
    assert {name: round(against[name], 2) for name in LINES if against[name] < 3} == {}
    order = [against[f"seq-{at}"] for at in range(1, 5)]
    assert order == sorted(order, reverse=True)


def test_the_systems_dark_theme_is_that_of_the_button():
    assert SYSTEM == DARK
