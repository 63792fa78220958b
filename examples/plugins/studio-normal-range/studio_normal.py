"""Distributions as ranges: `--hp=lr=lognormal(-7,1.5)`, for optimizers other than grids.

    normal(mean,sd)      a normally distributed number, within four standard deviations
    lognormal(mean,sd)   a number above 0 whose natural logarithm is normally distributed

Random search draws from the distribution; for optimizers that use distances, equal steps are equal probabilities.
"""

import math
import re
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

import studio

STANDARD = NormalDist()
REACH = 4.0  # standard deviations; further out, neighbouring floats of the unit interval are too far apart
EDGE = STANDARD.cdf(-REACH)  # 3.2e-5

RANGE = re.compile(r"\s*(?P<log>log)?normal\s*\((?P<inside>.*)", re.DOTALL)


@dataclass(frozen=True)
class Normal(studio.Parameter):
    """A number with a normal distribution, or its exponential."""

    name: str
    mean: float
    sd: float
    log: bool = False

    def from_unit(self, u: np.ndarray) -> float:
        z = STANDARD.inv_cdf(min(max(float(np.asarray(u).item()), EDGE), 1 - EDGE))
        scaled = self.mean + self.sd * z
        return math.exp(scaled) if self.log else scaled

    def to_unit(self, value: float) -> np.ndarray:
        try:
            z = ((math.log(value) if self.log else float(value)) - self.mean) / self.sd
        except (TypeError, ValueError):  # not a number, or the logarithm of one not above 0
            z = math.nan
        if not abs(z) <= REACH + 1e-9:
            kind = "lognormal" if self.log else "normal"
            raise studio.StudioError(
                f"hyperparameter {self.name}: {value!r} is further than {REACH:g} standard deviations from the middle of "
                f"{kind}({self.mean:g},{self.sd:g})"
            )
        return np.array([min(max(STANDARD.cdf(z), EDGE), 1 - EDGE)])


@studio.hookimpl
def studio_parse_range(name: str, text: str, grid: bool) -> studio.Parameter | None:
    found = RANGE.fullmatch(text)
    if grid or found is None:
        return None
    log = found["log"] is not None
    try:
        mean, sd = map(float, found["inside"].removesuffix(")").split(","))
    except ValueError:
        raise wrong(name, text, "two numbers are needed, the mean and the standard deviation") from None
    if not found["inside"].endswith(")"):
        raise wrong(name, text, "the closing bracket is missing")
    if not (math.isfinite(mean) and math.isfinite(sd) and sd > 0):
        raise wrong(name, text, "the mean must be finite and the standard deviation above 0")
    if not math.isfinite(mean - REACH * sd) or not math.isfinite(mean + REACH * sd) or mean - sd == mean + sd:
        raise wrong(name, text, "floats are too coarse there")
    if log and not -700 < mean - REACH * sd < mean + REACH * sd < 700:
        raise wrong(name, text, f"the exponential of a number {REACH:g} standard deviations out is not a float")
    return Normal(name, mean, sd, log)


def wrong(name: str, text: str, problem: str) -> studio.StudioError:
    example = "lognormal(-7,1.5)" if "log" in text else "normal(0,1)"
    return studio.StudioError(f"hyperparameter {name}={text}: {problem}; write for example {name}='{example}'")
