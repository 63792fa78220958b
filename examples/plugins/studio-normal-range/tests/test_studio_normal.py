import math
import os
import subprocess
import sys
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest
import studio_normal

import studio
from studio.testing.ranges import RangeParserContract


class TestNormal(RangeParserContract):
    plugin = studio_normal
    texts = ("normal(0,1)", "normal( -3.5 , 1e-3 )", "lognormal(-7,1.5)", " normal (1e6,10)")
    wrong = (
        "normal(0)",
        "normal(,)",
        "normal(0,1",
        "normal(0,-1)",
        "normal(0,0)",
        "normal(nan,1)",
        "normal(0,inf)",
        "normal(1e308,1e308)",
        "normal(1,1e-20)",
        "lognormal(0,500)",
        "lognormal(a,b)",
    )


def host():
    return studio.create_host(entry_points=False, plugins=[studio_normal])


def test_grids_keep_their_grammar():
    assert studio_normal.studio_parse_range("x", "normal(0,1)", True) is None
    assert studio_normal.studio_parse_range("x", "normal,uniform", False) is None


def test_the_quartiles():
    parameter = host().parse_range("x", "normal(10,2)", grid=False)
    for u in (0.25, 0.5, 0.75):
        assert parameter.from_unit(np.array([u])) == pytest.approx(NormalDist(10, 2).inv_cdf(u), rel=1e-14)
    assert parameter.from_unit(np.array([0.0])) == pytest.approx(2.0)
    assert parameter.from_unit(np.array([1.0])) == pytest.approx(18.0)


@pytest.mark.parametrize("value", [18.1, "ten", None, math.nan, math.inf])
def test_values_outside(value):
    parameter = host().parse_range("x", "normal(10,2)", grid=False)
    with pytest.raises(studio.StudioError, match=r"hyperparameter x: .* is further than 4 standard deviations"):
        parameter.to_unit(value)


def test_zero_has_no_logarithm():
    with pytest.raises(studio.StudioError, match=r"hyperparameter x: 0 is further"):
        host().parse_range("x", "lognormal(0,1)", grid=False).to_unit(0)


def test_random_search_draws_from_it():
    with_builtins = studio.create_host(plugins=[studio_normal])
    search = studio.Search(
        {"x": "lognormal(1,0.5)"}, optimizer="random", seed=1, max_experiments=2000, host=with_builtins
    )
    logs = [math.log(suggestion.values["x"]) for suggestion in search]
    assert mean(logs) == pytest.approx(1, abs=0.05)
    assert stdev(logs) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("optimizer", ["random", "cma"])
def test_a_search_with_it_is_resumed(optimizer, tmp_path):
    program = f"""
import studio, studio_normal
search = studio.Search({{"x": "normal(0,1)"}}, optimizer={optimizer!r}, seed=1, max_experiments=10, project="p",
    host=studio.create_host(plugins=[studio_normal]))
for suggestion in search:
    search.tell(suggestion, -abs(suggestion.values["x"] - 1))
print([experiment.values for experiment in search.experiments])
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "STUDIO_HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
