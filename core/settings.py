"""All options of a search, declared once: type, default, spelling, help, and whether `studio resume` may change them.

    Settings        the options as stored in the project's journal, so that a resumed search is the same search
    RunOptions      the keyword arguments of `studio.run`, for type checkers; ResumeOptions those of `studio.resume`

The command line (`studio.cli.options`), both functions, the command that repeats a search, and the tables in
docs/command-line.md are made from `Settings`. A test compares the two TypedDicts with it.
"""

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypedDict, TypeVar

from studio.errors import BadInput, RangeError
from studio.experiment import FAILURES, FITNESS, MAX_LOG, Metric, Mode
from studio.options import (
    Field,
    count_parser,
    fields_of,
    option,
    parse_bytes,
    read_as,
    read_options,
    words_of,
    write_bytes,
)
from studio.text import did_you_mean, is_number, parse_literal

DEFAULT_EXPERIMENTS = 100  # for an optimizer that does not know its size
GRID_LIMIT = 10_000  # a larger grid is started only with --max-experiments
AUTO = 0  # of `num_workers`: the backend chooses
MAX_WORKSPACE = 10**9  # bytes
SAFE = "safe"  # the rule of --prune alone

SEARCH, METRIC, SCRIPT, PLACE, LIMITS, OUTPUT = "Search", "Metric", "Script", "Where it runs", "Limits", "Output"
GROUPS = (SEARCH, METRIC, SCRIPT, PLACE, LIMITS, OUTPUT)  # of the help, in this order

# --- the script in a command ---------------------------------------------------------------------------------------------

SCRIPTS = (".py", ".ipynb", ".R", ".r", ".jl", ".sh", ".bash", ".zsh")  # ends of their names


def script_of(words: Sequence[str]) -> str:
    """Return the script that a command starts, for people: `train.py` of `python -u train.py 30`, `pkg` of `python -m pkg`."""
    among = [word for word in words if word.endswith(SCRIPTS) and not word.startswith("-")]
    module = words[words.index("-m") + 1 :] if "-m" in words else []
    return [*among, *module, *words][0]


# --- durations --------------------------------------------------------------------------------------------------------

