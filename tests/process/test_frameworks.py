"""Keras on TensorFlow, with the callback that the first users of this idea had: `make test-frameworks` runs it."""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("STUDIO_TEST_FRAMEWORKS") != "1", reason="needs TensorFlow: make test-frameworks"
)

# Small random data instead of MNIST, which would be a download; the rest as in the seed's script.
TRAIN_MNIST_KERAS = """
    import json
    import sys

    import numpy as np
    from tensorflow import keras
    from tensorflow.keras import layers, optimizers
    from tensorflow.keras.callbacks import ModelCheckpoint, TensorBoard

    from studio import fs_tracker

    keras.utils.set_random_seed(1)
    images = np.random.default_rng(1).random((256, 16)).astype("float32")
    labels = (images.sum(axis=1) > 8).astype("int64")

    model = keras.Sequential([layers.Input((16,)), layers.Dense(8, activation="relu"), layers.Dense(2, activation="softmax")])

    no_epochs = int(sys.argv[1])
    lr=0.01
    print('learning rate = {}'.format(lr))
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=optimizers.SGD(learning_rate=lr),
        metrics=["accuracy"],
    )
    history = model.fit(
        images,
        labels,
        validation_split=0.25,
        epochs=no_epochs,
        verbose=0,
        callbacks=[
            TensorBoard(log_dir=fs_tracker.get_tensorboard_dir(), write_graph=False),
            ModelCheckpoint(fs_tracker.get_model_directory() + "/checkpoint.{epoch:02d}.keras"),
        ],
    )
    print("history", json.dumps({name: list(map(float, values)) for name, values in history.history.items()}))
"""

# TensorFlow talks a lot on stderr and looks for GPUs that CI has not.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def history_of(experiment):
    """What Keras itself says that the epochs gave."""
    lines = Path(experiment["folder"], "output.log").read_text().splitlines()
    return json.loads(next(line for line in lines if line.startswith("history ")).removeprefix("history "))


@pytest.mark.parametrize(
    ("metric", "of", "summary"),
    [
        ("val_loss:min", "val_loss", min),  # Keras logs it as validation/epoch_loss
        ("accuracy:max", "accuracy", max),  # as train/epoch_accuracy
        ("validation/epoch_accuracy", "val_accuracy", lambda values: values[-1]),
    ],
)
def test_metric_of_keras(studio, script, metric, of, summary):
    script("train_mnist_keras.py", TRAIN_MNIST_KERAS)
    arguments = ("--json", f"--metric={metric}", "--hyperparam=lr=0.01,0.1", "train_mnist_keras.py", "3")
    result = studio("run", *arguments, env=QUIET, timeout=600)
    assert result.code == 0, result
    found = json.loads(result.out)
    assert [experiment["values"] for experiment in found] == [{"lr": 0.01}, {"lr": 0.1}]
    for experiment in found:
        values = history_of(experiment)[of]
        assert len(values) == 3
        assert experiment["metric"]["value"] == pytest.approx(summary(values), rel=1e-5)
        sign = -1 if metric.endswith(":min") else 1
        assert experiment["fitness"] == sign * experiment["metric"]["value"]
        assert f"learning rate = {experiment['values']['lr']}" in Path(experiment["folder"], "output.log").read_text()
        assert sorted(path.name for path in Path(experiment["folder"], "modeldir").iterdir()) == [
            f"checkpoint.0{epoch}.keras" for epoch in (1, 2, 3)
        ]
        assert list(Path(experiment["folder"], "tb", "validation").glob("*tfevents*"))


def test_search_on_keras(studio, script):
    """The learning rate that CMA-ES ends with is better than the smallest one it may try."""
    script("train_mnist_keras.py", TRAIN_MNIST_KERAS)
    options = ("--optimizer=cma", "--seed=1", "--max-experiments=6", "--num-workers=2")
    arguments = ("--metric=val_loss:min", "--hyperparam=lr=1e-4:1:l", "train_mnist_keras.py", "5")
    result = studio("run", "--json", *options, *arguments, env=QUIET, timeout=900)
    assert result.code == 0, result
    found = json.loads(result.out)
    assert [experiment["status"] for experiment in found] == ["completed"] * 6
    best = max(found, key=lambda experiment: experiment["fitness"])
    lowest = min(found, key=lambda experiment: experiment["values"]["lr"])
    assert best["metric"]["value"] < lowest["metric"]["value"]
