"""Where a Python file reads which names, as offsets into its text.

    text --libcst--> reads and bindings, scope by scope --resolve--> FileReads

Only libcst knows places within f-strings (ast has them right from 3.12 on). `scopes` says which binding a name means,
and whether that fixes it.
"""

import ast
import re
import sys
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper

from studio.errors import SubstitutionError
from studio.script.scopes import Scope, ScopeVisitor, assignments

_OPTION = re.compile(r"--(\w[\w-]*)")
_NEWLINE = re.compile(rb"\r\n?|\n")
_BLANKS = b" \t\f\r\n\\"
_FRAMES = 10_000  # libcst spends about six on a level: an `elif` chain of 200 would not fit in Python's 1000


@dataclass(frozen=True)
class Read:
    """One read of a name.

    start, stop  offsets into the UTF-8 text
    tight        binds tighter than a minus sign (`x ** 2`, `-x`, `x[0]`): a negative number needs parentheses
    attribute    is followed by a dot: any number needs parentheses
    quotes       delimiters of the f-strings around it, which cannot occur in its place before Python 3.12
    """

    name: str
    start: int
    stop: int
    line: int
    tight: bool
    attribute: bool
    quotes: tuple[str, ...]


@dataclass(frozen=True)
class Debug:
    """An f-string's `{expression=}`; offsets of its brace and of its `=` with the blanks around it."""

    start: int
    equal: int
    stop: int
    line: int
    quotes: tuple[str, ...]
    shows_repr: bool  # neither a conversion nor a format was given


@dataclass
class FileReads:
    """What one file reads: `free` reads may take a value, `fixed` ones may not; `assigned` has each name's lines."""

    free: list[Read] = field(default_factory=list)
    fixed: list[Read] = field(default_factory=list)
    assigned: dict[str, list[int]] = field(default_factory=dict)
    debugs: list[Debug] = field(default_factory=list)
    artifacts: set[str] = field(default_factory=set)  # names given to `get_artifact`
    options: set[str] = field(default_factory=set)  # `lr` where a string begins with `--lr`

    @property
    def words(self) -> set[str]:
        """Every name that is read or assigned."""
        return {read.name for read in (*self.free, *self.fixed)} | set(self.assigned)


def find_reads(path: str, text: str) -> FileReads:
    """Every read of every name in `text`; `path` names it in the SubstitutionError for what does not parse."""
    with _deep_stack():
        try:
            module = cst.parse_module(text)
            code = module.code
            wrapper = MetadataWrapper(module, unsafe_skip_copy=True)  # a parsed tree shares no nodes
            spans = wrapper.resolve(ByteSpanPositionProvider)
            walk = _Walk()
            wrapper.module.visit(walk)
        except cst.ParserSyntaxError as error:
            raise _unparsed(path, text, error) from None
        except RecursionError:
            raise SubstitutionError(
                f"{path!r} is nested too deeply to be read: break up its longest expression"
            ) from None
    data = text.encode()
    positions = _positions(path, data, code.encode())
    newlines = [newline.end() for newline in _NEWLINE.finditer(data)]

    def line(node: cst.CSTNode) -> int:
        return bisect_right(newlines, positions[spans[node].start]) + 1

    found = FileReads(artifacts=walk.artifacts, options=walk.options)
    for name, nodes in assignments(walk.scopes):
        found.assigned.setdefault(name, []).extend(line(node) for node in nodes)
    for node, scope, quotes in walk.names:
        start, tight = positions[spans[node].start], node in walk.tight and not node.lpar
        attribute = tight and node in walk.before_dot
        read = Read(node.value, start, start + spans[node].length, line(node), tight, attribute, quotes)
        kind = found.fixed if node.value in scope.owner(node.value).fixed else found.free
        kind.append(read)
    for expression, quotes in walk.debugs:
        start, equal, stop = (
            positions[offset] for offset in _debug_offsets(module, expression, spans[expression].start)
        )
        shows_repr = expression.conversion is None and expression.format_spec is None
        found.debugs.append(Debug(start, equal, stop, line(expression), quotes, shows_repr))
    return found


