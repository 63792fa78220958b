"""Durations, metrics, directions; and settings that come back from the journal."""

import inspect
import json
import math
import re

import pytest

import studio
from studio.errors import BadInput
from studio.experiment import FITNESS, Metric
from studio.options import Field
from studio.settings import (
    GROUPS,
    OPTIONS,
    RESUME_OPTIONS,
    ResumeOptions,
    RunOptions,
    Settings,
    check_environment,
    command_line,
    make_settings,
    parse_duration,
    parse_metric,
    script_of,
    sign_of,
    unread_metric,
)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("5h", 18_000),
        ("2d", 172_800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("0.5s", 0.5),
        ("1.5m", 90),
        (" 90 ", 90),
        ("90S", 90),
        (90, 90),
        (0.25, 0.25),
        (1e-5, 1e-5),
        (9e8, 9e8),
        (None, None),
    ],
)
def test_durations_are_read(given: str | float | None, seconds: float | None) -> None:
    assert parse_duration(given, "--max-time") == seconds


@pytest.mark.parametrize("given", [math.nan, math.inf, 1e16, -1.0, 0.0])
def test_numbers_that_are_no_duration_are_refused(given: float) -> None:
    with pytest.raises(BadInput, match="--max-time"):
        parse_duration(given, "--max-time")


@pytest.mark.parametrize("given", ["", "s", "5x", "-5s", "5 minutes", "h5", "1,5h", "nan", "inf"])
def test_what_is_no_duration_is_refused(given: str) -> None:
    with pytest.raises(BadInput, match=r"--max-time .* is not a duration; write for example 90s, 15m, 5h or 2d"):
        parse_duration(given, "--max-time")


@pytest.mark.parametrize("given", ["1h30", "5s5"])
def test_a_number_without_unit_behind_another_is_refused(given: str) -> None:
    with pytest.raises(BadInput):
        parse_duration(given, "--max-time")


@pytest.mark.parametrize("given", ["0", "0s", 0, "0h0m", "0.0"])
def test_a_duration_of_nothing_is_refused(given: str | float) -> None:
    with pytest.raises(BadInput, match="longer than 0"):
        parse_duration(given, "--max-time")


@pytest.mark.parametrize("given", [-1, float("nan"), float("inf")])
def test_a_number_that_is_no_duration_is_refused(given: float) -> None:
    with pytest.raises(BadInput):
        parse_duration(given, "--max-time")


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        (None, FITNESS),
        ("val_loss", Metric("val_loss", "last")),
        ("val_loss:min", Metric("val_loss", "min")),
        ("val_loss:max", Metric("val_loss", "max")),
        ("val_loss:last", Metric("val_loss", "last")),
        ("fitness:min", Metric("fitness", "min")),
        ("sub/tag:max", Metric("sub/tag", "max")),
        ("jsonl:logs/m.jsonl:val.loss:min", Metric("jsonl:logs/m.jsonl:val.loss", "min")),
        ("jsonl:m.jsonl:acc", Metric("jsonl:m.jsonl:acc", "last")),
        ("min", Metric("min", "last")),
        ("loss:min:max", Metric("loss:min", "max")),
        ("loss:mni", Metric("loss:mni", "last")),  # refused later: no plugin reads it
    ],
)
def test_metrics_are_read(text: str | None, metric: Metric) -> None:
    assert parse_metric(text) == metric


@pytest.mark.parametrize("text", ["", ":min", "loss:", ":", "::max"])
def test_what_names_no_metric_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="has no metric name"):
        parse_metric(text)


def test_a_misspelt_mode_draws_the_right_one() -> None:
    error = unread_metric("val_loss:mni")
    assert str(error) == (
        "--metric 'val_loss:mni': 'mni' is not a mode; did you mean 'min'? Write val_loss:min, val_loss:max or val_loss"
    )


