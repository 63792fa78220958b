"""Share of the results that each hyperparameter explains."""

import numpy as np
import pytest

from studio.reporting.importance import importance

RNG = np.random.default_rng(1)


def test_what_decides_the_result_comes_first():
    x, noise = RNG.random(200), RNG.random(200)
    opt = RNG.choice(["adam", "sgd"], 200).tolist()
    fitness = -((x - 0.5) ** 2) + 0.02 * np.array([each == "adam" for each in opt])  # best inside the range: no trend
    found = importance({"noise": noise.tolist(), "opt": opt, "x": x.tolist(), "fixed": [1] * 200}, fitness.tolist())
    assert [each["name"] for each in found["parameters"]] == ["x", "opt", "noise"]
    shares = {each["name"]: each for each in found["parameters"]}
    assert shares["x"]["importance"] > 0.7
    assert shares["noise"]["importance"] < 0.1
    assert all(0 <= each["low"] <= each["importance"] <= each["high"] <= 1 for each in found["parameters"])
    assert found["count"] == 200


def test_of_noise_nothing_is_explained_on_average():
    shares = [
        importance({"x": RNG.random(50).tolist()}, RNG.random(50).tolist())["parameters"][0]["importance"]
        for _ in range(60)
    ]
    assert np.mean(shares) < 0.05


@pytest.mark.parametrize("values", [[], [1.0] * 5, [float(at) for at in range(9)]])
def test_few_experiments_say_nothing(values):
    assert importance({"x": values}, values)["parameters"] == []


def test_equal_results_and_values_of_any_size():
    found = importance({"x": [1e308, -1e308] * 10, "y": [None, "a"] * 10}, [1.0] * 20)
    assert [each["importance"] for each in found["parameters"]] == [0.0, 0.0]
