"""Definitions and calls of a Python file, and the constants in it that have a name.

    PythonFile --Outline--> functions, classes, calls, imports, and `Named` constants: a dict's key, a keyword of a call,
                            an attribute, a field of a class, a default of a parameter

Nothing is executed: the meaning of a name is taken from the text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import libcst as cst

from studio.script.constants import UNKNOWN, constant
from studio.script.python_file import PythonFile


@dataclass(frozen=True)
class Named:
    """A constant with a name: `SVC(C=1.0)` has `C` within `SVC`. `shown` is the node to quote."""

    name: str
    within: tuple[str, ...]
    kind: str
    node: cst.BaseExpression
    value: object
    shown: cst.CSTNode
    quotes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parameter:
    name: str
    annotation: cst.BaseExpression | None
    default: cst.BaseExpression | None
    positional: bool
    node: cst.Param


@dataclass(frozen=True)
class Function:
    name: str
    within: tuple[str, ...]  # classes and functions around it
    parameters: list[Parameter]
    decorators: list[cst.BaseExpression]
    node: cst.FunctionDef
    in_class: str = ""  # the class whose method it is


@dataclass(frozen=True)
class Field:
    name: str
    annotation: cst.BaseExpression | None
    value: cst.BaseExpression | None
    node: cst.CSTNode


@dataclass(frozen=True)
class Class:
    name: str
    bases: list[str]
    decorators: list[cst.BaseExpression]
    node: cst.ClassDef
    fields: list[Field] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """A call of `callee`, as dotted names; `within`: the names around it, outermost first."""

    callee: str
    node: cst.Call
    within: tuple[str, ...]

    @property
    def last(self) -> str:
        return self.callee.rpartition(".")[2]

    def keyword(self, name: str) -> cst.BaseExpression | None:
        return next((a.value for a in self.node.args if a.keyword is not None and a.keyword.value == name), None)

    @property
    def positionals(self) -> list[cst.BaseExpression]:
        return [arg.value for arg in self.node.args if arg.keyword is None and not arg.star]


@dataclass(frozen=True)
class Import:
    module: str  # dotted, `.`s in front where relative
    names: tuple[str, ...]  # empty for `import module`; `*` for all
    node: cst.CSTNode


def dotted(node: cst.CSTNode | None) -> str:
    """Return `a.b.c` for names and attributes, `a.b` for `a.b()` and `a.b[0]`; empty for other expressions."""
    match node:
        case cst.Name():
            return node.value
        case cst.Attribute():
            inner = dotted(node.value)
            return f"{inner}.{node.attr.value}" if inner else node.attr.value
        case cst.Call():
            return dotted(node.func)
        case cst.Subscript():
            return dotted(node.value)
    return ""


def text_of(node: cst.CSTNode | None) -> str | None:
    """Return the text that a string literal means; None for another node."""
    if isinstance(node, cst.SimpleString | cst.ConcatenatedString):
        value = node.evaluated_value
        return value if isinstance(value, str) else None
    return None


class Outline(cst.CSTVisitor):
    """All parts of one file that a kind of place may look for."""

    def __init__(self, file: PythonFile) -> None:
        super().__init__()
        self.file = file
        self.functions: list[Function] = []
        self.classes: list[Class] = []
        self.calls: list[Call] = []
        self.imports: list[Import] = []
        self.named: list[Named] = []
        self.subscripts: list[cst.Subscript] = []
        self.strings: list[cst.SimpleString] = []
        self.assigned_calls: dict[cst.Call, str] = {}  # `p = ArgumentParser()`: the name that holds what a call returns
        self.assigns: list[tuple[str, cst.BaseExpression, cst.CSTNode]] = []  # to one name, `a = f(1)`
        self.unpacked: list[cst.Assign] = []  # `a, b = …`
        self._within: list[str] = []
        self._kinds: list[str] = []  # of `_within`: class, function, or other
        self._quotes: list[str] = []
        file.visit(self)
        self._match_calls()

    # Names around a node

    @contextmanager
    def _inside(self, name: str, kind: str = "") -> Iterator[None]:
        if name:
            self._within.append(name)
            self._kinds.append(kind)
        yield
        if name:
            self._within.pop()
            self._kinds.pop()

    def _visit(self, *nodes: cst.CSTNode | None) -> None:
        for node in nodes:
            if node is not None:
                node.visit(self)

    def _found(self, name: str, kind: str, node: cst.BaseExpression, shown: cst.CSTNode) -> None:
        """Record the constant `node` under `name`; the constants of a list or tuple under their indices."""
        value = constant(node)
        quotes = tuple(self._quotes)
        if value is not UNKNOWN:
            self.named.append(Named(name, tuple(self._within), kind, node, value, shown, quotes))
        elif isinstance(node, cst.List | cst.Tuple):
            for index, element in enumerate(node.elements):
                value = constant(element.value) if isinstance(element, cst.Element) else UNKNOWN
                if value is not UNKNOWN:
                    item = Named(f"{name}[{index}]", tuple(self._within), kind, element.value, value, shown, quotes)
                    self.named.append(item)

    # Definitions

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        self._visit(*node.decorators)
        in_class = self._within[-1] if self._kinds and self._kinds[-1] == "class" else ""
        parameters = list(_parameters(node.params))
        decorators = [decorator.decorator for decorator in node.decorators]
        self.functions.append(Function(node.name.value, tuple(self._within), parameters, decorators, node, in_class))
        for parameter in parameters:
            self._visit(parameter.annotation, parameter.default)
        with self._inside(node.name.value, "function"):
            node.body.visit(self)
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        self._visit(*node.decorators, *node.bases, *node.keywords)
        bases = [dotted(base.value) for base in node.bases]
        self.classes.append(Class(node.name.value, bases, [d.decorator for d in node.decorators], node))
        with self._inside(node.name.value, "class"):
            node.body.visit(self)
        return False

    # Assignments

    def visit_Assign(self, node: cst.Assign) -> bool:
        for target in node.targets:
            self._target(target.target, node.value, node, None)
            if isinstance(target.target, cst.Tuple | cst.List):
                self.unpacked.append(node)
        self._visit(*(target.target for target in node.targets))
        with self._inside(_holder(node.targets[-1].target)):
            node.value.visit(self)
        return False

    def visit_AnnAssign(self, node: cst.AnnAssign) -> bool:
        if node.value is not None or (self._kinds and self._kinds[-1] == "class"):
            self._target(node.target, node.value, node, node.annotation.annotation)
        self._visit(node.target, node.annotation)
        with self._inside(_holder(node.target)):
            self._visit(node.value)
        return False

    def visit_NamedExpr(self, node: cst.NamedExpr) -> bool:
        with self._inside(_holder(node.target)):
            node.value.visit(self)
        return False

    def _target(
        self,
        target: cst.BaseExpression,
        value: cst.BaseExpression | None,
        shown: cst.CSTNode,
        annotation: cst.BaseExpression | None,
    ) -> None:
        if isinstance(target, cst.Name):
            if value is not None:
                self.assigns.append((target.value, value, shown))
                if isinstance(value, cst.Call):
                    self.assigned_calls[value] = target.value
            if self._kinds and self._kinds[-1] == "class":
                self.classes_by_name(self._within[-1])[-1].fields.append(Field(target.value, annotation, value, shown))
                default: cst.BaseExpression | None = value
                if isinstance(value, cst.Call):  # `field(default=0.1)`, `Field(0.1)`
                    default = _default_of_field(value)
                if default is not None:
                    self._found(target.value, "field" if annotation is not None else "class attribute", default, shown)
            elif isinstance(value, cst.List | cst.Tuple):
                self._found(target.value, "list", value, shown)
        elif isinstance(target, cst.Attribute) and value is not None:
            holder = dotted(target.value).split(".")
            with self._inside(".".join(holder)):
                self._found(target.attr.value, "attribute", value, shown)
        elif isinstance(target, cst.Subscript) and value is not None and len(target.slice) == 1:
            index = target.slice[0].slice
            key = text_of(index.value) if isinstance(index, cst.Index) else None
            if key is not None:
                with self._inside(_subscripted(target.value)):
                    self._found(key, "dict key", value, shown)
        elif (
            isinstance(target, cst.Tuple | cst.List)
            and isinstance(value, cst.Tuple | cst.List)
            and len(target.elements) == len(value.elements)
        ):
            for left, right in zip(target.elements, value.elements, strict=True):
                self._target(left.value, right.value, shown, None)

    def classes_by_name(self, name: str) -> list[Class]:
        return [found for found in self.classes if found.name == name]

    # Expressions

    def visit_Call(self, node: cst.Call) -> bool:
        callee = dotted(node.func)
        self.calls.append(Call(callee, node, tuple(self._within)))
        last = callee.rpartition(".")[2]
        kind = "dict key" if callee == "dict" else "keyword"
        node.func.visit(self)
        for arg in node.args:
            if arg.keyword is None:
                with self._inside("" if callee == "dict" else last):
                    arg.value.visit(self)
                continue
            with self._inside("" if callee == "dict" else last):
                self._found(arg.keyword.value, kind, arg.value, node)
                with self._inside(arg.keyword.value):
                    arg.value.visit(self)
        return False

    def visit_Dict(self, node: cst.Dict) -> bool:
        for element in node.elements:
            if isinstance(element, cst.DictElement):
                element.key.visit(self)
                key = text_of(element.key)
                if key is not None:
                    self._found(key, "dict key", element.value, element)
                with self._inside(key or ""):
                    element.value.visit(self)
            else:
                element.value.visit(self)
        return False

    def visit_Subscript(self, node: cst.Subscript) -> None:
        self.subscripts.append(node)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        self.strings.append(node)

    def visit_FormattedString(self, node: cst.FormattedString) -> None:
        self._quotes.append(node.end)

    def leave_FormattedString(self, original_node: cst.FormattedString) -> None:
        self._quotes.pop()

    def visit_Import(self, node: cst.Import) -> bool:
        self.imports += [Import(name.evaluated_name, (), node) for name in node.names]
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        module = "." * len(node.relative) + dotted(node.module)
        star = isinstance(node.names, cst.ImportStar)
        names = ("*",) if star else tuple(name.evaluated_name for name in node.names)  # type: ignore[union-attr]
        self.imports.append(Import(module, names, node))
        return False

    # Calls of the functions of this file

    def _match_calls(self) -> None:
        """Record defaults that some call leaves out, and positional constants by the parameter's name."""
        for function in self.functions:
            known_as = function.in_class if function.name == "__init__" else function.name
            skip = 1 if function.in_class and not _is_static(function) else 0
            calls = [call for call in self.calls if call.last == known_as]
            takes = [p for p in function.parameters if p.positional][skip:]
            for call in calls:
                for parameter, value in zip(takes, call.positionals, strict=False):
                    if (known := constant(value)) is not UNKNOWN:
                        within = (*call.within, known_as)
                        self.named.append(Named(parameter.name, within, "argument", value, known, call.node))
            for parameter in function.parameters:
                if parameter.default is None:
                    continue
                given = [call for call in calls if _gives(call, parameter, takes)]
                if calls and len(given) == len(calls):
                    continue
                within = (*function.within, *([] if function.name == "__init__" else [function.name]))
                self._within, self._kinds = list(within), [""] * len(within)
                self._found(parameter.name, "default", parameter.default, parameter.node)
                self._within, self._kinds = [], []


