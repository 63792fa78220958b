"""`Search`: ask and tell, and what a journal makes of it."""

import contextlib
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.errors import (
    BadInput,
    PluginError,
    PluginFailed,
    ProjectError,
    RangeError,
    ReplayError,
    Stalled,
    StoreError,
)
from studio.experiment import plain
from studio.interfaces import Optimizer
from studio.project.lock import is_locked
from studio.project.project import Project
from studio.project.store import Store
from studio.search.ask_tell.search import Search
from studio.space import Choice, Constant, Integer, Real, Space, Suggestion

LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
GRID = {"x": [1, 2, 3], "y": "0:2"}
SPACES: dict[str, dict[str, Any]] = {
    "grid": {"x": "0:7", "y": ["a", "b", "c"]},
    "random": {"lr": "1e-5:0.1:l", "n": "1:8:i", "o": ["adam", "sgd"], "v": "0:1:3:ura"},
    "cma": {"lr": "1e-5:0.1:l", "n": "1:8:i", "o": ["adam", "sgd"], "v": "0:1:2:ura"},
}


class Chain(Optimizer):
    """Suggests the next only when the last was told."""

    name = "chain"

    def __init__(self, space: Space, *, seed: int, shift: float = 0.0, stop_after: int = 100):
        self.asked = self.told = 0
        self.shift, self.stop_after = shift, stop_after

    def ask(self) -> Suggestion | None:
        if self.asked == self.stop_after:
            self.done, self.done_reason = True, "the chain is at its end"
            return None
        if self.asked > self.told:
            return None
        self.asked += 1
        return Suggestion({"x": self.asked + self.shift}, self.asked)

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        self.told += 1


class Heard(Optimizer):
    """Numbers its suggestions and writes down what it is told."""

    name = "heard"
    needs_fitness = False

    def __init__(self, space: Space, *, seed: int):
        self.heard: list[tuple[Any, float | None]] = []
        self.next = itertools.count()

    def ask(self) -> Suggestion:
        return Suggestion({"x": next(self.next)}, None)

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        self.heard.append((suggestion.number, fitness))


def heard(search: Search) -> list[tuple[Any, float | None]]:
    assert isinstance(search._optimizer, Heard)
    return search._optimizer.heard


def a_search(optimizer: Any = Heard, **options: Any) -> Search:
    return Search({"x": [0, 1]}, optimizer=optimizer, **options)


# --- the loop ---------------------------------------------------------------------------------------------------------


def test_a_for_loop_goes_through_the_whole_grid() -> None:
    search = Search(GRID)
    seen = []
    for suggestion in search:
        seen.append((suggestion.number, suggestion.values["x"], suggestion.values["y"]))
        search.tell(suggestion, suggestion.values["x"] - suggestion.values["y"])
    assert seen == [(n, x, y) for n, (x, y) in enumerate(itertools.product([1, 2, 3], [0, 1, 2]), 1)]
    assert search.done
    assert search.ask() is None
    assert search.size == 9
    assert "9 points" in search.done_reason
    assert search.best is not None
    assert (search.best.values, search.best.fitness) == ({"x": 3, "y": 0}, 3.0)
    assert [e.status for e in search.experiments] == ["completed"] * 9


def test_ask_says_none_until_more_is_told_and_changes_nothing() -> None:
    search = a_search(Chain, options={"stop_after": 2})
    first = search.ask()
    assert first is not None
    assert [search.ask(), search.ask()] == [None, None]
    assert not search.done
    search.tell(first, 1.0)
    second = search.ask()
    assert second is not None
    assert (second.number, second.values) == (2, {"x": 2.0})
    search.tell(second, None)
    assert search.ask() is None
    assert (search.done, search.done_reason) == (True, "the chain is at its end")


@pytest.mark.parametrize("tell_first", [False, True])
def test_a_loop_that_cannot_go_on_is_stalled(tell_first: bool) -> None:
    class Silent(Chain):
        name = "silent"

        def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
            pass

    search = a_search(Silent)
    with pytest.raises(Stalled, match="optimizer silent waits for results"):  # noqa: PT012
        for suggestion in search:
            if tell_first:
                search.tell(suggestion, 1.0)


@pytest.mark.parametrize("budget", [1, 4])
def test_max_experiments_ends_it_and_counts_what_was_asked(budget: int) -> None:
    search = Search({"lr": "0:1"}, optimizer="random", seed=3, max_experiments=budget)
    asked = list(search)
    assert [s.number for s in asked] == list(range(1, budget + 1))
    assert (search.done, search.size, search.untold) == (True, budget, [s.number for s in asked])
    assert search.done_reason == f"all {budget} experiments of the budget were suggested"
    search.tell(asked[-1], 1.0)
    assert search.best is not None


