"""A script that prints without end: memory and disk stay bounded, head and tail stay, and its fitness is found all the same."""

import errno
import json
import os
import re
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


@pytest.mark.parametrize("millions", [10_000 if LONG else 1000])
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
        for _ in range(200):
            flood(LINE, 1)
            while os.fstat(1).st_blocks * 512 > 40_000_000:
                time.sleep(0.005)
        print("fitness:", lr, os.fstat(1).st_size > 200_000_000, flush=True)
        print("fitness:", lr)
    """)
    result = command("run", "--project=p", "--max-log=1MB", "--max-duration=60s", "--hp=lr=1", "train.py")
    assert (result.code, *outcome()) == (0, "completed", 1, ""), result.err
    assert b"fitness: 1 True\n" in log().read_bytes()
    assert log().stat().st_size <= KEPT


def test_one_line_without_an_end(measured, flooding, log):
    flooding("""
        say(f"fitness: {lr + 1}\\n")
        flood(b"x", 1000)
    """)
    code, memory = measured("run", "--project=p", "--max-log=1MB", "--hp=lr=1", "train.py")
    assert (code, *outcome()) == (0, "completed", 2, "")
    assert memory < MEMORY
    head, _, tail = head_note_tail(log().read_bytes())
    assert head.startswith(b"fitness: 2\nxxx")
    assert set(tail) == {ord("x")}


def test_a_fitness_behind_an_endless_line_counts(command, flooding):
    flooding("""
        flood(b"x", 200)
        say(f"\\nfitness: {lr}\\n")
    """)
    result = command("run", "--project=p", "--max-log=1MB", "--hp=lr=1", "train.py")
    assert (result.code, *outcome()) == (0, "completed", 1, "")


def test_an_endless_line_that_fails_has_a_short_reason(command, flooding):
    flooding("""
        flood(b"x", 50)
        raise SystemExit(lr + 2)
    """)
    assert command("run", "--project=p", "--max-log=1MB", "--hp=lr=1", "train.py").code == 1
    assert outcome() == ("failed", None, "exit code 3: " + "x" * 300)


def test_several_floods_at_once(measured, flooding, log):
    flooding("""
        flood(LINE, 30)
        say(f"\\nfitness: {lr}\\n")
        flood(LINE, 30)
    """)
    code, memory = measured("run", "--project=p", "--num-workers=4", "--max-log=1MB", "--hp=lr=1:4", "train.py")
    assert code == 0
    assert [outcome(number) for number in range(1, 5)] == [("completed", number, "") for number in range(1, 5)]
    assert memory < MEMORY
    assert all(log(number).stat().st_size <= KEPT for number in range(1, 5))


# --- what -------------------------------------------------------------------------------------------------------------

# Whatever comes: 60 MB of it, a fitness in the midst, 60 MB of it, another one at the end.
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


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_printed_the_fitness_in_it_is_found(command, flooding, log, kind):
    flooding(f"""
        data = {KINDS[kind]}
        flood(data, 20)
        say(f"\\n\\x1b[1mfitness: {{lr - 8}}\\x1b[0m\\r\\n")
        flood(data, 20)
        say(f"\\rfitness: {{lr}}\\r\\n")
    """)
    result = command("run", "--project=p", "--metric=fitness:min", "--max-log=1MB", "--hp=lr=1", "train.py")
    assert result.code == 0, result.err
    (found,) = Project("p").experiments
    assert (found.status, found.metric["value"], found.fitness) == ("completed", -7, 7)
    assert log().stat().st_size <= KEPT
    assert head_note_tail(log().read_bytes())[2].endswith(b"fitness: 1\r\n")
    json.loads(command("runs", "logs", "p/1", "--json").out)


@pytest.mark.parametrize(("metric", "value"), [("fitness", 3), ("fitness:min", -9), ("fitness:max", 17)])
def test_values_that_were_cut_out_count(command, flooding, log, metric, value):
    flooding("""
        say("fitness: 5\\n")
        flood(LINE, 10)
        say("\\nfitness: -9\\nfitness: 17\\n")
        flood(LINE, 10)
        say("\\nfitness: 3\\n")
        flood(LINE, 10 * lr)
    """)
    result = command("run", "--project=p", f"--metric={metric}", "--max-log=1MB", "--hp=lr=1", "train.py")
    assert result.code == 0, result.err
    (found,) = Project("p").experiments
    assert found.metric["value"] == value
    assert b"fitness: 17" not in log().read_bytes()


def test_nothing_but_fitness_lines(measured, flooding):
    flooding("""
        flood(b"fitness: 1\\n", 5)
        say("\\nfitness: 8\\n")
        flood(b"fitness: 1\\n", 5)
        say(f"\\nfitness: {lr + 1}\\n")
    """)
    options = ("--metric=fitness:max", "--max-log=1MB", "--hp=lr=1")
    code, memory = measured("run", "--project=p", *options, "train.py")
    assert (code, *outcome()) == (0, "completed", 8, "")
    assert memory < MEMORY


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


def test_one_that_ends_before_that_is_seen_keeps_head_and_tail(command, flooding, log, no_holes, monkeypatch):
    monkeypatch.setattr(runner, "READ_EVERY", 60)
    flooding("""
        say(f"fitness: {lr}\\n")
        flood(LINE, 20)
    """)
    result = command("run", "--project=p", "--max-log=1MB", "--hp=lr=1", "train.py")
    assert (result.code, *outcome()) == (0, "completed", 1, "")
    head_note_tail(log().read_bytes())
    assert log().stat().st_size <= KEPT


# --- how much is kept ---------------------------------------------------------------------------------------------------


def test_without_the_option_a_hundred_million_bytes_stay(command, flooding, log):
    flooding("""
        flood(LINE, 90)
        say(f"\\nfitness: {lr}\\n")
    """)
    assert command("run", "--project=p", "--hp=lr=1", "train.py").code == 0
    assert log().stat().st_size == 90 * 10**6 + len("\nfitness: 1\n")


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1XB", "nan"])
def test_a_limit_that_is_no_size_is_one_line(command, flooding, home, text):
    flooding("print(lr)")
    result = command("run", f"--max-log={text}", "--hp=lr=1", "train.py")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert f"--max-log {text!r} is not a size; write for example 500MB or 2GB" in result.err
    assert not home.exists()
