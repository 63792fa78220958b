"""The program that a project's settings name, for whoever starts it, writes into it or shows it."""

from studio.search.plan import program_of
from studio.settings import Settings


def test_a_program_has_its_environment_and_its_files_by_one_name(tmp_path, monkeypatch):
    monkeypatch.delenv("TOKEN", raising=False)
    for name in ("train.py", "other.py"):
        (tmp_path / name).write_text("lr = 0.1\nprint(lr)\n")
    settings = Settings("train.py", env={"RATE": "{lr}", "TOKEN": None}, substitute=["./other.py"])
    program = program_of(settings, tmp_path)
    assert (program.script, program.more, program.env) == ("train.py", ["other.py"], {"RATE": "{lr}"})