def test_size_is_the_smaller_of_budget_and_grid() -> None:
    assert [Search(GRID, max_experiments=n).size for n in (5, 50, None)] == [5, 9, 9]
    assert Search({"lr": "0:1"}, optimizer="random").size is None


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_of_nothing_is_refused(budget: int) -> None:
    with pytest.raises(BadInput, match="at least 1"):
        Search(GRID, max_experiments=budget)


def test_suggestions_are_told_in_any_order_by_themselves_or_by_number() -> None:
    search = a_search(max_experiments=4)
    one, two, three, four = search
    search.tell(three, 3)
    search.tell(1, 1.0)
    assert search.untold == [2, 4]
    search.tell(four, np.float32(0.5))  # type: ignore[arg-type]
    search.tell(two, 2.0)
    assert heard(search) == [(3, 3.0), (1, 1.0), (4, 0.5), (2, 2.0)]
    assert [e.fitness for e in search.experiments] == [1.0, 2.0, 3.0, 0.5]
    assert one.number == 1


@pytest.mark.parametrize("number", [0, 3, -1, Suggestion({"x": 1}), Suggestion({"x": 1}, None, 9)])
def test_what_was_not_asked_for_cannot_be_told(number: Any) -> None:
    search = a_search(max_experiments=2)
    list(search)
    with pytest.raises(BadInput, match="no suggestion with the number"):
        search.tell(number, 1.0)
    assert heard(search) == []


@pytest.mark.parametrize("fitness", [None, math.nan, math.inf, -math.inf, np.float64("nan")])
def test_no_finite_fitness_is_a_failure(fitness: float | None) -> None:
    search = a_search(max_experiments=1)
    search.tell(next(iter(search)), fitness)
    assert heard(search) == [(1, None)]
    assert [(e.status, e.fitness) for e in search.experiments] == [("failed", None)]
    assert search.best is None


@pytest.mark.parametrize(
    ("told", "best"),
    [
        ([(1, -3.0), (2, -1.0), (3, -2.0)], 2),
        ([(1, -0.5)], 1),
        ([(1, 0.0), (2, -1.0)], 1),
        ([(1, 5.0), (2, 5.0), (3, 5.0)], 1),
        ([(1, None), (2, -7.0), (3, math.nan)], 2),
        ([(1, 1.0), (2, 2.0), (2, 0.0)], 1),  # a retry that is worse
        ([(1, 1.0), (2, 2.0), (2, None)], 1),  # a retry that failed
        ([(1, 2.0), (2, 2.0), (1, 2.0)], 1),  # a retry that is the same
        ([(1, None), (2, 2.0), (1, 3.0)], 1),  # a retry that is better
        ([(1, 2.0), (1, None)], None),
        ([], None),
    ],
)
def test_best_is_the_first_of_the_largest(told: list[tuple[int, float | None]], best: int | None) -> None:
    search = a_search(max_experiments=3)
    list(search)
    for number, fitness in told:
        search.tell(number, fitness)
    assert (search.best and search.best.number) == best


def test_the_first_of_equals_is_that_of_the_lowest_number() -> None:
    search = a_search(max_experiments=2)
    list(search)
    search.tell(2, 5.0)
    search.tell(1, 5.0)
    assert search.best is not None
    assert search.best.number == 1


# --- what is given ----------------------------------------------------------------------------------------------------


def test_choices_may_be_lists() -> None:
    lists = {"l": [[1, 2], [3, 4]], "v": "0:1:2:a"}
    search = Search(lists, optimizer="random", start_from=[{"l": [1, 2], "v": [0.1, 0.2]}])
    search.add({"l": [3, 4], "v": [0.3, 0.4]})
    for expected in ([3, 4], [1, 2]):
        suggestion = search.ask()
        assert suggestion is not None
        assert suggestion.values["l"] == expected
        assert isinstance(suggestion.values["v"], np.ndarray)


def test_numbers_may_be_those_of_numpy() -> None:
    search = Search({"x": "0:1"}, optimizer="random")
    search.ask()
    search.tell(np.int64(1), 0.5)  # type: ignore[arg-type]
    assert search.best is not None
    assert search.best.number == 1
    with pytest.raises(BadInput, match="give 0 or more"):
        search.optimize(lambda x: x, -1)


