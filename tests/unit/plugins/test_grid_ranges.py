"""The grid grammar: the table of docs/ranges.md, its arithmetic against an oracle, and its errors."""

import re
from decimal import localcontext
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from studio.errors import RangeError
from studio.plugins import grid_ranges, optimizer_ranges
from studio.space import Choice, Constant, Space


def parse(text, name="x"):
    return grid_ranges.studio_parse_range(name, text, True)


def values(text):
    parameter = parse(text)
    return list(parameter.values) if isinstance(parameter, Choice) else [parameter.value]


def error(text, name="x"):
    with pytest.raises(RangeError) as caught:
        parse(text, name)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"hyperparameter {name}=")
    return message


def proposals(message):
    return re.findall(r"`x=([^`]*)`", message)


TABLE = {
    "0.01:0.01:0.1": [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1],
    "1e-5:l5:0.1": [1e-5, 1e-4, 1e-3, 0.01, 0.1],
    "1e-5:5l:0.1": [1e-5, 1e-4, 1e-3, 0.01, 0.1],
    "1e-5:10:0.1": [1e-5, 0.01112, 0.02223, 0.03334, 0.04445, 0.05556, 0.06667, 0.07778, 0.08889, 0.1],
    "1e-5:u10:0.1": [1e-5, 0.01112, 0.02223, 0.03334, 0.04445, 0.05556, 0.06667, 0.07778, 0.08889, 0.1],
    "1e-5:10u:0.1": [1e-5, 0.01112, 0.02223, 0.03334, 0.04445, 0.05556, 0.06667, 0.07778, 0.08889, 0.1],
    "0:3": [0, 1, 2, 3],
    ":3": [0, 1, 2, 3],
    "0:2:5": [0, 2, 4],
    "5:-2:0": [5, 3, 1],
    "0.1": [0.1],
    "2,5,6": [2, 5, 6],
    "adam,sgd": ["adam", "sgd"],
}

MORE = {
    "adam": ["adam"],
    "7": [7],
    "True,None,1": [True, None, 1],
    "1,1.0,1": [1, 1.0, 1],
    " 0 : 2 : 5 ": [0, 2, 4],
    "2, 5": [2, 5],
    "'a,b',c": ["a,b", "c"],
    '"a:b"': ["a:b"],
    r"'C:\new'": [r"C:\new"],
    "'1',1": ["1", 1],
    "layer:a,layer:b": ["layer:a", "layer:b"],
    "5:3:4": [5.0, 4.5, 4.0],
    "1:l4:1000": [1, 10, 100, 1000],
    "1:l3:2": [1.0, 1.4142135623731, 2.0],
    "1.0000000000000004:l3:1.0000000000000009": [1.0000000000000004, 1.0000000000000004, 1.0000000000000009],
    "1000:l4:1": [1000, 100, 10, 1],
    "1.0:l4:1000": [1.0, 10.0, 100.0, 1000.0],
    "0:l7:5": [5e-6, 5e-5, 5e-4, 5e-3, 0.05, 0.5, 5.0],
    "5:l7:0": [5.0, 0.5, 0.05, 5e-3, 5e-4, 5e-5, 5e-6],
    "0:6:5": [0, 1, 2, 3, 4, 5],
    "0:0.5:1": [0.0, 0.5, 1.0],
    "0:0.5:0.9": [0.0, 0.5],
    "0:5.5:5": [0],
    "0.5:3": [0.5, 1.5, 2.5],
    "5:5": [5],
    "5:2:5": [5],
    "5:l3:5": [5],
    "-1:u3:1": [-1, 0, 1],
    "-1:u3:1.0": [-1.0, 0.0, 1.0],
    "0:1:3": [0, 1, 2, 3],
    "0:3:3": [0, 3],
    "1:2:2": [1, 2],
    "99999999999999999998:100000000000000000000": [10**20 - 2, 10**20 - 1, 10**20],
}


@pytest.mark.parametrize("text", TABLE | MORE)
def test_values(text):
    expected = (TABLE | MORE)[text]
    assert values(text) == expected
    assert [type(value) for value in values(text)] == [type(value) for value in expected]


