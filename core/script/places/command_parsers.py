"""Options defined one by one: argparse, optparse, click, absl, docopt, getopt, `sys.argv`, nanoGPT's configurator."""

import re
from collections.abc import Iterator

import libcst as cst

from studio.script.constants import UNKNOWN, constant
from studio.script.outline import Call, dotted, text_of
from studio.script.places.options import Option, Style
from studio.script.places.place import Bounds
from studio.script.program import Program, Source

_DOCOPT = re.compile(r"(--[\w-]+)(?:[ =]<?[\w-]+>?)?.*?(?:\[default: ([^\]]+)\].*)?$", re.MULTILINE)
_COMPARED = re.compile(r"(--[\w-]+)=?")


def argparse(program: Program, source: Source) -> Iterator[Option]:
    """Yield options of `parser.add_argument("--lr", "-l", type=float, default=0.1)`, groups and subparsers included."""
    outline = source.outline
    main = {
        name
        for call, name in outline.assigned_calls.items()
        if dotted(call.func).rpartition(".")[2].endswith(("ArgumentParser", "OptionParser", "ArgParser"))
    }
    subcommands = any(call.last == "add_subparsers" for call in outline.calls)
    for call in outline.calls:
        if call.last not in ("add_argument", "add_option"):
            continue
        spellings = [text for node in call.positionals if (text := text_of(node)) and text.startswith("-")]
        if not spellings:
            continue
        spellings.sort(key=lambda spelling: not spelling.startswith("--"))
        dest = text_of(call.keyword("dest"))
        action = _action(call)
        names = tuple(dict.fromkeys([spellings[0].lstrip("-"), *([dest] if dest else []), *_stripped(spellings)]))
        front = subcommands and call.callee.partition(".")[0] in main
        default = call.keyword("default")
        if action == "store_true":
            yield Option(tuple(spellings), names, source, call.node, None, "on", front=front, value=False)
        elif action == "store_false":
            stored = (dest,) if dest else (spellings[0].lstrip("-"),)
            yield Option(tuple(spellings), stored, source, call.node, None, "off", front=front, value=True)
        elif action == "BooleanOptionalAction":
            negative = f"--no-{spellings[0].lstrip('-')}"
            yield Option(tuple(spellings), names, source, call.node, default, "pair", negative, front=front)
        elif action in ("", "store", "append", "extend"):
            kind = type_name(call.keyword("type"))
            nargs = text_of(call.keyword("nargs")) or ("2" if call.keyword("nargs") is not None else "")
            style: Style = "bool" if kind == "bool" else " " if nargs in ("+", "*") else "="
            choices = call.keyword("choices")
            own = (
                listed(choices) if kind in ("", "int", "float", "str") else ()
            )  # else of what `type` makes of the text
            yield Option(
                tuple(spellings), names, source, call.node, default, style, front=front, choices=own,
                bounds=_bounds(choices), whole=kind == "int" and not nargs, required=is_required(call),
            )  # fmt: skip


def click(program: Program, source: Source) -> Iterator[Option]:
    """Yield options of `@click.option("--lr", "-l", default=0.1)`, `"--shout/--no-shout"`, `is_flag=True`."""
    for function in source.outline.functions:
        group = any(dotted(d).rpartition(".")[2] in ("group", "callback") for d in function.decorators)
        for decorator in function.decorators:
            if not isinstance(decorator, cst.Call) or dotted(decorator.func).rpartition(".")[2] != "option":
                continue
            call = Call(dotted(decorator.func), decorator, ())
            texts = [text for node in call.positionals if (text := text_of(node))]
            spellings, negative = click_spellings(texts)
            if not spellings:
                continue
            names = [spellings[0].lstrip("-"), *(t for t in texts if not t.startswith("-")), *_stripped(spellings)]
            is_flag = constant(call.keyword("is_flag") or decorator) is True
            style: Style = "pair" if negative else "on" if is_flag else "="
            default = call.keyword("default")
            yield Option(
                tuple(spellings),
                tuple(dict.fromkeys(names)),
                source,
                decorator,
                default,
                style,
                negative,
                front=group,
                choices=_click_choices(call.keyword("type")),
                bounds=_bounds(call.keyword("type")),
                whole=type_name(call.keyword("type")) in ("int", "INT", "IntRange"),
                required=is_required(call),
            )


def click_spellings(texts: list[str]) -> tuple[list[str], str]:
    """Return the spellings of an option, and that of its opposite: `--shout/--no-shout`."""
    spellings: list[str] = []
    negative = ""
    for text in texts:
        if text.startswith("-"):
            on, _, off = text.partition("/")
            spellings.append(on.strip())
            negative = off.strip() or negative
    spellings.sort(key=lambda spelling: not spelling.startswith("--"))
    return spellings, negative


def absl(program: Program, source: Source) -> Iterator[Option]:
    """Yield options of `flags.DEFINE_float("lr", 0.1, "learning rate")`."""
    for call in source.outline.calls:
        if not call.last.startswith("DEFINE_") and not call.last.startswith("define_"):
            continue
        given = call.positionals
        name = text_of(given[0]) if given else text_of(call.keyword("name"))
        if name:
            default = given[1] if len(given) > 1 else call.keyword("default")
            choices = listed(given[2]) if len(given) > 2 and call.last.lower() == "define_enum" else ()
            whole = call.last.lower() == "define_integer"
            yield Option((f"--{name}",), (name,), source, call.node, default, choices=choices, whole=whole)


