"""Options that a library makes from a signature: typer, tyro and similar, fire, dataclass parsers, LightningCLI."""

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from studio.script.constants import UNKNOWN, constant
from studio.script.outline import Call, Class, Function, dotted, text_of
from studio.script.places.command_parsers import click_spellings, number
from studio.script.places.options import Option, Style
from studio.script.program import Program, Source


@dataclass(frozen=True)
class _Style:
    dashes: bool  # `--learning-rate`, else `--learning_rate`
    booleans: Style  # of an Option


# Calls that turn a function or a dataclass into options, by the last name
_MAKERS = {
    "cli": _Style(True, "pair"),  # tyro, pydantic-settings
    "HfArgumentParser": _Style(False, "="),
    "parse_args_into_dataclasses": _Style(False, "="),
    "DataClassArgumentParser": _Style(False, "="),
    "CLI": _Style(False, "="),  # jsonargparse
    "auto_cli": _Style(False, "="),
    "Fire": _Style(False, "="),
    "run": _Style(True, "pair"),  # CliApp.run of pydantic-settings
    "add_arguments": _Style(False, "="),  # simple-parsing
    "add_dataclass_arguments": _Style(False, "="),
    "add_class_arguments": _Style(False, "="),
    "wrap": _Style(False, "="),  # pyrallis, draccus
    "entrypoint": _Style(False, "="),  # chz
    "parse": _Style(False, "="),  # simple-parsing, pyrallis, datargs, draccus
}
_OF_LIBRARY = {
    "cli": ("tyro",),
    "CLI": ("jsonargparse",),
    "auto_cli": ("jsonargparse",),
    "run": ("CliApp",),
    "parse": ("simple_parsing", "pyrallis", "datargs", "draccus"),
    "wrap": ("pyrallis", "draccus"),
    "entrypoint": ("chz",),
    "Fire": ("fire", "Fire"),
    "add_arguments": ("simple_parsing", "parser"),
}


def typer(program: Program, source: Source) -> Iterator[Option]:
    """Yield options of functions under `@app.command()` and `@app.callback()`, or passed to `typer.run`."""
    if "typer" not in source.file.text:
        return
    run = {
        dotted(call.positionals[0])
        for call in source.outline.calls
        if call.callee.endswith("typer.run") and call.positionals
    }
    for function in source.outline.functions:
        marks = {dotted(decorator).rpartition(".")[2] for decorator in function.decorators}
        if not marks & {"command", "callback"} and function.name not in run:
            continue
        for parameter in function.parameters:
            option, default = _typer_option(parameter.annotation, parameter.default)
            if option is None and default is None:  # an argument
                continue
            texts = [t for node in option.positionals if (t := text_of(node)) and t.startswith("-")] if option else []
            spellings, negative = click_spellings(texts)
            is_bool = _is_bool(parameter.annotation) or (default is not None and type(constant(default)) is bool)
            plain = f"--{parameter.name.replace('_', '-')}"
            if is_bool and not spellings:
                negative = f"--no-{parameter.name.replace('_', '-')}"
            style: Style = "pair" if negative else "on" if is_bool else "="
            yield Option(
                tuple(spellings) or (plain,), (parameter.name,), source, parameter.node, default, style, negative,
                front="callback" in marks, choices=_choices(source, parameter.annotation),
                bounds=(number(option.keyword("min")), number(option.keyword("max"))) if option else (None, None),
                whole=_is_int(parameter.annotation), required=default is None or isinstance(default, cst.Ellipsis),
            )  # fmt: skip


def signatures(program: Program, source: Source) -> Iterator[Option]:
    """Yield options of `tyro.cli(main)`, `HfArgumentParser(Args)`, `fire.Fire(train)` and similar; nested ones with dots."""
    for call in source.outline.calls:
        style = _MAKERS.get(call.last)
        owners = _OF_LIBRARY.get(call.last)
        if style is None or (owners and not any(_belongs(call, source, owner) for owner in owners)):
            continue
        given = [*call.positionals, *(a.value for a in call.node.args if a.keyword is not None)]
        targets = [target for node in given for target in _targets(node)]
        if call.last == "Fire" and not targets:
            targets = [function.name for function in source.outline.functions if not function.within]
        for target in targets:
            yield from _of_target(program, source, target, style, ())
    for decorated in source.outline.functions:  # `@pyrallis.wrap()`, `@draccus.wrap()`, `@chz…`
        for decorator in decorated.decorators:
            last = dotted(decorator).rpartition(".")[2]
            if last in ("wrap", "parse") and any(lib in source.file.text for lib in ("pyrallis", "draccus")):
                for parameter in decorated.parameters:
                    yield from _of_target(program, source, _class_name(parameter.annotation), _MAKERS["wrap"], ())


