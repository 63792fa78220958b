"""The optimizer of searches that name none."""

import logging
import math
from typing import ClassVar

from studio.hookspecs import hookimpl
from studio.interfaces import Optimizer
from studio.optimizers.cma_es import CMAES
from studio.optimizers.gp.optimizer import GaussianProcess
from studio.space import Space, Suggestion

MOST_DIMENSIONS = 20  # of the model; beyond, CMA-ES from the start
MOST_RESULTS = 400  # of the model; then CMA-ES from the best results, where the model has no more to say

log = logging.getLogger(__name__)


class Auto(Optimizer):
    """A Gaussian process, and CMA-ES where there are many dimensions or results; done when a finite space is.

        optimizer = Auto(space, seed=1)
        for _ in range(100):
            suggestion = optimizer.ask()
            optimizer.tell(suggestion, fitness(**suggestion.values))

    | when                     | what                        | because                                                  |
    |--------------------------|-----------------------------|----------------------------------------------------------|
    | the first 8 to 20        | Sobol points, most central  | nothing is known yet, and each choice should occur       |
    | up to 400 experiments    | `gp`, a Gaussian process    | it learns most per result                                |
    | after 400                | `cma`, from the best so far | the model, of 250 results, gets no better                |
    | more than 20 dimensions  | `cma` from the start        | there are too few results for a model of so many         |

    The model goes on after 400 in a finite space, where it repeats nothing and knows the end; with noise; and where experiments ran
    out of memory or time. Suggestions of the model whose results arrive after the change are told to CMA-ES.
    """

    name: ClassVar[str] = "auto"
    related: ClassVar[tuple[str, ...]] = ("best", "default")
    takes_known: ClassVar[bool] = True

    def __init__(self, space: Space, *, seed: int):
        self._space, self._seed = space, seed
        self._engine: GaussianProcess | CMAES
        if space.dimensions > MOST_DIMENSIONS:
            self._engine = CMAES(space, seed=seed)
        else:
            self._engine = GaussianProcess(space, seed=seed)

    def ask(self) -> Suggestion | None:
        model = self._engine
        if isinstance(model, GaussianProcess) and self._may_change(model):
            self._change(model)
        suggestion = self._engine.ask()
        self._note_end()
        return suggestion

    def tell(self, suggestion: Suggestion, fitness: float | None, *, failure: str = "") -> None:
        self._engine.tell(suggestion, fitness, failure=failure)
        self._note_end()

    def _note_end(self) -> None:
        self.done, self.done_reason = self._engine.done, self._engine.done_reason

    def recommend(self) -> Suggestion | None:
        return self._engine.recommend()

    def _may_change(self, model: GaussianProcess) -> bool:
        return len(model.results) >= MOST_RESULTS and self._space.combinations == math.inf and not model.knows_more

    def _change(self, model: GaussianProcess) -> None:
        log.info("auto: %d experiments have results; CMA-ES continues from the best of them", len(model.results))
        self._engine = CMAES(self._space, seed=self._seed)
        self._engine.learn(model.results)


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [Auto]
