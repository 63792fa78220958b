"""Contract tests of optimizers, for plugin authors to subclass.

Most tests make a journal of a search (`journals`) in one of the spaces below, and check it or replay it.
"""

import math
import random
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from studio.interfaces import Optimizer
from studio.space import Array, Choice, Constant, Integer, Real, Space, Suggestion
from studio.testing.journals import (
    Asked,
    Fitness,
    Reported,
    Told,
    as_json,
    ask,
    check_equal,
    complaint,
    report,
    search,
    tell,
    values_of,
)

SEED = 20240229
COUNTABLE = 10_000  # grids and samples up to this size are asked completely


class OptimizerContract:
    """The contract of `studio.Optimizer`.

        class TestMine(OptimizerContract):
            optimizer = Mine
            options = {"popsize": 6}        # keyword arguments of Mine, if it needs any

    With `grid = True` the spaces consist of choices and constants, else of every kind of hyperparameter.
    Set `deterministic = True` for an optimizer that ignores the seed by design, such as a grid. Most tests ask for `asks`
    suggestions; one that takes long for each may have fewer.
    """

    optimizer: ClassVar[type[Optimizer]]
    options: ClassVar[Mapping[str, Any]] = {}
    deterministic: ClassVar[bool] = False
    asks: ClassVar[int] = 24

    # -- what is asked for

    def test_stays_in_every_kind_of_space(self) -> None:
        """Names, kinds of values, ranges and a JSON-able point, in spaces of each kind of hyperparameter."""
        for space in self._spaces().values():
            search(self._new(space), space, middle_is_best(space), self.asks)

    def test_does_not_repeat_itself(self) -> None:
        """No suggestion comes twice, if values are continuous or the optimizer is a grid."""
        space = self._large_space()
        seen: dict[str, int] = {}
        for event in search(self._new(space), space, middle_is_best(space), self.asks):
            if isinstance(event, Asked):
                first = seen.setdefault(as_json(event.suggestion.values), event.number)
                assert first == event.number, f"suggestion {event.number} has the values of suggestion {first}"

    def test_seeds_make_a_difference(self) -> None:
        """Two seeds suggest different values, in a space with many."""
        if self.deterministic:
            return
        space = self._large_space()
        fitness = middle_is_best(space)
        one, other = (values_of(search(self._new(space, seed), space, fitness, self.asks)) for seed in (SEED, SEED + 1))
        assert one != other, (
            f"seeds {SEED} and {SEED + 1} ask for the same {len(one)} suggestions: use `seed`, or set "
            "`deterministic = True` in this suite if that is meant"
        )

    def test_size_is_how_many_it_asks_for(self) -> None:
        """An optimizer with a `size` makes exactly that many suggestions, then returns None, with `done` set."""
        for label, space in self._spaces().items():
            optimizer = self._new(space)
            size = optimizer.size
            if size is None or size > COUNTABLE:
                continue
            count = sum(isinstance(event, Asked) for event in search(optimizer, space, middle_is_best(space), size + 1))
            assert count == size, f"{label} space: size is {size}, but ask() gave {count} suggestions"
            assert ask(optimizer, space) is None, f"{label} space: ask() gave more than size={size} suggestions"
            assert optimizer.done, f"{label} space: done is not set after all {size} suggestions"

    def test_takes_known_values(self) -> None:
        """With `takes_known`, an optimizer accepts values that it did not suggest, and continues the same way each time."""
        if not self.optimizer.takes_known:
            return
        for label, space in self._spaces().items():
            paths = []
            for _ in range(2):
                optimizer, fitness = self._new(space), middle_is_best(space)
                for number, part in enumerate((0.25, 0.75), 1):
                    known = replace(space.suggestion(np.full(space.dimensions, part)), number=number)
                    tell(optimizer, known, fitness(known) if number == 1 else None)
                paths.append(values_of(search(optimizer, space, fitness, self.asks)))
            assert paths[0] or optimizer.done, f"{label} space: it asks for nothing when it was told of values before"
            assert paths[0] == paths[1], f"{label} space: values that it was told of make it ask differently each time"

    # -- several at a time, replay

    def test_one_outstanding_suggestion_is_enough(self) -> None:
        """The optimizer never waits for more results when each of its suggestions was told."""
        self._replay(outstanding=1)

    def test_replays_with_4_outstanding(self) -> None:
        """A new optimizer with the same seed repeats its suggestions when stored asks and tells are replayed in order.

        `studio resume` does that; here with results out of order and some failures.
        """
        self._replay(outstanding=4)

    def test_replays_with_64_outstanding(self) -> None:
        """The same holds with more outstanding suggestions than most populations and batches have."""
        self._replay(outstanding=64)

    def test_same_seed_same_path(self) -> None:
        """Equal seeds and results give equal suggestions, whatever state the global generators are in."""
        space = self._mixed_space()
        paths = []
        for state in (1, 2):
            with global_generators(state):
                paths.append(values_of(search(self._new(space), space, middle_is_best(space), self.asks)))
        assert paths[0] == paths[1], (
            "the same seed and the same results gave other suggestions: draw from a generator of your own, "
            "numpy.random.default_rng(seed), and look at no clock"
        )

    def test_leaves_global_generators_alone(self) -> None:
        """The global `random` and `numpy.random` are neither seeded nor drawn from."""
        space = self._mixed_space()
        with global_generators(3):
            before = random.getstate(), as_json(np.random.get_state(legacy=True))
            search(self._new(space), space, middle_is_best(space), self.asks)
            after = random.getstate(), as_json(np.random.get_state(legacy=True))
        assert before[0] == after[0], "the state of Python's `random` changed: use random.Random(seed)"
        assert before[1] == after[1], "the state of `numpy.random` changed: use numpy.random.default_rng(seed)"

    def test_none_from_ask_changes_nothing(self) -> None:
        """Any number of asks that return None leave the optimizer unchanged."""
        space = self._mixed_space()
        journals = [search(self._new(space), space, middle_is_best(space), 3 * self.asks, 8, vain) for vain in (1, 5)]
        assert values_of(journals[0]) == values_of(journals[1]), (
            "an ask() that returned None changed what was suggested afterwards: change state only with a suggestion"
        )

    # -- what it is told

    def test_answers_reports(self) -> None:
        """`report` returns True or False, also if all experiments fail, and after it has returned True."""
        if not self.optimizer.takes("reports"):
            return
        space = self._mixed_space()
        for fitness in (middle_is_best(space), lambda suggestion: None):
            optimizer = self._new(space)
            for event in search(optimizer, space, fitness, 2 * self.asks, 8):
                if isinstance(event, Reported) and event.ended:
                    report(optimizer, event.suggestion, event.step + 1, event.fitness)

    def test_survives_failures(self) -> None:
        """Every third experiment fails: fitness None."""
        self._survives(lambda number, value: None if number % 3 == 0 else value)

    def test_survives_failures_only(self) -> None:
        """All experiments fail: there is no best and no worst."""
        self._survives(lambda number, value: None)

    def test_survives_nan_and_infinity(self) -> None:
        """Every second fitness is NaN or infinite, from a script that diverged."""
        bad = (math.nan, math.inf, -math.inf)
        self._survives(lambda number, value: bad[number // 2 % 3] if number % 2 else value)

    def test_survives_every_class_of_failure(self) -> None:
        """`tell` takes each class of failure, an empty one, and an unknown one."""
        if not self.optimizer.takes("failure"):
            return
        space = self._mixed_space()
        optimizer, fitness = self._new(space), middle_is_best(space)
        for number in range(2 * self.asks):
            suggestion = ask(optimizer, space)
            if suggestion is None:
                return
            failure = ("memory", "timeout", "lost", "crash", "metric", "", "unheard-of")[number % 7]
            with complaint(f"tell(suggestion, None, failure={failure!r})"):
                optimizer.tell(suggestion, None, failure=failure)  # type: ignore[call-arg]
            suggestion = ask(optimizer, space)
            if suggestion is not None:
                tell(optimizer, suggestion, fitness(suggestion))

    def test_survives_equal_fitness(self) -> None:
        """A plateau: all differences of fitness are 0."""
        self._survives(lambda number, value: 0.0)

    def test_survives_a_second_tell(self) -> None:
        """A suggestion may be told again, at once or much later (`studio retry`), or never."""
        space = self._mixed_space()
        optimizer = self._new(space)
        fitness = middle_is_best(space)
        journal = search(optimizer, space, lambda _: None, self.asks)
        suggestions = [event.suggestion for event in journal if isinstance(event, Told)]
        for number, suggestion in enumerate(suggestions):
            for _ in range(1 + number % 2):
                tell(optimizer, suggestion, fitness(suggestion))
            ask(optimizer, space)  # never told
        for suggestion in reversed(suggestions):
            tell(optimizer, suggestion, None)
        ask(optimizer, space)

    def test_does_not_change_suggestions(self) -> None:
        """Neither tell nor a later ask changes the values or the point of a suggestion."""
        for label, space in self._spaces().items():
            optimizer, fitness = self._new(space), middle_is_best(space)
            kept: list[tuple[Suggestion, str]] = []
            while len(kept) < self.asks and (suggestion := ask(optimizer, space)) is not None:
                kept.append((suggestion, as_json(suggestion)))
                tell(optimizer, suggestion, fitness(suggestion))
            for suggestion, text in kept:
                assert as_json(suggestion) == text, (
                    f"{label} space: a suggestion changed after ask() from {text} to {as_json(suggestion)}"
                )

    def test_needs_no_fitness_if_it_says_so(self) -> None:
        """An optimizer with `needs_fitness = False` makes the same suggestions whatever is told, even if nothing is."""
        if self.optimizer.needs_fitness:
            return
        space = self._mixed_space()
        told = values_of(search(self._new(space), space, middle_is_best(space), self.asks))
        optimizer = self._new(space)
        ahead = [as_json(suggestion.values) for _ in told if (suggestion := ask(optimizer, space)) is not None]
        assert told == ahead, (
            "needs_fitness is False, but the suggestions differ when nothing is told: such an optimizer is asked ahead"
        )

    def test_a_recommendation_changes_nothing(self) -> None:
        """Suggestions are the same whether or not `recommend` is called, and it recommends what was told."""
        space = self._mixed_space()
        fitness = middle_is_best(space)
        asked, silent = self._new(space), self._new(space)
        told = []
        for number in range(1, self.asks + 1):
            suggestion, other = ask(asked, space), ask(silent, space)
            if suggestion is None or other is None:
                break
            check_equal(other, suggestion, f"after recommend(), suggestion {number}")
            suggestion = replace(suggestion, number=number)
            told.append(number)
            for optimizer in (asked, silent):
                tell(optimizer, suggestion, fitness(suggestion))
            if number % max(1, min(8, self.asks // 3)) == 0:
                recommended = asked.recommend()
                assert recommended is None or recommended.number in told, f"recommend() gave {recommended}, never told"

    # -- how the tests do it

    def _new(self, space: Space, seed: int = SEED) -> Optimizer:
        with complaint(f"{self.optimizer.__name__}({space!r}, seed={seed}) could not be made"):
            return self.optimizer(space, seed=seed, **self.options)

    def _spaces(self) -> dict[str, Space]:
        return grid_spaces() if self.optimizer.grid else spaces()

    def _mixed_space(self) -> Space:
        return self._spaces()["mixed"]

    def _large_space(self) -> Space:
        return self._spaces()["large"]

    def _survives(self, told: Callable[[int, float], float | None]) -> None:
        space = self._mixed_space()
        fitness = middle_is_best(space)

        def value(suggestion: Suggestion) -> float | None:
            assert suggestion.number is not None
            return told(suggestion.number, fitness(suggestion))

        search(self._new(space), space, value, self.asks, outstanding=1)
        search(self._new(space), space, value, 2 * self.asks, outstanding=4)

    def _replay(self, outstanding: int) -> None:
        space = self._mixed_space()
        journal = search(
            self._new(space),
            space,
            failing_now_and_then(space),
            max(2 * self.asks, outstanding + self.asks),
            outstanding,
        )
        optimizer = self._new(space)
        for event in journal:
            if isinstance(event, Told):
                tell(optimizer, event.suggestion, event.fitness)
                continue
            if isinstance(event, Reported):
                ended = report(optimizer, event.suggestion, event.step, event.fitness)
                where = f"report(suggestion {event.suggestion.number}, {event.step}, {event.fitness!r})"
                assert ended == event.ended, f"on replay {where} gave {ended} instead of {event.ended}"
                continue
            again = ask(optimizer, space)
            assert again is not None, f"on replay ask() gave None instead of suggestion {event.number}"
            check_equal(event.suggestion, again, f"with {outstanding} outstanding, suggestion {event.number}")


@contextmanager
def global_generators(state: int) -> Any:
    """Seed the global generators with `state`, and restore them afterwards."""
    before = random.getstate(), np.random.get_state()
    random.seed(state)
    np.random.seed(state)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def middle_is_best(space: Space) -> Callable[[Suggestion], float]:
    """Return a smooth fitness: largest at 0.4 of every range."""
    return lambda suggestion: -float(np.sum((space.point(suggestion.values) - 0.4) ** 2))


def failing_now_and_then(space: Space) -> Fitness:
    fitness = middle_is_best(space)
    return lambda suggestion: None if suggestion.number and suggestion.number % 7 == 0 else fitness(suggestion)


def spaces() -> dict[str, Space]:
    """Return a space of each kind of hyperparameter, and of all together."""
    real, log = Real("real", -1.0, 3.0), Real("log", 1e-5, 0.1, log=True)
    integer, log_integer = Integer("integer", 1, 8), Integer("log_integer", 1, 1024, log=True)
    choice = Choice("choice", ("adam", "sgd", None, 3, True))
    array = Array("array", Real("array", 0.0, 10.0, log=False, random_start=True), 4)
    integers = Array("integers", Integer("integers", 0, 5), 3)
    free = Real("free", 0.0, 1.0, unconstrained=True, random_start=True)
    constant = Constant("constant", 5)
    return {
        "real": Space([real]),
        "log": Space([log]),
        "integer": Space([integer, log_integer]),
        "choice": Space([choice, Choice("switch", (False, True))]),
        "one-choice": Space([Choice("only", ("adam",))]),
        "array": Space([array, integers]),
        "unconstrained": Space([free, Real("free_log", 1.0, 100.0, log=True, unconstrained=True)]),
        "large": Space([real, log, Real("wide", -1e3, 1e3)]),
        "mixed": Space(
            [
                real,
                log,
                integer,
                log_integer,
                choice,
                array,
                integers,
                free,
                constant,
                Constant("vector", np.array([1.0, 2.0])),
            ]
        ),
    }


def grid_spaces() -> dict[str, Space]:
    """Return the same for optimizers with `grid = True`, whose users write values instead of ranges."""
    numbers = Choice("numbers", tuple(number / 10 for number in range(10)))
    words = Choice("words", ("adam", "sgd", None, 3, True))
    return {
        "choice": Space([words]),
        "one-choice": Space([Choice("only", ("adam",))]),
        "constant": Space([Constant("constant", 5)]),
        "empty": Space([]),
        "large": Space([numbers, Choice("more", tuple(range(50)))]),
        "mixed": Space([numbers, Constant("constant", 5), words, Choice("last", (1, 2, 3))]),
    }
