"""The documentation does what it says.

Every page is followed from top to bottom in a folder of its own:

    ```python title="train.py"   is written to that file, as is a block of any language with a title
    ```python                    is a program of its own, and is run
    ```console                   `$ studio …`, `$ python …` and `$ pytest …` are run and must end with 0, or with N under
                                 ```console exit=N. Every other line must be in the output, where … stands for anything
    ```bash, ```text             are for the reader

`$ pip install -e .` puts the entry points of the page's pyproject.toml in sight, as pip would. What stands between
`<!-- generated NAME -->` and `<!-- end -->` comes from the code: `python tests/docs/test_docs.py` writes it anew.
"""

import functools
import importlib
import inspect
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import studio.optimizers
from studio import hookspecs, settings
from studio.cli import COMMANDS, load, plugin_commands
from studio.cli.options import BACKEND_GROUP
from studio.cli.plugins import describe
from studio.errors import RangeError
from studio.host import PluginItem, create_host
from studio.script.program import Program
from studio.script.substitution import Substitution

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
# api.md needs a server: tests/dashboard/test_api.py runs it
RUN = [page for page in PAGES if page.name not in ("architecture.md", "api.md")]
PLUGINS = ROOT / "docs" / "plugins.md"
COMMAND_LINE = ROOT / "docs" / "command-line.md"

