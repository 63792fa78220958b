"""Constants with a name: a dict's key, a keyword or argument of a call, an attribute, a class field, a default."""

from collections.abc import Collection, Iterator

from studio.script.outline import Named
from studio.script.places.place import Place
from studio.script.places.variables import literal_edit
from studio.script.program import Program, Source
from studio.script.reads import Read

# Arguments of these calls define options and fields; they are not hyperparameters themselves.
_DEFINING = {"add_argument", "add_option", "option", "argument", "Option", "Argument", "field", "Field", "ib", "attrib"}


def find_constants(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield named constants in the script."""
    for source in program.parsed(program.own):
        yield from _named(source, words)


def find_in_modules(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield named constants in the local modules that the script imports."""
    for source in program.modules:
        if source.mentions(words):
            for parsed in program.parsed([source]):
                yield from _named(parsed, words)


def _named(source: Source, words: Collection[str] | None) -> Iterator[Place]:
    for named in source.outline.named:
        if words is not None and named.name.partition("[")[0] not in words:
            continue
        if words is None and named.within and (named.within[-1] in _DEFINING or named.within[-1].startswith("DEFINE_")):
            continue
        yield place_of(source, named)


def place_of(source: Source, named: Named) -> Place:
    start, stop = source.file.span(named.node)
    line = source.file.line_at(start)
    read = Read(named.name, start, stop, line, False, False, named.quotes)
    shown = _shown(source, named)
    return Place(
        named.name, named.within, named.kind, source.path, line, named.value, shown, (literal_edit(source, read),)
    )


def _shown(source: Source, named: Named) -> str:
    """Return as much of the text as shows the change."""
    value = source.file.code(named.node)
    if named.kind in ("keyword", "argument"):
        callee = source.file.code(named.shown).partition("(")[0]
        inner = value if named.kind == "argument" else f"{named.name}={value}"
        return f"{callee}({inner})"
    if named.kind == "default":
        function = named.within[-1] if named.within else ""
        return f"def {function}({named.name}={value})"
    if named.kind == "dict key":
        holder = ".".join(named.within)
        return f"{holder}[{named.name!r}] = {value}" if holder else f"{named.name!r}: {value}"
    text = source.file.code(named.shown)
    if named.kind in ("field", "class attribute") and named.within:
        text = f"{named.within[-1]}: {text}"
    return text if len(text) <= 80 else text[:77] + "…"
