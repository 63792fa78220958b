"""`Search`: ask and tell, numbered and, where there is a journal, recorded. It starts nothing and waits for nothing."""

import json
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from studio import home, options
from studio.errors import BadInput, PluginFailed, ReplayError, Stalled
from studio.experiment import Experiment, Status, plain
from studio.host import Host, blame, create_host
from studio.interfaces import Optimizer
from studio.ranges import read_space
from studio.space import Parameter, Space, Suggestion
from studio.store import Event, Store

TOLERANCE = 1e-12  # how far a repeated ask may lie from the stored one


class Search:
    """A search that a program drives.

        search = studio.Search({"lr": "1e-5:0.1:l", "optimizer": ["adam", "sgd"]}, optimizer="cma", max_experiments=200)
        for suggestion in search:
            search.tell(suggestion, fitness(**suggestion.values))      # larger is better; None: it failed
        search.best.values, search.best.fitness

    space            name -> range text, list of values, or value; or a `Space`
    optimizer        a name, the path of a file with one, or an `Optimizer` class
    seed             one number makes the search repeat; drawn, and found as `search.seed`, when left out
    options          the optimizer's own
    max_experiments  how many suggestions are made; the optimizer decides when left out
    project          stores it, and resumes it where it exists
    accept_changes   go on with a fresh optimizer where a resumed one asks for something else than it did

    Without `project` no disk is touched.
    """

    def __init__(
        self,
        space: Space | Mapping[str, Any],
        *,
        optimizer: str | type[Optimizer] = "grid",
        seed: int | None = None,
        options: Mapping[str, Any] | None = None,
        max_experiments: int | None = None,
        project: str | None = None,
        host: Host | None = None,
        journal: Store | None = None,
        accept_changes: bool = False,
    ):
        host = host or create_host()
        self.optimizer_class = host.optimizer(optimizer) if isinstance(optimizer, str) else optimizer
        self.space = space if isinstance(space, Space) else read_space(space, host, grid=self.optimizer_class.grid)
        self.max_experiments = _checked_budget(max_experiments)
        self._options = _typed_options(self.optimizer_class, options or {})
        if project is not None:
            settings = {
                "ranges": _written(space),
                "optimizer": self.optimizer_class.name,
                "options": dict(options or {}),
                "seed": seed,
            }
            journal = _project_journal(project, settings)
        self._journal = journal
        self.seed = self._settle_seed(seed)
        self._queue: deque[Suggestion] = deque()  # asked in an earlier session and never told
        self._suggestions: dict[int, Suggestion] = {}
        self._experiments: dict[int, Experiment] = {}
        self._project = project or (journal.folder.name if journal else "")
        self._best: int | None = None
        self._optimizer = self._new_optimizer(self.seed)
        if journal is not None:
            self._resume(list(journal.events()), accept_changes)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def ask(self) -> Suggestion | None:
        """The next suggestion to run. None: tell more first, or, when `done`, the end.

        Suggestions that an earlier session asked for and never told come first.
        """
        if self._queue:
            return self._queue.popleft()
        if self.done:
            return None
        suggestion = self._ask_optimizer()
        if suggestion is None:
            return None
        if self._journal is not None:
            assert suggestion.number is not None
            self._journal.ask(suggestion.number, suggestion.values, suggestion.point)
        self._record(suggestion)
        return suggestion

    def tell(self, suggestion: Suggestion | int, fitness: float | None) -> None:
        """The fitness of a suggestion (or of its number), larger being better. None, NaN and infinities: it failed."""
        number = suggestion if isinstance(suggestion, int) else suggestion.number
        if number is None or number not in self._suggestions:
            raise BadInput(f"this search asked for no suggestion with the number {number}")
        if fitness is not None:
            fitness = float(fitness)
            fitness = fitness if math.isfinite(fitness) else None
        if self._journal is not None:
            self._journal.tell(number, fitness)
        self._note_told(number, fitness)
        with blame(self._optimizer, "tell"):
            self._optimizer.tell(self._suggestions[number], fitness)

    def __iter__(self) -> Iterator[Suggestion]:
        while (suggestion := self.ask()) is not None:
            yield suggestion
        if not self.done:
            raise Stalled(self.stalled_text())

    @property
    def done(self) -> bool:
        """Whether `ask` will never return a suggestion again."""
        return not self._queue and (self._budget_spent() or self._optimizer.done)

    @property
    def done_reason(self) -> str:
        if self._budget_spent():
            return f"all {self.max_experiments} experiments were asked for"
        return self._optimizer.done_reason or f"{self.optimizer_class.name} has nothing more to ask"

    @property
    def needs_fitness(self) -> bool:
        return self.optimizer_class.needs_fitness

    @property
    def size(self) -> int | None:
        """How many suggestions this search will make, when that is known."""
        sizes = [size for size in (self._optimizer.size, self.max_experiments) if size is not None]
        return min(sizes) if sizes else None

    @property
    def untold(self) -> list[int]:
        """Numbers that were asked for and not told, in order."""
        return [number for number, experiment in self._experiments.items() if experiment.status == "queued"]

    def stalled_text(self) -> str:
        out = len(self.untold)
        wait = f"although {out} suggestions are untold" if out else "although nothing is out"
        return f"optimizer {self.optimizer_class.name} asks for more results, {wait}"

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def experiments(self) -> list[Experiment]:
        """All experiments, in order of number."""
        return [self._experiments[number] for number in sorted(self._experiments)]

    @property
    def best(self) -> Experiment | None:
        """The experiment with the largest fitness, the first of equals; None while there is none."""
        return None if self._best is None else self._experiments[self._best]

    def suggestion(self, number: int) -> Suggestion:
        return self._suggestions[number]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _budget_spent(self) -> bool:
        return self.max_experiments is not None and len(self._suggestions) >= self.max_experiments

    def _new_optimizer(self, seed: int) -> Optimizer:
        with blame(self.optimizer_class, "its constructor"):
            return self.optimizer_class(self.space, seed=seed, **self._options)

    def _ask_optimizer(self) -> Suggestion | None:
        with blame(self._optimizer, "ask"):
            suggestion = self._optimizer.ask()
        if suggestion is None:
            return None
        if set(suggestion.values) != set(self.space.names):
            raise PluginFailed(
                f"{self.optimizer_class.name} suggested {sorted(suggestion.values)}, not {sorted(self.space.names)}"
            )
        try:
            json.dumps(suggestion.point)
        except (TypeError, ValueError) as error:
            raise PluginFailed(
                f"{self.optimizer_class.name} suggested a point that JSON cannot hold: {error}"
            ) from error
        return replace(suggestion, number=len(self._suggestions) + 1)

    def _record(self, suggestion: Suggestion) -> None:
        assert suggestion.number is not None
        self._suggestions[suggestion.number] = suggestion
        self._experiments[suggestion.number] = Experiment(self._project, suggestion.number, "queued", suggestion.values)

    def _note_told(self, number: int, fitness: float | None) -> None:
        status: Status = "completed" if fitness is not None else "failed"
        self._experiments[number] = replace(self._experiments[number], status=status, fitness=fitness)
        if number == self._best:  # a retry told it again
            self._best = max(
                (n for n, e in sorted(self._experiments.items()) if e.fitness is not None),
                key=lambda n: self._experiments[n].fitness or 0.0,
                default=None,
            )
        elif fitness is not None and (self.best is None or fitness > (self.best.fitness or 0.0)):
            self._best = number

    # --- resuming ---------------------------------------------------------------------------------------------------

    def _settle_seed(self, seed: int | None) -> int:
        stored = self._journal.meta("seed") if self._journal is not None else None
        if stored is not None and seed is not None and seed != stored:
            raise BadInput(f"seed {seed} was given, but project {self._journal.folder.name!r} runs with seed {stored}")  # type: ignore[union-attr]
        if stored is not None:
            return int(stored)
        seed = random.SystemRandom().randrange(2**31) if seed is None else int(seed)
        if self._journal is not None:
            self._journal.set_meta("seed", seed)
        return seed

    def _resume(self, events: list[Event], accept_changes: bool) -> None:
        """Repeat the journal: every ask is asked again and compared, every tell told again."""
        restarts = [index for index, event in enumerate(events) if event.kind == "restart"]
        begin = restarts[-1] + 1 if restarts else 0
        if restarts:
            self._take_over(events[:begin], int(events[begin - 1].point))
        try:
            for event in events[begin:]:
                self._repeat(event)
        except (ReplayError, PluginFailed):
            if not accept_changes:
                raise
            self._start_afresh(events)
        self._queue.extend(self._suggestions[number] for number in self.untold)

    def _repeat(self, event: Event) -> None:
        if event.kind == "tell":
            self._retell(event)
            return
        suggestion = self._ask_optimizer()
        if (
            suggestion is None
            or not _same(event.values, _plain_values(suggestion.values))
            or not _same(event.point, suggestion.point)
        ):
            now = "nothing" if suggestion is None else _plain_values(suggestion.values)
            raise ReplayError(
                f"experiment {event.number}: {self.optimizer_class.name} now asks for {now}, the record has {event.values};"
                " its code or its libraries changed. Go on with a fresh optimizer that is told the record: --accept-changes"
            )
        self._record(suggestion)

    def _retell(self, event: Event) -> None:
        assert event.number is not None
        self._note_told(event.number, event.fitness)
        with blame(self._optimizer, "tell"):
            self._optimizer.tell(self._suggestions[event.number], event.fitness)

    def _start_afresh(self, events: list[Event]) -> None:
        seed = self.seed + 1 + sum(event.kind == "restart" for event in events)
        assert self._journal is not None
        self._journal.restart(seed)
        self._take_over(events, seed)

    def _take_over(self, events: Iterable[Event], seed: int) -> None:
        """A fresh optimizer that is told the stored points, in the order in which they were told."""
        self._suggestions.clear()
        self._experiments.clear()
        self._best = None
        self._optimizer = self._new_optimizer(seed)
        for event in events:
            if event.kind == "ask":
                assert event.values is not None
                values = {
                    name: np.array(value) if isinstance(value, list) else value for name, value in event.values.items()
                }
                self._record(Suggestion(values, event.point, event.number))
            elif event.kind == "tell":
                self._retell(event)


