"""`tpe`: better than random points, and what it makes of results that it did not ask for."""

import math

import numpy as np

from studio.optimizers.random_search import RandomSearch
from studio.optimizers.tpe import TPE
from studio.space import Choice, Integer, Real, Space

MIXED = Space(
    [
        Real("lr", 1e-5, 1.0, log=True),
        Integer("layers", 1, 8),
        Real("dropout", 0.0, 0.9),
        Choice("kind", ("a", "b", "c", "d")),
    ]
)


def loss(lr, layers, dropout, kind):
    return (math.log10(lr) + 3) ** 2 + (layers - 6) ** 2 / 10 + (dropout - 0.2) ** 2 + (kind != "c")


def search(optimizer, count):
    """Suggested values and their losses."""
    found = []
    for _ in range(count):
        suggestion = optimizer.ask()
        found.append((suggestion.values, loss(**suggestion.values)))
        optimizer.tell(suggestion, -found[-1][1])
    return found


def test_better_than_random_points_after_sixty():
    tpe, random = (
        np.median([min(value for _, value in search(kind(MIXED, seed=seed), 60)) for seed in range(15)])
        for kind in (TPE, RandomSearch)
    )
    assert tpe < random / 4


def test_the_better_choice_comes_more_often_and_no_other_is_given_up():
    kinds = [values["kind"] for seed in range(4) for values, _ in search(TPE(MIXED, seed=seed), 160)[60:]]
    assert kinds.count("c") > len(kinds) / 2
    assert set(kinds) == set("abcd")


def test_known_results_come_in_place_of_the_first_points():
    alone, optimizer = TPE(MIXED, seed=1), TPE(MIXED, seed=1)
    first = {str(values) for values, _ in search(alone, 8)}
    rng = np.random.default_rng(2)
    for number in range(30):
        known = MIXED.suggestion(rng.random(4))
        optimizer.tell(known, -loss(**known.values) if number % 10 else None)
    found = search(optimizer, 8)
    assert first.isdisjoint(str(values) for values, _ in found)
    assert np.median([value for _, value in found]) < 1.5  # of random points: 3.4
