"""Commands know a project by its whole name, by a beginning of it that is unique, and the newest by none."""

import json

import pytest

from studio.cli import names
from studio.errors import BadInput, ProjectError
from studio.project.paths import project_names


@pytest.fixture
def projects(recorded, workdir):
    """Three projects, `digits-old` being the newest."""
    for name in ("digits", "words", "digits-old"):
        recorded(name, [({"x": 1}, 1.0), ({"x": 2}, "exit code 1"), ({"x": 3}, 3.0)], ranges={"x": "1,2,3"})


@pytest.mark.parametrize(
    ("text", "name"), [("digits", "digits"), ("w", "words"), ("digits-", "digits-old"), (None, "digits-old")]
)
def test_a_project_is_known_by_its_beginning_or_is_the_newest(projects, capsys, text, name):
    assert names.project_of(text) == name
    assert capsys.readouterr().err == ("" if text == name else f"studio: project {name}\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("dig", "2 projects begin with 'dig'; write more of the name: digits, digits-old"),
        ("digts", "there is no project 'digts' in .*; did you mean 'digits'"),
        ("", "'' is not a project name"),
        ("../digits", "'../digits' is not a project name"),
    ],
)
def test_what_is_no_beginning_of_one_is_refused(projects, text, error):
    with pytest.raises(ProjectError, match=error):
        names.project_of(text)


def test_without_projects_the_error_says_so(home):
    with pytest.raises(ProjectError, match="there are no projects yet; studio run starts one"):
        names.project_of(None)
    with pytest.raises(ProjectError, match="there are no projects yet"):
        names.project_of(None, prefer_running=True)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ([None], ("digits-old", [])),
        (["3"], ("digits-old", [3])),
        (["w/3", "1"], ("words", [3, 1])),
        (["w", "3", "words/1"], ("words", [3, 1])),
    ],
)
def test_experiments_are_numbers_or_keys(projects, words, meant):
    assert names.project_and_experiments(words) == meant


def test_an_experiment_of_another_project_is_refused(projects):
    with pytest.raises(BadInput, match="experiment 'digits/1' does not belong to project 'words'"):
        names.project_and_experiments(["w", "digits/1"])


def test_a_project_whose_name_is_a_number_comes_first(projects, recorded):
    recorded("3", [])
    assert names.project_and_experiments(["3"]) == ("3", [])


@pytest.mark.parametrize(("text", "key"), [(None, "digits-old/3"), ("2", "digits-old/2"), ("w/1", "words/1")])
def test_an_experiment_may_leave_out_its_project(projects, command, text, key):
    shown = command("runs", "show", "--json", *([text] if text else []))
    assert json.loads(shown.out)["experiment"] == key
    assert command("runs", "logs", *([text] if text else [])).code == 0


@pytest.mark.parametrize("name", ["export", "resume", "retry", "confirm", "add x=7"])
def test_commands_take_the_newest(projects, command, name):
    assert command(*name.split()).err.startswith("studio: project digits-old\n")


def test_what_cannot_be_undone_needs_a_whole_name(projects, command, home):
    assert command("rm", "--yes", "w").code == 2
    assert command("rm", "--yes").code == 2
    assert "studio apply PROJECT --yes" in command("apply", "--yes").err
    assert len(list((home / "projects").iterdir())) == 3


def test_a_search_that_runs_is_stopped_by_no_name(projects, command, monkeypatch):
    monkeypatch.setattr(names, "is_locked", lambda folder: folder.name == "words")
    assert names.project_of(None, prefer_running=True) == "words"
    monkeypatch.setattr(names, "is_locked", lambda folder: True)
    with pytest.raises(ProjectError, match="3 projects run here; name one of them: digits, digits-old, words"):
        names.project_of(None, prefer_running=True)


def test_the_list_names_folder_and_script(projects, command, workdir, script):
    (one, *_) = json.loads(command("runs", "list", "--json").out)
    assert (one["script"], one["folder"]) == ("train.py", str(workdir))
    assert str(workdir) in command("runs", "list").out
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    assert command("run", "--hp=lr=1", "--", "python", "train.py").code == 0
    assert [one["script"] for one in json.loads(command("runs", "list", "--json").out)] == ["train.py"] * 4
    assert len([name for name in project_names() if name.startswith("train-")]) == 1
