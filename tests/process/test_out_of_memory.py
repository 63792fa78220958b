"""A script that needs too much memory has failed for that reason, however it ended; and the driver needs little."""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.execution import memory
from studio.experiment import Outcome
from studio.project.project import Project
from studio.project.store import Store
from studio.search.ask_tell.search import Search

LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
MB = 10**6

# Experiment 2 works; the others take all memory that there is, as `way` says.
EATER = """
import os, resource, signal, subprocess, sys
lr = 1

def limit(size=3 * 10**8):
    resource.setrlimit(resource.RLIMIT_AS, (size, size))

def eat():
    taken = []
    while True:
        taken.append(bytearray(b"1") * 10**7)

print("eating", lr, flush=True)
if lr != 2:
    {way}
print("fitness:", lr)
"""


MEMORY = [
    ("limit(); bytearray(2 * 10**9)", "exit code 1: MemoryError"),
    ("limit(); eat()", "exit code 1: MemoryError"),
    ("limit(10**9); import numpy; numpy.ones(10**9)", "exit code 1: numpy._core._exceptions._ArrayMemoryError: "),
    ("print('std::bad_alloc', flush=True); os.abort()", "killed by SIGABRT: std::bad_alloc"),
    ("print('CUDA out of memory'); sys.exit(7)", "exit code 7: CUDA out of memory"),
]
CRASHES = [
    ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL: eating "),
    ("sys.exit(137)", "exit code 137: eating "),
    ("subprocess.run(['bash', '-c', 'kill -9 $$; true']); sys.exit(3)", "exit code 3: eating "),
]


def test_what_had_no_memory_and_what_only_crashed(command, script):
    """The last one meets its limit, and goes on."""
    counted = memory.oom_kills()
    ways = [way for way, _ in [*MEMORY, *CRASHES]]
    lines = [f"if lr == {n}:\n    {way}" for n, way in enumerate(ways, 1)]
    lines += ["if lr == 9:\n    limit()\n    try: eat()\n    except MemoryError: print('MemoryError')"]
    script("train.py", EATER.replace("if lr != 2:\n    {way}", "\n".join(lines)))
    result = command("run", "--project=p", "--hp=lr=0:9", "train.py")
    assert result.code == 3, result.err
    first, *failed, last = Project("p").experiments
    assert [(e.status, e.fitness) for e in (first, last)] == [("completed", 0), ("completed", 9)]
    for (_, reason), found in zip(MEMORY, failed, strict=False):
        assert (found.status, found.failure) == ("failed", "memory")
        assert found.reason.startswith(f"out of memory: {reason}")
    if memory.oom_kills() > counted:
        pytest.skip("meanwhile the kernel killed somebody else on this machine")
    for (_, reason), found in zip(CRASHES, failed[len(MEMORY) :], strict=True):
        assert (found.status, found.failure, found.reason) == ("failed", "crash", f"{reason}{found.number - 1}")


# --- the kernel kills it ------------------------------------------------------------------------------------------------


def _make_group(folder, limit, value):
    """A control group, or None where this user or this machine cannot have one."""
    try:
        folder.mkdir()
    except OSError:
        return None
    try:
        (folder / limit).write_text(str(value))
        if not (folder / "cgroup.procs").exists():
            raise OSError
    except OSError:
        folder.rmdir()
        return None
    return folder


