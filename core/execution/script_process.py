"""The process of a script: started in a session of its own, waited for without giving its id back."""

import os
import resource
import select
import subprocess
import sys
from pathlib import Path

from studio.execution.memory import peak_of_tree
from studio.experiment import Run
from studio.system.processes import MARK_VARIABLE, mark_for

FIRST_LOOK, LOOK_EVERY = 0.004, 0.25  # seconds between two measurements of its memory


def spawn(run: Run, env: dict[str, str], session: str) -> subprocess.Popen[bytes]:
    """Start the script in a session of its own, with its output in a file: a full pipe would block it."""
    env = {**env, **run.env, "STUDIO_FOLDER": run.folder, "STUDIO_EXPERIMENT": run.key}
    env[MARK_VARIABLE] = mark_for(os.environ, session, run.folder)
    env.setdefault("PYTHONUNBUFFERED", "1")  # else `fitness:` lines of a running script stay in its buffer
    with open(Path(run.folder) / "output.log", "ab") as output:
        return subprocess.Popen(
            run.argv,
            cwd=Path(run.folder) / "workspace",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for_exit(process: subprocess.Popen[bytes]) -> int:
    """Wait for the script to exit without reaping it, so that its process group can still be signalled.

    Returns its peak memory in bytes as far as seen, else 0.
    """
    seen = _watch_memory(process.pid)
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # `Popen.wait` would call that exit code 0
            raise RuntimeError("the exit code is lost: this process ignores SIGCHLD") from None
    else:
        process.wait()
    return seen


def _watch_memory(pid: int) -> int:
    """Measure peak memory until the script ends, often at first, later every `LOOK_EVERY` seconds.

    The value of `wait4` starts with the memory of this process: the kernel keeps the larger one over an exec (exec_mmap in
    linux/fs/exec.c).
    """
    try:
        ended = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or before 5.3
        return 0
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        seen, patience = 0, FIRST_LOOK
        while not poll.poll(1000 * patience):
            seen = max(seen, peak_of_tree(pid))
            patience = min(LOOK_EVERY, 2 * patience)
        return seen
    finally:
        os.close(ended)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the script has ended and was not waited for yet; always False on macOS."""
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def reap(process: subprocess.Popen[bytes], seen: int = 0) -> tuple[int, float | None, int | None]:
    """Collect an ended process: exit code, CPU seconds and peak memory in bytes, None if unknown; getrusage(2).

    Both include child processes that it waited for. `seen`: peak memory from `wait_for_exit`.
    """
    try:
        _, status, used = os.wait4(process.pid, 0)
    except ChildProcessError:
        return process.wait(), None, None
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    if sys.platform == "darwin":  # counts from the exec on, in bytes
        return process.returncode, cpu, used.ru_maxrss
    own = used.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # else it may be the peak of this process
    return process.returncode, cpu, max(seen, 1024 * used.ru_maxrss if own else 0) or None