LONGEST_TIME = 1e9  # seconds, thirty years
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])\s*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(given: str | float | None, option: str) -> float | None:
    """Return the seconds of `90s`, `15m`, `5h`, `2d`, `1h30m` or a number of seconds. Raises BadInput."""
    if given is None:
        return None
    text = f"{given:f}" if isinstance(given, float) else str(given).strip().lower()
    text = f"{text}s" if text[-1:].isdecimal() and not any(unit in text for unit in _SECONDS) else text
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text):
        raise BadInput(f"{option} {given!r} is not a duration; write for example 90s, 15m, 5h or 2d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds <= 0:
        raise BadInput(f"{option} {given!r} must be longer than 0")
    if seconds > LONGEST_TIME:
        raise BadInput(f"{option} {str(given)[:40]!r} is too long; leave it out for no limit")
    return seconds


def write_duration(seconds: float) -> str:
    """Return a duration in the form that `parse_duration` reads: all digits, no exponent."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


# --- classes of failure: retries, and whether the search ends ---------------------------------------------------------

# that a machine is gone says nothing about the script
RETRIES: dict[str, int] = dict.fromkeys(map(str, FAILURES), 0) | {"lost": 3}

ByClass = int | str | Mapping[str, Any] | Sequence[str] | None


def parse_retries(given: ByClass, flag: str = "--retry-failed") -> dict[str, int]:
    """Return how often each class of failure is retried, from `2` for all, `memory=0`, `lost=5,timeout=1`, or several."""
    retries = dict(RETRIES)
    for part, failure, text in _by_class(given, flag):
        if not text.isdecimal() or len(text) > 9:
            raise BadInput(f"{flag} {part!r} is not a number of retries; write for example 2, or memory=0,lost=5")
        retries |= dict.fromkeys([failure] if failure else RETRIES, int(text))
    return retries


def parse_stop_on(given: ByClass, flag: str = "--on-failure") -> list[str]:
    """Return the classes of failure that end the search, from `stop`, `continue`, `crash=stop,timeout=continue`, or several.

    The name of a class alone means stop, so that the result of this function can be parsed again.
    """
    ends = dict.fromkeys(RETRIES, False)
    for part, failure, text in _by_class(given, flag):
        if not failure and text in ends:
            ends[text] = True
            continue
        if text not in ("continue", "stop"):
            raise BadInput(f"{flag} {part!r} is neither continue nor stop; for one class write crash=stop")
        ends |= dict.fromkeys([failure] if failure else RETRIES, text == "stop")
    return [failure for failure, stops in ends.items() if stops]


def _write_retries(retries: Mapping[str, int]) -> str:
    numbers = set(retries.values())
    if len(numbers) == 1:
        return str(numbers.pop())
    return ",".join(f"{failure}={number}" for failure, number in retries.items() if RETRIES.get(failure) != number)


def _write_endings(endings: Sequence[str]) -> str:
    return "stop" if set(endings) == set(FAILURES) else ",".join(f"{failure}=stop" for failure in endings)


def _by_class(given: ByClass, flag: str) -> list[tuple[str, str | None, str]]:
    """Return, in order, (text of one part, class or None for all, its value)."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        given = [f"{failure}={value}" for failure, value in given.items()]
    texts = given if isinstance(given, Sequence) and not isinstance(given, str) else [str(given)]
    parts: list[tuple[str, str | None, str]] = []
    for part in (part.strip() for text in texts for part in str(text).split(",")):
        failure, equals, value = (word.strip() for word in part.rpartition("="))
        if equals and failure not in FAILURES:
            raise BadInput(f"{flag} {part!r}: {failure!r} is not a class of failure{did_you_mean(failure, FAILURES)}")
        parts.append((part, failure if equals else None, value))
    return parts


# --- other texts ------------------------------------------------------------------------------------------------------


_PLAIN = re.compile(r"(?!nan|inf|[+-])[\w./+-]+", re.IGNORECASE)  # a text that no range begins with


def parse_ranges(given: Mapping[str, Any] | Sequence[str], flag: str = "--hyperparam") -> dict[str, Any]:
    """Return `["lr=0.01:0.01:0.1"]`, or a mapping of names to ranges, as a dict that the journal can keep."""
    if isinstance(given, Mapping):
        for name, value in given.items():
            if not isinstance(value, str | int | float | bool | list | tuple | None):
                raise BadInput(
                    f"hyperparameter {name}: give a range as text, a list of values or one value, so that resume can read it"
                )
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    ranges: dict[str, Any] = {}
    for text in [given] if isinstance(given, str) else given:
        name, equals, range_text = text.partition("=")
        if not equals:
            raise RangeError(f"{flag} {text!r} is not NAME=RANGE; write for example lr=0.01:0.01:0.1")
        if name in ranges:
            raise RangeError(f"hyperparameter {name!r} is given twice; list its values as one range, like {name}=1,2,3")
        ranges[name] = range_text
    return ranges


def write_ranges(ranges: Mapping[str, Any]) -> list[str]:
    """Return ranges as `NAME=RANGE`; values of a list are separated by commas."""
    texts = {
        name: ",".join(map(write_value, value)) if isinstance(value, list) else str(value)
        for name, value in ranges.items()
    }
    return [f"{name}={text}" for name, text in texts.items()]


def write_value(value: Any) -> str:
    """Return one value of a range as text; a string that would parse as something else is quoted."""
    if not isinstance(value, str) or (_PLAIN.fullmatch(value) and parse_literal(value) == value):
        return str(value)
    quote = '"' if "'" in value else "'"
    return f"{quote}{value}{quote}"


def _parse_starts(given: Any, flag: str) -> list[str]:
    """Return texts such as `lr=0.01,layers=3`, from texts or mappings, one or several."""
    several = [given] if isinstance(given, str | Mapping) else given
    texts = [
        ",".join(f"{name}={write_value(value)}" for name, value in each.items()) if isinstance(each, Mapping) else each
        for each in several
    ]
    return read_as(list[str], texts, flag)


def parse_environment(given: Mapping[str, str | None] | str | Sequence[str], flag: str) -> dict[str, str | None]:
    """Return name -> value from `NAME=VALUE`, or None for `NAME`: then the value is taken at each start and stored nowhere."""
    if isinstance(given, Mapping):
        return {str(name): None if value is None else os.fspath(value) for name, value in given.items()}
    variables: dict[str, str | None] = {}
    for text in [given] if isinstance(given, str) else given:
        name, equals, value = text.partition("=")
        if not name:
            raise BadInput(f"{flag} {text!r} is not NAME=VALUE")
        if name in variables:
            raise BadInput(f"{flag} {name} is given twice")
        if not equals and name not in os.environ:
            raise BadInput(f"{flag} {text!r} is not NAME=VALUE, and the environment has no {name} to take it from")
        variables[name] = value if equals else None
    return variables


def check_environment(variables: Mapping[str, str | None]) -> None:
    """BadInput for a variable that is to come from the environment, which lacks it."""
    for name, value in variables.items():
        if value is None and name not in os.environ:
            raise BadInput(f"--env {name} takes its value from the environment, which has no {name}; set it: {name}=…")


def is_optimizer_file(optimizer: str) -> bool:
    """Return whether `optimizer` is the path of a file and not a name."""
    return optimizer.endswith(".py") or "/" in optimizer


def _parse_optimizer(given: Any, flag: str) -> str:
    text = os.fspath(given)
    if not text:
        raise BadInput(f"{flag} '' names no optimizer; `studio plugins` lists them")
    return os.path.abspath(os.path.expanduser(text)) if is_optimizer_file(text) else text


def _write_optimizer(optimizer: str) -> list[str]:
    """Return the option's text; none for a grid, which is the default for its ranges."""
    return [] if optimizer == "grid" else [optimizer]


def metric_file(name: str) -> str | None:
    """The path of the file that reads a metric `mine.py:NAME`; None for a metric of any other name."""
    file = name.partition(":")[0]
    return file if file.endswith(".py") else None


def _parse_metric_text(given: Any, flag: str) -> str:
    """The text of a metric. A file that reads it is named from the working directory, whose copy goes where the script
    runs; one that lies elsewhere by its whole path."""
    text: str = read_as(str | None, given, flag)
    file = metric_file(text)
    if file is None:
        return text
    path = os.path.abspath(os.path.expanduser(file))
    below = os.path.relpath(path)
    if not os.path.isfile(path):
        raise BadInput(f"{flag} {text!r}: there is no file {file!r}")
    name = text.partition(":")[2]
    if name in ("", "min", "max", "last"):
        raise BadInput(f"{flag} {text!r} names no metric of the file; write {file}:NAME, such as {file}:val_loss:min")
    return f"{path if below.startswith(os.pardir) else below}:{name}"


def _parse_workers(given: Any, flag: str) -> int:
    if given == "auto":
        return AUTO
    try:
        return count_parser(1, "at least 1, or auto,")(given, flag)
    except BadInput as error:
        if isinstance(given, str) and not is_number(given):
            raise BadInput(f"{flag} {given!r} is neither a number nor auto") from None
        raise error


def _parse_prune(given: Any, flag: str) -> str:
    """Return the name of a rule; True stands for `safe`, and False for none."""
    if isinstance(given, bool):
        return SAFE if given else ""
    text: str = read_as(str, given, flag)
    if not text:
        raise BadInput(f"{flag} '' names no rule; write {flag} or {flag}=fast")
    return text


def _parse_direction(given: str, flag: str) -> str:
    words = {"min": "min", "minimize": "min", "max": "max", "maximize": "max"}
    if given not in words:
        raise BadInput(f"{flag} {given!r} is neither min nor max")
    return words[given]


def _parse_place(given: str | Sequence[str], flag: str) -> str:
    """Return `NAME` or `NAME:WHERE`; on the command line `--backend` and `--cloud` may be given only once together."""
    texts = [given] if isinstance(given, str) else list(given)
    if len(texts) > 1:
        raise BadInput(f"{' and '.join(texts)}: a search runs in one place; give --backend or --cloud once")
    if not texts:
        raise BadInput(f"{flag} is an empty list; `studio plugins` lists the backends")
    if not texts[0].partition(":")[0]:
        raise BadInput(f"{flag} {texts[0]!r} names no backend; `studio plugins` lists them")
    return texts[0]


# --- the options ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """Settings of a search; JSON-able. Durations are in seconds, sizes in bytes."""

    script: str
    arguments: list[str] = field(default_factory=list)

    ranges: dict[str, Any] = option(
        {},
        "NAME=RANGE",
        "Hyperparameter and its range. Repeatable.",
        group=SEARCH,
        names=("--hyperparam", "--hp", "-hp"),
        keyword="hyperparams",
        parse=parse_ranges,
        write=write_ranges,
    )
    optimizer: str = option(
        "",
        "NAME|FILE",
        "auto, grid, random, sobol, gp, tpe, cma, a plugin, or a file with one. Default: grid, or auto where a range is no grid.",
        group=SEARCH,
        names=("--optimizer", "--opt", "-opt"),
        parse=_parse_optimizer,
        write=_write_optimizer,
    )
    options: dict[str, Any] = option(
        {}, "KEY=VALUE", "Option of the optimizer. Repeatable.", group=SEARCH, names=("-O",)
    )
    seed: int | None = option(
        None,
        "N",
        "Seed of the random numbers, to repeat a search exactly. Default: drawn and shown.",
        group=SEARCH,
        parse=count_parser(),
    )
    start_from: list[str] = option(
        [],
        "NAME=VALUE,…",
        "Values to try first, after the script's own; other hyperparameters are in the middle. Repeatable.",
        group=SEARCH,
        parse=_parse_starts,
    )
    learn_from: list[str] = option(
        [],
        "PROJECT",
        "Learn from the results of an earlier search of the same places, in other ranges. Repeatable.",
        group=SEARCH,
    )
    no_baseline: bool = option(False, "", "Do not begin with the script's own values.", group=SEARCH)
    repeat: bool = option(False, "", "Run values again that were tried before, too.", group=SEARCH)

    prune: str = option(
        "",
        "RULE",
        "Stop bad runs early. --prune alone is safe; fast, for a limit of time; or the rule of a plugin.",
        group=SEARCH,
        parse=_parse_prune,
    )
    prune_after: int | None = option(
        None,
        "N",
        "Values of the metric that a run has before it may be stopped. Default: 5; 3 with --prune=fast.",
        group=SEARCH,
        parse=count_parser(1),
    )

    metric: str | None = option(
        None,
        "NAME[:min|:max]",
        "A scalar of TensorBoard, files or printed lines; or FILE.py:NAME. Without it, `fitness: NUMBER` on stdout.",
        group=METRIC,
        parse=_parse_metric_text,
    )
    direction: Literal["min", "max"] | None = option(
        None,
        "min|max",
        "Whether smaller or larger values are better; overrides --metric.",
        group=METRIC,
        parse=_parse_direction,
    )

    module: bool = option(False, "", "SCRIPT is a module name.", group=SCRIPT, names=("-m",))
    python: str | None = option(
        None, "PATH", "The script's interpreter. Default: that of the active environment.", group=SCRIPT
    )
    env: dict[str, str | None] = option(
        {},
        "NAME[=VALUE]",
        "Environment variable of the script; a value given here is stored. Repeatable.",
        group=SCRIPT,
        parse=parse_environment,
        write=list,
        secret=True,
    )
    substitute: list[str] = option([], "PATH", "Write values into this file, too. Repeatable.", group=SCRIPT)
    link: list[str] = option(
        [], "PATH", "Link a folder outside the working directory, such as ../data. Repeatable.", group=SCRIPT
    )
    capture: list[str] = option(
        [], "PATH:TAG", "Keep PATH of each experiment as artifact TAG. Repeatable.", group=SCRIPT
    )
    capture_once: list[str] = option(
        [], "PATH:TAG", "Share one copy of PATH among all experiments. Repeatable.", group=SCRIPT
    )
    reuse: list[str] = option(
        [], "EXPERIMENT/ARTIFACT:TAG", "Take an artifact of another experiment. Repeatable.", group=SCRIPT
    )
    keep: Literal["all", "best", "none"] = option(
        "all", "all|best|none", "Which workspaces are kept. Default: all.", group=SCRIPT
    )

    num_workers: int = option(
        1,
        "N|auto",
        "How many experiments run at a time. Default: 1.",
        group=PLACE,
        parse=_parse_workers,
        resume=True,
    )
    backend: str = option(
        "local",
        "NAME[:WHERE]",
        "Where experiments run: local (the default), a folder for workers, a cloud, a plugin.",
        group=PLACE,
        names=("--backend", "--cloud"),
        parse=_parse_place,
        many=True,
        resume=True,
    )
    backend_options: dict[str, Any] = field(default_factory=dict)  # by field of the backend's `Options`
    cpus: int | None = option(None, "N", "CPUs per experiment.", group=PLACE, parse=count_parser())
    gpus: int = option(0, "N", "GPUs per experiment.", group=PLACE, parse=count_parser())
    ram: str | None = option(None, "SIZE", "Memory per experiment, for backends that choose machines.", group=PLACE)
    hdd: str | None = option(None, "SIZE", "Disk per experiment, for backends that choose machines.", group=PLACE)

    max_experiments: int | None = option(
        None, "N", "How many experiments in all.", group=LIMITS, parse=count_parser(1), resume=True
    )
    max_time: float | None = option(
        None,
        "TIME",
        "Time for the whole search: 90s, 15m, 5h, 2d.",
        group=LIMITS,
        parse=parse_duration,
        write=write_duration,
        resume=True,
    )
    max_duration: float | None = option(
        None, "TIME", "Time for one experiment.", group=LIMITS, parse=parse_duration, write=write_duration
    )
    target: float | None = option(
        None, "VALUE", "End the search when the metric reaches VALUE.", group=LIMITS, resume=True
    )
    patience: int | None = option(
        None,
        "N",
        "End the search when N experiments in a row brought no gain.",
        group=LIMITS,
        parse=count_parser(1),
        resume=True,
    )
    max_failures: int | None = option(
        None, "N", "End the search when N experiments have failed.", group=LIMITS, parse=count_parser(1), resume=True
    )
    retry_failed: dict[str, int] = option(
        RETRIES,
        "N|CLASS=N",
        "Retry failed experiments: 2, or per class memory=1,timeout=0. Those on lost workers are always retried.",
        group=LIMITS,
        parse=parse_retries,
        write=_write_retries,
        resume=True,
    )
    on_failure: list[str] = option(
        [],
        "continue|stop",
        "Whether a failure ends the search; for one class: crash=stop. Default: continue.",
        group=LIMITS,
        parse=parse_stop_on,
        write=_write_endings,
        resume=True,
    )
    max_workspace: int = option(
        MAX_WORKSPACE,
        "SIZE",
        "How large the working directory may be. Default: 1GB.",
        group=LIMITS,
        parse=parse_bytes,
        write=write_bytes,
    )
    max_log: int = option(
        MAX_LOG,
        "SIZE",
        "How much of each log is kept: its head and its tail. Default: 100MB.",
        group=LIMITS,
        parse=parse_bytes,
        write=write_bytes,
    )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_grid(self, ranges: Mapping[str, Any], **changes: Any) -> "Settings":
        """Settings of a grid of `ranges`, which runs the script as this search does; nothing of how this one searches stays."""
        search = {field.name: field.default for field in OPTIONS.values() if field.option.group == SEARCH}
        budget = dict.fromkeys(("max_experiments", "max_time", "target", "patience", "max_failures"))
        return replace(self, **{**search, **budget, "ranges": dict(ranges), "optimizer": "grid", **changes})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Settings":
        """Settings from the journal; what this version does not know is left out. A search of an older one had no baseline."""
        known = {item.name for item in fields(cls)}
        older = {"no_baseline": data.get("optimizer", "") not in ("", "grid")}
        return cls(**{"script": "", **older, **{key: value for key, value in data.items() if key in known}})


class ResumeOptions(TypedDict, total=False):
    """The options that `studio.resume` takes."""

    num_workers: int | str | None
    backend: str | None
    backend_options: Mapping[str, Any] | None
    max_experiments: int | str | None
    max_time: str | float | None
    target: float | str | None
    patience: int | str | None
    max_failures: int | str | None
    retry_failed: ByClass
    on_failure: ByClass


class RunOptions(ResumeOptions, total=False):
    """The options that `studio.run` takes: a text as on the command line, or a value of the option's type."""

    hyperparams: Mapping[str, Any] | Sequence[str] | None
    optimizer: str | os.PathLike[str] | None
    options: Mapping[str, Any] | Sequence[str] | None
    seed: int | str | None
    start_from: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None
    learn_from: str | Sequence[str] | None
    no_baseline: bool | None
    repeat: bool | None
    prune: bool | str | None
    prune_after: int | str | None
    metric: str | None
    direction: Literal["min", "max", "minimize", "maximize"] | None
    module: bool | None
    python: str | os.PathLike[str] | None
    env: Mapping[str, str | None] | Sequence[str] | None
    substitute: str | Sequence[str] | None
    link: str | Sequence[str] | None
    capture: str | Sequence[str] | None
    capture_once: str | Sequence[str] | None
    reuse: str | Sequence[str] | None
    keep: Literal["all", "best", "none"] | None
    cpus: int | str | None
    gpus: int | str | None
    ram: str | None
    hdd: str | None
    max_duration: str | float | None
    max_workspace: int | str | None
    max_log: int | str | None


OPTIONS = fields_of(Settings)
RESUME_OPTIONS = {name: each for name, each in OPTIONS.items() if each.option.resume}


def make_settings(script: str | os.PathLike[str], arguments: Sequence[object] = (), **given: Any) -> Settings:
    """Return the arguments of `studio.run` as settings, each parsed by its option. Raises BadInput."""
    return Settings(os.fspath(script), [str(argument) for argument in arguments], **read_settings(OPTIONS, given))


def read_settings(known: Mapping[str, Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given`, by keyword of `studio.run`, as fields of `Settings`. A backend's options are parsed later."""
    own = {name: value for name, value in given.items() if name != "backend_options"}
    extra = {"backend_options": dict(given["backend_options"])} if given.get("backend_options") else {}
    return read_options(known, own) | extra


def command_line(settings: Settings, backend: Mapping[str, Field] | None = None) -> list[str]:
    """Return the words of the command that repeats the search, `studio run …`. `backend`: the options of its backend.

    Secret values are left out: `--env=NAME` takes its value from the environment.
    """
    own = words_of(OPTIONS, vars(settings)) + words_of(backend or {}, settings.backend_options)
    # after `--`, a script whose name begins with a dash is not taken for an option
    script = ["--", settings.script] if settings.script.startswith("-") else [settings.script]
    return ["studio", "run", *own, *script, *settings.arguments]


_Function = TypeVar("_Function", bound=Callable[..., Any])


def with_signature(options: Mapping[str, Field]) -> Callable[[_Function], _Function]:
    """Return a decorator that shows the options of `**given` in a function's signature, for `help()` and notebooks."""

    def decorate(function: _Function) -> _Function:
        explicit = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        shown = [
            inspect.Parameter(
                each.keyword, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.annotation
            )
            for each in options.values()
        ]
        vars(function)["__signature__"] = inspect.Signature([*explicit, *shown])
        return function

    return decorate


# --- metric and direction ---------------------------------------------------------------------------------------------


def parse_metric(text: str | None) -> Metric:
    """Return `val_loss:min` as Metric("val_loss", "min"); without a mode the last value counts. None is `fitness`."""
    if text is None:
        return FITNESS
    name, colon, mode = text.rpartition(":")
    modes: dict[str, Mode] = {"min": "min", "max": "max", "last": "last"}
    if not colon or mode not in modes:
        name, mode = text, "last"
    if not name or name.startswith(":") or name.endswith(":"):
        raise BadInput(f"--metric {text!r} has no metric name; write NAME, NAME:min or NAME:max")
    return Metric(name, modes[mode])


def unread_metric(text: str) -> BadInput:
    """Return the error for a metric that no plugin reads: its source is not installed, or its mode does not exist."""
    if text.count(":") > 1:
        return BadInput(
            f"--metric {text!r}: no plugin reads the source {text.split(':')[0]!r}; `studio plugins` lists the metric extractors"
        )
    name, _, mode = text.rpartition(":")
    hint = did_you_mean(mode, ["min", "max"])
    return BadInput(
        f"--metric {text!r}: {mode!r} is not a mode{hint}{'' if hint.endswith('?') else '.'} Write {name}:min, {name}:max or {name}"
    )


def sign_of(direction: str | None, metric: Metric) -> float:
    """Return the sign that turns the metric into a fitness: -1 if smaller is better."""
    return -1.0 if (direction or metric.mode) == "min" else 1.0
