"""An argument that the script will refuse, found in its text: only where all of its one argparse parser is in sight.

parser = argparse.ArgumentParser()                 `--epoch 3` is a beginning of `--epochs`, and is taken
parser.add_argument("--epochs", type=int)          `--epochz 3` is refused
args = parser.parse_args()
"""

import argparse
import ast
import difflib
from collections.abc import Iterator
from typing import Any, NoReturn

from studio.script.program import Program
from studio.text import did_you_mean

_HARMLESS = {
    "description",
    "epilog",
    "prog",
    "usage",
    "formatter_class",
    "argument_default",
    "allow_abbrev",
    "add_help",
}
_ADDS = ("add_argument_group", "add_mutually_exclusive_group")
_USES = ("add_argument", *_ADDS, "set_defaults", "parse_args", "error", "exit", "print_help", "print_usage")
_ACTIONS = {"store", "store_true", "store_false", "store_const", "append", "append_const", "count", "extend"}
_OTHER_PARSERS = {"absl", "click", "docopt", "fire", "hydra", "jsonargparse", "simple_parsing", "tap", "typer", "tyro"}


class _Unsure(Exception):
    """The text does not tell which arguments are taken."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Unsure


def refused_argument(program: Program) -> str:
    """Return why the script would refuse its arguments; empty where it takes them, or the text does not tell."""
    script = program.script or ""
    if not program.arguments or not script.endswith(".py"):
        return ""
    try:
        if any("argv" in source.file.text for source in program.python):
            return ""
        parser = _Reader(ast.parse(program.source(script).file.text)).parser()
        _, left = parser.parse_known_args(program.arguments)
    except (_Unsure, SyntaxError, ValueError, TypeError, argparse.ArgumentError):
        return ""
    if not left:
        return ""
    name = left[0].partition("=")[0]
    spellings = [text for text in vars(parser)["_option_string_actions"] if text.startswith("--")]
    words = {text.lstrip("-").casefold(): text for text in spellings}
    meant = [words[word] for word in difflib.get_close_matches(name.lstrip("-").casefold(), words, n=1)]
    hint = did_you_mean(name, spellings, meant) if name.startswith("-") else "; it is one too many"
    return f"{script} takes no argument {left[0]!r}{hint}"


class _Reader:
    """Reader of the one parser in a module."""

    def __init__(self, tree: ast.Module) -> None:
        self._nodes = list(ast.walk(tree))
        self._parents = {child: node for node in self._nodes for child in ast.iter_child_nodes(node)}

    def parser(self) -> argparse.ArgumentParser:
        """Return a parser that takes what the script's takes, of any type. Raises _Unsure."""
        self._check_imports()
        made = [call for call in self._calls() if _last(call.func) == "ArgumentParser"]
        if len(made) != 1:
            raise _Unsure
        given = {word.arg or "": word.value for word in made[0].keywords}
        if not set(given) <= _HARMLESS:
            raise _Unsure
        switches = {name: _constant(given[name]) for name in ("allow_abbrev", "add_help") if name in given}
        parser = _Parser(add_help=False, allow_abbrev=bool(switches.get("allow_abbrev", True)), exit_on_error=False)
        if switches.get("add_help", True):
            parser.add_argument("-h", "--help", action="store_true")
        names = self._names_of(made[0])
        parses = 0
        for node in self._nodes:
            if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
                used = self._parents[node]
                call = self._parents.get(used)
                if not (isinstance(used, ast.Attribute) and used.attr in _USES and isinstance(call, ast.Call)):
                    raise _Unsure
                if used.attr == "add_argument":
                    _add(parser, call)
                elif used.attr == "parse_args":
                    parses += 1
                    if call.args or call.keywords or not self._is_executed(call, frozenset()):
                        raise _Unsure
        if parses != 1:
            raise _Unsure
        return parser

    def _calls(self) -> Iterator[ast.Call]:
        return (node for node in self._nodes if isinstance(node, ast.Call))

    def _check_imports(self) -> None:
        modules: list[str] = []
        for node in self._nodes:
            if isinstance(node, ast.Import):
                modules += [each.name for each in node.names]
                if any(each.asname and "argparse" in (each.name, each.asname) for each in node.names):
                    raise _Unsure
            elif isinstance(node, ast.ImportFrom):
                modules.append(node.module or "")
                if node.module != "argparse" and any("ArgumentParser" in each.name for each in node.names):
                    raise _Unsure
            elif isinstance(node, ast.ClassDef) and any("ArgumentParser" in ast.dump(base) for base in node.bases):
                raise _Unsure
        if "argparse" not in modules or any(name.partition(".")[0] in _OTHER_PARSERS for name in modules):
            raise _Unsure

    def _names_of(self, made: ast.Call) -> set[str]:
        """Return the names of the parser and of its groups, each of which is given to nothing else."""
        names = {self._assigned(made)}
        found = True
        while found:
            groups = {
                self._assigned(call)
                for call in self._calls()
                if isinstance(call.func, ast.Attribute)
                and call.func.attr in _ADDS
                and isinstance(call.func.value, ast.Name)
                and call.func.value.id in names
            }
            found = not groups <= names
            names |= groups
        stored = [node.id for node in self._nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        taken = {node.arg for node in self._nodes if isinstance(node, ast.arg)}
        if taken & names or any(stored.count(name) > 1 and name == self._assigned(made) for name in names):
            raise _Unsure
        return names

    def _assigned(self, call: ast.Call) -> str:
        parent = self._parents.get(call)
        if isinstance(parent, ast.Assign) and len(parent.targets) == 1 and isinstance(parent.targets[0], ast.Name):
            return parent.targets[0].id
        raise _Unsure

    def _is_executed(self, node: ast.AST, within: frozenset[str]) -> bool:
        """Return whether the node is executed whenever the script is: in no branch, and in functions that are called."""
        while not isinstance(node, ast.Module):
            node = self._parents[node]
            if isinstance(node, ast.FunctionDef):
                calls = [
                    call for call in self._calls() if isinstance(call.func, ast.Name) and call.func.id == node.name
                ]
                inner = within | {node.name}
                return node.name not in within and any(self._is_executed(call, inner) for call in calls)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
                continue
            if not isinstance(node, ast.stmt | ast.Call | ast.Attribute | ast.keyword | ast.Module):
                return False
            if isinstance(
                node, ast.If | ast.For | ast.While | ast.Try | ast.ClassDef | ast.AsyncFunctionDef | ast.Match
            ):
                return False
        return True


def _add(parser: argparse.ArgumentParser, call: ast.Call) -> None:
    """Add the argument that the call adds, whatever its type and default."""
    names = [_constant(node) for node in call.args]
    given = {word.arg or "": word.value for word in call.keywords}
    if not all(isinstance(name, str) for name in names) or "" in given:
        raise _Unsure
    action, nargs = given.get("action"), given.get("nargs")
    kind = "store" if action is None else _last(action) if not isinstance(action, ast.Constant) else action.value
    if kind in ("help", "version"):
        kind = "store_true"
    more: dict[str, Any] = {"action": argparse.BooleanOptionalAction if kind == "BooleanOptionalAction" else kind}
    if kind != "BooleanOptionalAction" and kind not in _ACTIONS:
        raise _Unsure
    if nargs is not None:
        more["nargs"] = _constant(nargs)
        if more["nargs"] in (argparse.REMAINDER, argparse.PARSER, argparse.SUPPRESS):
            raise _Unsure
    if kind in ("store_const", "append_const") or more.get("nargs") == "?":
        more["const"] = ""
    if "dest" in given:
        more["dest"] = _constant(given["dest"])
    parser.add_argument(*map(str, names), **more)


def _constant(node: ast.expr) -> Any:
    if not isinstance(node, ast.Constant):
        raise _Unsure
    return node.value


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
