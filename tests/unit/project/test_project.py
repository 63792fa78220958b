"""A project on disk, as programs read it; and where things lie."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import studio
from studio.errors import BadInput, ProjectError
from studio.experiment import Outcome
from studio.project.paths import (
    attempt_folder,
    existing_project_folder,
    project_folder,
    project_names,
    split_key,
    studio_home,
)
from studio.project.project import Project, all_projects
from studio.project.store import Store
from studio.project.summary import improvements
from studio.ranking import ranked
from studio.search.run import remove
from studio.system.files import make_folder


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """The project `digits`: two experiments that ended, one that runs, one that waits."""
    folder = home / "projects" / "digits"
    folder.mkdir(parents=True)
    settings = {"script": "train.py", "optimizer": "random", "metric": "val_loss:min"}
    store = Store.create(folder, settings)
    store.set_meta("seed", 7)
    for number in (1, 2, 3, 4):
        store.ask(number, {"lr": number / 10, "v": np.array([1.0, 2.0])}, None)
    for number, exit_code, value in ((1, 0, 0.5), (2, 1, None)):
        outcome = Outcome(number, 1, exit_code, None, "exit code 1: bad" if exit_code else "", 10.0, 12.0, 2.0)
        store.attempt_started(number, 1)
        store.attempt_ended(outcome, "failed" if exit_code else "completed", value)
        store.tell(number, None if value is None else -value)
    store.attempt_started(3, 1)
    yield store
    store.close()


def test_a_project_is_read_while_it_runs(store: Store, home: Path) -> None:
    project = studio.Project("digits")
    assert repr(project).startswith("<Project 'digits': ")
    assert [e.status for e in project.experiments] == ["completed", "failed", "running", "queued"]
    assert project.experiments[0].values == {"lr": 0.1, "v": [1.0, 2.0]}
    assert (project.metric.name, project.metric.mode, project.sign, project.seed) == ("val_loss", "min", -1.0, 7)
    assert project.settings["script"] == "train.py"
    assert project.state == "running"
    assert project.best is not None
    assert (project.best.number, project.best.fitness) == (1, -0.5)
    store.tell(2, -0.25)
    store.attempt_ended(Outcome(2, 2, 0, None, "", 1.0, 2.0), "completed", 0.25)
    assert project.best.number == 2
    assert project.experiment(3) == project.experiments[2]
    assert project.experiment(9) is None
    assert project.chosen([4, 9, 1]) == [project.experiments[3], project.experiments[0]]


def test_its_summary_is_what_the_list_shows(store: Store) -> None:
    summary = Project("digits").summary()
    assert summary["counts"] == {"completed": 1, "failed": 1, "running": 1, "queued": 1}
    assert (summary["project"], summary["experiments"], summary["optimizer"]) == ("digits", 4, "random")
    assert summary["metric"] == {"name": "val_loss", "mode": "min", "direction": "min"}
    assert summary["best"]["experiment"] == "digits/1"
    assert summary["started"] == "1970-01-01T00:00:10.000Z"


def test_a_programs_pruned_experiments_count_as_pruned(store: Store) -> None:
    store.ask(5, {"lr": 0.5}, None)
    store.tell(5, -0.1, {"pruned": True})
    counts = Project("digits").summary()["counts"]
    assert counts["pruned"] == 1
    assert sum(counts.values()) == len(Project("digits").experiments)


def test_improvements_are_those_of_results_that_count(store: Store) -> None:
    for number, status, fitness in (
        (5, "completed", -0.4),
        (6, "pruned", -0.1),
        (7, "completed", -0.2),
        (8, "completed", -0.3),
    ):
        store.ask(number, {"lr": 0.5}, None)
        store.attempt_started(number, 1)
        store.attempt_ended(Outcome(number, 1, 0, None, "", 10.0, 12.0), status, -fitness)
        store.tell(number, fitness, {"pruned": True} if status == "pruned" else None)
    store.attempt_started(7, 2)  # a retry: what its first attempt had is taken back
    assert improvements(store.folder) == [(1, -0.5), (2, -0.4), (3, -0.3), (3, -0.3)]


def test_its_state_is_how_its_last_session_ended(store: Store) -> None:
    store.close()
    assert Project("digits").state == "interrupted"
    again = Store.open(store.folder)
    again.begin_session()
    again.end_session("time")
    again.close()
    assert Project("digits").state == "time"


def test_the_first_of_equals_is_the_best(store: Store) -> None:
    for number in (4, 3):
        store.attempt_ended(Outcome(number, 1, 0, None, "", 1.0, 2.0), "completed", 0.5)
        store.tell(number, -0.5)
    assert Project("digits").best.number == 1  # type: ignore[union-attr]


def test_a_best_that_a_retry_took_back_gives_way_to_the_next(store: Store) -> None:
    store.tell(3, 1.0)
    store.attempt_ended(Outcome(3, 1, 0, None, "", 1.0, 2.0), "completed", -1.0)
    store.attempt_ended(Outcome(3, 2, 1, None, "", 3.0, 4.0), "failed", None)
    store.tell(3, None)
    project = Project("digits")
    assert [project.best] == ranked(project.experiments) == [project.experiment(1)]
    assert project.summary()["best"]["number"] == 1


def test_a_project_without_experiments_has_no_best(home: Path) -> None:
    (home / "projects" / "empty").mkdir(parents=True)
    Store.create(home / "projects" / "empty", {"script": "a.py"}).close()
    project = Project("empty")
    assert (project.experiments, project.best, project.seed) == ([], None, None)
    assert project.summary()["started"]


def test_a_project_that_does_not_exist_draws_the_close_ones(store: Store, home: Path) -> None:
    with pytest.raises(ProjectError, match=r"there is no project 'digit' in .*; did you mean 'digits'\?"):
        Project("digit")
    (home / "projects" / "half-made").mkdir()
    with pytest.raises(ProjectError, match="there is no project 'half-made'"):
        Project("half-made")


def test_projects_are_those_with_a_database_by_name(store: Store, home: Path) -> None:
    for name in ("zoo", "alpha", "half-made"):
        (home / "projects" / name).mkdir()
    for name in ("zoo", "alpha"):
        Store.create(home / "projects" / name, {}).close()
    (home / "projects" / "stray.txt").touch()
    assert project_names() == ["alpha", "digits", "zoo"]
    assert [project.name for project in all_projects()] == ["alpha", "digits", "zoo"]


def test_without_a_home_there_are_no_projects(home: Path) -> None:
    assert project_names() == []
    assert not home.exists()


def test_a_running_project_is_not_removed_and_another_goes_whole(store: Store) -> None:
    with pytest.raises(ProjectError, match="project 'digits' is being run by"):
        remove("digits")
    store.close()
    (store.folder / "1" / "1").mkdir(parents=True)
    remove("digits")
    assert not store.folder.exists()


def test_where_things_lie(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert studio_home() == home
    assert project_folder("digits") == home / "projects" / "digits"
    assert attempt_folder(Path("/p"), 7, 2) == Path("/p/7/2")
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", "~/.studioml"):
        monkeypatch.setenv("STUDIO_HOME", given)
        assert studio_home() == tmp_path / ".studioml"
    monkeypatch.setenv("STUDIO_HOME", "relative")
    assert studio_home().is_absolute()


@pytest.mark.parametrize("name", ["a", "Digits-2.final_x", "7", "a" * 200])
def test_names_that_are_allowed(home: Path, name: str) -> None:
    assert project_folder(name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "-x", "_x", "a/b", "a b", "ä", "a\n", "a" * 201, "../../etc"])
def test_names_that_are_refused(home: Path, name: str) -> None:
    with pytest.raises(ProjectError, match="is not a project name"):
        project_folder(name)
    with pytest.raises(ProjectError):
        existing_project_folder(name)


def test_keys() -> None:
    assert split_key("digits/7") == ("digits", 7)
    for key in ("digits", "digits/", "digits/0", "digits/x", "digits/-1", "7", ""):
        with pytest.raises(BadInput, match="is not an experiment: write PROJECT/NUMBER"):
            split_key(key)


def test_a_home_that_takes_no_files_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"cannot write to .*: Not a directory; set STUDIO_HOME"):
        make_folder(tmp_path / "file" / "projects")
    make_folder(tmp_path / "new" / "deep")
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o077 == 0
    assert list((tmp_path / "new" / "deep").iterdir()) == []


def test_an_empty_project_without_a_lock_file_has_a_summary(store: Store) -> None:
    with store.transaction():
        store._execute("DELETE FROM events")
    store.close()
    (store.folder / "lock").unlink()
    assert Project("digits").summary()["started"] is not None


def test_values_that_are_no_utf8_come_back(store: Store) -> None:
    values = {"name": "caf\udce9"}  # as the command line gives such a byte
    store.ask(99, values, None)
    store.set_meta("source", {"folder": "/d\udce9r"})
    assert store.meta("source") == {"folder": "/d\udce9r"}
    store.close()
    assert Project("digits").experiments[-1].values == values
