"""Copies of the source: what they leave out, and that nobody's copy is anybody else's."""

import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from studio.errors import BadInput
from studio.format import byte_size
from studio.options import parse_bytes
from studio.project.source import SourceFiles, copy_source, scan_source
from studio.system.copying import copy_any, copy_file, copy_shared, copy_tree, remove_tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def fill(folder: Path, files: Mapping[str, str | int]) -> None:
    """path -> text, or a size in bytes."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * text if isinstance(text, int) else text.encode())


def snapshot_of(source: Path, target: Path) -> SourceFiles:
    snapshot = scan_source(source)
    copy_source(snapshot, target)
    return snapshot


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- what is left out -------------------------------------------------------------------------------------------------


def test_everything_is_copied_but_git_environments_and_caches(source: Path, tmp_path: Path) -> None:
    kept = {
        "train.py": "1",
        ".env": "2",
        "data/a.csv": "3",
        "deep/er/x": "",
        ".gitignore": "data/",
        "venv.py": "",
        "build/conda-meta": "a file",
        "git/.gitkeep": "",
    }
    left_out = {
        ".git/config": "",
        "sub/.git/objects/1": "",
        "__pycache__/a.pyc": "",
        "deep/__pycache__/b.pyc": "",
        "venv/pyvenv.cfg": "",
        "venv/lib/x.py": "",
        ".venv/pyvenv.cfg": "",
        "tools/env-of-mine/pyvenv.cfg": "",
        "conda/conda-meta/history": "",
        "conda/lib/y.py": "",
    }
    fill(source, kept | left_out)
    (source / "empty").mkdir()
    snapshot = snapshot_of(source, tmp_path / "copy")
    files = sorted(p for p in tree(tmp_path / "copy") if (tmp_path / "copy" / p).is_file())
    assert files == sorted(snapshot.files) == sorted(kept)
    assert {p for p in tree(tmp_path / "copy") if (tmp_path / "copy" / p).is_dir()} == {
        "data",
        "deep",
        "deep/er",
        "build",
        "git",
        "sub",
        "tools",
        "empty",
    }
    assert snapshot.bytes == sum(len(text) for text in kept.values())
    assert snapshot.notices == []


def test_a_git_file_of_a_worktree_is_left_out_too(source: Path) -> None:
    fill(source, {".git": "gitdir: ../elsewhere", "a": ""})
    assert scan_source(source).files == ["a"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("data/", ["a/data2/f", "a/x.log", "b/data", "x.log", "x.py"]),
        ("data", ["a/data2/f", "a/x.log", "x.log", "x.py"]),
        ("/data", ["a/data2/f", "a/data/f", "a/x.log", "b/data", "x.log", "x.py"]),
        ("/data/", ["a/data2/f", "a/data/f", "a/x.log", "b/data", "x.log", "x.py"]),
        ("*.log", ["a/data2/f", "a/data/f", "b/data", "data/f", "data/g/h", "x.py"]),
        ("/*.log", ["a/data2/f", "a/data/f", "a/x.log", "b/data", "data/f", "data/g/h", "x.py"]),
        ("a/data", ["a/data2/f", "a/x.log", "b/data", "data/f", "data/g/h", "x.log", "x.py"]),
        ("data/*", ["a/data2/f", "a/data/f", "a/x.log", "b/data", "x.log", "x.py"]),
        ("a/*/f", ["a/x.log", "b/data", "data/f", "data/g/h", "x.log", "x.py"]),
        ("**/data", ["a/data2/f", "a/x.log", "data/f", "data/g/h", "x.log", "x.py"]),
        ("data?", ["a/data/f", "a/x.log", "b/data", "data/f", "data/g/h", "x.log", "x.py"]),
        ("x.[lp]*", ["a/data2/f", "a/data/f", "b/data", "data/f", "data/g/h"]),
        ("a\nb\ndata", ["x.log", "x.py"]),
        ("# x.py\n\n   \n  data/  \n", ["a/data2/f", "a/x.log", "b/data", "x.log", "x.py"]),
        ("#x.log", None),
        ("X.LOG", None),
        ("/", None),
        ("", None),
    ],
)
def test_studioml_ignore_is_obeyed(source: Path, pattern: str, left: list[str] | None) -> None:
    everything = ["a/data2/f", "a/data/f", "a/x.log", "b/data", "data/f", "data/g/h", "x.log", "x.py"]
    fill(source, dict.fromkeys(everything, ""))
    fill(source, {".studioml_ignore": pattern})
    assert sorted(scan_source(source).files) == sorted([".studioml_ignore", *(everything if left is None else left)])


def test_an_ignore_file_in_a_strange_encoding_is_no_obstacle(source: Path) -> None:
    (source / ".studioml_ignore").write_bytes(b"\xff\xfe\r\ndata/\r\n*.bin\r\n")
    fill(source, {"data/x": "", "y.bin": "", "z": ""})
    assert scan_source(source).files == [".studioml_ignore", "z"]


def test_a_home_inside_the_source_is_left_out_by_whatever_way_it_is_reached(source: Path) -> None:
    fill(source, {"runs/home/projects/p/studio.db": "x", "runs/x": "", "a": ""})
    (source / "link").symlink_to("runs/home")
    snapshot = scan_source(source, leave_out=[source / "runs" / "home"])
    assert snapshot.files == ["a", "runs/x"]
    assert snapshot.links == {}
    (source / "alias").symlink_to(source.parent / "source")
    assert scan_source(source, leave_out=[source / "alias" / "runs" / "home"]).files == ["a", "runs/x"]


# --- links, pipes and what cannot be read -----------------------------------------------------------------------------


def test_links_stay_links_and_arrive(source: Path, tmp_path: Path) -> None:
    fill(source, {"a/file": "inside", "b/x": ""})
    fill(tmp_path, {"outside/data.csv": "outside"})
    links = {
        "direct": "a/file",
        "b/up": "../a/file",
        "folder": "a",
        "b/out": "../../outside",
        "out-file": "../outside/data.csv",
        "absolute": str(tmp_path / "outside"),
        "dangling": "nowhere/at/all",
        "self": "self",
        "b/loop": "..",
        "here": ".",
    }
    for path, target in links.items():
        (source / path).symlink_to(target)
    snapshot = snapshot_of(source, tmp_path / "project" / "source")
    copy_tree(tmp_path / "project" / "source", tmp_path / "project" / "1" / "1" / "workspace")
    assert set(snapshot.links) == set(links)
    assert snapshot.files == ["a/file", "b/x"]
    copy = tmp_path / "project" / "1" / "1" / "workspace"
    assert all((copy / path).is_symlink() for path in links)
    for path, text in {
        "direct": "inside",
        "b/up": "inside",
        "folder/file": "inside",
        "b/loop/a/file": "inside",
        "here/b/up": "inside",
        "b/out/data.csv": "outside",
        "out-file": "outside",
        "absolute/data.csv": "outside",
    }.items():
        assert (copy / path).read_text() == text, path
    for path in ("direct", "b/up", "folder/file", "b/loop/a/file"):
        assert (copy / path).resolve() == copy / "a" / "file", path
    assert os.readlink(copy / "dangling") == "nowhere/at/all"
    assert os.readlink(copy / "self") == "self"


def test_an_absolute_link_into_the_source_arrives_in_the_copy(source: Path, tmp_path: Path) -> None:
    fill(source, {"a/file": "inside"})
    (source / "link").symlink_to(source / "a" / "file")
    snapshot_of(source, tmp_path / "copy")
    (tmp_path / "copy" / "link").write_text("changed by an experiment")
    assert (source / "a" / "file").read_text() == "inside"


def test_a_link_through_another_name_of_the_source_arrives_in_the_copy(tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to("real")
    source = tmp_path / "real" / "proj"
    fill(source, {"data/file": "inside", "sub/x": ""})
    (tmp_path / "elsewhere").symlink_to(source / "data")
    for path, target in (links := {
        "absolute": str(tmp_path / "home" / "proj" / "data"),
        "sub/deeper": str(tmp_path / "home" / "proj" / "data"),
        "by-way-of-outside": str(tmp_path / "elsewhere"),
        "sub/and-back": "../../proj/data",
        "and-back": "../proj/data",
        "sub/by-another-name": "../../../home/proj/data",
        "itself": str(tmp_path / "home" / "proj"),
    }).items():  # fmt: skip
        (source / path).symlink_to(target)
    snapshot_of(source, tmp_path / "project" / "source")
    workspace = tmp_path / "project" / "1" / "1" / "workspace"
    copy_tree(tmp_path / "project" / "source", workspace)
    for path in links:
        assert (workspace / path).resolve().is_relative_to(workspace), path
    assert (workspace / "itself").resolve() == workspace
    for path in (*links.keys() - {"itself"}, "itself/absolute"):
        (workspace / path / "file").write_text("changed by an experiment")
        assert (source / "data" / "file").read_text() == "inside", path


def test_a_link_in_a_copied_folder_still_arrives(tmp_path: Path) -> None:
    fill(tmp_path, {"data/a/x": "inside", "big/y": "outside"})
    (tmp_path / "data" / "big").symlink_to("../big")
    (tmp_path / "data" / "a" / "same").symlink_to("x")
    copy_any(tmp_path / "data", tmp_path / "deep" / "er" / "copy")
    copy = tmp_path / "deep" / "er" / "copy"
    assert (copy / "big" / "y").read_text() == "outside"
    assert os.readlink(copy / "a" / "same") == "x"


def test_what_many_read_nobody_may_write(tmp_path: Path) -> None:
    fill(tmp_path, {"data/a/x": "1", "outside": "2"})
    (tmp_path / "data" / "link").symlink_to("../outside")
    copy_shared(tmp_path / "data", tmp_path / "shared")
    shared = [tmp_path / "shared" / path for path in ("", "a", "a/x")]
    assert not any(path.stat().st_mode & 0o222 for path in shared)
    assert (tmp_path / "outside").stat().st_mode & 0o200  # a link in it leads to the user's own file
    copy_any(tmp_path / "shared", tmp_path / "own")
    (tmp_path / "own" / "a" / "x").write_text("3")
    remove_tree(tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_a_script_behind_a_link_takes_new_text_without_changing_what_the_link_points_to(
    source: Path, tmp_path: Path
) -> None:
    fill(source, {"real.py": "lr = 1"})
    (source / "train.py").symlink_to("real.py")
    snapshot_of(source, tmp_path / "copy")
    (tmp_path / "copy" / "train.py").write_bytes(b"lr = 2")
    assert (source / "real.py").read_text() == "lr = 1"


def test_pipes_and_sockets_are_left_out_with_a_word(source: Path, tmp_path: Path) -> None:
    fill(source, {"a": "1"})
    os.mkfifo(source / "pipe")
    found: list[SourceFiles] = []
    thread = threading.Thread(target=lambda: found.append(snapshot_of(source, tmp_path / "copy")), daemon=True)
    thread.start()
    thread.join(5)
    assert found, "it waits for the pipe"
    assert found[0].notices == ["pipe is not a regular file and is left out"]
    assert tree(tmp_path / "copy") == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_left_out_with_a_word(source: Path, tmp_path: Path) -> None:
    fill(source, {"secret": "1", "closed/x": "2", "a": "3"})
    (source / "secret").chmod(0)
    (source / "closed").chmod(0)
    try:
        snapshot = snapshot_of(source, tmp_path / "copy")
    finally:
        (source / "closed").chmod(0o700)
    assert snapshot.files == ["a"]
    assert sorted(snapshot.notices) == [
        "closed cannot be read and is left out",
        "secret cannot be read and is left out",
    ]


def test_a_link_that_cannot_be_followed_is_left_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc/1/cwd is such a link, where the working directory is /."""
    fill(source, {"a": "1"})
    (source / "cwd").symlink_to("a")
    follow = os.path.realpath

    def realpath(path: str | Path, **options: bool) -> str:
        if str(path).endswith("/cwd"):
            raise PermissionError(13, "Permission denied", str(path))
        return follow(path, **options)

    monkeypatch.setattr(os.path, "realpath", realpath)
    snapshot = scan_source(source)
    assert (snapshot.files, snapshot.links) == (["a"], {})
    assert snapshot.notices == ["cwd cannot be read and is left out"]


