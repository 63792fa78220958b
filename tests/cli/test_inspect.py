"""Commands that lead from a script to a search: inspect, init, run, apply, confirm."""

import errno
import fcntl
import json
import os
import shlex

import pytest

from studio.project.project import Project
from studio.script import program, proposal

SCRIPT = """
import argparse
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=0.1)
p.add_argument("--seed", type=int, default=0)
args = p.parse_args()
depth = 3
for epoch in range(2):
    print(f"epoch {epoch}: val_loss: {(args.lr - 0.3) ** 2 + depth / 100 + args.seed / 1000:.5f}")
"""


@pytest.fixture
def train(script):
    return script("train.py", SCRIPT)


def test_inspect_prints_a_command_that_works(train, command):
    seen = json.loads(command("inspect", "--json", "train.py").out)
    assert [(one["name"], one["line"], one["value"]) for one in seen["places"] if one["range"]] == [
        ("lr", 4, 0.1),
        ("seed", 5, 0),
        ("depth", 7, 3),
    ]
    assert seen["metrics"][0]["name"] == "val_loss"
    assert seen["command"] == [
        *("studio", "run", "--optimizer=auto", "--metric=val_loss:min", "--hp=lr=0.01:1:l", "--hp=depth=1:12:i"),
        "train.py",
    ]
    shown = command("inspect", "train.py")
    assert shown.out.splitlines()[-1] == shlex.join(seen["command"])
    result = command(*seen["command"][1:2], "--project=p", "--max-experiments=3", *seen["command"][2:])
    assert result.code == 0, result.err
    assert Project("p").best.metric["name"] == "val_loss"


def test_inspect_runs_the_script_for_its_metrics_and_nothing_in_the_users_folder(script, command, workdir):
    script(
        "train.py",
        "import sys\nlr = 0.5\nopen('ran', 'a').write('x')\nsys.stdout.write(''.join(['score', ': ', str(lr), chr(10)]))\n",
    )
    unseen = json.loads(command("inspect", "--json", "train.py").out)
    assert (unseen["metrics"], unseen["command"]) == ([], ["studio", "inspect", "--run", "train.py"])
    (metric,) = json.loads(command("inspect", "--json", "--run", "train.py").out)["metrics"]
    assert (metric["name"], metric["value"]) == ("score", 0.5)
    assert [path.name for path in workdir.iterdir()] == ["train.py"]


def test_a_metric_that_is_not_surely_the_result_is_asked_for(script, command, workdir):
    script("train.py", "lr = 0.5\nprint('reading:', lr)\n")
    unsure = command("inspect", "train.py").out
    assert unsure.endswith("one run of the script shows all metrics that it has:\n\nstudio inspect --run train.py\n")
    ran = command("inspect", "--run", "train.py").out
    assert "the name 'reading' does not say that it is the result: search by it, or by another metric above?" in ran
    up, down = ran.splitlines()[-2:]
    assert up == "studio run --optimizer=auto --metric=reading:max --hp=lr=0.05:5:l train.py"
    assert down == up.replace(":max", ":min")
    seen = json.loads(command("inspect", "--run", "--json", "train.py").out)
    assert (seen["sure"], [shlex.join(one) for one in seen["commands"]]) == (False, [up, down])
    assert command("init", "train.py").code == 0
    assert "metric" not in (workdir / "studio.toml").read_text()


@pytest.mark.parametrize("printed", ["'seconds:', 1.5", "'epoch:', 3"])
def test_what_a_run_takes_and_what_it_counts_are_not_taken_for_a_result_without_a_question(script, command, printed):
    script("train.py", f"lr = 0.5\nprint({printed})\n")
    seen = json.loads(command("inspect", "--run", "--json", "train.py").out)
    assert not seen["sure"]
    assert seen["doubt"] or not seen["metrics"]


def test_an_option_without_which_the_script_does_not_start_is_asked_for(script, command):
    parser = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, required=True)\n"
    script("train.py", f"{parser}lr = p.parse_args().lr\nprint('val_loss:', lr, flush=True)\n")
    shown = command("inspect", "train.py").out
    assert shown.startswith(
        "hyperparameter  value  kind    where            range\nlr                     option  train.py:3"
    )
    assert shown.endswith("train.py needs --lr; write:\n\nstudio inspect train.py --lr=VALUE\n")
    assert "flush" not in shown
    assert "flush" in command("inspect", "--all", "train.py").out
    assert "--hp=lr=0.01:1:l train.py --lr=0.1" in command("inspect", "train.py", "--lr=0.1").out.splitlines()[-1]


