"""core/changes.py: which of the user's files differ from the copies that a search works with, and how that is shown."""

import os
import shutil

import pytest

from studio.project.changes import LARGEST_COMPARED, LINES, changed_files, difference, unused
from studio.project.source import copy_source, scan_source
from studio.system.copying import copy_any

TREE = {"train.py": "lr = 1\nprint(lr)\n", "model/net.py": "units = 3\n", "data/train.csv": "1,2\n3,4\n"}


@pytest.fixture
def original(tmp_path):
    folder = tmp_path / "work"
    for path, text in TREE.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def copy(tmp_path, original):
    """`copy()`: the snapshot of what is in the folder now."""

    def take():
        copy_source(scan_source(original), tmp_path / "copy")
        return tmp_path / "copy"

    return take


def changed(copy, original):
    """Each path, and what is shown of it."""
    paths = changed_files(copy, original)
    return paths, difference(copy, original, paths)


# --- no change ----------------------------------------------------------------------------------------------------------


def test_nothing_has_changed(copy, original):
    assert changed(copy(), original) == ([], [])


def test_files_that_were_touched_and_are_equal_are_no_change(copy, original):
    before = copy()
    for path in TREE:
        os.utime(original / path, (1, 1))
    assert changed_files(before, original) == []


def test_new_files_and_folders_are_no_change(copy, original):
    before = copy()
    (original / "notes.txt").write_text("new")
    (original / "runs").mkdir()
    (original / "runs" / "1").write_text("new")
    assert changed_files(before, original) == []


def test_other_permissions_are_no_change(copy, original):
    before = copy()
    (original / "train.py").chmod(0o444)
    assert changed_files(before, original) == []


def test_a_read_only_file_is_no_change(copy, original):
    (original / "data" / "train.csv").chmod(0o444)
    assert changed_files(copy(), original) == []


def test_what_was_ignored_is_no_change(copy, original):
    (original / ".studioml_ignore").write_text("data/\n")
    before = copy()
    (original / "data" / "train.csv").write_text("other\n")
    assert changed_files(before, original) == []


# --- changes ------------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_shown_line_by_line(copy, original):
    before = copy()
    (original / "train.py").write_text("lr = 1\nprint(lr, 2)\n")
    paths, lines = changed(before, original)
    assert paths == ["train.py"]
    assert lines == [
        "--- train.py (the search)",
        "+++ train.py (now)",
        "@@ -1,2 +1,2 @@",
        " lr = 1",
        "-print(lr)",
        "+print(lr, 2)",
    ]


def test_one_with_the_same_size_and_another_time_is_compared(copy, original):
    before = copy()
    (original / "model" / "net.py").write_text("units = 4\n")
    os.utime(original / "model" / "net.py", (5, 5))
    assert changed_files(before, original) == ["model/net.py"]


def test_all_that_changed_is_named_in_order(copy, original):
    before = copy()
    for path in TREE:
        (original / path).write_text("something else\n")
    assert changed_files(before, original) == ["data/train.csv", "model/net.py", "train.py"]


@pytest.mark.parametrize(("text", "now"), [("a\nb\n", "a\r\nb\r\n"), ("a\nb\n", "a\nb")])
def test_other_line_ends_are_said(copy, original, text, now):
    (original / "train.py").write_bytes(text.encode())
    before = copy()
    (original / "train.py").write_bytes(now.encode())
    assert changed(before, original) == (["train.py"], ["train.py: differs in its line ends"])


@pytest.mark.parametrize("now", [b"\0\1\2", b"x" * (LARGEST_COMPARED + 1)])
def test_what_is_no_text_or_too_long_is_named(copy, original, now):
    before = copy()
    (original / "data" / "train.csv").write_bytes(now)
    assert changed(before, original) == (["data/train.csv"], ["data/train.csv: differs"])


def test_text_that_is_no_utf8_is_shown_all_the_same(copy, original):
    before = copy()
    (original / "train.py").write_bytes(b"lr = 1\nprint(lr) # caf\xe9\n")
    assert changed(before, original)[1][-1] == "+print(lr) # caf\ufffd"


