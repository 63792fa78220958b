"""The command `studio plugins`: list all plugins with their distributions, show one, or create one with `new`."""

import dataclasses
import inspect
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.cli.console import print_json, print_table
from studio.cli.usage import new_app
from studio.errors import BadInput
from studio.host import Host, PluginItem, backend_fields, create_host
from studio.options import options_of, type_name
from studio.text import did_you_mean

app = new_app()


@app.callback(invoke_without_command=True)
def plugins(
    ctx: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also the import time of each.")] = False,
) -> int:
    """List optimizers, backends, range parsers and metric extractors, built in and installed."""
    if ctx.invoked_subcommand is not None:
        return 0
    host = create_host()
    descriptions = [describe(item) for item in host.items()]
    if json:
        problems = [{"plugin": p.plugin, "distribution": p.distribution, "message": p.message} for p in host.problems]
        print_json({"plugins": descriptions, "problems": problems})
        return 0
    rows = [
        [
            d["name"],
            d["kind"],
            d["distribution"],
            d["version"],
            ", ".join(d["abilities"]),
            " ".join(map(_option, d["options"])),
        ]
        for d in descriptions
    ]
    print_table(["name", "kind", "distribution", "version", "abilities", "options"], rows)
    for problem in host.problems:
        print(f"studio: {problem}", file=sys.stderr)
    if verbose:
        _print_import_times(host)
    return 0


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")]) -> int:
    """Show the description of NAME, its options, and an example command."""
    items = create_host().items()
    matches = [item for item in items if name == item.name or name in getattr(item.cls, "aliases", ())]
    if not matches:
        raise BadInput(f"there is no plugin {name!r}{did_you_mean(name, {item.name for item in items})}")
    for item in matches:
        details = describe(item)
        print(f"{item.name}: {item.kind} of {item.distribution} {item.version}".rstrip())
        print(f"\n{inspect.getdoc(item.cls) or inspect.getdoc(inspect.getmodule(item.cls)) or 'No description.'}\n")
        if details["options"]:
            print("options:")
            print_table(["name", "type", "default"], [[o["name"], o["type"], o["default"]] for o in details["options"]])
        if details["abilities"]:
            print(f"abilities: {', '.join(details['abilities'])}")
        print(f"example: {_example(item)}")
    return 0


@app.command()
def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="optimizer or metric")],
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The name that users write, as in --optimizer=NAME or --metric=NAME:loss."),
    ],
) -> int:
    """Write a package with an optimizer or a metric of your own: entry point, class, contract test. Its tests pass at once."""

    folder = write_package(kind, name, Path.cwd())
    print(f"wrote {folder}. Try it: pip install -e {folder.name} && pytest {folder.name}")
    return 0


def describe(item: PluginItem) -> dict[str, Any]:
    """Return the description of a plugin for `studio plugins --json`."""
    return {
        "name": item.name,
        "kind": item.kind,
        "distribution": item.distribution,
        "version": item.version,
        "aliases": list(getattr(item.cls, "aliases", ())),
        "abilities": sorted(filter(item.cls.takes, item.cls.ABILITIES)) if item.kind == "optimizer" else [],
        "options": _options_of(item),
    }


def _options_of(item: PluginItem) -> list[dict[str, str]]:
    """Return the options of an optimizer, which users set with `-O`, or of a backend, which are options of `studio run`."""
    if item.kind == "backend":
        fields = backend_fields(item.cls).values()
        return [
            {
                "name": field.flag,
                "type": type_name(field.annotation),
                "default": "" if field.default is dataclasses.MISSING else str(field.default),
            }
            for field in fields
        ]
    return [_describe_option(option) for option in options_of(item.cls).values()] if item.kind == "optimizer" else []


def _describe_option(option: inspect.Parameter) -> dict[str, str]:
    if option.kind is option.VAR_KEYWORD:
        return {"name": "…", "type": "any", "default": ""}
    default = "" if option.default is option.empty else str(option.default)
    return {"name": option.name, "type": type_name(option.annotation), "default": default}


def _option(option: dict[str, str]) -> str:
    return f"{option['name']}={option['default']}" if option["default"] else option["name"]


def _example(item: PluginItem) -> str:
    """Return a command that uses a plugin."""
    if item.kind == "backend":
        return f"studio run --backend={item.name} --hp=lr=0.01:0.01:0.1 train.py"
    if item.kind == "optimizer":
        ranges = "lr=0.01:0.01:0.1" if item.cls.grid else "lr=1e-5:0.1:l"
        return f"studio run --optimizer={item.name} --hp={ranges} train.py"
    return (
        "studio run --help"
        if item.kind == "range parser"
        else "studio run --metric=NAME:min --hp=lr=0.01:0.01:0.1 train.py"
    )


def _print_import_times(host: Host) -> None:
    for name, seconds in sorted(host.import_seconds.items(), key=lambda item: -item[1]):
        slow = "  slow: import heavy libraries inside the class" if seconds > 1 else ""
        print(f"studio: importing {name} took {seconds * 1000:.0f} ms{slow}", file=sys.stderr)


KINDS = ("optimizer", "metric")
_NAME = re.compile(r"[a-z][a-z0-9-]*")


def write_package(kind: str, name: str, parent: Path) -> Path:
    """Write a package into a new folder in `parent`, and return that folder. BadInput for an invalid name or an existing folder."""
    if kind not in KINDS:
        raise BadInput(f"{kind!r} has no skeleton; write: studio plugins new {' or '.join(KINDS)} NAME")
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} is not a valid name of a plugin; use only lower-case letters, digits and -, for example my-search"
        )
    folder = parent / f"studio-{name}"
    if folder.exists():
        raise BadInput(f"{folder.name} exists here; choose another name")
    replacements = {
        "kind": kind,
        "name": name,
        "module": f"studio_{name.replace('-', '_')}",
        "class": "".join(part.capitalize() for part in name.split("-")),
    }
    templates = resources.files("studio.cli") / "templates"
    for template, target in (
        ("pyproject.toml", "pyproject.toml"),
        (f"README-{kind}.md", "README.md"),
        (f"{kind}.py", f"{replacements['module']}.py"),
        (f"test_{kind}.py", f"tests/test_{replacements['module']}.py"),
    ):
        path = folder / target
        text = (templates / f"{template}.txt").read_text(encoding="utf-8")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_fill(text, replacements), encoding="utf-8")
        except OSError as error:
            raise BadInput(f"cannot write {path}: {error.strerror}; cd to a folder that you can write to") from error
    return folder


def _fill(text: str, replacements: dict[str, str]) -> str:
    """Return a template with `@kind@`, `@name@`, `@module@` and `@class@` replaced."""
    return re.sub(r"@(kind|name|module|class)@", lambda match: replacements[match[1]], text)
