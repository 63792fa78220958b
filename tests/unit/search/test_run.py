"""Starts and resumes of a search that break off."""

import pytest

import studio
from studio.project.lock import is_locked
from studio.search import create_project, resume, run


def broken(*arguments):
    raise OSError("disk")


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (resume.inbox, "discard_stale", lambda: studio.resume("p")),
        (resume, "kill_tree", lambda: studio.resume("p")),
        (run, "kill_tree", lambda: run.remove("p")),
        (create_project, "project_exists", lambda: studio.run("train.py", hyperparams={"lr": "1"}, project="new")),
    ],
)
def test_an_error_before_it_begins_lets_the_project_go(home, script, monkeypatch, module, name, call):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    studio.run("train.py", hyperparams={"lr": "1"}, project="p")
    monkeypatch.setattr(module, name, broken)
    with pytest.raises(OSError, match="disk") as caught:  # which holds on to the frames of the failed call
        call()
    assert caught.traceback
    assert not any(is_locked(folder) for folder in (home / "projects").iterdir())


def test_a_search_whose_optimizer_cannot_be_made_leaves_no_project(home, script):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    script(
        "mine.py",
        """
        from studio import Optimizer

        class Mine(Optimizer):
            name = "mine"
            made = 0

            def __init__(self, space, *, seed):
                Mine.made += 1
                if Mine.made > 1:  # the plan makes one to ask for its size
                    raise RuntimeError("no")

            def ask(self):
                return None

            def tell(self, suggestion, fitness):
                pass
        """,
    )
    with pytest.raises(studio.StudioError, match="no"):
        studio.run("train.py", hyperparams={"lr": "0:1"}, optimizer="mine.py", max_experiments=1, project="p")
    assert list((home / "projects").iterdir()) == []


def test_a_search_that_goes_on_keeps_its_interpreter(home, script, monkeypatch):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    search = {"hyperparams": {"lr": "0:1"}, "optimizer": "random", "project": "p"}
    studio.run("train.py", **search, max_experiments=1)
    monkeypatch.setattr(run, "active_interpreter", lambda: "/no/such/python")  # another environment is active now
    assert studio.resume("p", max_experiments=2).experiments[1].status == "completed"
