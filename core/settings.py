"""What the user asked for, as plain data: kept in the project's journal, so that a resumed search is the same search."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from studio.errors import BadInput
from studio.experiment import FITNESS, MAX_LOG, Metric, Mode
from studio.text import did_you_mean

DEFAULT_EXPERIMENTS = 100  # for an optimizer that does not know its size
GRID_LIMIT = 10_000  # a larger grid is started only with --max-experiments


@dataclass(frozen=True)
class Settings:
    """All options of `studio run`, checked one by one; JSON-able. Durations are seconds, sizes bytes."""

    script: str
    arguments: list[str] = field(default_factory=list)
    module: bool = False
    ranges: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "grid"
    options: dict[str, Any] = field(default_factory=dict)
    metric: str | None = None
    direction: str | None = None
    num_workers: int = 1
    max_experiments: int | None = None
    max_time: float | None = None
    max_duration: float | None = None
    repeat: bool = False
    retry_failed: dict[str, int] = field(default_factory=dict)
    on_failure: list[str] = field(default_factory=list)
    seed: int | None = None
    backend: str = "local"
    backend_options: dict[str, Any] = field(default_factory=dict)
    cpus: int | None = None
    gpus: int = 0
    ram: str | None = None
    hdd: str | None = None
    capture: list[str] = field(default_factory=list)
    capture_once: list[str] = field(default_factory=list)
    reuse: list[str] = field(default_factory=list)
    python: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    substitute: list[str] = field(default_factory=list)
    keep: str = "all"
    max_workspace: int = 10**9
    max_log: int = MAX_LOG

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Settings":
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


LONGEST = 1e9  # seconds, thirty years
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])\s*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(given: str | float | None, option: str) -> float | None:
    """`90s`, `15m`, `5h`, `2d`, `1h30m` or a number of seconds, in seconds."""
    if given is None:
        return None
    text = str(given).strip().lower()
    text = f"{text}s" if text[-1:].isdecimal() and not any(unit in text for unit in _SECONDS) else text
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text):
        raise BadInput(f"{option} {given!r} is no duration; write for example 90s, 15m, 5h or 2d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds <= 0:
        raise BadInput(f"{option} {given!r} must be longer than nothing")
    if seconds > LONGEST:
        raise BadInput(f"{option} {str(given)[:40]!r} is longer than any search; leave it out for no limit")
    return seconds


def parse_metric(text: str | None) -> Metric:
    """`val_loss:min` as Metric("val_loss", "min"); without a mode the last value counts. None is `fitness`."""
    if text is None:
        return FITNESS
    name, colon, mode = text.rpartition(":")
    modes: dict[str, Mode] = {"min": "min", "max": "max", "last": "last"}
    if not colon or mode not in modes:
        name, mode = text, "last"
    if not name or name.startswith(":") or name.endswith(":"):
        raise BadInput(f"--metric {text!r} names no metric; write NAME, NAME:min or NAME:max")
    return Metric(name, modes[mode])


def unread_metric(text: str) -> BadInput:
    """For a metric that no plugin reads: a source that is not installed, or a mode that does not exist."""
    if text.count(":") > 1:
        return BadInput(
            f"--metric {text!r}: no plugin reads the source {text.split(':')[0]!r}; `studio plugins` lists the metric extractors"
        )
    name, _, mode = text.rpartition(":")
    hint = did_you_mean(mode, ["min", "max"])
    return BadInput(
        f"--metric {text!r}: {mode!r} is no mode{hint}{'' if hint.endswith('?') else '.'} Write {name}:min, {name}:max or {name}"
    )


def parse_direction(direction: str | None, metric: Metric) -> float:
    """The sign that turns the metric into a fitness: -1 where small is good."""
    if direction not in (None, "min", "max"):
        raise BadInput(f"--direction {direction!r} is neither min nor max")
    return -1.0 if (direction or metric.mode) == "min" else 1.0