@pytest.mark.parametrize("name", ["auto", "cma", "gp", "random", "sobol", "tpe"])
@pytest.mark.parametrize("space", [{}, {"a": 1}])
def test_where_nothing_varies_there_is_one_suggestion(name: str, space: dict[str, Any]) -> None:
    search = Search(space, optimizer=name)
    assert search.size == 1
    for suggestion in search:
        search.tell(suggestion, 1.0, failure=None)
    assert [experiment.values for experiment in search.experiments] == [space]
    assert search.done_reason == "there is nothing to search"


def test_ranges_are_texts_lists_tuples_scalars_parameters_or_a_space() -> None:
    ready = Integer("whatever", 1, 3)
    search = Search(
        {"a": "0:1", "b": [1, 2], "c": ("u", "v"), "d": 0.5, "e": True, "f": None, "g": ["one"], "whatever": ready},
        optimizer="random",
        max_experiments=1,
    )
    kinds = [Real, Choice, Choice, Constant, Constant, Constant, Constant, Integer]
    assert [type(parameter) for parameter in search.space] == kinds
    values = next(iter(search)).values
    assert (values["d"], values["e"], values["f"], values["g"]) == (0.5, True, None, "one")
    assert type(values["e"]) is bool
    assert Search(search.space, optimizer="random").space is search.space


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        ({"x": []}, "empty list"),
        ({" lr": "0:1"}, "name a variable, an option or another place"),
        ({"": [1, 2]}, "name a variable"),
        ({3: [1, 2]}, "name a variable"),
        ({"x": "1:"}, "x=1:"),
    ],
)
def test_a_space_that_cannot_be_is_refused(space: dict[Any, Any], complaint: str) -> None:
    with pytest.raises(RangeError, match=complaint):
        Search(space)


def test_a_parameter_goes_by_the_name_that_it_is_given_under() -> None:
    with pytest.raises(RangeError, match="n"):
        Search({"m": Integer("n", 1, 3)}, optimizer="random")


def test_options_are_those_of_the_optimizer() -> None:
    assert Search({"x": "0:1"}, optimizer="cma", options={"popsize": "5"}).ask()
    for given_options, complaint in (
        ({"popsise": 5}, "did you mean 'popsize'"),
        ({"popsize": "five"}, "a whole number"),
    ):
        with pytest.raises(PluginError, match=complaint):
            Search({"x": "0:1"}, optimizer="cma", options=given_options)
    with pytest.raises(PluginError, match="takes none"):
        Search(GRID, options={"n": 1})


def test_a_seed_makes_it_repeat_and_is_drawn_when_left_out() -> None:
    def path(**seed: int) -> tuple[int, list[Any]]:
        search = Search({"lr": "0:1"}, optimizer="random", max_experiments=3, **seed)
        return search.seed, [s.values for s in search]

    assert path(seed=5) == path(seed=5)
    drawn = path()
    assert path() != drawn
    assert path(seed=drawn[0]) == drawn


# --- optimizers that do wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suggestion", "complaint"),
    [
        (Suggestion({"y": 1}), r"suggested \['y'\], not \['x'\]"),
        (Suggestion({}), "suggested"),
        (Suggestion({"x": 1}, {1, 2}), "a point that JSON cannot hold"),
        (None, "odd failed in ask: ZeroDivisionError"),
    ],
)
def test_a_suggestion_that_cannot_be_is_the_optimizers_fault(suggestion: Suggestion, complaint: str) -> None:
    class Odd(Heard):
        name = "odd"

        def ask(self) -> Suggestion:
            return suggestion or 1 / 0  # type: ignore[return-value]

    search = a_search(Odd)
    with pytest.raises(PluginFailed, match=complaint):
        search.ask()
    assert search.experiments == []


def test_an_optimizer_that_raises_in_tell_or_when_made_is_blamed() -> None:
    class Odd(Heard):
        name = "odd"

        def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
            raise KeyError("lost")

    search = a_search(Odd)
    with pytest.raises(PluginFailed, match=r"odd failed in tell: KeyError: 'lost' \(.*test_search\.py:\d+\)"):
        search.tell(next(iter(search)), 1.0)

    class Worse(Odd):
        name = "worse"

        def __init__(self, space: Space, *, seed: int):
            raise RuntimeError("no")

    with pytest.raises(PluginFailed, match="worse failed in its constructor: RuntimeError: no"):
        a_search(Worse)


# --- without a project ------------------------------------------------------------------------------------------------


