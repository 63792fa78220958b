"""Variables: every read takes the value; a variable that is assigned again takes it at its first constant.

lr = 0.01             stays
SGD(lr=lr)            SGD(lr=0.03)

lr = 0.01             lr = 0.03, since `lr *= 0.9` further down would be lost at the reads
"""

from collections.abc import Collection, Iterator
from functools import partial

from studio.script.constants import UNKNOWN
from studio.script.literals import write_literal
from studio.script.outline import dotted
from studio.script.places.place import Edit, Place, lines_of
from studio.script.program import Program, Source
from studio.script.reads import Assigned, Read, Variable


def literal_edit(source: Source, read: Read) -> Edit:
    """Return the edit that writes a value as Python text in place of `read`."""
    return Edit(source.path, read.start, read.stop, partial(write_literal, source.file, read))


def find_assigned(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield variables of the script whose assignments are constants."""
    elsewhere = _executed(program)
    for source in program.parsed(program.own):
        for name, scopes in source.reads.variables.items():
            if (words is None or name in words) and not (name in elsewhere and not _in_class(scopes)):
                captured = _captured(source)
                used = [s for s in scopes if s.reads or s.where in captured or source.path.endswith(".ipynb")]
                known = [scope for scope in used if _first(scope) is not None]
                if known and len(known) == len(used):
                    yield _merged(source, known)


def _captured(source: Source) -> set[tuple[str, ...]]:
    """Functions whose variables a framework collects, as Sacred does below `@ex.config`."""
    return {
        (*function.within, function.name)
        for function in source.outline.functions
        if any(dotted(decorator).rpartition(".")[2] == "config" for decorator in function.decorators)
    }


def find_scopes(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield the same variables by their function or class, for an address that names it."""
    for source in program.parsed(program.own):
        for name, scopes in source.reads.variables.items():
            if words is None or name not in words:
                continue
            for scope in scopes:
                if scope.reads and scope.where:
                    yield _merged(source, [scope], scope.where)


def find_computed(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield variables that are read and not assigned a constant, or not at all; only if they are named."""
    if words is None:
        return
    for source in program.parsed(program.own):
        for name, scopes in source.reads.variables.items():
            read = [scope for scope in scopes if scope.reads] if name in words else []
            if any(_first(scope) is None for scope in read):
                yield _merged(source, read)


def find_in_modules(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield variables of the local modules that the script imports, at their first constant."""
    for source in program.modules:
        if not source.mentions(words):
            continue
        for parsed in program.parsed([source]):
            for name, scopes in parsed.reads.variables.items():
                for scope in scopes:
                    first = _first(scope)
                    if (words is None or name in words) and first is not None and (scope.reads or not scope.where):
                        yield _at_constant(parsed, scope, first)


def unread(program: Program, name: str) -> str:
    """Return why variables of this name in the script take no value, for an error; empty if there are none."""
    for source in program.own:
        lines = [read.line for read in source.reads.fixed if read.name == name]
        if lines:
            return (
                f"; on {lines_of(lines)} of {source.path!r} it is a parameter, loop variable, import or the like, "
                f"which takes no value: read a variable of another name there, and search that one"
            )
    return ""


def _executed(program: Program) -> set[str]:
    """Return names assigned by a file that the script executes, as nanoGPT does: those assignments count."""
    names: set[str] = set()
    for source in program.parsed(program.executed):
        names |= {name for name, scopes in source.reads.variables.items() if any(not s.where for s in scopes)}
    return names


def _in_class(scopes: list[Variable]) -> bool:
    return all(scope.where for scope in scopes)


def _first(scope: Variable) -> Assigned | None:
    return next((one for one in scope.assigned if one.literal is not None), None)


def _is_schedule(scope: Variable) -> bool:
    """Return whether the name is assigned again after its first constant, outside other branches of one `if`."""
    first = _first(scope)
    lines = {one.line for one in scope.assigned}
    return first is not None and len(lines) > 1 and not all(o is first or first.excludes(o) for o in scope.assigned)


def _merged(source: Source, scopes: list[Variable], within: tuple[str, ...] = ()) -> Place:
    edits: list[Edit] = []
    notes: list[str] = []
    name = scopes[0].name
    firsts = [_first(scope) for scope in scopes]
    first = next((one for one in firsts if one is not None), None)
    schedule: Assigned | None = None
    for scope, start in zip(scopes, firsts, strict=True):
        lines = [one.line for one in scope.assigned]
        again_or_cell = _is_schedule(scope) or not scope.reads or source.path.endswith(".ipynb")
        if start is not None and start.literal is not None and again_or_cell:
            edits.append(literal_edit(source, start.literal))
            schedule = schedule or start
            if not _is_schedule(scope):
                continue
            again = lines_of([line for line in lines if line != start.line] or lines)
            notes.append(
                f"{name!r} is assigned on {lines_of(lines)} of {source.path!r}; "
                f"its value goes to line {start.line}, and {again} {'does' if again.startswith('line ') else 'do'} as before"
            )
        else:
            edits += [literal_edit(source, read) for read in scope.reads]
            if lines and start is None:
                notes.append(
                    f"{name!r} is not assigned a constant on {lines_of(lines)} of {source.path!r}; "
                    "its reads all take the value searched"
                )
    if len([scope for scope in scopes if scope.assigned]) > 1 and not schedule:
        lines = [one.line for scope in scopes for one in scope.assigned]
        if len(set(lines)) > 1:
            notes.append(
                f"{name!r} is assigned on {lines_of(lines)} of {source.path!r}; its reads all take the value searched"
            )
    read_lines = [read.line for scope in scopes for read in scope.reads]
    home = _constant(source, first) if first is not None else None
    if schedule is not None and len(edits) == 1:
        line, shown = schedule.line, schedule.shown
    else:
        line, shown = read_lines[0], f"{name}, read on {lines_of(read_lines)}"
        if home is not None:
            shown += f" ({home.shown})"
    value = first.value if first is not None else UNKNOWN
    return Place(
        name, within, "variable", source.path, line, value, shown, tuple(edits), home=home, note="; ".join(notes),
        varies=any(_varies(scope, first) for scope in scopes),
        scale="running" if any(one.augmented for scope in scopes for one in scope.assigned) else "",
    )  # fmt: skip


def _varies(scope: Variable, first: Assigned | None) -> bool:
    """Return whether the constants replaced in `scope` have another value than `first`."""
    start = _first(scope)
    constants = [start] if _is_schedule(scope) else scope.assigned
    return first is not None and any(one is not None and one.value != first.value for one in constants)


def _at_constant(source: Source, scope: Variable, first: Assigned) -> Place:
    """Return the place at the first constant, and at those in other branches of its `if`."""
    others = [one for one in scope.assigned if one.literal is not None and first.excludes(one)]
    edits = tuple(literal_edit(source, one.literal) for one in (first, *others) if one.literal is not None)
    note = f"{scope.name!r} goes to {source.path}:{first.line} {first.shown}"
    return Place(
        scope.name, scope.where, "variable", source.path, first.line, first.value, first.shown, edits,
        home=_constant(source, first), note=note,
        varies=any(one.value != first.value for one in others),
        scale="running" if any(one.augmented for one in scope.assigned) else "",
    )  # fmt: skip


def _constant(source: Source, first: Assigned) -> Place:
    assert first.literal is not None
    edit = literal_edit(source, first.literal)
    return Place(first.literal.name, (), "constant", source.path, first.line, first.value, first.shown, (edit,))
