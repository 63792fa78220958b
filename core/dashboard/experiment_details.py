"""Details of one experiment, for its page, the inspector and comparisons."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.dashboard.experiment_table import ExperimentTable
from studio.dashboard.logs import Log
from studio.dashboard.run_files import list_files, usage
from studio.errors import StudioError
from studio.experiment import plain
from studio.host import Host
from studio.project.paths import FIRST_SNAPSHOT, attempt_folder
from studio.project.records import read_attempts, read_experiment, reading
from studio.reporting.facts import repeating_command
from studio.search.plan.plan import Plan, make_plan
from studio.settings import Settings, write_value
from studio.space import Suggestion

LAST_LINES = 4096  # bytes of the end of the log
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")


class Details:
    """Details of the experiments of one project. The script is parsed once, on first use."""

    def __init__(self, folder: Path, host: Host):
        self._folder = folder
        self._host = host
        self._plans: dict[str, Plan | None] = {}

    def of(self, table: ExperimentTable, number: int, *, quick: bool = False) -> dict[str, Any] | None:
        """Return the details of experiment `number`; None if there is no such experiment.

        `quick`: without the parts that need the script to be parsed, its diff and its command.
        """
        with table.lock:
            at = table.row_of.get(number)
            if at is None:
                return None
            status = table.lists["status"][at]
            step, reason = table.step[at], table.lists["reason"][at]
            rank, ranked = _rank(table, at)
            meta = dict(table.meta)
        with reading(self._folder) as connection:
            found = read_experiment(connection, self._folder, table.metric, number)
            attempts = read_attempts(connection, number)
        if found is None:
            return None
        folder = attempt_folder(self._folder, number, found.attempt)
        snapshot = found.snapshot or FIRST_SNAPSHOT
        plan = None if quick else self._plan(snapshot, meta)
        with Log(folder) as log:
            tail = log.tail(LAST_LINES)
        return {
            **found.as_dict(),
            "status": status,
            "reason": reason,
            "step": step,
            "rank": rank,
            "ranked": ranked,
            "attempts": attempts,
            "argv": self._command(plan, found.values, number, found.attempt, meta),
            "command": experiment_command(found.key, meta["settings"] or {}, found.values, self._host),
            "diff": self._diff(plan, found.values),
            "files": list_files(self._folder.name, number, folder, self._folder / snapshot),
            "environment": _environment(meta),
            "resources": usage(folder, found, running=status == "running"),
            "log": {"size": tail["size"], "text": tail["text"]},
        }

    def _plan(self, snapshot: str, meta: dict[str, Any]) -> Plan | None:
        if snapshot not in self._plans:
            settings = Settings.from_dict({"script": "", **(meta["settings"] or {})})
            source = Path((meta["source"] or {}).get("folder", self._folder))
            try:
                # One worker: the GPUs of this machine now have nothing to do with the run.
                plan = make_plan(replace(settings, num_workers=1, gpus=0), self._host, source, self._folder / snapshot)
            except (StudioError, OSError):  # a program's own loop, a missing plugin, a changed machine
                plan = None
            self._plans[snapshot] = plan
        return self._plans[snapshot]

    def _command(
        self, plan: Plan | None, values: dict[str, Any], number: int, attempt: int, meta: dict[str, Any]
    ) -> str:
        settings = meta["settings"] or {}
        if plan is None:
            return shlex.join([settings.get("script", ""), *settings.get("arguments", [])]).strip()
        try:
            run = plan.run_of(Suggestion(_as_given(plan, values), None, number), attempt, self._folder)
        except StudioError:
            return shlex.join(plan.command)
        return shlex.join(run.argv)

    def _diff(self, plan: Plan | None, values: dict[str, Any]) -> list[dict[str, Any]]:
        if plan is None:
            return []
        try:
            return parsed_diff(plan.substitution.diff(_as_given(plan, values)))
        except StudioError:
            return []


def _as_given(plan: Plan, values: dict[str, Any]) -> dict[str, Any]:
    arrays = set(plan.space.array_names)
    return {name: np.array(value) if name in arrays else value for name, value in values.items()}


def _rank(table: ExperimentTable, at: int) -> tuple[int | None, int]:
    fitness, rated = table.lists["fitness"], table.rated()
    return (1 + sum(fitness[each] > fitness[at] for each in rated) if at in rated else None), len(rated)


def _environment(meta: dict[str, Any]) -> dict[str, str]:
    settings, known = meta["settings"] or {}, meta["environment"] or {}
    found = {str(name): str(value) for name, value in known.items() if value not in (None, "")}
    found |= {f"${name}": "…" for name in settings.get("env") or {}}  # any of the values may be a secret
    if meta["source"]:
        found["folder"] = str(meta["source"].get("folder", ""))
    return found


def parsed_diff(text: str) -> list[dict[str, Any]]:
    """Return a unified diff as files with lines, each with its kind, ` `, `+` or `-`, and its line number."""
    files: list[dict[str, Any]] = []
    old = new = 0
    for line in text.splitlines():
        if line.startswith("--- "):
            continue
        if line.startswith("+++ "):
            files.append({"path": line[4:].split("\t")[0].removeprefix("b/"), "lines": []})
        elif hunk := _HUNK.match(line):
            old, new = int(hunk[1]), int(hunk[2])
        elif files and line[:1] in (" ", "+", "-"):
            kind = line[0]
            files[-1]["lines"].append({"kind": kind, "line": old if kind == "-" else new, "text": line[1:]})
            old, new = old + (kind != "+"), new + (kind != "-")
    return files


def experiment_command(key: str, settings: Mapping[str, Any], values: Mapping[str, Any], host: Host) -> str:
    """Return the command that runs the script once with the values of experiment `key`, as the search ran it.

    Arrays are passed with `--reuse`, since no range can express them.
    """
    stored = Settings.from_dict(settings)
    if not stored.script:
        return " ".join(f"{name}={plain(value)!r}" for name, value in values.items())
    plain_values = {name: plain(value) for name, value in values.items()}
    ranges = {name: write_value(value) for name, value in plain_values.items() if not isinstance(value, list)}
    arrays = [f"{key}/{name}:{name}" for name in values if name not in ranges]
    once = stored.as_grid(ranges, reuse=[*stored.reuse, *arrays], num_workers=1)
    return repeating_command(once, host)
