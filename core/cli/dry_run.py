"""The output of `studio run --dry-run`: plan, values and changes to the script; nothing is started or written."""

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

SHOWN = 10  # listed suggestions


def show(settings: Settings, project: str | None, host: Host, *, as_json: bool) -> int:
    plan, snapshot = plan_new_project(settings, project, host)
    search = make_search(plan, host)
    suggestions: list[Suggestion] = []
    while len(suggestions) < SHOWN and (suggestion := search.ask()) is not None:
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
    shown = harmless(diff) if sys.stdout.isatty() else diff  # `studio run --dry-run … | git apply` needs it unchanged
    print(shown or "the script stays as it is", end="" if diff else "\n")
    for text in (estimate.text if estimate else "", preview):
        if text:
            print(f"\n{harmless(text)}")
    return 0


def _print_plan(plan: Plan, snapshot: SourceFiles, run: Run | None) -> None:
    for notice in plan.notices:
        print(f"notice: {clean(notice)}")
    total = "experiments until the time limit" if plan.size is None else counted(plan.size, "experiment")
    print(
        f"{total}, {plan.slots} at a time, optimizer {plan.optimizer.name}, metric {plan.metric.name} ({plan.metric.mode})"
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
        print(clean(f"link: {path} is {target}, not copied; a script that writes there changes your files"))