@pytest.mark.parametrize(
    ("direction", "mode", "sign"),
    [
        (None, "min", -1),
        (None, "max", 1),
        (None, "last", 1),
        ("min", "last", -1),
        ("max", "min", 1),
        ("min", "max", -1),
    ],
)
def test_a_direction_overrides_the_mode(direction: str | None, mode: str, sign: int) -> None:
    assert sign_of(direction, Metric("loss", mode)) == sign  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", ["", "down", "MIN"])
def test_another_direction_is_refused(direction: str) -> None:
    with pytest.raises(BadInput, match="neither min nor max"):
        make_settings("train.py", direction=direction)


def test_settings_survive_the_journal() -> None:
    settings = make_settings(
        "train.py",
        ["30"],
        hyperparams={"lr": "0.1:0.2", "n": (1, 2), "b": True, "none": None},
        metric="loss:min",
        max_time="15m",
        max_duration=2,
        num_workers="2",
        capture=("a:b",),
        env={"A": "1"},
        seed=None,
    )
    assert (settings.max_time, settings.max_duration, settings.num_workers) == (900, 2, 2)
    assert (settings.capture, settings.ranges["n"]) == (["a:b"], [1, 2])
    assert Settings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


def test_settings_of_another_version_keep_what_is_known() -> None:
    assert Settings.from_dict({"script": "a.py", "of_the_future": 1}) == Settings("a.py")


@pytest.mark.parametrize("value", [{"a": 1}, object(), {1, 2}])
def test_a_range_that_the_journal_cannot_keep_is_refused(value: object) -> None:
    with pytest.raises(BadInput, match="hyperparameter lr: give a range as text"):
        make_settings("train.py", hyperparams={"lr": value})


# --- the schema -------------------------------------------------------------------------------------------------------


def test_the_typed_dicts_have_the_options_of_the_schema() -> None:
    keywords = {field.keyword for field in OPTIONS.values()} | {"backend_options"}
    assert set(RunOptions.__annotations__) == keywords
    changeable = {field.keyword for field in OPTIONS.values() if field.option.resume} | {"backend_options"}
    assert set(ResumeOptions.__annotations__) == changeable


@pytest.mark.parametrize(("function", "options"), [(studio.run, OPTIONS), (studio.resume, RESUME_OPTIONS)])
def test_the_signature_shows_every_option(function, options) -> None:
    shown = inspect.signature(function).parameters
    assert {field.keyword: field.default for field in options.values()} == {
        name: shown[name].default for name in (field.keyword for field in options.values())
    }
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in shown.values())


def test_every_option_has_a_help_and_a_group() -> None:
    for field in OPTIONS.values():
        assert field.option.help.endswith("."), field.name
        assert field.option.group in GROUPS, field.name
        assert field.is_switch != bool(field.option.metavar), field.name


def test_no_two_options_are_spelled_alike() -> None:
    names = [name for field in OPTIONS.values() for name in field.names]
    assert sorted(names) == sorted(set(names))


SAMPLES = {  # of each option, a text as it may be typed
    "hyperparams": ["lr=0.1:0.2", "name=adam,sgd"],
    "optimizer": "cma",
    "options": ["popsize=8", "x=a=b"],
    "seed": "7",
    "prune": "fast",
    "prune_after": "7",
    "target": "0.95",
    "patience": "30",
    "max_failures": "9",
    "metric": "val_loss:min",
    "link": ["data"],
    "direction": "minimize",
    "python": "/usr/bin/python3",
    "env": ["A", "HOME"],
    "substitute": ["conf.yaml"],
    "start_from": ["lr=0.01"],
    "learn_from": ["earlier"],
    "capture": ["model:m"],
    "capture_once": ["data:d", "more:e"],
    "reuse": ["p/1/m:m"],
    "keep": "best",
    "num_workers": "4",
    "backend": ["folder:/shared/dir"],
    "cpus": "2",
    "gpus": "1",
    "ram": "8GB",
    "hdd": "20GB",
    "max_experiments": "50",
    "max_time": "1h30m",
    "max_duration": "0.25s",
    "retry_failed": ["2,memory=0"],
    "on_failure": ["crash=stop", "lost=stop"],
    "max_workspace": "2GB",
    "max_log": "1500",
}


