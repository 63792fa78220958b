"""Arguments by their position: `alpha = float(sys.argv[1])`, a positional argument of argparse, click or typer."""

from collections.abc import Collection, Iterator
from functools import partial

import libcst as cst

from studio.errors import SubstitutionError
from studio.script.constants import UNKNOWN, constant
from studio.script.outline import Call, Function, dotted, text_of
from studio.script.places.giving import as_text
from studio.script.places.options import known_as
from studio.script.places.place import Draft, Place
from studio.script.program import Program, Source
from studio.text import parse_literal


def find_positionals(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield arguments that the script reads by position, under the name that it gives them."""
    for source in program.parsed(program.python, words):
        found = [*_of_argv(source), *_of_argparse(source)]
        for function in source.outline.functions:
            found += _of_click(function)
            found += _of_typer(source, function)
        for name, index, node, raw, default in found:
            if words is None or known_as(name) in words:
                yield _place(program, source, name, index, node, raw, default)


def _place(
    program: Program, source: Source, name: str, index: int, node: cst.CSTNode, raw: bool, default: object
) -> Place:
    at = _index(program.arguments, index, raw)
    value = parse_literal(program.arguments[at]) if at is not None else default
    shown = f"argument {index + 1}, {name}" + ("" if at is None else f" ({program.arguments[at]})")
    line = source.file.line(node)
    give = partial(_give, name, index, raw)
    return Place(known_as(name), (), "positional", source.path, line, value, shown, give=give)


def _give(name: str, index: int, raw: bool, value: object, draft: Draft) -> None:
    at = _index(draft.arguments, index, raw)
    if at is not None:
        draft.arguments[at] = as_text(value)
        return
    known = len(_indices(draft.arguments, raw))
    if known < index:
        raise SubstitutionError(
            f"{name} is argument {index + 1} of the script: give the {index - known} before it as well, "
            f"or write {{{name}}} where it belongs"
        )
    text = as_text(value)
    if not raw and text.startswith("-") and "--" not in draft.arguments and not text[1:2].isdigit():
        draft.arguments.append("--")
    draft.arguments.append(text)


def _index(arguments: list[str], index: int, raw: bool) -> int | None:
    indices = _indices(arguments, raw)
    return indices[index] if index < len(indices) else None


def _indices(arguments: list[str], raw: bool) -> list[int]:
    """Return the indices of the arguments without a name; of all for a script that reads `sys.argv`."""
    if raw:
        return list(range(len(arguments)))
    found, skip, only = [], False, False
    for at, argument in enumerate(arguments):
        if argument == "--" and not only:
            only = True
        elif only or (not argument.startswith("-") and not skip) or (argument[1:2].isdigit() and not skip):
            found.append(at)
            skip = False
        else:
            skip = argument.startswith("-") and "=" not in argument and not argument[1:2].isdigit()
    return found


_Found = tuple[str, int, cst.CSTNode, bool, object]  # name, index, node, whether of `sys.argv`, the default


def _of_argv(source: Source) -> Iterator[_Found]:
    if "argv" not in source.file.text:
        return
    for name, value, node in source.outline.assigns:
        finder = _Argv()
        value.visit(finder)
        if len(finder.indices) == 1 and finder.indices[0] >= 1:
            yield name, finder.indices[0] - 1, node, True, _otherwise(value)
    for statement in source.outline.unpacked:
        target, value = statement.targets[0].target, statement.value
        if not isinstance(target, cst.Tuple | cst.List):
            continue
        finder = _Argv()
        value.visit(finder)
        first = finder.slice_start if finder.slice_start is not None else 0 if finder.whole else None
        if first is not None:
            for offset, element in enumerate(target.elements):
                index = first + offset - 1
                if isinstance(element.value, cst.Name) and index >= 0 and isinstance(element, cst.Element):
                    yield element.value.value, index, statement, True, UNKNOWN


def _otherwise(value: cst.BaseExpression) -> object:
    """The constant of `float(sys.argv[1]) if len(sys.argv) > 1 else 0.5`."""
    return constant(value.orelse) if isinstance(value, cst.IfExp) else UNKNOWN


def _constant(node: cst.BaseExpression | None) -> object:
    return UNKNOWN if node is None else constant(node)


class _Argv(cst.CSTVisitor):
    """Finder of the parts of `sys.argv` that an expression uses."""

    def __init__(self) -> None:
        super().__init__()
        self.indices: list[int] = []
        self.slice_start: int | None = None
        self.whole = False

    def visit_Subscript(self, node: cst.Subscript) -> bool | None:
        if dotted(node.value) in ("sys.argv", "argv") and len(node.slice) == 1:
            part = node.slice[0].slice
            if isinstance(part, cst.Index) and isinstance(index := constant(part.value), int):
                if index not in self.indices:
                    self.indices.append(index)
            elif isinstance(part, cst.Slice) and part.lower is not None:
                start = constant(part.lower)
                self.slice_start = start if isinstance(start, int) else None
            return False
        return None

    def visit_Call(self, node: cst.Call) -> bool | None:
        return False if dotted(node.func) == "len" else None

    def visit_Attribute(self, node: cst.Attribute) -> bool | None:
        self.whole = self.whole or dotted(node) == "sys.argv"
        return None


def _of_argparse(source: Source) -> Iterator[_Found]:
    counts: dict[str, int] = {}
    for call in source.outline.calls:
        if call.last != "add_argument" or not call.positionals:
            continue
        name = text_of(call.positionals[0])
        if name and not name.startswith("-"):
            parser = call.callee.rpartition(".")[0]
            index = counts.get(parser, 0)
            counts[parser] = index + 1
            if call.keyword("nargs") is None or text_of(call.keyword("nargs")) == "?":
                yield name, index, call.node, False, _constant(call.keyword("default"))


def _of_click(function: Function) -> Iterator[_Found]:
    index = 0
    for decorator in function.decorators:
        if isinstance(decorator, cst.Call) and dotted(decorator.func).rpartition(".")[2] == "argument":
            call = Call(dotted(decorator.func), decorator, ())
            name = text_of(call.positionals[0]) if call.positionals else None
            if name:
                yield name, index, decorator, False, _constant(call.keyword("default"))
                index += 1


def _of_typer(source: Source, function: Function) -> Iterator[_Found]:
    if "typer" not in source.file.text:
        return
    marks = {dotted(decorator).rpartition(".")[2] for decorator in function.decorators}
    run = any(
        call.callee.endswith("typer.run") and call.positionals and dotted(call.positionals[0]) == function.name
        for call in source.outline.calls
    )
    if not run and "command" not in marks:
        return
    index = 0
    for parameter in function.parameters:
        given = dotted(parameter.default).rpartition(".")[2] if isinstance(parameter.default, cst.Call) else ""
        annotated = source.file.code(parameter.annotation) if parameter.annotation is not None else ""
        if (
            given == "Argument"
            or "Argument(" in annotated
            or (parameter.default is None and "Option(" not in annotated)
        ):
            yield parameter.name, index, parameter.node, False, _constant(parameter.default)
            index += 1
