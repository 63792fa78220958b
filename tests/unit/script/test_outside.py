import pytest

from studio.errors import BadInput
from studio.script.outside import outside_paths
from studio.script.program import Program


@pytest.fixture
def work(tmp_path):
    """A working directory with folders beside and above it."""
    for name in ("up/data", "up/work/src", "top", "up/tb", "up/1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "up/data/x.csv").write_text("")
    return tmp_path / "up" / "work"


@pytest.mark.parametrize(
    ("text", "arguments", "links"),
    [
        ("open('../data/x.csv')", [], {"../data": "up/data"}),
        ('root = "../data"', [], {"../data": "up/data"}),
        ("x = 1", ["--data=../data"], {"../data": "up/data"}),
        ("x = 1", ["../data/x.csv"], {"../data": "up/data"}),
        ("f('../../top')", [], {"../../top": "top"}),
        ("f('./../data')", [], {"../data": "up/data"}),
        ("f('../missing', '../tb', '..', '../', '../../', '../../../etc', '../work', '../outcome.json')", [], {}),
        ("f('data/../src')", [], {}),
    ],
)
def test_paths_that_leave_the_working_directory_are_linked(work, tmp_path, text, arguments, links):
    program = Program("train.py", arguments, read={"train.py": text.encode()}.get)
    assert outside_paths(program, work) == {path: str(tmp_path / target) for path, target in links.items()}


def test_paths_may_be_relative_to_the_folder_of_the_script(work, tmp_path):
    program = Program("src/train.py", read={"src/train.py": b"f(here / '../../data')"}.get)
    assert outside_paths(program, work) == {"../data": str(tmp_path / "up/data")}


def test_links_may_be_named(work, tmp_path):
    program = Program("train.py", read={"train.py": b""}.get)
    assert outside_paths(program, work, ["../data"]) == {"../data": str(tmp_path / "up/data")}
    for wrong in ("data", "../missing", "../../../x", "/etc"):
        with pytest.raises(BadInput, match="is no path that exists outside"):
            outside_paths(program, work, [wrong])
