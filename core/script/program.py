"""The program that a search runs: its script, the local modules it imports, its arguments and environment.

command line + folder --Program--> script, `PythonFile`s and their outlines, each read and parsed once, on demand
"""

import ast
import math
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path, PurePosixPath

from studio.errors import SubstitutionError
from studio.script.notebook import NotebookFile
from studio.script.outline import Outline
from studio.script.python_file import PythonFile
from studio.script.reads import FileReads, find_reads

MOST_MODULES = 300  # local modules that are read
MOST_TEXT = 300_000  # characters of local modules that are read for all their places: about 2 seconds
_PYTHON = (".py", ".ipynb")
_IMPORT = re.compile(
    r"""^(?:[^\n\#'"]*[:;])?[ \t]*  # alone in its line, or behind `try:`
    (from[ \t]+[.\w]+[ \t]+import[ \t]*(?:\([^)]*\)|(?:\\\n|[^\n(])*) | import[ \t](?:\\\n|[^\n])*)""",
    re.MULTILINE | re.VERBOSE,
)
_PART = re.compile(r"[^\W_]+")
# What makes options out of a signature, which may stand in another module, or out of no text at all
_MAKES_OPTIONS = re.compile(
    r"argv|ConfigStore|tyro|typer|jsonargparse|simple_parsing|pyrallis|draccus|datargs|\bchz\b|CliApp|HfArgumentParser|LightningCLI|\b[Ff]ire\b"
    r"|DataClassArgumentParser|auto_cli|add_\w*arguments|parse_args_into_dataclasses|\bTap\b|TypedArgs"
)

Names = frozenset[str] | None  # that are imported from a module; None for all of them


