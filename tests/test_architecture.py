"""The code keeps to what docs/architecture.md says. The tables there are the rules; this file only reads them."""

import ast
import functools
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
# Openings of a docstring that have no noun or verb, so that nobody knows what is meant before the end of the sentence.
RIDDLES = re.compile(
    r"(Of|That|Those|This|These|What|Who|Whose|Which|Whether|How|Where|When|Why|It|Its|He|They|Them|Their|As|Around|At|By|For"
    r"|From|In|On|To|Until|Without|None|Nothing|Nobody)\b"
)


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
    """A file: `studio.search.loop.driver` is `core/search/loop/driver.py`."""

    name: str
    path: str
    text: str

    @property
    def package(self) -> str:
        """The name of its row in the table of packages."""
        inner = self.name.removeprefix("studio").lstrip(".").split(".")
        while inner:
            if ".".join(inner) in MAY_IMPORT:
                return ".".join(inner)
            inner.pop()
        return "root"

    @property
    def is_command(self) -> bool:
        return self.name.startswith("studio.backends.") and self.name.endswith(".command")


def read_modules() -> Iterator[Module]:
    for folder, package in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            inner = file.relative_to(ROOT / folder).with_suffix("").parts
            if "node_modules" not in inner:
                name = ".".join([package, *(word for word in inner if word != "__init__")])
                yield Module(name, str(file.relative_to(ROOT)), file.read_text())


def table(heading: str) -> list[list[str]]:
    """Rows of the table whose first column has this heading."""
    match = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert match, f"docs/architecture.md has no table with {heading!r}"
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in match[1].splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", cell)


@functools.cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


MAY_IMPORT = {names(row[0])[0]: names(row[2]) for row in table("package")}
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
            if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
                continue  # for type checkers alone
            scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
            yield from visit(child, inside or scope)

    return visit(parsed(module.text), False)


# Read when a test needs them: each worker of pytest-xdist imports this file.


@functools.cache
def imports() -> list[Import]:
    return [each for module in MODULES.values() for each in imports_of(module)]


def own() -> list[Import]:
    return [each for each in imports() if each.name.split(".")[0] == "studio"]


def foreign() -> list[Import]:
    known = {"studio", *sys.stdlib_module_names}
    return [each for each in imports() if each.name.split(".")[0] not in known]


# --- the page knows the code ------------------------------------------------------------------------------------------


def test_every_package_is_in_the_table():
    packages = {module.name for module in MODULES.values() if module.path.endswith("/__init__.py")} - {"studio"}
    assert packages == {f"studio.{name}" for name in MAY_IMPORT if name != "root"}


def test_a_package_lists_its_files():
    """Its docstring is its map."""
    for name in MAY_IMPORT:
        if name == "root":
            continue
        files = {m.name.split(".")[-1] for m in MODULES.values() if m.name.rpartition(".")[0] == f"studio.{name}"}
        doc = ast.get_docstring(parsed(MODULES[f"studio.{name}"].text)) or ""
        listed = {file for line in re.findall(r"^((?:\w+, )*\w+)  +\S", doc, re.MULTILINE) for file in line.split(", ")}
        assert listed - files == set(), f"{name} lists files that are not there"
        files -= {inner.split(".")[-1] for inner in MAY_IMPORT}
        assert {file for file in files if not re.search(rf"\b{file}\b", doc)} == set(), name


def test_public_names_are_documented():
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert [name for name in studio.__all__ if not re.search(rf"\b{name}\b", pages)] == []


def test_every_hook_is_documented():
    hooks = [name for name in vars(hookspecs) if name.startswith("studio_")]
    assert hooks == [
        "studio_parse_range",
        "studio_optimizers",
        "studio_pruners",
        "studio_backends",
        "studio_open_metric",
    ]
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
    options = {
        "optimizer": "random",
        "seed": 1,
        "max_experiments": 1,
        "no_baseline": True,
        "metric": "jsonl:log:val_loss:min",
    }
    (experiment,) = studio.run("train.py", hyperparams={"lr": "1e-5:0.1:l"}, **options).experiments
    assert (experiment.values, experiment.metric["value"], experiment.fitness) == (suggestion.values, 0.4, -0.4)
    assert "fitness `-0.4`" in PAGE


