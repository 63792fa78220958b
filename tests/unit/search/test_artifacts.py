"""Files that go into experiments and come out of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Prints what the artifacts of this run hold, as JSON.
SHOW = """
    import json, os
    from studio import fs_tracker

    lr = 1
    def content(path):
        if os.path.isdir(path):
            return {name: content(os.path.join(path, name)) for name in sorted(os.listdir(path))}
        return open(path).read()
    print(lr, json.dumps({tag: content(path) for tag, path in fs_tracker.get_artifacts().items() if os.path.exists(path)}))
"""


def shown(experiment):
    return json.loads(Path(experiment["folder"], "output.log").read_text().partition(" ")[2])


def kept(experiment, tag):
    return Path(experiment["folder"], "artifacts", tag)


# --- --capture --------------------------------------------------------------------------------------------------------


def test_capture_of_what_the_script_makes(experiments, script):
    script(
        "train.py",
        """
        import os
        from studio import fs_tracker

        lr = 1
        assert os.path.abspath("out/model") == fs_tracker.get_artifact("model")
        os.makedirs("out/model")
        open("out/model/weights", "w").write(str(lr))
        open("log.txt", "w").write(f"log {lr}")
        """,
    )
    options = ("--keep=none", "--capture=out/model:model", "--capture=./log.txt:log", "--capture=never:never")
    for experiment, lr in zip(experiments(*options, "--hp=lr=1,2", "train.py"), (1, 2), strict=True):
        assert not Path(experiment["folder"], "workspace").exists()
        assert kept(experiment, "model").joinpath("weights").read_text() == str(lr)
        assert kept(experiment, "log").read_text() == f"log {lr}"
        assert not kept(experiment, "never").exists()


def test_capture_of_what_lies_outside_is_a_copy_for_each(experiments, script, tmp_path):
    outside = tmp_path / "start"
    outside.mkdir()
    (outside / "weights").write_text("0")
    script(
        "train.py",
        """
        from studio import fs_tracker

        lr = 1
        path = fs_tracker.get_artifact("start") + "/weights"
        assert open(path).read() == "0"
        open(path, "w").write(str(lr))
        """,
    )
    found = experiments(f"--capture={outside}:start", "--hp=lr=1,2", "train.py")
    assert [kept(experiment, "start").joinpath("weights").read_text() for experiment in found] == ["1", "2"]
    assert (outside / "weights").read_text() == "0"


def test_a_capture_that_never_came_is_said(experiments, script):
    script("train.py", "lr = 1\nraise SystemExit(lr - 1)\n")
    good, bad = experiments("--capture=out/model:model", "--hp=lr=1,2", "train.py", code=3)
    assert good["reason"] == "model was not saved: the script did not make out/model"
    assert bad["reason"] == "exit code 1"  # which says enough


def test_capture_of_a_failed_experiment(experiments, script):
    script("train.py", "lr = 1\nopen('log.txt', 'w').write(f'log {lr}')\nraise SystemExit(1)\n")
    (found,) = experiments("--capture=log.txt:log", "--hp=lr=1", "train.py", code=1)
    assert kept(found, "log").read_text() == "log 1"


# --- --capture-once ---------------------------------------------------------------------------------------------------


def test_capture_once_is_one_copy_that_all_share(experiments, script, workdir, tmp_path, home):
    script("data/numbers.txt", "1 2 3")
    (tmp_path / "outside.txt").write_text("outside")
    script("train.py", SHOW + '    print(open("data/numbers.txt").read(), os.path.islink("data"))\n')
    options = ("--capture-once=data:data", f"--capture-once={tmp_path}/outside.txt:text", "--project=p")
    found = experiments(*options, "--hp=lr=1,2", "train.py")
    inodes = set()
    for experiment in found:
        first, second = Path(experiment["folder"], "output.log").read_text().splitlines()
        assert json.loads(first.partition(" ")[2]) == {"data": {"numbers.txt": "1 2 3"}, "text": "outside"}
        assert second == "1 2 3 True"  # a path of the source works as before, and is not copied
        inodes.add(os.stat(Path(experiment["folder"], "workspace", "data", "numbers.txt")).st_ino)
    assert len(inodes) == 1
    shared = home / "projects" / "p" / "artifacts"
    assert not any(path.stat().st_mode & 0o222 for path in shared.glob("*/**/*"))  # no experiment writes for the others
    assert not (home / "projects" / "p" / "source" / "data").exists()
    assert (home / "projects" / "p" / "artifacts" / "data" / "numbers.txt").read_text() == "1 2 3"


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root writes everything")
def test_no_experiment_writes_into_what_all_share(script, home):
    """A write, a new file and a removal fail; later experiments and a resume find what the first one found."""
    script("data/numbers.txt", "1")
    script(
        "train.py",
        """
        import os
        lr = 1
        for change in (lambda: open("data/numbers.txt", "a"), lambda: open("data/more", "w"), lambda: os.remove("data/numbers.txt")):
            try:
                change()
            except PermissionError:
                continue
            raise SystemExit("written")
        print("fitness:", lr)
        """,
    )
    # A root that owns them but has no right to pass over permissions.
    without_rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    run = [*without_rights, Path(sys.executable).with_name("studio"), "run", "--project=p", "--capture-once=data:data"]
    subprocess.run([*run, "--quiet", "--hp=lr=1,2", "train.py"], check=True, timeout=60)
    assert (home / "projects" / "p" / "artifacts" / "data" / "numbers.txt").read_text() == "1"


def test_capture_once_is_a_snapshot(command, script, workdir):
    """A change after the start reaches no experiment, and the script does not change the user's own file."""
    script("data.txt", "before")
    text = f"    open('{workdir}/data.txt', 'w').write('after')\n"
    script("train.py", SHOW.replace("    lr = 1\n", text + "    lr = 1\n"))
    result = command("run", "--json", "--capture-once=data.txt:data", "--hp=lr=1,2", "train.py")
    assert [shown(experiment) for experiment in json.loads(result.out)] == [{"data": "before"}] * 2


