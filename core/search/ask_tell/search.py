"""Ask and tell, numbered and, with a journal, recorded. `Search` starts nothing and waits for nothing."""

import inspect
import itertools
import json
import math
import operator
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, Never, TypeVar, cast

import numpy as np

from studio.errors import BadInput, PluginFailed, ReplayError, Stalled
from studio.experiment import FAILURES, FITNESS, Experiment, Failure, Status, plain
from studio.host import Host, create_host, plugin_call
from studio.interfaces import Optimizer, Pruner
from studio.options import convert_options
from studio.project.records import Event
from studio.project.store import Store
from studio.project.table import data_frame, described, notebook_html
from studio.ranking import ranked
from studio.search.ask_tell.program_journal import SessionEnd, open_for_program
from studio.search.ask_tell.pruning import Pruning, make_pruning
from studio.search.search_space import GRID, SEARCH, range_to_search, read_space
from studio.space import Space, Suggestion
from studio.text import did_you_mean

START = {"start": True}  # marks an ask of start values in the journal
MANUAL = {"by_hand": True}  # marks an ask of the user's own values in the journal
TOLERANCE = 1e-12  # largest relative difference between a repeated ask and the stored one

# of an earlier search: values and their fitness, or None and the class of their failure
Result = tuple[Mapping[str, Any], float] | tuple[Mapping[str, Any], float | None, Failure]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _one_at_a_time(method: _Method) -> _Method:
    @wraps(method)
    def call(self: "Search", *given: Any, **named: Any) -> Any:
        with self._access:
            return method(self, *given, **named)

    return cast(_Method, call)


class Ledger:
    """State of a search: its suggestions, their results, and the best."""

    def __init__(self, project: str):
        self.project = project
        self.suggestions: dict[int, Suggestion] = {}
        self.experiments: dict[int, Experiment] = {}
        self._untold: dict[int, None] = {}  # an ordered set
        self._best: int | None = None

    def asked(self, suggestion: Suggestion) -> None:
        assert suggestion.number is not None
        self.suggestions[suggestion.number] = suggestion
        self.experiments[suggestion.number] = Experiment(self.project, suggestion.number, "queued", suggestion.values)
        self._untold[suggestion.number] = None

    def told(self, number: int, fitness: float | None, *, pruned: bool = False) -> None:
        status: Status = "failed" if fitness is None else "pruned" if pruned else "completed"
        before = self.experiments[number]
        self.experiments[number] = replace(before, status=status, fitness=fitness if status == "completed" else None)
        self._untold.pop(number, None)
        if number == self._best:  # told again after a retry
            self._best = self._find_best()
        elif status == "completed":
            self._best = ranked(filter(None, [self.best, self.experiments[number]]))[0].number

    @property
    def next_number(self) -> int:
        return next(reversed(self.suggestions), 0) + 1

    @property
    def untold(self) -> list[int]:
        """Numbers that were asked and not told, in the order of their asks."""
        return list(self._untold)

    @property
    def best(self) -> Experiment | None:
        return None if self._best is None else self.experiments[self._best]

    def _find_best(self) -> int | None:
        return next((experiment.number for experiment in ranked(self.experiments.values())), None)


