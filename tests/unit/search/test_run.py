"""Starts and resumes of a search that break off."""

import pytest

import studio
from studio.project.lock import is_locked
from studio.search import creation, resume, run


def broken(*arguments):
    raise OSError("disk")


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (resume.inbox, "discard_stale", lambda: studio.resume("p")),
        (resume, "kill_tree", lambda: studio.resume("p")),
        (run, "kill_tree", lambda: run.remove("p")),
        (creation, "project_exists", lambda: studio.run("train.py", hyperparams={"lr": "1"}, project="new")),
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
