"""A Python file: its text, parsed once, and the positions of its nodes.

    bytes --decode--> text --libcst--> nodes, each with offsets into the UTF-8 text

libcst is used because ast has correct positions within f-strings only from Python 3.12 on.
"""

import ast
import re
import sys
import threading
import tokenize
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from typing import TypeVar

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper
from libcst.metadata.span_provider import CodeSpan

from studio.errors import SubstitutionError

_BOM = b"\xef\xbb\xbf"
_NEWLINE = re.compile(rb"\r\n?|\n")
_BLANKS = b" \t\f\r\n\\"
_FRAMES = 20_000  # libcst takes about six per level: an `elif` chain of 200 exceeds Python's 1000
_STACK = 512 * 2**20  # bytes of address space; only touched pages take memory
_DEEPEST = 200  # nested brackets: Python itself rejects more
_TOKENS = re.compile(
    r"""#[^\n\r]*|'{3}(?:\\.|[^\\])*?'{3}|"{3}(?:\\.|[^\\])*?"{3}"""
    r"""|'(?:\\.|[^\\'\n])*'|"(?:\\.|[^\\"\n])*"|[(\[{]|[)\]}]""",
    re.DOTALL,
)

T = TypeVar("T")


class PythonFile:
    """The text of one file and its syntax tree.

    Raises SubstitutionError, when the tree is first used, if the text does not parse or cannot be restored byte for byte.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.encoding, self.text = decode(path, data)
        self._bom = _BOM if data.startswith(_BOM) else b""
        if self.encode(self.text) != data:
            raise SubstitutionError(
                f"{path!r} cannot be decoded from {self.encoding} and encoded again without changes: save it as UTF-8"
            )

    def encode(self, text: str) -> bytes:
        return self._bom + text.encode(self.encoding)

    def shown(self, text: str) -> str:
        """Return `text` as a diff of this file shows it."""
        return text

    def can_encode(self, value: str) -> bool:
        try:
            value.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    @cached_property
    def module(self) -> cst.Module:
        return self._parsed[0]

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """Return the start and stop of `node`, offsets into the UTF-8 text, without parentheses around it."""
        _, spans, positions = self._parsed
        start = positions[spans[node].start]
        return start, positions[spans[node].start + spans[node].length]

    def offset(self, node: cst.CSTNode, skip: int) -> int:
        """Return the offset of the byte that is `skip` bytes after the start of `node` in the parser's code."""
        _, spans, positions = self._parsed
        return positions[spans[node].start + skip]

    def line(self, node: cst.CSTNode) -> int:
        return self.line_at(self.span(node)[0])

    def line_at(self, offset: int) -> int:
        return bisect_right(self._newlines, offset) + 1

    def code(self, node: cst.CSTNode) -> str:
        """Return the text of `node`, on one line."""
        return " ".join(self.module.code_for_node(node).split())

    def visit(self, visitor: cst.CSTVisitor) -> None:
        """Send `visitor` through the complete tree."""
        module = self.module
        deep(lambda: module.visit(visitor), self.path)

    @cached_property
    def _newlines(self) -> list[int]:
        return [newline.end() for newline in _NEWLINE.finditer(self.text.encode())]

    @cached_property
    def _parsed(self) -> tuple[cst.Module, Mapping[cst.CSTNode, CodeSpan], Sequence[int]]:
        check_depth(self.path, self.text)
        return deep(self._parse, self.path)

    def _parse(self) -> tuple[cst.Module, Mapping[cst.CSTNode, CodeSpan], Sequence[int]]:
        try:
            module = cst.parse_module(self.text)
            code = module.code
            wrapper = MetadataWrapper(module, unsafe_skip_copy=True)  # a parsed tree shares no nodes
            spans = wrapper.resolve(ByteSpanPositionProvider)
        except cst.ParserSyntaxError as error:
            raise _unparsed(self.path, self.text, error) from None
        return wrapper.module, spans, _positions(self.path, self.text.encode(), code.encode())


def decode(path: str, data: bytes) -> tuple[str, str]:
    """Return encoding and text of a Python file, by its BOM or coding comment. Raises SubstitutionError."""
    try:
        encoding = tokenize.detect_encoding(BytesIO(data).readline)[0].removesuffix("-sig")
        return encoding, data.removeprefix(_BOM).decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SubstitutionError(
            f"{path}:{line}: not {error.encoding}: save the file as UTF-8, "
            "or declare its encoding in the first line, such as `# -*- coding: latin-1 -*-`"
        ) from None
    except (SyntaxError, LookupError) as error:
        raise SubstitutionError(
            f"{path!r} cannot be decoded ({error}): save it as UTF-8, or correct its `# -*- coding: … -*-` line"
        ) from None


def check_depth(path: str, text: str) -> None:
    """Raise SubstitutionError for brackets nested so deeply that a parser would overflow its stack and end the process."""
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[0] in "([{":
            depth += 1
            if depth > _DEEPEST:
                line = text.count("\n", 0, token.start()) + 1
                raise SubstitutionError(
                    f"{path}:{line}: nested too deeply: Python allows {_DEEPEST} levels of brackets"
                )
        elif token[0] in ")]}":
            depth = max(0, depth - 1)


def deep(work: Callable[[], T], path: str) -> T:
    """Return the result of `work`, run on a stack that is large enough for long chains."""
    result: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with _many_frames():
                result.append(work())
        except BaseException as error:
            raised.append(error)

    before = threading.stack_size(_STACK)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    if raised:
        if isinstance(raised[0], RecursionError):
            raise SubstitutionError(f"{path!r} is nested too deeply: split its longest expression")
        raise raised[0]
    return result[0]


@contextmanager
def _many_frames() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _positions(path: str, text: bytes, code: bytes) -> Sequence[int]:
    """Return the position in `text` of each byte of `code`, the parser's output.

    libcst 1.9 loses blanks in `except E :`, at the very end, and form feeds before code. Nothing else may differ.
    """
    if code == text:
        return range(len(text) + 1)
    positions, at = [], 0
    for byte in code:
        while at < len(text) and text[at] != byte and text[at] in _BLANKS:
            at += 1
        if text[at : at + 1] != bytes([byte]):
            break
        positions.append(at)
        at += 1
    if len(positions) < len(code) or text[at:].strip(_BLANKS):
        line = len(_NEWLINE.findall(text, 0, at)) + 1
        raise SubstitutionError(f"{path}:{line}: this line would not survive rewriting: reformat it")
    return [*positions, at]


def _unparsed(path: str, text: str, error: cst.ParserSyntaxError) -> SubstitutionError:
    try:  # Python's own message is better, if it finds an error as well
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
    except SyntaxError as own:
        return SubstitutionError(f"{path}:{own.lineno or error.raw_line}: {own.msg}: correct it for Python 3")
    except ValueError as own:  # null bytes
        return SubstitutionError(f"{path}:{error.raw_line}: {own}: remove them")
    return SubstitutionError(f"{path}:{error.raw_line}: the parser does not know this syntax: rewrite the line")
