"""The command line: what it prints where, what it returns, and how a search is stopped and taken up again."""

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import studio.cli

FAILS_ON_TWO = "lr = 1\nif lr == 2:\n    raise ValueError('no good')\nprint('fitness:', lr)\n"
SCORES = "lr = 1\nprint('fitness:', -lr)\n"
# Runs until the file `go` stands beside the working directory, and leaves its process id there.
WAITS = """
    import os, time

    lr = 1
    outside = os.environ["OUTSIDE"]
    print("begun", lr, flush=True)
    with open(f"{outside}/began-{lr}", "a") as file:
        print(os.getpid(), file=file)
    while not os.path.exists(f"{outside}/go"):
        time.sleep(0.02)
    print("fitness:", lr)
"""

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


def statuses(experiments):
    return [experiment["status"] for experiment in experiments]


@pytest.fixture
def experiments(command):
    """The experiments of a project, as `runs list PROJECT --json` prints them."""

    def call(project):
        result = command("runs", "list", project, "--json")
        assert (result.code, result.err) == (0, "")
        return json.loads(result.out)

    return call


# --- a first look -----------------------------------------------------------------------------------------------------


def test_without_arguments_six_lines(command):
    result = command()
    assert (result.code, result.err) == (0, "")
    assert result.out.count("\n") == 6
    for words in (
        "studio inspect",
        "studio run --hyperparam",
        "--optimizer=auto",
        "--metric=accuracy:max",
        "studio runs list",
        "--help",
    ):
        assert words in result.out


@pytest.mark.parametrize("name", [*studio.cli.COMMANDS, "worker", "cloud", "runs list", "runs show", "runs logs"])
def test_help(command, home, name):
    result = command(*name.split(), "--help")
    assert (result.code, result.err) == (0, "")
    assert f"Usage: studio {name}" in result.out
    assert max(map(len, result.out.splitlines())) <= 130
    assert not home.exists()


OPTIONS_OF_RUN = [
    *("hyperparam", "hp", "optimizer", "opt", "metric", "direction", "project", "num-workers", "max-experiments"),
    *("max-time", "max-duration", "repeat", "seed", "backend", "cloud", "cpus", "gpus", "ram", "hdd", "capture"),
    *("capture-once", "reuse", "python", "env", "dry-run", "json", "quiet", "verbose"),
]


def test_help_of_run_has_examples_and_every_option(command):
    text = command("run", "--help").out
    assert text.count("  studio run --") >= 5
    assert "min:max[:length][:flags]" in text
    assert [option for option in OPTIONS_OF_RUN if f"--{option}" not in text] == []
    assert re.search(r"^ *(-hp|.*[ ,]-hp)\b", text, re.MULTILINE)
    assert re.search(r"[ ,]-opt\b", text)


def test_usage_of_run(command):
    assert command("run", "--help").out.startswith("Usage: studio run [OPTIONS] SCRIPT [ARGS]...\n")


def test_help_lists_the_commands_and_version(command):
    text = command("--help").out
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in [*studio.cli.COMMANDS, "worker", "cloud"])
    assert command("--version").out == f"studio {studio.__version__}\n"


@pytest.fixture
def package(tmp_path):
    """A package on PYTHONPATH that adds the commands `greet`, `broken` and `run`."""
    info = tmp_path / "site" / "studio_greet-1.2.dist-info"
    info.mkdir(parents=True)
    entries = "greet = greeting:app\nbroken = greeting.missing:app\nrun = greeting:app\n"
    (info / "entry_points.txt").write_text(f"[studio.commands]\n{entries}")
    (info.parent / "greeting.py").write_text(
        '"""Say hello."""\nimport typer\nprint("loaded")\napp = typer.Typer()\n'
        "@app.command()\ndef greet(name: str):\n    print(f'hello {name}')\n"
    )
    return {"PYTHONPATH": str(info.parent)}


def test_a_package_adds_commands(studio, package):
    listed = studio("--help", env=package)
    assert re.search(r"^  greet +Say hello\.$", listed.out, re.MULTILINE)
    assert "loaded" not in listed.out
    assert len(re.findall(r"^  run ", listed.out, re.MULTILINE)) == 1  # the built-in one
    assert studio("greet", "Ada", env=package).out == "loaded\nhello Ada\n"
    broken = studio("broken", env=package)
    assert broken.code == 2
    assert "the command 'broken' of studio-greet 1.2 cannot be loaded: ModuleNotFoundError" in broken.err


