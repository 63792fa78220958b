"""Copies of the record beside the runs: they say what the journal says, and a database made anew from them is the same."""

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.errors import ProjectError, StoreError
from studio.experiment import Outcome
from studio.project.copies import Copies, copied_through, copy_of
from studio.project.lock import is_locked
from studio.project.paths import database
from studio.project.rebuilding import read_copies, rebuild
from studio.project.store import Store

ENDED = Outcome(1, 1, 0, None, "", 10.0, 12.5, 2.25)
IMPATIENT = """
import studio

class Impatient(studio.Optimizer):
    "Counts, and ends what reports less than nothing."
    name = "impatient"

    def __init__(self, space, *, seed):
        self.asked = self.told = 0

    def ask(self):
        if self.asked > self.told:
            return None
        self.asked += 1
        return studio.Suggestion({"x": self.asked % 3 - 1})

    def tell(self, suggestion, fitness):
        self.told += 1

    def report(self, suggestion, step, fitness):
        return fitness < 0
"""
REPORTS = """
import time
x = 1
for _ in range(3):
    print("fitness:", x, flush=True)
time.sleep(5 if x < 0 else 0)
"""
FLAKY = """
import os
lr = 0.1
if lr > 0.05 and os.environ["STUDIO_FOLDER"].endswith("/1"):
    raise SystemExit("no luck")
print("fitness:", -((lr - 0.02) ** 2))
"""
PLAIN = """
lr = 0.1
print("fitness:", -((lr - 0.02) ** 2))
"""
ARRAY = f"from studio import fs_tracker\nassert fs_tracker.get_artifact('w')\n{PLAIN}"
SEARCHES = {  # options, script, experiments of the first session, of both
    "one after the other": (["--optimizer=cma", "--hp=lr=1e-4:1:l"], PLAIN, 4, 6),
    "three at a time": (["--optimizer=random", "--num-workers=3", "--hp=lr=1e-4:1:l"], PLAIN, 5, 8),
    "arrays": (["--optimizer=cma", "--hp=lr=1e-4:1:l", "--hp=w=0:1:2:a"], ARRAY, 3, 4),
    "answered from the record": (["--optimizer=random", "--hp=lr=0.1,0.2"], PLAIN, 20, 30),
    "failed and tried again": (["--optimizer=cma", "--retry-failed=1", "--hp=lr=1e-4:1:l"], FLAKY, 4, 6),
    "with reports": (["--optimizer=impatient.py", "--hp=x=-1:1:i"], REPORTS, 3, 5),
}


