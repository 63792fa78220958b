"""Paths that Python code names: `"../data"`, `Path(__file__).parent.parent / "data"`, `os.path.join(ROOT, "data", name)`.

text, path of its file --PathReader.read--> texts of paths: relative ones unchanged, those made of `__file__` or the working
directory absolute, each as far as it is known; nothing is executed
"""

import ast
import operator
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

_SAME = {"abspath", "realpath", "normpath", "expanduser", "str", "fspath", "resolve", "absolute", "as_posix", "Path"}
_SAME |= {"PurePath", "PosixPath", "UPath", "expandvars"}
_JOINS = {"join", "joinpath", "Path", "PurePath", "PosixPath"}
_MOST = 20_000  # nodes of a file that are visited


@dataclass(frozen=True)
class Known:
    """The known part of a path; `whole`: all of it; `own`: made of the script's location."""

    text: str
    whole: bool = True
    own: bool = False


class PathReader:
    """Evaluates path expressions of the files of one program; a name that one file assigns is known in the others."""

    def __init__(self, source: str) -> None:
        self._source = source  # the working directory, absolute
        self._names: dict[str, Known] = {}
        self._file = ""

    def read(self, text: str, path: str) -> Iterator[str]:
        """Yield path texts in `text`, the code of the file at `path` below the source. Raises SyntaxError."""
        with warnings.catch_warnings(action="ignore"):
            nodes = list(ast.walk(ast.parse(text)))[:_MOST]
        self._file = os.path.join(self._source, path)
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                known = self._value(node.value)
                for target in targets:
                    name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", None)
                    if name and known is not None:
                        self._names[name] = known
        for node in nodes:
            known = self._value(node) if isinstance(node, ast.expr) and not isinstance(node, ast.Name) else None
            if known is not None and (known.own or not os.path.isabs(known.text)):
                yield known.text

    def _value(self, node: ast.expr) -> Known | None:
        match node:
            case ast.Constant(value=str(text)):
                return Known(text) if "\n" not in text and len(text) < 1000 else None
            case ast.Name(id="__file__"):
                return Known(self._file, own=True)
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(), attr=name) if name in self._names:
                return self._names[name]
            case ast.Attribute(value=inner, attr="parent"):
                return self._above(inner, 1)
            case ast.Subscript(value=ast.Attribute(value=inner, attr="parents"), slice=ast.Constant(value=int(level))):
                return self._above(inner, level + 1) if level >= 0 else None
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._joined([left, right])
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([left, right], operator.add)
            case ast.JoinedStr(values=parts):
                return self._joined([p.value if isinstance(p, ast.FormattedValue) else p for p in parts], operator.add)
            case ast.Call():
                return self._call(node)
        return None

    def _call(self, node: ast.Call) -> Known | None:
        called = node.func
        last = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        owner = called.value if isinstance(called, ast.Attribute) else None
        given = list(node.args)
        if last in ("getcwd", "cwd") and not given:
            return Known(self._source, own=True)
        is_method = owner is not None and not (
            isinstance(owner, ast.Name | ast.Attribute) and self._value(owner) is None
        )
        if is_method and last in (*_SAME, "joinpath"):
            assert owner is not None
            return self._joined([owner, *given]) if last == "joinpath" else self._value(owner)
        if not given:
            return None
        if last == "dirname":
            return self._above(given[0], 1)
        if last in _JOINS and (last != "join" or _is_of_path(owner)):
            return self._joined(given)
        return self._value(given[0]) if last in _SAME and len(given) == 1 else None

    def _above(self, node: ast.expr, levels: int) -> Known | None:
        known = self._value(node)
        if known is None or not known.whole:
            return None
        text = known.text
        for _ in range(levels):
            text = os.path.dirname(text) if not text.endswith(os.pardir) else os.path.join(text, os.pardir)
        return Known(text, own=known.own)

    def _joined(self, nodes: list[ast.expr], put: Callable[[str, str], str] = os.path.join) -> Known | None:
        """Join the parts up to the first unknown one."""
        known = self._value(nodes[0]) if nodes else None
        for node in nodes[1:]:
            if known is None or not known.whole:
                return known
            more = self._value(node)
            if more is None:
                return replace(known, whole=False)
            known = Known(put(known.text, more.text), more.whole, known.own or more.own)
        return known


def _is_of_path(owner: ast.expr | None) -> bool:
    """Return whether `join` is that of `os.path`, and not that of a text."""
    return (
        owner is None
        or (isinstance(owner, ast.Attribute) and owner.attr == "path")
        or (isinstance(owner, ast.Name) and owner.id in ("path", "osp", "op", "posixpath"))
    )
