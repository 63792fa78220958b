"""The output of a run, a piece at a time."""

import os

import pytest

from studio.dashboard import run_files as files
from studio.dashboard.logs import MATCHES, MOST, Log


@pytest.fixture
def log(browser, project, home):
    """`log(data)` makes experiment 1's output of `data`; `ask("tail=5")` is what the dashboard says of it."""
    project(count=1)
    folder = home / "projects" / "digits" / "1" / "1"
    folder.mkdir(parents=True)

    def ask(query, data=None):
        if data is not None:
            (folder / "output.log").write_bytes(data)
        return browser.json(f"/api/projects/digits/experiments/1/log?{query}")

    return ask


def test_from_a_place_on(log):
    found = log("offset=0&limit=6", b"epoch 1\nepoch 2\n")
    assert (found["text"], found["offset"], found["next"], found["size"], found["running"]) == (
        "epoch ",
        0,
        6,
        16,
        False,
    )
    assert log("offset=6")["text"] == "1\nepoch 2\n"
    assert log("offset=16") == {**found, "text": "", "offset": 16, "next": 16}
    assert log("offset=99")["text"] == "epoch 1\nepoch 2\n"  # it was emptied and began anew
    assert log("")["text"] == "epoch 1\nepoch 2\n"


def test_read_on_to_the_end_it_is_whole(log):
    text = "é€😀\x1b[31mred\x1b[0m\n" * 5
    begin, found = 0, ""
    log("", text.encode())
    while (piece := log(f"offset={begin}&limit=7"))["text"]:
        found += piece["text"]
        begin = piece["next"]
    assert found == text  # no character was cut in two


def test_bytes_that_are_no_text(log):
    assert log("offset=0", b"\xff\xfe\x80 ok \xc3")["text"] == "\ufffd\ufffd\ufffd ok \ufffd"
    begin = 0
    log("", b"\xff\x80\x80\x80\x80\x80" * 3)
    for _ in range(20):
        begin = log(f"offset={begin}&limit=3")["next"]
    assert begin == 18  # it does not stand still


def test_the_end_begins_with_a_line(log):
    found = log("tail=12", b"first line\nsecond line\nthird\n")
    assert (found["text"], found["offset"]) == ("third\n", 23)
    assert log("tail=1000")["text"] == "first line\nsecond line\nthird\n"
    assert log("tail=4", b"x" * 100)["text"] == "xxxx"  # one line, longer than that


def test_search(log):
    found = log("search=ERR", b"ok\nAn error here\nok\nerr\xc3\xa4r\n")
    assert found == {
        "matches": [{"offset": 3, "line": 2, "text": "An error here"}, {"offset": 20, "line": 4, "text": "errär"}],
        "next": None,
    }
    assert log("search=nix") == {"matches": [], "next": None}
    assert log("search=") == {"matches": [], "next": None}
    assert [match["offset"] for match in log("search=e&offset=17")["matches"]] == [20]


def test_search_for_letters_beyond_ascii(log):
    """Their case matters: bytes are compared."""
    assert [match["line"] for match in log("search=ÜBER", "ÜBER\nüber\nÜber\n".encode())["matches"]] == [1, 3]
    assert [match["line"] for match in log("search=%C3%BCbe")["matches"]] == [2]


def test_search_finds_what_lies_between_two_pieces(log):
    chunk = 1 << 20
    found = log("search=needle", b"x" * (chunk - 3) + b"needle and more\n" + b"y" * chunk + b"\nneedle")
    assert [match["offset"] for match in found["matches"]] == [0, chunk - 3 + 16 + chunk + 1]
    assert all("needle" in match["text"] for match in found["matches"])
    assert all(len(match["text"]) < 1000 for match in found["matches"])


def test_search_goes_on(log):
    log("", b"".join(b"hit %d\n" % number for number in range(MATCHES + 50)))
    first = log("search=hit")
    assert len(first["matches"]) == MATCHES
    rest = log(f"search=hit&offset={first['next']}")
    assert [match["text"] for match in rest["matches"]] == [f"hit {number}" for number in range(MATCHES, MATCHES + 50)]
    assert rest["next"] is None


def test_a_gigabyte_with_a_hole(log, home):
    path = home / "projects" / "digits" / "1" / "1" / "output.log"
    log("", b"the beginning\n")
    with open(path, "r+b") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    assert log("tail=20")["text"].endswith("the end\n")
    assert (
        "the end" in log(f"offset={1 << 20}")["text"] or log(f"offset={1 << 20}")["offset"] > 1 << 20
    )  # what lies between is left out
    assert [match["text"].strip("\0") for match in log("search=the end")["matches"]] == ["the end"]
    assert len(log(f"offset=0&limit={1 << 40}")["text"]) <= MOST


def test_what_a_script_may_put_there(log, home):
    folder = home / "projects" / "digits" / "1" / "1"
    empty = {"text": "", "offset": 0, "next": 0, "size": 0, "running": False, "attempt": 1}
    assert log("tail=10") == empty
    os.mkfifo(folder / "output.log")
    assert log("tail=10") == empty
    (folder / "output.log").unlink()
    (home / "secret").write_text("the treasure")
    (folder / "output.log").symlink_to(home / "secret")
    assert log("tail=10") == empty
    (folder / "output.log").unlink()
    (folder / "output.log").mkdir()
    assert log("search=e") == {"matches": [], "next": None}


def test_a_log_is_closed(tmp_path):
    (tmp_path / "output.log").write_text("x")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with Log(tmp_path) as log:
        assert log.size == 1
    assert log.size == 0
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_goes_while_files_are_listed_is_left_out(project, monkeypatch):
    store = project(count=1)
    folder = store.folder / "1" / "1"
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / name).write_text("12")
    own = files.quote
    monkeypatch.setattr(files, "quote", lambda path: ((folder / "b").unlink(missing_ok=True), own(path))[1])
    found = files.list_files("digits", 1, folder, store.folder / "source")
    assert [(file["path"], file["size"]) for file in found] == [("a", 2), ("c", 2)]
