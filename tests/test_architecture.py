"""The code keeps to what docs/architecture.md says. The tables there are the rules; this file only reads them."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import studio
from studio import hookspecs

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
FOLDERS = {
    "core": "studio",
    "plugins": "studio.plugins",
    "optimizers": "studio.optimizers",
    "backends": "studio.backends",
}
LONGEST = 350  # lines


@dataclass(frozen=True)
class Import:
    """One imported module, with the file and line where it stands."""

    by: "Module"
    name: str
    line: int
    inside: bool  # a function or class

    def __str__(self) -> str:
        return f"{self.by.path}:{self.line} imports {self.name}"


@dataclass(frozen=True)
class Module:
    """`studio.cli.run` is file `core/cli/run.py`, in the part `cli`; `studio.space` is in the part `core`."""

    name: str
    path: str
    part: str
    text: str

    @property
    def short(self) -> str:
        return self.name.removeprefix("studio").lstrip(".")


def read_modules() -> Iterator[Module]:
    for folder, package in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            inner = file.relative_to(ROOT / folder).with_suffix("").parts
            part = inner[0] if folder == "core" and len(inner) > 1 else folder
            name = ".".join([package, *(word for word in inner if word != "__init__")])
            yield Module(name, str(file.relative_to(ROOT)), part, file.read_text())


MODULES = {module.name: module for module in read_modules()}


def imports_of(module: Module) -> Iterator[Import]:
    def visit(node: ast.AST, inside: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(module, alias.name, child.lineno, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    yield Import(module, full if full in MODULES else str(child.module), child.lineno, inside)
            scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
            yield from visit(child, inside or scope)

    return visit(ast.parse(module.text), False)


IMPORTS = [found for module in MODULES.values() for found in imports_of(module)]
OWN = [found for found in IMPORTS if found.name.split(".")[0] == "studio"]
FOREIGN = [
    found
    for found in IMPORTS
    if found.name.split(".")[0] != "studio" and found.name.split(".")[0] not in sys.stdlib_module_names
]


def table(heading: str) -> list[list[str]]:
    """Rows of the table whose first column has this heading."""
    match = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert match, f"docs/architecture.md has no table with {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in match[1].splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", cell)


PARTS = ["backends", "optimizers", "plugins", "queue", "testing"]
ORDER = [name for row in table("row") for name in names(row[1])]
QUEUE = [f"queue.{name}" for row in table("layer") for name in names(row[1])]
MAY_IMPORT = {names(row[0])[0]: names(row[1]) for row in table("folder")}


# --- the page knows the code ------------------------------------------------------------------------------------------


def test_every_file_of_core_is_on_the_map():
    here = {module.short for module in MODULES.values() if module.part == "core" and module.short}
    assert (here - set(ORDER), set(ORDER) - here) == (set(), set())
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("module", [m for m in MODULES.values() if m.part != "core"], ids=lambda module: module.path)
def test_every_other_file_is_mentioned(module):
    stem = Path(module.path).stem
    helpers = {"event_files", "range_text"}
    assert stem in helpers or re.search(rf"\b{stem}\b", PAGE)


def test_public_names_are_documented():
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert [name for name in studio.__all__ if not re.search(rf"\b{name}\b", pages)] == []


def test_every_hook_is_documented():
    hooks = [name for name in vars(hookspecs) if name.startswith("studio_")]
    assert hooks == ["studio_parse_range", "studio_optimizers", "studio_backends", "studio_open_metric"]
    page = (ROOT / "docs" / "plugins.md").read_text()
    for hook in hooks:
        assert hook in page
        assert hook in PAGE
        assert vars(hookspecs)[hook].__doc__


def test_the_value_that_is_walked_through(home, script):
    search = studio.Search({"lr": "1e-5:0.1:l"}, optimizer="random", seed=1)
    suggestion = search.ask()
    assert [str(suggestion.values["lr"]) in row[1] for row in table("where")].count(True) == 3
    assert [str(suggestion.point) in row[1] for row in table("where")].count(True) == 2
    log = "\\n".join(f'{{"val_loss": {loss}}}' for loss in (0.7, 0.4, 0.5))
    script("train.py", f"lr=0.01\nprint(lr)\nopen('log', 'w').write('''{log}\\n''')\n")
    options = {"optimizer": "random", "seed": 1, "max_experiments": 1, "metric": "jsonl:log:val_loss:min"}
    (found,) = studio.run("train.py", hyperparams={"lr": "1e-5:0.1:l"}, **options).experiments
    assert (found.values, found.metric["value"], found.fitness) == (suggestion.values, 0.4, -0.4)
    assert "fitness `-0.4`" in PAGE


# --- imports ----------------------------------------------------------------------------------------------------------


def test_core_imports_from_what_stands_before_it():
    for found in OWN:
        if found.by.part == "core" and found.by.short:
            name = found.name.removeprefix("studio.")
            assert {name, found.by.short} <= set(ORDER), f"{found}: both belong on the map"
            assert ORDER.index(name) < ORDER.index(found.by.short), f"{found}, which stands behind it"


def test_queue_imports_from_what_stands_before_it():
    assert {module.short for module in MODULES.values() if module.part == "queue"} - {"queue"} == set(QUEUE)
    for found in OWN:
        name = found.name.removeprefix("studio.")
        if found.by.part == "queue" and name in QUEUE:
            assert QUEUE.index(name) < QUEUE.index(found.by.short), f"{found}, which stands behind it"


@pytest.mark.parametrize("part", PARTS)
def test_parts_import_what_they_may(part):
    package = FOLDERS.get(part, f"studio.{part}")
    allowed = {f"studio.{name}" for name in MAY_IMPORT[part]}
    for found in OWN:
        if found.by.part == part:
            assert found.name in allowed or found.name.startswith(f"{package}."), str(found)


def test_nothing_imports_the_command_the_contracts_or_the_built_in_pieces():
    """The queue is for backends and for the command that runs a worker."""
    for found in OWN:
        top = found.name.split(".")[1] if "." in found.name else ""
        users = {"queue": ("queue", "backends", "cli")}.get(top, (top,))
        assert top not in ("cli", *PARTS) or found.by.part in users, str(found)


def test_the_dashboard_is_imported_by_its_command_alone():
    """So that everything else works without the extra, and no search waits for a page."""
    found = {each.by.name for each in OWN if each.name.split(".")[1:2] == ["ui"] and each.by.part != "ui"}
    assert found == {"studio.cli.ui"}
    assert all(
        each.inside for each in OWN if each.by.name == "studio.cli.ui" and each.name.startswith("studio.dashboard")
    )


def test_the_dashboard_writes_no_record():
    """It reads with `reading`, which is read-only, and asks the driver: a `Store` would be a second writer."""
    names = {
        node.id
        for module in MODULES.values()
        if module.part == "ui"
        for node in ast.walk(ast.parse(module.text))
        if isinstance(node, ast.Name)
    }
    assert names & {"Store", "Copies", "write_json", "take_lock"} == set()


def test_there_are_no_cycles():
    above = {name: {found.name for found in OWN if found.by.name == name} for name in MODULES}
    while free := [name for name, needs in above.items() if not needs & above.keys()]:
        for name in free:
            del above[name]
    assert sorted(above) == []


def test_imports_stand_at_the_top():
    assert [str(found) for found in OWN if found.inside and found.by.part != "cli"] == []


def test_imports_are_absolute_and_by_the_installed_name():
    for module in MODULES.values():
        for node in ast.walk(ast.parse(module.text)):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module.path}:{node.lineno} is relative"
    assert [str(found) for found in FOREIGN if found.name.split(".")[0] in FOLDERS] == []


def test_heavy_libraries_are_imported_where_they_are_used():
    libraries = {names(row[0])[0]: row[1] for row in table("library")[:-1]}
    for found in FOREIGN:
        library = found.name.split(".")[0]
        if library == "numpy":
            assert found.inside or found.by.name not in ("studio", "studio.fs_tracker"), str(found)
            assert found.inside or found.by.part != "cli", str(found)
        elif not found.inside:
            places = names(libraries.get(library, ""))
            assert found.by.short in places or found.by.part in places, f"{found} at its top"


# --- style ------------------------------------------------------------------------------------------------------------


def calls(module: Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(module.text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


@pytest.mark.parametrize("module", MODULES.values(), ids=lambda module: module.path)
def test_length(module):
    assert module.text.count("\n") <= LONGEST


@pytest.mark.parametrize("module", MODULES.values(), ids=lambda module: module.path)
def test_file(module):
    assert not module.text or ast.get_docstring(ast.parse(module.text)), "no docstring says what the file is for"
    for name, line in calls(module):
        assert name != "print" or module.part == "cli", f"line {line} prints"
        assert name not in ("eval", "exec"), f"line {line} evaluates"
    pickles = ("pickle", "dill", "marshal", "shelve", "joblib")
    assert [str(found) for found in IMPORTS if found.by is module and found.name in pickles] == []


@pytest.mark.parametrize("name", ["run", "random", "plugins", "optimizers", "backends"])
def test_names_that_no_file_of_core_may_have(name):
    """`studio.run` would become the module; a script beside `random.py` would import it; packages are mapped there."""
    assert not (ROOT / "core" / f"{name}.py").exists()
