"""The mark of a run in the environment of its processes, and the program that kills these when their driver has died."""

import subprocess
import sys

import pytest

from studio.system import watchdog

OTHER = "HOME=/root\0"


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ("STUDIO_MARKS=|0a1b=/p/1/1|", True),
        (f"{OTHER}STUDIO_MARKS=|0a1b=/p/1/1|\0LANG=C", True),
        ("STUDIO_MARKS=|0a1b=/p|", True),
        ("STUDIO_MARKS=|77=/elsewhere|0a1b=/p/1/1|", True),  # a search inside a search
        ("STUDIO_MARKS=|77=/p2/1/1|0a1b=/p/1/1|", True),
        ("python train.py STUDIO_MARKS=|0a1b=/p/1/1|", True),  # as `ps` prints it
        ("", False),
        (OTHER, False),
        ("STUDIO_MARKS=", False),
        ("STUDIO_MARKS=|0a1b=/p", False),
        ("STUDIO_MARKS=|0a1b=/p2/1/1|", False),
        ("STUDIO_MARKS=|0a1b=/q/p/1/1|", False),
        ("STUDIO_MARKS=0a1b=/p/1/1|", False),
        ("MY_STUDIO_MARKS=|0a1b=/p/1/1|", False),
        ("STUDIO_MARKS=|x\0y=|0a1b=/p/1/1|", False),
        ("STUDIO_MARKS=|=/p/1/1|", False),
        ("STUDIO_MARKS=|not-hex=/p/1/1|", False),
    ],
)
def test_a_mark_is_of_one_folder(environment, found):
    assert watchdog.bears(environment.encode(), b"/p", None) is found
    assert watchdog.bears(environment.encode(), b"/p", b"0a1b") is found
    assert watchdog.bears(environment.encode(), b"/p", b"0a1c") is False


def test_a_folder_may_have_any_name():
    for name in (b"/a|b", b"/a=b", b"/a b", b"/\xff[x]"):
        assert watchdog.bears(b"STUDIO_MARKS=|0a=" + name + b"/1/1|", name, None)


def test_its_program_imports_next_to_nothing():
    program = [sys.executable, "-I", "-S", "-X", "importtime", watchdog.__file__, "/nowhere", "0a1b"]
    done = subprocess.run(program, input="all is well", capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "os" in imported
    assert not imported & {"contextlib", "enum", "re", "signal", "subprocess", "typing"}
