"""Where a Python file reads which names: scopes as Python has them, places as offsets into its text.

    text --libcst--> reads and bindings, scope by scope --resolve--> FileReads

Only libcst knows places within f-strings (ast has them right from 3.12 on), and its own scope analysis does not tell an
assignment from a loop target. So the walk below keeps the scopes itself, by Python's rules:
https://docs.python.org/3/reference/executionmodel.html#resolution-of-names

A name is *fixed* in a scope that binds it as a parameter, loop or comprehension target, import, `with` or `except`
name, match capture, type parameter, function or class; assigning to it there as well changes nothing.
"""

import ast
import re
import sys
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper

from studio.errors import SubstitutionError

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
    for name, nodes in _assignments(walk.scopes):
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


def _assignments(scopes: "Sequence[_Scope]") -> Iterator[tuple[str, list[cst.Name]]]:
    """Assignments to names that nothing fixes, once those of `global` and `nonlocal` names went where they belong."""
    for scope in scopes:
        for name in scope.declared:
            owner = scope.owner(name)
            if owner is not scope:
                owner.assigned.setdefault(name, []).extend(scope.assigned.pop(name, []))
                owner.fixed |= scope.fixed & {name}
    for scope in scopes:
        yield from ((name, nodes) for name, nodes in scope.assigned.items() if name not in scope.fixed)


def _debug_offsets(module: cst.Module, node: _Expression, start: int) -> tuple[int, int, int]:
    """Of the brace, of the `=` with the blanks around it, and of what follows."""

    def size(*parts: cst.CSTNode | None) -> int:
        return sum(len(module.code_for_node(part).encode()) for part in parts if part is not None)

    equal = start + 1 + size(node.whitespace_before_expression, node.expression, node.whitespace_after_expression)
    return start, equal, equal + size(node.equal)


_Kind = Literal["module", "function", "class", "comprehension", "types"]  # types: where type parameters are known


class _Scope:
    def __init__(self, parent: "_Scope | None", kind: _Kind) -> None:
        self.parent = parent
        self.kind = kind
        self.declared: dict[str, Literal["global", "nonlocal"]] = {}
        self.assigned: dict[str, list[cst.Name]] = {}
        self.fixed: set[str] = set()

    def owner(self, name: str) -> "_Scope":
        """The scope that a use of `name` here means; the module's where nothing binds it."""
        scope, outermost = self, self
        while outermost.parent is not None:
            outermost = outermost.parent
        sees_class = True  # a class body is seen by its own statements, not by functions in it
        while scope.parent is not None:
            if sees_class or scope.kind != "class":
                declared = scope.declared.get(name)
                if declared == "global":
                    return outermost
                if declared is None and (name in scope.assigned or name in scope.fixed):
                    return scope
            sees_class = sees_class and scope.kind == "types"
            scope = scope.parent
        return scope


