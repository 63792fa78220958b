"""The command `studio plot PROJECT`: charts of a search in the terminal."""

import shutil
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app
from studio.entry_points import install_command
from studio.errors import BadInput
from studio.project.project import Project

app = new_app()

MAX_COLUMNS = 120  # characters of the width of a chart
MAX_ROWS = 16  # lines of the height of a chart
MAX_DOTS = 150  # points drawn as large dots; more points are drawn as small ones


@app.command(cls=PlainUsage)
def plot(
    project: names.Named = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:min|:max]",
            help="Another metric, which is read from the files of the runs. Default: the metric of the project.",
        ),
    ] = None,
    hyperparam: Annotated[
        list[str] | None,
        typer.Option("--hyperparam", "--hp", "-hp", metavar="NAME", help="Chart only this hyperparameter. Repeatable."),
    ] = None,
) -> int:
    """Draw charts in the terminal: the best result so far, and the results by the value of each hyperparameter."""
    try:
        import plotext  # noqa: F401
    except ImportError:
        raise BadInput(f"studio plot needs plotext: {install_command('plot')}") from None
    from studio.host import create_host
    from studio.reporting.axes import axes_of
    from studio.reporting.scales import points_of, scale_of
    from studio.text import did_you_mean

    record = Project(names.project_of(project))
    experiments, host = record.experiments, create_host()
    axes = axes_of(record.settings, experiments, host)
    for name in hyperparam or ():
        if name not in [axis.name for axis in axes]:
            raise BadInput(
                f"--hyperparam {name!r} is not a hyperparameter of {record.name}{did_you_mean(name, [a.name for a in axes])}"
            )
    if metric is None:
        name, sign, points = record.metric.name, record.sign, points_of(experiments, record.sign)
    else:
        name, sign, points = _read_metric(record, experiments, metric, host)
    if not points:
        from studio.format import counts

        summary = counts(record.summary()["counts"]) or "there are none"
        print(f"studio: no experiment of {record.name} has a result yet: {summary}", file=sys.stderr)
        return 0
    print(_best_chart(points, sign, name))
    for axis in axes:
        scale = scale_of(axis, points)
        if axis.name in (hyperparam or [axis.name]) and scale is not None:
            print(_slice_chart(scale, points, sign, name))
        elif axis.name in (hyperparam or ()):
            print(
                f"studio: {axis.name} is not plotted, because it has the same value in all experiments", file=sys.stderr
            )
    return 0


def _read_metric(project: Project, experiments: Sequence[Any], text: str, host: Any) -> tuple[str, float, list[Any]]:
    """Return name, sign and points of the metric `text`, read from the files of the runs."""
    from studio.reporting.curves import value_of
    from studio.reporting.scales import Point
    from studio.settings import parse_metric, sign_of

    metric = parse_metric(text)
    ended = [experiment for experiment in experiments if experiment.status in ("completed", "pruned")]
    values = [(experiment, value_of(experiment, project.folder, metric, host)) for experiment in ended]
    points = [Point(experiment.number, value, experiment.values) for experiment, value in values if value is not None]
    if ended and not points:
        raise BadInput(
            f"--metric {text!r} is in the files of none of the {len(ended)} experiments; studio inspect shows metrics"
        )
    return metric.name, sign_of(None, metric), points


def _best_chart(points: Sequence[Any], sign: float, metric: str) -> str:
    """Return the chart of the best result so far."""
    from studio.format import number as label
    from studio.reporting.scales import best_so_far, even_ticks, value_scale

    steps = best_so_far(points, sign)
    first, last = points[0].number, points[-1].number
    line: list[tuple[float, float]] = []
    for before, after in zip(steps, [*steps[1:], None], strict=True):
        line += [(before.number, before.value), (last if after is None else after.number, before.value)]
    ticks = [(at, label(at)) for at in even_ticks(first, last, 6) if at == round(at)]
    title = f"best {metric} so far: {label(steps[-1].value)} (#{steps[-1].number})"
    dots = [(point.number, point.value) for point in points]
    return _chart(title, value_scale(points, sign, metric), dots, ticks, (first, last), line)


def _slice_chart(scale: Any, points: Sequence[Any], sign: float, metric: str) -> str:
    """Return the chart of the results by the value of one hyperparameter."""
    from studio.reporting.scales import value_scale

    dots = []
    for point in points:
        at = scale.place(point.values[scale.axis.name]) if scale.axis.name in point.values else None
        if at is not None:
            dots.append((at + scale.spread(point.number), point.value))
    title = f"{metric} by {scale.axis.label}{' (log)' if scale.log else ''}"
    return _chart(title, value_scale(points, sign, metric), dots, scale.ticks(5), (0.0, 1.0))


def _chart(
    title: str,
    values: Any,
    dots: Sequence[tuple[float, float]],
    ticks: Sequence[tuple[float, str]],
    ends: tuple[float, float],
    line: Sequence[tuple[float, float]] = (),
) -> str:
    """Return a chart as lines of text; without colours if standard output is not a terminal."""
    from plotext import figure

    from studio.format import clipped

    columns, rows = shutil.get_terminal_size((80, 24))
    width, height = min(columns, MAX_COLUMNS), max(8, min(rows - 4, MAX_ROWS))
    sides = values.ticks(6)

    def place(value: float) -> float:
        return min(1.0, max(0.0, values.place(value) or 0.0))

    room = width - 4 - max(len(text) for _, text in sides)
    letters = max(1, room // max(1, len(ticks)) - 1)
    below = [(at, clipped(text, letters)) for at, text in ticks]
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, height)
    figure.title(clipped(title, width))
    figure.draw(
        figure.signal(
            [x for x, _ in dots],
            [place(y) for _, y in dots],
            marker="•" if len(dots) <= MAX_DOTS else "braille",
        )
    )
    if line:
        xs, ys = _line_dots(line, ends, room)
        figure.draw(figure.signal(xs, [place(y) for y in ys], marker="hd"))
    for axis, (first, last), marks in (("x", ends, below), ("y", (0.0, 1.0), sides)):
        ruler = figure.ruler(axis, 0)
        ruler.lim(first, last if last > first else first + 1)
        ruler.ticks([at for at, _ in marks], [text for _, text in marks])
    text: str = figure.build().string(colorless=not sys.stdout.isatty())
    return "\n".join(row.rstrip() for row in text.splitlines()) + "\n"


def _line_dots(
    line: Sequence[tuple[float, float]], ends: tuple[float, float], room: int
) -> tuple[list[float], list[float]]:
    """Return the line of steps with these corners as dots that touch each other, two in each column of the terminal."""
    step = (ends[1] - ends[0]) / (2 * room) or 1.0
    xs: list[float] = []
    ys: list[float] = []
    for (x, y), (until, _) in zip(line[::2], line[1::2], strict=True):
        count = int((until - x) / step) + 1
        xs += [min(until, x + at * step) for at in range(count)]
        ys += [y] * count
    return xs, ys
