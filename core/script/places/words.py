"""Values in shell, R, Julia and Make files: a complete word on the right-hand side.

LR=0.1      lr <- 0.1      const lr = 0.1      svm(cost = 1.0)      ${LR:-0.1}
"""

import json
import os
import re
import shlex
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import PurePosixPath

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.constants import UNKNOWN
from studio.script.places.giving import as_text, given_text, set_option
from studio.script.places.place import Draft, Edit, Place
from studio.script.program import Program
from studio.text import parse_literal

_SHELL, _R, _JULIA, _MAKE = "shell", "R", "Julia", "make"
_LANGUAGES = {".sh": _SHELL, ".bash": _SHELL, ".zsh": _SHELL, ".ksh": _SHELL, ".r": _R, ".jl": _JULIA, ".mk": _MAKE}
_NAME = r"(?P<name>[A-Za-z_.][\w.]*)"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?L?"
_QUOTED = r"\"[^\"\n$`\\]*\"|'[^'\n]*'"
_ASSIGNED = {
    _SHELL: rf"(?<![\w$.-])(?:(?:export|local|readonly)\s+)?{_NAME}=(?P<value>{_QUOTED}|[^\s\"'$`;&|()<>#]+)(?=[\s;)&]|$)",
    _R: rf"(?<![\w.$]){_NAME}\s*(?:<-|<<-|=(?!=))\s*(?P<value>{_NUMBER}|{_QUOTED}|TRUE|FALSE|NULL)(?=\s*(?:[,;)\]#}}]|$))",
    _JULIA: rf"(?<![\w.$])(?:const\s+|global\s+)?{_NAME}(?:::\w+)?\s*=(?!=)\s*(?P<value>{_NUMBER}|{_QUOTED}|true|false|nothing)"
    rf"(?=\s*(?:[,;)\]#}}]|$))",
    _MAKE: rf"^{_NAME}\s*[:?+]?=[ \t]*(?P<value>[^\s#]+)(?=\s*(?:#|$))",
}
_DEFAULT = re.compile(rf"\$\{{{_NAME}:?-(?P<value>[^}}\s\"'$]+)\}}")
_POSITIONAL = re.compile(
    rf"(?<![\w.$]){_NAME}\s*(?:<-|=)\s*(?:[\w.]+\(\s*)*(?:\w+\s*,\s*)?(?:args|ARGS|argv)\[+(?P<index>\d+)\]"
    rf"|(?<![\w.$])(?P<name2>\w+)=[\"']?\$\{{?(?P<index2>\d)(?::?-[^}}]*)?\}}?"
)
_OPTION = re.compile(r"""(?:["']|^\s*|\|)(?P<option>--[\w-]+)(?P<is>=?\*?)(?:["']|\))""", re.MULTILINE)
_FLAG = re.compile(rf"(?<!\S)(?P<option>--[\w.-]+)[ =](?P<value>{_NUMBER}|true|false|[\w./]+)(?=\s|$)")


def language_of(path: str, data: bytes) -> str | None:
    """Return the language of a file of words, by its suffix, name or first line; None for other files."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _LANGUAGES:
        return _LANGUAGES[suffix]
    if PurePosixPath(path).name in ("Makefile", "makefile", "GNUmakefile"):
        return _MAKE
    first = data[:100].split(b"\n")[0]
    if not first.startswith(b"#!"):
        return None
    return next((name for word, name in ((b"Rscript", _R), (b"julia", _JULIA), (b"sh", _SHELL)) if word in first), None)


def _texts(program: Program) -> Iterator[tuple[str, str, str]]:
    for path in dict.fromkeys(path for path in [program.script, *program.more] if path is not None):
        data = program.data(path) or b""
        language = language_of(path, data)
        if language is not None:
            yield path, program.text(path), language


def find_words(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield assignments of one word, and keywords of calls in R and Julia; a name's first assignment is its place."""
    for path, text, language in _texts(program):
        seen: set[str] = set()
        matches = re.finditer(_ASSIGNED[language], text, re.MULTILINE)
        found = [*matches, *(_DEFAULT.finditer(text) if language in (_SHELL, _MAKE) else ())]
        for match in sorted(found, key=lambda one: one.start()):
            name = match["name"]
            if (words is not None and name not in words) or _in_comment(text, match.start()) or name in seen:
                continue
            seen.add(name)
            yield _place(path, text, match, name, language, "assignment")
        if language in (_SHELL, _MAKE):
            for match in _FLAG.finditer(text):
                name = match["option"].lstrip("-").replace("-", "_")
                if (words is None or name in words) and not _in_comment(text, match.start()) and name not in seen:
                    seen.add(name)
                    yield _place(path, text, match, name, language, "option in a command")


