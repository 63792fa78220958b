"""A search on a terminal: the live panel, under a real pseudo-terminal."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from studio.cli.console import harmless
from studio.format import assignments, short
from studio.text import clean

STUDIO = str(Path(sys.executable).with_name("studio"))
# Makes the pseudo-terminal the controlling one, so that Ctrl-C arrives as a signal.
LOGIN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"

# The first scores, the second fails with hostile last words, the third runs until `go` is there.
SCRIPT = """
    import os, time

    lr = 0
    if lr == 2:
        print("\\x1b]0;owned\\x07\\x1b[2J\\x1b[41m[bold]boom[/bold]\\r\\n")
        raise SystemExit(3)
    print("fitness:", lr, flush=True)
    while lr == 3 and not os.path.exists(os.environ["OUTSIDE"]):
        time.sleep(0.02)
"""


COLOUR = re.compile(r"\x1b\[[0-9;]*(?<![0-9])(3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


class Terminal:
    """A command on a pseudo-terminal of its own."""

    def __init__(self, *arguments, columns, env):
        self.output = ""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", **env}
        for name in ("COLUMNS", "LINES", "FORCE_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOGIN, STUDIO, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)

    def until(self, *words):
        """Reads until all `words` were shown, each somewhere; without any, until the command has ended."""
        deadline = time.monotonic() + 60
        while not words or not all(word in self.text for word in words):
            assert time.monotonic() < deadline, f"{words} never came: {self.text[-2000:]}"
            if not select.select([self.master], [], [], 1)[0]:
                continue
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:  # the other end is closed
                data = b""
            if not data:
                assert not words, f"{words} never came: {self.text[-2000:]}"
                break
            self.output += data.decode(errors="replace")
        return self

    def end(self):
        self.until()
        return self.process.wait(timeout=60)

    @property
    def text(self):
        """Text that was shown, without control sequences."""
        return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", self.output)

    @property
    def panel(self):
        return [line for line in re.split(r"[\r\n]+", self.text) if line[:1] in ("╭", "│", "╰") and line]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(home, script, tmp_path):
    opened = []
    script("train.py", SCRIPT)

    def start(*arguments, columns=80, **env):
        opened.append(Terminal(*arguments, columns=columns, env={"OUTSIDE": str(tmp_path / "go"), **env}))
        return opened[-1]

    yield start
    with contextlib.suppress(FileExistsError):
        (tmp_path / "go").touch()
    for one in opened:
        one.close()


def test_panel(terminal, tmp_path):
    shown = terminal("run", "--project=digits", "--num-workers=2", "--hp=lr=1,2,3", "train.py")
    shown.until("2 of 3 finished · 1 failed · 1 running", "best  #1  fitness 1  lr=1", "running  #3", "fitness 3  lr=3")
    assert "failed  #2  exit code 3: [bold]boom[/bold]" in shown.text
    assert any("digits" in line for line in shown.panel)
    assert {cell_len(line) for line in shown.panel} == {80}
    (tmp_path / "go").touch()
    assert shown.end() == 3
    assert "3 of 3 finished · 1 failed" in shown.text
    assert "best: digits/3  fitness 3  lr=3" in shown.text
    assert shown.output.endswith("\n")
    assert shown.output.rindex("\x1b[?25h") > shown.output.rindex("\x1b[?25l")  # the cursor is back
    assert COLOUR.search(shown.output)
    for hostile in ("\x1b]", "\x07", "\x1b[2J", "\x1b[41m"):
        assert hostile not in shown.output


def test_narrow_terminal(terminal, tmp_path):
    shown = terminal("run", "--project=p", "--hp=lr=1,2,3", "train.py", columns=8).until("2 o…", "bes…", "fai…")
    (tmp_path / "go").touch()
    assert shown.end() == 3
    assert max(map(cell_len, shown.panel)) == 8
    assert "Traceback" not in shown.text


def test_tables_fit_the_terminal(terminal, recorded):
    recorded("p", [({"name": "x" * 100, "lr": 1}, 0.5)], ranges={"name": "x" * 100, "lr": "1"})
    shown = terminal("runs", "list", "p", columns=40)
    assert shown.end() == 0
    head, row, *rest = shown.text.splitlines()
    assert len(row) <= 40
    assert head.split() == ["#", "status", "fitness", "lr", "time"]  # nothing failed, so there is no reason
    assert rest == ["studio: columns omitted: name; a wider terminal, a pipe or --json shows all"]


def test_names_of_columns_keep_their_ends(terminal, recorded):
    names = [f"number_of_hidden_units_{at}" for at in range(1, 8)]
    recorded("p", [(dict.fromkeys(names, 64), 0.5)], ranges=dict.fromkeys(names, "64"))
    shown = terminal("runs", "list", "p", columns=80)
    assert shown.end() == 0
    head, row, *rest = shown.text.splitlines()
    assert max(len(head), len(row)) <= 80
    assert head.split() == ["#", "status", "fitness", *(f"number…s_{at}" for at in range(1, 5)), "time"]
    assert rest[0].startswith(f"studio: columns omitted: {', '.join(names[4:])}; ")


def test_interrupt_from_the_keyboard(terminal, tmp_path):
    shown = terminal("run", "--project=p", "--hp=lr=3,1,2", "train.py").until("running  #1")
    os.write(shown.master, b"\x03")
    shown.until("waiting for 1 running experiment")
    (tmp_path / "go").touch()
    assert shown.end() == 130
    assert "interrupted; continue with: studio resume p" in shown.text
    assert "Traceback" not in shown.text
    assert shown.output.rindex("\x1b[?25h") > shown.output.rindex("\x1b[?25l")


def test_no_colour(terminal, tmp_path):
    (tmp_path / "go").touch()
    plain = terminal("run", "--hp=lr=1", "train.py", NO_COLOR="1")
    plain.end()
    assert not COLOUR.search(plain.output)


def test_terminal_that_can_do_nothing(terminal, tmp_path):
    (tmp_path / "go").touch()
    shown = terminal("run", "--hp=lr=1", "train.py", TERM="dumb")
    assert shown.end() == 0
    assert "1 of 1 finished" in shown.text
    assert "\x1b" not in shown.output


def test_verbose(terminal, tmp_path):
    (tmp_path / "go").touch()
    shown = terminal("run", "--verbose", "--hp=lr=1,2", "train.py")
    assert shown.end() == 3
    assert "#1/2  completed  fitness 1  lr=1" in shown.text
    assert "\x1b" not in shown.output


# --- the pieces -------------------------------------------------------------------------------------------------------


def test_texts():
    """Numbers and times: unit/root/test_format."""
    assert short("a\x1b[31m\nb") == "a [31m b"
    assert clean("a\tb\x00\x1b\x9b\u202e\u2028ü训") == "a b     " + "ü训"
    assert assignments({"lr": 0.1, "n": [1, 2]}) == "lr=0.1 n=[1, 2]"


def test_a_log_on_a_terminal_is_harmless():
    assert harmless("a\tb\r\n\x1b[31mred\x07") == "a\tb\n\ufffd[31mred\ufffd"