def test_without_a_project_no_disk_is_touched(home: Path, workdir: Path) -> None:
    for name, space in SPACES.items():
        search = Search(space, optimizer=name, seed=1, max_experiments=8)
        for suggestion in search:
            search.tell(suggestion, 1.0)
    assert not home.exists()
    assert list(workdir.iterdir()) == []


# --- replay -----------------------------------------------------------------------------------------------------------


def fitness_of(suggestion: Suggestion) -> float | None:
    """Something that depends on every value, and fails now and then."""
    digits = repr({name: plain(value) for name, value in suggestion.values.items()})
    value = random.Random(digits).random()
    return None if value < 0.15 else value


def schedule(width: int, experiments: int, seed: int) -> list[tuple[str, int]]:
    """Return the events of a whole search: `width` outstanding, told in a random order, some told twice."""
    rng = random.Random(seed)
    events: list[tuple[str, int]] = []
    out: list[int] = []
    asked = 0
    while asked < experiments or out:
        if asked < experiments and len(out) < width:
            asked += 1
            out.append(asked)
            events.append(("ask", asked))
        else:
            number = out.pop(rng.randrange(len(out)))
            events += [("tell", number)] * (2 if number % 7 == 3 else 1)
    return events


def key(suggestion: Suggestion) -> str:
    return repr((suggestion.number, {n: plain(v) for n, v in suggestion.values.items()}, suggestion.point))


def carry_out(search: Search, events: list[tuple[str, int]], asked: dict[int, Suggestion]) -> None:
    for kind, number in events:
        if kind == "tell":
            search.tell(number, fitness_of(asked[number]))
        else:
            suggestion = search.ask()
            assert suggestion is not None
            assert suggestion.number == number
            asked[number] = suggestion


def cut_and_resume(
    folder: Path, optimizer: Any, space: Any, events: list[tuple[str, int]], cut: int, seed: int
) -> Search:
    """A search that is cut off after `cut` events, and taken up by a new one that does the rest."""
    folder.mkdir()
    asked: dict[int, Suggestion] = {}
    store = Store.create(folder, {})
    with store.transaction():  # one commit instead of one an event: time
        carry_out(Search(space, optimizer=optimizer, seed=seed, journal=store), events[:cut], asked)
    store.close()
    store = Store.open(folder)
    resumed = Search(space, optimizer=optimizer, journal=store)
    told = {number for kind, number in events[:cut] if kind == "tell"}
    untold = [number for kind, number in events[:cut] if kind == "ask" and number not in told]
    assert resumed.untold == untold
    with store.transaction():
        again = {number: resumed.ask() for number in untold}
        assert [key(again[n]) for n in untold if again[n]] == [key(asked[n]) for n in untold]
        carry_out(resumed, events[cut:], asked)
    store.close()
    return resumed


def path_of(search: Search) -> list[Any]:
    return [(key(search.suggestion(e.number)), e.status, e.fitness) for e in search.experiments]


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("name", SPACES)
def test_a_resumed_search_equals_an_uninterrupted_one_wherever_it_was_cut(
    tmp_path: Path, name: str, width: int
) -> None:
    events = schedule(width, 14, seed=width)
    whole = Search(SPACES[name], optimizer=name, seed=11)
    carry_out(whole, events, {})
    for cut in range(0, len(events) + 1, 1 if LONG else 5):  # an odd step: before asks and before tells
        resumed = cut_and_resume(tmp_path / str(cut), name, SPACES[name], events, cut, seed=11)
        assert path_of(resumed) == path_of(whole), f"cut after {cut} events"
        assert resumed.seed == 11
        assert (resumed.best and resumed.best.number) == (whole.best and whole.best.number)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    name=st.sampled_from(sorted(SPACES)),
    width=st.integers(1, 9),
    seed=st.integers(0, 2**31 - 1),
    cut=st.floats(0, 1),
)
def test_any_interleaving_resumes(
    tmp_path_factory: pytest.TempPathFactory, name: str, width: int, seed: int, cut: float
) -> None:
    events = schedule(width, 20, seed)
    whole = Search(SPACES[name], optimizer=name, seed=seed)
    carry_out(whole, events, {})
    folder = tmp_path_factory.mktemp("any") / "p"
    resumed = cut_and_resume(folder, name, SPACES[name], events, round(cut * len(events)), seed)
    assert path_of(resumed) == path_of(whole)


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[..., Search]]:
    """`reopen(Optimizer, ...)`: a search on one and the same journal; what had it before lets it go."""
    folder = tmp_path / "journal"
    folder.mkdir()
    stores = [Store.create(folder, {})]

    def do(optimizer: Any, space: Any = None, **options: Any) -> Search:
        stores[-1].close()
        stores.append(Store.open(folder))
        return Search(space or {"x": [0, 1]}, optimizer=optimizer, journal=stores[-1], **options)

    yield do
    stores[-1].close()