def docopt(program: Program, source: Source) -> Iterator[Option]:
    """Yield the options in a usage text of docopt."""
    if not any(call.last == "docopt" for call in source.outline.calls):
        return
    for string in source.outline.strings:
        text = text_of(string) or ""
        if "usage:" not in text.lower():
            continue
        for match in sorted(_DOCOPT.finditer(text), key=lambda one: one[2] is None):  # the usage has no defaults
            takes = re.match(r"--[\w-]+[ =](<|[A-Z])", match[0])
            value = match[2] if match[2] is not None else UNKNOWN
            style: Style = "=" if takes else "on"
            yield Option((match[1],), (match[1].lstrip("-"),), source, string, None, style, value=value)


def own_parser(program: Program, source: Source) -> Iterator[Option]:
    """Yield options of a script that reads `sys.argv` itself: `arg.startswith("--lr=")`, `"--lr" in sys.argv`, getopt."""
    outline = source.outline
    getopt = any(call.last in ("getopt", "gnu_getopt") for call in outline.calls)
    reads_argv = "sys.argv" in source.file.text or "from sys import argv" in source.file.text
    if not reads_argv or any(call.last in ("add_argument", "ArgumentParser", "docopt") for call in outline.calls):
        return
    for string in outline.strings:
        text = text_of(string) or ""
        style: Style
        if getopt and re.fullmatch(r"[\w-]{2,}=?", text):
            style = "=" if text.endswith("=") else "on"
            yield Option((f"--{text.rstrip('=')}",), (text.rstrip("="),), source, string, None, style)
        elif match := _COMPARED.fullmatch(text):
            style = "=" if text.endswith("=") else " " if _takes_next(source, match[1]) else "on"
            yield Option((match[1],), (match[1].lstrip("-"),), source, string, None, style)


def configurator(program: Program, source: Source) -> Iterator[Option]:
    """Yield globals that an executed file overrides from `--name=value`, as nanoGPT's configurator.py does."""
    if source not in program.own:
        return
    texts = [other.file.text for other in [source, *program.executed]]
    if not any("sys.argv" in text and "globals()" in text and "--" in text for text in texts):
        return
    for name, scopes in source.reads.variables.items():
        for scope in scopes:
            first = next((one for one in scope.assigned if one.literal is not None), None)
            if scope.where or first is None or name.startswith("_"):
                continue
            node = next((node for known, _, node in source.outline.assigns if known == name), None)
            if node is not None:
                value = next(value for known, value, _ in source.outline.assigns if known == name)
                default = value if constant(value) is not UNKNOWN else None
                yield Option((f"--{name}",), (name,), source, node, default)


def _takes_next(source: Source, spelling: str) -> bool:
    """Return whether the text uses the argument after it: `sys.argv[sys.argv.index("--lr") + 1]`."""
    return bool(re.search(rf"index\(\s*[\"']{re.escape(spelling)}[\"']\s*\)", source.file.text)) or "next(" in (
        source.file.text
    )


def _action(call: Call) -> str:
    node = call.keyword("action")
    if node is None:
        return ""
    return text_of(node) or dotted(node).rpartition(".")[2]


def listed(node: cst.BaseExpression | None) -> tuple[object, ...]:
    """The constants in a list, tuple or set; empty where one of them is none."""
    if not isinstance(node, cst.List | cst.Tuple | cst.Set):
        return ()
    values = [constant(element.value) for element in node.elements]
    return () if UNKNOWN in values else tuple(values)


def _click_choices(node: cst.BaseExpression | None) -> tuple[object, ...]:
    if isinstance(node, cst.Call) and dotted(node.func).rpartition(".")[2] == "Choice" and node.args:
        return listed(node.args[0].value)
    return ()


def type_name(node: cst.BaseExpression | None) -> str:
    """Return `int` for `int` and `"int"`, `INT` for `click.INT`, `IntRange` for a call of it; `?` for another expression."""
    return "" if node is None else text_of(node) or dotted(node).rpartition(".")[2] or "?"


def is_required(call: Call) -> bool:
    """Return whether the call that defines an option says that it must be given."""
    node = call.keyword("required")
    return node is not None and constant(node) is True


def number(node: cst.BaseExpression | None) -> float | None:
    """Return the number that an expression is, if it is a constant."""
    value = None if node is None else constant(node)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bounds(node: cst.BaseExpression | None) -> Bounds:
    """Return the ends of `range(1, 5)`, `IntRange(1, 4)` and `FloatRange(0, 1, max_open=True)`; an open end is left out by
    a hundredth of the range."""
    if not isinstance(node, cst.Call):
        return None, None
    call = Call(dotted(node.func), node, ())
    given = [number(each) for each in call.positionals]
    if call.last == "range" and given and None not in given and len(given) < 3:
        low, stop = ([0, *given] if len(given) == 1 else given)[:2]
        return low, None if stop is None else stop - 1
    if call.last not in ("IntRange", "FloatRange"):
        return None, None
    low, high = ([*given, None, None])[:2]
    low, high = (
        (low if low is not None else number(call.keyword("min"))),
        (high if high is not None else number(call.keyword("max"))),
    )
    if low is not None and high is not None:
        inset = 1 if call.last == "IntRange" else (high - low) / 100
        is_open = [each is not None and constant(each) is True for each in map(call.keyword, ("min_open", "max_open"))]
        low, high = low + inset * is_open[0], high - inset * is_open[1]
    return low, high


def _stripped(spellings: list[str]) -> list[str]:
    return [spelling.lstrip("-") for spelling in spellings]
