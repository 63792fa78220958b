import math
import os
import statistics
import subprocess
import sys

import numpy as np
import pytest

from studio.errors import BadInput
from studio.optimizers import cma_es
from studio.optimizers.cma_es import CMAES, costs, import_cma
from studio.optimizers.random_search import RandomSearch
from studio.space import Array, Choice, Integer, Real, Space


def box(dimensions, **flags):
    return Space([Array("x", Real("x", -2.0, 2.0, **flags), dimensions)])


def sphere(x, best=0.6):
    return float(np.sum((x - best) ** 2))


def minimise(optimizer, function, budget):
    """The lowest value of `function` in `budget` evaluations, one after the other."""
    lowest = math.inf
    for _ in range(budget):
        suggestion = optimizer.ask()
        value = function(**suggestion.values)
        lowest = min(lowest, value)
        optimizer.tell(suggestion, -value)
    return lowest


def pycma(dimensions, generator, **options):
    quiet = {"verbose": -10, "verb_log": 0, "verb_disp": 0, "signals_filename": ""}
    randn = {"seed": math.nan, "randn": lambda *shape: generator.standard_normal(shape)}
    return import_cma().CMAEvolutionStrategy(np.full(dimensions, 0.5), 0.25, quiet | randn | options)


def pycma_alone(function, dimensions, seed, budget):
    es = pycma(dimensions, np.random.default_rng(seed), bounds=[0, 1])
    while es.countevals < budget:
        points = es.ask()
        es.tell(points, [function(4 * u - 2) for u in points])
    return es.best.f


class Spy:
    """Updates that reach pycma: the points, their costs, and how long the steps are that it made of them, from the
    best to the worst, in the distribution before the update."""

    def __init__(self, monkeypatch):
        self.popsizes, self.updates = [], []
        start, tell = import_cma().CMAEvolutionStrategy.__init__, import_cma().CMAEvolutionStrategy.tell

        def spy_start(es, mean, sigma, options):
            start(es, mean, sigma, options)
            self.popsizes.append(es.popsize)

        def spy_tell(es, points, values, **how):
            precision = np.linalg.inv(es.sigma**2 * es.sm.covariance_matrix)
            told = [list(point) for point in points], values
            tell(es, points, values, **how)
            steps = es.pop_sorted - es.mean_old
            self.updates.append((*told, np.sqrt(np.einsum("ni,ij,nj->n", steps, precision, steps))))

        monkeypatch.setattr(import_cma().CMAEvolutionStrategy, "__init__", spy_start)
        monkeypatch.setattr(import_cma().CMAEvolutionStrategy, "tell", spy_tell)


@pytest.fixture
def spy(monkeypatch):
    return Spy(monkeypatch)


# -- the treatment


@pytest.mark.parametrize("unconstrained", [False, True])
def test_one_at_a_time_is_pycma_bit_by_bit(unconstrained):
    generator = np.random.default_rng(5)
    generator.random(10)  # spent on where to start
    es = pycma(10, generator, **({} if unconstrained else {"bounds": [0, 1]}))
    optimizer = CMAES(box(10, unconstrained=unconstrained), seed=5, sigma0=0.25)
    for _ in range(60):
        points = es.ask()
        asked = [optimizer.ask() for _ in points]
        assert [s.point for s in asked] == [p.tolist() for p in points]
        es.tell(points, [sphere(p) for p in points])
        for suggestion, point in zip(asked, points, strict=True):
            optimizer.tell(suggestion, -sphere(point))


def test_sphere_as_well_as_pycma_alone():
    seeds, budget = range(9), 600
    ours = statistics.median(minimise(CMAES(box(10), seed=s), sphere, budget) for s in seeds)
    alone = statistics.median(pycma_alone(sphere, 10, s, budget) for s in seeds)
    assert ours < 3 * alone
    # the measure can fail: neither random points nor the worst population reach it
    assert minimise(RandomSearch(box(10), seed=1), sphere, budget) > 1000 * alone
    assert statistics.median(minimise(CMAES(box(10), seed=s, popsize=60), sphere, budget) for s in range(3)) > 3 * alone


def test_many_dimensions_learn_their_scales_first(monkeypatch):
    def ellipsoid(x):
        return float(10 ** (3 * np.arange(20) / 19) @ (x - 0.6) ** 2)

    scaled = statistics.median(minimise(CMAES(box(20), seed=s), ellipsoid, 1000) for s in range(3))
    monkeypatch.setattr(cma_es, "MANY", 21)
    full = statistics.median(minimise(CMAES(box(20), seed=s), ellipsoid, 1000) for s in range(3))
    assert scaled < full / 3


