"""Every diff that Studio prints applies with `git apply` and gives the very file that runs."""

import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.script.diff import unified_diff
from studio.script.program import Program
from studio.script.substitution import Substitution

LINES = ["lr = 0.1", "print(lr)", "x = 1", "", "# é", "f(lr, x)", "lr = lr", "\ty = 'a'", "z = '''", "'''"]


def apply(folder, diff):
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent), "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", "apply", "-"], cwd=folder, input=diff.encode(), env=env, check=True, timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("applied")


@given(
    st.lists(st.sampled_from(LINES), max_size=14),
    st.lists(st.sampled_from(LINES), max_size=14),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_diff_applies(folder, before, after, newline, ends, still_ends):
    old, new = newline.join(before) + newline * ends, newline.join(after) + newline * still_ends
    if not old or not new:
        return
    (folder / "train.py").write_bytes(old.encode())
    diff = unified_diff("train.py", old, new)
    assert bool(diff) == (old != new)
    if diff:
        apply(folder, diff)
    assert (folder / "train.py").read_bytes() == new.encode()


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"train.py": b"lr = 0.1\nprint(lr)"}, "lr"),
        ({"train.py": b"lr = 0.1\r\nprint(lr)\r\n"}, "lr"),
        ({"train.py": b"a = 1\n" * 9 + b"SVC(C=1.0)\n"}, "C"),
        ({"train.py": b"open('c.yaml')\n", "c.yaml": b"a:\n  lr: 0.1"}, "lr"),
        ({"train.py": b"x = 1\n", "a/b.json": b'{"lr": 0.1}\n'}, "a/b.json:lr"),
    ],
)
def test_the_diff_of_a_search_gives_the_file_that_runs(tmp_path, files, name):
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    substitution = Substitution(Program("train.py", read=files.get), [name])
    apply(tmp_path, substitution.diff({name: 0.5}))
    for path, data in {**files, **substitution.changes({name: 0.5})}.items():
        assert (tmp_path / path).read_bytes() == data