class Search:
    """A search that a program drives.

        search = studio.Search({"lr": "1e-5:0.1:l", "optimizer": ["adam", "sgd"]}, optimizer="cma", max_experiments=200)
        for suggestion in search:
            search.tell(suggestion, fitness(**suggestion.values))      # larger is better; None: failed
        search.best.values, search.best.fitness

    space            name -> range text, list of values, or value; or a `Space`
    optimizer        a name, the path of a file with one, or an `Optimizer` class; default: grid for lists and step ranges,
                     auto for other ranges
    seed             seed of the random numbers, to repeat a search exactly; default: drawn, see `search.seed`
    options          options of the optimizer
    max_experiments  number of suggestions; default: the optimizer decides
    project          name of a project that stores the search, or resumes it if it exists
    start_from       values for all names, to be tried before the optimizer is asked, which is told of them if it
                     `takes_known`
    learn_from       (values, fitness) each, or (values, None, class of the failure): results of an earlier search that the
                     optimizer is told of; no experiments here
    prune            name of a rule that stops bad runs early, such as "safe", or a `Pruner` class: `report` follows it
    prune_after      reports of a run before the rule's first decision; default: the rule decides
    accept_changes   use a new optimizer if the resumed one suggests other values than the journal has

    Without `project` nothing is written to disk. Threads may share a search: calls are serialised.
    """

    def __init__(
        self,
        space: Space | Mapping[str, Any],
        *,
        optimizer: str | type[Optimizer] | None = None,
        seed: int | None = None,
        options: Mapping[str, Any] | None = None,
        max_experiments: int | None = None,
        project: str | None = None,
        host: Host | None = None,
        journal: Store | None = None,
        accept_changes: bool = False,
        start_from: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
        learn_from: Sequence[Result] = (),
        prune: str | type[Pruner] | None = None,
        prune_after: int | None = None,
        **unknown: Never,
    ):
        if unknown:
            name = next(iter(unknown))
            known = [*inspect.signature(Search).parameters][:-1]
            raise BadInput(f"studio.Search has no argument {name!r}{did_you_mean(name, known)}")
        if not isinstance(space, Space | Mapping):
            raise BadInput(f"studio.Search({space!r:.100}): give names with their ranges, such as {{'x': '0:1'}}")
        host = host or create_host()
        if optimizer is None:
            ranges = {parameter.name: parameter for parameter in space} if isinstance(space, Space) else space
            optimizer = SEARCH if range_to_search(ranges, host) else GRID
        self.optimizer_class = host.optimizer(optimizer) if isinstance(optimizer, str) else optimizer
        self.space = space if isinstance(space, Space) else read_space(space, host, grid=self.optimizer_class.grid)
        self.max_experiments = _checked_budget(max_experiments)
        self._options = convert_options(self.optimizer_class, options or {})
        self._pruner = host.pruner(prune) if isinstance(prune, str) and prune else prune or None
        self._prune_after = prune_after
        if project is not None:
            journal = open_for_program(project, space, self.optimizer_class.name, options or {}, seed)
        self._access = threading.RLock()
        self._journal = journal
        self._end = SessionEnd(journal if project is not None else None)  # a driver records its own end
        self.seed = self._resolve_seed(seed)
        self._asked_at: dict[int, float] = {}  # number -> monotonic time
        self._queue: deque[Suggestion] = deque()  # suggestions by hand, or asked in an earlier session and not told
        self._manual: set[int] = set()
        self._pruned: set[int] = set()
        self._reports: dict[int, int] = {}  # number -> reports of its present run
        self._starts = deque(self.space.checked(values) for values in _given_starts(start_from))
        self._start_count = len(self._starts)
        self._unasked: set[int] = set()  # numbers of starts that the optimizer is not told of
        self._ledger = Ledger(project or (journal.folder.name if journal else ""))
        self._learned = self._settle_learned(learn_from)
        self._optimizer = self._new_optimizer(self.seed)
        if journal is not None:
            self._resume(journal, accept_changes)

    # --- the loop ---------------------------------------------------------------------------------------------------

    @_one_at_a_time
    def ask(self) -> Suggestion | None:
        """Return the next suggestion to run. None: more results are needed or, when `done`, the search has ended.

        Suggestions that an earlier session asked for and did not tell come first.
        """
        if self._queue:
            return self._queue.popleft()
        if self.done:
            return None
        if self._starts:
            return self._ask_start()
        suggestion = self._ask_optimizer()
        self._end.note(suggestion is None and self._is_over)
        if suggestion is None:
            return None
        if self._journal is not None:
            self._journal.ask(self._ledger.next_number, suggestion.values, suggestion.point)
            self._asked_at[self._ledger.next_number] = time.monotonic()
        self._ledger.asked(suggestion)
        return suggestion

    def _ask_start(self) -> Suggestion:
        """The next values to begin with: part of the budget, and told to an optimizer that takes what it did not ask for."""
        values = self._starts.popleft()
        number, point = self._ledger.next_number, self.space.point(values).tolist()
        suggestion = self._take_start(values, number, point)
        if self._journal is not None:
            self._journal.ask(number, suggestion.values, point, START)
            self._asked_at[number] = time.monotonic()
        return suggestion

    @_one_at_a_time
    def add(self, values: Mapping[str, Any]) -> int:
        """Queue the user's own values, which `ask` returns next, outside of the budget. Return their number.

        The optimizer is not told their result, so that it still follows its seed. Raises BadInput unless all names have a value.
        """
        if set(values) != set(self.space.names):
            raise BadInput(f"values for {sorted(values)} were given; values for {sorted(self.space.names)} are needed")
        suggestion = self._add_suggestion(values, self._ledger.next_number, by_hand=True)
        if self._journal is not None:
            self._journal.ask(self._ledger.next_number - 1, suggestion.values, None, MANUAL)
        self._queue.append(suggestion)
        self._end.note(False)
        return self._ledger.next_number - 1

    @_one_at_a_time
    def tell(
        self,
        suggestion: Suggestion | int,
        fitness: float | None,
        *,
        cost: float | None = None,
        constraints: Sequence[float] | None = None,
        objectives: Sequence[float] | None = None,
        failure: str | None = None,
        pruned: bool | None = None,
    ) -> None:
        """Record the fitness of a suggestion, or of its number; larger is better. None, NaN and infinities mean failed.

        The further arguments go to optimizers with that ability, and raise BadInput for others: see `Optimizer`.
        `pruned`: it was ended early, so its fitness is no candidate for the best; by default, where `report` said so.
        """
        number = self._number_of(suggestion)
        if fitness is not None:
            fitness = _checked_fitness(fitness)
        self._queue = deque(waiting for waiting in self._queue if waiting.number != number)
        told = {"cost": cost, "constraints": constraints, "objectives": objectives, "failure": failure}
        extras = _checked_extras(self.optimizer_class, told)
        pruned = number in self._pruned if pruned is None else pruned
        reports = self._reports.pop(number, 0) if self.pruning else 0
        if self._journal is not None:
            asked = self._asked_at.pop(number, None)
            kept = {**extras, **({"pruned": True} if pruned else {}), **({"reports": reports} if reports else {})}
            self._journal.tell(number, fitness, kept, None if asked is None else time.monotonic() - asked)
        self._tell_optimizer(number, fitness, extras, pruned=pruned, reports=reports)
        self._end.note(self._is_over)

    @_one_at_a_time
    def report(self, suggestion: Suggestion | int, step: int, fitness: float, *, reports: int | None = None) -> bool:
        """Report an intermediate fitness of a running suggestion. Return True to end it now and tell its last fitness.

        `reports`: the number of this report in its run, from 1; by default it is counted here. Raises BadInput if the search
        has no pruner and its optimizer does not take reports.
        """
        number = self._number_of(suggestion)
        if self.pruning is None:
            _require(self.optimizer_class, "reports")
        ends = False
        if self.optimizer_class.takes("reports"):
            if self._journal is not None:
                self._journal.report(number, step, fitness)
            ends = self._report_to_optimizer(number, step, fitness)
        if self.pruning is not None:
            self._reports[number] = count = reports or self._reports.get(number, 0) + 1
            if self.pruning.is_checkpoint(number, count):
                if self._journal is not None:
                    self._journal.report(number, step, fitness, count)
                ends |= self._report_to_pruner(number, count, fitness)
        return ends

    @_one_at_a_time
    def close(self) -> None:
        """Release the project, if any, so that another process can continue it."""
        if self._journal is not None:
            self._journal.close()

    def __iter__(self) -> Iterator[Suggestion]:
        while (suggestion := self.ask()) is not None:
            yield suggestion
        if not self.done:
            raise Stalled(self.stalled_text())

    @property
    def done(self) -> bool:
        """True if `ask` will never return a suggestion again."""
        return not self._queue and (self._budget_spent() or (self._optimizer.done and not self._starts))

    @property
    def _is_over(self) -> bool:
        return self.done and not self.untold

    @property
    def done_reason(self) -> str:
        if self._budget_spent():
            return f"all {self.max_experiments} experiments of the budget were suggested"
        return self._optimizer.done_reason or f"{self.optimizer_class.name} has no more suggestions"

    @property
    def size(self) -> int | None:
        """Number of suggestions in total, if known."""
        own = None if self._optimizer.size is None else self._optimizer.size + self._start_count
        sizes = [size for size in (own, self.max_experiments) if size is not None]
        return min(sizes) + len(self._manual) if sizes else None

    def stalled_text(self) -> str:
        out = len(self.untold)
        wait = f"of {out} suggestions that were not told" if out else "although no experiment is running"
        return f"optimizer {self.optimizer_class.name} waits for results {wait}"

    def optimize(
        self, function: Callable[..., float | None], n: int | None = None, *, direction: str = "maximize"
    ) -> Experiment | None:
        """Call `function(**values)` for the next `n` suggestions, or until the search is done, tell what it returns, and
        return the best. With `direction="minimize"` smaller is better, and the fitness is minus what it returned.

        What it raises ends the loop; a search with a `project` goes on with those values.
        """
        if direction not in ("maximize", "max", "minimize", "min"):
            raise BadInput(f"direction={direction!r}: write 'maximize' or 'minimize'")
        if n is not None and n < 0:
            raise BadInput(f"optimize(f, {n}): give 0 or more suggestions to try")
        if n is None and self.size is None:
            raise BadInput("this search has no end of its own: say how many, as optimize(f, 100) does")
        sign = -1.0 if direction.startswith("min") else 1.0
        for suggestion in itertools.islice(self, n):
            value = function(**suggestion.values)
            self.tell(suggestion, None if value is None else sign * _as_number(value))
        return self.best

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def experiments(self) -> list[Experiment]:
        """All experiments, in order of number."""
        return list(self._ledger.experiments.values())

    @property
    def best(self) -> Experiment | None:
        """The experiment with the largest fitness, the first of equals; None if there is none yet."""
        return self._ledger.best

    @property
    def best_values(self) -> dict[str, Any] | None:
        """The values of the best experiment; None while there is none."""
        best = self.best
        return None if best is None else best.values

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame, a row an experiment, as `Project.to_dataframe` has it."""
        return data_frame(self.experiments, FITNESS)

    def __repr__(self) -> str:
        return described("Search", self._ledger.project or self.optimizer_class.name, self._state, self.experiments)

    def _repr_html_(self) -> str:
        """Return the HTML that a notebook shows."""
        name = self._ledger.project or self.optimizer_class.name
        return notebook_html(name, self._state, self.experiments, FITNESS)

    @property
    def _state(self) -> str:
        return "done" if self._is_over else "running"

    @property
    def recommended(self) -> Experiment | None:
        """The best experiment, for noisy results, by the mean of the optimizer's model; None without such a model, or noise."""
        with self._access, plugin_call(self._optimizer, "recommend"):
            suggestion = self._optimizer.recommend()
        if suggestion is None or suggestion.number is None:
            return None
        return self._ledger.experiments.get(suggestion.number)

    @property
    def untold(self) -> list[int]:
        """Numbers that were asked and not told, in order."""
        return self._ledger.untold

    def suggestion(self, number: int) -> Suggestion:
        return self._ledger.suggestions[number]

    # --- the optimizer ----------------------------------------------------------------------------------------------

    def _new_optimizer(self, seed: int) -> Optimizer:
        self._pruned.clear()
        self.pruning: Pruning | None = make_pruning(self._pruner, self._prune_after) if self._pruner else None
        optimizer = make_optimizer(self.optimizer_class, self.space, seed, self._options)
        with plugin_call(optimizer, "tell"):
            for values, fitness, extras in self._learned:
                optimizer.tell(self.space.suggestion(self.space.point(values)), fitness, **extras)
        return optimizer

    def _ask_optimizer(self) -> Suggestion | None:
        with plugin_call(self._optimizer, "ask"):
            suggestion = self._optimizer.ask()
        if suggestion is None:
            return None
        name = self.optimizer_class.name
        if not isinstance(suggestion, Suggestion):
            raise PluginFailed(f"{name} returned {suggestion!r} from ask; a studio.Suggestion or None is needed")
        if set(suggestion.values) != set(self.space.names):
            raise PluginFailed(f"{name} suggested {sorted(suggestion.values)}, not {sorted(self.space.names)}")
        try:
            json.dumps(suggestion.point)
        except (TypeError, ValueError) as error:
            raise PluginFailed(f"{name} suggested a point that JSON cannot hold: {error}") from error
        return replace(suggestion, number=self._ledger.next_number)

    def _tell_optimizer(
        self, number: int, fitness: float | None, extras: Mapping[str, Any], *, pruned: bool, reports: int
    ) -> None:
        self._ledger.told(number, fitness, pruned=pruned)
        self._pruned.discard(number)
        if self.pruning is not None:
            self.pruning.tell(number, fitness, reports, pruned=pruned)
            if pruned and fitness is not None and not self.optimizer_class.takes("reports"):
                estimate = self.pruning.estimate(number)
                fitness = fitness if estimate is None else estimate
        if number not in self._manual | self._unasked:
            with plugin_call(self._optimizer, "tell"):
                self._optimizer.tell(self._ledger.suggestions[number], fitness, **extras)

    def _report_to_optimizer(self, number: int, step: int, fitness: float) -> bool:
        if number in self._manual | self._unasked:
            return False
        with plugin_call(self._optimizer, "report"):
            ends = bool(self._optimizer.report(self._ledger.suggestions[number], step, fitness))
        if ends:
            self._pruned.add(number)
        return ends

    def _report_to_pruner(self, number: int, reports: int, fitness: float) -> bool:
        assert self.pruning is not None
        ends = self.pruning.report(number, reports, fitness)
        if ends:
            self._pruned.add(number)
        return ends

    def _number_of(self, suggestion: Suggestion | int) -> int:
        if suggestion is None:
            raise BadInput("`ask` returned None, which is no suggestion: the search is done, or waits for results")
        number = suggestion.number if isinstance(suggestion, Suggestion) else operator.index(suggestion)
        if number is None or number not in self._ledger.suggestions:
            raise BadInput(f"this search has no suggestion with the number {number}")
        return number

    def _budget_spent(self) -> bool:
        return self.max_experiments is not None and self._ledger.next_number > self.max_experiments + len(self._manual)

    # --- resuming ---------------------------------------------------------------------------------------------------

    def _resolve_seed(self, seed: int | None) -> int:
        """Return the journal's seed, the given one, or a new one, drawn and stored."""
        stored = None if self._journal is None else self._journal.meta("seed")
        if stored is not None and seed is not None and seed != stored:
            raise BadInput(f"seed {seed} was given, but the project runs with seed {stored}")
        if stored is not None:
            return int(stored)
        seed = random.SystemRandom().randrange(2**31) if seed is None else int(seed)
        if self._journal is not None:
            self._journal.set_meta("seed", seed)
        return seed

    def _settle_learned(self, given: Sequence[Result]) -> list[tuple[dict[str, Any], float | None, dict[str, Any]]]:
        """Fix the knowledge of the earlier search as it was when this one began."""
        if given and not self.optimizer_class.takes_known:
            name = self.optimizer_class.name
            raise BadInput(f"learn_from: {name} takes no results of other searches; take optimizer='auto'")
        if isinstance(given, str) or not all(isinstance(each, list | tuple) and len(each) in (2, 3) for each in given):
            raise BadInput(
                f"learn_from={given!r:.100}: give results, such as [({{'x': 1}}, 0.5)]; studio.run(…, learn_from='PROJECT')"
                " takes those of a project"
            )
        known = [[{name: plain(value) for name, value in values.items()}, *result] for values, *result in given]
        if self._journal is not None:
            if known and self._journal.last_event() == 0:
                self._journal.set_meta("known", known)
            known = self._journal.meta("known") or []
        return [
            (values, fitness, _checked_extras(self.optimizer_class, {"failure": "".join(failure) or None}))
            for values, fitness, *failure in known
        ]

    def _resume(self, journal: Store, accept_changes: bool) -> None:
        """Replay the journal since the last restart: each ask is repeated and compared, each tell is told again."""
        asked = [event for event in journal.events() if event.kind == "ask" and event.extra != MANUAL]
        begun = [event for event in asked if event.extra == START]
        self._start_count = max(self._start_count, len(begun)) if len(begun) == len(asked) else len(begun)
        for _ in range(len(self._starts) if len(begun) < len(asked) else min(len(begun), len(self._starts))):
            self._starts.popleft()  # they were asked for before everything else
        restart = journal.last_restart()
        try:
            if restart is not None:
                self._rebuild(journal, until=restart.id, seed=int(restart.point))
            for event in journal.events(after=restart.id if restart else 0):
                self._replay(event)
        except (ReplayError, PluginFailed):
            if not accept_changes:
                raise
            self._restart(journal)
        last = math.inf if self.max_experiments is None else self.max_experiments + len(self._manual)
        within = [number for number in self.untold if number <= last]
        self._queue.extend(self.suggestion(number) for number in within)

    def _replay(self, event: Event) -> None:
        if event.kind == "ask" and event.extra == MANUAL:
            self._add_suggestion(event.values or {}, event.experiment, by_hand=True)
        elif event.kind == "ask" and event.extra == START:
            self._take_start(event.values or {}, event.experiment, event.point)
        elif event.kind == "ask":
            self._repeat_ask(event)
        elif event.kind == "tell":
            self._repeat_tell(event)
        else:
            self._repeat_report(event)

    def _repeat_ask(self, event: Event) -> None:
        suggestion = self._ask_optimizer()
        now = None if suggestion is None else {name: plain(value) for name, value in suggestion.values.items()}
        if suggestion is None or not _same(event.values, now) or not _same(event.point, suggestion.point):
            raise ReplayError(
                f"experiment {event.number}: {self.optimizer_class.name} now suggests {now}, the record has {event.values};"
                " its code or its libraries changed. Continue with a new optimizer that is told the record: --accept-changes"
            )
        self._ledger.asked(suggestion)

    def _repeat_tell(self, event: Event) -> None:
        extras = dict(event.extra)
        pruned, reports = extras.pop("pruned", False), extras.pop("reports", 0)
        self._tell_optimizer(event.experiment, event.fitness, extras, pruned=pruned, reports=reports)

    def _repeat_report(self, event: Event) -> None:
        assert event.fitness is not None
        reports = event.extra.get("reports")  # only a checkpoint of the pruner has it
        if reports is None:
            self._report_to_optimizer(event.experiment, event.extra["step"], event.fitness)
        elif self.pruning is not None:
            self._report_to_pruner(event.experiment, reports, event.fitness)

    def _add_suggestion(
        self, values: Mapping[str, Any], number: int, point: Any = None, *, by_hand: bool
    ) -> Suggestion:
        """Record a suggestion that the present optimizer did not make, and return it."""
        arrays = self.space.array_names
        typed = {name: np.array(value) if name in arrays else value for name, value in values.items()}
        suggestion = Suggestion(typed, point, number)
        self._ledger.asked(suggestion)
        self._manual |= {number} if by_hand else set()
        return suggestion

    def _take_start(self, values: Mapping[str, Any], number: int, point: Any) -> Suggestion:
        self._unasked |= set() if self.optimizer_class.takes_known else {number}
        return self._add_suggestion(values, number, point, by_hand=False)

    def _restart(self, journal: Store) -> None:
        seed = self.seed + 1 + sum(event.kind == "restart" for event in journal.events())
        restart = journal.restart(seed)
        self._rebuild(journal, until=restart, seed=seed)

    def _rebuild(self, journal: Store, until: int, seed: int) -> None:
        """Use a new optimizer that is told the stored points, in the order in which they were told."""
        self._ledger = Ledger(self._ledger.project)
        self._manual.clear()
        self._unasked.clear()
        self._optimizer = self._new_optimizer(seed)
        for event in journal.events(until=until):
            if event.kind == "ask" and event.extra == START:
                self._take_start(event.values or {}, event.experiment, event.point)
            elif event.kind == "ask":
                self._add_suggestion(event.values or {}, event.experiment, event.point, by_hand=event.extra == MANUAL)
            elif event.kind == "tell":
                self._repeat_tell(event)
            elif event.kind == "report" and "reports" in event.extra:
                self._repeat_report(event)