def test_a_large_project_is_read_within_the_limit_and_the_rest_is_said(script, command, workdir, monkeypatch):
    monkeypatch.setattr(program, "MOST_TEXT", 2000)
    script("train.py", "import near\nimport far\nlr = 0.5\nprint('val_loss:', near.depth * lr)\n")
    script("near.py", "depth = 3\n")
    script("far.py", "width = 64\n" + "# long\n" * 1000)
    seen = json.loads(command("inspect", "--json", "train.py").out)
    assert [one["name"] for one in seen["places"] if one["range"]] == ["lr", "depth"]
    assert seen["command"][-2:] == ["--hp=depth=1:12:i", "train.py"]
    (said,) = [notice for notice in seen["notices"] if "large" in notice]
    assert "1 imported module not read" in said
    assert "--hp=far.py:NAME=RANGE" in said


def test_inspect_takes_out_of_its_command_what_run_refuses(script, command, monkeypatch):
    script("train.py", "lr = 0.5\ndepth = 3\nprint('val_loss:', depth * lr)\n")
    right = proposal.range_for
    monkeypatch.setattr(proposal, "range_for", lambda place: right(place).replace("1:12:i", "12:1:i"))
    seen = json.loads(command("inspect", "--json", "train.py").out)
    assert [word for word in seen["command"] if word.startswith("--hp")] == ["--hp=lr=0.05:5:l"]
    assert any("depth" in notice and "12:1:i" in notice for notice in seen["notices"])


def test_the_table_of_many_places_is_cut_and_names_the_command_that_shows_all(script, command):
    script("train.py", "".join(f"a{n} = 0.{n}1\nprint('a{n}:', a{n})\n" for n in range(1, 61)))
    shown = command("inspect", "train.py").out
    assert "… and 20 more: studio inspect --all shows them" in shown
    assert "… and" not in command("inspect", "--all", "train.py").out


def test_a_search_that_had_no_metric_names_the_search_that_has(script, command):
    script("train.py", "lr = 0.5\nprint('accuracy:', lr)\n")
    asked = ["run", "--project=p", "--hp=lr=0.1:1:l", "train.py"]
    instead = "studio run --hyperparam=lr=0.1:1:l --optimizer=auto --metric=accuracy:max train.py"
    assert f"ended because of failures; search by a metric that it has: {instead}" in command(*asked).err
    refused = command("resume", "p", "--metric=accuracy:max")
    assert refused.code == 2
    assert refused.err == f"studio: --metric of a project cannot be changed; for another search, type {instead}\n"
    assert "--hyperparam=lr=1,2 --optimizer=auto train.py" in command("resume", "--hp", "lr=1,2", "p").err
    unknown = command("resume", "p", "--metrics=accuracy:max")
    assert unknown.err == "studio: No such option: --metrics; see studio resume --help\n"


@pytest.mark.parametrize(
    ("search", "change", "instead"),
    [
        (["--hp=lr=0.1:0.1:0.5", "--hp=n=0:3"], "--optimizer=cma", "lr=0.1:0.5 n=0:3:i --optimizer=cma"),
        (["--hp=lr=0.1:l5:0.5", "--hp=n=1,2"], "--opt=auto", "lr=0.1:0.5:l n=1,2 --optimizer=auto"),
        (["--hp=lr=0.1:0.1:0.5", "--hp=n=0:3"], "--hp=lr=0.1:1:l", "lr=0.1:1:l n=0:3:i --optimizer=auto"),
        (["--hp=lr=0.1:0.1:0.5", "--hp=n=1,2"], "--hp=lr=1:2", "lr=1:2 n=1,2"),
        (["--hp=lr=1:5", "--hp=n=1,2"], "--start-from=lr=3", "lr=1:5:i n=1,2 --optimizer=auto --start-from=lr=3"),
        (
            ["--opt=cma", "-Opopsize=6", "--start-from=lr=0.2", "--hp=lr=0.1:1:l", "--hp=n=0:3"],
            "--optimizer=grid",
            "lr=0.1:l5:1 n=0:3",
        ),
        (
            ["--opt=cma", "-Opopsize=6", "--hp=lr=0.1:1:l", "--hp=n=0:3"],
            "--opt=random",
            "lr=0.1:1:l n=0:3 --optimizer=random",
        ),
        (["--opt=sobol", "--hp=lr=0.1:1:l", "--hp=n=0:3"], "--hp=lr=0:u5:9", "lr=0:9 n=0:3 --optimizer=sobol"),
    ],
)
def test_the_command_for_another_search_is_one_that_works(script, command, search, change, instead):
    script("train.py", "lr = 0.2\nn = 2.0\nprint('fitness:', lr * n)\n")
    assert command("run", "--project=p", "--max-experiments=1", *search, "train.py").code == 0
    refused = command("resume", "p", change).err
    words = shlex.split(refused.partition("for another search, type ")[2])
    ours = instead.replace("lr=", "--hyperparam=lr=", 1).replace(" n=", " --hyperparam=n=").split()
    assert words == ["studio", "run", *ours, "--max-experiments=1", "train.py"], refused
    assert command(*words[1:-1], "--dry-run", "train.py").code == 0