def test_a_name_that_is_no_text_is_copied(source: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \n.txt")
    fill(source, {name: "1", "zwei\tdrei": "2"})
    snapshot_of(source, tmp_path / "copy")
    assert sorted(os.listdir(tmp_path / "copy")) == sorted([name, "zwei\tdrei"])


# --- too large --------------------------------------------------------------------------------------------------------


def test_a_source_that_is_too_large_names_the_largest_and_the_ways_out(source: Path) -> None:
    fill(source, {"data/a": 3000, "data/b/c": 3000, "models/x": 2000, "one.bin": 1000, "small/x": 10, "train.py": 1})
    with pytest.raises(BadInput) as caught:
        scan_source(source, max_bytes=9000)
    message = str(caught.value)
    assert "has 9.0 kB, more than the 9.0 kB" in message
    assert "largest: data (6.0 kB), models (2.0 kB), one.bin (1.0 kB). " in message
    for way in ("--capture-once data:data", ".studioml_ignore", "--max-workspace 9.9kB"):
        assert way in message
    assert scan_source(source, max_bytes=9011).bytes == 9011
    assert scan_source(source, leave_out=[source / "data"], max_bytes=4000).bytes == 3011


def test_what_is_left_out_and_what_links_point_to_does_not_count(source: Path, tmp_path: Path) -> None:
    fill(tmp_path, {"big": 5000})
    fill(source, {".git/pack": 5000, "skip/x": 5000, ".studioml_ignore": "skip", "a": 10})
    (source / "big").symlink_to("../big")
    assert scan_source(source, max_bytes=100).bytes == 14


# --- independent copies -----------------------------------------------------------------------------------------------


def test_copies_are_independent(source: Path, tmp_path: Path) -> None:
    fill(source, {"data/a": "a", "data/b": "b", "c": "c", "d": "d"})
    snapshot_of(source, tmp_path / "snapshot")
    one, two = tmp_path / "one", tmp_path / "two"
    copy_tree(tmp_path / "snapshot", one)
    copy_tree(tmp_path / "snapshot", two)
    (one / "data" / "a").write_text("changed")
    with open(one / "data" / "b", "a") as file:
        file.write("appended")
    (one / "c").unlink()
    os.truncate(one / "d", 0)
    fill(one, {"data/new": "new"})
    for folder in (source, tmp_path / "snapshot", two):
        assert {path: (folder / path).read_text() for path in ("data/a", "data/b", "c", "d")} == {
            "data/a": "a",
            "data/b": "b",
            "c": "c",
            "d": "d",
        }
        assert not (folder / "data" / "new").exists()


def test_hard_links_become_files_of_their_own(source: Path, tmp_path: Path) -> None:
    fill(source, {"a": "1"})
    os.link(source / "a", source / "b")
    snapshot_of(source, tmp_path / "copy")
    (tmp_path / "copy" / "a").write_text("2")
    assert [(source / "a").read_text(), (tmp_path / "copy" / "b").read_text()] == ["1", "1"]


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_a_copy_has_the_bytes_permissions_and_time(tmp_path: Path, size: int) -> None:
    original = tmp_path / "run.sh"
    original.write_bytes(os.urandom(size))
    original.chmod(0o750)
    os.utime(original, ns=(10**18, 10**18 + 123_000))
    copy_file(original, tmp_path / "copy")
    copied = (tmp_path / "copy").stat()
    assert (tmp_path / "copy").read_bytes() == original.read_bytes()
    assert (stat.S_IMODE(copied.st_mode), copied.st_mtime_ns) == (0o750, original.stat().st_mtime_ns)


def test_read_only_files_and_folders_can_be_copied_and_written(source: Path, tmp_path: Path) -> None:
    fill(source, {"folder/train.py": "lr = 1"})
    (source / "folder" / "train.py").chmod(0o444)
    (source / "folder").chmod(0o555)
    try:
        snapshot_of(source, tmp_path / "snapshot")
        copy_tree(tmp_path / "snapshot", tmp_path / "copy")
    finally:
        (source / "folder").chmod(0o755)
    (tmp_path / "copy" / "folder" / "train.py").write_text("lr = 2")
    assert (source / "folder" / "train.py").read_text() == "lr = 1"


def test_an_artifact_is_a_file_or_a_folder(source: Path, tmp_path: Path) -> None:
    fill(source, {"data/x": "1", "file": "2"})
    copy_any(source / "data", tmp_path / "out" / "data")
    copy_any(source / "file", tmp_path / "out" / "deep" / "file")
    assert tree(tmp_path / "out") == ["data", "data/x", "deep", "deep/file"]


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10000", 10_000),
        ("2GB", 2 * 10**9),
        ("2g", 2 * 10**9),
        ("500 MB", 500 * 10**6),
        (" 1.5k ", 1500),
        ("3TB", 3 * 10**12),
        ("7B", 7),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text, "--max-workspace") == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "0", "many", "1XB", "nan", "inf", "1e30", "1 2 GB", "1..5k"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"--max-workspace .* is not a size; write for example 500MB or 2GB"):
        parse_bytes(text, "--max-workspace")


def test_sizes_are_shown_and_read_back() -> None:
    assert [byte_size(size) for size in (0, 999, 1000, 1_550_000, 2 * 10**9, 10**13)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.6 MB",
        "2.0 GB",
        "10 TB",
    ]
    assert parse_bytes(byte_size(2 * 10**9), "") == 2 * 10**9


def test_many_files_are_said(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(source, {**{f"data/{number}": "" for number in range(5)}, "train.py": ""})
    assert scan_source(source).notices == []
    monkeypatch.setattr("studio.project.source.MANY_FILES", 5)
    (notice,) = scan_source(source).notices
    assert notice.startswith("6 files are copied for each experiment, 5 of them in data")
    assert "--capture-once data:data" in notice
