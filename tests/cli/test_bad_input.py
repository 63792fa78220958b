"""Mistakes of users: one line that quotes what was given, exit code 2, nothing started, nothing written."""

import contextlib
import os
import resource
import signal
import sqlite3
from pathlib import Path

import pytest

from studio import Search, fs_tracker

RUN = ["run"]
RANDOM = ["run", "--optimizer=random"]
LR = ["--hp=lr=1,2"]

# What is typed before `train.py`, which reads `lr`, and what the one line must contain.
OPTIONS = [
    # pieces that do not exist
    (["run", "--optimizer=cme", *LR], ["'cme'", "did you mean 'cma'"]),
    (["run", "--optimizer=", *LR], ["--optimizer ''", "studio plugins"]),
    (["run", "--optimizer=a\nb\x1b[31m", *LR], [r"'a\nb\x1b[31m'"]),
    (["run", "--backend=locl", *LR], ["'locl'", "did you mean 'local'"]),
    (["run", "--cloud=ec2spot", *LR], ["--cloud", "no bucket is set up"]),
    (["run", "--metric=val_loss:mn", *LR], ["'val_loss:mn'", "'mn'", "did you mean 'min'", "val_loss:min"]),
    (["run", "--metric=val_loss:average", *LR], ["'val_loss:average'", "val_loss:min, val_loss:max"]),
    (["run", "--metric=", *LR], ["--metric ''", "NAME:min"]),
    (["run", "--metric=:min", *LR], ["':min'", "NAME:min"]),
    (["run", "--metric=jsonl:log.jsonl", *LR], ["jsonl:log.jsonl", "jsonl:FILE:KEY"]),
    (["run", "--metric=jsonl:/etc/log.jsonl:loss", *LR], ["/etc/log.jsonl", "jsonl:log.jsonl:loss"]),
    (["run", "--direction=up", *LR], ["'up'", "min nor max"]),
    # ranges; their errors: tests/unit/plugins
    (["run", "--hp=lr"], ["'lr'", "NAME=RANGE"]),
    (["run", "--hp=lr="], ["lr=", "empty"]),
    (["run", "--hp==0.1"], ["=0.1", "name"]),
    (["run", "--hp=my-lr=0.1"], ["'my-lr'", "read nowhere"]),
    (["run", "--hp= lr=0.1"], ["' lr'", "name a variable"]),
    (["run", "--hp=lr=1", "--hp=lr=2"], ["'lr'", "twice", "lr=1,2,3"]),
    (["run", "--hp=lr=nan"], ["lr=nan", "finite"]),
    (["run", "--hp=lr=0:u20001:1"], ["20,001", "--max-experiments"]),
    (["run", "-O", "a=1", *LR], ["'a'", "it takes none"]),
    ([*RANDOM, "--hp=lr=1e-5:l5:0.1"], ["lr=1e-5:l5:0.1", "`lr=1e-5:0.1:l`"]),
    # numbers, times, sizes
    (["run", "--num-workers=0", *LR], ["--num-workers 0", "auto"]),
    (["run", "--num-workers=two", *LR], ["'two'", "auto"]),
    (["run", "--max-experiments=0", *LR], ["--max-experiments 0"]),
    (["run", "--max-experiments=many", *LR], ["--max-experiments", "whole number"]),
    (["run", "--n-trials=2", *LR], ["--n-trials is not an option", "did you mean --max-experiments?"]),
    (["run", "--max-time=soon", *LR], ["--max-time 'soon'", "15m"]),
    (["run", "--max-time=0", *LR], ["--max-time '0'"]),
    (["run", "--max-time=1h30m", "--max-duration=-1s", *LR], ["--max-duration '-1s'"]),
    (["run", "--seed=x", *LR], ["--seed", "whole number"]),
    (["run", "--gpus=1", *LR], ["--gpus 1", "0 visible GPUs"]),
    (["run", "--max-workspace=lots", *LR], ["'lots'", "2GB"]),
    (["run", "--max-workspace=100", *LR], ["big.bin", "--capture-once", "--max-workspace"]),
    (["run", "--keep=some", *LR], ["'some'", "best"]),
    # the optimizer's own options
    (["run", "--optimizer=cma", "-O", "popsize", "--hp=lr=0:1"], ["'popsize'", "NAME=VALUE"]),
    (["run", "--optimizer=cma", "-O", "popsze=8", "--hp=lr=0:1"], ["'popsze'", "did you mean 'popsize'"]),
    (["run", "--optimizer=cma", "-O", "popsize=big", "--hp=lr=0:1"], ["popsize", "'big'", "whole number"]),
    (["run", "--optimizer=cma", "-O", "popsize=1", "--hp=lr=0:1"], ["popsize=1", "at least 3"]),
    (["run", "--optimizer=cma", "-O", "sigma0=5", "--hp=lr=0:1"], ["sigma0=5", "0.25"]),
    (["run", "-O", "n=1", "-O", "n=2", *LR], ["n is given twice"]),
    # optimizer files
    (["run", "--optimizer=missing.py", *LR], ["missing.py'", "does not exist"]),
    (["run", "--optimizer=empty.py", *LR], ["empty.py", "studio.Optimizer", "none"]),
    (["run", "--optimizer=./two.py", *LR], ["two.py", "A, B"]),
    (["run", "--optimizer=broken.py", *LR], ["broken.py", "line 2", "ZeroDivisionError"]),
    (["run", "--optimizer=syntax.py", *LR], ["syntax.py", "line 2", "SyntaxError"]),
    (["run", "--optimizer=misspelt.py", *LR], ["misspelt.py", "studio_optimisers", "'studio_optimizers'"]),
    # the script's surroundings
    (["run", "--python=/no/python", *LR], ["'/no/python'"]),
    (["run", "--env=NAME", *LR], ["--env 'NAME'", "NAME=VALUE"]),
    (["run", "--substitute=missing.py", *LR], ["'missing.py'"]),
    (["run", "--substitute=../elsewhere.py", *LR], ["'../elsewhere.py'"]),
    (["run", "--capture=model", *LR], ["--capture 'model'", "PATH:TAG"]),
    (["run", "--capture=.:all", *LR], ["'.'", "working directory"]),
    (["run", "--capture=model:../tag", *LR], ["'model:../tag'"]),
    (["run", "--capture=model:lr", *LR], ["'lr'", "hyperparameter"]),
    (["run", "--capture=a:tag", "--capture=b:tag", *LR], ["the same tag"]),
    (["run", "--capture-once=missing:data", *LR], ["--capture-once", "missing", "does not exist"]),
    (["run", "--capture=/no/such:data", *LR], ["--capture", "/no/such", "does not exist"]),
    (["run", "--reuse=other/1/model:start", *LR], ["'other'"]),
    (["run", "--reuse=model:start", *LR], ["'model'", "PROJECT/NUMBER"]),
    (["run", "--project=../up", *LR], ["'../up'"]),
    (["run", "--project=", *LR], ["project name"]),
    (["run", "--project=a b", *LR], ["'a b'"]),
    (["run", "--hyperparm=lr=1,2"], ["--hyperparm", "--hyperparam"]),
    # what other programs call it
    (["run", "--optimizer=CMA", *LR], ["'CMA'", "did you mean 'cma'?"]),
    (["run", "--optimizer=Bayesian", *LR], ["'Bayesian'", "did you mean 'gp'?"]),
    (["run", "--optimizer=optuna", *LR], ["'optuna'", "did you mean 'tpe'?", "examples/plugins/studio-optuna"]),
    (["run", "--optimizer=de", *LR], ["'de'", "did you mean 'cma'?"]),
    (["run", "--optimizer=two", *LR], ["'two'", "did you mean './two.py'?"]),
    (["run", "--hp=LR=1,2"], ["'LR'", "did you mean 'lr'?"]),
    (["run", "--lr", "0.1"], ["--lr", "SCRIPT --lr 0.1", "--hp=lr=0.01:1:l"]),
    (["run", "--epochs=3"], ["--epochs", "SCRIPT --epochs=3", "--hp=epochs=1:12:i"]),
]

