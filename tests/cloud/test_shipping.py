"""How runs, their files and their reports travel; and what archives from another machine cannot do."""

import io
import math
import os
import sys
import tarfile
import time
from dataclasses import replace

import numpy as np
import pytest

from studio.backends.queue import archives, shipping
from studio.backends.queue.archives import Unreadable, pack, unpack
from studio.backends.queue.bucket_url import open_bucket
from studio.backends.queue.lease_records import Damaged, JobOutcome, LeaseRecord
from studio.backends.queue.results import WITH_A_BEAT, WITH_AN_OUTCOME, Collected, PassedOn, on_our_clock, outcome_of
from studio.backends.queue.shipping import Shipper, fetch, pack_outputs, run_of, wanted_gpus
from studio.errors import StudioError
from studio.experiment import Metric, Report, Run


@pytest.fixture
def bucket(tmp_path):
    return open_bucket(str(tmp_path / "shared"), create=True)


@pytest.fixture
def run(tmp_path):
    """A run as a driver makes it, with everything that can be in one."""
    project = tmp_path / "home" / "projects" / "p"
    for path, text in {
        project / "source" / "train.py": "print(1)",
        project / "artifacts" / "words": "shared",
        project / "shim" / "studio" / "fs_tracker.py": "",
        tmp_path / "elsewhere" / "seed.txt": "copied",
    }.items():
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return Run(
        project="p",
        number=3,
        attempt=2,
        snapshot=str(project / "source"),
        changes={"train.py": b"print(0.5)\n\xff"},
        values={"lr": 0.1, "v": np.array([1.0, -0.0, 1e-300]), "n": np.array([3, 9]), "word": "adam", "none": None},
        argv=[sys.executable, "train.py", str(project / "3" / "2" / "artifacts" / "v.npy")],
        env={"PYTHONPATH": f"/usr/lib/x:{project / 'shim'}"},
        folder=str(project / "3" / "2"),
        copies={"seed": str(tmp_path / "elsewhere" / "seed.txt")},
        shared={"words": str(project / "artifacts" / "words")},
        links={"data/words": str(project / "artifacts" / "words")},
        metric=Metric("loss", "min"),
    )


def test_a_run_arrives_as_it_was_with_the_paths_of_the_worker(run, bucket, tmp_path):
    project = tmp_path / "home" / "projects" / "p"
    body = Shipper(bucket, project).job_body(run)
    assert str(tmp_path) not in repr({**body, "run": {**body["run"], "changes": {}}}), "no path of the driver's machine"
    folder = tmp_path / "worker" / "x" / "1" / "1"
    arrived = run_of(body, bucket, folder, tmp_path / "cache")
    assert (arrived.folder, arrived.changes, arrived.metric) == (str(folder), run.changes, run.metric)
    assert arrived.argv == [sys.executable, "train.py", str(folder / "artifacts" / "v.npy")]
    for name in ("v", "n"):
        assert arrived.values[name].dtype == run.values[name].dtype
        assert arrived.values[name].tobytes() == run.values[name].tobytes()
    assert {**arrived.values, "v": 0, "n": 0} == {**run.values, "v": 0, "n": 0}
    for path, text in {
        os.path.join(arrived.snapshot, "train.py"): "print(1)",
        arrived.copies["seed"]: "copied",
        arrived.shared["words"]: "shared",
        arrived.links["data/words"]: "shared",
        arrived.env["PYTHONPATH"].removeprefix("/usr/lib/x:") + "/studio/fs_tracker.py": "",
    }.items():
        assert path.startswith(str(tmp_path / "cache"))
        with open(path) as file:
            assert file.read() == text
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["seed.txt"], "nothing was written beside the user's"


def test_what_many_runs_share_travels_once(run, bucket, tmp_path):
    shipper = Shipper(bucket, tmp_path / "home" / "projects" / "p")
    first, second = shipper.job_body(run), shipper.job_body(replace(run, number=4))
    again = Shipper(bucket, tmp_path / "home" / "projects" / "p").job_body(run)
    assert len(list(bucket.list("blobs/"))) == 4
    cache = tmp_path / "cache"
    arrived = [run_of(body, bucket, tmp_path / "x" / "1" / "1", cache) for body in (first, second, again)]
    assert len({one.snapshot for one in arrived}) == 1


