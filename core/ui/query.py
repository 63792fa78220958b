"""The query box of the table, `lr < 1e-3 and optimizer = adam`, as a function of a row: what static/query.js does in the page.

    query  = all { "or" all }          all = one { "and" one }      one = "not" one | "(" query ")" | test
    test   = NAME OPERATOR VALUE | WORD                             operators: = != < <= > >= ~ (contains)

A word alone is looked for in the texts of a row. Names and values with blanks stand in quotes. What is missing is no answer to
any question, not even to !=.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from studio.errors import BadInput

Row = int
Holds = Callable[[Row], bool]
Columns = Mapping[str, Callable[[Row], Any]]  # name -> the value in a row: a number, a text, or None

_TOKEN = re.compile(
    r"""\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(<=|>=|!=|==|≤|≥|≠|[<>=~()])|([^\s<>=!~()≤≥≠"']+))"""
)
_SAME = {"==": "=", "≤": "<=", "≥": ">=", "≠": "!="}
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_OPERATORS = {"=", "!=", "~", *_ORDER}
DEEPEST = 100  # parentheses and `not` within each other


def parse_query(text: str, columns: Columns, texts: Callable[[Row], list[str]]) -> Holds:
    """BadInput says what is wrong with it, in the words of the page."""
    return _Parser(_tokens(text), columns, texts).whole()


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], columns: Columns, texts: Callable[[Row], list[str]]):
        self._tokens, self._columns, self._texts = tokens, columns, texts
        self._at = self._depth = 0

    def whole(self) -> Holds:
        found = self._any()
        if self._at < len(self._tokens):
            raise BadInput(f"{self._tokens[self._at][1]} has no place here.")
        return found

    def _word(self) -> str:
        kind, text = self._peek()
        return text.lower() if kind == "word" else ""

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ("end", "")

    def _any(self) -> Holds:
        parts = [self._all()]
        while self._word() == "or":
            self._at += 1
            parts.append(self._all())
        return lambda row: any(part(row) for part in parts)

    def _all(self) -> Holds:
        parts = [self._one()]
        while self._at < len(self._tokens) and self._peek()[1] != ")" and self._word() != "or":
            if self._word() == "and":
                self._at += 1
            parts.append(self._one())
        return lambda row: all(part(row) for part in parts)

    def _one(self) -> Holds:
        kind, text = self._peek()
        self._depth += 1
        if kind == "end":
            raise BadInput("The query ends too early.")
        if self._depth > DEEPEST:
            raise BadInput("The query is nested too deeply.")
        if self._word() == "not":
            self._at += 1
            part = self._one()
            found: Holds = lambda row: not part(row)  # noqa: E731
        elif (kind, text) == ("sign", "("):
            self._at += 1
            found = self._any()
            if self._peek()[1] != ")":
                raise BadInput("A closing ) is missing.")
            self._at += 1
        elif kind == "sign":
            raise BadInput(f"A name is missing before {text}")
        else:
            found = self._test(text)
        self._depth -= 1
        return found

    def _test(self, name: str) -> Holds:
        self._at += 1
        kind, sign = self._peek()
        if kind != "sign" or sign not in _OPERATORS:
            wanted = name.lower()
            return lambda row: any(wanted in text.lower() for text in self._texts(row))
        kind, value = self._peek(1)
        if kind in ("sign", "end"):
            raise BadInput(f"A value is missing after {name} {sign}")
        self._at += 2
        column = self._columns.get(name) or self._columns.get(name.lower())
        if column is None:
            raise BadInput(f"No column is called {name}.")
        return _comparison(column, sign, value)


def _comparison(column: Callable[[Row], Any], sign: str, value: str) -> Holds:
    number, text = as_number(value), value.lower()
    limit = 0.0 if number is None else number
    if sign in _ORDER and number is None:
        raise BadInput(f"{sign} needs a number, not {value}.")

    def equal(found: Any) -> bool:
        return found == number if _is_number(found) else str(found).lower() == text

    def holds(row: Row) -> bool:
        found = column(row)
        if found is None:
            return False
        if sign in _ORDER:
            placed = found if isinstance(found, int | float) else as_number(str(found))
            return placed is not None and bool(_ORDER[sign](placed, limit))
        return text in str(found).lower() if sign == "~" else equal(found) == (sign == "=")

    return holds


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadInput(f"{text[at:].strip()} is no name, operator or value.")
        quoted, sign, word = match.groups()
        if quoted:
            found.append(("text", re.sub(r"\\(.)", r"\1", quoted[1:-1])))
        else:
            found.append(("sign", _SAME.get(sign, sign)) if sign else ("word", word))
        at = match.end()
    return found


def as_number(text: str) -> float | None:
    """As the page reads it: no `nan`, no `1_000`."""
    try:
        return float(text) if re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", text, re.IGNORECASE) else None
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