def find_arguments(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield values read from the arguments: `lr <- as.numeric(args[1])`, `LR=$1`, `"--lr"` of optparse."""
    for path, text, language in _texts(program):
        if language == _MAKE:
            continue
        for match in _POSITIONAL.finditer(text):
            name, index = match["name"] or match["name2"], int(match["index"] or match["index2"])
            if index >= 1 and (words is None or name in words) and not _in_comment(text, match.start()):
                line = text.count("\n", 0, match.start()) + 1
                at = index - 1
                value = parse_literal(program.arguments[at]) if at < len(program.arguments) else UNKNOWN
                shown = f"argument {index}, {name}"
                yield Place(name, (), "positional", path, line, value, shown, give=partial(_give, name, at))
        for match in _OPTION.finditer(text):
            name = match["option"].lstrip("-").replace("-", "_")
            if (words is None or name in words) and not _in_comment(text, match.start()):
                line = text.count("\n", 0, match.start()) + 1
                joined = bool(match["is"]) or language != _SHELL
                given = given_text(program.arguments, (match["option"],))
                value = UNKNOWN if given is None else parse_literal(given)
                give = partial(_give_option, match["option"], joined)
                yield Place(name, (), "option", path, line, value, match["option"], give=give, prefix=match["option"])


def _place(path: str, text: str, match: re.Match[str], name: str, language: str, kind: str) -> Place:
    raw = match["value"]
    # an exported LR would win over `${LR:-0.1}` and, in make, over `LR ?= 0.1`
    first, last, prefix = match.start("value"), match.end("value"), ""
    if match.re is _DEFAULT:
        first, last = match.span()
    elif language == _MAKE and "?=" in match[0]:
        first, prefix = match.start() + match[0].index("?="), "= "
    start, stop = (len(text[:at].encode()) for at in (first, last))
    edit = Edit(path, start, stop, lambda value: prefix + _write(language, raw, value))
    line = text.count("\n", 0, match.start("value")) + 1
    known = {"TRUE": True, "FALSE": False, "true": True, "false": False, "NULL": None, "nothing": None}
    value = known[raw] if raw in known else parse_literal(raw.removesuffix("L") if language == _R else raw)
    if (match.re is _DEFAULT or prefix) and name in os.environ:
        value = parse_literal(os.environ[name])
    return Place(name, (), kind, path, line, value, " ".join(match[0].split()), (edit,))


def _write(language: str, before: str, value: object) -> str:
    value = plain(value)
    if isinstance(value, list):
        raise SubstitutionError(f"{value!r} is not a single word")
    if language in (_SHELL, _MAKE):
        text = str(value).lower() if isinstance(value, bool) else as_text(value)
        if before[:1] in ("'", '"') and not any(mark in text for mark in "'\"$`\\\n"):
            return f"{before[0]}{text}{before[0]}"
        return shlex.quote(text) if language == _SHELL else text
    if isinstance(value, bool):
        return str(value).upper() if language == _R else str(value).lower()
    if value is None:
        return "NULL" if language == _R else "nothing"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text.replace("$", "\\$") if language == _JULIA else text
    return f"{value}L" if before.endswith("L") and isinstance(value, int) else repr(value)


def _give(name: str, at: int, value: object, draft: Draft) -> None:
    if at > len(draft.arguments):
        raise SubstitutionError(f"{name} is argument {at + 1} of the script: give the {at} before it as well")
    draft.arguments[at : at + 1] = [as_text(value)]


def _give_option(spelling: str, joined: bool, value: object, draft: Draft) -> None:
    text = as_text(value)
    set_option(draft.arguments, (spelling,), [f"{spelling}={text}"] if joined else [spelling, text], front=False)


def _in_comment(text: str, position: int) -> bool:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return bool(re.match(r"\s*#", line)) or bool(re.search(r"\s#\s", line))
