"""What a run printed, ranked: which metric an inspection proposes, and a search that had none of its own."""

import pytest

from studio.execution.metrics_seen import metric_to_take


@pytest.mark.parametrize(
    ("reason", "metric"),
    [
        ("metric 'val_los' never came; did you mean --metric=val_loss:min? seen: accuracy, val_loss", "val_loss:min"),
        ("metric 'foo' never came; seen: lr, train_loss, val_loss", "val_loss:min"),
        ("metric 'foo' never came; seen: fitness", "printed:fitness:max"),
        ("metric 'foo' never came; seen: lr, steps", ""),
        ("metric 'foo' never came; seen elsewhere: my acc 1 (printed lines): '--metric=my acc:max'", "my acc:max"),
        (
            "metric 'foo' never came; seen elsewhere: obj 1 (printed lines): --metric=obj:max or --metric=obj:min",
            "",
        ),
        ("metric 'foo' never came; no metric was logged", ""),
    ],
)
def test_the_metric_to_take_instead_is_offered_meant_or_the_likeliest_result(reason: str, metric: str) -> None:
    assert metric_to_take(reason) == metric