def tap(program: Program, source: Source) -> Iterator[Option]:
    """Yield options of a class of typed-argument-parser: `class Args(Tap)`."""
    for found in source.outline.classes:
        if any(base.rpartition(".")[2] in ("Tap", "TypedArgs") for base in found.bases):
            for field in found.fields:
                default = field.value
                is_bool = _is_bool(field.annotation)
                style: Style = (
                    ("off" if default is not None and constant(default) is True else "on") if is_bool else "="
                )
                yield Option(
                    (f"--{field.name}",),
                    (field.name,),
                    source,
                    field.node,
                    default,
                    style,
                    whole=_is_int(field.annotation),
                )


def lightning(program: Program, source: Source) -> Iterator[Option]:
    """Yield options of `LightningCLI(Model, Data)`: `--model.lr`, `--data.batch_size`."""
    for call in source.outline.calls:
        if call.last.endswith("LightningCLI"):
            for node, prefix in zip(call.positionals, ("model", "data"), strict=False):
                yield from _of_target(program, source, dotted(node), _Style(False, "="), (prefix,))


def fields_of(program: Program, source: Source, target: str, within: tuple[str, ...]) -> Iterator[Option]:
    """Yield options for the fields of the dataclass `target`, below `within`."""
    yield from _of_target(program, source, target, _Style(False, "="), within)


def _typer_option(
    annotation: cst.BaseExpression | None, default: cst.BaseExpression | None
) -> tuple[Call | None, cst.BaseExpression | None]:
    """Return the call of `typer.Option` and the default; both None for an argument."""
    if isinstance(default, cst.Call):
        last = dotted(default.func).rpartition(".")[2]
        call = Call(dotted(default.func), default, ())
        if last == "Argument":
            return None, None
        if last == "Option":
            return call, call.positionals[0] if call.positionals else call.keyword("default")
    if annotation is not None:
        for node in _calls_in(annotation):
            last = dotted(node.func).rpartition(".")[2]
            if last == "Argument":
                return None, None
            if last == "Option":
                return Call(last, node, ()), default
    return None, default


def _calls_in(node: cst.BaseExpression) -> list[cst.Call]:
    """Return the calls in `Annotated[float, typer.Option("--lr")]`."""
    if not isinstance(node, cst.Subscript):
        return []
    inner = [element.slice.value for element in node.slice if isinstance(element.slice, cst.Index)]
    return [value for value in inner if isinstance(value, cst.Call)]


def _belongs(call: Call, source: Source, library: str) -> bool:
    owner = call.callee.rpartition(".")[0].rpartition(".")[2]
    if owner:
        return owner == library or (library in source.file.text and owner in ("parser", "sp", "app"))
    return library in source.file.text


def _targets(node: cst.BaseExpression) -> Iterator[str]:
    """Yield names of functions and classes in a parser's argument: one, several in brackets, the values of a dict."""
    match node:
        case cst.Name() | cst.Attribute():
            yield dotted(node)
        case cst.Tuple() | cst.List():
            for element in node.elements:
                yield from _targets(element.value)
        case cst.Dict():
            for item in node.elements:
                yield from _targets(item.value)
        case cst.Call():  # `Fire(Trainer())`, `cli(tyro.conf.configure(...)(main))`
            yield dotted(node.func)
        case cst.Subscript():  # `tyro.cli(tyro.conf.FlagConversionOff[main])`
            for slice_ in node.slice:
                if isinstance(slice_.slice, cst.Index):
                    yield from _targets(slice_.slice.value)


def _of_target(
    program: Program, source: Source, target: str, style: _Style, within: tuple[str, ...], depth: int = 0
) -> Iterator[Option]:
    """Yield options of the function or class `target`, which `source` or a module of the script defines."""
    name = target.rpartition(".")[2]
    for other in program.parsed([source, *(one for one in program.python if one is not source)]):
        classes, functions = _defined(other, name)
        if classes or functions:
            break
    else:
        return
    for function in functions:
        for parameter in function.parameters:
            if parameter.name not in ("self", "cls"):
                yield from _one(
                    program,
                    other,
                    parameter.name,
                    parameter.annotation,
                    parameter.default,
                    parameter.node,
                    style,
                    within,
                    depth,
                )
    for found in classes:
        for base in found.bases:
            if depth < 8:
                yield from _of_target(program, other, base, style, within, depth + 1)
        for field in found.fields:
            yield from _one(program, other, field.name, field.annotation, field.value, field.node, style, within, depth)