COMPLETIONS = {
    "studio ru": "run runs",
    "studio runs l": "list logs",
    "studio run --max-t": "--max-time",
    "studio run --optimizer c": "cma",
    "studio run --backend d": "dask",
    "studio plot d": "digits",
    "studio runs show d": "digits/",
    "studio runs show digits/": "digits/1 digits/2",
}


def test_shell_completion(command, recorded, monkeypatch):
    recorded("digits", [({"x": 1}, 1.0), ({"x": 2}, 2.0)])
    monkeypatch.setenv("_STUDIO_COMPLETE", "complete_bash")
    for words, expected in COMPLETIONS.items():
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        assert command().out.split() == expected.split()


def test_shell_completion_is_there_to_install(command):
    assert "--install-completion" in command("--help").out
    assert "--show-completion" in command("--help").out


# --- what is imported -------------------------------------------------------------------------------------------------

HEAVY = ["numpy", "scipy", "libcst", "cma", "tensorboard", "tensorboardX", "rich"]
WITHOUT_PLUGINS = [*HEAVY, "pluggy", "studio.host", "studio.plugins", "studio.optimizers", "studio.backends"]


ABSENT = {
    "from studio import fs_tracker; call()": [*WITHOUT_PLUGINS, "typer"],
    "call('--help'); call('runs', 'list'); call('runs', 'show', 'a/1'); call('runs', 'logs', 'a/1')": WITHOUT_PLUGINS,
    "call('run', '--help'); call('resume', '--help'); call('plugins')": [
        "scipy",
        "libcst",
        "cma",
        "tensorboard",
    ],
    # a mistake is answered before what reads the script is imported
    "call('run', '--bad=1'); call('run', '--hp=lr=', 'train.py'); call('run', '--opt=nope', '--hp=lr=1', 'train.py');"
    "call('run', '--metric=', '--hp=lr=1', 'train.py'); call('run', '--max-time=soon', '--hp=lr=1', 'train.py');"
    "call('run', '--hp=lr=1', 'nowhere.py'); call('run', '--dry-run', '--hp=lr=', 'train.py'); call('resume', 'nope')": [
        "scipy",
        "libcst",
        "studio.search.loop.driver",
    ],
}


def test_imports(home):
    """Modules that are not imported after each step; each step needs more than the one before."""
    program = """
import atexit, gc
atexit.register(lambda: print("not looked at for garbage at the end:", gc.get_freeze_count() > 0))
import sys, studio
def call(*arguments):
    from studio.cli import main
    sys.argv = ["studio", *arguments]
    try:
        main()
    except SystemExit:
        pass
"""
    for step, absent in ABSENT.items():
        program += f"{step}\nprint('loaded:', sorted(set({absent}) & set(sys.modules)))\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("loaded: ")] == ["loaded: []"] * len(ABSENT)
    assert done.stdout.endswith("not looked at for garbage at the end: True\n")


# --- exit codes, and what goes where ----------------------------------------------------------------------------------


def test_stdout_is_data_and_stderr_is_talk(command, script, workdir, home):
    script("train.py", SCORES)
    result = command("run", "--project=p", "--hp=lr=1,2", "train.py")
    assert result.code == 0
    assert [line.split()[:4] for line in result.out.splitlines()] == [
        ["#", "status", "fitness", "lr"],
        ["1", "completed", "-1", "1"],
        ["2", "completed", "-2", "2"],
    ]
    lines = result.err.splitlines()
    assert lines[0] == "project p: 2 experiments"
    assert lines[1].startswith("#1/2  completed  fitness -1  lr=1")
    assert "best so far" in lines[1]
    assert "best so far" not in lines[2]
    assert lines[-2] == "best: p/1  fitness -1  lr=1"
    assert lines[-1] == f"files: {home}/projects/p/1/1"
    assert "\x1b" not in result.out + result.err