def test_many_dimensions_are_learned_faster_by_smaller_populations(monkeypatch):
    fast = statistics.median(minimise(CMAES(box(40), seed=s), sphere, 600) for s in range(3))
    assert CMAES(box(40), seed=1)._popsize == 10
    monkeypatch.setattr(cma_es, "SMALLER", 1.0)
    monkeypatch.setattr(cma_es, "DAMPING", 1.0)
    assert fast < statistics.median(minimise(CMAES(box(40), seed=s), sphere, 600) for s in range(3)) / 2


def test_dependencies_are_learned_later(monkeypatch):
    """The switch to the full matrix, within the first search."""
    monkeypatch.setattr(cma_es, "DIAGONAL", 1)
    optimizer = CMAES(box(15), seed=1)
    minimise(optimizer, lambda x: sphere(np.cumsum(x) / 4), 600)
    C = optimizer._es.C
    assert np.abs(C - np.diag(np.diag(C))).max() > 0


def test_never_waits_and_updates_with_every_popsize_results(spy):
    optimizer = CMAES(box(5), seed=1)
    asked = [optimizer.ask() for _ in range(64)]
    assert len({tuple(s.point) for s in asked}) == 64
    for number, suggestion in enumerate(reversed(asked), 1):
        optimizer.tell(suggestion, -sphere(suggestion.values["x"]))
        assert len(spy.updates) == number // 8  # 4 + 3 ln 5


def test_steps_from_earlier_distributions_are_shortened(spy):
    space = box(5, unconstrained=True)
    optimizer = CMAES(space, seed=1, popsize=6)
    minimise(optimizer, sphere, 60)
    fresh = [optimizer.ask() for _ in range(3)]
    stray = [space.suggestion(np.full(5, 3.0 + n)) for n in range(3)]
    for suggestion in fresh + stray:
        optimizer.tell(suggestion, -sphere(suggestion.values["x"]))
    longest = math.sqrt(5) + 2 * 5 / (5 + 2)
    assert spy.updates[-1][2][3:] == pytest.approx([longest] * 3, rel=0.01)  # they are the worst three
    # in a search with many out: no step of a late result is longer, and most are as they were
    optimizer = CMAES(space, seed=1)
    out = [optimizer.ask() for _ in range(64)]
    for suggestion in out:
        optimizer.tell(suggestion, -sphere(suggestion.values["x"]))
    lengths = np.concatenate([update[2] for update in spy.updates[-7:]])
    assert max(lengths) < longest * 1.01
    assert np.mean(lengths > longest * 0.99) < 0.5


def test_restarts_with_twice_the_population_and_ignores_what_was_out(spy):
    optimizer = CMAES(box(2), seed=1)
    lost = optimizer.ask()
    minimise(optimizer, sphere, 2500)
    assert spy.popsizes[:3] == [6, 12, 24]
    updates = len(spy.updates)
    for _ in range(2 * spy.popsizes[-1]):
        optimizer.tell(lost, 0.0)
    assert len(spy.updates) == updates
    assert not optimizer.done


def test_a_long_replay_with_restarts_is_equal_bit_by_bit():
    def path():
        optimizer, order, out, points = CMAES(box(2), seed=3), np.random.default_rng(0), [], []
        for _ in range(1200):
            while len(out) < 5:
                out.append(optimizer.ask())
                points.append(out[-1].point)
            suggestion = out.pop(order.integers(5))
            optimizer.tell(suggestion, -sphere(suggestion.values["x"]))
        return points

    assert path() == path()


def test_a_retry_replaces_a_failure_that_waits(spy):
    optimizer = CMAES(box(2), seed=1, popsize=3)
    first, *others = [optimizer.ask() for _ in range(3)]
    for suggestion, fitness in [(first, None), (others[0], -1.0), (first, 5.0), (others[1], -2.0)]:
        optimizer.tell(suggestion, fitness)
    assert [values for _, values, _ in spy.updates] == [[1.0, -5.0, 2.0]]


# -- failures


def test_failures_cost_more_than_the_worst():
    assert costs([3.0, None, -5.0, None]) == [-3.0, 11.0, 5.0, 11.0]
    assert costs([7.0, None]) == [-7.0, 1.0]
    assert all(math.isfinite(cost) for cost in costs([-1.7e308, None, 1.7e308]))


def test_a_batch_of_failures_is_dropped(spy):
    optimizer = CMAES(box(3), seed=1)
    for fitness in [None, math.nan, math.inf, -math.inf] * 20:
        optimizer.tell(optimizer.ask(), fitness)
    assert spy.updates == []
    assert minimise(optimizer, sphere, 400) < 1e-3


def test_the_failure_before_a_restart_is_no_result_of_the_next_run(spy):
    optimizer = CMAES(box(2), seed=1, popsize=3)
    for _ in range(30):
        optimizer.tell(optimizer.ask(), None, failure="memory")
    assert len(spy.popsizes) == 2
    for fitness in [1.0, 2.0, 3.0]:
        optimizer.tell(optimizer.ask(), fitness)
    assert [values for _, values, _ in spy.updates] == [[-1.0, -2.0, -3.0]]