def test_one_value_is_a_constant_and_several_a_choice():
    assert isinstance(parse("0.1"), Constant)
    assert isinstance(parse("5:5"), Constant)
    assert isinstance(parse("2,5"), Choice)


def test_a_log_grid_from_0_says_how_it_was_read():
    assert "0.000005" in parse("0:l7:5").notice
    assert parse("1:l7:5").notice == ""


def test_plugin_optimizers_are_left_to_the_other_grammar():
    assert grid_ranges.studio_parse_range("x", "0:3", False) is None


def test_the_decimal_context_of_the_program_does_not_matter():
    with localcontext() as context:
        context.prec = 2
        assert values("0.001:0.001:0.003") == [0.001, 0.002, 0.003]
        assert values("1:u3:1234567") == [1, 617284, 1234567]


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "": "empty",
        "  ": "empty",
        ",": "missing beside a comma",
        "2,,5": "`x=2,5`",
        "adam,": "`x=adam`",
        "0:u1:5": "count of 1 leaves out an end; write `x=0` for one value, `x=0:u2:5` for two",
        "0:1l:5": "count of 1",
        "0:1:0.5": "count of 1",
        "0:u0:5": "0 is not a count",
        "0:u-3:5": "-3 is not a count",
        "1:l2.5:8": "2.5 is not a count; write `x=1:l5:8`",
        "0:1e-9:1": "1,000,000,001 values",
        "0:u1000001:1": "1,000,001 values",
        "0:1e300:1": "1e+300 values",
        "0:10000000": "10,000,001 values",
        "0:0:5": "step of 0 never reaches",
        "0:1e-400:5": "step of 0 never reaches",
        "0:-1:5": "never reaches 5; write `x=0:1:5`",
        "5:1:0": "never reaches 0; write `x=5:-1:0`",
        "3:0": "`x=3:-1:0`",
        "0.1:-1:1": "`x=0.1:u10:1`",
        "10000000:0": "`x=10000000:u10:0`",
        ":-3": "`x=0:-1:-3`",
        "0.001:0.1": "`x=0.001:l5:0.1`",
        "0.1:0.001": "`x=0.1:l5:0.001`",
        "1e-5:0.1": "`x=1e-5:l5:0.1`",
        "0:0.5": "`x=0:u10:0.5`",
        "-1:l5:1": "ends above 0; write `x=-1:u10:1`",
        "0:l5:0": "ends above 0; write `x=0`",
        "-3:l5:0": "ends above 0",
        "nan": "not a finite number",
        "nan:1": "not a finite number",
        "0:1:inf": "not a finite number",
        "1,-inf": "not a finite number",
        "0:1e999": "not a finite number",
        "1_000": "without underscores",
        "1:1_000": "without underscores",
        "'a,b": "must be closed",
        "'a'b,c": "must be closed",
        "1:3,7": "a list holds values, and 1:3 is a range",
        "0:5:l,7": "a list holds values",
        "normal(0,1)": "without brackets, like `x=1,2`",
        "uniform(0, 1)": "call of another program; write `x=0:u10:1`",
        "randint(0.5, 3)": "lists are written without brackets",
        "loguniform(0.1, 1e-5)": "lists are written without brackets",
        "choice(1:2, 3)": "lists are written without brackets",
        "tune.loguniform(1e-5, 0.1)": "write `x=1e-5:0.1:l`",
        "np.linspace(0, 1, 5)": "write `x=0:u5:1`",
        "hp.choice(['a', 'b'])": "write `x='a','b'`",
        "[2,5,6]": "without brackets, like `x=2,5,6`",
        "(adam,sgd)": "without brackets, like `x=adam,sgd`",
        "{[1]}": "without brackets, like `x=1,2`",
        r"C:\data": r"`x='C:\data'`",
        "http://x": "`x='http://x'`",
        "it's:1": '`x="it\'s:1"`',
        "localhost:8080": "localhost is not a number",
        "0:x5:1": "x5 is not understood",
        "0:l5l:1": "l5l is not understood",
        "0:l:1": "l is not understood",
        "0:5:x": "x is not understood",
        "0::5": "a number is missing",
        "3:": "a number is missing",
        ":": "a number is missing",
        "1:2:3:4": "4 parts are too many; a grid is start:end, start:step:end",
        "a\n:b": r"'a\n:b'",
        "0:5:l": "`x=0.000005:l7:5`",
        "1e-5:0.1:l": "`x=1e-5:l5:0.1`",
        "-1:1:u": "`x=-1:u10:1`",
        "-1:1:l": "`x=-1:u10:1`",
        "1:8:i": "`x=1:8`",
        "1:1e2:i": "`x=1:100`",
        "0:1000000:i": "`x=0:100000:1000000`",
        "1:1000:li": "`x=1,10,100,1000`",
        "5:5:u": "`x=5`",
        "0.1:0.01:l": "the lower end comes first, as in x=0.01:0.1:l; write `x=0.01:l5:0.1` for a grid",
        "0:1:10:urla": "array hyperparameter needs an optimizer such as cma",
        "0:1:a": "array hyperparameter",
        "0:1:10:ul": "array hyperparameter",
        "8:64:i~500": "a belief ~500 is for a search (`--optimizer=auto`); write `x=8:64` for a grid",
        "0.01:0.01:0.1~0.05": "a belief ~0.05 needs a range, as in x=0:1~0.3; write `x=0.01:0.01:0.1` for a grid",
        "~-2": "a belief ~-2 comes behind a range; write for example `x=-20:-0.2~-2`",
        "adam,sgd~adam": "a belief ~adam needs a range, not a list; write `x=adam,sgd` (quotes would make it text)",
    }.items(),
)
def test_errors(text, says):
    assert says in error(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.1..0.5", "`lr=0.1:u10:0.5`"),
        ("0.1-0.5", "`lr=0.1:u10:0.5`"),
        ("1e-4..1e-1", "`lr=1e-4:l5:1e-1`"),
        ("0.1 to 0.5", "`lr=0.1:u10:0.5`"),
        ("10%", "`lr=0.1`"),
        ("0.1,foo", "`\"lr=0.1,'foo'\"`"),
        ("16-mixed", "`\"lr='16-mixed'\"`"),
        ("3x", "begins like a number"),
    ],
)
def test_what_begins_like_a_number_is_no_text(text, says):
    assert says in error(text, "lr")


