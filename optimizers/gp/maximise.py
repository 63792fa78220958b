"""Maximise the acquisition: sample widely, then improve continuous coordinates by gradient and discrete ones by search.

Alternation as in Optuna's `optim_mixed`; candidates near the best results as in SMAC: Hutter et al. (2011), "Sequential
Model-Based Optimization for General Algorithm Configuration", LION.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.optimizers.gp.acquisition import Acquisition
from studio.optimizers.gp.coordinates import Axis, Coordinates
from studio.optimizers.gp.design import sequence
from studio.optimizers.gp.success import Chance
from studio.space import Floats

WIDE, NEAR = 256, 384  # candidates from the whole space, and mutations of the best results
STARTS = 2  # candidates that are improved
APART = 0.1  # least distance of two starts, in one coordinate
ROUNDS = 3  # of continuous and discrete steps
GRADIENT_STEPS = 20
# A discrete coordinate with so many values is searched whole, else around its value.
ALL_LEVELS = 12
# Probability of success below which no point is taken, as long as there are others: in general, and if failures are frequent.
LIKELY, LIKELIER = 0.95, 0.98
# While few fail, this share of the probability at the best result, and at least that probability, will do.
NEARLY, LEAST = 0.9, 0.75
ENUMERATED = 1024  # a space with so many points is searched whole

Test = Callable[[Floats], NDArray[np.bool_]]  # of points, shape (m, d)


class Maximiser:
    """Maximises an acquisition over the points that were not asked for."""

    def __init__(self, coordinates: Coordinates, rng: np.random.Generator):
        self.coordinates, self.rng = coordinates, rng
        self.sequence = sequence(coordinates.dimensions, rng)

    def best(self, acquisition: Acquisition, top: Floats, new: Test, away: Test | None = None) -> Floats | None:
        """Return the new point, shape (d,), with the largest score that was found; `top`, shape (m, d), are the best results, the
        very best first. None where no candidate was new. `away`, where given: only such points, if any is likely to succeed.
        """
        low, high = self.coordinates.box(top[0])
        candidates = self.candidates(top, low, high)
        candidates = candidates[new(candidates)]
        if not len(candidates):
            return None
        chance, likely = acquisition.chance, 0.0
        if chance is not None:
            chances = chance.log(candidates)
            likely = min(self.threshold(chance, top[:1]), float(chances.max()))
            candidates = candidates[chances >= likely]
        if away is not None:
            far = away(candidates)
            away, candidates = (away, candidates[far]) if far.any() else (None, candidates)
        order = np.argsort(-acquisition.score(candidates), kind="stable")
        ends = np.vstack([self.climb(acquisition, candidates[i], low, high) for i in self.starts(candidates, order)])
        ends = ends[new(ends)]
        if away is not None:
            ends = ends[away(ends)]
        if chance is not None:
            ends = ends[chance.log(ends) >= likely]
        pool = np.vstack([candidates[order[:1]], ends])
        return np.asarray(pool[np.argmax(acquisition.score(pool))])

    def threshold(self, chance: Chance, best: Floats) -> float:
        """Return the logarithm of the probability of success below which no point is taken. The best result, shape (1, d), did not
        fail: while failures are few, what is nearly as likely to succeed remains."""
        if chance.frequent:
            return float(np.log(LIKELIER))
        return min(np.log(LIKELY), max(float(chance.log(best)[0]) + np.log(NEARLY), np.log(LEAST)))

    def candidates(self, top: Floats, low: Floats, high: Floats) -> Floats:
        """Return points, shape (m, d), to choose from: all of a small space, else some from all of the box between `low` and
        `high` and others near the best results `top`.
        """
        if self.coordinates.size <= ENUMERATED:
            return self.coordinates.everything()
        U = self.sequence.random(WIDE)
        wide = self.coordinates.spread(U)
        free = self.coordinates.free
        wide[:, free] = low[free] + U[:, free] * (high - low)[free]
        wide = self.coordinates.snap(wide)
        return np.vstack([wide, self.mutations(top[:1], NEAR // 2), self.mutations(top, NEAR // 2)])

    def mutations(self, parents: Floats, count: int) -> Floats:
        """Return changed parents, shape (count, d): half of them in about three coordinates and half in all, by steps of all
        sizes; choices are drawn anew, other discrete coordinates also move to a neighbour.
        """
        rng, d = self.rng, self.coordinates.dimensions
        children = parents[rng.integers(0, len(parents), count)].copy()
        share = np.where(rng.random(count) < 0.5, min(d, 3) / d, 1.0)
        moves = rng.random((count, d)) < share[:, None]
        steps = 10.0 ** rng.uniform(-2.5, -0.4, (count, 1)) * rng.standard_normal((count, d))
        nominal, free = self.coordinates.nominal, self.coordinates.free
        children = np.where(moves & ~nominal, children + steps, children)
        folded = np.where(children < 0.0, -children, np.where(children > 1.0, 2.0 - children, children))
        children = np.where(free, children, folded)
        redrawn = nominal & (rng.random((count, d)) < min(0.5, 1.5 / d))
        children = np.where(redrawn, rng.random((count, d)), children)
        for i, axis in enumerate(self.coordinates.axes):
            if axis.levels is not None and not axis.nominal and len(axis.levels) > 1:
                hops = np.flatnonzero(rng.random(count) < 0.15)
                at = np.argmin(np.abs(axis.levels - children[hops, i : i + 1]), axis=1)
                at = np.clip(at + rng.choice([-1, 1], len(hops)), 0, len(axis.levels) - 1)
                children[hops, i] = axis.levels[at]
        return self.coordinates.snap(children)

    def starts(self, candidates: Floats, order: NDArray[np.int_]) -> list[int]:
        """Return the indices of the best candidates that lie apart."""
        starts = [int(order[0])]
        for i in order[1:60]:
            if len(starts) == STARTS:
                break
            if min(np.abs(candidates[i] - candidates[j]).max() for j in starts) > APART:
                starts.append(int(i))
        return starts

    def climb(self, acquisition: Acquisition, x: Floats, low: Floats, high: Floats) -> Floats:
        """Return the end points, shape (m, d), of a climb from `x`: first as if all numbers were continuous, also whole ones,
        then by continuous and discrete steps in turn.
        """
        continuous, numbers = self.coordinates.continuous, ~self.coordinates.nominal
        ends = [self.ascend(acquisition, x, low, high, numbers)] if numbers.any() else [x]
        if continuous.all():
            return np.array(ends)
        x = ends[-1]
        for _ in range(ROUNDS):
            before, x = x, self.step(acquisition, x)
            ends.append(x)
            if np.array_equal(before, x):
                break
            if continuous.any():
                x = self.ascend(acquisition, x, low, high, continuous)
                ends.append(x)
        return np.array(ends)

    def ascend(
        self, acquisition: Acquisition, x: Floats, low: Floats, high: Floats, moving: NDArray[np.bool_]
    ) -> Floats:
        """Maximise by L-BFGS-B over the coordinates `moving`."""
        from scipy.optimize import minimize

        def loss(part: Floats) -> tuple[float, Floats]:
            point = x.copy()
            point[moving] = part
            value, gradient = acquisition.gradient(point)
            return -value, -gradient[moving]

        result: Any = minimize(
            loss,
            x[moving],
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low[moving], high[moving], strict=True)),
            options={"maxiter": GRADIENT_STEPS},
        )
        end = x.copy()
        end[moving] = result.x
        return self.coordinates.snap(end[None])[0]

    def step(self, acquisition: Acquisition, x: Floats) -> Floats:
        """Return the best of the points that differ from `x` in one discrete coordinate, or `x`."""
        neighbours = [x]
        for i, axis in enumerate(self.coordinates.axes):
            if axis.levels is not None:
                for level in self.levels_to_try(axis, x[i]):
                    neighbours.append(x.copy())
                    neighbours[-1][i] = level
        points = np.array(neighbours)
        return np.asarray(points[np.argmax(acquisition.score(points))])

    def levels_to_try(self, axis: Axis, at: float) -> Floats:
        """Return other levels of a discrete coordinate, shape (k,): all of them if few, else some without order or neighbours."""
        levels = axis.levels
        assert levels is not None
        if len(levels) <= ALL_LEVELS:
            return levels
        index = int(np.argmin(np.abs(levels - at)))
        if axis.nominal:
            return np.asarray(levels[self.rng.integers(0, len(levels), ALL_LEVELS)])
        near = index + np.array([-8, -4, -2, -1, 1, 2, 4, 8])
        return np.asarray(levels[near[(near >= 0) & (near < len(levels))]])