def test_a_script_that_fails_says_why(script, command):
    script("train.py", "print('score: 1')\nraise ValueError('no data')\n")
    shown = command("inspect", "--run", "train.py").out
    assert "notice: the run of the script failed: exit code 1: ValueError: no data\n" in shown


def test_a_script_that_goes_on_when_asked_for_help_is_ended_with_all_that_it_started(
    script, command, tmp_path, monkeypatch
):
    lock = tmp_path / "lock"
    script(
        "train.py",
        f"""
        import fcntl, os, subprocess, sys
        if "--help" in sys.argv:  # of a parser in a library
            held = open({str(lock)!r}, "w")
            fcntl.flock(held, fcntl.LOCK_EX)
            print("  --deep DEEP  how deep (default: 3)", flush=True)
            subprocess.Popen(["sleep", "600"], pass_fds=[held.fileno()], start_new_session=True).wait()
        print("score: 1")
        """,
    )
    monkeypatch.setattr("studio.search.inspection.HELP_TIMEOUT", 1.0)
    seen = json.loads(command("inspect", "--json", "--run", "train.py").out)
    assert [(one["name"], one["value"]) for one in seen["places"] if one["name"] == "--deep"] == [("--deep", 3)]
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # waits for whoever has it


def test_a_file_holds_the_search_and_the_command_line_wins(train, command, workdir):
    assert command("init", "train.py").code == 0
    again = command("init", "train.py")
    assert (again.code, "studio init --force train.py" in again.err) == (2, True)
    text = (workdir / "studio.toml").read_text()
    assert command("run", "--show-config").out == text
    result = command("run", "--project=p", "--max-experiments=2", "--hp=depth=4:5:i")
    assert result.code == 0, result.err
    assert {experiment.values["depth"] for experiment in Project("p").experiments} <= {3, 4, 5}
    assert Project("p").settings["ranges"]["depth"] == "4:5:i"


def test_texts_of_the_file_keep_their_meaning(train, command, workdir):
    shown = command("run", "--show-config", '--env=X=😀 "q"', "--hp=kind='a,b',c", "train.py")
    (workdir / "studio.toml").write_text(shown.out)
    assert command("run", "--show-config").out == shown.out
    (workdir / "studio.toml").write_text(
        'script = "train.py"\nenv = ["X=1"]\n[hyperparams]\nkind = ["a,b", "c"]\nlr = ["1", 2]\n'
    )
    shown = command("run", "--show-config")
    assert "kind = \"'a,b',c\"\nlr = \"'1',2\"\n" in shown.out, shown