def test_untold_ones_come_first_then_new_ones(reopen: Callable[..., Search]) -> None:
    search = reopen(Heard)
    asked = [search.ask() for _ in range(4)]
    search.tell(2, 1.0)
    resumed = reopen(Heard)
    assert heard(resumed) == [(2, 1.0)]
    assert [s.number for s in itertools.islice(resumed, 5)] == [1, 3, 4, 5, 6]
    assert resumed.suggestion(3).values == asked[2].values  # type: ignore[union-attr]


def test_a_search_is_not_done_while_untold_ones_wait(reopen: Callable[..., Search]) -> None:
    list(reopen(Heard, max_experiments=2))
    resumed = reopen(Heard, max_experiments=2)
    assert not resumed.done
    assert [s.number for s in resumed] == [1, 2]
    assert resumed.done


def test_a_resumed_search_does_not_ask_again_for_what_was_told(reopen: Callable[..., Search]) -> None:
    first = reopen(Heard)
    number = next(iter(first)).number
    assert number is not None
    search = reopen(Heard)
    search.tell(number, 0.5)
    following = search.ask()
    assert following is not None
    assert following.number == 2


def test_the_budget_may_grow_or_shrink_on_resume(reopen: Callable[..., Search]) -> None:
    assert len(list(reopen(Heard, max_experiments=2))) == 2
    search = reopen(Heard, max_experiments=3)
    for suggestion in search:
        search.tell(suggestion, 1.0)
    assert len(search.experiments) == 3
    assert list(reopen(Heard, max_experiments=1)) == []


def test_a_changed_optimizer_is_found_out_at_the_first_number_that_differs(reopen: Callable[..., Search]) -> None:
    search = reopen(Heard)
    for suggestion in itertools.islice(search, 3):
        search.tell(suggestion, 1.0)

    class Changed(Heard):
        def ask(self) -> Suggestion:
            suggestion = super().ask()
            return Suggestion({"x": suggestion.values["x"] + (suggestion.values["x"] > 1)}, None)

    with pytest.raises(
        ReplayError, match=r"^experiment 3: heard now suggests \{'x': 3\}, the record has \{'x': 2\}.*--acc"
    ):
        reopen(Changed)


@pytest.mark.parametrize(("change", "found_out"), [(0.0, False), (1e-14, False), (1e-9, True)])
def test_numbers_are_compared_to_1e_12(reopen: Callable[..., Search], change: float, found_out: bool) -> None:
    class Shaky(Heard):
        change: ClassVar[float] = 0.0

        def ask(self) -> Suggestion:
            x = 0.1 + self.change
            return Suggestion({"x": x}, {"u": [x, "word"]})

    reopen(Shaky).ask()
    Shaky.change = change
    if found_out:
        with pytest.raises(ReplayError, match="experiment 1"):
            reopen(Shaky)
    else:
        assert reopen(Shaky).untold == [1]


@pytest.mark.parametrize(
    ("before", "after"), [(None, 0), ("1", 1), ([1], [1, 2]), ([1], 1), ({"a": 1}, {}), ({"a": 1}, 1)]
)
def test_points_of_different_kinds_differ(reopen: Callable[..., Search], before: Any, after: Any) -> None:
    class Fixed(Heard):
        point: ClassVar[Any] = before

        def ask(self) -> Suggestion:
            return Suggestion({"x": 1}, self.point)

    reopen(Fixed).ask()
    Fixed.point = after
    with pytest.raises(ReplayError):
        reopen(Fixed)


def test_an_optimizer_that_now_asks_for_nothing_is_found_out(reopen: Callable[..., Search]) -> None:
    assert reopen(Heard).ask()

    class Empty(Heard):
        def ask(self) -> Any:
            return None

    with pytest.raises(ReplayError, match="experiment 1: heard now suggests None"):
        reopen(Empty)


class Moved(Heard):
    """A later version of `Heard`: its values go the other way."""

    def ask(self) -> Suggestion:
        return Suggestion({"x": -1 - next(self.next)}, None)


