"""Repeated runs of the best experiments, with several seeds or unchanged, so that the best is not just the luckiest.

Each becomes a project of its own, `PROJECT-confirm-7`, whose experiments are the replicates; an existing one is resumed,
and continues if more are asked for.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from studio.errors import BadInput, SubstitutionError
from studio.experiment import Experiment
from studio.project.paths import project_names
from studio.project.project import Project
from studio.project.summary import summarize
from studio.ranking import ranked
from studio.script.places import Places
from studio.search.plan.plan import program_of
from studio.search.resume import resume
from studio.search.run import Confirm, start
from studio.settings import Settings

CONFIDENCE = 0.95
MOST = 1000  # replicates
_SEED = re.compile(r"(random_?|rng_?)?(seed|state)", re.IGNORECASE)


@dataclass(frozen=True)
class Confirmed:
    """A configuration and its replicates. Values of the metric are as the script logs them.

    mean, low, high  the mean and the ends of its 95 % interval (Student's t over the replicates); None without two results that differ
    """

    experiment: Experiment
    project: str
    results: list[float]
    mean: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return {
            "experiment": self.experiment.key,
            "values": self.experiment.as_dict()["values"],
            "project": self.project,
            "metric": self.results,
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
        }


def confirm(
    name: str,
    *,
    top: int = 3,
    replicates: int = 5,
    num_workers: int | None = None,
    yes: Confirm = False,
    notice: Callable[[str], None],
) -> list[Confirmed]:
    """Run the best `top` experiments of project `name` again, `replicates` times each; the best by the mean comes first.

    The script's files are those of the project's folder as they are now. Raises BadInput for a project without results, or
    with arrays.
    """
    if replicates > MOST:
        raise BadInput(f"--replicates {replicates}: at most {MOST} are run")
    project = Project(name)
    best = ranked(project.experiments)[:top]
    if not best:
        raise BadInput(f"project {name} has no completed experiment with a fitness, so there is nothing to confirm")
    if any(isinstance(value, list) for one in best for value in one.values.values()):
        raise BadInput(f"project {name} searches an array; run an experiment of it again with --reuse")
    if not project.source.is_dir():
        raise BadInput(f"{project.source}, the folder of project {name}, is gone; put it back, or search again")
    settings = Settings.from_dict(project.settings)
    seed = _seed_of(settings, project, best[0])
    notice(
        f"each runs {replicates} times, " + (f"with {seed} = 1 to {replicates}" if seed else "without a seed to vary")
    )
    workers = num_workers or settings.num_workers
    results = [_replicated(settings, project, one, seed, replicates, workers, yes) for one in best]
    if same := [one.experiment.key for one in results if len(one.results) > 1 and len({*one.results}) == 1]:
        notice(
            f"all runs of {', '.join(same)} gave the same result, so they prove nothing more than one: "
            + (f"{seed} changes nothing" if seed else "give the script a seed that it reads, such as --seed")
        )
    return sorted(results, key=lambda one: -math.inf if one.mean is None else project.sign * one.mean, reverse=True)


def _replicated(
    settings: Settings, project: Project, one: Experiment, seed: str, replicates: int, num_workers: int, yes: Confirm
) -> Confirmed:
    name = f"{project.name}-confirm-{one.number}"
    if name not in project_names():
        grid = _grid(settings, one, seed, replicates, num_workers)
        start(grid, name, source=project.source, yes=yes)
    elif summarize(Project(name).folder).finished < replicates:
        resume(name, num_workers=num_workers, max_experiments=replicates, yes=yes, progress=False)
    done = Project(name)
    results = [each.metric["value"] for each in done.experiments if each.fitness is not None and each.metric]
    mean, low, high = interval(results)
    if low == high:  # no spread, which is no certainty
        low = high = None
    return Confirmed(one, name, results, mean, low, high)


def _grid(settings: Settings, one: Experiment, seed: str, replicates: int, num_workers: int) -> Settings:
    """The values of the experiment, fixed, with seeds for more replicates than now: others may follow."""
    env = settings.env
    if not seed:  # a variable that the script does not read, to make the experiments different
        seed, env = "replicate", {**env, "STUDIO_REPLICATE": "{replicate}"}
    ranges = {**{key: [value] for key, value in one.values.items()}, seed: f"1:1:{MOST}"}
    return settings.as_grid(ranges, env=env, num_workers=num_workers, max_experiments=replicates)


def _seed_of(settings: Settings, project: Project, one: Experiment) -> str:
    """Return the address of the script's seed: `{seed}` in its arguments, else a place of such a name; empty if none."""
    if any("{seed}" in argument for argument in settings.arguments):
        return "seed"
    try:
        places = Places(program_of(settings, project.source)).every()
    except (BadInput, SubstitutionError, OSError):
        return ""
    found = [place for place in places if _SEED.fullmatch(place.name) and place.address not in one.values]
    return found[0].address if found else ""


def interval(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Return the mean of `values` and its 95 % confidence interval (Student's t); None with too few values."""
    from scipy.stats import t

    if not values:
        return None, None, None
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    return mean, mean - half, mean + half