def make_optimizer(kind: type[Optimizer], space: Space, seed: int, options: Mapping[str, Any]) -> Optimizer:
    """Construct an optimizer; for a space that has one point only, one that suggests that point."""
    if space.dimensions == 0 and not kind.grid:
        return OnePoint(space, seed=seed)
    with plugin_call(kind, "its constructor"):
        return kind(space, seed=seed, **options)


class OnePoint(Optimizer):
    """An optimizer that suggests the only point of a space without dimensions, once."""

    name = "one-point"
    takes_known = True
    size = 1

    def __init__(self, space: Space, *, seed: int):
        self._space = space

    def ask(self) -> Suggestion | None:
        if self.done:
            return None
        self.done, self.done_reason = True, "there is nothing to search"
        return self._space.suggestion([])

    def tell(self, suggestion: Suggestion, fitness: float | None, **extras: Any) -> None:
        pass


def _given_starts(given: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    starts = [given] if isinstance(given, Mapping) else given
    if isinstance(starts, str) or not all(isinstance(values, Mapping) for values in starts):
        raise BadInput(f"start_from={given!r:.100}: give values by name, such as {{'x': 1}}, or several in a list")
    return starts


def _checked_fitness(fitness: Any) -> float | None:
    number = _as_number(fitness)
    return number if math.isfinite(number) else None


def _as_number(fitness: Any) -> float:
    try:
        if isinstance(fitness, str | bytes):  # `float` would read some
            raise TypeError
        return float(fitness)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"{fitness!r:.100} is no fitness; give a number, or None for a failure") from None


