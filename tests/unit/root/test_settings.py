"""Durations, metrics, directions; and settings that come back from the journal."""

import json

import pytest

from studio.errors import BadInput
from studio.experiment import FITNESS, Metric
from studio.search.run import make_settings
from studio.settings import Settings, parse_direction, parse_duration, parse_metric, unread_metric


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
        (None, None),
    ],
)
def test_durations_are_read(given: str | float | None, seconds: float | None) -> None:
    assert parse_duration(given, "--max-time") == seconds


@pytest.mark.parametrize("given", ["", "s", "5x", "-5s", "5 minutes", "h5", "1,5h", "nan", "inf"])
def test_what_is_no_duration_is_refused(given: str) -> None:
    with pytest.raises(BadInput, match=r"--max-time .* is no duration; write for example 90s, 15m, 5h or 2d"):
        parse_duration(given, "--max-time")


@pytest.mark.parametrize("given", ["1h30", "5s5"])
def test_a_number_without_unit_behind_another_is_refused(given: str) -> None:
    with pytest.raises(BadInput):
        parse_duration(given, "--max-time")


@pytest.mark.parametrize("given", ["0", "0s", 0, "0h0m", "0.0"])
def test_a_duration_of_nothing_is_refused(given: str | float) -> None:
    with pytest.raises(BadInput, match="longer than nothing"):
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
    with pytest.raises(BadInput, match="names no metric"):
        parse_metric(text)


def test_a_misspelt_mode_draws_the_right_one() -> None:
    error = unread_metric("val_loss:mni")
    assert str(error) == (
        "--metric 'val_loss:mni': 'mni' is no mode; did you mean 'min'? Write val_loss:min, val_loss:max or val_loss"
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
    assert parse_direction(direction, Metric("loss", mode)) == sign  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", ["", "down", "MIN"])
def test_another_direction_is_refused(direction: str) -> None:
    with pytest.raises(BadInput, match="neither min nor max"):
        parse_direction(direction, FITNESS)


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