def test_capture_once_makes_a_large_folder_small(command, script):
    script("data/large.bin", "0" * 5000)
    script("train.py", "lr = 1\nprint(lr)\n")
    result = command("run", "--max-workspace=2kB", "--hp=lr=1", "train.py")
    assert result.code == 2
    assert "data (5.0 kB)" in result.err
    assert "--capture-once data:data" in result.err
    assert command("run", "--max-workspace=2kB", "--capture-once=data:data", "--hp=lr=1", "train.py").code == 0
    script("data/small.txt", "small")
    script("train.py", "import os\nlr = 1\nprint(lr, sorted(os.listdir('data')), len(open('data/large.bin').read()))\n")
    options = ("--project=p", "--max-workspace=2kB", "--capture-once=data/large.bin:data")
    assert command("run", *options, "--hp=lr=1", "train.py").code == 0
    assert command("runs", "logs", "p/1").out == "1 ['large.bin', 'small.txt'] 5000\n"


# --- --reuse ----------------------------------------------------------------------------------------------------------


def test_reuse(command, experiments, script):
    script(
        "first.py",
        "import os\nlr = 1\nopen('../modeldir/w', 'w').write(str(lr))\nopen('log', 'w').write(f'log {lr}')\n",
    )
    experiments("--project=first", "--capture=log:log", "--hp=lr=1,2", "first.py")
    script("second.py", SHOW)
    options = ("--reuse=first/2/modeldir:start", "--reuse=first/1/log:old", "--project=second")
    (found,) = experiments(*options, "--hp=lr=5", "second.py")
    assert shown(found) == {"start": {"w": "2"}, "old": "log 1"}

    assert command("rm", "first", "--yes").code == 0  # what was reused is a copy
    (again,) = json.loads(command("retry", "second", "1", "--json").out)
    assert shown(again) == {"start": {"w": "2"}, "old": "log 1"}