def _checked_budget(max_experiments: int | None) -> int | None:
    try:
        max_experiments = None if max_experiments is None else operator.index(max_experiments)
    except TypeError:
        raise BadInput(f"max_experiments={max_experiments!r}: a whole number is needed") from None
    if max_experiments is not None and max_experiments < 1:
        raise BadInput(f"max_experiments={max_experiments}: at least 1 is needed")
    return max_experiments


def _same(stored: Any, now: Any) -> bool:
    """Return whether two JSON values agree, numbers to `TOLERANCE`."""
    if isinstance(stored, list) and isinstance(now, list | tuple):
        return len(stored) == len(now) and all(map(_same, stored, now))
    if isinstance(stored, dict) and isinstance(now, dict):
        return stored.keys() == now.keys() and all(_same(stored[key], now[key]) for key in stored)
    if type(stored) is float or type(now) is float:
        return (
            isinstance(now, int | float)
            and isinstance(stored, int | float)
            and math.isclose(stored, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        )
    return bool(stored == now)


def _require(optimizer: type[Optimizer], ability: str) -> None:
    """Raise BadInput if `optimizer` lacks an ability that the search needs."""
    if not optimizer.takes(ability):
        has = ", ".join(sorted(filter(optimizer.takes, Optimizer.ABILITIES))) or "none"
        raise BadInput(
            f"optimizer {optimizer.name} does not take {ability} (its optional abilities: {has}); "
            "`studio plugins` shows which do"
        )


def _checked_extras(optimizer: type[Optimizer], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values told beside the fitness, as the journal keeps them."""
    extras = {}
    for name, value in given.items():
        if value is not None:
            _require(optimizer, name)
            extras[name] = _plain_extra(name, value)
    return extras


def _plain_extra(name: str, value: Any) -> Any:
    if name == "failure":
        if value not in FAILURES:
            raise BadInput(f"failure={value!r} is not a class of failure; there are {', '.join(FAILURES)}")
        return value
    return float(value) if name == "cost" else [float(item) for item in value]