# The whole command.
COMMANDS = [
    # scripts
    (["run"], ["SCRIPT"]),
    (["run", *LR, "trian.py"], ["'trian.py'", "did you mean 'train.py'"]),
    (["run", *LR, "folder"], ["'folder'", "folder"]),
    (["run", *LR, "/etc/hostname"], ["'/etc/hostname'", "outside", "cd /etc"]),
    (["run", *LR, "notes.txt"], ["'notes.txt'", "chmod +x"]),
    (["run", *LR, "latin.py"], ["latin.py:2", "UTF-8"]),
    (["run", *LR, "syntax.py"], ["syntax.py:2"]),
    (["run", "--hp=lrr=1,2", "train.py"], ["'lrr'", "'train.py'", "did you mean 'lr'"]),
    (["run", "--hp=lr=1,2", "empty.py"], ["'lr'", "'empty.py'", "append {lr}"]),
    ([*RANDOM, "--hp=lr=0:1:3:a", "train.py"], ["'lr'", "get_artifact('lr')"]),
    (
        ["run", *LR, "train.py", "--num-workers=2"],
        ["--num-workers=2", "before train.py", "-- train.py --num-workers=2"],
    ),
    (["run", "-m", *LR, "no-module"], ["'no-module'", "package.train"]),
    (["run", "--hp=learning_rate=1,2", "train.py"], ["'learning_rate'", "it has lr:", "studio inspect train.py"]),
    (["run", "--hp=lr=1e-4:1:log", "train.py"], ["lr=1e-4:1:log", "write `lr=1e-4:1:l`"]),
    (["run", "--optimizer=cma", "--hp=lr=1e-4:1:log", "train.py"], ["lr=1e-4:1:log", "write `lr=1e-4:1:l`"]),
    (["inspect", "--metric=x", "train.py"], ["No such option: --metric", "studio inspect --help"]),
    (["inspect", "../elsewhere/fit.py", "3"], ["cd ../elsewhere && studio inspect fit.py 3"]),
    (["runs", "list", "--status=bad"], ["--status 'bad'", "running", "done"]),
    # commands and projects that do not exist
    (["rnu", "train.py"], ["'rnu'", "did you mean 'run'"]),
    (["--hyperparam=lr=1", "train.py"], ["--hyperparam"]),
    (["runs", "lst"], ["lst", "list"]),
    (["runs", "list", "digits"], ["'digits'"]),
    (["runs", "show", "digits/1"], ["'digits'"]),
    (["runs", "show", "digits"], ["'digits'", "PROJECT/NUMBER"]),
    (["runs", "logs", "digits/0"], ["'digits/0'", "PROJECT/NUMBER"]),
    (["runs", "list", "../digits"], ["'../digits'"]),
    (["resume", "digits"], ["'digits'"]),
    (["retry", "digits"], ["'digits'"]),
    (["stop", "digits"], ["'digits'"]),
    (["rm", "digits"], ["'digits'"]),
    (["tensorboard", "digits"], ["'digits'"]),
    (["resume"], ["there are no projects yet"]),
    (["resume", "--max-experiment=3", "digits"], ["--max-experiment", "--max-experiments"]),
]