@pytest.fixture
def group():
    """The folder of a memory control group that gives 200 MB; v1 or v2, whichever this machine has."""
    name = f"studio-test-{secrets.token_hex(4)}"
    places = [("memory", "memory.limit_in_bytes"), ("", "memory.max")]
    made = (_make_group(memory.CGROUPS / place / name, limit, 200 * MB) for place, limit in places)
    folder = next(filter(None, made), None)
    if folder is None:
        pytest.skip("no memory control group can be made here: that needs root and a cgroup file system")
    for file in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
        with contextlib.suppress(OSError):
            (folder / file).write_text("0" if "max" in file else str(200 * MB))
    yield folder
    deadline = time.monotonic() + 60
    while (folder / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    folder.rmdir()


@pytest.fixture
def inside(group, home, nothing_stays):
    """`inside("run", "train.py")` runs the command and all that it starts in that group: exit code and what it said."""

    def call(*arguments):
        program = [Path(sys.executable).with_name("studio"), *arguments]
        enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        done = subprocess.run(
            ["sh", "-c", enter, "sh", *program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    return call


def test_a_script_that_the_kernel_kills(inside, script, group):
    script("train.py", EATER.replace("{way}", "eat()"))
    code, said = inside("run", "--project=p", "--hp=lr=1:3", "train.py")
    assert code == 3, said
    assert [(e.status, e.failure, e.fitness, e.exit_code) for e in Project("p").experiments] == [
        ("failed", "memory", None, None),
        ("completed", "", 2, 0),
        ("failed", "memory", None, None),
    ]
    assert Project("p").experiments[0].reason == "out of memory: killed by the kernel: eating 1"
    assert Project("p").attempts(1)[0]["signal"] == "SIGKILL"
    assert memory.oom_kills(group) - memory.oom_kills(memory.CGROUPS / "none") >= 2


def test_a_shell_that_hides_the_kill_behind_137(inside, script):
    """As a wrapper in bash does, whose child was killed."""
    script("train.py", EATER.replace("{way}", "eat()"))
    script("wrapper.sh", '#!/bin/sh\npython=$1; shift\n"$python" train.py\nexit $?\n').chmod(0o755)
    options = ("--substitute=train.py", "--hp=lr=1:3")
    code, said = inside("run", "--project=p", *options, "wrapper.sh", sys.executable)
    assert code == 3, said
    first = Project("p").experiments[0]
    assert (first.status, first.failure, first.exit_code) == ("failed", "memory", 137)
    assert first.reason.startswith("out of memory: killed by the kernel: ")


# --- the driver ---------------------------------------------------------------------------------------------------------


def _fill(folder, count):
    """Experiments 1 to `count` of the project, as a search of them would have left them."""
    store = Store.open(folder)
    with store.transaction():
        search = Search(store.meta("settings")["ranges"], optimizer="random", journal=store, max_experiments=count)
        begin = time.time()
        while (suggestion := search.ask()) is not None:
            value = suggestion.values["x"] - suggestion.values["y"]
            outcome = Outcome(suggestion.number, 1, 0, None, "", begin, begin + 1, 1.0)
            store.attempt_ended(outcome, "completed", value)
            search.tell(suggestion.number, value)
    store.close()


@pytest.fixture
def memory_of(measured):
    def call(*arguments):
        code, memory = measured(*arguments, seconds=600)
        assert code == 0
        return memory

    return call


@pytest.mark.slow
def test_the_driver_needs_little_memory_for_many_experiments(command, script, home, memory_of):
    """Resumes and finishes them. A quick run measures how it grows, and foresees 100,000; `make test-long` has them."""
    script("train.py", "x = 0\ny = 0\nprint('fitness:', x - y)\n")
    options = ("--optimizer=random", "--seed=1", "--hp=x=0:1", "--hp=y=1e-5:0.1:l")
    assert command("run", "--project=p", *options, "--max-experiments=1", "train.py").code == 0
    few = memory_of("resume", "p", "--max-experiments=2")
    count = 100_000 if LONG else 4_000
    _fill(home / "projects" / "p", count - 1)
    many = memory_of("resume", "p", f"--max-experiments={count}")
    experiments = Project("p").experiments
    assert [e.number for e in experiments] == list(range(1, count + 1))
    assert {e.status for e in experiments} == {"completed"}
    foreseen = few + (many - few) / count * 100_000
    assert foreseen < 300, f"{few:.0f} MB for 2, {many:.0f} MB for {count:,}"
