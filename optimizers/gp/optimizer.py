"""`GaussianProcess`: Bayesian optimisation for tens to hundreds of experiments."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from studio.experiment import OF_THE_VALUES
from studio.hookspecs import hookimpl
from studio.interfaces import Optimizer
from studio.optimizers.gp.acquisition import Acquisition
from studio.optimizers.gp.belief import Belief
from studio.optimizers.gp.density import candidates_by_density
from studio.optimizers.gp.fit import Fit, Posterior
from studio.optimizers.gp.learner import Learner
from studio.optimizers.gp.maximise import LIKELY, Maximiser, Test
from studio.optimizers.gp.success import Chance, chance_of_success
from studio.space import Floats, Space, Suggestion

FEWEST = 3  # results that a model needs
FEWEST_TO_RECOMMEND = 10
MOST = 250  # results in the model: the best and the latest
MOST_BEST = 100
MOST_PENDING = 128  # pending suggestions in the model
TOP = 5  # best results, around which candidates are made


@dataclass(frozen=True, eq=False)
class Learned:
    """The model of the costs, and points around which to look, shape (m, d), the best one first."""

    model: Posterior
    top: Floats


class GaussianProcess(Learner):
    """A Gaussian process with log expected improvement; done when every point of a finite space was suggested.

        optimizer = GaussianProcess(space, seed=1)
        for _ in range(100):
            suggestion = optimizer.ask()
            optimizer.tell(suggestion, fitness(**suggestion.values))

    A suggestion, after the first ones from `Design`:

    1. The results are modelled (`fit`): costs compressed by log(1 + y/s), smoothness, noise and a length scale of each
       coordinate by maximum a posteriori.
    2. Pending suggestions are assumed to give the mean of the model, and nothing next to them is suggested.
    3. Failures for lack of memory or time, and crashes as far as they cluster, become a probability of success
       (`success`); lost experiments are missing values.
    4. Log expected improvement times that probability is maximised (`maximise`) over points not suggested yet that are
       likely to succeed.
    5. If the last experiments brought no improvement, every second suggestion stays away from the best point. If several
       results equal the best, three of four do: one by the model, two from where good results are dense (`density`), since the
       model then knows nothing better.

    `suggestion.point` is the point of the unit cube, rounded to seven decimals, or to the position of a whole number.
    """

    name: ClassVar[str] = "gp"
    aliases: ClassVar[tuple[str, ...]] = ("bayes",)
    related: ClassVar[tuple[str, ...]] = (
        *("ax", "bayesian", "bayesian-optimization", "bayesopt", "bo"),
        *("botorch", "gaussian-process", "skopt", "smac"),
    )

    def __init__(self, space: Space, *, seed: int):
        super().__init__(space, seed=seed)
        # Threads cost more than they save for matrices of this size, twenty times as much if scripts use all cores; and
        # with a fixed number of threads, sums are the same on replay.
        self._threads = one_thread()
        self._belief = None if np.isnan(space.beliefs).all() else Belief(space.beliefs)
        self._fit = Fit(self._coordinates)
        self._fitted = 0  # results at the last fit of the hyperparameters
        self._maximiser = Maximiser(self._coordinates, self._rng)
        self._stall = Stall()
        self._learned: Learned | None = None  # from all results, until the next one comes
        self._chance: Chance | None = None  # of success; None where nothing failed
        self._heard = False  # whether results came that the chance does not know
        self._noisy = False  # whether the last model found noise

    @property
    def results(self) -> list[tuple[Suggestion, float | None]]:
        """The suggestions that were told, and their fitness, None for failures."""
        return [(one.suggestion, None if one.cost is None else -one.cost) for one in self._results.values()]

    @property
    def knows_more(self) -> bool:
        """True where the model knows what an optimizer without one cannot: noise, or where experiments fail."""
        return self._noisy or any(one.failure in OF_THE_VALUES for one in self._results.values() if one.cost is None)

    def ask(self) -> Suggestion | None:
        suggestion = super().ask()
        self._note_end()
        return suggestion

    def tell(self, suggestion: Suggestion, fitness: float | None, *, failure: str = "") -> None:
        self._take_in(suggestion, fitness, failure)
        self._learned, self._heard = None, True
        self._note_end()

    def _note_end(self) -> None:
        if len(self._asked) == self._coordinates.size:
            self.done, self.done_reason = True, f"all {len(self._asked)} combinations of values were suggested"

    def recommend(self) -> Suggestion | None:
        """Return the best by the mean of a model of all results, fitted afresh, so that later suggestions do not change."""
        X, y = self._points_and_costs()
        known = np.flatnonzero(np.isfinite(y))
        if len(known) < FEWEST_TO_RECOMMEND:
            return None
        X, y = X[known], y[known]
        kept = best_and_latest(y)
        with self._threads.limit(limits=1, user_api="blas"):
            model = Fit(self._coordinates).posterior(X[kept], y[kept], optimise=True)
            mean, _ = model.predict(X[kept])
        if not model.noisy:
            return None
        told = [result.suggestion for result in self._results.values()]
        best_first = (told[i] for i in known[kept[np.argsort(mean, kind="stable")]])
        return next((each for each in best_first if each.number is not None), None)  # no number: an earlier search's

    def _next(self) -> Floats:
        with self._threads.limit(limits=1, user_api="blas"):
            x = self._best_guess()
        self._stall.note_choices(x[self._coordinates.nominal])
        return x

    def _best_guess(self) -> Floats:
        if self._heard:
            self._chance, self._heard = chance_of_success(self._coordinates, self._results.values()), False
        if (points := self._designed()) is not None:
            return self._likely(points)
        if self._learned is None:
            self._learned = self._learn()
        if self._learned is None:
            return self._likely(self._coordinates.spread(self._rng.random((64, self._coordinates.dimensions))))
        return self._improvement(self._learned.model, self._learned.top)

    def _learn(self) -> Learned | None:
        X, y = self._points_and_costs()
        X, y = X[np.isfinite(y)], y[np.isfinite(y)]
        if len(y) < FEWEST:
            return None
        best_first = np.argsort(y, kind="stable")
        self._stall.note(y)
        kept = best_and_latest(y)
        # The hyperparameters are fitted again when there are a twentieth more results.
        optimise = len(y) >= self._fitted + max(1, len(y) // 20) or len(y) < self._fitted
        if optimise:
            self._fitted = len(y)
        model = self._fit.posterior(X[kept], y[kept], optimise=optimise)
        self._noisy = model.noisy
        leader = X[np.argmin(model.predict(X)[0]) if model.noisy else best_first[0]]
        return Learned(model, np.vstack([leader, X[best_first[:TOP]]]))

    def _likely(self, points: Floats) -> Floats:
        """Return the first of the points, shape (m, d), that was not asked for and is likely to succeed, else the likeliest."""
        new = points[self._new(points)]
        if not len(new):
            new = self._unasked()
        if self._chance is None:
            return np.asarray(new[0])
        log = self._chance.log(new)
        return np.asarray(new[np.argmax(log >= min(np.log(LIKELY), log.max()))])

    def _improvement(self, model: Posterior, top: Floats) -> Floats:
        pending = list(self._pending.values())[-MOST_PENDING:]
        after = model.with_pending(np.array(pending)) if pending else model
        # As many results as suggestions are out come from before the last gain was known.
        known = sum(result.cost is not None for result in self._results.values())
        leaves = self._stall.leaves(self._count, known - len(self._pending), self._coordinates.dimensions)
        exhausted = self._stall.exhausted

        def new(points: Floats) -> NDArray[np.bool_]:
            fresh = self._new(points)
            if self._stall.choices is not None:
                fresh &= (points[:, self._coordinates.nominal] != self._stall.choices).any(1)
            return fresh & (model.nearness(points, np.array(pending)) < APART) if pending else fresh

        if exhausted and self._count % 2:
            dense = self._dense(new, top[:1])
            if len(dense):
                return np.asarray(dense[0])

        def away(points: Floats) -> NDArray[np.bool_]:
            return np.asarray(model.nearness(points, top if exhausted else top[:1]) < NEAR_BEST)

        acquisition = Acquisition(after, self._chance, self._belief)
        found = self._maximiser.best(acquisition, top, new, away if leaves else None)
        if pending and not leaves and self._count % 2 == 0 and found is not None:
            little = float(np.log(NO_GAIN * max(np.median(model.t) - model.t.min(), 1e-300)))
            if acquisition.score(found[None])[0] < little:
                found = self._maximiser.best(acquisition, top, new, away)
        return found if found is not None else np.asarray(self._unasked()[0])

    def _dense(self, new: Test, best: Floats) -> Floats:
        """Return new points, shape (m, d), where good results are dense: another idea than the model's. `best`: shape (1, d)."""
        X, y = self._points_and_costs()
        points = candidates_by_density(self._coordinates, X, y, list(self._pending.values()), self._rng)
        points = points[new(points)]
        if self._chance is None or not len(points):
            return points
        return np.asarray(points[self._chance.log(points) >= self._maximiser.threshold(self._chance, best)])

    def _unasked(self) -> Floats:
        """Return a point not suggested yet, shape (1, d); if sampling finds none, enumerate the space."""
        for count in (1, 16, 256, 4096):
            points = self._coordinates.spread(self._rng.random((count, self._coordinates.dimensions)))
            new = points[self._new(points)]
            if len(new):
                return new[:1]
        if self._coordinates.size <= 100_000:
            points = self._coordinates.everything()
            return points[self._new(points)][:1]
        return points[:1]


