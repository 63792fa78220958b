"""Hook that Python loads before a script, to ask the script's own parser for its options.

    PYTHONPATH=this folder  STUDIO_PROBE_RECORD=FILE  python train.py

The script runs until its parser has read the arguments. FILE then has the options as JSON, and the process ends. It ends earlier
if the script writes a file, starts a program or opens a connection. Any Python from 3.8 on runs this file, without Studio.

    {"parser": "argparse", "options": [{"spellings": ["--lr"], "name": "lr", "kind": "float", "default": 0.1, "value": 0.1, …}]}
"""

from __future__ import annotations

import importlib
import importlib.abc
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

RECORD = os.environ.pop("STUDIO_PROBE_RECORD", "")
HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.getcwd() + os.sep
LAST_PARSER = 1.0  # seconds that a script has for another parser if it let this one pass over unknown arguments
_HOME = os.path.expanduser("~") + os.sep
# where libraries keep what they computed or downloaded
CACHES = (
    tempfile.gettempdir() + os.sep,
    "/dev/",
    "/proc/",
    *(_HOME + one for one in (".cache/", ".config/", ".local/")),
)
CHANGES = {
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.truncate",
    "os.symlink",
    "os.link",
    "os.chmod",
    "sqlite3.connect",
}
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"}
# calls of libraries after which no other parser follows
WHOLE = {"parse_args", "parse_intermixed_args", "parse_args_into_dataclasses"}
KINDS = {
    "int": "int", "integer": "int", "integer range": "int", "float": "float", "float range": "float", "boolean": "truth",
    "bool": "truth", "text": "str", "str": "str",
}  # fmt: skip
record: dict[str, Any] = {"parser": "", "options": [], "whole": False, "end": ""}
_depth = 0
_last = 0.0  # time of the last parser


def end(why: str = "") -> None:
    """Write the record and end the process. `why` is empty if the parser has told all that it has."""
    record["end"] = why
    record["whole"] = record["whole"] or not why
    write()
    os._exit(0)


def write() -> None:
    draft = RECORD + ".part"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, json.dumps(record).encode())
    os.close(descriptor)
    os.replace(draft, RECORD)


def is_users(path: str) -> bool:
    path = os.path.join(SOURCE, path)
    return path.startswith(SOURCE) and not any(
        part in path for part in ("site-packages", "dist-packages", "/lib/python")
    )


