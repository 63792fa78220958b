"""Interfaces that plugins implement: `Optimizer`, `Pruner`, `Backend` and `MetricReader`."""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from studio.experiment import Outcome, Report, Run
from studio.settings import Settings
from studio.space import Space, Suggestion

if TYPE_CHECKING:  # the host imports this file
    from studio.host import Host


class Optimizer(ABC):
    """A search strategy. An optimizer sees the space, its own suggestions and their fitness, and nothing else.

        optimizer = Mine(space, seed=1)
        while not optimizer.done:
            suggestion = optimizer.ask()
            optimizer.tell(suggestion, fitness(**suggestion.values))    # None: failed

    Several suggestions may be evaluated at once and told in any order; one may be told again after a retry. The same
    seed and the same interleaving of asks and tells must give the same suggestions: a search is resumed by repeating them.

    A subclass gets more information if its methods take it. Give further parameters of `tell` a default.

    | ability       | an optimizer has it when                    | what comes                                              |
    |---------------|---------------------------------------------|---------------------------------------------------------|
    | `reports`     | it overrides `report`                       | each value of the metric while the experiment runs      |
    | `cost`        | its `tell` has a parameter `cost`           | duration of the experiment in seconds                   |
    | `constraints` | its `tell` has a parameter `constraints`    | a list of numbers, each at most 0 where it is satisfied |
    | `objectives`  | its `tell` has a parameter `objectives`     | a list of fitnesses, the first one being `fitness`      |
    | `failure`     | its `tell` has a parameter `failure`        | if fitness is None, its class: memory, timeout, lost …  |
    """

    ABILITIES: ClassVar[tuple[str, ...]] = ("reports", "cost", "constraints", "objectives", "failure")

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    # methods and programs that are close to it: who asks for one is told its name
    related: ClassVar[tuple[str, ...]] = ()
    grid: ClassVar[bool] = False  # which range grammar it uses: docs/ranges.md
    needs_fitness: ClassVar[bool] = True  # False: asked ahead of results, and a run without fitness is not a failure
    takes_known: ClassVar[bool] = (
        False  # True: is told of values that others asked for, with their point of the unit cube
    )

    size: int | None = None  # number of suggestions in total, if known
    done: bool = False  # set by the optimizer when it has no further suggestions
    done_reason: str = ""

    def __init__(self, space: Space, *, seed: int, **options: Any):  # noqa: B027 - optional to override
        """Take the space and the seed. `options` are the user's `-O name=value`: declare yours as typed keyword arguments."""

    @abstractmethod
    def ask(self) -> Suggestion | None:
        """Return the next suggestion. None, without any change of state: more results are needed, or, with `done` set, the end."""

    @abstractmethod
    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        """Take the fitness (larger is better) of a suggestion that `ask` returned, or None because it failed. With `takes_known`
        also of the script's own values and of `--start-from`: their `point` is a list as `Space.suggestion` makes it.
        """

    def report(self, suggestion: Suggestion, step: int, fitness: float) -> bool:
        """Take a value of a running experiment. Return True to end the experiment. Override this to prune."""
        return False

    def recommend(self) -> Suggestion | None:
        """Return the suggestion to use where results are noisy and the best one seen may be luck; None: the best one seen. Must
        not change later suggestions.
        """
        return None

    @classmethod
    def takes(cls, ability: str) -> bool:
        """Return whether this optimizer has one of `ABILITIES`."""
        if ability == "reports":
            return cls.report is not Optimizer.report
        return ability in _parameters(cls.tell)


@dataclass(frozen=True)
class StoppedRun:
    """A run that a pruner stopped: the number of its experiment, how many reports it had then, and its fitness then."""

    number: int
    reports: int
    fitness: float


class Pruner(ABC):
    """A rule that stops runs early, from the values of the metric that they report. It keeps no state.

        class Half(studio.Pruner):
            name = "half"

            def decides_at(self, reports):
                return reports == self.after

            def should_stop(self, reports, fitness, others):
                return bool(others) and fitness < statistics.median(others)

    The search records the values at each checkpoint, so that a resumed search makes the same decisions.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    related: ClassVar[tuple[str, ...]] = ()  # as for optimizers
    after: int = 5  # reports of a run before the first decision; `--prune-after` sets it

    @abstractmethod
    def decides_at(self, reports: int) -> bool:
        """Return whether the number `reports`, from 1, is a checkpoint. At least `after`, which the search makes sure of."""

    @abstractmethod
    def should_stop(self, reports: int, fitness: float, others: Sequence[float]) -> bool:
        """Return whether to stop a run that has `fitness` (larger is better) after so many reports.

        others  the fitness of every other run at the same checkpoint, in the order in which they reached it
        """

    def choose_reruns(self, stopped: Sequence[StoppedRun]) -> Sequence[int]:
        """Return the numbers of stopped runs to run again, to their end, when nothing else is left to run."""
        return ()


@functools.cache  # asked for each experiment
def _parameters(method: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(method).parameters)


@dataclass(frozen=True)
class BackendContext:
    """Information for a backend about the search that it runs experiments for."""

    settings: Settings
    slots: int  # experiments at a time; at most the number of experiments of the search
    source: Path  # the user's working directory, or the copy of it in the project
    host: "Host"  # for backends that run scripts on this machine
    notify: Callable[[str], None]  # one line for the user, from any thread


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a search, before it starts. `max_cost`: dollars that it cannot exceed, None without such a limit."""

    text: str
    max_cost: float | None = None