def test_quiet(command, script):
    script("train.py", SCORES)
    result = command("run", "--quiet", "--hp=lr=1", "train.py")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_some_failed(command, experiments, script):
    script("train.py", FAILS_ON_TWO)
    result = command("run", "--project=p", "--hp=lr=1,2,3", "train.py")
    assert result.code == 3
    assert re.search(r"#2/3  failed  lr=2  0\.\d+ s  \(exit code 1: ValueError: no good\)", result.err)
    assert "best: p/3" in result.err
    one, two, three = experiments("p")
    assert statuses([one, two, three]) == ["completed", "failed", "completed"]
    assert two["reason"] == "exit code 1: ValueError: no good"
    assert (two["exit_code"], two["fitness"], two["metric"]) == (1, None, None)
    assert [one["exit_code"], three["exit_code"]] == [0, 0]


def test_metric_that_never_came(command, experiments, script):
    script("train.py", "lr = 1\nopen('log', 'w').write('{\"loss\": %s}\\n' % lr)\n")
    assert command("run", "--project=p", "--metric=jsonl:log:val_loss:min", "--hp=lr=1", "train.py").code == 1
    assert experiments("p")[0]["reason"] == "metric 'jsonl:log:val_loss' never came; seen: jsonl:log:loss"
    script("train.py", "lr = 1\nprint(lr)\n")
    arguments = ("--optimizer=cma", "--max-experiments=1", "--hp=lr=0:1", "train.py")
    assert command("run", "--project=q", *arguments).code == 1
    assert experiments("q")[0]["reason"] == "printed no line `fitness: NUMBER`"


def test_search_that_cannot_go_on(command, script):
    script(
        "stalls.py",
        """
        import studio

        class Stalls(studio.Optimizer):
            name = "stalls"

            def ask(self):
                return None

            def tell(self, suggestion, fitness):
                pass
        """,
    )
    script(
        "raises.py", Path("stalls.py").read_text().replace("return None", "return {}['x']").replace("stalls", "raises")
    )
    script("train.py", SCORES)
    result = command("run", "--optimizer=stalls.py", "--project=p", "--hp=lr=0:1", "train.py")
    assert result.code == 1
    assert "optimizer stalls waits for results although no experiment is running" in result.err.splitlines()[-1]
    result = command("run", "--optimizer=raises.py", "--project=q", "--hp=lr=0:1", "train.py")
    assert result.code == 1
    assert "raises failed in ask: KeyError: 'x'" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err


def test_time_is_over_before_anything_completed(command, experiments, script, outside):
    script("train.py", WAITS)
    result = command("run", "--project=p", "--max-time=0.4s", "--hp=lr=1,2", "train.py")
    assert result.code == 4
    assert "time limit reached; continue with: studio resume p" in result.err
    assert statuses(experiments("p"))[0] == "stopped"
    (outside / "go").touch()
    assert command("resume", "p", "--max-time=1m").code == 0
    found = experiments("p")
    assert statuses(found) == ["completed"] * 2
    assert [e["fitness"] for e in found] == [1, 2]


# --- --json -----------------------------------------------------------------------------------------------------------


def test_json_of_experiments(command, experiments, script):
    script(
        "train.py",
        """
        import json
        from studio import fs_tracker

        open("log", "w").write(json.dumps({"loss": 0.25, "where": fs_tracker.get_artifact("a")}) + "\\n")
        """,
    )
    ranges = ("--hp=a=0:1:3:a",)
    arguments = ("--optimizer=random", "--seed=1", "--max-experiments=2", "--metric=jsonl:log:loss:min", *ranges)
    result = command("run", "--project=p", "--json", *arguments, "train.py")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert found == experiments("p")
    assert [e["experiment"] for e in found] == ["p/1", "p/2"]
    first = found[0]
    assert first["status"] == "completed"
    assert len(first["values"]["a"]) == 3
    assert all(isinstance(number, float) for number in first["values"]["a"])
    assert first["metric"] == {"name": "jsonl:log:loss", "mode": "min", "value": 0.25}
    assert (first["fitness"], first["exit_code"], first["reason"]) == (-0.25, 0, "")
    for key in ("started", "finished"):
        assert ISO.fullmatch(first[key])
    begin, end = (datetime.fromisoformat(first[key]) for key in ("started", "finished"))
    assert end - begin == pytest.approx(timedelta(seconds=first["duration"]), abs=timedelta(seconds=0.2))
    shown = json.loads(command("runs", "show", "p/1", "--json").out)
    assert [(a["attempt"], a["status"], a["metric"]) for a in shown.pop("attempts")] == [(1, "completed", 0.25)]
    assert shown == first
    assert json.loads(command("runs", "logs", "p/1", "--json").out) == {"experiment": "p/1", "output": ""}

    (project,) = json.loads(command("runs", "list", "--json").out)
    assert (project["project"], project["state"], project["experiments"]) == ("p", "done", 2)
    assert (project["counts"], project["best"]) == ({"completed": 2}, first)
    assert (project["optimizer"], project["script"], project["seed"]) == ("random", "train.py", 1)


