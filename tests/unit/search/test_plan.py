"""The program that a project's settings name, and what is checked before a search of it starts."""

import pytest

from studio.errors import BadInput
from studio.host import create_host
from studio.search.plan.plan import program_of
from studio.search.run import plan_new_project
from studio.settings import Settings, make_settings


def test_a_program_has_its_environment_and_its_files_by_one_name(tmp_path, monkeypatch):
    monkeypatch.delenv("TOKEN", raising=False)
    for name in ("train.py", "other.py"):
        (tmp_path / name).write_text("lr = 0.1\nprint(lr)\n")
    settings = Settings("train.py", env={"RATE": "{lr}", "TOKEN": None}, substitute=["./other.py"])
    program = program_of(settings, tmp_path)
    assert (program.script, program.more, program.env) == ("train.py", ["other.py"], {"RATE": "{lr}"})


@pytest.mark.parametrize(
    ("range", "instead"),
    [
        ("2:6", "write epochs=2:6:i, or, where the script takes fractions, epochs=2.0:6"),
        ("16:1e3:l~64", "write epochs=16:1e3:li~64, or, where the script takes fractions, epochs=16.0:1e3:l~64"),
        ("2.0:6.0", ""),
        ("2.5:6", ""),
        ("2:6:i", ""),
        ("0:1", ""),
        ("3,4", ""),
    ],
)
@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"train.py": "epochs = 4\nprint(epochs)\n"}, "train.py:2 "),
        (
            {"train.py": "import yaml\nprint(yaml.safe_load(open('c.yaml')))\n", "c.yaml": "epochs: 4\n"},
            "c.yaml:1 ",
        ),
        (
            {"train.py": "from dataclasses import dataclass\n@dataclass\nclass C:\n    epochs: int = 4\nprint(C())\n"},
            "train.py:4 ",
        ),
    ],
)
def test_a_whole_number_asks_which_numbers_are_meant(script, files, place, range, instead):
    for name, text in files.items():
        script(name, text)
    settings = make_settings("train.py", hyperparams={"epochs": range}, optimizer="auto", max_experiments=1)
    if not instead:
        plan_new_project(settings, None, create_host())
        return
    with pytest.raises(BadInput) as refused:
        plan_new_project(settings, None, create_host())
    assert str(refused.value).startswith(f"hyperparameter epochs={range}: {place}")
    assert str(refused.value).endswith(f" is a whole number; {instead}")


@pytest.mark.parametrize(
    "text", ["lr = 1\nprint(lr)\n", "scale = 0\nlr = scale\nprint(lr)\n", "lr = True\nprint(lr)\n"]
)
def test_numbers_that_say_nothing_of_their_kind_may_be_real(script, text):
    script("train.py", text)
    name = "scale" if "scale" in text else "lr"
    settings = make_settings("train.py", hyperparams={name: "0:5"}, optimizer="random", max_experiments=1)
    assert plan_new_project(settings, None, create_host())


def test_starts_beyond_the_budget_are_named(script):
    script("train.py", "lr = 0.1\nprint(lr)\n")
    given = {"hyperparams": {"lr": "0:1"}, "optimizer": "random", "start_from": ["lr=0.2", "lr=0.3"]}
    plan, _ = plan_new_project(make_settings("train.py", max_experiments=1, **given), None, create_host())
    assert "--max-experiments 1 leaves out the last 2 experiments of those to start from" in plan.notices
    plan, _ = plan_new_project(make_settings("train.py", max_experiments=3, **given), None, create_host())
    assert not any("leaves out" in notice for notice in plan.notices)


@pytest.mark.parametrize(("optimizer", "said"), [("random", True), ("auto", False)])
def test_a_belief_that_changes_nothing_is_named(script, optimizer, said):
    script("train.py", "lr = 0.1\nprint(lr)\n")
    settings = make_settings("train.py", hyperparams={"lr": "0.01:1:l~0.1"}, optimizer=optimizer)
    plan, _ = plan_new_project(settings, None, create_host())
    assert (f"{optimizer} takes no account of beliefs (~)" in plan.notices) == said


def test_a_grid_between_whole_numbers_is_refused(script):
    script("train.py", "batch = 64\nprint(batch)\n")
    with pytest.raises(BadInput, match=r"is a whole number, and 109\.333 is none; write batch=64,109,155,200"):
        plan_new_project(make_settings("train.py", hyperparams={"batch": "64:u4:200"}), None, create_host())
    for values in ("64:u4:196", "64,65.5", "64:0.5:66", "1e-3:u4:4e-3"):
        assert plan_new_project(make_settings("train.py", hyperparams={"batch": values}), None, create_host())
