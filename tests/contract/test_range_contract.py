"""The built-in parsers keep the contract, and the suite catches parsers that do not."""

from types import ModuleType

import numpy as np
import pytest

import studio
from studio.plugins import grid_ranges, optimizer_ranges
from studio.space import Real
from studio.testing import RangeParserContract
from studio.testing.ranges import PUBLISHED


class TestGridRanges(RangeParserContract):
    plugin = grid_ranges
    grid = True
    texts = PUBLISHED[True]
    wrong = ["0:0:1", "1:l1:2", "1:nan", "2,,5", "0:-1:5"]

    # The two built-in parsers share the texts that both grammars have.
    test_leaves_other_texts_alone = None


class TestOptimizerRanges(RangeParserContract):
    plugin = optimizer_ranges
    texts = PUBLISHED[False]
    wrong = ["1:0", "0:1:a", "0:1:3", "0:1:ll", "-1:1:l", "0:1:x"]

    test_leaves_other_texts_alone = None


class Half(studio.Parameter):
    """Half of [0, 1], as a range text `half`."""

    def __init__(self, name):
        self.name = name

    def from_unit(self, u):
        return float(np.clip(u, 0, 1)[0]) / 2

    def to_unit(self, value):
        return np.array([value * 2])


def plugin(parse):
    """A plugin whose hook is `parse`."""

    @studio.hookimpl
    def studio_parse_range(name, text, grid):
        return parse(name, text, grid)

    module = ModuleType("plugin")
    module.studio_parse_range = studio_parse_range
    return module


def half(kind=Half):
    def parse(name, text, grid):
        if text == "half()":
            raise studio.StudioError("hyperparameter x=half(): write half")
        return kind(name) if text == "half" else None

    return parse


class TestHalf(RangeParserContract):
    plugin = plugin(half())
    texts = ["half"]
    wrong = ["half()"]


class Renamed(Half):
    def __init__(self, name):
        self.name = "y"


class Lossy(Half):
    def to_unit(self, value):
        return np.array([round(value * 2, 3)])


class NumpyScalars(Half):
    def from_unit(self, u):
        return np.float64(super().from_unit(u))


class Overflows(Half):
    def from_unit(self, u):
        return float(u[0]) / 2


def takes_everything(name, text, grid):
    return Real(name, 0.0, 1.0)


def swallows_errors(name, text, grid):
    return Half(name) if text.startswith("half") else None


def raises_anything(name, text, grid):
    if text == "half()":
        raise KeyError(text)
    return half()(name, text, grid)


def says_little(name, text, grid):
    if text == "half()":
        raise studio.StudioError("wrong")
    return half()(name, text, grid)


def last_in_line():
    @studio.hookimpl(trylast=True)
    def studio_parse_range(name, text, grid):
        return Half(name) if text == "0:1" else half()(name, text, grid)

    module = ModuleType("plugin")
    module.studio_parse_range = studio_parse_range
    return module


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (plugin(half(Renamed)), "test_reads_its_texts"),
        (plugin(lambda name, text, grid: None), "test_reads_its_texts"),
        (plugin(takes_everything), "test_leaves_other_texts_alone"),
        (plugin(swallows_errors), "test_wrong_texts_are_one_clear_line"),
        (plugin(raises_anything), "test_wrong_texts_are_one_clear_line"),
        (plugin(says_little), "test_wrong_texts_are_one_clear_line"),
        (plugin(half(Lossy)), "test_values_and_points_correspond"),
        (plugin(half(NumpyScalars)), "test_values_can_be_stored"),
        (plugin(half(Overflows)), "test_points_outside_are_clipped"),
        (last_in_line(), "test_leaves_other_texts_alone"),
    ],
)
def test_the_suite_catches(broken, promise):
    class Suite(RangeParserContract):
        plugin = broken
        texts = ["half"]
        wrong = ["half()"]

    with pytest.raises(AssertionError):
        getattr(Suite(), promise)()