def _checked_budget(max_experiments: int | None) -> int | None:
    if max_experiments is not None and max_experiments < 1:
        raise BadInput(f"max_experiments={max_experiments}: at least 1 is needed")
    return max_experiments


def _typed_options(optimizer: type[Optimizer], given: Mapping[str, Any]) -> dict[str, Any]:
    return options.typed(optimizer, given)


def _project_journal(name: str, settings: dict[str, Any]) -> Store:
    """The journal of project `name`, new or resumed; what was asked for must not have changed."""
    folder = home.project_folder(name)
    if not home.database(folder).is_file():
        home.make_folder(folder)
        return Store.create(folder, settings)
    journal = Store.open(folder)
    stored = journal.meta("settings")
    for key in ("ranges", "optimizer", "options"):
        if stored.get(key) != settings[key]:
            journal.close()
            raise BadInput(
                f"project {name!r} was begun with {key} {stored.get(key)!r}, not {settings[key]!r}; choose another project name"
            )
    return journal


def _written(space: Space | Mapping[str, Any]) -> dict[str, Any]:
    """The ranges as the journal keeps them, to compare on resume."""
    items = [(parameter.name, parameter) for parameter in space] if isinstance(space, Space) else space.items()
    result = {}
    for name, given in items:
        result[name] = (
            repr(given) if isinstance(given, Parameter) else list(given) if isinstance(given, tuple) else plain(given)
        )
    return result


def _plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in values.items()}


def _same(stored: Any, now: Any) -> bool:
    """Whether two JSON values agree, numbers to `TOLERANCE`."""
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