def test_json_of_nothing_and_of_plugins(command, home):
    assert json.loads(command("runs", "list", "--json").out) == []
    assert "no projects yet" in command("runs", "list").err
    found = json.loads(command("plugins", "--json").out)
    assert found["problems"] == []
    (cma,) = [piece for piece in found["plugins"] if piece["name"] == "cma"]
    assert (cma["kind"], cma["distribution"], cma["version"]) == ("optimizer", "studio-search", studio.__version__)
    assert {piece["kind"] for piece in found["plugins"]} == {
        *("optimizer", "pruner", "backend", "range parser", "metric extractor")
    }
    assert not home.exists()


def test_plugins(command, monkeypatch):
    lines = [line.split() for line in command("plugins").out.splitlines()]
    assert lines[0][:4] == ["name", "kind", "distribution", "version"]
    assert ["local", "backend", "studio-search", studio.__version__] in [line[:4] for line in lines]
    monkeypatch.setenv("STUDIO_DISABLE_PLUGINS", "cma, jsonl")
    text = command("plugins").out
    assert not re.search("^cma ", text, re.MULTILINE)
    assert "jsonl" not in text
    assert "tensorboard" in text


def test_dry_run(command, script, workdir, home):
    script("train.py", SCORES)
    text = command("run", "--dry-run", "--hp=lr=1:20", "--num-workers=3", "train.py", "a b").out
    assert "20 experiments, 3 at a time, optimizer grid, metric fitness" in text
    assert f"each experiment gets a copy of the 1 file in {workdir}" in text
    assert "train.py 'a b'" in text
    assert "+print('fitness:', -1)" in text
    assert not home.exists()


# --- runs list, show, logs --------------------------------------------------------------------------------------------


def test_runs(command, script, home):
    script("train.py", "lr = 1\nname = ''\nprint('long', name)\nprint('fitness:', lr)\n")
    long = "x" * 300
    command("run", "--quiet", "--project=p", f"--hp=name={long},short", "--hp=lr=0.123456789", "train.py")
    table = command("runs", "list", "p")
    assert table.err == ""
    rows = [line.split() for line in table.out.splitlines()]
    assert rows[0][:5] == ["#", "status", "fitness", "name", "lr"]
    assert rows[1][:5] == ["1", "completed", "0.1235", long, "0.1235"]  # piped, never cut
    assert long in command("runs", "list").out
    shown = command("runs", "show", "p/2").out
    assert re.search(r"^experiment +p/2$", shown, re.MULTILINE)
    assert re.search(r"^fitness \(last\) +0.123456789$", shown, re.MULTILINE)
    assert re.search(rf"^folder +{home}/projects/p/2/1$", shown, re.MULTILINE)
    assert command("runs", "logs", "p/2").out == "long short\nfitness: 0.123456789\n"


@pytest.mark.parametrize(("buffered", "codes"), [("", (0, 1)), ("1", (0,))])  # "1": as with more than a buffer holds
def test_closed_pipe_is_no_traceback_and_no_failure(home, buffered, codes):
    read, write = os.pipe()
    os.close(read)  # as `head` does
    with os.fdopen(write, "wb") as pipe:
        command = [Path(sys.executable).with_name("studio"), "runs", "list", "--json"]
        env = {**os.environ, "PYTHONUNBUFFERED": buffered}
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, env=env, check=False)
    assert done.stderr == b""
    assert done.returncode in codes