def frames() -> Iterator[tuple[str, str, str]]:
    """Yield the name of each function that is running, the file that has it, and its module; the innermost first."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        yield frame.f_code.co_name, frame.f_code.co_filename, frame.f_globals.get("__name__") or ""
        frame = frame.f_back


def watch(event: str, args: Any) -> None:
    """End the process before the script changes something: an audit hook."""
    if event == "open":
        path, mode, flags = args
        writes = (
            set("wax+") & set(mode) if isinstance(mode, str) else (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes and not isinstance(path, int) and not _is_cache(path):
            end(f"it writes {_text(path)}")
    elif event in CHANGES:
        if args and not isinstance(args[0], int) and not _is_cache(args[0]):
            end(f"it changes {_text(args[0])}")
    elif event in STARTS:
        caller = next((path for _, path, module in frames() if module not in ("subprocess", "os", "pty", __name__)), "")
        if is_users(caller):
            end("it starts a program")
    elif (
        event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in ("127.0.0.1", "::1", "localhost")
    ):
        end(f"it opens a connection to {args[1][0]}")


def _text(path: Any) -> str:
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)


def _is_cache(path: Any) -> bool:
    path = os.path.abspath(_text(path))
    return path.startswith(RECORD) or (not (path + os.sep).startswith(SOURCE) and path.startswith(CACHES))


def plain(value: Any) -> Any:
    """Return a value that JSON has: a number, a text or a flag; None for all else."""
    value = getattr(value, "value", value) if type(value).__mro__[-2].__name__ == "Enum" else value
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value if isinstance(value, (bool, int, float, str)) and not str(value).startswith("==SUPPRESS") else None


def add(
    spellings: Iterable[str],
    name: str,
    kind: str = "",
    default: Any = None,
    value: Any = None,
    choices: Any = (),
    **more: Any,
) -> None:
    """Add an option to the record. `kind` is the name of a type; "bool" for what takes any text as True and no text as False;
    "flag", "off" and "pair" for options without a value."""
    plains = [plain(one) for one in choices or ()]
    record["options"].append(
        dict(
            spellings=sorted(spellings, key=lambda one: not one.startswith("--")), name=name, kind=kind, default=plain(default),
            value=plain(value), choices=[] if None in plains else plains, **more,
        )
    )  # fmt: skip


# --- argparse, and all that makes its parsers ------------------------------------------------------------------------


def add_actions(parser: Any, front: bool) -> None:
    for action in parser._actions:
        cls = type(action).__name__
        if not action.option_strings or cls in (
            "_HelpAction",
            "_VersionAction",
            "_CountAction",
            "_AppendConstAction",
            "_ConfigAction",
        ):
            continue
        type_ = action.type or getattr(action, "_typehint", None)
        kind = "truth" if type_ is bool and action.type is None else getattr(type_, "__name__", "")
        kind = kind if kind not in ("", "str") else KINDS.get(str(action.metavar).lower(), kind)
        negative = ""
        if cls in ("_StoreTrueAction", "_StoreFalseAction", "BooleanOptionalAction", "_StoreConstAction"):
            kind = {"_StoreTrueAction": "flag", "_StoreFalseAction": "off", "BooleanOptionalAction": "pair"}.get(
                cls, "const"
            )
            negative = next((one for one in action.option_strings if one.startswith("--no-")), "")
        add(
            [one for one in action.option_strings if one != negative], action.dest, kind, _default(action),
            choices=action.choices if isinstance(action.choices, (list, tuple, set, frozenset, range)) else (),
            negative=negative, required=bool(action.required), many=action.nargs not in (None, "?", 0, 1), front=front,
        )  # fmt: skip


def _default(action: Any) -> Any:
    """Return the default of the action; from its help if a library keeps it elsewhere."""
    if plain(action.default) is not None or not isinstance(action.help, str):
        return action.default
    told = re.search(r"\(default: ([^()]+)\)", action.help)
    try:
        return json.loads(told[1]) if told else None
    except ValueError:
        return told[1].strip("'\"") if told and told[1] != "None" else None


def add_values(namespace: Any) -> None:
    for option in record["options"]:
        value = namespace
        for part in option["name"].split("."):
            value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
        option["value"] = plain(value)


def of_argparse(module: Any) -> None:
    original = module.ArgumentParser._parse_known_args

    def parse(self: Any, arguments: Any, namespace: Any, *rest: Any, **more: Any) -> Any:
        global _depth, _last
        given = sys.argv[1:]
        others = given and not set(given) & set(arguments) and not record["options"]
        if not _depth and (others or any(name.startswith("hydra.") for _, _, name in frames())):
            return original(self, arguments, namespace, *rest, **more)
        if not _depth:
            record["options"] = []
        _depth += 1
        record["parser"] = "argparse"
        add_actions(self, front=self._subparsers is not None)
        write()
        try:
            result = original(self, arguments, namespace, *rest, **more)
            if _depth == 1:
                add_values(result[0])
                write()
            return result
        finally:
            _depth -= 1
            if not _depth and any(name in WHOLE and not is_users(path) for name, path, _ in frames()):
                end()
            _last = time.monotonic()
            if not _depth:
                timer = threading.Timer(LAST_PARSER, end_if_last)
                timer.daemon = True
                timer.start()

    def end_if_last() -> None:
        if time.monotonic() - _last >= LAST_PARSER * 0.9:
            end("it goes on after its parser")

    module.ArgumentParser._parse_known_args = parse


def of_tyro(module: Any) -> None:
    original = module.cli

    def cli(function: Any, *rest: Any, **options: Any) -> Any:
        import warnings

        warnings.simplefilter("ignore")
        known = ("prog", "description", "default", "use_underscores", "config", "registry")
        record["parser"] = "tyro"
        parser = module.extras.get_parser(function, **{key: value for key, value in options.items() if key in known})
        record["options"] = []
        add_actions(parser, front=False)
        end()
        return original(function, *rest, **options)

    module.cli = cli


# --- click and typer --------------------------------------------------------------------------------------------------


def of_click(module: Any) -> None:
    owner = next(cls for cls in module.Command.__mro__ if "make_context" in vars(cls))
    original = owner.make_context

    def make_context(self: Any, name: Any, arguments: Any, parent: Any = None, **extra: Any) -> Any:
        if parent is None and not record["options"]:
            record["parser"] = "click"
            command = self
            while command is not None:
                inner = next((one for one in arguments if one in getattr(command, "commands", ())), None)
                add_parameters(command, front=hasattr(command, "commands"))
                command = command.commands[inner] if inner else None
            end()
        return original(self, name, arguments, parent=parent, **extra)

    owner.make_context = make_context


def add_parameters(command: Any, front: bool) -> None:
    for one in command.params:
        if one.param_type_name != "option" or one.name == "help" or getattr(one, "count", False):
            continue
        flag = ("pair" if one.secondary_opts else "flag") if getattr(one, "is_flag", False) else ""
        annotation = getattr(getattr(one, "type_descriptor", None), "annotation", None)  # of typer
        kind = getattr(one, "type", None)
        kind_of = KINDS.get(str(getattr(kind, "name", None) or getattr(annotation, "__name__", "")), "")
        limits = one if kind is None else kind
        add(
            one.opts, one.name, flag or kind_of, one.default,
            choices=getattr(kind, "choices", None) or getattr(annotation, "__members__", {}).values()
            or getattr(annotation, "__args__", ()), low=plain(getattr(limits, "min", None)),
            high=plain(getattr(limits, "max", None)), negative=one.secondary_opts[0] if one.secondary_opts else "",
            required=bool(one.required), many=bool(one.multiple or one.nargs != 1), front=front,
        )  # fmt: skip


# --- absl and fire ----------------------------------------------------------------------------------------------------


def of_absl(module: Any) -> None:
    original = module.FlagValues.__call__

    def parse(self: Any, argv: Any, *rest: Any, **options: Any) -> Any:
        try:
            return original(self, argv, *rest, **options)
        finally:
            record["parser"] = "absl"
            for name, flags in self.flags_by_module_dict().items():
                for flag in flags if not name.startswith("absl.") else ():
                    boolean = flag.flag_type() == "bool"
                    spellings = ["--" + flag.name] + (["-" + flag.short_name] if flag.short_name else [])
                    add(
                        spellings, flag.name, "pair" if boolean else flag.flag_type(), flag.default, flag.value,
                        getattr(flag.parser, "enum_values", ()), negative="--no" + flag.name if boolean else "",
                        low=plain(getattr(flag.parser, "lower_bound", None)), high=plain(getattr(flag.parser, "upper_bound", None)),
                        required=flag.default is None and not flag.using_default_value, many="list" in flag.flag_type(),
                    )  # fmt: skip
            end()

    module.FlagValues.__call__ = parse


def of_fire(module: Any) -> None:
    import inspect

    original = module.Fire

    def fire(component: Any = None, command: Any = None, *rest: Any, **options: Any) -> Any:
        given = iter(sys.argv[1:] if command is None else ())
        target = component
        while not inspect.isroutine(target):
            if inspect.isclass(target):
                add_arguments(target)
            word = next(given, None)
            if word is None:
                break
            inner = target.get(word) if isinstance(target, dict) else getattr(target, word.replace("-", "_"), None)
            target = inner if inner is not None else target
        if inspect.isroutine(target):
            add_arguments(target)
        record["parser"] = "fire"
        end()
        return original(component, command, *rest, **options)

    def add_arguments(function: Any) -> None:
        for one in inspect.signature(function).parameters.values():
            if one.name != "self" and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
                default = None if one.default is one.empty else one.default
                kind = "" if one.annotation is one.empty else getattr(one.annotation, "__name__", str(one.annotation))
                add(["--" + one.name], one.name, kind, default, default, required=one.default is one.empty)

    module.Fire = fire


PARSERS = {
    "argparse": of_argparse, "tyro._argparse": of_argparse, "tyro": of_tyro, "click.core": of_click, "typer._click.core": of_click,
    "absl.flags._flagvalues": of_absl, "fire.core": of_fire,
}  # fmt: skip


class AfterImport(importlib.abc.MetaPathFinder):
    """Finder that changes a parser's module once it is loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in PARSERS:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self and hasattr(finder, "find_spec") else None
            if spec is not None and spec.loader is not None:
                load, change = spec.loader.exec_module, PARSERS.get(name)

                def exec_module(module: Any, load: Any = load, change: Any = change) -> None:
                    load(module)
                    change(module)

                setattr(spec.loader, "exec_module", exec_module)  # noqa: B010 - not a method of the class
                return spec
        return None


def start() -> None:
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
    inherited = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and os.path.abspath(path) != HERE
    ]
    os.environ.pop("PYTHONPATH", None)
    if inherited:
        os.environ["PYTHONPATH"] = os.pathsep.join(inherited)
    own = sys.modules.pop("sitecustomize")
    try:
        importlib.import_module("sitecustomize")  # the one of the environment
    except ImportError:
        sys.modules["sitecustomize"] = own
    sys.meta_path.insert(0, AfterImport())
    for name in PARSERS:
        if name in sys.modules:
            PARSERS[name](sys.modules[name])
    sys.addaudithook(watch)


if RECORD:
    start()