class Source:
    """The Python text of one file, parsed on demand."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.file = NotebookFile(path, data) if path.endswith(".ipynb") else PythonFile(path, data)

    @cached_property
    def reads(self) -> FileReads:
        return find_reads(self.file)

    @cached_property
    def outline(self) -> Outline:
        return Outline(self.file)

    @cached_property
    def _parts(self) -> set[str]:
        return {part.casefold() for part in _PART.findall(self.file.text)}

    def mentions(self, words: Collection[str] | None) -> bool:
        """Return whether the text may hold one of `words`, in any spelling: `learning_rate` as `--learning-rate`. None is any word."""
        return words is None or any({part.casefold() for part in _PART.findall(word)} <= self._parts for word in words)

    @cached_property
    def makes_options(self) -> bool:
        """Return whether the text may make options out of a signature, whose names may stand elsewhere."""
        return _MAKES_OPTIONS.search(self.file.text) is not None


class Program:
    """A command and the files that it may consist of.

    script      path of the file that runs, below the source; None for a module elsewhere
    command     the command up to and with the script
    arguments   arguments of the script
    env         variables set by `--env`
    more        paths of further files that take values: `--substitute`
    read        returns the content of a path below the source; None if there is no such file

    `most_text` limits the characters of `modules`, the nearest first; `unread` are paths of those beyond it.
    """

    most_text: float = math.inf

    def __init__(
        self,
        script: str | None,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        more: Sequence[str] = (),
        *,
        command: Sequence[str] = (),
        read: Callable[[str], bytes | None],
    ) -> None:
        self.script = script
        self.command = list(command)
        self.arguments = list(arguments)
        self.env = dict(env or {})
        self.more = list(more)
        self._read = read
        self._data: dict[str, bytes | None] = {}
        self._sources: dict[str, Source] = {}
        self.unread: list[str] = []

    @classmethod
    def at(cls, source: Path, script: str | None, arguments: Sequence[str] = (), **others: object) -> "Program":
        """Return a program whose files are in the folder `source`."""

        def read(path: str) -> bytes | None:
            file = Path(os.path.normpath(source / path))
            if not file.is_relative_to(source) or not file.is_file():
                return None
            return file.read_bytes()

        return cls(script, arguments, read=read, **others)  # type: ignore[arg-type]

    @property
    def script_words(self) -> set[str]:
        """The words of `command` that name the script: braces in its name are part of the name."""
        return set() if self.script is None else {self.script, f"./{self.script}"}

    @cached_property
    def limited(self) -> "Program":
        """Program with the nearest of the modules of this one, as many as can be read whole in about 2 seconds."""
        if self.most_text <= MOST_TEXT:
            return self
        near = copy(self)
        near.most_text, near.unread = MOST_TEXT, []
        near.__dict__.pop("modules", None)
        return near

    def with_module(self, path: str) -> "Program":
        """Return a program whose only file is the module at `path`."""
        inner = Program(None, self.arguments, self.env, read=self._read)
        inner.modules = [inner.source(path)]
        return inner

    def data(self, path: str) -> bytes | None:
        """Return the content of the file at `path` below the source; None if it cannot be read."""
        if path not in self._data:
            try:
                self._data[path] = self._read(path)
            except (OSError, ValueError):  # no permission, or not a valid path
                self._data[path] = None
        return self._data[path]

    def source(self, path: str) -> Source:
        if path not in self._sources:
            self._sources[path] = Source(path, self.data(path) or b"")
        return self._sources[path]

    def python_source(self, path: str) -> Source | None:
        """The source at `path`, where it is Python by its name."""
        return self.source(path) if path.endswith(_PYTHON) else None

    def text(self, path: str) -> str:
        """The text of the file at `path`, in its own encoding. SubstitutionError for other than Python that is no UTF-8."""
        if (source := self.python_source(path)) is not None:
            return source.file.text
        try:
            return (self.data(path) or b"").decode()
        except UnicodeDecodeError:
            raise SubstitutionError(f"{path!r} is not UTF-8: save it as UTF-8") from None

    def encoded(self, path: str, text: str) -> bytes:
        """The content of the file at `path` with `text` in it."""
        source = self.python_source(path)
        return text.encode() if source is None else source.file.encode(text)

    def shown(self, path: str, text: str) -> str:
        """The text that a diff of the file at `path` shows for its `text`: of a notebook its JSON."""
        source = self.python_source(path)
        return text if source is None else source.file.shown(text)

    @cached_property
    def own(self) -> list[Source]:
        """The Python files among the script and the files of `--substitute`. They must parse."""
        paths = [path for path in [self.script, *self.more] if path is not None]
        return [source for path in dict.fromkeys(paths) if (source := self.python_source(path)) is not None]

    @cached_property
    def modules(self) -> list[Source]:
        """Local modules that `own` imports or executes, and those that they do; without those that do not parse. Of what the
        `__init__` of a package imports, that which somebody asks it for."""
        found: dict[str, Source] = {}
        waiting: list[tuple[str, str, Names]] = [(source.path, source.file.text, None) for source in self.own]
        asked: dict[str, Names] = {path: None for path, _, _ in waiting}
        left = self.most_text
        while waiting and len(found) < MOST_MODULES:
            path, text, names = waiting.pop(0)
            for other, wanted in self._imported(path, text, names):
                before = asked.get(other, frozenset())
                if other in asked and (before is None or (wanted is not None and wanted <= before)):
                    continue
                asked[other] = None if wanted is None or before is None else before | wanted
                try:
                    source = self.source(other)
                except SubstitutionError:
                    continue
                if other not in found:
                    if len(source.file.text) > left:
                        self.unread += [other] if other not in self.unread else []
                        continue
                    left -= len(source.file.text)
                found[other] = source
                waiting.append((other, source.file.text, asked[other]))
        return list(found.values())

    @cached_property
    def executed(self) -> list[Source]:
        """Local files that the script runs by `exec(open("config.py").read())`: their assignments follow the script's."""
        found: list[Source] = []
        for source in self.own:
            for path in self._executed(source.file.text):
                try:
                    found.append(self.source(path))
                except SubstitutionError:
                    continue
        return found

    @property
    def python(self) -> list[Source]:
        """All Python files: `own`, then `modules`."""
        return [*self.own, *self.modules]

    def parsed(self, sources: Sequence[Source], words: Collection[str] | None = None) -> Iterator[Source]:
        """Yield the `sources` that parse and may define one of `words`; raises SubstitutionError if one of `own` does not parse."""
        for source in sources:
            if source not in self.own and not source.mentions(words) and not source.makes_options:
                continue
            try:
                source.outline  # noqa: B018
                source.reads  # noqa: B018
            except SubstitutionError:
                if source in self.own:
                    raise
                continue
            yield source

    def _imported(self, path: str, text: str, names_of_it: "Names") -> Iterator[tuple[str, "Names"]]:
        """Yield local files that `text`, of the file at `path`, imports for `names_of_it`, or executes by their name; each with the
        names that it is asked for, None for all."""
        imports = imports_of(text)
        if names_of_it is not None and PurePosixPath(path).name == "__init__.py":
            imports = [(module, names) for module, names in imports if "*" in names or names_of_it & {*names}]
        roots = dict.fromkeys([str(PurePosixPath(self.script or path).parent), "."])
        for module, names in imports:
            level = len(module) - len(module.lstrip("."))
            inner = [part for part in module.split(".") if part]
            if level:
                folder = PurePosixPath(path)
                for _ in range(level):
                    folder = folder.parent
                bases = [folder]
            else:
                bases = [PurePosixPath(root) for root in roots]
            for base in bases:
                targets = [[*inner[: i + 1]] for i in range(len(inner))] + [[*inner, name] for name in names]
                for target in targets:
                    place = base.joinpath(*target)
                    for candidate in (f"{place}.py", f"{place}/__init__.py"):
                        if target and self.data(candidate) is not None:
                            whole = target != inner or not names or "*" in names
                            parent = target != inner and target == inner[: len(target)]
                            yield candidate, frozenset() if parent else None if whole else frozenset(names)
        yield from ((path, None) for path in self._executed(text))

    def _executed(self, text: str) -> Iterator[str]:
        if "exec(" not in text and "runpy" not in text:
            return
        roots = dict.fromkeys([".", str(PurePosixPath(self.script or "x").parent)])
        given = [part for argument in self.arguments for part in argument.split("=")]
        for name in [*re.findall(r"""["']([\w./-]+\.py)["']""", text), *given]:
            for root in roots:
                candidate = os.path.normpath(f"{root}/{name}")
                if name.endswith(".py") and candidate != self.script and self.data(candidate) is not None:
                    yield candidate
                    break


def imports_of(text: str) -> list[tuple[str, list[str]]]:
    """Return `[("a.b", ["c"])]` for `from a.b import c`, anywhere in `text`, even if this Python cannot parse the rest of it."""
    found: list[tuple[str, list[str]]] = []
    for statement in _IMPORT.findall(text):
        try:
            with warnings.catch_warnings(action="ignore"):
                body = ast.parse(statement).body
        except (SyntaxError, ValueError):  # words of a docstring
            continue
        for node in body:
            if isinstance(node, ast.Import):
                found += [(alias.name, []) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append(("." * node.level + (node.module or ""), [alias.name for alias in node.names]))
    return found