_Expression: TypeAlias = "cst.FormattedStringExpression | cst.TemplatedStringExpression"


@contextmanager
def _deep_stack() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _positions(path: str, text: bytes, code: bytes) -> Sequence[int]:
    """Where each byte of `code`, as the parser gives it back, is in `text`.

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
        raise SubstitutionError(f"{path}:{line}: the parser does not give this line back byte for byte: write it anew")
    return [*positions, at]


def _unparsed(path: str, text: str, error: cst.ParserSyntaxError) -> SubstitutionError:
    try:  # Python's own words are better, where it agrees that this is wrong
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
    except SyntaxError as own:
        return SubstitutionError(f"{path}:{own.lineno or error.raw_line}: {own.msg}: correct it, as Python 3 needs it")
    except ValueError as own:  # null bytes
        return SubstitutionError(f"{path}:{error.raw_line}: {own}: remove them")
    return SubstitutionError(f"{path}:{error.raw_line}: the parser does not know this syntax: write it in another way")


def _debug_offsets(module: cst.Module, node: _Expression, start: int) -> tuple[int, int, int]:
    """Of the brace, of the `=` with the blanks around it, and of what follows."""

    def size(*parts: cst.CSTNode | None) -> int:
        return sum(len(module.code_for_node(part).encode()) for part in parts if part is not None)

    equal = start + 1 + size(node.whitespace_before_expression, node.expression, node.whitespace_after_expression)
    return start, equal, equal + size(node.equal)


class _Walk(ScopeVisitor):
    """Collects the reads, each with its scope, and what stands around them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[tuple[cst.Name, Scope, tuple[str, ...]]] = []
        self.tight: set[cst.CSTNode] = set()
        self.before_dot: set[cst.CSTNode] = set()
        self.debugs: list[tuple[_Expression, tuple[str, ...]]] = []
        self.artifacts: set[str] = set()
        self.options: set[str] = set()
        self._quotes: list[str] = []

    def visit_Name(self, node: cst.Name) -> bool:
        self.names.append((node, self.scope, tuple(self._quotes)))
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        self.tight.add(node.value)
        self.before_dot.add(node.value)
        node.value.visit(self)
        return False

    def visit_Arg(self, node: cst.Arg) -> bool:
        node.value.visit(self)
        return False

    def visit_Call(self, node: cst.Call) -> None:
        self.tight.add(node.func)
        last = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
        if isinstance(last, cst.Name) and last.value == "get_artifact" and node.args:
            tag = node.args[0].value
            if isinstance(tag, cst.SimpleString):
                self.artifacts.add(str(tag.raw_value))

    def visit_Subscript(self, node: cst.Subscript) -> None:
        self.tight.add(node.value)

    def visit_Await(self, node: cst.Await) -> None:
        self.tight.add(node.expression)

    def visit_UnaryOperation(self, node: cst.UnaryOperation) -> None:
        if not isinstance(node.operator, cst.Not):
            self.tight.add(node.expression)

    def visit_BinaryOperation(self, node: cst.BinaryOperation) -> None:
        if isinstance(node.operator, cst.Power):
            self.tight |= {node.left, node.right}

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        if option := _OPTION.match(str(node.raw_value)):
            self.options.add(option[1])

    def visit_FormattedString(self, node: cst.FormattedString) -> None:
        self._quotes.append(node.end)

    def leave_FormattedString(self, original_node: cst.FormattedString) -> None:
        self._quotes.pop()

    def visit_TemplatedString(self, node: "cst.TemplatedString") -> None:
        self._quotes.append(node.end)

    def leave_TemplatedString(self, original_node: "cst.TemplatedString") -> None:
        self._quotes.pop()

    def visit_FormattedStringExpression(self, node: cst.FormattedStringExpression) -> None:
        if node.equal is not None:
            self.debugs.append((node, tuple(self._quotes)))

    def visit_TemplatedStringExpression(self, node: "cst.TemplatedStringExpression") -> None:
        if node.equal is not None:
            self.debugs.append((node, tuple(self._quotes)))
