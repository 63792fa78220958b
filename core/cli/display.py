"""A search as it goes on: a live panel on a terminal, elsewhere a plain line per finished experiment. Both on stderr."""

import contextlib
import sys
import time
from typing import Any

from studio.experiment import Experiment
from studio.format import about, assignments, counted, duration, metric_value, short
from studio.format import number as short_number
from studio.search.observer import Observer, Progress
from studio.text import clean

REFRESH = 0.25  # seconds
MOST_RUNNING = 8  # lines of running experiments in the panel


def make_observer(*, quiet: bool, verbose: bool) -> Observer:
    if quiet:
        return Observer()
    if sys.stderr.isatty() and not verbose:
        return LivePanel()
    return PlainLines()


class PlainLines(Observer):
    def notice(self, text: str) -> None:
        self._say(f"studio: {clean(text)}")

    def begun(self, project: str, progress: Progress) -> None:
        already = f", {progress.finished} already finished" if progress.finished else ""
        self._say(f"project {project}: {_planned(progress.total)}{already}")

    def finished(self, experiment: Experiment, progress: Progress) -> None:
        self._say(_line(experiment, progress))

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more, as after `2>&1 | head`: the search goes on
            print(text, file=sys.stderr, flush=True)


class LivePanel(Observer):
    """One panel that is drawn over itself: best so far, counts, what runs now, the last failure."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._drawn = 0.0
        self._project = ""

    def notice(self, text: str) -> None:
        self._console.print(f"studio: {clean(text)}", markup=False, highlight=False)

    def begun(self, project: str, progress: Progress) -> None:
        self._project = project
        self._live.start()
        self._draw(progress)

    def finished(self, experiment: Experiment, progress: Progress) -> None:
        self.tick(progress)

    def tick(self, progress: Progress) -> None:
        if time.monotonic() - self._drawn >= REFRESH:
            self._draw(progress)

    def ended(self, progress: Progress) -> None:
        self._live.stop()
        self._console.print(_status_line(progress), markup=False, highlight=False)

    def _draw(self, progress: Progress) -> None:
        self._drawn = time.monotonic()
        self._live.update(_panel(self._project, progress), refresh=True)


def _panel(project: str, progress: Progress) -> Any:
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    lines: list[Any] = [Text(_status_line(progress), no_wrap=True, overflow="ellipsis")]
    if progress.total:
        bar = ProgressBar(total=progress.total, completed=progress.finished)
        lines.append(Padding(bar, 0))  # a bar alone does not end its line
    if progress.best is not None:
        metric = f"{progress.metric.name} {metric_value(progress.best)}"
        text = f"best  #{progress.best.number}  {metric}  {assignments(progress.best.values)}"
        lines.append(Text(clean(text), style="bold green", no_wrap=True, overflow="ellipsis"))
    for number, (values, started, value) in list(progress.running.items())[:MOST_RUNNING]:
        shown = "" if value is None else f"{progress.metric.name} {short(value)}  "
        text = f"runs  #{number}  {duration(time.monotonic() - started)}  {shown}{assignments(values)}"
        lines.append(Text(clean(text), no_wrap=True, overflow="ellipsis"))
    if len(progress.running) > MOST_RUNNING:
        lines.append(Text(f"      and {len(progress.running) - MOST_RUNNING} more"))
    if progress.last_failure is not None:
        text = f"failed  #{progress.last_failure.number}  {clean(progress.last_failure.reason)}"
        lines.append(Text(text, style="red", no_wrap=True, overflow="ellipsis"))
    from rich.console import Group

    return Panel(Group(*lines), title=Text(project), title_align="left")


def _status_line(progress: Progress) -> str:
    total = f" of {progress.total}" if progress.total else ""
    parts = [f"{progress.finished}{total} finished"]
    parts += [f"{progress.counts[status]} {status}" for status in ("failed", "stopped") if progress.counts.get(status)]
    if progress.running:
        parts.append(f"{len(progress.running)} running")
    if progress.rate:
        parts.append(f"{short_number(progress.rate * 60, 2)} a minute")
    if progress.running and progress.seconds_left is not None and progress.seconds_left >= 1:
        parts.append(f"about {about(progress.seconds_left)} left")
    return " · ".join(parts)


def _line(experiment: Experiment, progress: Progress) -> str:
    total = f"/{progress.total}" if progress.total else ""
    result: str = experiment.status
    if experiment.metric is not None:
        result += f"  {progress.metric.name} {metric_value(experiment)}"
    best = "  best so far" if progress.best is not None and progress.best.number == experiment.number else ""
    reason = f"  ({experiment.reason})" if experiment.reason else ""
    values, took = assignments(experiment.values), duration(experiment.duration)
    return clean(f"#{experiment.number}{total}  {result}  {values}  {took}{best}{reason}")


def _planned(total: int | None) -> str:
    return "experiments until the time limit" if total is None else counted(total, "experiment")
