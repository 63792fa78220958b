"""Named numbers in a line that a script printed: `pairs` finds them, `step_of` finds the step of the line.

    step 40: train loss 2.1, val loss 3.2        (train loss, 2.1) (val loss, 3.2), step 40
    [10]  valid_0's l2: 3012.1                   (valid_0's l2, 3012.1), step 10
    Test set: Accuracy: 330/360 (92%)            (Test Accuracy, 0.9167)

The name of a number is the words before it, up to another value, a comma, a bracket or the bar of a table. Between name
and number are `:`, `=`, `is`, an arrow, a bar or blanks; the number may be in `tensor(…)`, `np.float64(…)` or `[…]`.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

LONGEST_KEY = 80
MOST_WORDS = 6  # in a key followed by nothing but blanks: more make a sentence
WINDOW = 400  # characters before a number that are searched
DEEPEST = 8

_COUNTERS = (
    "global step|time step|timestep|epoch|step|iteration|iter|it|episode|ep|update|round|generation|gen|game"
    "|batch|fold|trial|run|seed|repeat|rep|split|rank|worker|gpu|chunk|task"
).replace(" ", "[ _-]?")
_COUNTER = re.compile(rf"(?i)(?:{_COUNTERS})s?")
_IN_A_KEY = re.compile(
    rf"(?i)(?:\b(?:after|at|in|for|on|of|the|during)\s+)*(?<![a-z])(?:{_COUNTERS})s?[\s_#-]*\d+(?:\s*(?:/|of)\s*\d+)?(?![\w.])"
)
_STEPS = "global[ _-]?step|time[ _-]?step|epoch|step|iteration|iter|it|episode|ep|update|round|generation|gen|game"
_STEP = re.compile(rf"(?i)(?<![a-z/])(?:{_STEPS})s?[\"']?\s*[:=#\[(-]{{0,2}}\s*(\d{{1,15}})(?:\.0+)?(?![\w.]\d|\w)")
_BRACKETED = re.compile(r"\s*\[\s*(\d{1,15})\s*\]")
_FRACTION = re.compile(r"(?:\A|[|\[(])\s*+(\d{1,15})/\d+(?![\w/])")

_NUMBER = re.compile(
    r"""
    (?<![\w.,/@^+-])(?<!\d:)                                   # no part of a word, a version, a date, a time
    (?P<number>[-+]?(?:\d{1,3}(?:,\d{3})++(?:\.\d*+)?|\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?
      |[-+]?(?i:nan|inf(?:inity)?))
    (?:\s?/\s?(?P<of>\d++(?:\.\d++)?)(?![\w/]))?               # 330/360
    (?P<unit>\s?%|[A-Za-zµ]{1,4}(?:/[A-Za-z]+)?)?
    (?!\w|[.:-]\d|,\d{3}(?!\d))
    """,
    re.VERBOSE,
)
_THOUSANDS = {"k", "K", "M", "G", "B", "T"}  # 10k: a multiplier, so the number is not the value
_WRAPPERS = re.compile(
    r"(?:(?:(?:np|numpy|jnp|torch|tf|cp|mx|mpmath|ms)\.)?"
    r"(?:tensor|Tensor|array|Array|DeviceArray|float\d*|double|longdouble|bfloat16|u?int\d*|Decimal|mpf|Scalar)\(\s*"
    r"|[\[(\"'$€£~≈<])*\Z"
)
_TENSORFLOW = re.compile(r"<tf\.(?:Tensor|Variable)[^>]{0,200}numpy=([^>]{1,60})>")
_SEPARATOR = re.compile(r"\s*+(?::=|=>|->|==|[:=→≈~⇒]|\.{2,}|…)\s*\Z")
_BAR = re.compile(r"\s*[|│┃║¦┆]\s*\Z")
_CUT = re.compile(r"(?s).*(?:[,;|¦\[\](){}<>\t\u2500-\u259f]|:|=|(?:^|\s)[-–—•*>~·+]+\s|[.!?]\s)")
_IN_BRACKETS = re.compile(r"\w\s*([(\[][^()\[\]]{1,40}[)\]])\Z")
_COPULAS = re.compile(
    r"(?i)\s+(?:is|was|are|equals?|of|at|reached|reaches|got|to|now|about|around|approximately|with)\Z"
)
_ARTICLES = re.compile(r"(?i)\A(?:the|an?|our|its|and|with)\s+")
_GOES_ON = re.compile(r"(?:\s+[^\W\d_][^,;:=|\[\]{}\t]{0,79}?)?\s?[:=]\s*+[^\s\w]{0,2}(?:[A-Za-z.]+\d*\()?[-+.]?\d")
_PREPOSITION = r"\s(?:of|on|for|in|at|over|after|with|from|using|by|per|between|against|across|under|is|was)\s"
_SENTENCE = re.compile(rf"(?i){_PREPOSITION}")
_ABOUT = re.compile(rf"(?i){_PREPOSITION}|\s*[(\[@]")
_NO_NAMES = {
    "in",
    "to",
    "for",
    "of",
    "at",
    "on",
    "by",
    "from",
    "took",
    "and",
    "or",
    "with",
    "than",
    "after",
    "about",
    "line",
    "is",
    "was",
}
_SPLIT = re.compile(r"[\s_\-./\\]+")
_PARTS = r"train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?|eval(?:uation)?|dev"  # parts of the data
_PART = re.compile(
    rf"(?i)(?<![\w-])({_PARTS})(?:\s+(?:set|phase|data|split|results?|metrics))?\s*(?:[:|│\])>]|\s[-–—])+\s*\Z"
)
# The default form of `logging`: the name of a logger, which is often `train`, is no part of the data
_LOGGER = re.compile(r"\A.{0,60}?\b(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):[\w.]+:")
_BEGINS_WITH_PART = re.compile(rf"(?i)(?:{_PARTS})(?![a-z])")


class Pair(NamedTuple):
    key: str
    value: float


def pairs(text: str) -> list[Pair]:
    """Return the named numbers of one line, in order."""
    text = _LOGGER.sub("", text.strip(), count=1).lstrip()
    if text.startswith("{") and text.endswith("}") and (found := _of_json(text)) is not None:
        return found
    if "<tf." in text:
        text = _TENSORFLOW.sub(r"\1", text)
    found, begin, part = [], 0, ""
    for match in _NUMBER.finditer(text):
        gap = text[max(begin, match.start() - WINDOW) : match.start()]
        opening = _WRAPPERS.search(gap)
        opened = opening.group() if opening else ""
        before = gap[: len(gap) - len(opened)]
        separator = _SEPARATOR.search(before) or _BAR.search(before)
        if separator is None and not before[-1:].isspace() and (not (before and opened) or opened[-1] in "\"'"):
            continue  # the number belongs to the word before it
        if separator is None and _GOES_ON.match(text, match.end()) and match["number"].isdecimal():
            continue  # a number among the words of a key: `of the 10000 test images: 85.2`
        begin = match.end()
        phrase = before[: separator.start()] if separator else before
        key, cut = _key(phrase, strong=separator is not None)
        if of_part := _PART.search(phrase[:cut]):
            part = of_part[1]
        if key and not _is_first_of_many(opened, text, match.end()) and match["unit"] not in _THOUSANDS:
            value = _value(match)
            if separator is not None or value == value:
                found.append(Pair(key if not part or _BEGINS_WITH_PART.match(key) else f"{part} {key}", value))
    return found


def _key(text: str, *, strong: bool) -> tuple[str, int]:
    """Return the name at the end of `text`, or "", and where it begins."""
    text = text.rstrip()
    inside = _IN_BRACKETS.search(text)
    if inside:
        text = text[: inside.start(1)].rstrip()
    cut = _CUT.match(text)
    begin = cut.end() if cut else 0
    text = text[begin:]
    text = " ".join(_IN_A_KEY.sub(" ", text).split()).strip("'\"`*#.$%|~ ")
    while (shorter := _COPULAS.sub("", text)) != text:
        text, strong = shorter, True
    text = _ARTICLES.sub("", text)
    if inside and text and any(map(str.isalpha, inside[1])):
        text = f"{text} {inside[1]}"
    if len(text) > LONGEST_KEY or not any(map(str.isalpha, text)) or not text.isprintable():
        return "", begin
    if not strong and (len(text.split()) > MOST_WORDS or _SENTENCE.search(f"{text} ") or _COUNTER.fullmatch(text)):
        return "", begin  # a sentence with a number in it
    if text.casefold() in _NO_NAMES:
        return "", begin
    return text, begin


def _is_first_of_many(opened: str, text: str, end: int) -> bool:
    """Return whether the number is the first of a list, which is not a scalar."""
    return any(bracket in opened for bracket in "[(") and re.match(r"\s*,\s*[-+.\d]|\s+[-+.\d]", text[end:]) is not None


def _value(match: re.Match[str]) -> float:
    value = float(match["number"].replace(",", ""))
    if match["of"] and float(match["of"]):
        return value / float(match["of"])
    return value


def _of_json(text: str) -> list[Pair] | None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [Pair(key, value) for key, value in _flat(data, "") if len(key) <= LONGEST_KEY and key.isprintable()]


def _flat(data: Any, prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in data.items():
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict) and prefix.count(".") < DEEPEST:
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            try:
                yield prefix + key, float(value)
            except OverflowError:
                continue


def step_of(text: str) -> int | None:
    """Return the step that the line names itself: `epoch 3`, `step=40`, `Epoch [3/30]`, or `[10]` at its beginning."""
    found = _STEP.search(text) or _BRACKETED.match(text)
    return int(found[1]) if found else None


def fraction_of(text: str) -> int | None:
    """Return the first number of a fraction: 3 of `3/30`."""
    found = _FRACTION.search(text)
    return int(found[1]) if found else None


def is_headline(text: str) -> bool:
    """Return whether the line states only the progress, such as `Epoch 3/30` above a progress bar."""
    return len(text) < 100 and not any(map(str.isalpha, _STEP.sub("", text)))


# --- names ------------------------------------------------------------------------------------------------------------


def words(name: str) -> tuple[str, ...]:
    """Return the words of a name, separated by blanks, `_`, `-`, `.` or `/`."""
    plain = unicodedata.normalize("NFKC", name).replace("'s ", " ").replace("^", "")
    return tuple(word for part in _SPLIT.split(plain) if (word := part.strip("()[]{}:,*'\"%#")))


def head(key: str) -> str:
    """Return the subject of a phrase: `RMSE` of `RMSE of prediction`."""
    found = _ABOUT.search(key)
    return key[: found.start()] if found else key


LOOSE = 3  # closeness of a key that only contains the name


def closeness(key: str, name: str) -> int | None:
    """Return how well `key` matches `name`, or None if it does not.

    0 the same, 1 except for separators, 2 also except for case, 3 if the key only ends with the name, or has it as subject.
    """
    if key == name:
        return 0
    of_key, of_name = words(key), words(name)
    if not of_name:
        return None
    if "".join(of_key) == "".join(of_name):
        return 1
    if "".join(of_key).casefold() == "".join(of_name).casefold():
        return 2
    asked = tuple(map(str.casefold, of_name))
    for phrase in (of_key, words(head(key))):
        if tuple(map(str.casefold, phrase[-len(asked) :])) == asked:
            return 3
    return None