def test_blobs_are_as_young_as_their_jobs(run, bucket, tmp_path, monkeypatch):
    """A bucket deletes what is old, whether jobs need it or not."""
    sent = []
    monkeypatch.setattr(bucket, "upload", lambda key, path: sent.append(key))
    shipper = Shipper(bucket, tmp_path / "home" / "projects" / "p")
    shipper.job_body(run)
    first = list(sent)
    shipper.job_body(replace(run, number=4))
    assert sent == first
    Shipper(bucket, tmp_path / "home" / "projects" / "p").job_body(run)
    assert sent == 2 * first, "a later session sends them again"
    days = time.monotonic() + shipping.FRESH
    monkeypatch.setattr(shipping.time, "monotonic", lambda: days)
    shipper.job_body(replace(run, number=5))
    assert sent == 3 * first, "and so does a long one"


MALFORMED = {
    "changes": [],
    "values": [],
    "argv": "train.py",
    "env": {"A": 1},
    "shared": None,
    "metric": [],
    "resources": {"gpus": "all"},
    "number": 2**70,
    "max_duration": "long",
}


@pytest.mark.parametrize("field", MALFORMED)
def test_a_malformed_field_is_unreadable(field, run, bucket, tmp_path):
    body = Shipper(bucket, tmp_path / "home" / "projects" / "p").job_body(run)
    body["run"][field] = MALFORMED[field]
    with pytest.raises(Unreadable, match="not written by this version"):
        run_of(body, bucket, tmp_path / "x", tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("PROJECT/words", True),
        ("--data=PROJECT/words:PROJECT", True),
        ("file://PROJECT", True),
        ("PROJECT0/words", False),
        ("PROJECT-old", False),
        ("PROJECT.bak", False),
        ("/mntPROJECT/words", False),
    ],
)
def test_whole_parts_of_paths_travel(text, moves, run, bucket, tmp_path):
    """An argument below the project p10 is none below p1."""
    project = tmp_path / "home" / "projects" / "p"
    text = text.replace("PROJECT", str(project))
    body = Shipper(bucket, project).job_body(replace(run, argv=[*run.argv, text]))
    arrived = run_of(body, bucket, tmp_path / "worker" / "1" / "1", tmp_path / "cache").argv[-1]
    assert arrived == (text.replace(str(project), str(tmp_path / "worker" / "1")) if moves else text)


@pytest.mark.parametrize("damage", ["", "[]", '{"id": "../x"}'])
def test_a_damaged_name_of_jobs_is_no_new_search(damage, tmp_path):
    (tmp_path / "queue.json").write_text(damage)
    with pytest.raises(StudioError, match="cannot be read"):
        shipping.search_id(tmp_path)
    assert (tmp_path / "queue.json").read_text() == damage


