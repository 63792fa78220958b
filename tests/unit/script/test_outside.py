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


DATA = {"../data": "up/data"}
HERE = "from pathlib import Path\nimport os\nfrom os import path as osp\n"


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("Path(__file__).parent.parent / 'data'", DATA),
        ("Path(__file__).resolve().parent.parent / 'data' / 'x.csv'", DATA),
        ("Path(__file__).absolute().parents[1] / 'data' / name", DATA),
        ("Path(__file__).parents[1].joinpath('data', 'x.csv')", DATA),
        ("Path(__file__).parent.joinpath('..', 'data')", DATA),
        ("str(Path(os.path.abspath(__file__)).parent.parent) + '/data/x.csv'", DATA),
        ("os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')", DATA),
        ("osp.join(osp.dirname(osp.abspath(__file__)), '..', 'data', name + '.csv')", DATA),
        ("os.path.join(os.path.dirname(__file__), '../data/x.csv')", DATA),
        ("ROOT = Path(__file__).parent.parent\nDATA = ROOT / 'data'\nopen(DATA / 'x.csv')", DATA),
        (
            "BASE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))\nopen(f'{BASE_DIR}/data/{name}')",
            DATA,
        ),
        ("class C:\n    root = Path(__file__).parent.parent\nopen(C.root / 'data')", DATA),
        ("Path.cwd().parent / 'data'", DATA),
        ("os.path.join(os.getcwd(), '..', 'data')", DATA),
        ("Path('..') / 'data'", DATA),
        ("Path('..', 'data', 'x.csv')", DATA),
        ("os.path.join('..', 'data')", DATA),
        ("open(f'../data/{name}.csv')", DATA),
        ("Path(__file__).parent.parent.parent / 'top'", {"../../top": "top"}),
        ("Path(__file__).parents[3] / 'top'", {}),
        ("Path(__file__).parent.parent", {}),
        ("Path(__file__).parent / 'src'", {}),
        ("Path(__file__).parent.parent / name", {}),
        ("Path(there).parent.parent / 'data'", {}),
        ("', '.join(['..', 'data'])", {}),
        ("x = 1  # not ../data", {}),
    ],
)
def test_paths_that_are_made(work, tmp_path, text, links):
    program = Program("train.py", read={"train.py": (HERE + text).encode()}.get)
    assert outside_paths(program, work) == {path: str(tmp_path / target) for path, target in links.items()}


def test_an_absolute_path_needs_no_link(work, tmp_path):
    program = Program("train.py", read={"train.py": f"open('{tmp_path}/up/data/x.csv')".encode()}.get)
    assert outside_paths(program, work) == {}


def test_modules_of_a_folder_on_the_path_are_linked(work, tmp_path):
    (tmp_path / "up/helpers.py").write_text("import package.part\n")
    (tmp_path / "up/other.py").write_text("")
    (tmp_path / "up/package").mkdir()
    (tmp_path / "up/package/part.py").write_text("import deeper\n")
    (tmp_path / "up/deeper.py").write_text("")
    for text in ("sys.path.append('..')", "sys.path.insert(0, str(Path(__file__).parent.parent))"):
        program = Program("train.py", read={"train.py": f"{HERE}{text}\nimport helpers, os\n".encode()}.get)
        names = ("helpers.py", "package", "deeper.py")
        assert outside_paths(program, work) == {f"../{name}": str(tmp_path / "up" / name) for name in names}
    program = Program("train.py", read={"train.py": b"import helpers\n"}.get)
    assert outside_paths(program, work) == {}


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
        with pytest.raises(BadInput, match="is not an existing path outside"):
            outside_paths(program, work, [wrong])
