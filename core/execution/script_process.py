"""The process of a script: started in a session of its own, waited for without giving its id back."""

import os
import resource
import select
import subprocess
import sys
from pathlib import Path

from studio.execution.memory import peak_of_tree
from studio.experiment import Run
from studio.system.processes import MARKS, marks

FIRST_LOOK, LOOK_EVERY = 0.004, 0.25  # seconds between two looks at its memory


def spawn(run: Run, env: dict[str, str], session: str) -> subprocess.Popen[bytes]:
    """The script in a session of its own, its output in a file: a full pipe would stop it."""
    env = {**env, **run.env, "STUDIO_FOLDER": run.folder, "STUDIO_EXPERIMENT": run.key}
    env[MARKS] = marks(os.environ, session, run.folder)
    env.setdefault("PYTHONUNBUFFERED", "1")  # else `fitness:` lines of a running script wait in its buffer
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
    """Until the script has ended, but before its id is given back: its group can then still be signalled safely.

    Returns the most memory that was seen of it, in bytes; 0 where nothing was.
    """
    seen = _watch_memory(process.pid)
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # `Popen.wait` would call that exit code 0
            raise RuntimeError("how it ended is lost: this process ignores SIGCHLD") from None
    else:
        process.wait()
    return seen


def _watch_memory(pid: int) -> int:
    """Look at it, first often and then `LOOK_EVERY`, until it has ended. What `wait4` says later begins with the memory of
    this process: the kernel keeps the larger one over an exec (exec_mmap in linux/fs/exec.c)."""
    try:
        ended = os.pidfd_open(pid)
    except (AttributeError, OSError):  # no Linux, or one before 5.3
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
    """Whether the script has ended and nobody was told yet; macOS cannot say."""
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def reap(process: subprocess.Popen[bytes], seen: int = 0) -> tuple[int, float | None, int | None]:
    """The exit code of what has ended; and what it and those it waited for took of the machine: seconds of CPUs, and the
    most memory of one process in bytes, where they are known: getrusage(2). `seen`: as `wait_for_exit` said."""
    try:
        _, status, used = os.wait4(process.pid, 0)
    except ChildProcessError:
        return process.wait(), None, None
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    if sys.platform == "darwin":  # which counts from the exec on, in bytes
        return process.returncode, cpu, used.ru_maxrss
    own = used.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # else it may be that of this process
    return process.returncode, cpu, max(seen, 1024 * used.ru_maxrss if own else 0) or None
