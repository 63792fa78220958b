"""Inspection of a script: places for values, metrics, and a command that searches them."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from studio.errors import BadInput, StudioError
from studio.execution.metric_names import COST, PLACEHOLDER, TRAINING, likely_mode, result_rank, standing
from studio.execution.metrics_seen import Seen, seen_metrics
from studio.experiment import Run
from studio.format import counted
from studio.host import Host
from studio.script.asked_options import ask_options, with_asked
from studio.script.command import active_interpreter
from studio.script.constants import UNKNOWN
from studio.script.library_metrics import library_metrics
from studio.script.places import Place, Places
from studio.script.places.options import by_its_name
from studio.script.printed import bare_numbers, logged_names, printed_lines
from studio.script.program import Program
from studio.script.proposal import Proposal, propose, worth_searching
from studio.search.plan.early_check import with_its_python
from studio.search.plan.plan import check_whole_numbers, make_plan, program_of
from studio.settings import Settings, make_settings
from studio.system.processes import output_within
from studio.text import parse_literal

HELP_TIMEOUT = 30.0  # seconds
RUN_TIMEOUT = "30m"
BARE = "regex:"  # how a number that is printed without a name is read
_PARSES = re.compile(
    r"argv|(?i:pars(?:er|e_|ing)|\bcli\b|\bapp\b|\bclick\b|\btyper\b|\bfire\b|\bhydra\b|\bflags\b|settings)"
)
_OPTION = re.compile(
    r"^\s+(?:-\w[ ,][^-]*)?(--[A-Za-z][\w.-]*)(?:[ =]\S+)?.*?(?:\[?\(?default: ?'?([^)'\]]*)'?[)\]])?\s*$", re.M
)


@dataclass
class Inspection:
    """Result of an inspection. `metrics` has the likely objective first."""

    words: list[str]  # the script and its arguments, as `studio run` takes them
    proposals: list[Proposal]
    metrics: list[Seen]
    notices: list[str] = field(default_factory=list)
    script: str | None = None  # its path, where it is one file
    ran: bool = False  # whether the script was run for its metrics

    @property
    def is_sure(self) -> bool:
        """True if the name of the first metric says that it is the result, and which direction is better."""
        return bool(self.metrics) and (self.metrics[0].sure or _is_bare(self.metrics[0]))

    @property
    def doubt(self) -> str:
        """Question for the user if the metric is not sure; empty if it is, or if the script was not run."""
        if self.is_sure or not self.metrics or not self.ran:
            return ""
        best = self.metrics[0]
        if standing(best.name) == COST:
            return f"no result is seen, only what a run takes: search by {best.name!r}, or by another metric above?"
        return f"the name {best.name!r} does not say that it is the result: search by it, or by another metric above?"

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `studio.run` for a first search of the script; without a metric that is not sure."""
        searched = worth_searching(self.proposals, self.script)
        options: dict[str, Any] = {"optimizer": "auto"} if searched else {}
        if self.is_sure and self.metrics[0].name != "fitness":
            options["metric"] = f"{self.metrics[0].name}:{self.metrics[0].mode}"
        if searched:
            options["hyperparams"] = [f"{one.place.address}={one.range}" for one in searched]
        return options

    @property
    def missing(self) -> list[Place]:
        """The options that the script needs and that have neither a value nor a range to search."""
        return [
            one.place for one in self.proposals if one.place.required and one.place.value is UNKNOWN and not one.range
        ]

    @property
    def command(self) -> list[str]:
        """The first of `commands`."""
        return self.commands[0]

    @property
    def commands(self) -> list[list[str]]:
        """The `studio run` command of that search, as words; one for each direction where the metric does not tell.

        Without a metric that is sure, the inspection that runs the script once. Of a script that does not start without an
        option that has no value, the inspection with a value for it.
        """
        if self.missing:
            given = [f"{one.prefix}=VALUE" for one in self.missing]
            return [["studio", "inspect", *(["--run"] if self.ran else []), *self.words, *given]]
        if not self.is_sure and not self.ran:
            return [["studio", "inspect", "--run", *self.words]]
        options = self.options
        ranges = [f"--hp={text}" for text in options.pop("hyperparams", [])]
        several = [options]
        if self.metrics and not self.is_sure:
            best = self.metrics[0]
            several = [
                {**options, "metric": f"{best.name}:{mode}"} for mode in ([best.mode] if best.mode else ["max", "min"])
            ]
        return [
            ["studio", "run", *(f"--{name}={value}" for name, value in each.items()), *ranges, *self.words]
            for each in several
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict: {"command", "commands", "sure", "doubt", "places", "metrics", "notices"}."""
        return {
            "command": self.command,
            "commands": self.commands,
            "sure": self.is_sure,
            "doubt": self.doubt,
            "places": [
                {
                    "name": one.place.address,
                    "file": (one.place.home or one.place).file,
                    "line": (one.place.home or one.place).line,
                    "kind": one.place.kind,
                    "value": None if one.place.value is UNKNOWN else one.place.value,
                    "range": one.range,
                }
                for one in self.proposals
            ],
            "metrics": [
                {"name": one.name, "source": one.source, "value": one.value, "mode": one.mode, "sure": one.sure}
                for one in self.metrics
            ],
            "notices": self.notices,
        }


def inspect_script(
    script: str,
    arguments: Sequence[str],
    host: Host,
    *,
    module: bool = False,
    is_command: bool = False,
    run: bool = False,
) -> Inspection:
    """Inspect the script in the working directory. A Python script with a parser is started until its parser has read the
    arguments. With `run` it is run once, in a copy.

    Raises BadInput for a missing script, SubstitutionError for one that cannot be parsed.
    """
    path = Path(os.path.normpath(Path.cwd() / script))
    if not module and path.is_file() and not path.is_relative_to(Path.cwd()):
        there = shlex.join(["studio", "inspect", path.name, *arguments])
        raise BadInput(
            f"script {script!r} is outside the working directory, where its search would run: cd"
            f" {shlex.quote(os.path.relpath(path.parent))} && {there}"
        )
    settings = with_its_python(Settings(script, list(arguments), module=module), Path.cwd())
    program = program_of(replace(settings, python=settings.python or active_interpreter()), Path.cwd()).limited
    places = Places(program, script).every()
    asked = ask_options(program, Path.cwd())
    if asked is not None:
        places = with_asked(places, asked, program.arguments)
    # a script often prints its hyperparameters, too
    own = {_letters(one.place.name) for one in worth_searching(propose(places), program.script)}
    metrics = [one for one in _metrics_in_text(program, host) if _letters(one.name) not in own]
    bare = [one for one in metrics if _is_bare(one)]
    words = [*(["-m"] if module else []), *(["--"] if is_command else []), script, *arguments]
    notices: list[str] = []
    if run:
        with tempfile.TemporaryDirectory() as home:
            had, notice = _metrics_of_a_run(words, host, home)
            workspace = _folder_of_run(home) / "workspace"
            places += _options_in_help(program, places, workspace) if asked is None else []
        had = [one for one in had if _letters(one.name) not in own]
        metrics = sorted([*had, *bare], key=_rank) if had else metrics
        notices += [notice] if notice else []
    if program.unread:
        notices.append(
            f"the project is large: {counted(len(program.unread), 'imported module')} not read; to search a value of such a module,"
            f" write for example --hp={program.unread[0]}:NAME=RANGE"
        )
    seen = Inspection(words, propose(places), metrics, notices, program.script, ran=run)

    def problem(ranges: Sequence[str]) -> str:
        try:
            given = make_settings(script, arguments, module=module, optimizer="auto", hyperparams=ranges)
            check_whole_numbers(make_plan(given, host, Path.cwd(), program=program))
        except StudioError as error:
            return str(error).splitlines()[0]
        return ""

    _withdraw_refused(seen, problem)
    return seen


def _withdraw_refused(seen: Inspection, problem: Callable[[Sequence[str]], str]) -> None:
    """Take the ranges from the proposed command that `studio run` refuses, each with a notice that says why."""

    while (searched := worth_searching(seen.proposals, seen.script)) and problem([_given(one) for one in searched]):
        refused = {one.place.key: said for one in searched if (said := problem([_given(one)]))}
        if not refused:  # it is the whole that is refused
            return
        seen.notices += refused.values()
        seen.proposals = [replace(one, range="") if one.place.key in refused else one for one in seen.proposals]


def _given(one: Proposal) -> str:
    return f"{one.place.address}={one.range}"


def _metrics_in_text(program: Program, host: Host) -> list[Seen]:
    """Return metrics that the program would print or log, found by the readers in its text, without values."""
    numbers, arrays = printed_lines(program)
    printed = _metrics_in_lines(numbers, host)
    names = {seen.name for seen in printed}
    logged = {**logged_names(program), **library_metrics(program)}
    printed += [Seen(name, tracker, None, likely_mode(name)) for name, tracker in logged.items() if name not in names]
    for pattern, expression in bare_numbers(program).items():
        if mode := likely_mode(expression):
            printed.append(Seen(f"{BARE}{pattern}", "printed lines", None, mode))
    known = {seen.name for seen in printed}
    of_arrays = [seen for seen in _metrics_in_lines(arrays, host) if seen.name not in known]
    named = [seen for seen in printed if _is_bare(seen) or not PLACEHOLDER.search(seen.name)]
    return [*sorted(named, key=_rank), *of_arrays]


def _metrics_in_lines(lines: Sequence[str], host: Host) -> list[Seen]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "output.log").write_text("\n".join([*lines, ""]), encoding="utf-8")
        return [replace(seen, value=None) for seen in seen_metrics(_run_in(folder), host)]


def _is_bare(seen: Seen) -> bool:
    return seen.name.startswith(BARE)


def _rank(seen: Seen) -> tuple[int, ...]:
    """A number without a name comes behind what is named as a result, and before what may be anything."""
    return (True, TRAINING, 2) if _is_bare(seen) else result_rank(seen.name)


def _metrics_of_a_run(words: Sequence[str], host: Host, home: str) -> tuple[list[Seen], str]:
    """Metrics of one run of the script as it is, in a copy below `home`; and what went wrong."""
    limits = ["--project=inspect", "--json", f"--max-duration={RUN_TIMEOUT}"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "studio", "run", *limits, *words],
        env={**os.environ, "STUDIO_HOME": home},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    folder = _folder_of_run(home)
    if not folder.is_dir() or not done.stdout:
        raise BadInput(f"the script could not be run: {_last_line(done.stderr)}")
    (ended,) = json.loads(done.stdout)
    reason = f"the run of the script failed: {ended['reason']}" if ended["status"] == "failed" else ""
    return seen_metrics(_run_in(str(folder)), host), reason


def _folder_of_run(home: str) -> Path:
    return Path(home, "projects", "inspect", "1", "1")


def _run_in(folder: str) -> Run:
    return Run("inspect", 1, 1, folder, {}, {}, [], {}, folder)


def _options_in_help(program: Program, known: Sequence[Place], workspace: Path) -> list[Place]:
    """Options that the script's own --help shows and its source does not, as of a parser in a library. A script that seems
    to have no parser is not asked: it would train again."""
    if not any(_PARSES.search(source.file.text) for source in program.python):
        return []
    spellings = {place.prefix for place in known}
    places = []
    for match in _OPTION.finditer(
        output_within([*program.command, *program.arguments, "--help"], workspace, HELP_TIMEOUT)
    ):
        spelling, default = match[1], match[2]
        if spelling not in spellings and spelling not in ("--help", "--version"):
            spellings.add(spelling)
            place = by_its_name(spelling, program.arguments)
            value = parse_literal(default) if default else place.value
            places.append(replace(place, address=spelling, value=value))
    return places


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("studio: ") if lines else "it printed nothing"
