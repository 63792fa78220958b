"""The best experiments run again: with several seeds, or simply again, so that the winner is not the luckiest.

Each of the best becomes a project of its own, `PROJECT-confirm-7`, whose experiments are its replicates; one that is
there already is read and not run again.
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
from studio.script.places import Places
from studio.search.plan import program_of
from studio.search.run import resume, run
from studio.settings import OPTIONS, Settings

CONFIDENCE = 0.95
_SEED = re.compile(r"(random_?|rng_?)?(seed|state)", re.IGNORECASE)


@dataclass(frozen=True)
class Confirmed:
    """One configuration and its replicates. Values of the metric are as the script logs them.

    mean, low, high  the mean and the ends of its 95 % interval (Student's t over the replicates); None without two results
    """

    experiment: Experiment
    project: str
    values: list[float]
    mean: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "experiment": self.experiment.key,
            "values": self.experiment.as_dict()["values"],
            "project": self.project,
            "metric": self.values,
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
        }


def confirm(
    name: str, *, top: int = 3, replicates: int = 5, num_workers: int | None = None, notice: Callable[[str], None]
) -> list[Confirmed]:
    """Run the best `top` experiments of project `name` again, `replicates` times each; the best by the mean comes first.

    Raises BadInput for a project without results, or with arrays.
    """
    project = Project(name)
    best = sorted(
        (one for one in project.experiments if one.status == "completed" and one.fitness is not None),
        key=lambda one: (-(one.fitness or 0.0), one.number),
    )[:top]
    if not best:
        raise BadInput(f"project {name} has no completed experiment with a fitness, so there is nothing to confirm")
    if any(isinstance(value, list) for one in best for value in one.values.values()):
        raise BadInput(f"project {name} searches an array; run an experiment of it again with --reuse")
    settings = Settings.from_dict(project.settings)
    seed = _seed_of(settings, project, best[0])
    notice(
        f"each runs {replicates} times, " + (f"with {seed} = 1 to {replicates}" if seed else "without a seed to vary")
    )
    results = [
        _replicated(settings, project, one, seed, replicates, num_workers or settings.num_workers) for one in best
    ]
    return sorted(results, key=lambda one: -math.inf if one.mean is None else project.sign * one.mean, reverse=True)


def _replicated(
    settings: Settings, project: Project, one: Experiment, seed: str, replicates: int, num_workers: int
) -> Confirmed:
    name = f"{project.name}-confirm-{one.number}"
    if name in project_names():
        done = resume(name, num_workers=num_workers, max_experiments=replicates)
    else:
        done = run(
            settings.script,
            settings.arguments,
            project=name,
            num_workers=num_workers,
            **_options(settings, one, seed, replicates),
        )
    values = [each.metric["value"] for each in done.experiments if each.fitness is not None and each.metric]
    mean, low, high = interval(values)
    return Confirmed(one, name, values, mean, low, high)


def _options(settings: Settings, one: Experiment, seed: str, replicates: int) -> dict[str, Any]:
    """The options of the search, but for its hyperparameters, which are fixed."""
    kept = {"metric", "direction", "module", "python", "env", "substitute", "capture", "capture_once", "max_duration"}
    kept |= {"backend", "backend_options", "cpus", "gpus", "ram", "hdd", "max_workspace", "max_log", "retry_failed"}
    names = {field.keyword: field.name for field in OPTIONS.values()} | {"backend_options": "backend_options"}
    options = {keyword: getattr(settings, names[keyword]) for keyword in kept if keyword in names}
    ranges: dict[str, Any] = {key: [value] for key, value in one.values.items()}
    if not seed:  # a variable that the script does not read makes them different experiments
        seed = "replicate"
        options["env"] = {**options["env"], "STUDIO_REPLICATE": "{replicate}"}
    return {**options, "hyperparams": {**ranges, seed: list(range(1, replicates + 1))}, "optimizer": "grid"}


def _seed_of(settings: Settings, project: Project, one: Experiment) -> str:
    """The address of the script's seed, if it has one: `{seed}` in its arguments, else a place of that name."""
    if any("{seed}" in argument for argument in settings.arguments):
        return "seed"
    try:
        places = Places(program_of(settings, project.source)).every()
    except (BadInput, SubstitutionError, OSError):
        return ""
    found = [place for place in places if _SEED.fullmatch(place.name) and place.address not in one.values]
    return found[0].address if found else ""


def interval(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Return the mean of `values` and its 95 % confidence interval (Student's t); None where there are too few."""
    from scipy.stats import t

    if not values:
        return None, None, None
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    return mean, mean - half, mean + half