def test_options_of_a_backend_are_written_down_and_read(train, command, workdir):
    asked = ["--slurm-partition=gpu", "--slurm-extra=--mem=4G --exclusive"]
    shown = command("run", "--backend=slurm:/shared", *asked, "--hp=lr=0.1", "--show-config", "train.py")
    assert 'slurm_partition = "gpu"\nslurm_extra = "--mem=4G --exclusive"\n' in shown.out, shown.err
    (workdir / "studio.toml").write_text(shown.out)
    assert command("run", "--show-config").out == shown.out
    assert 'slurm_partition = "cpu"' in command("run", "--slurm-partition=cpu", "--show-config").out
    assert "slurm_" not in command("run", "--backend=local", "--show-config").out
    wrong = command("run", "--slurm-partition=gpu", "--show-config", "--backend=local", "train.py")
    assert (wrong.code, "--slurm-partition is an option of slurm" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "studio init train.py"),
        ("script = 3\n", 'script = "train.py"'),
        ('script = "train.py"\nmetrc = "x"\n', "did you mean 'metric'"),
        ("script = \n", "cannot be read"),
        ('script = "train.py"\narguments = "30"\n', "arguments must be a list"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line(text, words, train, command, workdir):
    if text is not None:
        (workdir / "studio.toml").write_text(text)
    result = command("run")
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1


def test_apply_writes_the_best_values(train, command, workdir):
    assert (
        command("run", "--project=p", "--metric=val_loss:min", "--hp=lr=0.2,0.3", "--hp=depth=1,2", "train.py").code
        == 0
    )
    refused = command("apply", "p")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert train.read_text() == SCRIPT
    assert command("apply", "p", "--output=best.patch").code == 0
    assert train.read_text() == SCRIPT
    assert command("apply", "p", "--yes").code == 0
    assert train.read_text() == SCRIPT.replace("default=0.1", "default=0.3").replace("depth = 3", "depth = 1")
    assert "have these values already" in command("apply", "p").err
    assert command("apply", "p/1", "--yes").code == 0
    assert "default=0.2" in train.read_text()


def test_apply_writes_all_files_or_none(script, command, workdir, monkeypatch):
    script("other.py", "sizes = {'depth': 3}\n")
    script("train.py", "import other\nlr = 0.5\nprint('fitness:', lr * other.sizes['depth'])\n")
    assert command("run", "--project=p", "--hp=lr=0.1", "--hp=depth=7", "train.py").code == 0
    before = {path.name: path.read_text() for path in workdir.glob("*.py")}
    real, replaced = os.replace, []

    def refuse_the_second(part, path):
        if str(path).endswith(".py") and str(part).endswith(".part"):
            replaced.append(path)
            if len(replaced) == 2:
                raise OSError(errno.EROFS, "Read-only file system")
        real(part, path)

    monkeypatch.setattr(os, "replace", refuse_the_second)
    refused = command("apply", "p", "--yes")
    assert (refused.code, refused.out.count("+++")) == (2, 2)
    assert refused.err.endswith("Read-only file system: none of them was changed\n")
    assert {path.name: path.read_text() for path in workdir.glob("*.py")} == before
    assert [path for path in workdir.iterdir() if path.suffix == ".part"] == []
    assert command("apply", "p", "--yes").code == 0
    assert (workdir / "other.py").read_text() == "sizes = {'depth': 7}\n"


def test_apply_does_not_say_that_files_have_values_that_are_in_no_file(script, command):
    script("train.py", "import sys\nprint('fitness:', float(sys.argv[1]))\n")
    assert command("run", "--project=p", "--hp=rate=0.25", "--", "python", "train.py", "{rate}").code == 0
    said = command("apply", "p").err
    assert "rate = 0.25" in said
    assert "no file was changed: pass the values as above" in said
    assert "already" not in said


def test_confirm_ranks_by_the_mean_over_seeds(train, command):
    assert command("run", "--project=p", "--metric=val_loss:min", "--hp=lr=0.1,0.2,0.3", "train.py").code == 0
    result = command("confirm", "p", "--top=2", "--replicates=3", "--json")
    assert result.code == 0, result.err
    first, second = json.loads(result.out)
    assert (first["experiment"], second["experiment"]) == ("p/3", "p/2")
    assert first["metric"] == pytest.approx([0.031, 0.032, 0.033])
    assert first["low"] < first["mean"] < first["high"]
    again = json.loads(command("confirm", "p", "--top=2", "--replicates=3", "--json").out)
    assert again == [first, second]
    assert len(Project("p-confirm-3").experiments) == 3


def test_confirm_runs_in_the_folder_of_the_project_with_what_its_script_needs(script, command, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("0.5")
    script(
        "train.py", "import os\nlr = 0.1\nprint('fitness:', lr + float(open(os.pardir + os.sep + 'data/x').read()))\n"
    )
    assert command("run", "--project=p", "--link=../data", "--hp=lr=0.1,0.2", "train.py").code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = command("confirm", "p", "--top=1", "--replicates=2", "--json")
    assert json.loads(result.out)[0]["metric"] == [0.7, 0.7], result.err


def test_confirm_goes_on_where_more_are_asked_for_and_reads_what_is_there(train, command):
    assert command("run", "--project=p", "--metric=val_loss:min", "--hp=lr=0.3", "train.py").code == 0
    for asked, there in [(2, 2), (4, 4), (3, 4)]:
        (one,) = json.loads(command("confirm", "p", f"--replicates={asked}", "--json").out)
        assert one["metric"] == pytest.approx([0.031, 0.032, 0.033, 0.034][:there])
    train.write_text(SCRIPT + "# changed\n")
    (one,) = json.loads(command("confirm", "p", "--replicates=4", "--json").out)
    assert len(one["metric"]) == 4
    more = command("confirm", "p", "--replicates=5")
    assert (more.code, "--accept-changes" in more.err) == (2, True)


def test_confirm_without_a_seed_repeats(script, command):
    script("train.py", "lr = 0.1\nprint('fitness:', lr)\n")
    assert command("run", "--project=p", "--hp=lr=0.1,0.2", "train.py").code == 0
    (first,) = json.loads(command("confirm", "p", "--top=1", "--replicates=2", "--json").out)
    assert (first["metric"], first["mean"], first["low"]) == ([0.2, 0.2], 0.2, None)
    shown = command("confirm", "p", "--top=1", "--replicates=2")
    assert "all runs of p/2 gave the same result, so they prove nothing more than one" in shown.err
    assert shown.err.endswith("write the values into your files: studio apply p/2\n")
