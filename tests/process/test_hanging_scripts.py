"""A script that hangs, in whatever way, is ended at its limit with all that it started; the search goes on with the next."""

import os
import signal
import threading
import time

import pytest

from studio.execution import runner
from studio.project.project import Project

SECONDS = 1.0  # the limit: enough for the next script, which does nothing, on a busy machine

WAYS = {
    "sleeps": "sleep()",
    "loops": "while True: pass",
    "is stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "is stopped with its children": "child(); daemon(); note(f'up {os.getpid()}'); os.killpg(0, signal.SIGSTOP)",
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN); sleep()",
    "ignores SIGTERM and is stopped": "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGSTOP)",
    "blocks all signals": "signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals()); sleep()",
    "answers SIGTERM with more": "signal.signal(signal.SIGTERM, lambda *_: child()); sleep()",
    "closes its stdout and stderr": "os.close(1); os.close(2); sleep()",
    "closes all its files": "os.closerange(0, 100); sleep()",
    "waits for its stdin": "sys.stdin.read(); sleep()",
    "waits for a child that hangs": "child(); os.wait()",
    "leaves its session": "pid = os.fork(); os.setsid() if pid == 0 else note(f'child {pid}'); sleep()",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.3)


@pytest.fixture
def search(command, tree, nothing_stays):
    """A search whose experiment 1 hangs in some way, and 2 does not."""

    def carry_out(way):
        lines = [f"if lr == 1: {part}" for part in way.split("; ")] if way[0] != "w" else ["if lr == 1:", f"    {way}"]
        tree("train.py", "\n".join(["lr = 1", "note(f'up {os.getpid()}')", *lines, "print('fitness:', lr)"]))
        return command("run", "--project=p", f"--max-duration={SECONDS:g}s", "--hp=lr=1:2", "train.py")

    return carry_out


def check(result, notes, alive):
    assert result.code == 3, result.err
    first, second = Project("p").experiments
    assert (first.status, first.exit_code, first.fitness) == ("failed", None, None)
    assert first.reason.startswith(f"took longer than {SECONDS:g} s")
    assert SECONDS <= first.duration < 10
    assert (second.status, second.fitness, second.reason) == ("completed", 2, "")
    assert notes.of("p/1", "up")
    assert not any(map(alive, notes.processes()))


@pytest.mark.parametrize("way", WAYS)
def test_a_script_that_hangs_is_ended_at_its_limit(search, notes, alive, way):
    check(search(WAYS[way]), notes, alive)


def test_a_script_that_is_stopped_from_outside_is_ended_at_its_limit(search, notes, alive, until):
    def stop():
        (script,) = until(lambda: notes.of("p/1", "up"))
        os.kill(script, signal.SIGSTOP)

    stopping = threading.Thread(target=stop)
    stopping.start()
    result = search("sleep()")
    stopping.join()
    check(result, notes, alive)


def test_its_last_line_stands_beside_the_limit(search):
    assert search("print('epoch 3', flush=True); sleep()").code == 3
    assert Project("p").experiments[0].reason == f"took longer than {SECONDS:g} s: epoch 3"


def test_a_script_that_ends_but_for_its_daemon_is_over_at_once(search, notes, alive):
    """The daemon holds its output open, and does not count as the script."""
    begun = time.monotonic()
    result = search("pid = os.fork(); pid or os.setsid(); pid or sleep(); note(f'daemon {pid}')")
    assert result.code == 0, result.err
    assert [e.fitness for e in Project("p").experiments] == [1, 2]
    assert time.monotonic() - begun < 10
    assert notes.of("p/1", "daemon")
    assert not any(map(alive, notes.processes()))


def test_others_go_on_while_some_hang(command, tree, notes, alive, nothing_stays):
    tree("train.py", "lr = 1\nnote(f'up {os.getpid()}')\nif lr in (2, 5): sleep()\nprint('fitness:', lr)\n")
    options = ("--num-workers=3", f"--max-duration={SECONDS:g}s", "--hp=lr=1:8")
    result = command("run", "--project=p", *options, "train.py")
    assert result.code == 3
    assert [e.number for e in Project("p").experiments if e.status == "failed"] == [2, 5]
    assert [e.number for e in Project("p").experiments if e.status == "completed"] == [1, 3, 4, 6, 7, 8]
    shown = [int(line[1:].split("/")[0]) for line in result.err.splitlines() if line.startswith("#")]
    assert shown.index(2) > shown.index(3)
    assert not any(map(alive, notes.processes()))
