"""A script that prints without end: memory and disk stay bounded, head and tail stay, and its fitness is found all the same."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.execution import log_cap, runner
from studio.project.project import Project

LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
LIMIT = 1_000_000  # bytes of a log that stay
KEPT = 1.5 * LIMIT + 10_000  # a log that is a little longer is not cut
MEMORY = 300  # MB of the driver

# `flood(data, millions)` prints that many million bytes, as fast as they are taken.
FLOOD = """
import os, time
lr = 1

def say(text):
    data = text if isinstance(text, bytes) else text.encode()
    while data:
        data = data[os.write(1, data):]

def flood(data, millions):
    block = data * (10**6 // len(data) + 1)
    for _ in range(millions):
        say(block[:10**6])

LINE = b"step 12345 loss 0.123456 lr 0.001 \\xe2\\x82\\xac and so on until the end of the line\\n"
"""


@pytest.fixture
def flooding(script):
    """`flooding(text)`: a script that prints a lot."""

    def write(text):
        path = script("train.py", text)
        path.write_text(FLOOD + path.read_text())
        return path

    return write


@pytest.fixture
def log(home):
    return lambda number=1: home / "projects" / "p" / str(number) / "1" / "output.log"


def outcome(number=1):
    found = Project("p").experiments[number - 1]
    return found.status, found.fitness, found.reason


def head_note_tail(data):
    head, note, tail = re.split(
        rb"\n\[studio: ([\d,]+) bytes of the output are left out here; --max-log keeps more\] *\n", data
    )
    return head, int(note.replace(b",", b"")), tail


# --- how much -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("millions", [10_000 if LONG else 100])
def test_a_flood_takes_neither_memory_nor_disk(measured, flooding, log, millions):
    flooding(f"""
        say("the first line\\n")
        flood(LINE, {millions // 2})
        say(f"\\nfitness: {{lr + 41}}\\n")
        flood(LINE, {millions - millions // 2})
        say("\\nthe last line\\n")
    """)
    code, memory = measured("run", "--project=p", "--max-log=1MB", "--hp=lr=1", "train.py", seconds=300)
    assert (code, *outcome()) == (0, "completed", 42, "")
    assert memory < MEMORY
    head, left_out, tail = head_note_tail(log().read_bytes())
    assert head.startswith(b"the first line\nstep 12345 ")
    assert tail.endswith(b"\nthe last line\n")
    assert len(head) > 0.45 * LIMIT
    assert len(tail) > 0.45 * LIMIT
    assert len(head) + left_out + len(tail) == millions * 10**6 + len(
        "the first line\n\nfitness: 42\n\nthe last line\n"
    )
    assert log().stat().st_size <= KEPT
    assert os.listdir(log().parent).count("output.part") == 0


def test_disk_is_given_back_while_it_still_runs(command, flooding, log):
    """This script waits for room: without holes it would never end."""
    flooding("""
        say("the first line\\n")
        for _ in range(60):
            flood(LINE, 1)
            while os.fstat(1).st_blocks * 512 > 20_000_000:
                time.sleep(0.005)
        print("fitness:", lr, os.fstat(1).st_size > 60_000_000, flush=True)
        print("fitness:", lr)
    """)
    result = command("run", "--project=p", "--max-log=1MB", "--max-duration=60s", "--hp=lr=1", "train.py")
    assert (result.code, *outcome()) == (0, "completed", 1, ""), result.err
    assert b"fitness: 1 True\n" in log().read_bytes()
    assert log().stat().st_size <= KEPT


# --- what -------------------------------------------------------------------------------------------------------------

# Whatever comes: much of it, a fitness in the midst, as much again, another one at the end.
KINDS = {
    "random bytes": "os.urandom(1 << 16)",
    "zeros": "bytes(1000)",
    "no text at all": "bytes(range(256))",
    "broken UTF-8": r"b'\xff\xfe caf\xe9 \xe2\x82 \xf0\x9f\n'",
    "a progress bar": r"b'\r 12%|####      | 12/100 [00:01<00:10, 9.1it/s, fitness: 3]'",
    "colours": r"b'\x1b[2K\x1b[1;32mstep\x1b[0m 7 \x1b]0;title\x07\x1b[1A\n'",
    "a beginning without an end": r"b'\x1b[' + b'0;' * 40_000 + b'\n'",
    "blank lines": r"b'\n'",
    "fitness that is none": r"b'fitness: 1 or 2\nmy fitness: 3\nfitness:\n'",
}


def test_whatever_is_printed_the_fitness_in_it_is_found(command, flooding, log):
    ways = ", ".join(KINDS.values())
    flooding(f"""
        data = [{ways}][lr]
        flood(data, 4)
        say(f"\\n\\x1b[1mfitness: {{lr - 80}}\\x1b[0m\\r\\n")
        flood(data, 4)
        say(f"\\rfitness: {{lr}}\\r\\n")
    """)
    options = ["--metric=fitness:min", "--max-log=1MB", "--num-workers=2", f"--hp=lr=0:{len(KINDS) - 1}"]
    result = command("run", "--project=p", *options, "train.py")
    assert result.code == 0, result.err
    for found in Project("p").experiments:
        lr = found.number - 1
        assert (found.status, found.metric["value"], found.fitness) == ("completed", lr - 80, 80 - lr)
        assert log(found.number).stat().st_size <= KEPT
        assert head_note_tail(log(found.number).read_bytes())[2].endswith(f"fitness: {lr}\r\n".encode())
        json.loads(command("runs", "logs", f"p/{found.number}", "--json").out)


@pytest.mark.parametrize(("metric", "value"), [("fitness", 3), ("fitness:max", 17)])
def test_values_that_were_cut_out_count(command, flooding, log, metric, value):
    flooding("""
        say("fitness: 5\\n")
        flood(LINE, 3)
        say("\\nfitness: -9\\nfitness: 17\\n")
        flood(LINE, 3)
        say("\\nfitness: 3\\n")
        flood(LINE, 3 * lr)
    """)
    result = command("run", "--project=p", f"--metric={metric}", "--max-log=1MB", "--hp=lr=1", "train.py")
    assert result.code == 0, result.err
    (found,) = Project("p").experiments
    assert found.metric["value"] == value
    assert b"fitness: 17" not in log().read_bytes()


# --- while it runs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(driver, flooding, log, until, notes):
    """A script that printed 20 MB, of which all but head and tail were given back. `running()` lets it go on."""
    flooding("""
        say("the first line\\n")
        flood(LINE, 20)
        say("\\nhalfway\\n")
        while not os.path.exists(os.environ["NOTES"]):
            time.sleep(0.01)
        flood(LINE, 20)
        say(f"\\nfitness: {lr}\\nthe last line\\n")
    """)
    one = driver("run", "--project=p", "--max-log=1MB", "--hp=lr=1", "train.py")
    until(lambda: log().exists() and log().stat().st_size > 20_000_000 and log().stat().st_blocks * 512 < 2 * LIMIT)

    def go_on():
        notes.path.touch()
        return one

    return go_on


def test_logs_of_a_running_flood_leave_the_hole_out(running, command):
    studio = Path(sys.executable).with_name("studio")
    shown = subprocess.run([studio, "runs", "logs", "p/1"], capture_output=True, check=True).stdout
    assert b"\0" not in shown
    head, left_out, tail = head_note_tail(shown)
    assert head.startswith(b"the first line\n")
    assert tail.endswith(b"\nhalfway\n")
    printed = 20_000_000 + len("the first line\n\nhalfway\n")
    assert printed <= len(head) + left_out + len(tail) <= printed + 12  # the hole may begin and end within a character
    assert "€".encode() in shown[-LIMIT // 4 :]
    assert len(shown) < 2 * LIMIT
    data = json.loads(command("runs", "logs", "p/1", "--json").out)
    assert data["output"] == shown.decode(errors="replace")
    assert running().wait() == 0


def test_who_follows_a_flood_sees_its_end(running, driver, until):
    """At the end the log is written anew, and shorter: the follower has read beyond that already."""
    follower = driver("runs", "logs", "p/1", "-f")
    until(lambda: "halfway" in follower.out)
    assert running().wait() == 0
    assert follower.wait() == 0, follower.err
    assert follower.out.startswith("the first line\n")
    assert follower.out.endswith("\nfitness: 1\nthe last line\n")
    assert "\0" not in follower.out


# --- where there are no holes -------------------------------------------------------------------------------------------


@pytest.fixture
def no_holes(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(log_cap, "_punch_hole", refuse)
    monkeypatch.setattr(runner, "GRACE", 0.3)


def test_where_a_log_cannot_be_thinned_out_the_experiment_ends_at_its_limit(command, flooding, log, no_holes):
    flooding("""
        say(f"fitness: {lr}\\n")
        while lr == 2:
            flood(LINE, 1)
            time.sleep(0.05)
        flood(LINE, 1)
    """)
    result = command("run", "--project=p", "--max-log=1MB", "--hp=lr=1:3", "train.py")
    assert result.code == 3
    assert [outcome(number)[:2] for number in (1, 2, 3)] == [("completed", 1), ("failed", None), ("completed", 3)]
    second = Project("p").experiments[1]
    assert second.reason.startswith(
        "printed more than 1.0 MB (--max-log), on a file system that cannot shorten a running log: step 12345"
    )
    assert (second.failure, second.exit_code) == ("crash", None)
    assert all(log(number).stat().st_size <= KEPT for number in (1, 2, 3))


def test_the_fitness_of_a_log_whose_middle_is_gone_survives_the_driver(flooding, driver, command, home, notes):
    flooding("""
        open(os.environ["NOTES"], "a").write("p/1 begins\\n")
        say("-" * 100_000 + f"\\nfitness: {lr + 6}\\n" + "-" * 100_000)
    """)
    dies = ("before", "studio.project.store:Store.attempt_ended", 1)
    assert driver("run", "--project=p", "--max-log=20kB", "--hp=lr=1", "train.py", dies=dies).wait() == -signal.SIGKILL
    folder = home / "projects" / "p" / "1" / "1"
    assert json.loads((folder / "outcome.json").read_text())["metric"] == 7
    assert "fitness" not in (folder / "output.log").read_text()
    assert command("resume", "p").code == 0
    assert (*outcome(), notes.count("begins")) == ("completed", 7, "", 1)