def test_switches():
    assert grid_ranges.studio_parse_range("x", "true,false", True).values == (True, False)
    assert "write true,false" in grid_ranges.studio_parse_range("x", "yes,no", True).notice
    assert grid_ranges.studio_parse_range("x", "'16-mixed',bf16", True).values == ("16-mixed", "bf16")


def test_errors_quote_what_was_given():
    assert error("0.001:0.1", "lr").startswith("hyperparameter lr=0.001:0.1: ")


@pytest.mark.parametrize(
    ("name", "says"),
    [("", "empty"), (" ", "empty"), (" lr", "blanks")],
)
def test_names(name, says):
    assert says in error("0.1", name)


# --- arithmetic, against fractions and numpy ------------------------------------------------------------------------

decimals = st.decimals(min_value=-20, max_value=20, allow_nan=False, places=3)
positive = st.floats(min_value=1e-12, max_value=1e12).map(lambda number: f"{number:.6g}")


@given(decimals, decimals, decimals)
def test_steps_are_exact(start, step, end):
    text = f"{start}:{step}:{end}"
    first, width, last = Fraction(start), Fraction(step), Fraction(end)
    if last != first and width.denominator == 1 and width > abs(last - first):
        assume(width > 1)
        assert len(values(text)) == width  # a count
        return
    if step == 0 or (last - first) * width < 0:
        assert "never reaches" in error(text)
        return
    count = (last - first) // width + 1
    assert values(text) == [float(first + index * width) for index in range(count)]


@given(decimals, st.integers(min_value=2, max_value=300), decimals)
def test_linear_counts_are_exact(start, count, end):
    first, last = Fraction(start), Fraction(end)
    expected = [float(first + index * (last - first) / (count - 1)) for index in range(count)]
    assert values(f"{start}:u{count}:{end}") == (expected if first != last else [float(first)])


