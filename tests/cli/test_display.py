"""A search on a terminal: the live panel, under a real pseudo-terminal."""

import os
import re

import pytest
from rich.cells import cell_len

from studio.cli.console import harmless
from studio.format import assignments, short
from studio.text import clean

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


def panel(shown):
    """The lines of all panels that were shown."""
    return [line for line in re.split(r"[\r\n]+", shown.text) if line[:1] in ("╭", "│", "╰") and line]


@pytest.fixture
def terminal(terminal, script, tmp_path, monkeypatch):
    """A terminal, and the script, which may end at the end of a test."""
    monkeypatch.setenv("OUTSIDE", str(tmp_path / "go"))
    script("train.py", SCRIPT)
    yield terminal
    (tmp_path / "go").touch()


def test_panel(terminal, tmp_path):
    shown = terminal("run", "--project=digits", "--num-workers=2", "--hp=lr=1,2,3", "train.py")
    shown.until("2 of 3 finished · 1 failed · 1 running", "best  #1  fitness 1  lr=1", "running  #3", "fitness 3  lr=3")
    assert "failed  #2  exit code 3: [bold]boom[/bold]" in shown.text
    assert any("digits" in line for line in panel(shown))
    assert {cell_len(line) for line in panel(shown)} == {80}
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
    assert max(map(cell_len, panel(shown))) == 8
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


def test_a_long_metric_name_leaves_its_value_in_sight(terminal, recorded):
    name = "validation_mean_average_precision_at_iou_50_to_95"
    recorded("p", [({"lr": 1}, 0.5)], ranges={"lr": "1"}, metric=f"{name}:max")
    shown = terminal("runs", "list", "p", columns=80)
    assert shown.end() == 0
    head, row = shown.text.splitlines()
    assert head.split()[2] == f"{name[:26]}…{name[-13:]}"
    assert len(head) == len(row) <= 80
    listed = terminal("runs", "list", columns=80)
    assert listed.end() == 0
    assert "validation_mean_…0_to_95 0.5" in listed.text


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
