"""Values to points of the unit cube and back, on every kind of parameter."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from studio.errors import BadInput, RangeError
from studio.space import LARGEST_INTEGER, Array, Choice, Constant, Integer, Real, Space
from studio.text import is_number, parse_literal

finite = st.floats(-1e300, 1e300)
above_0 = st.floats(1e-300, 1e300)
units = st.floats(-1e3, 1e3)


either = st.booleans()


@st.composite
def reals(draw, unconstrained=either):
    log = draw(st.booleans())
    low, high = sorted((draw(above_0 if log else finite), draw(above_0 if log else finite)))
    assume(high - low > 1e-6 * max(abs(low), abs(high)))
    return Real("x", low, high, log, draw(unconstrained))


@st.composite
def integers(draw, unconstrained=either):
    log = draw(st.booleans())
    ends = st.integers(1 if log else -LARGEST_INTEGER, LARGEST_INTEGER)
    low, high = sorted((draw(ends), draw(ends)))
    assume(low < high)
    return Integer("x", low, high, log, draw(unconstrained))


scalars = st.one_of(reals(), integers())
arrays = st.builds(Array, st.just("x"), scalars, st.integers(1, 5))
words = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.text())
choices = st.lists(words, min_size=1, max_size=20).map(lambda values: Choice("x", tuple(values)))
constants = words.map(lambda value: Constant("x", value))
parameters = st.one_of(scalars, arrays, choices, constants)


def at(parameter, u):
    return parameter.from_unit(np.full(parameter.dimensions, u))


def assert_same(parameter, found, value):
    """Equal to 1e-12 of the value or, on a linear scale, of the range's ends."""
    if isinstance(parameter, Array):
        parameter = parameter.element
    if not isinstance(parameter, Real):
        assert found == value
        assert type(found) is type(value)
    elif isinstance(parameter, Integer):
        np.testing.assert_array_equal(found, value)
    else:
        size = 0.0 if parameter.log else max(abs(parameter.low), abs(parameter.high))
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-12 * size)


@given(parameters, st.floats(0, 1))
def test_values_to_points_and_back(parameter, u):
    value = at(parameter, u)
    point = parameter.to_unit(value)
    assert point.shape == (parameter.dimensions,)
    assert_same(parameter, parameter.from_unit(point), value)


@given(reals(st.just(False)), st.data())
def test_any_real_in_the_range(parameter, data):
    value = data.draw(st.floats(parameter.low, parameter.high))
    assert_same(parameter, parameter.from_unit(parameter.to_unit(value)), value)


@given(integers(st.just(False)), st.data())
def test_any_integer_in_the_range_is_exact(parameter, data):
    value = data.draw(st.integers(parameter.low, parameter.high))
    found = parameter.from_unit(parameter.to_unit(value))
    assert found == value
    assert type(found) is int


@given(reals(st.just(True)), st.data())
def test_any_real_outside_an_unconstrained_range(parameter, data):
    width = math.log(parameter.high / parameter.low) if parameter.log else parameter.high - parameter.low
    assume(math.isfinite(width))
    value = at(parameter, data.draw(st.floats(-30, 30)))
    assume(1e-300 < abs(value) < 1e300)
    found = parameter.from_unit(parameter.to_unit(value))
    assert_same(parameter, found, value)


@given(parameters, units)
def test_no_point_leaves_the_range(parameter, u):
    value = at(parameter, u)
    kind = parameter.element if isinstance(parameter, Array) else parameter
    if isinstance(kind, Real):
        smallest, largest = np.min(value), np.max(value)
        assert np.isfinite(value).all()
        assert kind.unconstrained or (kind.low <= smallest and largest <= kind.high)
        assert not kind.log or smallest > 0
    parameter.to_unit(value)  # and it is a value that may be told


