"""Environment variables that the script reads: `os.environ["ALPHA"]`, `os.getenv("ALPHA", "0.1")`."""

from collections.abc import Collection, Iterator
from functools import partial

import libcst as cst

from studio.script.constants import UNKNOWN, constant
from studio.script.outline import dotted, text_of
from studio.script.places.giving import as_text
from studio.script.places.place import Draft, Place
from studio.script.program import Program, Source


def find_variables(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield environment variables by the name under which the script, or one of its modules, reads them."""
    for source in program.parsed(program.python, words):
        for name, node, default in _asked(source):
            if words is None or name in words or name.lower() in words:
                value = program.env.get(name, default)
                line = source.file.line(node)
                shown = source.file.code(node)
                yield Place(
                    name, (), "environment", source.path, line, value, shown, give=partial(_set, name), prefix="env:"
                )


def variable(name: str) -> Place:
    """Return the place of `env:NAME`, even if no source mentions it."""
    return Place(name, (), "environment", "", 0, UNKNOWN, f"{name} in its environment", give=partial(_set, name))


def _set(name: str, value: object, draft: Draft) -> None:
    draft.env[name] = as_text(value)


def _asked(source: Source) -> Iterator[tuple[str, cst.CSTNode, object]]:
    for node in source.outline.subscripts:
        if dotted(node.value) in ("os.environ", "environ") and len(node.slice) == 1:
            index = node.slice[0].slice
            name = text_of(index.value) if isinstance(index, cst.Index) else None
            if name:
                yield name, node, UNKNOWN
    for call in source.outline.calls:
        if call.callee in ("os.getenv", "getenv", "os.environ.get", "environ.get", "os.environ.setdefault"):
            given = call.positionals
            name = text_of(given[0]) if given else None
            if name:
                yield name, call.node, constant(given[1]) if len(given) > 1 else UNKNOWN
