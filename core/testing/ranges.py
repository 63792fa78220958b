"""Contract tests of range parsers. Under pytest:

from studio.testing.ranges import RangeParserContract
import my_plugin

class TestMine(RangeParserContract):
    plugin = my_plugin                  # the module with your @studio.hookimpl
    texts = ["normal(0,1)"]             # ranges that it parses
    wrong = ["normal(0)", "normal(,)"]  # ranges of its own with an error
    grid = False                        # the grammar
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pluggy

from studio import hookspecs
from studio.errors import StudioError
from studio.experiment import plain
from studio.host import create_host
from studio.space import Parameter

# One text of each kind that Studio documents; no plugin may claim them.
PUBLISHED = {
    True: [
        "0.01:0.01:0.1",
        "1e-5:l5:0.1",
        "1e-5:10:0.1",
        "1e-5:u10:0.1",
        "0:3",
        ":3",
        "0:2:5",
        "5:-2:0",
        "0.1",
        "2,5,6",
        "adam,sgd",
    ],
    False: [
        "0:1",
        "1e-5:0.1:l",
        "0:1:10:urla",
        "0:5:l",
        "5:5:10:alu",
        "-1:1:u",
        "1:8:i",
        "adam,sgd,rmsprop",
        "0.1",
        "adam",
    ],
}
POINTS = 50


class RangeParserContract:
    """The contract of the hook `studio_parse_range` and of the `Parameter` that it returns."""

    plugin: ClassVar[Any]
    texts: ClassVar[Sequence[str]]
    wrong: ClassVar[Sequence[str]] = ()
    grid: ClassVar[bool] = False

    def test_reads_its_texts(self) -> None:
        """The hook returns a `Parameter` with the given name."""
        for text in self.texts:
            parameter = self._parse(text)
            assert isinstance(parameter, Parameter), f"{text!r} gave {parameter!r}, not a studio.Parameter"
            assert parameter.name == "x", f"the parameter of {text!r} is called {parameter.name!r}, not 'x'"
            assert parameter.dimensions >= 0, f"{text!r}: dimensions is {parameter.dimensions}"

    def test_comes_before_the_built_in_parsers(self) -> None:
        """The parser is asked before the built-in ones."""
        host = create_host(plugins=[self.plugin])
        for text in self.texts:
            got, own = host.parse_range("x", text, grid=self.grid), self._parse(text)
            assert type(got) is type(own), f"{text!r} was read by another parser: {got!r}"

    def test_leaves_other_texts_alone(self) -> None:
        """The hook returns None for every documented range, in both grammars."""
        for grid, texts in PUBLISHED.items():
            for text in texts:
                if text not in self.texts:
                    taken = self._call("x", text, grid)
                    assert taken is None, f"{text!r} belongs to another parser, but this one made {taken!r} of it"

    def test_wrong_texts_are_one_clear_line(self) -> None:
        """A wrong text raises a `studio.StudioError` of one line that quotes it."""
        for text in self.wrong:
            try:
                parameter = self._call("x", text, self.grid)
            except StudioError as error:
                assert text in str(error), f"the error for {text!r} does not quote it: {error}"
                assert "\n" not in str(error), f"the error for {text!r} has more than one line"
            except Exception as error:
                raise AssertionError(
                    f"{text!r} raised {error!r}: raise studio.StudioError for what a user mistyped"
                ) from error
            else:
                raise AssertionError(f"{text!r} is wrong, but gave {parameter!r}")

    def test_values_and_points_correspond(self) -> None:
        """value -> to_unit -> from_unit gives the value again, to 1e-12."""
        for text, parameter, u in self._points():
            value = parameter.from_unit(u)
            point = np.asarray(parameter.to_unit(value))
            assert point.shape == (parameter.dimensions,), f"{text!r}: to_unit gave shape {point.shape}"
            again = parameter.from_unit(point)
            assert _close(value, again), f"{text!r}: {value!r} at {u} became {again!r}"

    def test_values_can_be_stored(self) -> None:
        """Values are Python numbers, strings, booleans, None, or numpy vectors."""
        for text, parameter, u in self._points():
            value = parameter.from_unit(u)
            try:
                json.dumps(plain(value))
            except TypeError as error:
                raise AssertionError(f"{text!r}: {value!r} cannot be stored: {error}") from error
            assert not isinstance(value, np.generic), f"{text!r}: {value!r} is a numpy scalar; give a Python number"

    def test_points_outside_are_clipped(self) -> None:
        """Points outside of [0, 1] give the nearest value, unless the parameter is `unconstrained`."""
        for text in self.texts:
            parameter = self._parse(text)
            if not parameter.unconstrained:
                for outside, end in ((-0.5, 0.0), (1.5, 1.0)):
                    at = np.full(parameter.dimensions, outside)
                    got, wanted = parameter.from_unit(at), parameter.from_unit(np.full(parameter.dimensions, end))
                    assert _close(got, wanted), f"{text!r}: {got!r} at {outside}, but {wanted!r} at {end}"

    def _parse(self, text: str) -> Parameter:
        parameter = self._call("x", text, self.grid)
        assert parameter is not None, f"the hook returns None for {text!r}, which is its own"
        return parameter

    def _call(self, name: str, text: str, grid: bool) -> Parameter | None:
        """Return the answer of the plugin alone, called as by Studio."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(self.plugin)
        manager.check_pending()
        found: Parameter | None = manager.hook.studio_parse_range(name=name, text=text, grid=grid)
        return found

    def _points(self) -> list[tuple[str, Parameter, Any]]:
        rng = np.random.default_rng(1)
        found = []
        for text in self.texts:
            parameter = self._parse(text)
            found += [(text, parameter, rng.random(parameter.dimensions)) for _ in range(POINTS)]
        return found


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, float | np.ndarray) and isinstance(other, float | np.ndarray):
        return bool(np.allclose(one, other, rtol=1e-12, atol=1e-12))
    return type(one) is type(other) and bool(one == other)
