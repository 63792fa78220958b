"""What a plugin writes: an `Optimizer`, a `Backend` or a `MetricReader`. Three small interfaces, no base behaviour."""

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
    """A search strategy. It sees the space, its own suggestions and their fitness, and nothing else.

        optimizer = Mine(space, seed=1)
        while not optimizer.done:
            suggestion = optimizer.ask()
            optimizer.tell(suggestion, fitness(**suggestion.values))    # None: it failed

    Several suggestions may be out at once and are told in any order; one may be told again after a retry. The same
    seed and the same interleaving of asks and tells must give the same suggestions: a search is resumed by repeating them.

    A subclass gets more where its methods say that they take it. Give further parameters of `tell` a default.

    | ability       | an optimizer has it when                    | what comes                                              |
    |---------------|---------------------------------------------|---------------------------------------------------------|
    | `reports`     | it overrides `report`                       | each value of the metric while the experiment runs      |
    | `cost`        | its `tell` has a parameter `cost`           | how long the experiment took, in seconds                |
    | `constraints` | its `tell` has a parameter `constraints`    | a list of numbers, each at most 0 where it is satisfied |
    | `objectives`  | its `tell` has a parameter `objectives`     | a list of fitnesses, the first one being `fitness`      |
    | `failure`     | its `tell` has a parameter `failure`        | with fitness None, its class: memory, timeout, lost ... |
    """

    ABILITIES: ClassVar[tuple[str, ...]] = ("reports", "cost", "constraints", "objectives", "failure")

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    related: ClassVar[
        tuple[str, ...]
    ] = ()  # methods and programs that are close to it: who asks for one is told its name
    grid: ClassVar[bool] = False  # which range grammar its users write: docs/ranges.md
    needs_fitness: ClassVar[bool] = True  # False: may be asked ahead, and a run without fitness is no failure
    takes_known: ClassVar[bool] = (
        False  # True: is told of values that others asked for, with their point of the unit cube
    )

    size: int | None = None  # how many suggestions it will make, when it knows
    done: bool = False  # set by the optimizer, when it will ask for nothing more
    done_reason: str = ""

    def __init__(self, space: Space, *, seed: int, **options: Any):  # noqa: B027 - optional to override
        """`options` are what the user gave by `-O name=value`: declare yours as keyword arguments with types."""

    @abstractmethod
    def ask(self) -> Suggestion | None:
        """The next suggestion. None, without any change of state: tell me more first, or, with `done` set, the end."""

    @abstractmethod
    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        """The fitness (larger is better) of a suggestion that `ask` returned, or None because it failed. With `takes_known`
        also of the script's own values and of `--start-from`: their `point` is a list as `Space.suggestion` makes it."""

    def report(self, suggestion: Suggestion, step: int, fitness: float) -> bool:
        """A value of a running experiment. True ends it. Override this to prune."""
        return False

    def recommend(self) -> Suggestion | None:
        """Of the suggestions that were told, the one to take where results are noisy and the best one seen may be luck; None:
        the best one seen. Must not change what is asked next."""
        return None

    @classmethod
    def takes(cls, ability: str) -> bool:
        """Whether this optimizer has one of `ABILITIES`."""
        if ability == "reports":
            return cls.report is not Optimizer.report
        return ability in inspect.signature(cls.tell).parameters


@dataclass(frozen=True)
class BackendContext:
    """What a backend knows of the search that it runs experiments for."""

    settings: Settings
    slots: int  # experiments at a time; never more than there will be
    source: Path  # the user's working directory, or the copy of it in the project
    host: "Host"  # for backends that run scripts on this machine
    notify: Callable[[str], None]  # one line for the user, from any thread


@dataclass(frozen=True)
class Estimate:
    """What a search can cost, before it starts. `max_cost`: dollars that it cannot exceed, None without such a limit."""

    text: str
    max_cost: float | None = None


