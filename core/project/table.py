"""All experiments as a flat table, for CSV and JSON files, pandas and notebooks."""

import csv
import html
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from studio.errors import BadInput
from studio.experiment import NO_RESULT, Experiment, Metric, plain
from studio.format import assignments, clipped, counts, duration, json_text, metric_value, short
from studio.ranking import ranked
from studio.text import clean

BEFORE = ("number", "status")
AFTER = ("metric", "fitness", "started", "finished", "duration", "exit_code", "reason", "failure", "attempt")
BEST = 10  # rows in a notebook
MOST_COLUMNS = 12  # hyperparameters in a notebook
CELL = 60  # characters


def value_names(experiments: Sequence[Experiment]) -> list[str]:
    """Return the hyperparameters, in declared order."""
    return list(dict.fromkeys(name for experiment in experiments for name in experiment.values))


def column_names(names: Sequence[str]) -> list[str]:
    """Return number, status, a column for each hyperparameter, metric, fitness, times, reason.

    A hyperparameter with the name of another column becomes `values.NAME`.
    """
    return [*BEFORE, *(f"values.{name}" if name in BEFORE + AFTER else name for name in names), *AFTER]


def cells(experiment: Experiment, names: Sequence[str]) -> list[Any]:
    """Return the cells for `column_names`; None for missing values and for the metric of a run without a result.

    Arrays are lists, times ISO 8601, durations seconds.
    """
    values = [plain(experiment.values.get(name)) for name in names]
    result = experiment.metric if experiment.status not in NO_RESULT else None
    metric = result["value"] if result else None
    rest = [getattr(experiment, name) for name in AFTER if name != "metric"]
    return [experiment.number, experiment.status, *values, metric, *rest]


def data_frame(experiments: Sequence[Experiment], metric: Metric) -> Any:
    """Return a pandas.DataFrame, one row per experiment; `attrs["metric"]` names the metric. BadInput without pandas."""
    try:
        import pandas
    except ImportError:
        raise BadInput("to_dataframe needs pandas: pip install pandas") from None
    names = value_names(experiments)
    rows = [cells(experiment, names) for experiment in experiments]
    frame = pandas.DataFrame(rows, columns=column_names(names))
    for name in ("started", "finished"):
        frame[name] = pandas.to_datetime(frame[name], utc=True)
    for name in ("metric", "fitness", "duration"):
        frame[name] = frame[name].astype(float)
    frame["exit_code"] = frame["exit_code"].astype("Int64")
    frame.attrs["metric"] = metric.name if metric.mode == "last" else f"{metric.name}:{metric.mode}"
    return frame


def described(kind: str, name: str, state: str, experiments: Sequence[Experiment]) -> str:
    """Return a line about a search, for its repr."""
    line = counts(Counter(experiment.status for experiment in experiments)) or "no experiments yet"
    best = next(iter(ranked(experiments)), None)
    top = (
        ""
        if best is None
        else f", best #{best.number}: {metric_value(best) or short(best.fitness)} at {clean(assignments(best.values))}"
    )
    return f"<{kind} {name!r}: {state}, {line}{top}>"


def notebook_html(name: str, state: str, experiments: Sequence[Experiment], metric: Metric) -> str:
    """Return a summary for Jupyter: counts, and a table of the best experiments. All texts are escaped."""
    line = counts(Counter(experiment.status for experiment in experiments)) or "no experiments yet"
    top = ranked(experiments)[:BEST]
    names = value_names(top)
    shown = names[:MOST_COLUMNS]
    left = f"<p>{len(names) - len(shown)} more hyperparameters</p>" if len(names) > len(shown) else ""
    head = _row("th", ["#", metric.name, *shown, "time"])
    rows = [
        _row("td", [str(e.number), metric_value(e), *(short(e.values.get(n, "")) for n in shown), duration(e.duration)])
        for e in top
    ]
    table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>" if rows else ""
    return f"<div><p><b>{_text(name)}</b> · {_text(state)} · {_text(line)}</p>{table}{left}</div>"


def _row(tag: str, texts: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_text(text)}</{tag}>' for text in texts)}</tr>"


def _text(text: str) -> str:
    return html.escape(clipped(text, CELL))


PIECE = 1 << 18  # characters that are written at once


def csv_text(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Yield a table for spreadsheets; arrays as JSON. A text that could be taken for a formula gets a quote before it."""
    names = value_names(experiments)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(name) for name in column_names(names)])
    for experiment in experiments:
        writer.writerow([_cell(cell) for cell in cells(experiment, names)])
        if buffer.tell() > PIECE:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def json_lines(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Yield JSON with the objects of `studio runs list PROJECT --json`, one experiment per line."""
    for at, experiment in enumerate(experiments):
        yield f"{',' if at else '['}\n{json_text(experiment.as_dict())}"
    yield "\n]\n" if experiments else "[]\n"


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json_text(value)
    if not isinstance(value, str):
        return value
    value = value.encode(errors="replace").decode()  # a lone surrogate cannot be written to a file
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
