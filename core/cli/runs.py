"""The commands `studio runs list|show|logs`: show projects, experiments and their output. No plugin is loaded."""

import codecs
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.cli import names
from studio.cli.console import brief, harmless, print_experiments, print_json, print_table
from studio.cli.usage import new_app, parse_count, say
from studio.errors import BadInput, StudioError
from studio.experiment import UNFINISHED, Experiment, is_number
from studio.format import STATUSES, assignments, before_end, counts, duration, money, short
from studio.project.project import Project, all_projects
from studio.project.summary import STATES
from studio.system.files import open_regular
from studio.system.tail import next_data
from studio.text import clean, did_you_mean

app = new_app(no_args_is_help=True)

CHUNK_BYTES = 1 << 20  # bytes of a log that are read at once
MAX_ALIGNED_NAME = 32  # characters; the values of `runs show` are not aligned to longer names

FOLLOW_SECONDS = 0.3  # between two looks at a log with --follow

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _parse_last(text: str) -> int:
    """Return the value of --last. BadParameter if it is not 1 or more."""
    number = parse_count(text)
    if number < 1:
        raise typer.BadParameter(f"{text!r} is not 1 or more")
    return number


@app.callback()
def runs() -> None:
    """List and show projects and experiments, and their logs."""


@app.command("list")
def list_(
    project: Annotated[
        str | None,
        typer.Argument(metavar="[PROJECT]", help="Default: all projects.", autocompletion=names.complete_project),
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", parser=_parse_last, help="Only the last N.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status", help="Only experiments with this status, such as failed, or projects with this state."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help="For experiments number, fitness, the metric, time or a hyperparameter; for projects started or name.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """List the experiments of PROJECT, or all projects, the newest last."""
    if project is None:
        return _list_projects(json, last, status, sort or "started")
    _check_status(status, STATUSES)
    record = Project(names.project_of(project))
    experiments = [experiment for experiment in record.experiments if status in (None, experiment.status)]
    experiments = _sorted(experiments, sort or "number", record.metric.name)[-(last or 0) :]
    if json:
        print_json(experiment.as_dict() for experiment in experiments)
    else:
        print_experiments(experiments, record.metric.name)
        if record.state == "interrupted":
            say(f"{record.name} was interrupted; continue with: studio resume {record.name}")
    return 0


@app.command()
def show(experiment: names.NamedExperiment = None, json: Json = False) -> int:
    """Show one experiment: values, outcome, files, attempts."""
    project, record = _find(experiment)
    attempts = project.attempts(record.number)
    data = {**record.as_dict(), "attempts": attempts}
    if json:
        print_json(data)
        return 0
    metric = record.metric
    rows = [["experiment", record.key], ["status", record.status]]
    rows += [[f"  {name}", str(data["values"][name])] for name in record.values]
    rows += (
        [[f"{metric['name']} ({metric['mode']})", repr(metric["value"]) + before_end(record.status)]] if metric else []
    )
    rows += [
        [key, str(data[key])]
        for key in ("fitness", "started", "finished", "exit_code", "reason", "failure", "attempt", "folder")
        if data[key] not in (None, "")
    ]
    rows += [["time", duration(record.duration)]] if record.duration is not None else []
    rows += [["output", f"studio runs logs {record.key}"]] if record.status == "failed" and record.folder else []
    rows += [["cost", money(record.cost)]] if record.cost is not None else []
    titles = [clean(name) for name, _ in rows]
    width = max(len(title) for title in titles if len(title) <= MAX_ALIGNED_NAME)
    for title, (_, value) in zip(titles, rows, strict=True):
        print(f"{title:<{width}}  {clean(value)}")
    if len(attempts) > 1:
        print()
        lines = [[str(a["attempt"]), a["status"], duration(a["duration"]), clean(a["reason"])] for a in attempts]
        print_table(["attempt", "status", "time", "reason"], lines)
    return 0


@app.command()
def logs(
    experiment: names.NamedExperiment = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Continue until the experiment ends.")] = False,
    json: Json = False,
) -> int:
    """Print the output of an experiment."""
    project, record = _find(experiment)
    texts: list[str] = []
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(data: bytes, final: bool = False) -> None:
        if json:
            texts.append(decoder.decode(data, final))
        elif sys.stdout.isatty():
            sys.stdout.write(harmless(decoder.decode(data, final)))
        else:
            sys.stdout.buffer.write(data)

    log = _Log()
    while True:
        current = project.experiment(record.number) or record
        has_new_output = False
        for data in log.read(current.folder):
            has_new_output = True
            write(data)
        sys.stdout.flush()
        if not follow or (current.status not in UNFINISHED and not has_new_output):
            break
        time.sleep(FOLLOW_SECONDS)
    log.close()
    write(b"", final=True)
    if json:
        print_json({"experiment": record.key, "output": "".join(texts)})
    return 0


def _check_status(status: str | None, statuses: Iterable[str]) -> None:
    """Raise BadInput if `status` is neither None nor one of `statuses`."""
    if status is not None and status not in statuses:
        raise BadInput(f"--status {status!r} does not exist{did_you_mean(status, statuses)}")


def _sorted(experiments: list[Experiment], column: str, metric: str) -> list[Experiment]:
    """Return the experiments sorted by `column`. Experiments without a value in that column come first."""
    columns = {
        "number": lambda experiment: experiment.number,
        "fitness": lambda experiment: experiment.fitness,
        "time": lambda experiment: experiment.duration,
    }
    columns.setdefault(metric, lambda experiment: experiment.metric and experiment.metric["value"])
    hyperparameters = {name for experiment in experiments for name in experiment.values}
    if column not in columns and column not in hyperparameters and experiments:
        raise BadInput(f"--sort {column!r} is not a column; sort by {', '.join([*columns, *sorted(hyperparameters)])}")

    def key(experiment: Experiment) -> tuple[bool, bool, Any]:
        value = columns[column](experiment) if column in columns else experiment.values.get(column)
        is_numeric = is_number(value)
        return value is not None, not is_numeric, value if is_numeric else str(value)

    return sorted(experiments, key=key)


def _list_projects(json: bool, last: int | None, status: str | None, sort: str) -> int:
    if sort not in ("started", "name"):
        raise BadInput(f"--sort {sort!r} is not a column of projects; sort by started or name")
    _check_status(status, STATES)
    summaries = []
    for project in all_projects():
        try:
            summaries.append(project.summary())
        except (StudioError, OSError) as error:  # an unreadable project does not hide the others
            print(f"studio: project {project.name}: {error}", file=sys.stderr)
    has_no_projects = not summaries
    summaries = [summary for summary in summaries if status in (None, summary["state"])]
    if sort == "started":
        summaries.sort(key=lambda summary: summary["started"] or "")
    summaries = summaries[-(last or 0) :]
    if json:
        print_json(summaries)
        return 0
    if has_no_projects:
        print("studio: no projects yet; studio run starts one", file=sys.stderr)
    rows = []
    for summary in summaries:
        best = summary["best"]
        metric = f"{brief(best['metric']['name'])} {short(best['metric']['value'])}" if best and best["metric"] else ""
        values = assignments(best["values"]) if best else ""
        started = f"{summary['started'][:16]}Z".replace("T", " ") if summary["started"] else ""
        # The text of a project that is done may say more, for example `all failed`.
        state = summary["state_text"].lower() if summary["state"] == "done" else summary["state"]
        source = [summary["script"] or "", _with_tilde(summary["folder"] or "")]
        name, count = summary["project"], counts(summary["counts"])
        rows.append([name, state, count, metric, values, started, *source, money(summary["cost"])])
    columns = ["project", "state", "experiments", "best", "values", "started", "script", "folder", "cost"]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    print_table(columns, rows, flexible=[4, 6, 7], optional=[4, 5, 6, 7])
    return 0


def _with_tilde(folder: str) -> str:
    """Return the path of a folder with `~` for the user's home folder."""
    home = os.path.expanduser("~")
    return "~" + folder[len(home) :] if f"{folder}/".startswith(f"{home}/") and home != "/" else folder


def _find(text: str | None) -> tuple[Project, Experiment]:
    name, number = names.experiment_of(text)
    project = Project(name)
    return project, names.existing_experiment(project, number)


class _Log:
    """The growing output of an experiment, each byte once.

    While an experiment runs, the limit of its log's size (`log_cap`) cuts a hole into the file; the hole is skipped. The file
    stays open because at the end of the experiment a shorter file replaces it, and only the open file has the last bytes.
    """

    def __init__(self) -> None:
        self._folder: str | None = None
        self._descriptor: int | None = None
        self._position = 0

    def read(self, folder: str | None) -> Iterator[bytes]:
        """Yield the new output of the attempt in `folder`."""
        if folder != self._folder:  # the experiment has started, or was retried
            self.close()
            self._folder = folder
        if self._descriptor is None and not self._open():
            return
        assert self._descriptor is not None
        end = os.fstat(self._descriptor).st_size
        if end < self._position:  # the script truncated its log
            self._position = 0
        while chunk := self._chunk(self._descriptor, end):
            yield chunk

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> bool:
        if self._folder is None:
            return False
        try:
            self._descriptor = open_regular(Path(self._folder) / "output.log", os.O_RDONLY)
        except OSError:  # the file does not exist yet, or the script removed it
            return False
        self._position = 0
        return True

    def _chunk(self, descriptor: int, end: int) -> bytes:
        """Return the next bytes outside of holes, and set `_position` behind them."""
        while self._position < end:
            begin, until = next_data(descriptor, self._position, end)
            data = os.pread(descriptor, min(until - begin, CHUNK_BYTES), begin)
            self._position = begin
            # If a hole was cut while these bytes were read, they may be zeros: then read them again.
            if next_data(descriptor, begin, end) >= (begin, begin + len(data)):
                self._position += len(data)
                return data
        return b""
