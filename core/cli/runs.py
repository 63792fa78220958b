"""`studio runs list|show|logs`: what the record says. No plugin is loaded."""

import os
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from studio.cli.output import clean, experiment_rows, harmless, minutes, print_json, print_table, short
from studio.errors import BadInput, StoreError
from studio.experiment import Experiment
from studio.home import split_key
from studio.project import Project, all_projects

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def runs() -> None:
    """List and show projects and experiments, and their logs."""


@app.command("list")
def list_(project: Annotated[str | None, typer.Argument(metavar="[PROJECT]")] = None, json: Json = False) -> int:
    """List the experiments of PROJECT, or all projects."""
    if project is None:
        return _list_projects(json)
    found = Project(project)
    experiments = found.experiments
    if json:
        print_json([experiment.as_dict() for experiment in experiments])
    else:
        print_table(*experiment_rows(experiments, found.metric.name))
    return 0


@app.command()
def show(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="PROJECT/NUMBER")], json: Json = False
) -> int:
    """Show one experiment: values, outcome, files, attempts."""
    project, found = _find(experiment)
    attempts = project.attempts(found.number)
    data = {**found.as_dict(), "attempts": attempts}
    if json:
        print_json(data)
        return 0
    metric = found.metric
    rows = [["experiment", found.key], ["status", found.status]]
    rows += [[f"  {name}", str(data["values"][name])] for name in found.values]
    rows += [[f"{metric['name']} ({metric['mode']})", repr(metric["value"])]] if metric else []
    rows += [
        [key, clean(str(data[key]))]
        for key in ("fitness", "started", "finished", "exit_code", "reason", "failure", "attempt", "folder")
        if data[key] not in (None, "")
    ]
    for name, value in rows:
        print(f"{name:<14} {clean(value)}")
    if len(attempts) > 1:
        print()
        lines = [[str(a["attempt"]), a["status"], minutes(a["duration"]), clean(a["reason"])] for a in attempts]
        print_table(["attempt", "status", "time", "reason"], lines)
    return 0


@app.command()
def logs(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="PROJECT/NUMBER")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the experiment ends.")] = False,
    json: Json = False,
) -> int:
    """Print what the script printed."""
    project, found = _find(experiment)
    position = 0
    printed: list[str] = []
    while True:
        current = project.experiment(found.number) or found
        text, position = _read_log(current, position)
        if json:
            printed.append(text)
        else:
            sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()
        if not follow or (current.status not in ("running", "queued") and not text):
            break
        time.sleep(0.3)
    if json:
        print_json({"experiment": found.key, "output": "".join(printed)})
    return 0


def _list_projects(json: bool) -> int:
    summaries = []
    for project in all_projects():
        try:
            summaries.append(project.summary())
        except StoreError as error:
            print(f"studio: {error}", file=sys.stderr)
    if json:
        print_json(summaries)
        return 0
    if not summaries:
        print("studio: no projects yet; studio run starts one", file=sys.stderr)
    rows = []
    for summary in summaries:
        best = summary["best"]
        counts = ", ".join(f"{count} {status}" for status, count in summary["counts"].items())
        metric = f"{best['metric']['name']} {short(best['metric']['value'])}" if best and best["metric"] else ""
        values = " ".join(f"{name}={short(value)}" for name, value in best["values"].items()) if best else ""
        rows.append([summary["project"], summary["state"], counts, metric, values, summary["begun"] or ""])
    print_table(["project", "state", "experiments", "best", "values", "begun"], rows)
    return 0


def _find(key: str) -> tuple[Project, Experiment]:
    name, number = split_key(key)
    project = Project(name)
    found = project.experiment(number)
    if found is None:
        raise BadInput(f"project {name!r} has no experiment {number}; it has {len(project.experiments)}")
    return project, found


def _read_log(experiment: Experiment, position: int) -> tuple[str, int]:
    if experiment.folder is None:
        return "", position
    try:
        with open(f"{experiment.folder}/output.log", "rb") as file:
            end = os.fstat(file.fileno()).st_size
            data = b"".join(_data(file.fileno(), position, end))
    except FileNotFoundError:
        return "", position
    return data.decode(errors="replace"), max(position, end)


def _data(descriptor: int, position: int, end: int) -> Iterator[bytes]:
    """What stands between `position` and `end`, without the hole that the cap of a running log leaves."""
    while position < end:
        try:
            position = os.lseek(descriptor, position, os.SEEK_DATA)
            until = os.lseek(descriptor, position, os.SEEK_HOLE)
        except OSError:  # nothing but a hole follows, or the file system knows no holes
            return
        yield os.pread(descriptor, min(until, end) - position, position)
        position = until