@given(positive, st.integers(min_value=2, max_value=50), positive)
def test_log_counts_are_those_of_numpy(start, count, end):
    found = values(f"{start}:l{count}:{end}")
    if float(start) == float(end):
        assert found == [float(start)]
        return
    np.testing.assert_allclose(found, np.geomspace(float(start), float(end), count), rtol=1e-12)
    assert (found[0], found[-1]) == (float(start), float(end))
    assert min(found) >= min(float(start), float(end))
    assert max(found) <= max(float(start), float(end))


@given(st.integers(-300, 290), st.integers(1, 10))
def test_decades_are_exact(exponent, decades):
    expected = [float(f"1e{power}") for power in range(exponent, exponent + decades + 1)]
    assert values(f"1e{exponent}:l{decades + 1}:1e{exponent + decades}") == expected


@given(st.integers(-100, 100), st.integers(-20, 20).filter(bool), st.integers(0, 30))
def test_whole_grids_are_ints(start, step, steps):
    end = start + step * steps
    found = values(f"{start}:{step}:{end}")
    if steps > 1:
        assert found == list(range(start, end + (1 if step > 0 else -1), step))
    assert all(type(value) is int for value in found)


@pytest.mark.parametrize("text", TABLE)
def test_published_ranges_round_trip(text):
    space = Space([parse(text)])
    for value in values(text):
        point = space.point({"x": value})
        assert space.values(point) == {"x": value}
        assert space.point(space.values(point)).tolist() == point.tolist()


# --- what errors propose is right ---------------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(-20, 20).map(str),
    st.sampled_from(["0", "1", "0.5", "1e-5", "1e3", "1000000", "1e12", "2e12", "-0.1", "+3", ".5", "5.", "1e-300"]),
    st.floats(-1e3, 1e3).map(lambda number: f"{number:.3g}"),
)
middles = st.one_of(
    numbers, st.tuples(st.sampled_from("lu"), st.integers(-1, 9)).map(lambda pair: f"{pair[0]}{pair[1]}")
)
flags = st.text("urlaix", max_size=4)
pieces = st.one_of(numbers, middles, flags, st.sampled_from(["", "nan", "x", "'a'", "[1", "2]", "C"]))
texts = st.one_of(
    st.lists(pieces, min_size=1, max_size=5).map(":".join),
    st.lists(pieces, min_size=1, max_size=4).map(",".join),
    st.tuples(numbers, middles, numbers).map(":".join),
    st.tuples(numbers, numbers, flags).map(":".join),
    st.text(max_size=12),
)


@given(texts)
@settings(max_examples=5 * settings.default.max_examples)
def test_every_text_is_read_or_refused_in_one_line_with_proposals_that_work(text):
    with mock.patch.object(grid_ranges, "LIMIT", 2000):  # a million values each time would take minutes
        for parser, grid in ((grid_ranges, True), (optimizer_ranges, False)):
            check_one_line_and_proposals(parser, text, grid)


def check_one_line_and_proposals(parser, text, grid):
    try:
        parser.studio_parse_range("x", text, grid)
    except RangeError as refused:
        message = str(refused)
        assert len(message.splitlines()) == 1
        assert message.startswith("hyperparameter x")
        for proposal in proposals(message) if "`" not in text else ():
            assert parser.studio_parse_range("x", proposal, grid) is not None


@given(numbers, middles, numbers)
def test_a_grid_given_to_an_optimizer_is_rewritten(start, middle, end):
    text = f"{start}:{middle}:{end}"
    with pytest.raises(RangeError) as caught:
        optimizer_ranges.studio_parse_range("x", text, False)
    assert proposals(str(caught.value))


@given(numbers, numbers, st.lists(st.sampled_from("urli"), min_size=1, unique=True).map("".join))
def test_a_plugin_range_given_to_a_grid_is_rewritten(low, high, some):
    rewritten = proposals(error(f"{low}:{high}:{some}"))
    ends = sorted((float(low), float(high)))
    for value in values(rewritten[0]):
        assert ends[0] <= value <= ends[1]
