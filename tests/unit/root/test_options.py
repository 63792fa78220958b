"""A plugin's options, typed by the signature of its class."""

from typing import Any, Literal, Optional, Union

import pytest

from studio.errors import PluginError
from studio.options import convert_options, options_of, split_pairs, type_name


class Piece:
    name = "piece"

    def __init__(
        self,
        space: Any,
        *,
        seed: int,
        count: int = 1,
        share: float = 0.5,
        flag: bool = False,
        word: str = "",
        mode: Literal["fast", "exact", 3] = "fast",
        limit: int | None = None,
        old: Optional[float] = None,  # noqa: UP045 - as plugins may write it
        either: Union[int, str] = 0,  # noqa: UP007
        bare=None,
    ):
        pass


class Needy:
    name = "needy"

    def __init__(self, space: Any, *, seed: int, points: int):
        pass


class Open:
    name = "open"

    def __init__(self, space: Any, *, seed: int, points: int = 1, **options: Any):
        pass


class Plain:
    name = "plain"

    def __init__(self, space: Any, *, seed: int):
        pass


class Unresolvable:
    name = "unresolvable"

    def __init__(self, space: Any, *, seed: int, n: "NoSuchType" = 1):  # type: ignore[name-defined]  # noqa: F821
        pass


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("count", "8", 8),
        ("count", "-8", -8),
        ("share", "1e-3", 0.001),
        ("share", "2", 2.0),
        ("flag", "true", True),
        ("flag", "No", False),
        ("flag", "1", True),
        ("flag", "0", False),
        ("word", "8", "8"),
        ("word", "", ""),
        ("mode", "exact", "exact"),
        ("mode", "3", 3),
        ("limit", "5", 5),
        ("limit", "none", None),
        ("limit", "", None),
        ("old", "2", 2.0),
        ("old", "None", None),
        ("either", "7", 7),
        ("either", "seven", "seven"),
        ("bare", "7", 7),
        ("bare", "seven", "seven"),
        ("bare", "True", True),
    ],
)
def test_a_text_becomes_what_the_signature_says(option: str, text: str, value: Any) -> None:
    got = convert_options(Piece, {option: text})
    assert got == {option: value}
    assert type(got[option]) is type(value)


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("count", "8.5", "a whole number"),
        ("count", "many", "a whole number"),
        ("share", "half", "a number"),
        ("flag", "maybe", "true or false"),
        ("mode", "slow", "fast or exact or 3"),
        ("limit", "x", "a whole number or None"),
    ],
)
def test_a_text_of_another_type_is_refused_with_the_type(option: str, text: str, expected: str) -> None:
    with pytest.raises(PluginError, match=f"optimizer piece: option {option}: '{text}' is not {expected}$"):
        convert_options(Piece, {option: text})


def test_what_a_program_gives_is_passed_on_as_it_is() -> None:
    value = object()
    assert convert_options(Piece, {"count": 3, "bare": value}) == {"count": 3, "bare": value}


def test_an_unknown_option_is_refused_with_the_close_ones_or_the_list() -> None:
    with pytest.raises(PluginError, match=r"optimizer piece has no option 'cuont'; did you mean 'count'\?"):
        convert_options(Piece, {"cuont": "1"})
    with pytest.raises(PluginError, match=r"there are: .*count, either, flag.*word"):
        convert_options(Piece, {"zzz": "1"})
    with pytest.raises(PluginError, match="optimizer plain has no option 'x': it takes none"):
        convert_options(Plain, {"x": "1"})


@pytest.mark.parametrize("name", ["self", "space", "seed"])
def test_what_studio_gives_is_no_option(name: str) -> None:
    assert name not in options_of(Piece)
    with pytest.raises(PluginError, match="not an option"):
        convert_options(Piece, {name: "1"})


def test_an_option_without_default_has_to_be_given() -> None:
    assert convert_options(Needy, {"points": "3"}) == {"points": 3}
    with pytest.raises(PluginError, match="optimizer needy needs an option: give -O points=…"):
        convert_options(Needy, {})


def test_a_class_that_takes_any_option_gets_any() -> None:
    assert convert_options(Open, {"points": "3", "x": "4", "y": "hello"}) == {"points": 3, "x": 4, "y": "hello"}


def test_an_annotation_that_cannot_be_resolved_is_no_obstacle() -> None:
    assert convert_options(Unresolvable, {"n": "3"}) == {"n": 3}


def test_type_names() -> None:
    assert [type_name(kind) for kind in (int, float | None, Optional[str], Any, Literal["a", 1])] == [  # noqa: UP045
        "int",
        "float or None",
        "str or None",
        "any",
        "a or 1",
    ]


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert split_pairs(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for pairs, complaint in (
        (["a"], "-O 'a' is not NAME=VALUE"),
        (["=1"], "not NAME"),
        (["a=1", "a=2"], "given twice"),
    ):
        with pytest.raises(PluginError, match=complaint):
            split_pairs(pairs)
    with pytest.raises(PluginError, match="--env 'X' is not"):
        split_pairs(["X"], "--env")
