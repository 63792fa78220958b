"""Python's scopes: the binding that a name means at its position.

    tree --ScopeVisitor--> scopes, each with what it binds --Scope.owner--> the scope that a name belongs to

libcst's own scope analysis does not distinguish an assignment from a loop target, so the visitor tracks scopes itself, by
Python's rules: https://docs.python.org/3/reference/executionmodel.html#resolution-of-names

A name is *fixed* in a scope that binds it as a parameter, loop or comprehension target, import, `with` or `except`
name, match capture, type parameter, function or class, even if it is assigned there as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import libcst as cst

Kind = Literal["module", "function", "class", "comprehension", "types"]  # types: the scope of type parameters


class Scope:
    """A scope and its bindings.

    declared  names of its `global` and `nonlocal` statements
    assigned  names and the nodes that assign to them; no node for `lr: float`, which binds the name all the same
    fixed     names that it binds in another way
    where     names of its function or class and those around it, outermost first
    """

    def __init__(self, parent: "Scope | None", kind: Kind, name: str = "") -> None:
        self.parent = parent
        self.kind = kind
        self.where: tuple[str, ...] = (*(parent.where if parent else ()), *([name] if name else []))
        self.declared: dict[str, Literal["global", "nonlocal"]] = {}
        self.assigned: dict[str, list[cst.Name]] = {}
        self.fixed: set[str] = set()

    def owner(self, name: str) -> "Scope":
        """Return the scope that a use of `name` here refers to; the module's if nothing binds it."""
        scope, outermost = self, self
        while outermost.parent is not None:
            outermost = outermost.parent
        sees_class = True  # names of a class body are visible to its statements, not to functions in it
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


def assignments(scopes: Sequence[Scope]) -> Iterator[tuple[str, Scope, list[cst.Name]]]:
    """Yield assignments to names that are not fixed, with `global` and `nonlocal` ones moved to their scopes.

    This call moves them: `fixed` of a scope is complete only after it.
    """
    for scope in scopes:
        for name in scope.declared:
            owner = scope.owner(name)
            if owner is not scope:
                owner.assigned.setdefault(name, []).extend(scope.assigned.pop(name, []))
                owner.fixed |= scope.fixed & {name}
    for scope in scopes:
        yield from ((name, scope, nodes) for name, nodes in scope.assigned.items() if name not in scope.fixed)


class ScopeVisitor(cst.CSTVisitor):
    """Collector of a module's scopes and bindings, for a subclass that handles reads.

    `scope` is the scope of the visited node; its bindings are complete once the module was visited.
    Names that are bound, or part of an import, a pattern or a declaration, are not visited.
    A `visit_` that returns False has itself visited the children that may have a read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scope = Scope(None, "module")
        self.scopes = [self.scope]

    # Bindings within a scope

    def _bind(self, target: cst.CSTNode, kind: Literal["assigned", "fixed", "deleted"]) -> None:
        """Bind the names in `target`; `a[lr] = 1` reads `a` and `lr`."""
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

    # Patterns: only captures and nested patterns; a (dotted) name in a pattern cannot be replaced by a literal.

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
    def _inside(self, kind: Kind, name: str = "") -> Iterator[None]:
        outer, self.scope = self.scope, Scope(self.scope, kind, name)
        self.scopes.append(self.scope)
        yield
        self.scope = outer

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        self._bind(node.name, "fixed")
        self._visit(*node.decorators)
        with self._inside("types"):
            self._visit(node.type_parameters)
            self._function(node.params, node.returns, node.body, node.name.value)
        return False

    def visit_Lambda(self, node: cst.Lambda) -> bool:
        self._function(node.params, None, node.body)
        return False

    def _function(
        self, signature: cst.Parameters, returns: cst.Annotation | None, body: cst.CSTNode, name: str = ""
    ) -> None:
        parameters = list(_parameters(signature))
        for parameter in parameters:  # evaluated in the outer scope
            self._visit(parameter.annotation, parameter.default)
        self._visit(returns)
        with self._inside("function", name):
            for parameter in parameters:
                self._bind(parameter.name, "fixed")
            self._visit(body)

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        self._bind(node.name, "fixed")
        self._visit(*node.decorators)
        with self._inside("types"):
            self._visit(node.type_parameters, *node.bases, *node.keywords)
            with self._inside("class", node.name.value):
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
        self._visit(clause.iter)  # only the first iterable is evaluated in the outer scope
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
