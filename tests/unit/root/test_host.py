"""The plugin host: what it finds, what it leaves out, and whom it blames."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from studio import hookimpl
from studio.entry_points import find_entry_points
from studio.errors import PluginError, PluginFailed, RangeError
from studio.experiment import Metric, Run
from studio.host import Host, create_host, plugin_call
from studio.interfaces import MetricReader, Optimizer
from studio.plugin_files import import_file
from studio.space import Choice, Constant, Space, Suggestion

Install = Callable[..., None]

OPTIMIZER = """
import studio

class {cls}(studio.Optimizer):
    name = "{name}"
    aliases = {aliases!r}
    def __init__(self, space, *, seed):
        pass
    def ask(self):
        return None
    def tell(self, suggestion, fitness):
        pass
"""
HOOK = """
@studio.hookimpl
def studio_optimizers():
    return [{cls}]
"""


def optimizer_text(name: str, *, cls: str = "Mine", aliases: tuple[str, ...] = (), hook: bool = True) -> str:
    return OPTIMIZER.format(cls=cls, name=name, aliases=aliases) + (HOOK.format(cls=cls) if hook else "")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on sys.path; its modules are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("STUDIO_DISABLE_PLUGINS", raising=False)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


@pytest.fixture
def install(site: Path) -> Install:
    """`install("dist", "module", text)` makes a distribution with one entry point in `site`."""

    def do(distribution: str, module: str, text: str, *, entry: str | None = None, version: str = "1.0") -> None:
        (site / f"{module}.py").write_text(dedent(text))
        info = site / f"{distribution}-{version}.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text(f"[studio]\n{entry or module} = {module}\n")

    return do


def names(host: Host, kind: str = "optimizer") -> list[str]:
    return [piece.name for piece in host.items(kind)]


def a_run(tmp_path: Path) -> Run:
    return Run("p", 1, 1, str(tmp_path), {}, {}, [], {}, str(tmp_path))


# --- entry points -----------------------------------------------------------------------------------------------------


def test_the_built_ins_come_through_entry_points_of_this_distribution() -> None:
    host = create_host()
    assert {"grid", "random", "cma"} <= set(names(host))
    assert {piece.distribution for piece in host.items() if piece.name in ("grid", "local", "fitness")} == {
        "studio-search"
    }
    assert host.problems == []
    assert names(create_host(entry_points=False)) == []


def test_an_installed_distribution_adds_an_optimizer(install: Install) -> None:
    install("Acme.Studio_plugins", "acme_search", optimizer_text("acme", aliases=("road-runner",)), version="2.1")
    host = create_host()
    assert host.optimizer("acme") is host.optimizer("road-runner")
    piece = next(piece for piece in host.items("optimizer") if piece.name == "acme")
    assert (piece.distribution, piece.version, piece.kind) == ("acme-studio-plugins", "2.1", "optimizer")


def test_entry_points_are_read_as_the_format_says(site: Path) -> None:
    info = site / "many-0.3.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(
        "[console_scripts]\nstudio = wrong:main\n\n[studio]\n# a comment\n; another\n one=a.b \ntwo = c [extra]\n\n[studio.other]\nx = y\n"
    )
    (site / "none-1.dist-info").mkdir()
    (site / "old-1.5-py3.11.egg-info").mkdir()
    (site / "old-1.5-py3.11.egg-info" / "entry_points.txt").write_text("[studio]\nold = old_module\n")
    found = [(p.name, p.module, p.distribution, p.version) for p in find_entry_points("studio", [str(site)])]
    assert found == [("one", "a.b", "many", "0.3"), ("two", "c", "many", "0.3"), ("old", "old_module", "old", "1.5")]


def test_the_first_of_two_installations_of_one_distribution_counts(tmp_path: Path) -> None:
    for folder, module in (("user", "new"), ("system", "old")):
        info = tmp_path / folder / f"plug_in-{len(folder)}.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(f"[studio]\nit = {module}\n")
    path = [str(tmp_path / "absent"), str(tmp_path / "user"), str(tmp_path / "system"), str(tmp_path / "user")]
    assert [point.module for point in find_entry_points("studio", path)] == ["new"]


def test_the_scan_needs_no_importlib_metadata_and_no_plugin_is_loaded_by_import() -> None:
    code = (
        "import sys; from studio.entry_points import find_entry_points; assert find_entry_points('studio');"
        "print(*[m for m in ('importlib.metadata', 'email', 'zipfile', 'numpy', 'studio.plugins') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("disabled", ["acme", "acme-dist", " acme , other"])
def test_plugins_are_disabled_by_name_or_distribution(
    install: Install, monkeypatch: pytest.MonkeyPatch, disabled: str
) -> None:
    install("acme_dist", "acme_module", "raise RuntimeError('must not be imported')", entry="acme")
    monkeypatch.setenv("STUDIO_DISABLE_PLUGINS", disabled)
    host = create_host()
    assert host.problems == []
    assert "grid" in names(host)


def test_a_distribution_is_disabled_as_it_spells_itself(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("Acme_Dist", "acme_module", optimizer_text("acme"))
    monkeypatch.setenv("STUDIO_DISABLE_PLUGINS", "Acme_Dist")
    assert "acme" not in names(create_host())


def test_an_entry_point_may_name_an_object_in_a_module(install: Install, site: Path) -> None:
    text = optimizer_text("acme", hook=False)
    text += "\nclass Plugin:\n    @studio.hookimpl\n    def studio_optimizers(self):\n        return [Mine]\n\nplugin = Plugin()\n"
    install("acme", "acme_module", text)
    (site / "acme-1.0.dist-info" / "entry_points.txt").write_text("[studio]\nacme = acme_module:plugin\n")
    assert "acme" in names(create_host())


# --- plugins that do not work -----------------------------------------------------------------------------------------


def test_a_broken_import_is_reported_by_distribution_and_hurts_nobody(install: Install) -> None:
    install("broken_dist", "broken_module", "x = 1\nimport no_such_module_at_all\n", entry="broken")
    install("quits", "quits_module", "import sys\nsys.exit('no licence')\n")
    install("good", "good_module", optimizer_text("good"))
    host = create_host()
    assert {"good", "grid"} <= set(names(host))
    assert list(map(str, host.problems)) == [
        "plugin broken of broken-dist is left out: ModuleNotFoundError: No module named 'no_such_module_at_all'",
        "plugin quits_module of quits is left out: SystemExit: no licence",
    ]


def test_a_broken_plugin_that_is_asked_for_is_the_error(install: Install) -> None:
    install("broken_dist", "broken_module", "1 / 0", entry="broken")
    with pytest.raises(PluginError, match=r"optimizer 'broken' cannot be used.*broken-dist.*ZeroDivisionError"):
        create_host().optimizer("broken")


def test_a_misspelt_hook_is_reported_with_the_right_spelling(install: Install) -> None:
    text = optimizer_text("acme").replace("def studio_optimizers", "def studio_optimisers")
    install("acme", "acme_module", text)
    host = create_host()
    assert "acme" not in names(host)
    assert [problem.distribution for problem in host.problems] == ["acme"]
    assert "unknown hook 'studio_optimisers'; did you mean 'studio_optimizers'" in host.problems[0].message


def test_a_hook_with_an_argument_that_does_not_exist_is_reported(install: Install) -> None:
    install("acme", "acme_module", "import studio\n@studio.hookimpl\ndef studio_parse_range(name, txt): ...\n")
    host = create_host()
    assert [problem.distribution for problem in host.problems] == ["acme"]
    assert "txt" in host.problems[0].message
    assert isinstance(host.parse_range("lr", "1,2", grid=True), Choice)


def test_a_hook_that_raises_is_reported_and_the_others_are_asked(install: Install, tmp_path: Path) -> None:
    install(
        "acme",
        "acme_module",
        """
        import studio
        @studio.hookimpl
        def studio_optimizers():
            raise RuntimeError("no\\nlicence")
        @studio.hookimpl
        def studio_parse_range(name, text):
            return 1 / 0
        @studio.hookimpl
        def studio_open_metric(metric):
            return metric.nothing
        """,
    )
    host = create_host()
    assert "grid" in names(host)
    assert isinstance(host.parse_range("lr", "1,2", grid=True), Choice)
    assert host.open_metric(Metric("fitness"), a_run(tmp_path)) is not None
    assert [problem.distribution for problem in host.problems] == ["acme"] * 3
    assert [problem.message.split(":")[0] for problem in host.problems][1:] == ["ZeroDivisionError", "AttributeError"]
    assert "licence" in host.problems[0].message


def test_a_hook_that_raises_again_and_again_is_reported_once(install: Install, tmp_path: Path) -> None:
    install(
        "acme", "acme_module", "import studio\n@studio.hookimpl\ndef studio_open_metric(metric):\n    return 1 / 0\n"
    )
    host = create_host()
    for _ in range(3):
        host.open_metric(Metric("fitness"), a_run(tmp_path))
    assert len(host.problems) == 1


def test_a_parser_may_refuse_a_range_of_its_own(install: Install) -> None:
    install(
        "acme",
        "acme_module",
        """
        import studio
        from studio.errors import RangeError
        @studio.hookimpl
        def studio_parse_range(name, text):
            if text.startswith("gauss("):
                raise RangeError("gauss() needs a mean")
        """,
    )
    with pytest.raises(RangeError, match="needs a mean"):
        create_host().parse_range("lr", "gauss()", grid=False)


@pytest.mark.parametrize("answer", ["None", "Mine", "[object]", "[Nameless]", "3"])
def test_an_answer_that_is_no_list_of_named_classes_hurts_nobody(install: Install, answer: str) -> None:
    text = optimizer_text("acme", hook=False) + "\nclass Nameless(Mine): pass\ndel Mine.name\n"
    text += f"@studio.hookimpl\ndef studio_optimizers():\n    return {answer}\n"
    install("acme", "acme_module", text)
    host = create_host()
    assert "grid" in names(host)
    assert host.optimizer("grid").name == "grid"


def test_a_plugin_that_prints_does_not_reach_stdout(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("acme", "acme_module", "print('hello from acme')\n" + optimizer_text("acme"))
    assert create_host().optimizer("acme")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello from acme" in captured.err


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_clash_names_both_distributions_but_only_when_asked_for(install: Install) -> None:
    install("acme", "acme_module", optimizer_text("shared"))
    install("bolt", "bolt_module", optimizer_text("bolt", aliases=("shared",)))
    host = create_host()
    assert host.optimizer("bolt").name == "bolt"
    assert host.problems == []
    with pytest.raises(PluginError, match=r"'shared' is added by acme and bolt.*STUDIO_DISABLE_PLUGINS"):
        host.optimizer("shared")


def test_an_unknown_name_draws_the_close_ones_and_what_was_left_out(install: Install) -> None:
    install("broken_dist", "broken_module", "1 / 0")
    with pytest.raises(PluginError, match=r"no optimizer 'grod' \(.*broken-dist .*\); did you mean 'grid'\?"):
        create_host().optimizer("grod")
    with pytest.raises(PluginError, match=r"no backend 'locl' .*; did you mean 'local'\?"):
        create_host().backend("locl")
    with pytest.raises(PluginError, match="there are none"):
        create_host(entry_points=False).optimizer("grid")


# --- plugins of a program ---------------------------------------------------------------------------------------------


class Mine(Optimizer):
    name = "mine"

    def __init__(self, space: Space, *, seed: int):
        pass

    def ask(self) -> Suggestion | None:
        return None

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        pass


class MyPlugin:
    """A plugin that is an object: an optimizer, a range of its own, and a metric of its own."""

    def __init__(self, answer: Any = None):
        self.answer = answer

    @hookimpl
    def studio_optimizers(self) -> list[type[Optimizer]]:
        return [Mine]

    @hookimpl
    def studio_parse_range(self, name: str, text: str) -> Any:
        return self.answer

    @hookimpl
    def studio_open_metric(self, metric: Metric) -> MetricReader | None:
        return self.answer


def test_a_host_of_given_plugins_alone() -> None:
    host = create_host(entry_points=False, plugins=[MyPlugin()])
    assert names(host) == ["mine"]
    assert [piece.distribution for piece in host.items("optimizer")] == ["this program"]
    assert [piece.kind for piece in host.items()] == ["optimizer", "range parser", "metric extractor"]
    with pytest.raises(RangeError, match="no range parser takes it"):
        host.parse_range("lr", "1,2", grid=True)


def test_two_objects_of_one_class_are_two_plugins() -> None:
    host = create_host(entry_points=False, plugins=[MyPlugin(Constant("lr", 1)), MyPlugin()])
    assert host.problems == []
    assert host.parse_range("lr", "1", grid=True) == host.parse_range("lr", "2", grid=True)


def test_registering_a_plugin_twice_is_the_same_as_once() -> None:
    plugin = MyPlugin()
    host = create_host(entry_points=False, plugins=[plugin, plugin])
    host.register(plugin, "again", "elsewhere", "")
    assert names(host) == ["mine"]
    assert host.problems == []


def test_third_parties_are_asked_before_the_built_ins_and_none_passes_on(tmp_path: Path) -> None:
    answer = Constant("lr", "mine")
    host = create_host(plugins=[MyPlugin(answer)])
    assert host.parse_range("lr", "1,2", grid=True) is answer
    assert host.open_metric(Metric("fitness"), a_run(tmp_path)) is answer
    assert isinstance(create_host(plugins=[MyPlugin(None)]).parse_range("lr", "1,2", grid=True), Choice)


def test_the_first_answer_ends_the_question() -> None:
    asked = []

    class Late:
        @hookimpl(trylast=True)
        def studio_parse_range(self, text: str) -> None:
            asked.append(text)

    host = create_host(entry_points=False, plugins=[Late(), MyPlugin(Constant("lr", 1))])
    host.parse_range("lr", "1", grid=True)
    assert asked == []


def test_a_method_that_raises_is_blamed_with_its_place() -> None:
    with (
        pytest.raises(PluginFailed, match=r"mine failed in ask: ZeroDivisionError: .*test_host\.py:\d+"),
        plugin_call(Mine, "ask"),
    ):
        raise ZeroDivisionError("division")
    with pytest.raises(RangeError, match="plain"), plugin_call(Mine, "ask"):
        raise RangeError("plain")


# --- optimizer files --------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(dedent(text))
    return str(folder / name)


def test_a_file_that_was_edited_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within the second of the last import, and with as many bytes: there is no bytecode to be taken for it."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for number in (1, 2):
        (tmp_path / "mine.py").write_text(f"n = {number}\n")
        os.utime(tmp_path / "mine.py", (1e9, 1e9))
        assert import_file(str(tmp_path / "mine.py")).n == number
    assert os.listdir(tmp_path) == ["mine.py"]


def test_a_file_gives_its_one_subclass_named_after_the_file(site: Path) -> None:
    text = optimizer_text("", cls="Lhs", hook=False).replace('    name = ""\n', "")
    host = create_host()
    cls = host.optimizer(write(site, "lhs.py", text))
    assert (cls.__name__, cls.name) == ("Lhs", "lhs")


def test_a_file_gives_what_its_hook_adds(site: Path) -> None:
    text = optimizer_text("a", cls="A", hook=False) + optimizer_text("b", cls="B")
    assert create_host().optimizer(write(site, "two.py", text)).name == "b"


def test_a_file_may_hold_an_abstract_base_and_what_it_imports(site: Path) -> None:
    text = "from studio.optimizers.grid import Grid\n" + optimizer_text("mine", hook=False)
    text = text.replace("(studio.Optimizer)", "(Base)").replace(
        "class Mine", "class Base(studio.Optimizer):\n    pass\n\nclass Mine"
    )
    assert create_host().optimizer(write(site, "mine.py", text)).name == "mine"


@pytest.mark.parametrize("line", ["import {beside}", "from . import {beside}", "from .{beside} import helper"])
def test_a_file_may_import_its_neighbours(site: Path, line: str) -> None:
    beside = f"beside_{line.count('.')}{len(line)}"
    write(site / "folder", f"{beside}.py", "def helper(): ...\n")
    path = write(site / "folder", "opt.py", line.format(beside=beside) + "\n" + optimizer_text("opt", hook=False))
    assert create_host().optimizer(path).name == "opt"


def test_a_file_that_prints_does_not_reach_stdout(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_host().optimizer(write(site, "loud.py", "print('hello')\n" + optimizer_text("loud", hook=False)))
    assert capsys.readouterr() == ("", "hello\n")


def test_a_file_with_a_hook_can_be_asked_for_twice(site: Path) -> None:
    host = create_host()
    path = write(site, "twice.py", optimizer_text("twice"))
    assert host.optimizer(path).name == host.optimizer(path).name == "twice"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import studio\n\n\nboom\n", r"line 4: NameError: name 'boom'"),
        ("import studio\ndef f(:\n", r"line 2: SyntaxError"),
        ("import studio\ndef f():\n    1 / 0\n\nf()\n", r"line 3: ZeroDivisionError"),
        ("import json\njson.loads('x')\n", r"line 2: .*JSONDecodeError"),
        ("import no_such_module_at_all", r"line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)", r"line 1: SystemExit"),
        ("", "found: none"),
        (optimizer_text("a", cls="A", hook=False) + optimizer_text("b", cls="B", hook=False), "found: A, B"),
        (
            optimizer_text("a", cls="A", hook=False) + optimizer_text("b", cls="B").replace("[B]", "[A, B]"),
            "found: A, B",
        ),
        (optimizer_text("a").replace("return [Mine]", "return []"), "found: none"),
        (optimizer_text("a").replace("def studio_opt", "def studio_obt"), "unknown hook 'studio_obtimizers'"),
        (optimizer_text("a").replace("return [Mine]", "return [1 / 0]"), "ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_with_its_place(site: Path, text: str, complaint: str) -> None:
    path = write(site, "wrong.py", text)
    with pytest.raises(PluginError, match=complaint) as caught:
        create_host().optimizer(path)
    assert "wrong.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_python_file_is_refused(site: Path) -> None:
    with pytest.raises(PluginError, match=r"absent\.py' does not exist"):
        create_host().optimizer("absent.py")
    with pytest.raises(PluginError, match=r"must end in \.py"):
        create_host().optimizer(write(site, "notes.txt", "hello"))
    with pytest.raises(PluginError, match="does not exist"):
        create_host().optimizer(f"{site}/")