@pytest.mark.parametrize("low", [-LARGEST_INTEGER, 1, LARGEST_INTEGER - 5])
@pytest.mark.parametrize("log", [False, True])
def test_integers_are_exact_up_to_the_limit(low, log):
    if log and low < 1:
        return
    parameter = Integer("x", low, LARGEST_INTEGER, log)
    for value in (low, low + 1, (low + LARGEST_INTEGER) // 2, LARGEST_INTEGER - 1, LARGEST_INTEGER):
        assert parameter.from_unit(parameter.to_unit(value)) == value
    with pytest.raises(BadInput):
        parameter.to_unit(LARGEST_INTEGER + 1)


def test_integers_own_equal_cells():
    found = Integer("x", 1, 8).decode((np.arange(8000) + 0.5) / 8000)
    assert np.bincount(found).tolist() == [0] + [1000] * 8


def test_scalars_are_python_numbers():
    assert type(at(Real("x", 0, 1), 0.5)) is float
    assert type(at(Integer("x", 0, 1), 0.5)) is int
    assert at(Array("x", Integer("x", 0, 1), 2), 0.5).dtype == np.int64


def test_choices_tell_1_from_true():
    parameter = Choice("x", (1, 1.0, True, "1", 1))
    assert [float(parameter.to_unit(value)[0]) for value in (1, 1.0, True, "1")] == pytest.approx([0.1, 0.3, 0.5, 0.7])


def test_a_log_scale_tells_small_values_from_those_below_it():
    parameter = Real("x", 1e-20, 1.0, log=True)
    assert parameter.from_unit(parameter.to_unit(2e-20)) == pytest.approx(2e-20, rel=1e-12)
    for value in (0.0, -1e-13, 1e-21):
        with pytest.raises(BadInput, match=r"is outside 1e-20:1\.0"):
            parameter.to_unit(value)


@pytest.mark.parametrize(
    ("parameter", "value", "says"),
    [
        (Real("x", 0, 1), 7.0, "7.0 is outside 0:1"),
        (Real("x", 0, 1), math.nan, "nan is outside"),
        (Real("x", 0, 1), "a", "is not a number"),
        (Real("x", 0, 1), None, "None"),
        (Real("x", 0, 1), 10**400, "is not a number"),
        (Real("x", 0, 1), [0.1, 0.2], "needs one number"),
        (Real("x", 1, 2, log=True, unconstrained=True), 0.0, "is outside"),
        (Integer("x", 0, 5), 1.5, "1.5 is not a whole number"),
        (Integer("x", 0, 5, unconstrained=True), 10**13, "whole numbers go up to"),
        (Array("x", Real("x", 0, 1), 2), [0.5], "needs 2 numbers"),
        (Array("x", Real("x", 0, 1), 2), [0.5, 3.0], "3.0 is outside"),
        (Choice("x", ("a", "b")), "c", "'c' is not one of 'a', 'b'"),
        (Constant("x", 1), 2, "is not its one value"),
        (Constant("x", np.zeros(2)), "a", "is not its one value"),
    ],
)
def test_values_outside_are_bad_input(parameter, value, says):
    with pytest.raises(BadInput) as caught:
        parameter.to_unit(value)
    assert str(caught.value).startswith("hyperparameter x: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Real("x", 1, 1),
        lambda: Real("x", 2, 1),
        lambda: Real("x", 0, math.inf),
        lambda: Real("x", -1.7e308, 1.7e308),
        lambda: Real("x", 0, 1, log=True),
        lambda: Integer("x", 0.5, 2),
        lambda: Integer("x", 0, LARGEST_INTEGER + 1),
        lambda: Array("x", Real("x", 0, 1), 0),
        lambda: Choice("x", ()),
        lambda: Space([Real("x", 0, 1), Choice("x", (1, 2))]),
    ],
)
def test_impossible_parameters(make):
    with pytest.raises(RangeError, match=r"^hyperparameter x"):
        make()