def test_names_of_jobs_survive_a_power_cut(tmp_path, monkeypatch):
    """Synced before they have their name, and so has their folder."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}"))))
    name = shipping.search_id(tmp_path)
    assert [each.startswith(".queue.json") for each in synced] == [True, False]
    assert shipping.search_id(tmp_path) == name


@pytest.mark.parametrize("damage", [lambda body: body.pop("token"), lambda body: body["run"].pop("argv")])
def test_a_job_of_another_version_is_unreadable(damage, run, bucket, tmp_path):
    body = Shipper(bucket, tmp_path / "home" / "projects" / "p").job_body(run)
    damage(body)
    with pytest.raises(Unreadable, match="not written by this version"):
        run_of(body, bucket, tmp_path / "x", tmp_path / "cache")


def test_a_change_outside_the_workspace_is_unreadable(run, bucket, tmp_path):
    body = Shipper(bucket, tmp_path / "home" / "projects" / "p").job_body(replace(run, changes={"../x": b""}))
    with pytest.raises(Unreadable, match="leaves the workspace"):
        run_of(body, bucket, tmp_path / "x", tmp_path / "cache")


def test_a_blob_is_what_its_name_says(run, bucket, tmp_path):
    Shipper(bucket, tmp_path / "home" / "projects" / "p").job_body(run)
    key = next(iter(bucket.list("blobs/")))
    (tmp_path / "other").write_text("other")
    bucket.upload(key, tmp_path / "other")
    with pytest.raises(Unreadable, match="does not match the hash in its name"):
        fetch(bucket, key, tmp_path / "cache")
    with pytest.raises(Unreadable, match="is not a blob"):
        fetch(bucket, "blobs/../../etc.tar", tmp_path / "cache")
    with pytest.raises(Unreadable, match="no longer has blobs/0"):
        fetch(bucket, f"blobs/{'0' * 64}.tar", tmp_path / "cache")


# --- archives ---------------------------------------------------------------------------------------------------------


def test_a_folder_comes_out_as_it_went_in(tmp_path):
    folder = tmp_path / "folder"
    (folder / "empty").mkdir(parents=True)
    (folder / "file").write_bytes(b"\0" * 5000)
    (folder / "tool").write_text("#!/bin/sh")
    (folder / "tool").chmod(0o4755)
    os.link(folder / "file", folder / "second name")
    (folder / "link").symlink_to("file")
    (folder / "empty" / "up").symlink_to("../file")
    (folder / "share").symlink_to("/mnt/data")
    os.mkfifo(folder / "pipe")
    os.utime(folder / "file", (1e9, 1e9))
    pack([("content", folder)], tmp_path / "tar", all_links=True)
    unpack(tmp_path / "tar", tmp_path / "out", trusted=True)
    out = tmp_path / "out" / "content"
    assert sorted(os.listdir(out)) == ["empty", "file", "link", "second name", "share", "tool"]
    assert (out / "file").read_bytes() == (out / "second name").read_bytes() == b"\0" * 5000
    assert (out / "file").stat().st_mtime == 1e9
    assert (out / "tool").stat().st_mode & 0o7777 == 0o755
    assert (out / "empty" / "up").read_bytes() == (out / "file").read_bytes()
    assert os.readlink(out / "share") == "/mnt/data"
    before = (tmp_path / "tar").read_bytes()
    pack([("content", folder)], tmp_path / "tar", all_links=True)
    assert (tmp_path / "tar").read_bytes() == before


def test_outputs_leave_links_behind_that_lead_out_of_them(tmp_path):
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    (tmp_path / "run" / "artifacts" / "kept").write_text("kept")
    (tmp_path / "run" / "artifacts" / "near").symlink_to("kept")
    (tmp_path / "run" / "artifacts" / "far").symlink_to("/etc/passwd")
    (tmp_path / "run" / "artifacts" / "up").symlink_to("../workspace/x")
    (tmp_path / "run" / "workspace").mkdir()
    pack_outputs(tmp_path / "run", tmp_path / "tar")
    unpack(tmp_path / "tar", tmp_path / "out")
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == [
        "artifacts",
        "artifacts/kept",
        "artifacts/near",
    ]


def member(name, kind=tarfile.REGTYPE, linkname="", size=0, **fields):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, linkname, size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("/etc/passwd")],
        [member("../up")],
        [member("a/../../up")],
        [member("./a")],
        [member("a"), member("a")],
        [member("a/link", tarfile.SYMTYPE, "/etc")],
        [member("a/link", tarfile.SYMTYPE, "../../etc")],
        [member("link", tarfile.SYMTYPE, "elsewhere")],
        [member("a/link", tarfile.SYMTYPE, "b/../../../etc")],
        [member("a/b/link", tarfile.SYMTYPE, ".."), member("a/b/link/file")],
        [member("a/file"), member("a/file/below")],
        [member("a/hard", tarfile.LNKTYPE, "/etc/passwd")],
        [member("a/device", tarfile.CHRTYPE)],
        [member("a/disk", tarfile.BLKTYPE)],
        [member("a/pipe", tarfile.FIFOTYPE)],
    ],
    ids=lambda members: " ".join(f"{one.name}-{one.linkname}" for one in members).replace("/", "_"),
)
def test_an_archive_does_not_reach_out_of_its_folder(members, tmp_path):
    with tarfile.open(tmp_path / "tar", "w") as tar:
        for one in members:
            tar.addfile(one)
    with pytest.raises(Unreadable, match="invalid archive"):
        unpack(tmp_path / "tar", tmp_path / "out" / "run")
    assert [path.name for path in tmp_path.iterdir()] in (["tar", "out"], ["out", "tar"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run"]


def test_a_small_archive_makes_no_large_files(tmp_path):
    """Neither compressed ones nor those with holes are taken."""
    with tarfile.open(tmp_path / "zipped", "w:gz") as tar:
        tar.addfile(member("a", size=10**7), io.BytesIO(bytes(10**7)))
    holes = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "a",
        "GNU.sparse.realsize": str(10**15),
    }
    with tarfile.open(tmp_path / "sparse", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member("a", size=512, pax_headers=holes), io.BytesIO(b"1\n0\n1\n".ljust(512, b"\0")))
    for name in ("zipped", "sparse"):
        with pytest.raises(Unreadable):
            unpack(tmp_path / name, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_has_a_number_of_files_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10)
    with tarfile.open(tmp_path / "tar", "w") as tar:
        for number in range(11):
            tar.addfile(member(f"a/{number}"))
    with pytest.raises(Unreadable, match="one too many"):
        unpack(tmp_path / "tar", tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 100, 700, 1300])
def test_an_archive_that_was_cut_off_is_unreadable_or_shorter(keep, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 1000)
    pack([("content", tmp_path / "file")], tmp_path / "tar")
    (tmp_path / "tar").write_bytes((tmp_path / "tar").read_bytes()[:keep])
    with pytest.raises(Unreadable):
        unpack(tmp_path / "tar", tmp_path / "out")


# --- reports ----------------------------------------------------------------------------------------------------------


def collected(values):
    reports = Collected()
    for step, value in enumerate(values):
        reports.add(Report(step, value))
    return reports


@pytest.mark.parametrize(("mode", "value"), [("min", -7.0), ("max", 9.0), ("last", 0.25)])
def test_a_driver_that_misses_most_beats_still_has_the_right_value(mode, value):
    values = [0.5] * 50_000
    values[3], values[30_000], values[-1] = 9.0, -7.0, 0.25
    reports, driver = Collected(), PassedOn(Metric("loss", mode))
    for step, one in enumerate(values):
        reports.add(Report(step, one))
        if step in (20, 20_000, 49_000):
            beat = reports.some(WITH_A_BEAT)
            assert len(beat) <= WITH_A_BEAT + 2
            driver.new(1, beat)
    last = reports.some(WITH_AN_OUTCOME)
    assert len(last) <= WITH_AN_OUTCOME + 2
    driver.new(1, last)
    assert driver.told.value == driver.own.value == value


def test_each_report_is_passed_on_once_and_in_order():
    driver, reports = PassedOn(Metric("loss")), collected([3.0, 1.0])
    assert driver.new(1, reports.some(WITH_A_BEAT)) == [(0, 3.0, ""), (1, 1.0, "")]
    assert driver.new(1, reports.some(WITH_A_BEAT)) == []
    reports.add(Report(None, math.inf))
    assert driver.new(1, reports.some(WITH_A_BEAT)) == [(None, math.inf, "")]


def test_the_reports_of_an_attempt_that_was_lost_are_told_apart():
    driver = PassedOn(Metric("loss", "min"))
    driver.new(1, collected([0.5, 0.1]).some(WITH_A_BEAT))
    assert not driver.mixed
    driver.new(2, collected([0.5]).some(WITH_A_BEAT))
    assert driver.mixed
    driver.new(2, collected([0.5, 0.1]).some(WITH_A_BEAT))
    assert not driver.mixed, "the second attempt came to the same"


@pytest.mark.parametrize(
    "found", [None, 7, "text", [1], [[1, 2]], [["a", 1, 1]], [[1e999, 1, 1]], {"a": 1}, [[1, 10**400, 1]]]
)
def test_reports_that_are_none_are_left_out(found):
    assert PassedOn(Metric("loss")).new(1, found) == []


# --- outcomes ---------------------------------------------------------------------------------------------------------

SOUND = {"number": 9, "attempt": 9, "exit_code": 0, "signal": None, "reason": "", "started": 1e9, "finished": 1e9 + 5}


def test_an_outcome_is_for_the_run_that_the_driver_knows(run):
    outcome = outcome_of(run, 0.0, JobOutcome("j", "finished", {"outcome": SOUND}))
    assert (outcome.number, outcome.attempt, outcome.failed) == (3, 2, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"started": 1e300},
        {"finished": math.nan},
        {"exit_code": "0"},
        {"failure": "made up"},
        {"reason": 5},
        {"more": 1},
    ],
    ids=str,
)
def test_an_outcome_that_cannot_be_is_lost(wrong, run):
    outcome = outcome_of(run, 0.0, JobOutcome("j", "finished", {"outcome": {**SOUND, **wrong}}))
    assert (outcome.failure, outcome.reason) == ("lost", "its worker wrote an outcome that cannot be read")


@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_the_clock_of_a_worker_may_be_wrong(run, hours):
    begun = time.time() - 20
    theirs = {"started": begun + 2 + 3600 * hours, "finished": begun + 12 + 3600 * hours, "duration": 10.0}
    outcome = outcome_of(run, begun, JobOutcome("j", "finished", {"outcome": {**SOUND, **theirs}}))
    ours = on_our_clock(outcome, begun)
    assert begun <= ours.started < ours.finished <= time.time()
    assert ours.finished - ours.started == pytest.approx(10.0)
    assert (ours == outcome) == (hours == 0)


def test_deaths_are_held_against_the_script_and_lost_records_are_not(run):
    dead = JobOutcome("j", "lost", {}, attempt=5, preemptions=2, reason="given up")
    assert outcome_of(run, 0.0, dead).failure == "crash"
    assert outcome_of(run, 0.0, replace(dead, attempt=2)).failure == "lost"
    assert outcome_of(run, 0.0, replace(dead, attempt=10, preemptions=10)).failure == "crash"


@pytest.mark.parametrize(
    "field",
    [{"attempt": 0}, {"attempt": True}, {"attempt": "../../x"}, {"preemptions": -1}, {"body": []}, {"worker": None}],
    ids=str,
)
def test_an_outcome_with_a_field_that_cannot_be_is_lost(field):
    sound = JobOutcome("j", "finished", {}, "w", 1)
    assert JobOutcome.read("j", sound.encoded()) == sound
    found = JobOutcome.read("j", replace(sound, **field).encoded())
    assert (found.job, found.kind, found.attempt) == ("j", "lost", 0)


@pytest.mark.parametrize("ttl", [1e12, 86401, math.inf, math.nan, 0, -1, "1"])
def test_no_lease_is_held_for_ever(ttl):
    sound = LeaseRecord("w", 1, 86400.0)
    assert LeaseRecord.read(sound.encoded()) == sound
    with pytest.raises(Damaged):
        LeaseRecord.read(replace(sound, ttl=ttl).encoded())


@pytest.mark.parametrize("gpus", [math.inf, -math.inf, math.nan, None, "many"])
def test_a_job_that_wants_no_number_of_gpus_is_taken_and_told_so(gpus):
    assert wanted_gpus({"run": {"resources": {"gpus": gpus}}}) == 0


def test_an_outcome_is_of_the_job_under_whose_name_it_stands():
    assert JobOutcome.read("j", JobOutcome("another", "finished", {}, "w", 1).encoded()).job == "j"
    assert JobOutcome.read("j", JobOutcome("j", "stopped", {}).encoded()).kind == "stopped", "nobody took it"
