"""The best known optimizer for the budget, used if none is named."""

import logging
from typing import ClassVar

from studio.hookspecs import hookimpl
from studio.interfaces import Optimizer
from studio.optimizers.cma_es import CMAES
from studio.optimizers.gp.optimizer import GaussianProcess
from studio.space import Space, Suggestion

MOST_DIMENSIONS = 20  # of the model; beyond, CMA-ES from the start
MOST_RESULTS = 250  # of the model; then CMA-ES from the best results

log = logging.getLogger(__name__)


class Auto(Optimizer):
    """A Gaussian process for up to 250 experiments in up to 20 dimensions, else CMA-ES; done when a finite space is.

        optimizer = Auto(space, seed=1)
        for _ in range(100):
            suggestion = optimizer.ask()
            optimizer.tell(suggestion, fitness(**suggestion.values))

    | when                    | what                        | because                                            |
    |-------------------------|-----------------------------|----------------------------------------------------|
    | the first 8 to 20       | a Sobol sequence            | nothing is known yet, and each choice should occur |
    | up to 250 experiments   | `gp`, a Gaussian process    | it learns most per result                        |
    | after 250               | `cma`, from the best so far | the cost of the model grows with their cube        |
    | more than 20 dimensions | `cma` from the start        | there are too few results for a model of so many   |

    docs/optimizers.md has the measurements. Suggestions of the model whose results arrive after the change are told to CMA-ES.
    """

    name: ClassVar[str] = "auto"
    related: ClassVar[tuple[str, ...]] = ("best", "default")
    takes_known: ClassVar[bool] = True

    def __init__(self, space: Space, *, seed: int):
        self._space, self._seed = space, seed
        self._told: dict[tuple[int | None, str], tuple[Suggestion, float | None, str]] = {}
        self._engine: GaussianProcess | CMAES
        if space.dimensions > MOST_DIMENSIONS:
            self._engine = CMAES(space, seed=seed)
        else:
            self._engine = GaussianProcess(space, seed=seed)

    def ask(self) -> Suggestion | None:
        if isinstance(self._engine, GaussianProcess) and len(self._told) >= MOST_RESULTS:
            self._change()
        suggestion = self._engine.ask()
        self._note_end()
        return suggestion

    def tell(self, suggestion: Suggestion, fitness: float | None, *, failure: str = "") -> None:
        self._engine.tell(suggestion, fitness, failure=failure)
        if isinstance(self._engine, GaussianProcess):
            self._told[suggestion.number, str(suggestion.point)] = suggestion, fitness, failure
        self._note_end()

    def _note_end(self) -> None:
        self.done, self.done_reason = self._engine.done, self._engine.done_reason

    def recommend(self) -> Suggestion | None:
        return self._engine.recommend()

    def _change(self) -> None:
        log.info("auto: %d experiments have results; CMA-ES continues from the best of them", len(self._told))
        self._engine = CMAES(self._space, seed=self._seed)
        self._engine.learn([(suggestion, fitness) for suggestion, fitness, _ in self._told.values()])
        self._told.clear()


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [Auto]