# --- Space ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def space():
    return Space(
        [
            Real("lr", 1e-5, 0.1, log=True, unconstrained=True),
            Integer("layers", 1, 8, random_start=True),
            Choice("optimizer", ("adam", "sgd")),
            Constant("epochs", 30),
            Array("weights", Real("weights", 0, 1, random_start=True), 2),
        ]
    )


def test_space_in_order(space):
    assert space.names == ("lr", "layers", "optimizer", "epochs", "weights")
    assert (len(space), space.dimensions) == (5, 5)
    assert space.unconstrained.tolist() == [True, False, False, False, False]


def test_space_values_and_back(space):
    values = space.values([0.25, 0.1, 0.9, 0.0, 1.0])
    assert {name: values[name] for name in ("layers", "optimizer", "epochs")} == {
        "layers": 1,
        "optimizer": "sgd",
        "epochs": 30,
    }
    assert values["lr"] == pytest.approx(1e-4, rel=1e-12)
    assert values["weights"].tolist() == [0.0, 1.0]
    np.testing.assert_equal(space.values(space.point(values)), values)


def test_start_is_the_middle_or_random(space):
    start = space.start(np.random.default_rng(1))
    assert start[[0, 2]].tolist() == [0.5, 0.5]
    assert (start[[1, 3, 4]] != 0.5).all()
    assert start.tolist() == space.start(np.random.default_rng(1)).tolist()


def test_suggestion_points_survive_json(space):
    suggestion = space.suggestion(np.array([1.7, 1.2, -0.3, 1 / 3, 0.1]))
    again = json.loads(json.dumps(suggestion.point))
    assert again == [1.7, 1.2, -0.3, 1 / 3, 0.1]  # unrounded and unclipped: what the optimizer is told back
    np.testing.assert_equal(space.values(again), suggestion.values)


def test_space_without_dimensions():
    space = Space([Constant("x", np.arange(3))])
    assert space.suggestion([]).point == []
    assert space.point(space.values([])).shape == (0,)
    values = space.values([])
    values["x"][0] = 7  # a copy
    assert space.values([])["x"].tolist() == [0, 1, 2]
    assert Space([]).values([]) == {}


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ([Choice("a", (1, 2, 4)), Integer("n", 3, 7), Constant("c", 1)], 15),
        ([Array("a", Integer("a", 0, 4), 3)], 125),
        ([Array("a", Integer("a", 1, 10**6), 100)], math.inf),
        ([Array("a", Integer("a", 0, 4, unconstrained=True), 3)], math.inf),
        ([Integer("n", 3, 7), Real("x", 0.0, 1.0)], math.inf),
    ],
    ids=str,
)
def test_combinations_are_counted(parameters, count):
    assert Space(parameters).combinations == count


@pytest.mark.parametrize("point", [[0.5], [[0.5] * 5], 0.5, [0.5, 0.5, 0.5, 0.5, math.nan], [math.inf] * 5])
def test_wrong_points(space, point):
    with pytest.raises(ValueError, match="point"):
        space.values(point)
    with pytest.raises(ValueError, match="point"):
        space.suggestion(point)


def test_missing_values(space):
    with pytest.raises(BadInput, match="no value for hyperparameter layers, epochs"):
        space.point({"lr": 0.1, "optimizer": "sgd", "weights": [0, 1]})


# --- literals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    {
        "1": 1,
        "-1": -1,
        " +1 ": 1,
        "1.": 1.0,
        ".5": 0.5,
        "1e3": 1000.0,
        "True": True,
        "None": None,
        "'1'": "1",
        '"a\'b"': "a'b",
        r"'C:\new'": r"C:\new",
        "'a','b'": "'a','b'",
        "'": "'",
        "nan": "nan",
        "1e999": "1e999",
        "1" * 5000: "1" * 5000,
        "0" * 5000 + "1": 1.0,
        "٣": "٣",
    }.items(),
)
def test_literals(text, value):
    assert parse_literal(text) == value
    assert type(parse_literal(text)) is type(value)
    assert is_number(text) == (type(value) in (int, float))