def _defined(source: Source, name: str) -> tuple[list[Class], list[Function]]:
    classes = source.outline.classes_by_name(name)
    functions = [
        f
        for f in source.outline.functions
        if (f.name == name and not f.in_class) or (f.in_class == name and f.name == "__init__")
    ]
    if classes and not functions:  # methods of a class that fire takes
        functions = [] if classes[0].fields else [f for f in source.outline.functions if f.in_class == name]
    return (classes if not functions else []), functions


def _one(
    program: Program,
    source: Source,
    name: str,
    annotation: cst.BaseExpression | None,
    default: cst.BaseExpression | None,
    node: cst.CSTNode,
    style: _Style,
    within: tuple[str, ...],
    depth: int,
) -> Iterator[Option]:
    """Yield the option of one parameter or field; if it is a dataclass, those of its fields."""
    inner = _class_name(annotation) or (dotted(default.func) if isinstance(default, cst.Call) else "")
    if inner and depth < 8:
        nested = list(_of_target(program, source, inner, style, (*within, name), depth + 1))
        if nested:
            yield from nested
            return
    full = ".".join([*within, name])
    spelling = f"--{full.replace('_', '-') if style.dashes else full}"
    other = f"--{full if style.dashes else full.replace('_', '-')}"
    if isinstance(default, cst.Call):
        call = Call(dotted(default.func), default, ())
        default = call.keyword("default") or (
            call.positionals[0] if call.last == "Field" and call.positionals else None
        )
    is_bool = _is_bool(annotation) or (default is not None and type(constant(default)) is bool)
    made: Style = style.booleans if is_bool else "="
    head, _, last = spelling.rpartition(".")
    negative = (f"{head}.no-{last}" if head else f"--no-{last.lstrip('-')}") if made == "pair" else ""
    spellings = tuple(dict.fromkeys([spelling, other]))
    yield Option(
        spellings, (name,), source, node, default, made, negative, within=within, choices=_choices(source, annotation),
        whole=_is_int(annotation),
    )  # fmt: skip


def _class_name(annotation: cst.BaseExpression | None) -> str:
    """Return `Optim` for `Optim`, `"Optim"`, `Optional[Optim]`, `Annotated[Optim, …]`."""
    if annotation is None:
        return ""
    if text := text_of(annotation):
        return text
    if isinstance(annotation, cst.Subscript) and dotted(annotation.value).rpartition(".")[2] in (
        "Optional",
        "Annotated",
    ):
        first = annotation.slice[0].slice
        return _class_name(first.value) if isinstance(first, cst.Index) else ""
    return dotted(annotation)


def _choices(source: Source, annotation: cst.BaseExpression | None) -> tuple[object, ...]:
    """The values of `Literal["a", "b"]`, or of an `Enum` of the same file whose values are texts."""
    if isinstance(annotation, cst.Subscript):
        inner = [element.slice.value for element in annotation.slice if isinstance(element.slice, cst.Index)]
        last = dotted(annotation.value).rpartition(".")[2]
        if last == "Literal":
            values = [constant(value) for value in inner]
            return () if UNKNOWN in values else tuple(values)
        return _choices(source, inner[0]) if last in ("Optional", "Annotated") and inner else ()
    for found in source.outline.classes_by_name(dotted(annotation)) if annotation is not None else ():
        if any(base.rpartition(".")[2] in ("Enum", "StrEnum") for base in found.bases):
            values = [constant(field.value) for field in found.fields if field.value is not None]
            return tuple(values) if values and all(isinstance(value, str) for value in values) else ()
    return ()


def _is_int(annotation: cst.BaseExpression | None) -> bool:
    """Return whether an annotation takes whole numbers alone: `int`, `Annotated[int, …]`."""
    if isinstance(annotation, cst.Subscript) and dotted(annotation.value).rpartition(".")[2] == "Annotated":
        first = annotation.slice[0].slice
        return isinstance(first, cst.Index) and _is_int(first.value)
    return annotation is not None and dotted(annotation) == "int"


def _is_bool(annotation: cst.BaseExpression | None) -> bool:
    if isinstance(annotation, cst.Subscript):
        first = annotation.slice[0].slice
        return isinstance(first, cst.Index) and _is_bool(first.value)
    if isinstance(annotation, cst.BinaryOperation):  # `bool | None`
        return _is_bool(annotation.left) or _is_bool(annotation.right)
    return annotation is not None and dotted(annotation) == "bool"