def test_accepted_changes_go_on_with_a_fresh_optimizer_that_is_told_the_record(reopen: Callable[..., Search]) -> None:
    search = reopen(Heard, seed=1)
    list(itertools.islice(search, 3))
    search.tell(3, 3.0)
    search.tell(1, None)
    search = reopen(Moved, accept_changes=True)
    assert heard(search) == [(3, 3.0), (1, None)]
    assert [s.values["x"] for s in itertools.islice(search, 3)] == [1, -1, -2]
    search.tell(5, 5.0)
    search.tell(2, 2.0)
    assert search.best is not None
    assert search.best.number == 5

    later = reopen(Moved)  # and it needs no acceptance any more
    assert heard(later) == [(3, 3.0), (1, None), (5, 5.0), (2, 2.0)]
    assert [s.number for s in itertools.islice(later, 2)] == [4, 6]
    assert later.suggestion(6).values == {"x": -3}
    assert [e.status for e in later.experiments] == ["failed", *["completed"] * 2, "queued", "completed", "queued"]

    again = reopen(Heard, accept_changes=True)  # changed once more
    assert heard(again) == [(3, 3.0), (1, None), (5, 5.0), (2, 2.0)]
    assert [s.number for s in itertools.islice(again, 3)] == [4, 6, 7]
    assert reopen(Heard).untold == [4, 6, 7]


def test_every_fresh_start_has_a_seed_of_its_own_and_keeps_it(reopen: Callable[..., Search]) -> None:
    seeds: list[int] = []

    class Seeded(Heard):
        name = "seeded"
        shift: ClassVar[int] = 0

        def __init__(self, space: Space, *, seed: int):
            super().__init__(space, seed=seed)
            seeds.append(seed)
            self.next = itertools.count(100 * self.shift)

    for Seeded.shift in range(3):
        reopen(Seeded, seed=4, accept_changes=True).ask()
        list(itertools.islice(reopen(Seeded), Seeded.shift + 2))  # those that are out, and one more
    kept = seeds[-1]
    reopen(Seeded)
    assert seeds[0] == 4
    assert len(set(seeds)) == 3
    assert seeds[-1] == kept


def test_accepting_changes_where_there_are_none_changes_nothing(reopen: Callable[..., Search]) -> None:
    reopen(Heard).ask()
    reopen(Heard, accept_changes=True)
    assert [event.kind for event in reopen(Heard)._journal.events()] == ["ask"]  # type: ignore[union-attr]


@pytest.fixture
def changed_journal(tmp_path: Path) -> Path:
    """A journal of nine random suggestions, the fourth of which nobody would make today."""
    folder = tmp_path / "changed"
    folder.mkdir()
    store = Store.create(folder, {})
    search = Search(SPACES["random"], optimizer="random", seed=5, journal=store)
    for suggestion in itertools.islice(search, 9):
        search.tell(suggestion, fitness_of(suggestion))
    store._execute("UPDATE events SET point = '[0.5, 0.5, 0.5, 0.5, 0.5, 0.5]' WHERE number = 4 AND kind = 'ask'")
    store.close()
    return folder


@pytest.mark.parametrize("name", ["random", "cma"])
def test_a_built_in_goes_on_after_accepted_changes_and_resumes_from_there(changed_journal: Path, name: str) -> None:
    def reopened(**options: Any) -> tuple[Search, Store]:
        store = Store.open(changed_journal)
        with contextlib.ExitStack() as stack:
            stack.callback(store.close)
            search = Search(SPACES["random"], optimizer=name, journal=store, **options)
            stack.pop_all()
        return search, store

    with pytest.raises(ReplayError, match="experiment 4" if name == "random" else "experiment 1"):
        reopened()
    search, store = reopened(accept_changes=True)
    asked = []
    for suggestion in itertools.islice(search, 12):
        asked.append(suggestion)
        search.tell(suggestion, fitness_of(suggestion))
    last = search.ask()
    assert [s.number for s in asked] == list(range(10, 22))
    store.close()
    search, store = reopened()
    again = search.ask()
    assert again is not None
    assert last is not None
    assert key(again) == key(last)
    assert [key(search.suggestion(n)) for n in range(10, 22)] == list(map(key, asked))
    store.close()


def test_a_seed_that_differs_is_refused(reopen: Callable[..., Search]) -> None:
    assert reopen(Heard, seed=4).seed == 4
    assert reopen(Heard, seed=4).seed == reopen(Heard).seed == 4
    with pytest.raises(BadInput, match="seed 5 was given, but the project runs with seed 4"):
        reopen(Heard, seed=5)


