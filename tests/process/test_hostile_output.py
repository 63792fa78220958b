"""A script that prints what does something to a terminal, a browser or a reader: shown harmlessly, kept exactly."""

import json
import os
import re
import sys
import unicodedata

import pytest

from studio.cli.console import harmless, print_json, print_table
from studio.text import clean

CONTROLS = "".join(map(chr, [*range(1, 10), 11, 12, *range(14, 32), *range(127, 160)]))
HOSTILE = {
    "ansi": "a\x1b[5;31mb\x1b[2J\x1b[Hc\x1b[?1049hd\x1b[8me",
    "clipboard": "a\x1b]52;c;cm0gLXJmIC8=\x07b\x1b]52;c;cm0gLXJmIC8=\x1b\\c",
    "title": "a\x1b]0;owned\x07b\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\c",
    "eight bits": "a\x9b31mb\x9d0;owned\x9cc\x90d\x9c",
    "controls": "a" + CONTROLS + "b",
    "html": "a<script>alert(1)</script><img src=x onerror=alert(1)>&amp;b",
    "markup": "a[bold red]b[/bold red][/]c[link=http://example.com]d",
    "bidi": "a\u202eb\u2066c\u2069d\u200fe\u061cf\u202c",
    "unseen": "a\u200bb\u2060c\ufeffd\u00ade\U000e0041f\u200d",
    "separators": "a\u2028b\u2029c\x85d\u00a0e",
}

# Prints the file `words1` for lr=1, and ends so: number 2 scores, the others fail. 0 waits for `go`.
SAY = """
    import os, sys, time

    lr = 0
    print("fitness:", lr, flush=True)
    sys.stdout.buffer.write(open(f"words{lr}", "rb").read())
    sys.stdout.flush()
    while lr == 0 and not os.path.exists(os.environ["OUTSIDE"]):
        time.sleep(0.02)
    if lr != 2:
        raise SystemExit(3)
"""


def hidden(text):
    """The characters that are not simply shown."""
    return [c for c in text if not c.isprintable() and c != "\n"]


def strip(output):
    """What the command wrote to a terminal, without what the live panel needs: colours, cursor moves, erased lines."""
    return re.sub(r"\r+\n?", "\n", re.sub(r"\x1b\[(?:[0-9;]*[mAK]|1?G|\?25[lh])", "", output))


@pytest.fixture
def say(script, workdir, tmp_path, monkeypatch):
    """`say(words, …)`: the script with lr=0 prints the first, and so on."""
    monkeypatch.setenv("OUTSIDE", str(tmp_path / "go"))

    def write(*words):
        script("train.py", SAY)
        for number, text in enumerate(words):
            (workdir / f"words{number}").write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


# --- as text ----------------------------------------------------------------------------------------------------------

TEXTS = [*HOSTILE.values(), "x" * (1 << 20)]
NO_TEXT = b"\xff\xfe\x80 lone \xc3 \xed\xa0\x80 \xf4\x90\x80\x80 end\n\x00\x00"


def test_what_a_script_printed_last_is_shown_harmlessly(command, say, tmp_path):
    """Escaped in JSON; a line of a megabyte is cut."""
    say(*TEXTS, NO_TEXT)
    (tmp_path / "go").touch()
    options = [
        "--project=p",
        "--num-workers=2",
        "--retry-failed=0",
        f"--hp=lr=2,{','.join(map(str, range(len(TEXTS) + 1)))}",
    ]
    results = [command("run", *options, "train.py")]
    assert results[0].code == 3
    results += [command("runs", "list"), command("runs", "list", "p"), command("runs", "show", "p/2")]
    for result in results:
        assert hidden(result.out + result.err) == []
        assert max(map(len, result.err.splitlines() + result.out.splitlines())) < 500
    assert results[0].err.count("exit code 3: a") == len(HOSTILE) - 1
    for name in ("html", "markup"):  # that means something elsewhere, and is text here
        assert HOSTILE[name] in results[2].out
    data = command("runs", "list", "p", "--json").out
    shown = [command("runs", *arguments, "--json").out for arguments in (["list"], ["show", "p/2"], ["logs", "p/2"])]
    for text in (data, *shown):
        assert hidden(text) == []
        json.loads(text)
    assert json.loads(shown[-1])["output"] == f"fitness: 0\n{TEXTS[0]}"
    reasons = [experiment["reason"] for experiment in json.loads(data)]
    assert reasons[-2] == "exit code 3: " + "x" * 300
    assert reasons[-1].endswith(" end")


def test_values_are_shown_harmlessly_and_reach_the_script_as_they_are(command, script):
    script("train.py", "name = ''\nprint(ascii(name))\nprint('fitness:', len(name))\n")
    values = list(HOSTILE.values())
    first = command("run", "--project=p", "--hp=name=" + ",".join(f"'{value}'" for value in values), "train.py")
    assert first.code == 0, first
    results = [first, command("runs", "list"), command("runs", "list", "p"), command("runs", "show", "p/1")]
    for result in results:
        assert hidden(result.out + result.err) == []
    data = command("runs", "list", "p", "--json").out
    assert hidden(data) == []
    assert [experiment["values"]["name"] for experiment in json.loads(data)] == values
    logs = [command("runs", "logs", f"p/{number}").out.splitlines()[0] for number in range(1, len(values) + 1)]
    assert logs == [ascii(value) for value in values]