@pytest.fixture
def files(script, workdir):
    """A working directory with one script that works and several that do not."""
    script("train.py", "lr = 0.01\nprint(lr)\n")
    script("empty.py", "")
    script("broken.py", "import studio\n1 / 0\n")
    script("syntax.py", "lr = 1\nprint(lr\n")
    script("notes.txt", "lr")
    script("big.bin", "0" * 200)
    (workdir / "folder").mkdir()
    (workdir.parent / "elsewhere").mkdir()
    (workdir.parent / "elsewhere" / "fit.py").write_text("lr = 1")
    (workdir / "latin.py").write_bytes(b"lr = 1\nprint(lr, '\xe9')\n")
    members = "    def ask(self): pass\n    def tell(self, suggestion, fitness): pass\n"
    script("two.py", f"import studio\nclass A(studio.Optimizer):\n{members}class B(studio.Optimizer):\n{members}")
    script("misspelt.py", "import studio\n@studio.hookimpl\ndef studio_optimisers(): return []\n")


def check(result, words):
    """Assert one line that holds `words`, and exit code 2."""
    assert result.out == ""
    assert result.err.startswith("studio: ")
    assert result.err.endswith("\n")
    assert result.err.count("\n") == 1
    assert result.err.rstrip("\n").isprintable()
    assert [word for word in words if word not in result.err] == [], result.err
    assert result.code == 2


def cases(table):
    return [pytest.param(arguments, words, id=" ".join(arguments)) for arguments, words in table]


@pytest.mark.parametrize(("arguments", "words"), [*cases(COMMANDS), *cases(([*a, "train.py"], w) for a, w in OPTIONS)])
def test_one_line_and_nothing_written(command, files, home, monkeypatch, arguments, words):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check(command(*arguments), words)
    assert not home.exists()


@pytest.mark.parametrize(
    "line", ["run --metric", "run --hp", "ui --host", "resume p --max-time", "report p -o", "runs show p/1 --nope"]
)
def test_an_option_without_its_value_or_that_does_not_exist(command, line):
    result = command(*line.split())
    name, option = line.split()[0], line.split()[-1]
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("studio: ")
    assert result.err.count("\n") == 1
    assert option in result.err
    assert f"; see studio {name}" in result.err


def test_as_a_user_sees_it(studio, files, home):
    check(studio("run", "--hp=lr=nan", "train.py"), ["lr=nan"])
    assert not home.exists()