def test_reuse_takes_the_latest_attempt(command, experiments, script):
    script(
        "first.py",
        "import os\nlr = 1\nopen('../modeldir/w', 'w').write(os.path.basename(os.path.dirname(os.getcwd())) + str(lr))\n",
    )
    experiments("--project=first", "--hp=lr=1", "first.py")
    command("retry", "first", "1", "--quiet")
    script("second.py", SHOW)
    (found,) = experiments("--reuse=first/1/modeldir:start", "--hp=lr=5", "second.py")
    assert shown(found) == {"start": {"w": "21"}}


def test_reuse_of_an_array(experiments, script):
    script(
        "first.py", "import numpy as np\nfrom studio import fs_tracker\nlr = np.load(fs_tracker.get_artifact('lr'))\n"
    )
    options = ("--optimizer=random", "--seed=1", "--max-experiments=1", "--hp=lr=0:1:3:a")
    (first,) = experiments("--project=first", *options, "first.py")
    script(
        "second.py",
        """
        import numpy as np
        from studio import fs_tracker

        x = 1
        print("fitness:", x * np.load(fs_tracker.get_artifact("best")).sum())
        """,
    )
    (second,) = experiments("--reuse=first/1/lr:best", "--hp=x=1", "second.py")
    assert second["fitness"] == pytest.approx(sum(first["values"]["lr"]))


# --- fs_tracker -------------------------------------------------------------------------------------------------------


def test_a_script_alone(script):
    script(
        "train.py",
        """
        import os
        from studio import fs_tracker

        assert fs_tracker.get_experiment_key() is None
        assert fs_tracker.get_artifacts() == {}
        for name, folder in (("tb", fs_tracker.get_tensorboard_dir()), ("modeldir", fs_tracker.get_model_directory())):
            assert os.path.samefile(folder, name)
        print(os.path.relpath(fs_tracker.get_artifact("data")))
        """,
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO_")}
    done = subprocess.check_output([sys.executable, "train.py"], text=True, env=environment)
    assert done == "artifacts/data\n"


@pytest.mark.parametrize("tag", ["..", ".hidden", "a/b", "-x", "a b", "ä", "a\n"])
def test_hostile_tags(command, script, home, tag):
    script("train.py", "lr = 1\nprint(lr)\n")
    for option in (f"--capture=train.py:{tag}", f"--capture-once=train.py:{tag}", f"--reuse=p/1/x:{tag}"):
        result = command("run", option, "--hp=lr=1", "train.py")
        assert (result.code, result.err.count("\n")) == (2, 1), option
    assert not home.exists()


@pytest.mark.parametrize("option", ["--capture=train.py", "--capture-once=train.py"])
def test_endless_tag(command, script, option):
    script("train.py", "lr = 1\nprint(lr)\n")
    result = command("run", f"{option}:{'x' * 300}", "--hp=lr=1", "train.py")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "--capture" in result.err  # it is the tag, not the working directory, that cannot be copied


def test_hostile_reuse(command, script, recorded):
    script("train.py", "lr = 1\nprint(lr)\n")
    recorded("p", [({"lr": 1}, 0.5)])
    for text in ("p/1/../../x:a", "p/1/..:a", "p/1/.:a", "../p/1/x:a", "p/one/x:a", "p/1/:a"):
        result = command("run", f"--reuse={text}", "--hp=lr=1", "train.py")
        assert (result.code, result.err.count("\n")) == (2, 1), text


def test_tags_are_used_once(command, script, home):
    script("train.py", "lr = 1\nprint(lr)\n")
    for first, second in (
        ("--capture=a:t", "--capture=b:t"),
        ("--capture=a:t", "--capture-once=train.py:t"),
        ("--capture-once=train.py:t", "--reuse=p/1/x:t"),
    ):
        result = command("run", first, second, "--hp=lr=1", "train.py")
        assert result.code == 2
        assert "the same tag" in result.err
    assert not home.exists()
