"""Reads and assignments of names in a Python file, as offsets into its text.

    PythonFile --_Walk--> reads and bindings, scope by scope --resolve--> FileReads

`scopes` resolves a name to its binding, and tells whether that is fixed.
"""

import re
from dataclasses import dataclass, field
from typing import TypeAlias

import libcst as cst

from studio.script.constants import UNKNOWN, constant
from studio.script.python_file import PythonFile
from studio.script.scopes import Scope, ScopeVisitor, assignments

_OPTION = re.compile(r"--(\w[\w-]*)")


@dataclass(frozen=True)
class Read:
    """A read of a name.

    start, stop  offsets into the UTF-8 text
    tight        binds tighter than a minus sign (`x ** 2`, `-x`, `x[0]`): a negative number needs parentheses
    attribute    is followed by a dot: any number needs parentheses
    quotes       delimiters of the f-strings around it, which cannot be used inside before Python 3.12
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


@dataclass(frozen=True)
class Assigned:
    """An assignment to a name.

    value     the constant that is assigned; UNKNOWN if it is not a constant
    literal   position of the constant
    branches  the `if`s around it, and which branch of each
    """

    line: int
    value: object = UNKNOWN
    literal: Read | None = None
    branches: tuple[tuple[int, int], ...] = ()
    augmented: bool = False
    shown: str = ""

    def excludes(self, other: "Assigned") -> bool:
        """Return whether the two are in different branches of one `if`."""
        mine = dict(self.branches)
        return any(mine.get(statement, branch) != branch for statement, branch in other.branches)


@dataclass
class Variable:
    """A name in the scope that binds it, with its reads and assignments in the order of the text."""

    name: str
    where: tuple[str, ...]  # the functions and classes around that scope
    reads: list[Read] = field(default_factory=list)
    assigned: list[Assigned] = field(default_factory=list)


@dataclass
class FileReads:
    """All reads of one file.

    variables  variables that may take a value: name -> one for each scope
    fixed      reads of names that may not
    debugs     f-strings that print the text of their expression
    artifacts  names passed to `get_artifact`
    options    `lr` for a string that begins with `--lr`
    """

    variables: dict[str, list[Variable]] = field(default_factory=dict)
    fixed: list[Read] = field(default_factory=list)
    debugs: list[Debug] = field(default_factory=list)
    artifacts: set[str] = field(default_factory=set)
    options: set[str] = field(default_factory=set)

    @property
    def words(self) -> set[str]:
        """All names that are read or assigned."""
        return {read.name for read in self.fixed} | set(self.variables)


def find_reads(file: PythonFile) -> FileReads:
    """Return every read and assignment of every name in `file`."""
    walk = _Walk()
    file.visit(walk)
    found = FileReads(artifacts=walk.artifacts, options=walk.options)
    scopes: dict[tuple[str, int], Variable] = {}

    def variable(name: str, scope: Scope) -> Variable:
        key = (name, id(scope))
        if key not in scopes:
            scopes[key] = Variable(name, scope.where)
            found.variables.setdefault(name, []).append(scopes[key])
        return scopes[key]

    for name, scope, nodes in assignments(walk.scopes):
        made = sorted((_assigned(file, walk, node) for node in nodes), key=lambda one: one.line)
        variable(name, scope).assigned.extend(made)
    for node, scope, quotes in walk.names:
        start, stop = file.span(node)
        tight = node in walk.tight and not node.lpar
        attribute = tight and node in walk.before_dot
        read = Read(node.value, start, stop, file.line_at(start), tight, attribute, quotes)
        owner = scope.owner(node.value)
        if node.value in owner.fixed:
            found.fixed.append(read)
        else:
            variable(node.value, owner).reads.append(read)
    for expression, quotes in walk.debugs:
        start, equal, stop = (file.offset(expression, skip) for skip in _debug_offsets(file.module, expression))
        shows_repr = expression.conversion is None and expression.format_spec is None
        found.debugs.append(Debug(start, equal, stop, file.line(expression), quotes, shows_repr))
    return found


def _assigned(file: PythonFile, walk: "_Walk", node: cst.Name) -> Assigned:
    given, branches, quotes, shown = walk.given.get(node, (None, (), (), None))
    line = file.line(node)
    value = constant(given) if given is not None else UNKNOWN
    text = file.code(shown)[:80] if shown is not None else ""
    if value is UNKNOWN or given is None:
        return Assigned(line, branches=branches, augmented=node in walk.augmented, shown=text)
    literal = Read(node.value, *file.span(given), line, False, False, quotes)
    return Assigned(line, value, literal, branches, shown=text)


_Expression: TypeAlias = "cst.FormattedStringExpression | cst.TemplatedStringExpression"


def _debug_offsets(module: cst.Module, node: _Expression) -> tuple[int, int, int]:
    """Return offsets from the start of `node`: the brace, the `=` with the blanks around it, and the rest."""

    def size(*parts: cst.CSTNode | None) -> int:
        return sum(len(module.code_for_node(part).encode()) for part in parts if part is not None)

    equal = 1 + size(node.whitespace_before_expression, node.expression, node.whitespace_after_expression)
    return 0, equal, equal + size(node.equal)


_Given: TypeAlias = "tuple[cst.BaseExpression | None, tuple[tuple[int, int], ...], tuple[str, ...], cst.CSTNode]"


class _Walk(ScopeVisitor):
    """Collector of reads, each with its scope and the syntax around it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[tuple[cst.Name, Scope, tuple[str, ...]]] = []
        self.tight: set[cst.CSTNode] = set()
        self.before_dot: set[cst.CSTNode] = set()
        self.debugs: list[tuple[_Expression, tuple[str, ...]]] = []
        self.artifacts: set[str] = set()
        self.options: set[str] = set()
        self.given: dict[cst.Name, _Given] = {}  # the value assigned to a name, and where
        self.augmented: set[cst.Name] = set()
        self._quotes: list[str] = []
        self._branches: list[tuple[int, int]] = []

    def visit_Assign(self, node: cst.Assign) -> bool:
        for target in node.targets:
            self._pair(target.target, node.value, node)
        return super().visit_Assign(node)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> bool:
        if node.value is not None:
            self._pair(node.target, node.value, node)
        return super().visit_AnnAssign(node)

    def visit_AugAssign(self, node: cst.AugAssign) -> bool:
        if isinstance(node.target, cst.Name):
            self._note(node.target, None, node)
            self.augmented.add(node.target)
        return super().visit_AugAssign(node)

    def visit_NamedExpr(self, node: cst.NamedExpr) -> bool:
        self._pair(node.target, node.value, node)
        return super().visit_NamedExpr(node)

    def _pair(self, target: cst.CSTNode, value: cst.BaseExpression, shown: cst.CSTNode) -> None:
        """Record the value of each name in `target`: `a, b = 1, 2` gives each its own."""
        if isinstance(target, cst.Name):
            self._note(target, value, shown)
        elif isinstance(target, cst.Tuple | cst.List) and isinstance(value, cst.Tuple | cst.List):
            starred = any(isinstance(e, cst.StarredElement) for e in (*target.elements, *value.elements))
            if not starred and len(target.elements) == len(value.elements):
                for left, right in zip(target.elements, value.elements, strict=True):
                    self._pair(left.value, right.value, shown)

    def _note(self, target: cst.Name, value: cst.BaseExpression | None, shown: cst.CSTNode) -> None:
        self.given[target] = (value, tuple(self._branches), tuple(self._quotes), shown)

    def visit_If(self, node: cst.If) -> bool:
        node.test.visit(self)
        self._branches.append((id(node), 0))
        node.body.visit(self)
        if node.orelse is not None:
            self._branches[-1] = (id(node), 1)
            node.orelse.visit(self)
        self._branches.pop()
        return False

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