def test_a_tell_is_in_the_journal_before_the_optimizer_hears_it(reopen: Callable[..., Search]) -> None:
    class Fragile(Heard):
        name = "fragile"

        def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
            raise MemoryError

    search = reopen(Fragile)
    with pytest.raises(PluginFailed):
        search.tell(next(iter(search)), 0.5)
    assert heard(reopen(Heard)) == [(1, 0.5)]


# --- projects of a program --------------------------------------------------------------------------------------------


@pytest.fixture
def project(home: Path) -> Iterator[Callable[..., Search]]:
    """`project(...)`: a search of the project `digits`; the one before lets it go."""
    opened: list[Search] = []

    def do(space: Any = GRID, **options: Any) -> Search:
        for search in opened:
            search.close()
        opened.append(Search(space, project="digits", **options))
        return opened[-1]

    yield do
    for search in opened:
        search.close()


def test_a_project_is_stored_resumed_and_shown(home: Path, project: Callable[..., Search]) -> None:
    search = project(seed=3)
    for suggestion in itertools.islice(search, 2):
        search.tell(suggestion, float(suggestion.values["x"]))
    search.ask()
    assert is_locked(home / "projects" / "digits")
    again = project()
    assert (again.seed, again.untold, len(again.experiments)) == (3, [3], 3)
    shown = Project("digits")
    assert [(e.key, e.status, e.fitness) for e in shown.experiments] == [
        ("digits/1", "completed", 1.0),
        ("digits/2", "completed", 1.0),
        ("digits/3", "queued", None),
    ]
    assert [e.key for e in again.experiments] == ["digits/1", "digits/2", "digits/3"]
    assert shown.seed == 3


def test_a_project_is_done_once_its_last_suggestion_is_told(project: Callable[..., Search]) -> None:
    search = project({"x": [1, 2]})
    assert search.ask()
    search.tell(1, 1.0)
    assert search.ask()
    search.close()
    assert Project("digits").state == "incomplete"
    search = project({"x": [1, 2]})
    for suggestion in search:
        search.tell(suggestion, 1.0)
    search.close()
    assert Project("digits").state == "done"


@pytest.mark.parametrize(
    ("space", "options", "changed"),
    [
        ({"x": [1, 2], "y": "0:2"}, {}, "ranges"),
        ({"x": [1, 2, 3]}, {}, "ranges"),
        ({"x": "1:3:i", "y": "0:2"}, {"optimizer": "random"}, "ranges|optimizer"),
        (GRID, {"optimizer": Heard}, "optimizer"),
    ],
)
def test_changed_ranges_and_optimizers_are_refused(
    project: Callable[..., Search], space: Any, options: dict[str, Any], changed: str
) -> None:
    project()
    with pytest.raises(BadInput, match=f"project 'digits' uses ({changed})"):
        project(space, **options)
    assert project().untold == []  # and the project was let go


def test_the_same_ranges_written_otherwise_are_the_same(project: Callable[..., Search]) -> None:
    project({"x": (1, 2), "y": np.float64(0.5)}, optimizer="grid")
    assert project({"x": [1, 2], "y": 0.5}).untold == []


def test_a_space_is_compared_by_what_it_holds(project: Callable[..., Search]) -> None:
    project(Space([Real("x", 0, 1)]), optimizer="random", seed=1).ask()
    assert project(Space([Real("x", 0, 1)]), optimizer="random").untold == [1]
    with pytest.raises(BadInput, match="ranges"):
        project(Space([Real("x", 0, 2)]), optimizer="random")


def test_an_impossible_name_is_refused_and_nothing_is_written(home: Path) -> None:
    for name in ("", "../x", ".x", "a/b", "a b"):
        with pytest.raises(ProjectError, match="is not a project name"):
            Search(GRID, project=name)
    assert not home.exists()


def test_options_that_cannot_be_leave_no_project(home: Path) -> None:
    with pytest.raises(PluginError):
        Search(GRID, options={"x": 1}, project="digits")
    assert not home.exists()


def test_a_program_may_open_its_project_again(home: Path) -> None:
    search = first = Search(GRID, project="digits")
    try:
        search.ask()
        search = Search(GRID, project="digits")
        assert search.untold == [1]
    finally:
        for each in (first, search):
            each.close()


KILLED = """
import os, signal, studio
search = studio.Search({"x": "0:1", "y": [1, 2]}, optimizer="random", seed=2, project="digits")
for number, suggestion in enumerate(search, 1):
    if number == 6: os.kill(os.getpid(), signal.SIGKILL)
    search.tell(suggestion, suggestion.values["x"])
"""


