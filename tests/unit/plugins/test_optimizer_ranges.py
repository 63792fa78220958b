"""The grammar of plugin optimizers: the published ranges, the flags, and every error."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import RangeError
from studio.plugins import optimizer_ranges
from studio.space import Array, Choice, Constant, Integer, Real, Space

PUBLISHED = ["0:1:10:urla", "0:5:l", "5:5:10:alu", "-1:1:u", "1:8:i", "adam,sgd,rmsprop", "1e-5:0.1:l"]


def parse(text, name="x"):
    return optimizer_ranges.studio_parse_range(name, text, False)


def error(text, name="x"):
    with pytest.raises(RangeError) as caught:
        parse(text, name)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"hyperparameter {name}={text}: ") or "\n" in text
    return message


def middle(parameter):
    return parameter.from_unit(np.full(parameter.dimensions, 0.5))


def test_published_ranges():
    array = parse("0:1:10:urla")
    assert isinstance(array, Array)
    assert (array.length, array.unconstrained, array.random_start) == (10, True, True)
    assert (array.element.low, array.element.high, array.element.log) == (1e-6, 1.0, True)

    log = parse("0:5:l")
    assert type(log) is Real
    assert (log.low, log.high, log.log, log.unconstrained, log.random_start) == (5e-6, 5.0, True, False, False)
    assert log.notice.startswith("hyperparameter x=0:5:l: ")
    assert "0.000005" in log.notice

    same = parse("5:5:10:alu")
    assert same.length == 10
    np.testing.assert_allclose(middle(same), np.full(10, 5.0), rtol=1e-12)

    free = parse("-1:1:u")
    assert (free.low, free.high, free.log, free.unconstrained) == (-1.0, 1.0, False, True)

    whole = parse("1:8:i")
    assert isinstance(whole, Integer)
    assert (whole.low, whole.high) == (1, 8)
    assert {whole.from_unit(u) for u in np.linspace(0, 1, 50).reshape(-1, 1)} == set(range(1, 9))

    assert parse("adam,sgd,rmsprop") == Choice("x", ("adam", "sgd", "rmsprop"))


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_ranges_round_trip(text):
    space = Space([parse(text)])
    for u in (0.0, 0.25, 0.5, 0.9, 1.0):
        values = space.values(np.full(space.dimensions, u))
        np.testing.assert_equal(space.values(space.point(values)), values)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("3", 3),
        ("adam", "adam"),
        ("True", True),
        ("'1:2'", "1:2"),
        ("5:5", 5.0),
        ("5:5:i", 5),
        ("5:5:l", 5.0),
    ],
)
def test_constants(text, value):
    found = parse(text)
    assert isinstance(found, Constant)
    assert found.value == value
    assert type(found.value) is type(value)


@pytest.mark.parametrize(("text", "kind"), [("5:5:3:a", "f"), ("5:5:3:ai", "i"), ("5:5:3:rla", "f")])
def test_constant_arrays(text, kind):
    found = parse(text)
    assert isinstance(found, Constant)
    assert found.value.tolist() == [5, 5, 5]
    assert found.value.dtype.kind == kind


def test_ranges_are_real_without_flags():
    assert parse("0:5") == Real("x", 0.0, 5.0)
    assert parse(" 1e-5 : 0.1 : l ") == Real("x", 1e-5, 0.1, log=True)


def test_a_whole_log_range_from_0_starts_at_1():
    assert parse("0:8:li").low == 1
    assert "read as 1" in parse("0:8:li").notice
    assert parse("0:1:li").value == 1
    assert "read as 1" in parse("0:1:li").notice
    assert "0.000008" in parse("0:8:4:lau").notice


@pytest.mark.parametrize("flags", ["".join(order) for order in itertools.permutations("urla")])
def test_flags_come_in_any_order(flags):
    assert parse(f"1:2:3:{flags}") == parse("1:2:3:urla")


@given(st.floats(-1e6, 1e6))
def test_equal_ends_unconstrained_start_there(value):
    found = parse(f"{value!r}:{value!r}:u")
    assert found.unconstrained
    assert math.isclose(middle(found), value, rel_tol=1e-12, abs_tol=1e-12)
    assert math.isclose(found.from_unit(np.array([0.75])) - value, 1, rel_tol=1e-8)


@given(st.floats(1e-290, 1e290))
def test_equal_ends_unconstrained_log_start_there(value):
    found = parse(f"{value!r}:{value!r}:lu")
    assert math.isclose(middle(found), value, rel_tol=1e-12)
    assert math.isclose(found.from_unit(np.array([0.75])) / value, math.e, rel_tol=1e-10)


@given(st.integers(1, 10**10), st.sampled_from(["iu", "liu"]))
def test_equal_whole_ends_unconstrained_start_there(value, flags):
    assert middle(parse(f"{value}:{value}:{flags}")) == value


def test_grids_are_left_to_the_other_grammar():
    assert optimizer_ranges.studio_parse_range("x", "0:1:10:urla", True) is None


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "": "empty",
        "2,,5": "`x=2,5`",
        "uniform(0,1)": "call of another program; write `x=0:1`",
        "randint(1, 8)": "write `x=1:8:i`",
        "[1,2]": "without brackets, like `x=1,2`",
        "0:1,3": "a list holds values",
        "C:\\data": "`x='C:\\data'`",
        "nan:1": "not a finite number",
        "0:1:nan": "not a finite number",
        "0:inf": "not a finite number",
        "0:1_0": "without underscores",
        "0:1:uu": "flag u is given twice; write `x=0:1:u`",
        "0:1:10:aura": "flag a is given twice; write `x=0:1:10:aur`",
        "0:1:q": "unknown flag q; flags are u r l a i; write `x=0:1`",
        "0:1:lq": "write `x=0:1:l`",
        "0:1:L": "unknown flag L",
        "0:1:a": "flag a needs a length; write `x=0:1:10:a` for an array, or `x=0:1` for one number",
        "0:1:ula": "`x=0:1:10:ula` for an array, or `x=0:1:ul` for one number",
        "0:1:10:l": "a length needs flag a; write `x=0:1:10:la` for an array, or `x=0:1:l` for one number",
        "0:2:5": "write `x=0:2:5:a` for an array, or `x=0:5:i` for one number",
        "0:1:0:a": "0 is not a length between 1 and 1,000,000; write `x=0:1:10:a`",
        "0:1:2.5:a": "2.5 is not a length",
        "0:1:-3:a": "-3 is not a length",
        "0:1:1e9:a": "1e9 is not a length",
        "5:0": "the lower end comes first; write `x=0:5`",
        "5:0:l": "write `x=0:5:l`",
        "5:0:3:ua": "write `x=0:5:3:ua`",
        "-1:5:l": "lower end of at least 0 and an upper end above 0; write `x=-1:5`",
        "-1:5:lu": "write `x=-1:5:u`",
        "0:0:l": "an upper end above 0; write `x=0:0`",
        "-5:-1:l": "write `x=-5:-1`",
        "0.5:8:i": "flag i needs whole ends; write `x=1:8:i`",
        "0.2:0.8:i": "write `x=0.2:0.8`",
        "0:1e13:i": "whole numbers go up to 1,000,000,000,000; write `x=0:1e13`",
        "1e30:1e30:3:ai": "whole numbers go up to",
        "1e300:1e300:u": "no room for a step of 1 around 1e300, as equal ends with flag u need; write `x=1e300:1e300`",
        "1e308:1e308:lu": "no room for a step of 1",
        "1e12:1e12:iu": "no room for a step of 1 around 1e12",
        "1e12:1e12:uiu": "write `x=1e12:1e12:i`",
        "0:1:l:10": "l is not understood; a range is min:max[:length][:flags]",
        "0:1:2:3": "is not understood",
        "0:1:2:a:b": "5 parts are too many",
        "0:": "a number is missing",
        "0:1:": "a number is missing",
        "1e-5:l5:0.1": "`x=1e-5:0.1:l`",
        "1e-5:5l:0.1": "`x=1e-5:0.1:l`",
        "0.01:0.01:0.1": "that is a grid; this optimizer takes min:max[:length][:flags]; write `x=0.01:0.1`",
        ":3": "`x=0:3:i`",
        "5:-2:0": "`x=0:5:i`",
        "10:5:3": "`x=3:10:i`",
        "1e-5:u10:0.1": "`x=1e-5:0.1`",
        "1:l4:1000": "`x=1:1000:li`",
        "1:l4:8": "`x=1:8:li`",
        "1:l5:8": "`x=1:8:l`",
        "0:u6:10": "`x=0:10:i`",
        "0:u7:10": "`x=0:10`",
        "-1:l5:1": "`x=-1:1`",
        "5:l3:5": "`x=5`",
    }.items(),
)
def test_errors(text, says):
    assert says in error(text)


def test_a_range_wider_than_a_float_is_one_line():
    with pytest.raises(RangeError, match=r"^hyperparameter x: .* is wider than a float$"):
        parse("-1.7e308:1.7e308")


@pytest.mark.parametrize(
    ("text", "belief"), [("1e-5:0.1:l~3e-4", 3e-4), ("1:8:i ~ 3", 3), ("-1:1:u~5", 5.0), ("0:1:4:a~0.25", 0.25)]
)
def test_a_belief_stands_behind_a_range(text, belief):
    parameter = parse(text)
    element = parameter.element if isinstance(parameter, Array) else parameter
    assert element.belief == belief
    space = Space([parameter])
    assert space.beliefs == pytest.approx(element.to_unit(belief).repeat(space.dimensions))
    assert space.start(np.random.default_rng(1)) == pytest.approx(space.beliefs)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1e-5:0.1:l~1", "'1' behind ~ is no value of the range; write `x=1e-5:0.1:l~0.1`"),
        ("1:8:i~2.5", "'2.5' behind ~ is no value of the range; write `x=1:8:i~2`"),
        ("1:8:i~0", "'0' behind ~ is no value of the range; write `x=1:8:i~1`"),
        ("0:1~nan", "'nan' behind ~ is no value of the range; write `x=0:1~0.5`"),
        ("0:1~", "'' behind ~ is no value of the range; write `x=0:1~0.5`"),
        ("5:5~5", "a constant needs no belief; write `x=5:5`"),
        ("1e-4:0.1~1e-2:l", "a belief comes last; write `x=1e-4:0.1:l~1e-2`"),
        ("0.01:0.01:0.1~0.05", "a belief ~0.05 needs a range, not a grid; write `x=0.01:0.1~0.05`"),
        ("1e-5:l5:0.1~0.05", "a belief ~0.05 needs a range, not a grid; write `x=1e-5:0.1:l~0.05`"),
        ("adam,sgd~adam", "a belief ~adam needs a range, not a list; write `x=adam,sgd` (quotes would make it text)"),
        ("~0.03", "a belief ~0.03 comes behind a range; write for example `x=0.003:0.3~0.03`"),
        ("~0", "a belief ~0 comes behind a range; write for example `x=-1:1~0`"),
        ("32,64,128~64", "a belief ~64 needs a range, not a list; write `x=32,64,128` (quotes would make it text)"),
    ],
)
def test_errors_of_beliefs(text, says):
    assert says in error(text)


@pytest.mark.parametrize("name", ["", " lr"])
def test_names(name):
    error("0:1", name)