def _gives(call: Call, parameter: Parameter, takes: list[Parameter]) -> bool:
    if call.keyword(parameter.name) is not None:
        return True
    return parameter in takes[: len(call.positionals)]


def _is_static(function: Function) -> bool:
    return any(dotted(decorator) == "staticmethod" for decorator in function.decorators)


def _default_of_field(call: cst.Call) -> cst.BaseExpression | None:
    if dotted(call.func).rpartition(".")[2] not in ("field", "Field", "ib", "attrib", "Param", "arg", "A", "Option"):
        return None
    named = next(
        (a.value for a in call.args if a.keyword is not None and a.keyword.value in ("default", "value")), None
    )
    first = next((a.value for a in call.args if a.keyword is None and not a.star), None)
    return named if named is not None else first


def _holder(target: cst.CSTNode) -> str:
    return dotted(target) if isinstance(target, cst.Name | cst.Attribute) else _subscripted(target)


def _subscripted(node: cst.CSTNode) -> str:
    """Return `params.optim` for `params["optim"]`."""
    if isinstance(node, cst.Subscript) and len(node.slice) == 1:
        index = node.slice[0].slice
        key = text_of(index.value) if isinstance(index, cst.Index) else None
        inner = _subscripted(node.value)
        return f"{inner}.{key}" if key and inner else inner or key or ""
    return dotted(node) if isinstance(node, cst.Name | cst.Attribute) else ""


def _parameters(signature: cst.Parameters) -> Iterator[Parameter]:
    for group, positional in (
        (signature.posonly_params, True),
        (signature.params, True),
        (signature.kwonly_params, False),
    ):
        for node in group:
            annotation = node.annotation.annotation if node.annotation is not None else None
            yield Parameter(node.name.value, annotation, node.default, positional, node)
