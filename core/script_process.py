"""The process of a script: started in a session of its own, waited for without giving its id back."""

import os
import subprocess
import sys
from pathlib import Path

from studio.experiment import Run
from studio.processes import MARKS, marks


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


def wait_for_exit(process: subprocess.Popen[bytes]) -> None:
    """Until the script has ended, but before its id is given back: its group can then still be signalled safely."""
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # `Popen.wait` would call that exit code 0
            raise RuntimeError("how it ended is lost: this process ignores SIGCHLD") from None
    else:
        process.wait()


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the script has ended and nobody was told yet; macOS cannot say."""
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def reap(process: subprocess.Popen[bytes]) -> tuple[int, dict[str, float]]:
    """The exit code of what has ended; and what it and those it waited for took of the machine: getrusage(2)."""
    try:
        _, status, used = os.wait4(process.pid, 0)
    except ChildProcessError:
        return process.wait(), {}
    process.returncode = os.waitstatus_to_exitcode(status)
    memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return process.returncode, {"cpu": used.ru_utime + used.ru_stime, "memory": memory}
