"""The output of `studio run --dry-run`: plan, values and changes to the script. Nothing is started or written."""

import shlex
import sys
from pathlib import Path

from studio.cli.console import harmless, print_experiments, print_json
from studio.experiment import Experiment, Run, plain
from studio.format import assignments, counted
from studio.host import Host, backend_fields, plugin_call
from studio.project.source import SourceFiles
from studio.search.observer import Observer
from studio.search.plan.plan import Plan
from studio.search.run import make_backend, make_search, plan_new_project
from studio.settings import Settings, command_line
from studio.space import Suggestion
from studio.text import clean

MAX_SUGGESTIONS = 10  # that are listed


def show(settings: Settings, project: str | None, host: Host, *, as_json: bool) -> int:
    """Print what `studio run` would do with these settings, and return the exit code."""
    plan, snapshot = plan_new_project(settings, project, host)
    search = make_search(plan, host)
    suggestions: list[Suggestion] = []
    while len(suggestions) < MAX_SUGGESTIONS and (suggestion := search.ask()) is not None:
        suggestions.append(suggestion)
    diff = plan.substitution.diff(suggestions[0].values) if suggestions else ""
    run = plan.run_of(suggestions[0], 1, Path("PROJECT")) if suggestions else None
    backend = make_backend(plan, host, Observer())
    with plugin_call(backend, "estimate"):
        estimate = backend.estimate()
    with plugin_call(backend, "preview"):
        preview = backend.preview()
    if as_json:
        values = [{name: plain(value) for name, value in s.values.items()} for s in suggestions]
        print_json(
            {
                "experiments": plan.size,
                "values": values,
                "diff": diff,
                "command": run.argv if run else [],
                "again": command_line(plan.settings, backend_fields(plan.backend)),
                "places": plan.substitution.described(),
                "links": plan.outside,
                "baseline": plan.baseline,
                "notices": plan.notices,
                **({"estimate": estimate.text} if estimate else {}),
                **({"preview": preview} if preview else {}),
            }
        )
        return 0
    _print_plan(plan, snapshot, run)
    print_experiments([Experiment("", i + 1, "queued", s.values) for i, s in enumerate(suggestions)], plan.metric.name)
    if plan.size is None or plan.size > len(suggestions):
        print("…")
    text = (
        harmless(diff) if sys.stdout.isatty() else diff
    )  # `studio run --dry-run … | git apply` needs the diff unchanged
    print(text or "the script is not changed", end="" if diff else "\n")
    for text in (estimate.text if estimate else "", preview):
        if text:
            print(f"\n{harmless(text)}")
    return 0


def _print_plan(plan: Plan, snapshot: SourceFiles, run: Run | None) -> None:
    for notice in plan.notices:
        print(f"notice: {clean(notice)}")
    size = "experiments until the time limit" if plan.size is None else counted(plan.size, "experiment")
    print(
        f"{size}, {plan.slots} at a time, optimizer {plan.optimizer.name}, metric {plan.metric.name} ({plan.metric.mode})"
    )
    print(clean(f"each experiment gets a copy of the {counted(len(snapshot.files), 'file')} in {snapshot.source}"))
    if run is not None:
        print(clean(f"command: {shlex.join(run.argv)}"))
    for name, place in plan.substitution.described().items():
        print(clean(f"{name} goes to {place}"))
    if plan.baseline is not None:
        print(clean(f"begins with the script's own values: {assignments(plan.baseline)}"))
    elif plan.no_baseline:
        print(clean(f"does not begin with the script's own values: {plan.no_baseline}"))
    for path, target in plan.outside.items():
        print(
            clean(f"link: {path} is a link to {target}, not a copy; if the script writes there, it changes your files")
        )
