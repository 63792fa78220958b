"""How values, times and texts are shown. Nothing from a run keeps a control character here, so none reaches a terminal."""

from collections.abc import Mapping
from typing import Any

from studio.experiment import Experiment, plain
from studio.text import clean


def clipped(text: str, most: int) -> str:
    """At most `most` characters of `text`, clean."""
    text = clean(text[: 2 * most])
    return text if len(text) <= most else text[: most - 1] + "…"


def short(value: Any) -> str:
    """A value for a table: floats with four digits, long arrays by their ends."""
    value = plain(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        items = [short(item) for item in value]
        return "[" + ", ".join(items if len(items) <= 4 else [*items[:2], f"… {len(items)} …", items[-1]]) + "]"
    return clean(str(value))


def assignments(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={short(value)}" for name, value in values.items())


def minutes(seconds: float | None) -> str:
    """`0:07`, `12:30`, `3:05:00`"""
    if seconds is None:
        return ""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def metric_value(experiment: Experiment) -> str:
    return short(experiment.metric["value"]) if experiment.metric else ""


def in_bytes(size: int) -> str:
    """`1.5 GB`"""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
