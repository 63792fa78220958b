"""Reason why a run failed, in one line: the exception that ended it if it printed one, else its last line of output."""

import os
import re
import signal
from pathlib import Path

from studio.system.files import open_regular
from studio.text import without_escapes

READ = 1 << 16  # bytes at the end of the output
LONGEST_REASON = 300  # characters of a reason
MOST_LINES = 6  # of one exception's text
TRAILING = 40  # lines after an exception that give no other reason: hints of launchers, last lines of trackers

_HEADER = re.compile(
    r"(?P<prefix>\[[^\]]{1,30}\]:? ?|\([^)]{0,60}pid=\d+[^)]*\) )?[\s+|╭─]*Traceback \(most recent call last\)"
)
_EXCEPTION = re.compile(r"(?:[A-Za-z_][\w<>]*\.)*[A-Za-z_]\w*(?:\([\w.]+\))?(?::\s|:?\Z)")
_FRAME = re.compile(r"\s|[│╭╰├|+]|File \"|Traceback |\Z")
_OTHERS = re.compile(
    r"Traceback \(|During handling of the above|The above exception was|Set the environment variable|\"\"\"|'''|\s*\Z"
    r"|-{5,}|={5,}|[│╭╰]|wandb: |[EWIF]\d{4} |\s*\d+%\||\[[^\]]+\]\[|\d{4}-\d\d-\d\d|Exception in thread|Process \S+:\Z"
)
# Raised by launchers because one of their processes failed: the exception of that process, printed before, says more.
_LAUNCHERS = re.compile(
    r"(?:\w+\.)*(?:ChildFailedError|CalledProcessError|ProcessRaisedException|ProcessExitedException|BrokenProcessPool"
    r"|TerminatedWorkerError|RemoteTraceback|_RemoteTraceback|SystemExit)\b"
)
_NO_PYTHON = re.compile(
    r"(?:Error in |Error: |ERROR: |Fatal Python error: |terminate called after throwing|panicked at )"
)
_CLOSING = re.compile(
    r"Execution halted\Z|Extension modules: |note: run with `RUST_BACKTRACE|Aborted\b| +\[\d+\] |Stacktrace:|in expression starting at "
)
_OUT_OF_MEMORY = re.compile(
    r"MemoryError\b|bad_alloc|out of memory|OutOfMemory|OOM when allocating|memory exhausted"
    r"|cannot allocate (memory|vector)|memory allocation of \d+ bytes failed",
    re.IGNORECASE,
)


def last_words(log: Path, exit_code: int | None = None) -> str:
    """Return the reason in the output's end: at most 300 characters, on one line, without control characters.

    That is the exception of the last traceback, complete if it has several lines; for a launcher's, the one before it. A
    traceback that is followed by much other output, or by `sys.exit(3)` and the like, was caught: then the last line.
    """
    lines = _lines(log)
    if not lines:
        return ""
    found = _exceptions(lines, uncaught=exit_code in (None, 1))
    own = [one for one in found if not _LAUNCHERS.match(one[1])] or found
    if own:
        end, text = own[-1]
        launched = own[-1] is not found[-1]
        if launched or end >= len(lines) or (exit_code == 1 and len(lines) - end <= TRAILING):
            return text[:LONGEST_REASON]
    if _CLOSING.match(lines[-1]):
        said = [line.strip() for line in lines if _NO_PYTHON.search(line)]
        if said:
            return said[-1][:LONGEST_REASON]
    return lines[-1].strip()[:LONGEST_REASON]


def _lines(log: Path) -> list[str]:
    """Return the last lines that are not blank."""
    try:
        with open(open_regular(log, os.O_RDONLY), "rb") as file:  # a script may have put a pipe there
            file.seek(max(0, os.fstat(file.fileno()).st_size - READ))
            text = without_escapes(file.read()).decode(errors="replace")
    except OSError:
        return []
    lines = text.replace("\t", "    ").replace("\r", "\n").split("\n")
    clean = ("".join(c for c in line if c.isprintable()).rstrip() for line in lines)
    return [line for line in clean if line.strip()]


def _exceptions(lines: list[str], *, uncaught: bool) -> list[tuple[int, str]]:
    """Return (index of the next line, text) of each exception below a traceback.

    `uncaught`: the lines after one may belong to it although they are not indented.
    """
    found = []
    at = 0
    while at < len(lines):
        header = _HEADER.match(lines[at])
        if header is None:
            at += 1
            continue
        prefix = header["prefix"] or ""
        at += 1
        while at < len(lines) and _FRAME.match(lines[at].removeprefix(prefix)) and not _HEADER.match(lines[at]):
            at += 1
        if at == len(lines) or not _EXCEPTION.match(text := lines[at].removeprefix(prefix)):
            continue
        said = [text]
        at += 1
        while at < len(lines) and len(said) < MOST_LINES:
            more = lines[at].removeprefix(prefix)
            if _OTHERS.match(more) or _HEADER.match(lines[at]) or not (uncaught or more[0].isspace()):
                break
            said.append(more.strip())
            at += 1
        found.append((at, " ".join(said)))
    return found


def says_out_of_memory(line: str) -> bool:
    """Return whether a line reports lack of memory: Python, numpy, PyTorch, TensorFlow, JAX, C++, malloc, Rust, R."""
    return bool(_OUT_OF_MEMORY.search(line))


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time signals between the first and the last have no names
        return f"signal {number}"