class Backend(ABC):
    """A place where experiments run.

        made ── estimate, preview ──► open ──► start, poll, stop … ──► close
                                         └──► migrate, when the search continues elsewhere

    An instance is made for each session, before the user has agreed and before anything is written: the constructor
    stores its arguments, sends no requests and starts nothing.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    related: ClassVar[tuple[str, ...]] = ()  # as for optimizers

    @dataclass(frozen=True)
    class Options:
        """Options of this backend. A field made by `studio.option` is an option of the command line, `--NAME-FIELD`, and
        a key of `backend_options` of `studio.run`.

            @dataclass(frozen=True)
            class Options(studio.Backend.Options):
                partition: str | None = studio.option(None, "NAME", "Partition of the jobs. Default: the cluster's.")
        """

        prefix: ClassVar[str | None] = None  # in place of NAME; "": none, as for the clouds
        after_colon: ClassVar[str | None] = None  # the field that takes the text after `--backend=NAME:`

    def __init__(self, options: Any, context: BackendContext):
        self.options, self.context = options, context

    @classmethod
    def auto_slots(cls, options: Any, settings: Settings) -> int | None:
        """Return how many experiments `--num-workers=auto` runs at a time; None: as many as this machine has CPUs or GPUs for."""
        return None

    def place(self) -> str:
        """Return where this search's experiments are. If a resumed search has another place, the old backend's `migrate` is called."""
        return self.name

    def estimate(self) -> Estimate | None:
        """Return what the search can cost, which the user is asked to accept; None if nothing. May send requests to the service.

        Raises BadInput for options that cannot work.
        """
        return None

    def preview(self) -> str:
        """Return what would be sent first, for `studio run --dry-run`; empty if there is nothing to show."""
        return ""

    def open(self, project: Path) -> None:  # noqa: B027 - optional to override
        """Connect. The folder of the project exists now; called once, before the first `start`."""

    @abstractmethod
    def start(self, run: Run) -> None:
        """Start `run` without waiting. Starting the same (number, attempt) again attaches to it."""

    @abstractmethod
    def poll(self, timeout: float) -> list[Report | Outcome]:
        """Return what happened since the last call; blocks at most `timeout` seconds.

        An outcome comes once, after all reports of its run. Raises EndSearch if no experiment can run any more: running
        experiments are stopped, and resume continues.
        """

    @abstractmethod
    def stop(self, number: int, *, kill: bool) -> None:
        """End experiment `number` and all its processes: politely, or with `kill` at once. Its outcome still comes.

        Asking for the same once more changes nothing.
        """

    @abstractmethod
    def close(self) -> None:
        """Kill what still runs and release all resources. No outcome comes after this."""

    def migrate(self, unfinished: Sequence[tuple[int, int]]) -> None:
        """End the search's experiments here and fetch finished results: the search continues elsewhere. Replaces `close`.

        unfinished  (number, attempt) of experiments without an outcome in the record
        """
        self.close()

    @classmethod
    def leftovers(cls, project: Path) -> list[str]:
        """Return names of what still runs or costs money for the project in that folder, and would be orphaned by `studio rm`.

        Called without an instance, for every installed backend, when no driver runs. Raises StudioError if the service does
        not answer.
        """
        return []

    def forget(self, project: Path) -> None:  # noqa: B027 - optional to override
        """Delete what the search left elsewhere, because its project is being deleted."""


class MetricReader(ABC):
    """Reader of one metric of one run, used while the run goes on."""

    names: Collection[str] = ()  # names seen so far, for error messages; a dict also has the last value of each
    source: str = ""  # where it reads, in a word: the summary of a search names the source used
    precedence: int = 0  # order of several readers of one name: TensorBoard 10, files 20, printed lines 30

    @abstractmethod
    def read(self) -> list[Report]:
        """Return the new values since the last call, in order.

        Reads all that was in the files when the call began, or as much as a fifth of a second allows. Never blocks, never reads
        a byte twice, never raises for a file that is missing, growing or truncated. An incomplete last line is left for the
        next call: it may still be growing.
        """

    def close(self) -> list[Report]:
        """Return the remaining values after the run has ended, including an incomplete last line. Called last."""
        return self.read()