def test_grid_of_ten_thousand_starts_and_one_more_with_a_budget(command, files, home):
    assert command("run", "--dry-run", "--hp=lr=1:10000", "train.py").code == 0
    assert command("run", "--dry-run", "--hp=lr=1:10001", "--max-experiments=3", "train.py").code == 0
    check(command("run", "--dry-run", "--hp=lr=1:10001", "train.py"), ["10,001 points", "--max-experiments"])
    assert not home.exists()


def test_project_that_exists(command, files, home):
    assert command("run", "--quiet", "--project=digits", "--hp=lr=1", "train.py").code == 0
    before = sorted(home.rglob("*"))
    check(command("run", "--project=digits", "--hp=lr=1", "train.py"), ["'digits'", "studio resume digits"])
    check(command("resume", "digts"), ["'digts'", "did you mean 'digits'"])
    check(command("runs", "show", "digits/7"), ["'digits'", "no experiment 7", "1"])
    check(command("retry", "digits", "7"), ["'digits'", "no experiment 7"])
    check(command("retry", "digits", "other/1"), ["'other/1'", "'digits'"])
    check(command("run", "--reuse=digits/1/model:start", "--hp=lr=1", "train.py"), ["digits/1", "'model'"])
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("line", ["run --hp=lr=1 train.py", "inspect train.py", "init train.py", "worker folder:x"])
def test_working_directory_that_is_gone(command, workdir, line):
    workdir.rmdir()
    result = command(*line.split())
    assert (result.code, result.err) == (2, "studio: the working directory no longer exists; cd to one that does\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads and writes everything")
def test_without_permission(command, files, home, workdir):
    (workdir / "train.py").chmod(0)
    check(command("run", "--hp=lr=1", "train.py"), ["'train.py'", "cannot be read"])
    home.mkdir(mode=0o500)
    (workdir / "train.py").chmod(0o600)
    check(command("run", "--hp=lr=1", "train.py"), [str(home), "Permission denied", "STUDIO_HOME"])


def test_home_that_cannot_be_made(command, files, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "file" / "home"))
    Path(tmp_path, "file").write_text("")
    check(command("run", "--hp=lr=1", "train.py"), [str(tmp_path / "file" / "home"), "STUDIO_HOME"])


@contextlib.contextmanager
def largest_file(size):
    """Act as a full disk: no file may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 4095, 5000])
def test_full_disk(command, files, home, size):
    Path("data.bin").write_bytes(b"0" * 6000)
    with largest_file(size):
        result = command("run", "--hp=lr=1", "train.py")
    check(result, [str(home)])
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert list((home / "projects").iterdir()) == []


def test_disk_that_is_full_when_the_record_is_begun(command, files, home):
    with largest_file(12_000):
        check(command("run", "--hp=lr=1", "--project=full", "train.py"), [str(home)])
    assert command("run", "--quiet", "--hp=lr=1", "--project=full", "train.py").code == 0


@pytest.mark.parametrize("option", ["--cpus", "--gpus"])
def test_integer_is_quoted(command, files, option):
    check(command("run", f"{option}=many", "--hp=lr=1", "train.py"), [option, "'many'"])


def test_module_given_as_a_file(command, files):
    check(command("run", "-m", "--hp=lr=1", "train.py"), ["'train.py'", "package.train"])


def test_module_that_is_nowhere(command, files):
    check(command("run", "-m", "--hp=lr=1", "no.such.module"), ["'no.such.module'"])


def test_record_that_is_none(command, files, home):
    folder = home / "projects" / "digits"
    folder.mkdir(parents=True)
    database = folder / "studio.db"
    database.write_bytes(b"no database " * 1000)
    for arguments in (["resume", "digits"], ["runs", "list", "digits"]):
        result = command(*arguments)
        assert (result.code, result.err.count("\n")) == (1, 1), arguments
        assert str(database) in result.err
    database.unlink()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    result = command("resume", "digits")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "newer Studio" in result.err


def test_retry_of_a_program_of_its_own(command, home):
    search = Search({"x": "0:3"}, project="loop")
    search.tell(search.ask(), None)
    search.close()
    check(command("retry", "loop"), ["'loop'", "studio.Search(project='loop', …)"])
    assert not (home / "projects" / "loop" / "requests").exists()  # nobody would take a request up


@pytest.mark.parametrize("name", ["", "..", "a/../../b", "/etc/passwd", "a\\..\\b"])
def test_artifact_names_that_lead_away(monkeypatch, tmp_path, name):
    monkeypatch.setenv("STUDIO_FOLDER", str(tmp_path))
    with pytest.raises(ValueError, match="is not an artifact name"):
        fs_tracker.get_artifact(name)