def test_two_known_results_of_one_point_are_two(spy):
    space = box(2)
    optimizer, point = CMAES(space, seed=1, popsize=3), space.suggestion([0.3, 0.3])
    for fitness in [1.0, 2.0, 3.0]:
        optimizer.tell(point, fitness)
    assert [values for _, values, _ in spy.updates] == [[-1.0, -2.0, -3.0]]


def test_finds_the_best_beside_a_region_that_fails():
    optimizer = CMAES(box(3), seed=1)
    lowest = math.inf
    for _ in range(600):
        suggestion = optimizer.ask()
        x = suggestion.values["x"]
        value = sphere(x)
        optimizer.tell(suggestion, None if x[0] > 0.6 else -value)
        lowest = min(lowest, value if x[0] <= 0.6 else math.inf)
    assert lowest < 1e-3


# -- spaces


def test_reaches_a_corner_and_stays_inside():
    optimizer = CMAES(box(6), seed=1)
    assert minimise(optimizer, lambda x: sphere(x, best=3.0), 600) == pytest.approx(6.0, abs=0.001)  # at x = 2, 2, ...


def test_unconstrained_leaves_its_range():
    assert minimise(CMAES(box(3, unconstrained=True), seed=1), lambda x: sphere(x, best=50.0), 800) < 1e-3


@pytest.mark.parametrize(
    ("parameter", "best"),
    [
        (Real("x", -2.0, 2.0), 0.6),
        (Real("x", 1e-6, 1.0, log=True), 1e-4),
        (Real("x", 0.0, 1.0, unconstrained=True), 9.0),
        (Integer("x", 1, 100), 93),
        (Integer("x", 1, 4096, log=True), 3),
        (Choice("x", (0, 1, 2)), 0),
    ],
    ids=str,
)
def test_one_dimension(parameter, best):
    found = minimise(CMAES(Space([parameter]), seed=1), lambda x: abs(x - best) / best if best else x, 300)
    assert found < (1e-3 if type(parameter) is Real else 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_suggestions_contain_each_choice(seed):
    optimizer = CMAES(Space([Choice("kind", tuple("abcdefgh")), Real("x", 0.0, 1.0)]), seed=seed)
    assert {optimizer.ask().values["kind"] for _ in range(8)} == set("abcdefgh")


def test_whole_numbers_and_choices_do_not_freeze():
    space = Space(
        [
            Real("x", -2.0, 2.0),
            Integer("width", 1, 512, log=True),
            Array("layers", Integer("layers", 0, 20), 3),
            Choice("kind", ("a", "b", "c")),
        ]
    )

    def function(x, width, layers, kind):
        return x**2 + math.log(width / 300) ** 2 + float(np.sum((layers - 17) ** 2)) + 4.0 * (kind != "b")

    found = [minimise(CMAES(space, seed=seed), function, 800) for seed in range(3)]
    assert statistics.median(found) < 1e-2
    # a distribution that has narrowed down to one value of each still tries others
    optimizer = CMAES(space, seed=1)
    minimise(optimizer, lambda x, **others: abs(x), 100)
    asked = [optimizer.ask().values for _ in range(200)]
    for name in ("width", "kind"):
        assert len({values[name] for values in asked}) > 1


def test_starts_in_the_middle_or_at_random():
    middle, anywhere = (CMAES(box(50, random_start=start), seed=1, sigma0=1e-6).ask().point for start in (False, True))
    assert middle == pytest.approx([0.5] * 50, abs=1e-4)
    assert np.std(anywhere) > 0.2


# -- options, and the world around


def test_options(spy):
    CMAES(box(2), seed=1, popsize=17)
    assert spy.popsizes == [17]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"popsize": 2}, "popsize=2 is too small; give a whole number of at least 3"),
        ({"sigma0": 0.0}, "sigma0=0.0 is not a share of the range; give a number above 0 and up to 1"),
        ({"sigma0": 1.5}, "sigma0=1.5 is not a share"),
        ({"sigma0": math.nan}, "sigma0=nan is not a share"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(BadInput, match=message):
        CMAES(box(2), seed=1, **options)


def test_touches_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text('{"maxfevals": 1}')  # pycma would stop, and restart, at each update
    optimizer = CMAES(box(2), seed=1)
    assert minimise(optimizer, sphere, 200) < 1e-4
    assert os.listdir(tmp_path) == ["cma_signals.in"]


def test_module_loads_no_cma_and_import_is_silent():
    program = (
        "import sys, studio.optimizers.cma_es as m; assert 'cma' not in sys.modules; m.import_cma(); "
        "assert 'cma' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
