"""A script that hangs, in whatever way, is ended at its limit with all that it started; the search goes on with the next."""

import os
import signal
import threading

import pytest

from studio.execution import runner
from studio.project.project import Project

SECONDS = 2.0  # the limit: enough for a script that does nothing, on a busy machine

WAYS = {
    "sleeps": "print('epoch 3', flush=True); sleep()",
    "loops": "while True: pass",
    "is stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "is stopped with its children": "child(); daemon(); os.killpg(0, signal.SIGSTOP)",
    "ignores SIGTERM and is stopped": "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGSTOP)",
    "blocks all signals": "signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals()); sleep()",
    "answers SIGTERM with more": "signal.signal(signal.SIGTERM, lambda *_: child()); sleep()",
    "closes all its files": "os.closerange(0, 100); sleep()",
    "waits for its stdin": "sys.stdin.read(); sleep()",
    "waits for a child that hangs": "child(); os.wait()",
    "leaves its session": "pid = os.fork(); os.setsid() if pid == 0 else note(f'child {pid}'); sleep()",
    "is stopped from outside": "sleep()",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.3)


def test_scripts_that_hang_are_ended_at_their_limit(command, tree, notes, alive, until, nothing_stays):
    """All at once, each in its own way, beside two that do not."""
    last = len(WAYS)
    lines = [f"if lr == {n}:\n    {way}" for n, way in enumerate(WAYS.values(), 1)]
    tree("train.py", "\n".join(["lr = 0", "note(f'up {os.getpid()}')", *lines, "print('fitness:', lr)"]))

    def stop():
        (script,) = until(lambda: notes.of(f"p/{last + 1}", "up"))
        os.kill(script, signal.SIGSTOP)

    stopping = threading.Thread(target=stop)
    stopping.start()
    options = [f"--max-duration={SECONDS:g}s", f"--num-workers={last + 1}", f"--hp=lr=0:{last + 1}"]
    result = command("run", "--project=p", *options, "train.py")
    stopping.join()
    assert result.code == 3, result.err
    first, *hanging, end = Project("p").experiments
    assert [(e.status, e.fitness, e.reason) for e in (first, end)] == [
        ("completed", 0, ""),
        ("completed", last + 1, ""),
    ]
    for way, one in zip(WAYS, hanging, strict=True):
        assert (one.status, one.failure, one.exit_code, one.fitness) == ("failed", "timeout", None, None), way
        assert one.reason.startswith(f"took longer than {SECONDS:g} s"), way
        assert SECONDS <= one.duration < 15, way
        assert notes.of(f"p/{one.number}", "up"), way
    assert hanging[0].reason == f"took longer than {SECONDS:g} s: epoch 3"
    until(lambda: not any(map(alive, notes.processes())))  # a killed process takes a moment


def test_a_script_that_ends_but_for_its_daemon_is_over_at_once(command, tree, notes, alive, nothing_stays, until):
    """The daemon holds its output open, and does not count as the script."""
    text = "lr = 1\npid = os.fork()\nif not pid:\n    os.setsid()\n    sleep()\nnote(f'daemon {pid}')\nprint('fitness:', lr)\n"
    tree("train.py", text)
    result = command("run", "--project=p", "--max-duration=30s", "--hp=lr=1", "train.py")
    assert result.code == 0, result.err
    assert [(e.status, e.fitness) for e in Project("p").experiments] == [("completed", 1)]
    assert notes.of("p/1", "daemon")
    until(lambda: not any(map(alive, notes.processes())))  # a killed process takes a moment