def test_remove(command, script, home):
    script("train.py", SCORES)
    command("run", "--quiet", "--project=p", "--hp=lr=1", "train.py")
    refused = command("rm", "p")  # no terminal that could be asked
    message = "studio: not a terminal, so nobody can be asked; to delete the project, type studio rm p --yes\n"
    assert (refused.code, refused.err) == (2, message)
    result = command("rm", "p", "--yes")
    assert (result.code, result.out, result.err) == (0, "", "studio: deleted p with 1 experiment\n")
    assert list((home / "projects").iterdir()) == []


# --- options of run ---------------------------------------------------------------------------------------------------


def test_seed_is_shown_and_repeats_the_search(command, experiments, script):
    script("train.py", "x = y = 0\nprint('fitness:', -(x - 0.3) ** 2 - y)\n")
    arguments = ("--optimizer=cma", "--max-experiments=4", "--hp=x=0:1", "--hp=y=1e-3:1:l", "train.py")
    result = command("run", "--project=p", *arguments)
    (seed,) = re.findall(r"^studio: seed (\d+)$", result.err, re.MULTILINE)
    result = command("run", "--project=q", f"--seed={seed}", *arguments)
    assert "studio: seed" not in result.err
    first, second = ([(e["values"], e["fitness"]) for e in experiments(project)] for project in "pq")
    assert first == second
    assert "studio: seed" not in command("run", "--project=r", "--hp=x=1,2", "train.py").err  # a grid draws nothing


def test_budget_of_an_optimizer_without_end(command, script):
    script("train.py", SCORES)
    result = command("run", "--dry-run", "--optimizer=random", "--hp=lr=0:1", "train.py")
    assert "random has no natural end: stopping after 100 experiments; change that with --max-experiments" in result.out
    result = command("run", "--dry-run", "--optimizer=random", "--max-time=1h", "--hp=lr=0:1", "train.py")
    assert "knows no end" not in result.out


def test_number_of_workers(command, script):
    script("train.py", SCORES)
    text = command("run", "--dry-run", "--num-workers=auto", "--hp=lr=1:999", "train.py").out
    assert f"{len(os.sched_getaffinity(0))} at a time" in text


@pytest.mark.parametrize("known", [True, False])
def test_options_behind_the_script_are_the_scripts(command, experiments, script, known):
    """An option of Studio is the script's where its text has it, or `--` before the script says so."""
    script("train.py", f"import sys\nprint(sys.argv[1:])\n# {'--hyperparam --metric' if known else ''}\n")
    words = ["train.py", "--hyperparam=lr=1", "--quiet", "-m", "--", "--metric", "x"]
    result = command("run", "--project=p", *([] if known else ["--"]), *words)
    assert result.code == 0, result.err
    log = Path(experiments("p")[0]["folder"], "output.log").read_text()
    assert log == "['--hyperparam=lr=1', '--quiet', '-m', '--', '--metric', 'x']\n"
    result = command("run", "train.py", "--lr=1")
    assert "behind the script" not in result.err


def test_environment_of_the_script(command, experiments, script, monkeypatch):
    script("train.py", "import os\nprint(os.environ['COLOUR'], os.environ['INHERITED'], os.environ['A'])\n")
    monkeypatch.setenv("INHERITED", "yes")
    monkeypatch.setenv("COLOUR", "red")
    command("run", "--project=p", "--env=COLOUR=blue=green", "--env", "A=", "train.py")
    assert command("runs", "logs", "p/1").out == "blue=green yes \n"


def test_a_variable_without_a_value_is_taken_at_each_start_and_not_stored(command, script, monkeypatch, home):
    script("train.py", "import os\nx = 1\nprint('fitness:', x, os.environ['TOKEN'])\nprint('fitness:', x)\n")
    monkeypatch.setenv("TOKEN", "hush-1")
    assert (
        command(
            "run", "--project=p", "--env=TOKEN", "--optimizer=random", "--max-experiments=1", "--hp=x=0:1", "train.py"
        ).code
        == 0
    )
    monkeypatch.setenv("TOKEN", "hush-2")
    assert command("resume", "p", "--max-experiments=2").code == 0
    assert [command("runs", "logs", f"p/{n}").out.split()[2] for n in (1, 2)] == ["hush-1", "hush-2"]
    assert b"hush" not in (home / "projects" / "p" / "studio.db").read_bytes()
    monkeypatch.delenv("TOKEN")
    refused = command("resume", "p", "--max-experiments=3")
    assert (refused.code, "the environment, which has no TOKEN" in refused.err) == (2, True)