# --- imports ----------------------------------------------------------------------------------------------------------


def test_packages_import_what_they_may():
    for each in own():
        if each.name == "studio" or each.by.name == "studio.__main__":
            continue
        package, target = each.by.package, MODULES[each.name].package
        command = each.by.is_command and target in ("cli", "search")
        assert target in (package, *MAY_IMPORT[package]) or command, str(each)


def test_the_dashboard_is_imported_by_its_command_alone():
    """So that everything else works without the extra, and no search waits for a page."""
    users = {each.by.name for each in own() if MODULES.get(each.name, each.by).package == "dashboard"}
    outside = {name for name in users if MODULES[name].package != "dashboard"}
    assert outside == {"studio.cli.ui"}
    assert all(each.inside for each in own() if each.by.name == "studio.cli.ui" and "dashboard" in each.name)


def test_the_dashboard_writes_no_record():
    """It reads with `reading`, which is read-only, and asks the driver: a `Store` would be a second writer."""
    used = {
        node.id
        for module in MODULES.values()
        if module.package == "dashboard"
        for node in ast.walk(parsed(module.text))
        if isinstance(node, ast.Name)
    }
    assert used & {"Store", "Copies", "write_json", "take_lock"} == set()


def test_there_are_no_cycles():
    above: dict[str, set[str]] = {name: set() for name in MODULES}
    for each in own():
        above[each.by.name].add(each.name)
    while free := [name for name, needs in above.items() if not needs & above.keys()]:
        for name in free:
            del above[name]
    assert sorted(above) == []


def test_imports_stand_at_the_top():
    commands = [each for each in own() if each.inside and each.by.package != "cli" and not each.by.is_command]
    assert [str(each) for each in commands] == []


def test_imports_are_absolute_and_by_the_installed_name():
    for module in MODULES.values():
        for node in ast.walk(parsed(module.text)):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module.path}:{node.lineno} is relative"
    assert [str(each) for each in foreign() if each.name.split(".")[0] in FOLDERS] == []


def test_docstrings_begin_with_a_verb_or_a_noun():
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    riddles = []
    for folder in (*FOLDERS, "benchmarks", "examples"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(parsed(file.read_text())) if "node_modules" not in file.parts else ():
                text = ast.get_docstring(node) if isinstance(node, documented) else None
                if text and RIDDLES.match(text):
                    line = 1 if isinstance(node, ast.Module) else node.lineno
                    riddles.append(f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}")
    assert riddles == []


def test_heavy_libraries_are_imported_where_they_are_used():
    libraries = {names(row[0])[0]: row[1] for row in table("library")[:-1]}
    for each in foreign():
        library = each.name.split(".")[0]
        if library == "numpy":
            assert each.inside or each.by.name not in ("studio", "studio.fs_tracker"), str(each)
            assert each.inside or each.by.package != "cli", str(each)
        elif not each.inside:
            places = names(libraries.get(library, ""))
            here = each.by.name.removeprefix("studio.")
            assert here in places or each.by.package in places, f"{each} at its top"


# --- style ------------------------------------------------------------------------------------------------------------


def calls(module: Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(parsed(module.text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


def test_each_file_says_what_it_is_for_and_neither_prints_nor_evaluates_nor_pickles():
    for module in MODULES.values():
        assert not module.text or ast.get_docstring(parsed(module.text)), f"{module.path} has no docstring"
        for name, line in calls(module):
            where = f"{module.path}:{line}"
            assert name != "print" or module.package == "cli" or module.is_command, f"{where} prints"
            assert name not in ("eval", "exec"), f"{where} evaluates"
    pickles = ("pickle", "dill", "marshal", "shelve", "joblib")
    assert [str(each) for each in imports() if each.name in pickles] == []


@pytest.mark.parametrize("name", ["run", "random", "plugins", "optimizers", "backends"])
def test_names_that_no_file_of_core_may_have(name):
    """`studio.run` would become the module; a script beside `random.py` would import it; packages are mapped there."""
    assert not (ROOT / "core" / f"{name}.py").exists()