def sample(field: Field):
    return True if field.is_switch else SAMPLES[field.keyword]


@pytest.mark.parametrize("field", OPTIONS.values(), ids=lambda field: field.name)
def test_what_is_written_back_is_read_as_the_same(field, monkeypatch) -> None:
    """The words of `command_line` give each option's value again."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("A", "1")
    value = field.read(sample(field))
    assert value != field.default, "the sample shows nothing"
    words = field.words(value)
    if field.is_switch:
        assert words == [field.flag]
        return
    texts = [word.removeprefix(field.flag).removeprefix("=") for word in words]
    assert field.read(texts if field.is_repeatable else texts[0]) == value
    assert field.read(value) == value, "a value that is read already stays"


def test_values_to_start_from_may_be_mappings() -> None:
    starts = [{"lr": 0.1, "opt": "a,b"}, "n=3"]
    assert make_settings("train.py", start_from=starts).start_from == ["lr=0.1,opt='a,b'", "n=3"]
    assert make_settings("train.py", start_from=starts[0]).start_from == ["lr=0.1,opt='a,b'"]


def test_a_secret_is_not_written_back(monkeypatch) -> None:
    monkeypatch.setenv("TOKEN", "hidden")
    settings = make_settings("train.py", env=["TOKEN"])
    assert settings.env == {"TOKEN": None}  # its value is stored nowhere
    check_environment(settings.env)
    monkeypatch.delenv("TOKEN")
    with pytest.raises(BadInput, match="--env TOKEN takes its value from the environment"):
        check_environment(settings.env)
    assert command_line(settings) == ["studio", "run", "--env=TOKEN", "train.py"]


def test_texts_and_values_are_the_same_to_a_program() -> None:
    assert make_settings("a.py", max_log="1GB", max_workspace="2 MB", cpus="3", repeat="yes") == make_settings(
        "a.py", max_log=10**9, max_workspace=2 * 10**6, cpus=3, repeat=True
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": "some"}, "--keep 'some': choose all, best or none"),
        ({"max_log": "much"}, "--max-log 'much' is not a size; write for example 500MB or 2GB"),
        ({"cpus": 1.5}, "--cpus 1.5 is not a whole number"),
        ({"seed": "x"}, "--seed 'x' is not a whole number"),
        ({"max_experiments": 0}, "--max-experiments 0: at least 1 is needed"),
        ({"num_workers": 0}, "--num-workers 0: at least 1, or auto, is needed"),
        ({"num_workers": 2.7}, "--num-workers 2.7 is not a whole number"),
        ({"num_workers": True}, "--num-workers True is not a whole number"),
        ({"cpus": "1_000"}, "--cpus '1_000' is not a whole number"),
        ({"num_workers": "many"}, "--num-workers 'many' is neither a number nor auto"),
        ({"repeat": "perhaps"}, "--repeat 'perhaps' is not true or false"),
        ({"metric": 3}, "--metric 3 is not a text or None"),
        ({"backend": ["local", "ec2"]}, "local and ec2: a search runs in one place; give --backend or --cloud once"),
        ({"env": ["NO_SUCH_VARIABLE_HERE"]}, "the environment has no NO_SUCH_VARIABLE_HERE to take it from"),
        ({"max_experimants": 3}, "studio.run has no option 'max_experimants'; did you mean 'max_experiments'?"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_name_of_the_option(given, message) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        make_settings("train.py", **given)


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("train.py --config run.sh", "train.py"),
        ("python -u main.py 30", "main.py"),
        ("python -m pkg.train --lr 1", "pkg.train"),
        ("torchrun --nproc 2 lib/train.py", "lib/train.py"),
        ("accelerate launch -m train", "train"),
        ("make train", "make"),
        ("pkg.train", "pkg.train"),
    ],
)
def test_the_script_in_a_command_is_what_people_call_it(command, script):
    assert script_of(command.split()) == script