FENCE = re.compile(r"^```(\w+)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"(<!-- generated (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
EXAMPLES = {"autoresearch.md": "tiny_lm.py"}  # pages that show an example whole
TOGETHER = 120  # seconds that one command may take on a busy machine


def named(page):
    return page.name


# --- pages that run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    language: str
    info: dict[str, str]
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        info = dict(re.findall(r'(\w+)="?([^"\s]+)"?', match[2]))
        yield Block(match[1], info, match[3], text.count("\n", 0, match.start()) + 1)


@dataclass(frozen=True)
class Step:
    """Command of a console block, and the lines that are shown below it."""

    command: str
    shown: list[str]


def steps(block: Block) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block.text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, *shown = part.rstrip().split("\n")
        yield Step(command, [line for line in shown if line.strip()])


@pytest.fixture
def follow(tmp_path, workdir, command, monkeypatch):
    """Follows a page in the working directory."""
    # as in an environment that is activated
    monkeypatch.setenv("PATH", os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # TensorBoardX would load the SDKs of two clouds into each experiment that logs, if they are installed: half of its time.
    light = tmp_path / "light"
    write(light / "sitecustomize.py", "import sys\nsys.modules |= {'boto3': None, 'google.cloud.storage': None}\n")
    monkeypatch.setenv("PYTHONPATH", str(light))

    def run_python(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=TOGETHER, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def run(line):
        program, *arguments = shlex.split(line)
        if program == "studio":
            result = command(*arguments)
            return result.code, f"{result.out}\n{result.err}"
        if program == "python":
            return run_python(*arguments)
        if line.startswith("pip install -e "):
            install(workdir / arguments[-1], monkeypatch)
            return 0, ""
        raise AssertionError(f"`{line}`: this test cannot run {program}; show it in a ```bash block")

    def check(where, step, result, expected=0):
        code, output = result
        assert code == expected, f"{where}: `{step.command}` gave {code}: {output}"
        for line in step.shown:
            assert pattern(line).search(output), f"{where}: `{step.command}` did not show\n{line}\nbut\n{output}"

    def go(page):
        tests = []  # of pytest, which is started once, at the end of the page
        for block in blocks(page):
            where = f"{page.name}:{block.line}"
            if "title" in block.info:
                write(workdir / block.info["title"], block.text)
            elif block.language == "python":
                try:  # in this process, without half a second of imports
                    exec(compile(block.text, where, "exec"), {"__name__": "__main__"})  # noqa: S102 - our own page
                except BaseException as error:
                    raise AssertionError(f"{where}: {error!r}") from error
            elif block.language == "console":
                for step in steps(block):
                    if step.command.startswith("pytest "):
                        tests.append((where, step))
                    else:
                        check(where, step, run(step.command), int(block.info.get("exit", 0)))
        if tests:
            words = [word for _, step in tests for word in shlex.split(step.command)[1:]]
            result = run_python("-m", "pytest", "-p", "no:cacheprovider", *words)
            for where, step in tests:
                check(where, step, result)

    return go


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


TIME = r"(?:\d+:\d\d|\d+(?:\.\d+)? s)"


def pattern(line: str) -> re.Pattern[str]:
    """Return the pattern of a shown line: any blanks, any times, anything for an ellipsis."""
    parts = re.split(rf"(…|\b{TIME}\b|\s+)", line.strip())
    forms = {"…": ".*?"}
    return re.compile(
        r"^\s*"
        + "".join(
            forms.get(part)
            or (
                r"\s+"
                if part.isspace()
                else r"(?:\d+:\d\d|[\d.]+ m?s)"
                if re.fullmatch(TIME, part)
                else re.escape(part)
            )
            for part in parts
        )
        + r"\s*$",
        re.MULTILINE,
    )


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show a package to the search for plugins, as `pip install -e` does."""
    data = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{data['name'].replace('-', '_')}-{data['version']}.dist-info"
    info.mkdir(exist_ok=True)
    lines = [f"{name} = {module}" for name, module in data["entry-points"]["studio"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[studio]", *lines, ""]))
    # `syspath_prepend` would bring back what `--optimizer=FILE` has added meanwhile to the path that `command` replaced.
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    importlib.invalidate_caches()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))


@pytest.mark.parametrize(("page", "example"), EXAMPLES.items())
def test_examples_are_shown_as_they_are(page, example):
    assert (
        f'```python title="{example}"\n{(ROOT / "examples" / example).read_text()}```'
        in (ROOT / "docs" / page).read_text()
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the end of a program closes its files
@pytest.mark.parametrize("page", RUN, ids=named)
def test_page_does_what_it_says(page, follow):
    follow(page)


def test_a_page_that_is_wrong_is_noticed(follow, tmp_path):
    for text in (
        '```python\nraise SystemExit("no")\n```\n',
        "```console\n$ studio runs show nothing/1\n```\n",
        "```console exit=2\n$ studio runs show nothing/1\nstudio: all is well\n```\n",
        "```console\n$ rm -rf .\n```\n",
    ):
        page = tmp_path / "page.md"
        page.write_text(text)
        with pytest.raises(AssertionError, match=r"page\.md:1|cannot run"):
            follow(page)


def test_the_optimizer_of_contributing_keeps_its_contract(workdir, monkeypatch):
    """Run its test as if its two files stood in the repository."""
    for block in blocks(ROOT / "CONTRIBUTING.md"):
        if "title" in block.info:
            write(workdir / block.info["title"], block.text)
    monkeypatch.setattr(studio.optimizers, "__path__", [*studio.optimizers.__path__, str(workdir / "optimizers")])
    tests = runpy.run_path(str(workdir / "tests" / "test_lhs.py"))
    tests["test_every_part_is_used_once"]()
    suite = tests["TestLatinHypercube"]()  # the whole of it runs on the page about plugins, with the same optimizer
    suite.test_stays_in_every_kind_of_space()
    suite.test_size_is_how_many_it_asks_for()


# --- tables that are checked ------------------------------------------------------------------------------------------


def rows(page: str, heading: str, columns: str) -> list[list[str]]:
    """The rows of the table with these columns below a heading, backticks at the ends of cells taken off."""
    section = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = section.split(f"\n{columns}\n")[1].split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_grid_ranges_are_what_the_table_says():
    host = create_host()
    found = rows("ranges.md", "Grid ranges", "| range | values | how many |")
    assert len(found) == 15
    for text, shown, count in found:
        parameter = host.parse_range("x", text.strip("`"), grid=True)
        values = [str(value) for value in getattr(parameter, "values", None) or [parameter.value]]
        assert len(values) == int(count), text
        first, _, last = shown.partition(" … ")
        assert ", ".join(values).startswith(first), (text, values)
        assert values[-1] == last if last else ", ".join(values) == first, (text, values)


def test_search_ranges_are_read():
    host = create_host()
    for text, _ in rows("ranges.md", "Search ranges", "| range | what it is |"):
        assert host.parse_range("x", text.strip("`"), grid=False).name == "x"


def test_range_errors_are_what_the_table_says():
    host = create_host()
    for optimizer, text, message in rows("ranges.md", "Errors", "| optimizer | range | message |"):
        name, _, given = text.strip("`").partition("=")
        with pytest.raises(RangeError, match=re.escape(message)):
            host.parse_range(name, given, grid=optimizer == "`grid`")


def test_values_are_written_as_the_table_says():
    found = rows("scripts.md", "Values", "| in the script | in the copy |")
    assert len(found) == 14
    for before, after in found:
        text = f"x = lr\n{before.strip('`')}\n"
        changed = (
            Substitution(Program("train.py", read={"train.py": text.encode()}.get), ["lr"])
            .changes({"lr": 0.03})["train.py"]
            .decode()
        )
        assert changed == f"x = 0.03\n{after.strip('`')}\n"


# --- what is generated ------------------------------------------------------------------------------------------------


def hook_reference() -> str:
    sections = []
    for name, hook in hooks().items():
        options = hook.studio_spec
        kind = (
            "The first plugin that does not return None answers."
            if options["firstresult"]
            else "Every plugin is asked."
        )
        signature = str(inspect.signature(hook)).replace("studio.experiment.", "").replace("studio.interfaces.", "")
        signature = signature.replace("studio.space.", "")
        sections.append(
            f"### `{name}`\n\n```text\n{name}{signature}\n```\n\n{kind}\n\n{inspect.cleandoc(hook.__doc__)}\n"
        )
    return "\n".join(sections)


def built_ins() -> str:
    rows = ["| name | kind | what | options | abilities |", "|---|---|---|---|---|"]
    pieces = [piece for piece in create_host().items() if piece.distribution == "studio-search"]
    kinds = ["optimizer", "pruner", "backend", "range parser", "metric extractor"]
    for piece in sorted(pieces, key=lambda piece: (kinds.index(piece.kind), piece.name)):
        found = describe(piece)
        names = ", ".join(f"`{name}`" for name in [piece.name, *found["aliases"]])
        options = ", ".join(
            f"`{option['name']}` ({option['type']}, {option['default']})" for option in found["options"]
        )
        rows.append(f"| {names} | {piece.kind} | {summary(piece)} | {options} | {', '.join(found['abilities'])} |")
    return "\n".join(rows) + "\n"


def summary(piece: PluginItem) -> str:
    """The first sentence of what it says of itself."""
    documented = piece.cls if inspect.isclass(piece.cls) else inspect.getmodule(piece.cls)
    paragraph = " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) ", paragraph)[0].replace("|", "\\|")


def ability_table() -> str:
    rows = [line for line in inspect.cleandoc(studio.Optimizer.__doc__ or "").splitlines() if line.startswith("|")]
    return "\n".join(re.sub(r" +", " ", row) for row in rows) + "\n"


def option_tables() -> str:
    """The options of `studio run` in the groups of its help: from the schema, and those of the command itself."""
    return "\n".join(
        f"### {group}\n\n{option_table([record for record in records_of('run') if record[0] == group])}"
        for group in settings.GROUPS
    )


def backend_option_tables() -> str:
    groups = dict.fromkeys(group for group, *_ in records_of("run") if group.startswith(BACKEND_GROUP))
    return "\n".join(
        f"{group}:\n\n{option_table([record for record in records_of('run') if record[0] == group])}"
        for group in groups
    )


@functools.cache
def records_of(name: str) -> list[tuple[str, str, str]]:
    """Return group, spellings and help of each option of a command."""
    records = []
    for parameter in load(name).params:
        if parameter.param_type_name == "option" and parameter.name != "help_cloud":
            metavar = f" {parameter.metavar}" if parameter.metavar else ""
            first, *others = parameter.opts
            spelled = ", ".join(f"`{text}`" for text in [first + metavar, *others]).replace("|", "\\|")
            records.append((parameter.rich_help_panel, spelled, parameter.help.replace("|", "\\|")))
    return records


def option_table(records: list[tuple[str, str, str]]) -> str:
    rows = [f"| {spelled} | {help} |" for _, spelled, help in records]
    return "\n".join(["| option | meaning |", "|---|---|", *rows, ""])


def hooks() -> dict[str, object]:
    return {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "studio_spec")}


GENERATORS = {
    "hooks": hook_reference,
    "builtins": built_ins,
    "abilities": ability_table,
    "options": option_tables,
    "backend_options": backend_option_tables,
}


def regenerated(text: str) -> str:
    return GENERATED.sub(lambda match: f"{match[1]}\n{GENERATORS[match[2]]()}\n{match[3]}", text)


def test_generated_parts_are_up_to_date():
    texts = [page.read_text() for page in PAGES]
    assert {match[2] for text in texts for match in GENERATED.finditer(text)} == set(GENERATORS)
    for page, text in zip(PAGES, texts, strict=True):
        assert text == regenerated(text), f"{page.name}: python tests/docs/test_docs.py writes the generated parts anew"


# --- what must be there -----------------------------------------------------------------------------------------------


def test_every_hook_is_documented():
    assert len(hooks()) == 5
    for name in hooks():
        assert f"### `{name}`" in PLUGINS.read_text()


@pytest.mark.parametrize(
    "name",
    ["run", "resume", "retry", "rm", "plugins", "tensorboard", "plot", "report", "export", "add", "ui", "worker"],
)
def test_every_option_is_documented(command, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = command(name, "--help").out.split("Commands:")[0].split("Examples:")[0]
    options = set(
        re.findall(
            r"(?<![\w-])--?[A-Za-z][\w-]*(?= |,|$)",
            "\n".join(line[:40] for line in shown.splitlines() if line.startswith("  -")),
        )
    )
    assert "--help" in options
    text = COMMAND_LINE.read_text()
    missing = [option for option in sorted(options) if not re.search(rf"`{option}\b", text)]
    assert not missing, f"docs/command-line.md says nothing of {missing}"


def test_every_command_is_documented():
    text = COMMAND_LINE.read_text()
    assert [name for name in [*COMMANDS, *plugin_commands()] if f"`studio {name}" not in text] == []


def test_every_fault_has_a_test():
    faults = rows("reliability.md", "Faults", "| # | fault | what happens | for example |")
    assert [int(row[0]) for row in faults] == list(range(1, len(faults) + 1))
    for *_, example in faults:
        file, _, name = example.strip("`").partition("::")
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(), example


def test_named_limits_are_those_of_the_code():
    text = COMMAND_LINE.read_text()
    assert f"{settings.DEFAULT_EXPERIMENTS} experiments" in text
    assert f"{settings.GRID_LIMIT:,}" in text


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_arrive(page):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), (
            f"{page.name} links to {target}, and {file.name} has no such heading"
        )


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_readme():
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in LINK.findall((ROOT / "README.md").read_text())}
    assert [page.name for page in PAGES[1:] if page not in linked] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_words_are_those_of_the_project(page):
    """One word stands for one thing. Lines that speak of other tools may use theirs."""
    strangers = re.compile(r"\b(trials?|study|studies|sweeps?|samplers?|tuners?|executors?)\b", re.IGNORECASE)
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not re.search(r"Optuna|W&B|Guild|Oríon|Ray Tune", line):
            assert not strangers.search(line), f"{page.name}:{number}: {line}"


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(regenerated(page.read_text()))
