"""core/memory.py: what the kernel counts, and what scripts say, when memory runs out."""

import subprocess
import sys

import pytest

from studio.execution import memory
from studio.execution.memory import oom_kills
from studio.execution.reason import says_out_of_memory

SAID = [
    "MemoryError",
    "MemoryError: cannot allocate 8 bytes",
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array with shape (1000000000,)",
    "numpy.core._exceptions.MemoryError: Unable to allocate 7.45 GiB",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.7 GiB",
    "RuntimeError: CUDA error: out of memory",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: Out of memory",
    "ResourceExhaustedError: OOM when allocating tensor with shape[256,4096] and type float on /device:GPU:0",
    "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes.",
    "  what():  std::bad_alloc",
    "OSError: [Errno 12] Cannot allocate memory",
    "bash: fork: Cannot allocate memory",
    "java.lang.OutOfMemoryError: Java heap space",
    "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
    "memory allocation of 1073741824 bytes failed",
    "Error: cannot allocate vector of size 7.5 Gb",
]
OTHERS = [
    "",
    "Killed",
    "ValueError: memory",
    "AttributeError: module 'x' has no attribute 'MemoryErrors'",
    "epoch 3: 12.1 GB of memory",
    "RuntimeError: no room",
]


@pytest.mark.parametrize("line", SAID)
def test_a_last_line_that_says_so(line):
    assert says_out_of_memory(line)


@pytest.mark.parametrize("line", OTHERS)
def test_a_last_line_that_says_something_else(line):
    assert not says_out_of_memory(line)


@pytest.mark.parametrize(
    "program",
    [
        "bytearray(2 * 10**9)",
        "import numpy; numpy.ones(10**9)",
        "[bytearray(10**7) for _ in range(200)]",
    ],
)
def test_what_python_says_for_real(program):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))"
    done = subprocess.run(
        [sys.executable, "-c", f"{limit}\n{program}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert says_out_of_memory(done.stderr.splitlines()[-1])


# --- the kernel's count -------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere():
    """Counts of /proc/vmstat, which belong to every group."""
    return oom_kills(memory.CGROUPS / "none")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory.events", "low 0\nhigh 12\nmax 7\noom 3\noom_kill 2\noom_group_kill 9\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    ],
)
def test_a_groups_count_is_read(tmp_path, elsewhere, name, text):
    (tmp_path / name).write_text(text)
    assert oom_kills(tmp_path) == elsewhere + 2


def test_a_group_that_does_not_count_is_no_error(tmp_path, elsewhere):
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")  # before Linux 4.13
    (tmp_path / "memory.events").mkdir()
    assert oom_kills(tmp_path) == elsewhere


def test_this_process_has_a_count():
    assert oom_kills() >= 0
    assert memory._own_cgroup().is_dir() or not memory.CGROUPS.is_dir()


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("0::/user.slice/session-1.scope\n", "user.slice/session-1.scope"),
        ("0::/\n", "."),
        ("5:devices:/x\n4:memory:/jobs/7\n0::/\n", "memory/jobs/7"),
        ("4:cpu,memory:/jobs/7\n", "memory/jobs/7"),
        ("4:memory:/on/the/host\n", "memory"),  # in a container: seen under another name
        ("0::/../../elsewhere\n", "."),
        ("", "."),
    ],
)
def test_which_group_that_is(tmp_path, monkeypatch, text, group):
    for folder in ("user.slice/session-1.scope", "memory/jobs/7"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "cgroup").write_text(text)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN", tmp_path / "cgroup")
    assert memory._own_cgroup().resolve() == (tmp_path / group).resolve()


def test_no_group_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "OWN", tmp_path / "none")
    assert memory._own_cgroup() == memory.CGROUPS