class _Walk(cst.CSTVisitor):
    """Collects reads and bindings. A `visit_` that returns False has visited by itself what may hold a read."""

    def __init__(self) -> None:
        super().__init__()
        self.scope = _Scope(None, "module")
        self.scopes = [self.scope]
        self.names: list[tuple[cst.Name, _Scope, tuple[str, ...]]] = []
        self.tight: set[cst.CSTNode] = set()
        self.before_dot: set[cst.CSTNode] = set()
        self.debugs: list[tuple[_Expression, tuple[str, ...]]] = []
        self.artifacts: set[str] = set()
        self.options: set[str] = set()
        self._quotes: list[str] = []

    # Reads

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

    # Bindings within a scope

    def _bind(self, target: cst.CSTNode, kind: Literal["assigned", "fixed", "deleted"]) -> None:
        """Names in `target` are bound; `a[lr] = 1` reads `a` and `lr`."""
        if isinstance(target, cst.Tuple | cst.List):
            for element in target.elements:
                self._bind(element.value, kind)
        elif not isinstance(target, cst.Name):
            target.visit(self)
        elif kind == "assigned":
            self.scope.assigned.setdefault(target.value, []).append(target)
        elif kind == "fixed":
            self.scope.fixed.add(target.value)

    def _visit(self, *nodes: cst.CSTNode | None) -> None:
        for node in nodes:
            if node is not None:
                node.visit(self)

    def visit_Assign(self, node: cst.Assign) -> bool:
        for target in node.targets:
            self._bind(target.target, "assigned")
        self._visit(node.value)
        return False

    def visit_AugAssign(self, node: cst.AugAssign) -> bool:
        self._bind(node.target, "assigned")
        self._visit(node.value)
        return False

    def visit_AnnAssign(self, node: cst.AnnAssign) -> bool:
        if node.value is None and isinstance(node.target, cst.Name):
            self.scope.assigned.setdefault(node.target.value, [])  # `lr: float` makes it local and assigns nothing
        else:
            self._bind(node.target, "assigned")
        self._visit(node.annotation, node.value)
        return False

    def visit_NamedExpr(self, node: cst.NamedExpr) -> bool:
        self._visit(node.value)
        inner = self.scope
        while self.scope.kind in ("comprehension", "types") and self.scope.parent is not None:
            self.scope = self.scope.parent
        self._bind(node.target, "assigned")
        self.scope = inner
        return False

    def visit_Del(self, node: cst.Del) -> bool:
        self._bind(node.target, "deleted")
        return False

    def visit_For(self, node: cst.For) -> bool:
        self._bind(node.target, "fixed")
        self._visit(node.iter, node.body, node.orelse)
        return False

    def visit_WithItem(self, node: cst.WithItem) -> bool:
        self._visit(node.item)
        if node.asname is not None:
            self._bind(node.asname.name, "fixed")
        return False

    def visit_ExceptHandler(self, node: cst.ExceptHandler) -> bool:
        return self._handler(node)

    def visit_ExceptStarHandler(self, node: cst.ExceptStarHandler) -> bool:
        return self._handler(node)

    def _handler(self, node: cst.ExceptHandler | cst.ExceptStarHandler) -> bool:
        if node.name is not None:
            self._bind(node.name.name, "fixed")
        self._visit(node.type, node.body)
        return False

    def visit_Import(self, node: cst.Import) -> bool:
        self.scope.fixed |= {name.evaluated_alias or name.evaluated_name.split(".")[0] for name in node.names}
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        if not isinstance(node.names, cst.ImportStar):
            self.scope.fixed |= {name.evaluated_alias or name.evaluated_name for name in node.names}
        return False

    def visit_Global(self, node: cst.Global) -> bool:
        self.scope.declared |= {item.name.value: "global" for item in node.names}
        return False

    def visit_Nonlocal(self, node: cst.Nonlocal) -> bool:
        self.scope.declared |= {item.name.value: "nonlocal" for item in node.names}
        return False

    # Patterns: only captures and nested patterns; no literal can stand where a pattern has a (dotted) name.

    def visit_MatchValue(self, node: cst.MatchValue) -> bool:
        return False

    def visit_MatchClass(self, node: cst.MatchClass) -> bool:
        self._visit(*node.patterns, *node.kwds)
        return False

    def visit_MatchKeywordElement(self, node: cst.MatchKeywordElement) -> bool:
        self._visit(node.pattern)
        return False

    def visit_MatchMappingElement(self, node: cst.MatchMappingElement) -> bool:
        self._visit(node.pattern)
        return False

    def visit_MatchMapping(self, node: cst.MatchMapping) -> bool:
        self._visit(*node.elements)
        return self._capture(node.rest)

    def visit_MatchAs(self, node: cst.MatchAs) -> bool:
        self._visit(node.pattern)
        return self._capture(node.name)

    def visit_MatchStar(self, node: cst.MatchStar) -> bool:
        return self._capture(node.name)

    def _capture(self, name: cst.Name | None) -> bool:
        if name is not None:
            self._bind(name, "fixed")
        return False

    # New scopes

    @contextmanager
    def _inside(self, kind: _Kind) -> Iterator[None]:
        outer, self.scope = self.scope, _Scope(self.scope, kind)
        self.scopes.append(self.scope)
        yield
        self.scope = outer

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        self._bind(node.name, "fixed")
        self._visit(*node.decorators)
        with self._inside("types"):
            self._visit(node.type_parameters)
            self._function(node.params, node.returns, node.body)
        return False

    def visit_Lambda(self, node: cst.Lambda) -> bool:
        self._function(node.params, None, node.body)
        return False

    def _function(self, signature: cst.Parameters, returns: cst.Annotation | None, body: cst.CSTNode) -> None:
        parameters = list(_parameters(signature))
        for parameter in parameters:  # evaluated outside
            self._visit(parameter.annotation, parameter.default)
        self._visit(returns)
        with self._inside("function"):
            for parameter in parameters:
                self._bind(parameter.name, "fixed")
            self._visit(body)

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        self._bind(node.name, "fixed")
        self._visit(*node.decorators)
        with self._inside("types"):
            self._visit(node.type_parameters, *node.bases, *node.keywords)
            with self._inside("class"):
                self._visit(node.body)
        return False

    def visit_TypeAlias(self, node: cst.TypeAlias) -> bool:
        self._bind(node.name, "fixed")
        with self._inside("types"):
            self._visit(node.type_parameters, node.value)
        return False

    def visit_TypeParam(self, node: cst.TypeParam) -> bool:
        self._bind(node.param.name, "fixed")
        if isinstance(node.param, cst.TypeVar):
            self._visit(node.param.bound)
        return False

    def visit_ListComp(self, node: cst.ListComp) -> bool:
        return self._comprehension(node.for_in, node.elt)

    def visit_SetComp(self, node: cst.SetComp) -> bool:
        return self._comprehension(node.for_in, node.elt)

    def visit_GeneratorExp(self, node: cst.GeneratorExp) -> bool:
        return self._comprehension(node.for_in, node.elt)

    def visit_DictComp(self, node: cst.DictComp) -> bool:
        return self._comprehension(node.for_in, node.key, node.value)

    def _comprehension(self, clause: cst.CompFor, *elements: cst.CSTNode) -> bool:
        self._visit(clause.iter)  # the first iterable alone is evaluated outside
        with self._inside("comprehension"):
            self._bind(clause.target, "fixed")
            self._visit(*clause.ifs)
            inner = clause.inner_for_in
            while inner is not None:
                self._visit(inner.iter)
                self._bind(inner.target, "fixed")
                self._visit(*inner.ifs)
                inner = inner.inner_for_in
            self._visit(*elements)
        return False


def _parameters(signature: cst.Parameters) -> Iterable[cst.Param]:
    for parameter in (
        *signature.posonly_params,
        *signature.params,
        signature.star_arg,
        *signature.kwonly_params,
        signature.star_kwarg,
    ):
        if isinstance(parameter, cst.Param):  # star_arg may be a bare star
            yield parameter