def test_what_is_gone_is_said(copy, original):
    before = copy()
    (original / "model" / "net.py").unlink()
    shutil.rmtree(original / "data")
    paths, lines = changed(before, original)
    assert paths == ["data/train.csv", "model/net.py"]
    assert lines == ["data/train.csv: is gone", "model/net.py: is gone"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_file_any_more_differs(copy, original, make):
    before = copy()
    (original / "train.py").unlink()
    make(original / "train.py")
    assert changed(before, original) == (["train.py"], ["train.py: differs"])


def test_an_empty_file_that_became_a_fifo_is_not_read(copy, original):
    (original / "train.py").write_text("")
    before = copy()
    (original / "train.py").unlink()
    os.mkfifo(original / "train.py")
    assert changed(before, original) == (["train.py"], ["train.py: differs"])


def test_a_long_difference_is_cut(copy, original):
    before = copy()
    (original / "train.py").write_text("".join(f"line {number}\n" for number in range(1000)))
    lines = changed(before, original)[1]
    assert len(lines) == LINES + 1
    assert lines[-1] == "… in 1 files"


# --- links --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def links(original, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "big.bin").write_bytes(b"1")
    (original / "inside").symlink_to("data/train.csv")
    (original / "absolute").symlink_to(original / "data")
    (original / "outside").symlink_to("../elsewhere/big.bin")
    (original / "model" / "outside").symlink_to(tmp_path / "elsewhere")
    (original / "broken").symlink_to("nowhere")
    return original


def test_links_are_no_change(copy, links):
    assert changed_files(copy(), links) == []


def test_links_that_lead_elsewhere_now_differ(copy, links):
    before = copy()
    for name, target in {"inside": "model/net.py", "outside": "../other", "broken": "not/here"}.items():
        (links / name).unlink()
        (links / name).symlink_to(target)
    paths, lines = changed(before, links)
    assert paths == ["broken", "inside", "outside"]
    assert lines == [f"{path}: differs" for path in paths]


def test_a_link_that_became_a_file_differs(copy, links):
    before = copy()
    (links / "inside").unlink()
    (links / "inside").write_text(TREE["data/train.csv"])
    assert changed_files(before, links) == ["inside"]


def test_what_a_link_leads_to_outside_is_not_looked_at(copy, links, tmp_path):
    """The target was never copied: every experiment reads it where it is."""
    before = copy()
    (tmp_path / "elsewhere" / "big.bin").write_bytes(b"2")
    assert changed_files(before, links) == []


# --- what all experiments share (--capture-once), copied as it is ----------------------------------------------------


def test_a_shared_folder_with_links_is_no_change(links, tmp_path):
    copy_any(links, tmp_path / "copy")
    assert changed_files(tmp_path / "copy", links) == []
    (links / "data" / "train.csv").write_text("new\n")
    assert changed_files(tmp_path / "copy", links) == ["data/train.csv"]


def test_a_shared_file(original, tmp_path):
    file = original / "data" / "train.csv"
    copy_any(file, tmp_path / "copy")
    assert changed_files(tmp_path / "copy", file) == []
    file.write_text("1,2\n3,5\n")
    paths, lines = changed(tmp_path / "copy", file)
    assert paths == ["."]
    assert lines[:2] == ["--- train.csv (the search)", "+++ train.csv (now)"]
    file.unlink()
    assert changed(tmp_path / "copy", file) == (["."], ["train.csv: is gone"])
    file.mkdir()
    assert changed(tmp_path / "copy", file) == (["."], ["train.csv: differs"])


def test_a_shared_folder_that_is_gone(original, tmp_path):
    copy_any(original / "data", tmp_path / "copy")
    shutil.rmtree(original / "data")
    assert changed(tmp_path / "copy", original / "data") == (["train.csv"], ["train.csv: is gone"])


# --- what the search does not use ---------------------------------------------------------------------------------------

NOTES = ["NOTES", "README.md", "run.log", "docs/todo.txt", "server.pid"]


@pytest.fixture
def noted(original, copy):
    """`noted(program)`: a copy with notes beside a program of that text."""

    def take(program):
        for path in NOTES:
            (original / path).parent.mkdir(exist_ok=True)
            (original / path).write_text("old\n")
        (original / "train.py").write_text(program)
        return copy()

    return take


def test_notes_and_logs_that_nothing_reads_are_not_used(noted):
    assert unused(noted("lr = 1\n"), [*NOTES, "train.py", "data/train.csv", "model/net.py"]) == NOTES


@pytest.mark.parametrize(
    ("program", "used"),
    [
        ("open('README.md')", ["README.md"]),
        ("glob('*.txt')", ["docs/todo.txt"]),
        ("os.listdir('docs')", ["docs/todo.txt"]),
        ("open(f'{name}.log')", ["run.log"]),
        ("Path(__file__).with_name('NOTES')", ["NOTES"]),
    ],
)
def test_what_a_program_names_is_used(noted, program, used):
    free = unused(noted(program), NOTES)
    assert [path for path in NOTES if path not in free] == used


def test_what_the_command_names_is_used(noted):
    assert "run.log" not in unused(noted("lr = 1\n"), NOTES, ["--log=run.log"])