def test_one_project_that_cannot_be_read_hides_no_other(command, script, home):
    script("train.py", "print('fitness: 1')\n")
    assert command("run", "--project=good", "train.py").code == 0
    for name in ("bad", "empty"):
        (home / "projects" / name).mkdir()
    (home / "projects" / "bad" / "studio.db").write_bytes(b"hello" * 1000)
    listed = command("runs", "list")
    assert (listed.code, "good" in listed.out) == (0, True)
    assert "project bad: " in listed.err


def test_the_metric_is_a_column(command, recorded):
    recorded(
        "a", [({"x": 3}, 0.1), ({"x": 2}, "exit code 1"), ({"x": 1}, 0.3)], ranges={"x": "3,2,1"}, metric="loss:min"
    )
    listed = json.loads(command("runs", "list", "a", "--json", "--sort=loss").out)
    assert [one["number"] for one in listed] == [2, 1, 3]


def test_lists_are_sorted_and_cut(command, recorded):
    for name in ("b", "a"):
        recorded(name, [({"x": 3}, -3.0), ({"x": 2}, "exit code 1"), ({"x": 1}, -1.0)], ranges={"x": "3,2,1"})

    def numbers(*options):
        return [one["number"] for one in json.loads(command("runs", "list", "a", "--json", *options).out)]

    assert numbers() == [1, 2, 3]
    assert numbers("--last=2") == [2, 3]
    assert numbers("--status=failed") == [2]
    assert numbers("--sort=fitness") == [2, 1, 3]  # the one without a fitness first, the best last
    assert numbers("--sort=x", "--last=1") == [1]
    refused = command("runs", "list", "a", "--sort=y")
    assert (refused.code, "sort by number, fitness, time, x" in refused.err) == (2, True)
    refused = command("runs", "list", "a", "--last=z")
    assert (refused.code, "'z' is not a whole number" in refused.err) == (2, True)

    def projects(*options):
        return [one["project"] for one in json.loads(command("runs", "list", "--json", *options).out)]

    assert (projects(), projects("--sort=name"), projects("--last=1")) == (["b", "a"], ["a", "b"], ["a"])
    assert projects("--status=running") == []
    assert "train.py" in command("runs", "list").out


def test_several_projects_are_deleted_or_none(command, recorded, home):
    for name in ("a", "b", "c"):
        recorded(name, [({}, 1.0)])
    assert command("rm", "--yes", "a", "nobody").code == 2
    assert command("rm", "--yes", "a", "b", "a").code == 0
    assert [path.name for path in (home / "projects").iterdir()] == ["c"]


@pytest.mark.parametrize(("name", "meant"), [("ls", "runs list"), ("list", "runs list"), ("show", "runs show")])
def test_a_name_of_other_tools_is_answered_with_ours(command, name, meant):
    answer = command(name)
    assert (answer.code, f"type studio {meant}" in answer.err) == (2, True)


def test_hostile_names_of_folders(command, script, tmp_path, monkeypatch):
    folder = tmp_path / "Ein \"Ordner\" mit 'Zeichen' äöü"
    folder.mkdir()
    (folder / "train.py").write_text("import sys\nlr = 1\nprint(sys.argv[1])\nprint('fitness:', lr)\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STUDIO_HOME", str(folder / "ho me"))
    assert command("run", "--project=p", "--hp=lr=1", "train.py", "a 'b' \"c\" $d").code == 0
    assert command("runs", "logs", "p/1").out == "a 'b' \"c\" $d\nfitness: 1\n"
    assert not (folder / "ho me" / "projects" / "p" / "source" / "ho me").exists()


PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"))