def best_and_latest(y: Floats) -> NDArray[np.int_]:
    """Return the indices of the costs, shape (n,), in the model: all, or of many the best and the latest."""
    kept = np.arange(len(y))
    if len(y) <= MOST:
        return kept
    return np.union1d(np.argsort(y, kind="stable")[:MOST_BEST], kept[-(MOST - MOST_BEST) :])


def one_thread() -> Any:
    """Return a controller of the loaded linear algebra libraries, to limit their threads."""
    import scipy.linalg  # noqa: F401 - loads its own library
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


NEAR_BEST = 0.7  # correlation with the best point above which a point is near it
APART = 0.9999  # correlation with a pending point above which a point tells nothing else
GAIN = 0.01  # least improvement, as a share of the spread of the costs
NO_GAIN = 3e-3  # of the spread: where no more is expected, those that are out suffice
EQUAL = 1e-4  # difference of costs, as a share of the spread of the first ones, that is none
FIRST = 20
TIES = 4  # results as good as the best, after which its neighbourhood has no more to give
SAME = 18  # suggestions in a row with the same choices and no gain, after which another one comes


class Stall:
    """The number of results since the last improvement. `exhausted`: several results are as good as the best. `choices`: those
    that the next suggestion may not have, shape (c,), after many suggestions of the same without a gain; else None.
    """

    def __init__(self) -> None:
        self._gained_at = 0
        self._best = math.inf
        self._last: Floats = np.empty(0)
        self._repeated = 0
        self.exhausted = False

    @property
    def choices(self) -> Floats | None:
        return self._last if self._repeated >= SAME else None

    def note(self, y: Floats) -> None:
        """Note the costs `y`, shape (n,)."""
        low = float(y.min())
        if low < self._best - GAIN * max(float(np.median(y)) - low, 0.0):
            self._best, self._gained_at = low, len(y)
            self._repeated = 0
        equal = EQUAL * max(float(np.median(y[:FIRST])) - low, 0.0)
        self.exhausted = int(np.count_nonzero(y <= low + equal)) >= TIES

    def note_choices(self, choices: Floats) -> None:
        """Note the choices of a suggestion, shape (c,)."""
        self._repeated = self._repeated + 1 if len(choices) and np.array_equal(choices, self._last) else 0
        self._last = choices

    def leaves(self, asked: int, n: int, d: int) -> bool:
        """Return whether the next suggestion stays away from the best point: every second one while nothing improves, three
        of four when it is exhausted.
        """
        return asked % 4 != 0 if self.exhausted else n - self._gained_at > 8 + d // 2 and asked % 2 == 0


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [GaussianProcess]
