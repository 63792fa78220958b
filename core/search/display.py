"""A search as it goes on: a live panel on a terminal, a table in a notebook, elsewhere a plain line per finished experiment."""

import contextlib
import html
import sys
import time
from abc import ABC, abstractmethod
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
    _reason = ""  # of the last experiment, which a notice behind its line need not repeat

    def notice(self, text: str) -> None:
        shortened = text.removesuffix(f": {self._reason}") if self._reason else text
        self._say(f"studio: {clean(shortened)}")

    def begun(self, project: str, progress: Progress) -> None:
        planned = _planned(_total(progress))
        self._say(
            f"project {project}: {f'{progress.finished} of {planned} finished' if progress.finished else planned}"
        )

    def finished(self, experiment: Experiment, progress: Progress) -> None:
        self._reason = experiment.reason
        self._say(_line(experiment, progress))

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more, as after `2>&1 | head`: the search goes on
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


class Redrawn(Observer, ABC):
    """An observer that redraws one picture of the search, at most every `REFRESH` seconds while it runs."""

    _project = ""
    _drawn = 0.0

    def begun(self, project: str, progress: Progress) -> None:
        self._project = project
        self._redraw(progress)

    def finished(self, experiment: Experiment, progress: Progress) -> None:
        self.tick(progress)

    def tick(self, progress: Progress) -> None:
        if time.monotonic() - self._drawn >= REFRESH:
            self._redraw(progress)

    def _redraw(self, progress: Progress) -> None:
        self._drawn = time.monotonic()
        self._draw(progress)

    @abstractmethod
    def _draw(self, progress: Progress) -> None:
        """Draw the search as it is now, in place of what was drawn before."""


class LivePanel(Redrawn):
    """A panel that is redrawn in place: best so far, counts, running experiments, the last failure."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def notice(self, text: str) -> None:
        self._console.print(f"studio: {clean(text)}", markup=False, highlight=False)

    def begun(self, project: str, progress: Progress) -> None:
        self._live.start()
        super().begun(project, progress)

    def ended(self, progress: Progress) -> None:
        self._live.stop()
        self._console.print(_status_line(progress), markup=False, highlight=False)

    def _draw(self, progress: Progress) -> None:
        self._live.update(_panel(self._project, progress), refresh=True)


class Notebook(Redrawn):
    """An output of a notebook's cell, which is rewritten."""

    def __init__(self, display: Any) -> None:
        self._display = display  # IPython.display
        self._output: Any = None
        self._notices: list[str] = []

    def notice(self, text: str) -> None:
        self._notices.append(clean(text))

    def ended(self, progress: Progress) -> None:
        self._draw(progress)

    def _draw(self, progress: Progress) -> None:
        lines = [
            f"{self._project}: {_status_line(progress)}",
            *(text for text, _ in _details(progress)),
            *self._notices,
        ]
        shown = self._display.HTML(f"<pre>{html.escape(chr(10).join(lines))}</pre>")
        if self._output is None:
            self._output = self._display.display(shown, display_id=True)
        else:
            self._output.update(shown)


def watching(progress: bool) -> Observer:
    """Return the observer of a program's search: a notebook's output or a terminal's panel; otherwise one that shows nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if progress and hasattr(shell, "kernel"):
        from IPython import display

        return Notebook(display)
    return make_observer(quiet=not (progress and sys.stderr.isatty()), verbose=False)


def _panel(project: str, progress: Progress) -> Any:
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    lines: list[Any] = [Text(_status_line(progress), no_wrap=True, overflow="ellipsis")]
    if progress.total:
        bar = ProgressBar(total=progress.total, completed=progress.finished)
        lines.append(Padding(bar, 0))  # a bar alone does not end its line
    lines += [Text(text, style=style, no_wrap=True, overflow="ellipsis") for text, style in _details(progress)]
    from rich.console import Group

    return Panel(Group(*lines), title=Text(project), title_align="left")


def _details(progress: Progress) -> list[tuple[str, str]]:
    """Return the lines of the panel below its status line, each with its style."""
    lines = []
    if progress.best is not None:
        metric = f"{progress.metric.name} {metric_value(progress.best)}"
        text = f"best  #{progress.best.number}  {metric}  {assignments(progress.best.values)}"
        lines.append((clean(text), "bold green"))
    for number, (values, started, value) in list(progress.running.items())[:MOST_RUNNING]:
        shown = "" if value is None else f"{progress.metric.name} {short(value)}  "
        text = f"running  #{number}  {duration(time.monotonic() - started)}  {shown}{assignments(values)}"
        lines.append((clean(text), ""))
    if len(progress.running) > MOST_RUNNING:
        lines.append((f"         and {len(progress.running) - MOST_RUNNING} more", ""))
    if progress.last_failure is not None:
        lines.append((f"failed  #{progress.last_failure.number}  {clean(progress.last_failure.reason)}", "red"))
    return lines


def _status_line(progress: Progress) -> str:
    total = f" of {_total(progress)}" if progress.total else ""
    parts = [f"{progress.finished}{total} finished"]
    parts += [f"{progress.counts[status]} {status}" for status in ("failed", "stopped") if progress.counts.get(status)]
    if progress.running:
        parts.append(f"{len(progress.running)} running")
    if progress.rate:
        parts.append(f"{short_number(progress.rate * 60, 2)} a minute")
    if progress.running and progress.seconds_left is not None and progress.seconds_left >= 1:
        parts.append(f"about {about(progress.seconds_left)} left")
    return " · ".join(parts)


def _total(progress: Progress) -> int | None:
    """The number of experiments in all: values by hand come beside the budget."""
    return None if progress.total is None else max(progress.total, progress.finished + len(progress.running))


def _line(experiment: Experiment, progress: Progress) -> str:
    total = f"/{_total(progress)}" if progress.total else ""
    result: str = experiment.status
    if value := metric_value(experiment):
        result += f"  {progress.metric.name} {value}"
    best = "  best so far" if progress.best is not None and progress.best.number == experiment.number else ""
    reason = f"  ({experiment.reason})" if experiment.reason else ""
    values, took = assignments(experiment.values), duration(experiment.duration)
    return clean(f"#{experiment.number}{total}  {result}  {values}  {took}{best}{reason}")


def _planned(total: int | None) -> str:
    return "experiments until the time limit" if total is None else counted(total, "experiment")