class Backend(ABC):
    """Where experiments run.

        made ── estimate, preview ──► open ──► start, poll, stop … ──► close
                                         └──► migrate, when the search goes on elsewhere

    One is made for each session, before the user has agreed and before anything is written: the constructor keeps what
    it gets, asks nobody and starts nothing.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()

    @dataclass(frozen=True)
    class Options:
        """What this backend takes of its own. A field made by `studio.option` is an option of the command line,
        `--NAME-FIELD`, and a key of `backend_options` of `studio.run`.

            @dataclass(frozen=True)
            class Options(studio.Backend.Options):
                partition: str | None = studio.option(None, "NAME", "Where jobs are queued. Default: the cluster's.")
        """

        prefix: ClassVar[str | None] = None  # in place of NAME; "": none, as the clouds have it
        after_colon: ClassVar[str | None] = None  # the field that takes what follows `--backend=NAME:`

    def __init__(self, options: Any, context: BackendContext):
        self.options, self.context = options, context

    @classmethod
    def auto_slots(cls, options: Any, settings: Settings) -> int | None:
        """How many experiments `--num-workers=auto` runs at a time; None: as many as this machine has CPUs, or GPUs for."""
        return None

    def place(self) -> str:
        """Where experiments of this search are. A search that resumes at another place calls `migrate` on the old one."""
        return self.name

    def estimate(self) -> Estimate | None:
        """What the search can cost, which the user is asked to accept; None: nothing. May ask the backend's service.

        Raises BadInput for what cannot work.
        """
        return None

    def preview(self) -> str:
        """What would be sent first, for `studio run --dry-run`; empty: nothing worth a look."""
        return ""

    def open(self, project: Path) -> None:  # noqa: B027 - optional to override
        """Connect. The folder of the project exists now; called once, before the first `start`."""

    @abstractmethod
    def start(self, run: Run) -> None:
        """Start `run`, at once. Starting the same (number, attempt) again attaches to it."""

    @abstractmethod
    def poll(self, timeout: float) -> list[Report | Outcome]:
        """What happened since the last call; blocks at most `timeout` seconds. An outcome comes once, after all
        reports of its run. Raises EndSearch where nothing can go on: what runs is stopped, and resume continues."""

    @abstractmethod
    def stop(self, number: int, *, kill: bool) -> None:
        """End experiment `number` and all its processes: politely, or with `kill` at once. Its outcome still comes.

        Asking for the same once more changes nothing.
        """

    @abstractmethod
    def close(self) -> None:
        """Kill what still runs and give everything back. No outcome comes any more."""

    def migrate(self, unfinished: Sequence[tuple[int, int]]) -> None:
        """The search goes on elsewhere: end what it has here, and bring home what is finished. In place of `close`.

        unfinished  (number, attempt) of experiments without an outcome in the record
        """
        self.close()

    @classmethod
    def leftovers(cls, project: Path) -> list[str]:
        """Names of what costs money or runs although nobody drives the search in that folder, and what `studio rm` would
        orphan. Asked without an instance, of every backend that is installed. StudioError where nobody answers."""
        return []

    def forget(self, project: Path) -> None:  # noqa: B027 - optional to override
        """Delete what the search left elsewhere: its project is being deleted."""


class MetricReader(ABC):
    """Reads one metric of one run while the run goes on."""

    names: Collection[str] = ()  # what was seen so far, for the error that lists it; a dict has the last value of each
    source: str = ""  # where it reads, in a word: the summary of a search says who answered
    precedence: int = (
        0  # several readers of one name are asked in this order: TensorBoard 10, files 20, what is printed 30
    )

    @abstractmethod
    def read(self) -> list[Report]:
        """What is new since the last call, in order: all that stood in the files when the call began, or as much of it as
        is read in a fifth of a second. Never blocks, never reads a byte twice, never raises for a file that is missing,
        growing or cut off. A last line without its end waits: it may still be growing."""

    def close(self) -> list[Report]:
        """What is left now that the run has ended, a last line without its end included. Nothing is called after it."""
        return self.read()
