"""Names of numbers: which direction is better, and which one is the objective of a search."""

import pytest

from studio.execution.metric_names import (
    COST,
    HELD_OUT,
    NO_RESULT,
    RESULT,
    TRAINING,
    UNKNOWN,
    likely_mode,
    result_rank,
    standing,
)


def test_results_on_held_out_data_come_first_in_any_spelling() -> None:
    names = ["trainLoss", "lr", "valLoss", "loss", "train_loss", "val_loss", "testAccuracy", "wall time", "objective"]
    assert sorted(names, key=result_rank) == [
        *("valLoss", "val_loss", "testAccuracy", "loss", "trainLoss", "train_loss", "objective", "wall time", "lr")
    ]


def test_the_score_of_the_task_comes_before_a_loss_and_a_printed_fitness_before_all() -> None:
    assert sorted(["val_loss", "val_accuracy", "test_accuracy"], key=result_rank)[0] == "val_accuracy"
    assert sorted(["approx_kl", "value_loss", "ep_rew_mean"], key=result_rank)[0] == "ep_rew_mean"
    assert sorted(["val_accuracy", "fitness"], key=result_rank)[0] == "fitness"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("negative log likelihood", "min"),
        ("neg_log_likelihood", "min"),
        ("log-likelihood", "max"),
        ("neg_mean_squared_error", "max"),
        ("error rate", "min"),
        ("success_rate", "max"),
        ("bits per dim", "min"),
        ("(MSE) on test set", "min"),
        ("valid_0's l2", "min"),
        ("R² on the test set", "max"),
        ("metrics/mAP50-95(B)", "max"),
        ("Word Error Rate", "min"),
        ("validation perplexity", "min"),
        ("tokens/s", "max"),
        ("Best Rate MB/s", "max"),
        ("GFLOPS", "max"),
        ("Total time (s)", "min"),
        ("score_time", "min"),
        ("pass@1", "max"),
        ("Davies-Bouldin score", "min"),
        ("objective", ""),
        ("value", ""),
        ("loss_scale", ""),
    ],
)
def test_the_direction(name: str, mode: str) -> None:
    assert likely_mode(name) == mode


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("split test loss", HELD_OUT),
        ("Cross Validation Accuracy", HELD_OUT),
        ("accuracy", RESULT),
        ("split train loss", TRAINING),
        ("objective", UNKNOWN),
        ("peak memory MB", COST),
        ("samples/sec", COST),
        ("clock granularity", NO_RESULT),
        ("env_kwargs", NO_RESULT),
        ("device", NO_RESULT),
        ("nevals", NO_RESULT),
        ("{name} accuracy", NO_RESULT),
        ("%s final score", NO_RESULT),
        ("reward_threshold", NO_RESULT),
        ("target_kl", NO_RESULT),
        ("", NO_RESULT),
    ],
)
def test_the_standing(name: str, expected: int) -> None:
    assert standing(name) == expected


def test_a_per_cent_sign_is_no_placeholder() -> None:
    assert standing("test error %") == HELD_OUT