def tables(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What the copies are to bring back: events, attempts, and of the settings what resume needs."""
    with contextlib.closing(sqlite3.connect(database(folder))) as connection:
        queries = {
            "events": "SELECT * FROM events ORDER BY id",
            "attempts": "SELECT * FROM attempts ORDER BY number, attempt",
            "meta": "SELECT * FROM meta WHERE key NOT IN ('fence', 'state', 'session', 'taken') AND value != 'null' ORDER BY key",
        }
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}


def said(folder: Path) -> list[tuple[Any, ...]]:
    """What the optimizer was asked and told, without the times."""
    return [(e["kind"], e["number"], str((e["values"], e["point"], e["fitness"]))) for e in read_copies(folder).events]


def lose_database(folder: Path) -> None:
    for path in folder.glob("studio.db*"):
        path.unlink()


# --- the same again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_database_made_anew_is_the_same_and_goes_on_as_if_nothing_had_been(
    kind: str, command: Callable[..., Any], script: Callable[..., Path], home: Path
) -> None:
    options, text, first, both = SEARCHES[kind]
    script("train.py", text)
    script("impatient.py", IMPATIENT)
    for project in ("whole", "lost"):
        search = [f"--project={project}", "--seed=1", *options]
        assert command("run", *search, f"--max-experiments={first}", "train.py").code == 0
    folder = home / "projects" / "lost"
    listed, before = command("runs", "list", "lost", "--json").out, tables(folder)
    lose_database(folder)
    assert command("doctor", "lost", "--rebuild").code == 0
    assert command("runs", "list", "lost", "--json").out == listed
    assert tables(folder) == before
    assert command("doctor", "lost").code == 0
    for project in ("whole", "lost"):
        assert command("resume", project, f"--max-experiments={both}").code == 0
    lost, whole = (said(home / "projects" / project) for project in ("lost", "whole"))
    if "--num-workers=3" in options:  # which end in any order
        lost, whole = sorted(lost), sorted(whole)
    assert lost == whole
    assert command("doctor", "lost").code == 0


def test_a_fresh_start_of_the_optimizer_is_in_the_copy_of_the_project(
    command: Callable[..., Any], script: Callable[..., Path], home: Path
) -> None:
    script("train.py", "x = 1\nprint('fitness:', x)\n")
    optimizer = script("mine.py", IMPATIENT.replace("report(", "unused("))
    search = (
        "run",
        "--project=p",
        "--optimizer=mine.py",
        "--seed=1",
        "--hp=x=-1:1:i",
        "--max-experiments=2",
        "train.py",
    )
    assert command(*search).code == 0
    optimizer.write_text(optimizer.read_text().replace("% 3 - 1", "% 2"))
    assert command("resume", "p", "--accept-changes", "--max-experiments=4").code == 0
    folder = home / "projects" / "p"
    before = tables(folder)
    assert "restart" in {event[1] for event in before["events"]}
    lose_database(folder)
    assert command("doctor", "p", "--rebuild").code == 0
    assert tables(folder) == before
    assert command("resume", "p", "--max-experiments=5").code == 0


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "digits"
    folder.mkdir()
    made = Store.create(folder, {"script": "train.py"})
    yield made
    made.close()


def told(store: Store, *numbers: int) -> None:
    """Experiments with all that the journal says of one."""
    for number in numbers:
        store.ask(number, {"x": number / 3}, [number / 7])
        store.attempt_started(number, 1)
        store.attempt_ended(Outcome(**{**vars(ENDED), "number": number}), "completed", number / 3)
        store.tell(number, number / 3)


def kinds(folder: Path, number: int) -> list[str]:
    return [event["kind"] for event in json.loads(copy_of(folder, number).read_text())["events"]]


def test_what_is_new_is_copied_and_nothing_else_is_touched(store: Store) -> None:
    told(store, 1, 2)
    copies = Copies(store)
    assert copies.write() == ""
    times = {number: copy_of(store.folder, number).stat().st_mtime_ns for number in (None, 1, 2)}
    store.ask(3, {"x": 3}, None)
    assert copies.write() == ""
    assert {number for number, time in times.items() if copy_of(store.folder, number).stat().st_mtime_ns != time} == {
        None
    }
    assert kinds(store.folder, 3) == ["ask"]
    assert copied_through(store.folder) == list(store.events())[-1].id


def test_reports_wait_for_the_next_ask_or_tell_of_any_experiment(store: Store) -> None:
    for number in (1, 2):
        store.ask(number, {"x": number}, None)
    copies = Copies(store)
    copies.write()
    store.report(1, 1, 0.5)
    copies.write()
    assert kinds(store.folder, 1) == ["ask"]
    store.tell(2, 1.0)
    copies.write()
    assert (kinds(store.folder, 1), kinds(store.folder, 2)) == (["ask", "report"], ["ask", "tell"])


def test_a_copy_that_cannot_be_written_stays_due_also_for_later_drivers(store: Store) -> None:
    copies = Copies(store)
    copies.write()
    in_the_way = store.folder / "1"
    in_the_way.write_text("a file")
    told(store, 1, 2)
    assert copies.write().startswith("no copy of the record could be written beside the runs: ")
    assert copies.write() == ""  # said once
    assert [event["number"] for event in read_copies(store.folder).events] == []
    in_the_way.unlink()
    assert Copies(store).write() == ""
    assert read_copies(store.folder).told == {1, 2}


def test_a_journal_that_ends_before_its_copies_is_refused(store: Store) -> None:
    told(store, 1, 2)
    Copies(store).write()
    store._connection.execute("DELETE FROM events WHERE id = (SELECT MAX(id) FROM events)")
    with pytest.raises(StoreError, match=r"older than the copies beside the runs; .*: studio doctor digits --rebuild"):
        Copies(store)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"through": "9"}', '{"through": -1}', '{"through": 1e99}', "[" * 100_000]
)
def test_copies_that_do_not_say_how_far_they_go_are_all_written_again(store: Store, text: str) -> None:
    told(store, 1, 2)
    Copies(store).write()
    copy_of(store.folder, None).write_text(text)
    copy_of(store.folder, 1).unlink()
    assert copied_through(store.folder) == 0
    Copies(store).write()
    assert read_copies(store.folder).told == {1, 2}
    assert read_copies(store.folder).unreadable == []


# --- reading what others left -----------------------------------------------------------------------------------------


@pytest.fixture
def project(store: Store) -> Path:
    """A project `digits` with the outcomes of three experiments, at rest, and their copies."""
    told(store, 1, 2, 3)
    Copies(store).write()
    store.close()
    return store.folder


def edited(**changes: Any) -> Callable[[dict[str, Any]], object]:
    """The first line with `changes`."""
    return lambda copy: copy["events"][0].update(changes)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no events": lambda copy: copy.pop("events"),
    "no attempts": lambda copy: copy.pop("attempts"),
    "no line": lambda copy: copy["events"].clear(),
    "no ask": lambda copy: copy["events"].pop(0),
    "two asks": lambda copy: copy["events"][1].update(kind="ask"),
    "told before it was asked": lambda copy: copy["events"][0].update(id=99),
    "one place for two lines": lambda copy: copy["events"][1].update(id=copy["events"][0]["id"]),
    "two first attempts": lambda copy: copy["attempts"].append(copy["attempts"][0]),
    "events that are a number": lambda copy: copy.update(events=3),
    "a line that is text": lambda copy: copy["events"].append("line"),
    "a kind of its own": edited(kind="boast"),
    "another's number": edited(number=3),
    "a place that is none": edited(id=0),
    "a place that is text": edited(id="2"),
    "a place beyond what SQLite counts": edited(id=2**63),
    "values that are no JSON": edited(values="{"),
    "values that are a list": edited(values="[1]"),
    "values as they are": edited(values={"x": 1}),
    "a point that is no JSON": edited(point="[1,"),
    "a time that is none": edited(at=float("nan")),
    "a lone surrogate": edited(extra='"\ud800"'),
    "a restart": edited(kind="restart", point="5"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_copy_that_no_journal_would_leave_is_left_out(damage: str, project: Path) -> None:
    path = copy_of(project, 2)
    copy = json.loads(path.read_text())
    DAMAGES[damage](copy)
    path.write_text(json.dumps(copy))
    found = read_copies(project)
    assert (found.unreadable, found.told, found.missing) == ([str(path)], {1, 3}, [range(2, 3)])
    lose_database(project)
    assert rebuild(project).unreadable == [str(path)]
    assert {event[2] for event in tables(project)["events"]} == {1, 3}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"\xff\xfe", b"[" * 100_000, b'{"events": [], "attempts": {}}', b"\0" * 500]
)
def test_a_copy_that_is_no_json_object_is_left_out(data: bytes, project: Path) -> None:
    copy_of(project, 2).write_bytes(data)
    assert (read_copies(project).unreadable, read_copies(project).told) == ([str(copy_of(project, 2))], {1, 3})


def test_a_copy_of_another_experiment_is_left_out(project: Path) -> None:
    shutil.copy(copy_of(project, 3), copy_of(project, 2))
    assert (read_copies(project).unreadable, read_copies(project).told) == ([str(copy_of(project, 2))], {1, 3})


def test_a_copy_of_another_project_takes_nothing_from_this_one(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with contextlib.closing(Store.create(other, {"script": "train.py"})) as store:
        told(store, 3, 1, 2)
        Copies(store).write()
    shutil.copy(copy_of(other, 3), copy_of(project, 3))  # whose lines have the places of experiment 1's
    assert (read_copies(project).unreadable, read_copies(project).told) == ([str(copy_of(project, 3))], {1, 2})


def test_folders_that_are_no_experiments_are_passed_over(project: Path) -> None:
    for name in ("0", "007", "²", "9" * 30, "snapshot"):
        (project / name).mkdir()
        shutil.copy(copy_of(project, 1), project / name / "record.json")
    (project / "5").mkdir()
    (project / "6").write_text("a file")
    assert (read_copies(project).unreadable, read_copies(project).told) == ([], {1, 2, 3})


def test_an_experiment_without_a_copy_is_named(project: Path) -> None:
    copy_of(project, 1).unlink()
    copy_of(project, 2).unlink()
    assert read_copies(project).missing == [range(1, 3)]


# --- making it anew ---------------------------------------------------------------------------------------------------


def test_the_old_database_is_kept_under_the_next_free_name(project: Path) -> None:
    for number in (1, 2):
        database(project).write_text(f"damaged {number}")
        Path(f"{database(project)}-wal").write_text(f"log {number}")
        rebuild(project)
        assert (project / f"studio.db.before-{number}").read_text() == f"damaged {number}"
        assert (project / f"studio.db.before-{number}-wal").read_text() == f"log {number}"
    assert database(project).stat().st_mode & 0o077 == 0
    assert not (project / ".rebuild").exists()
    assert not is_locked(project)


def test_a_whole_record_that_knows_more_than_the_copies_stays(project: Path) -> None:
    copy_of(project, 2).unlink()
    before = database(project).read_bytes()
    with pytest.raises(ProjectError, match="'digits' is whole, and 1 of its outcomes have no copy: it stays"):
        rebuild(project)
    assert database(project).read_bytes() == before
    assert not list(project.glob("*before*"))


@pytest.mark.parametrize(
    "text", ["{", '{"meta": {}}', '{"events": [], "attempts": [], "meta": {"settings": []}}', None]
)
def test_without_the_settings_nothing_is_made_anew(project: Path, text: str | None) -> None:
    lose_database(project)
    copy_of(project, None).write_text(text) if text else copy_of(project, None).unlink()
    with pytest.raises(ProjectError, match="'digits' has no copy of its settings"):
        rebuild(project)
    assert not database(project).exists()


def test_the_next_driver_writes_the_copies_of_a_rebuilt_record_anew(project: Path) -> None:
    """What was left out may not stay, and new lines have the places of those that were lost."""
    copy_of(project, 3).write_text("{")
    lose_database(project)
    rebuild(project)
    assert copied_through(project) == 0
    with contextlib.closing(Store.open(project)) as store:
        told(store, 3)
        Copies(store).write()
    assert (read_copies(project).unreadable, read_copies(project).told) == ([], {1, 2, 3})


def test_a_rebuild_waits_for_nobody(project: Path) -> None:
    with contextlib.closing(Store.open(project)), pytest.raises(ProjectError, match="is being run by process"):
        rebuild(project)