@pytest.mark.parametrize("python", PYTHONS or [None], ids=lambda path: path and path.parts[-3])
def test_another_interpreter(command, home, script, monkeypatch, python):
    if python is None:
        pytest.skip("needs another interpreter in ~/.pyenv")
    script(
        "train.py",
        """
        import os
        import sys
        from studio import fs_tracker

        lr = 0
        print(sys.version_info[:2], fs_tracker.get_experiment_key(), os.path.isdir(fs_tracker.get_tensorboard_dir()))
        print(fs_tracker.__file__)
        print(sys.path[1:])
        print("fitness:", lr)
        """,
    )
    monkeypatch.setenv("PYTHONPATH", "/before")
    assert command("run", "--project=p", f"--python={python}", "--hp=lr=0.5", "train.py").code == 0
    version, file, path, fitness = command("runs", "logs", "p/1").out.splitlines()
    major, minor = python.parts[-3].split(".")[:2]
    assert version == f"({major}, {minor}) p/1 True"
    assert file == f"{home}/projects/p/shim/studio/fs_tracker.py"
    assert path.startswith(f"['/before', '{home}/projects/p/shim', ")
    assert sys.prefix not in path
    assert fitness == "fitness: 0.5"


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_other_processes_see_and_stop_a_search(command, experiments, driver, script, outside, until):
    script("train.py", WAITS)
    search = driver("run", "--project=p", "--num-workers=2", "--hp=lr=1,2,3", "train.py")
    until(lambda: len(list(outside.glob("began-*"))) == 2, what="two experiments")
    assert statuses(experiments("p"))[:2] == ["running", "running"]
    assert json.loads(command("runs", "list", "--json").out)[0]["state"] == "running"
    follower = driver("runs", "logs", "-f", "p/1")
    until(lambda: follower.out == "begun 1\n")
    for arguments in (["resume", "p"], ["rm", "-y", "p"]):
        result = command(*arguments)
        assert result.code == 2
        assert "studio stop p" in result.err

    result = command("stop", "p")
    assert (result.code, result.out) == (0, "")
    assert (search.wait(), follower.wait()) == (4, 0)
    assert statuses(experiments("p"))[:2] == ["stopped", "stopped"]
    assert json.loads(command("runs", "list", "--json").out)[0]["state"] == "stopped"
    for words in (["stop", "p"], ["pause", "p"], ["stop"], ["pause"]):
        result = command(*words)
        assert (result.code, result.err.splitlines()[-1]) == (0, "studio: project p is not running: stopped")
    (outside / "go").touch()
    assert command("resume", "p").code == 0
    assert statuses(experiments("p")) == ["completed"] * 3


def test_a_resume_without_work_says_how_there_is_more(command, script):
    script("train.py", "x = 1\nprint('fitness:', x)\n")
    command("run", "--project=p", "--optimizer=random", "--max-experiments=2", "--hp=x=0:1", "train.py")
    assert "nothing was left to run; for more: studio resume p --max-experiments=4" in command("resume", "p").err
    assert "nothing was left" not in command("resume", "p", "--max-experiments=3").err
    refused = command("resume", "p", "--max-experiments=1")
    assert (refused.code, refused.err) == (
        2,
        "studio: --max-experiments 1: 3 are finished already; give more, or leave it out\n",
    )


def test_a_whole_number_is_asked_for_in_the_words_of_the_range(command, script):
    script(
        "train.py", "import argparse\np = argparse.ArgumentParser()\np.add_argument('--n', type=int)\np.parse_args()\n"
    )
    assert "write n=16:128:i" in command("run", "--optimizer=random", "--hp=n=16:128", "train.py").err
    assert "write n=1:8:li" in command("run", "--hp=n=1:8:l", "train.py").err


def test_a_search_ends_when_all_values_were_tried(command, script):
    script("train.py", "x = 1\nprint('fitness:', x)\n")
    result = command("run", "--project=p", "--optimizer=cma", "--seed=1", "--hp=x=1,2", "train.py")
    assert "only repeats values that were tried before" in result.err
    assert len(json.loads(command("runs", "list", "p", "--json").out)) < 20


def test_applying_a_failed_experiment_says_so(command, script):
    script("train.py", "x = 1\nassert x < 2\nprint('fitness:', x)\n")
    command("run", "--project=p", "--hp=x=1,2", "train.py")
    assert (
        "studio: p/2 is no result, failed (exit code 1: AssertionError); its values are applied all the same"
        in command("apply", "p/2").err
    )
    assert "no result" not in command("apply", "p/1").err
    assert command("apply", "p/99").err == "studio: project 'p' has no experiment 99; it has 2\n"