def test_a_program_that_was_killed_resumes(project: Callable[..., Search]) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert done.returncode == -signal.SIGKILL
    space = {"x": "0:1", "y": [1, 2]}
    search = project(space, optimizer="random")
    assert search.untold == [6]
    whole = Search(space, optimizer="random", seed=2, max_experiments=10)
    for suggestion in whole:
        whole.tell(suggestion, suggestion.values["x"])
    for suggestion in itertools.islice(search, 5):
        search.tell(suggestion, suggestion.values["x"])
    assert path_of(search) == path_of(whole)


# --- in a notebook ------------------------------------------------------------------------------------------------------


def test_a_function_is_optimized_and_the_best_is_there() -> None:
    search = Search({"x": [1, 3, 2]}, optimizer="grid")
    assert search.best_values is None
    assert search.optimize(lambda x: -x, 2) is search.best
    assert (search.best_values, len(search.experiments)) == ({"x": 1}, 2)
    assert repr(search) == "<Search 'grid': running, 2 completed, best #1: -1 at x=1>"
    search.optimize(lambda x: -x)  # to its end
    assert repr(search) == "<Search 'grid': done, 3 completed, best #1: -1 at x=1>"
    html = search._repr_html_()
    assert "<b>grid</b> · done · 3 completed" in html
    assert html.index("<td>1</td>") < html.index("<td>3</td>")


def test_smaller_may_be_better_and_nothing_returned_is_a_failure() -> None:
    search = Search({"x": [1, 3, 2]}, optimizer="grid")
    search.optimize(lambda x: None if x == 1 else float(x), direction="minimize")
    assert (search.best_values, search.best and search.best.fitness) == ({"x": 2}, -2)
    assert [one.status for one in search.experiments] == ["failed", "completed", "completed"]


def test_what_a_function_raises_ends_the_loop() -> None:
    search = Search({"x": [0, 1]}, optimizer="grid")
    with pytest.raises(ZeroDivisionError):
        search.optimize(lambda x: 1 / x)
    assert search.untold == [1]


@pytest.mark.parametrize(("words", "error"), [({}, "say how many"), ({"n": 1, "direction": "up"}, "'minimize'")])
def test_what_cannot_be_optimized_is_refused(words: dict[str, Any], error: str) -> None:
    with pytest.raises(BadInput, match=error):
        Search({"x": "0:1.5"}, optimizer="random").optimize(lambda x: x, **words)


def test_experiments_of_a_loop_are_a_table() -> None:
    pytest.importorskip("pandas")
    search = Search({"x": [1, 3, 2]}, optimizer="grid")
    search.optimize(lambda x: -x)
    assert search.to_dataframe()["x"].tolist() == [1, 3, 2]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: Search({"x": "0:1:l"}, start_from=["x=1"]),
            r"start_from=\['x=1'\]: give values by name, such as \{'x': 1\}",
        ),
        (
            lambda: Search({"x": "0:1:l"}, learn_from="p"),
            r"learn_from='p': give results, such as \[\(\{'x': 1\}, 0\.5\)\]",
        ),
        (lambda: Search({"x": "1"}).tell(None, 1.0), "`ask` returned None, which is no suggestion"),
        (lambda: Search(["x"]), r"studio.Search\(\['x'\]\): give names with their ranges, such as \{'x': '0:1'\}"),
        (lambda: Search({"x": "0:1"}, max_experiments="10"), "max_experiments='10': a whole number is needed"),
        (
            lambda: Search({"x": "0:1"}, max_experiment=10),
            "no argument 'max_experiment'; did you mean 'max_experiments'?",
        ),
        (
            lambda: Search({"x": "1,2"}).optimize(lambda x: "a"),
            "'a' is no fitness; give a number, or None for a failure",
        ),
        (lambda: Search({"x": "1,2"}).optimize(lambda x: [1, 2], direction="min"), r"\[1, 2\] is no fitness"),
    ],
)
def test_mistakes_of_a_program_are_one_line(call, says):
    with pytest.raises(BadInput, match=says):
        call()


def test_values_to_start_from_may_be_one_mapping():
    search = Search({"x": "0:1:l"}, start_from={"x": 0.5}, max_experiments=1)
    assert search.ask().values == {"x": 0.5}


def test_a_search_that_another_one_has_taken_over_says_so_once(home):
    given = {"space": {"x": "0:1"}, "project": "p", "optimizer": "random", "max_experiments": 3}
    first, second = Search(**given), Search(**given)
    with pytest.raises(StoreError, match="a later one in this program continues it") as caught:
        first.ask()
    second.close()
    assert "another exception" not in "".join(traceback.format_exception(caught.value))