def test_a_metric_may_be_called_anything(command, script):
    """Its name is a key of the user's own log, and shown in many places."""
    key = "lo\x1b[2Jss\u202e"
    script("train.py", f"import json\nlr = 0\nopen('log', 'w').write(json.dumps({{{key!r}: lr}}))\n")
    first = command("run", "--project=p", f"--metric=jsonl:log:{key}:min", "--hp=lr=1,2", "train.py")
    if first.code == 2:  # or not be called that
        assert hidden(first.err) == []
        return
    assert first.code == 0
    for result in (first, command("runs", "list"), command("runs", "list", "p"), command("runs", "show", "p/1")):
        assert hidden(result.out + result.err) == []


def test_what_lies_in_the_source_is_named_harmlessly(command, script):
    script("train.py", "lr = 0\nprint(lr)\n")
    script("data\x1b[2J\u202e/x", "0" * 5000)
    result = command("run", "--max-workspace=1kB", "--hp=lr=1", "train.py")
    assert result.code == 2
    assert hidden(result.err) == []


def test_logs_are_piped_byte_for_byte(say, command, driver, tmp_path):
    words = "\n".join(HOSTILE.values()).encode() + NO_TEXT + b"x\xc3\xa9" * (1 << 19) + b"a\r\nb\rc\n\r\n\v\f"
    say(words)
    (tmp_path / "go").touch()
    command("run", "--quiet", "--project=p", "--hp=lr=0", "train.py")
    for options in ([], ["-f"]):
        one = driver("runs", "logs", *options, "p/1")
        assert one.wait() == 0
        assert one.out_file.read_bytes() == b"fitness: 0\n" + words


# --- on a terminal ----------------------------------------------------------------------------------------------------


def test_nothing_reaches_a_terminal(terminal, say, script, tmp_path):
    """The panel while it runs, the tables, an experiment and its log."""
    whole = "".join(HOSTILE.values())
    say(whole, whole, whole)
    script("train.py", SAY + "    name = ''\n    len(name)\n")
    arguments = ["run", "--project=p", "--hp=lr=1,2,0", f"--hp=name='{HOSTILE['ansi']}'", "train.py"]
    shown = terminal(*arguments, columns=150, rows=50).until("running  #3")
    (tmp_path / "go").touch()
    assert shown.end() == 3
    text = strip(shown.output)
    assert hidden(text) == []
    assert "failed  #1  exit code 3: a" in text
    assert "best  #2  fitness 2" in text
    for arguments in (["list", "p"], ["show", "p/1"], ["logs", "p/1"]):
        shown = terminal("runs", *arguments)
        assert shown.end() == 0
        assert hidden(shown.output.replace("\r\n", "\n").replace("\t", "")) == [], arguments
    assert "fitness: 1\r\n" in shown.output


def test_a_dry_run_is_shown_harmlessly(terminal, script, workdir):
    """A dry run shows the script's own text and the names of files."""
    script("tr\x1b[2Jain.py", "lr = 0  # \x1b]52;c;aGk=\x07\u202e\nprint(lr)  # \x1b[2J\n")
    os.mkfifo(workdir / "pipe\x1b[2J")
    shown = terminal("run", "--dry-run", "--hp=lr=1", "tr\x1b[2Jain.py")
    assert shown.end() == 0
    assert "+print(1)" in shown.output
    assert hidden(shown.output.replace("\r\n", "\n")) == []


# --- the two functions that everything passes through -----------------------------------------------------------------


def test_no_control_and_no_format_character_passes():
    """All of Unicode."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    bad = {c for c in everything if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")}
    assert not bad & set(clean(everything))
    assert bad & set(harmless(everything)) == {"\n", "\t"}
    assert len(clean(everything)) == len(everything)
    assert clean("né 日本 😀 <b>") == harmless("né 日本 😀 <b>") == "né 日本 😀 <b>"


def test_tables_and_json_pass_no_control_character(capsys):
    blocks = (range(0x3000), range(0xD7F0, 0xE010), range(0xFE00, 0x10010), range(0xE0000, 0xE0200))
    everything = "".join(chr(code) for block in blocks for code in block)
    print_json({everything: everything})
    written = capsys.readouterr().out
    assert hidden(written) == []
    assert json.loads(written) == json.loads(json.dumps({everything: everything}))
    for items in ([], [{everything: [float("nan"), "two\nlines"]}, {"b": {}}]):
        print_json(items)
        whole = capsys.readouterr().out
        print_json(iter(items))
        assert capsys.readouterr().out == whole
    print_table([everything, "b"], [["1", everything]])
    written = capsys.readouterr().out
    assert hidden(written) == []
    assert written.count("\n") == 2
