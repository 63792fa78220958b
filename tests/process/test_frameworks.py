"""Real frameworks, which take long to install: `make test-frameworks` runs this. Keras on TensorFlow with the callback that the
first users of this idea had; PyTorch, Lightning, Hugging Face, Hydra and MLflow by the command that is printed for them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.experiment import Metric, Run
from studio.plugins.run_files import studio_open_metric
from studio.script.command import active_interpreter

pytestmark = pytest.mark.skipif(
    os.environ.get("STUDIO_TEST_FRAMEWORKS") != "1", reason="needs real frameworks: make test-frameworks"
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


# --- exactly the command that `studio inspect` prints ---------------------------------------------------------------------

SCRIPTS = {
    "hydra": (
        """
        import logging

        import hydra

        log = logging.getLogger(__name__)

        @hydra.main(version_base=None, config_path="conf", config_name="config")
        def main(cfg):
            for epoch in range(cfg.epochs):
                log.info("Test error: %.5f", abs(cfg.optimizer.lr - 0.03) + cfg.optimizer.weight_decay)
            assert cfg.name == f"run_{cfg.optimizer.lr}"

        if __name__ == "__main__":
            main()
        """,
        "Test_error:min",
        "lr",
    ),
    "mlflow": (
        """
        import mlflow

        alpha = 0.5
        mlflow.set_tracking_uri("file:./mlruns")
        with mlflow.start_run():
            mlflow.log_param("alpha", alpha)
            for step in range(3):
                mlflow.log_metric("val_rmse", alpha + 1 / (step + 1), step=step)
        """,
        "val_rmse:min",
        "alpha",
    ),
    "torch": (
        """
        import argparse

        import torch
        import torch.nn as nn
        import torch.nn.functional as F
        from torch.utils.data import DataLoader, TensorDataset

        def get_data(n, seed):
            g = torch.Generator().manual_seed(seed)
            x = torch.randn(n, 10, generator=g)
            y = (x[:, :3].sum(1) > 0).long()
            return TensorDataset(x, y)

        def test(model, loader):
            model.eval()
            loss = correct = 0
            with torch.no_grad():
                for x, y in loader:
                    out = model(x)
                    loss += F.cross_entropy(out, y, reduction="sum").item()
                    correct += out.argmax(1).eq(y).sum().item()
            loss /= len(loader.dataset)
            print('\\nTest set: Average loss: {:.4f}, Accuracy: {}/{} ({:.0f}%)\\n'.format(
                loss, correct, len(loader.dataset), 100. * correct / len(loader.dataset)))

        def main():
            parser = argparse.ArgumentParser(description='toy')
            parser.add_argument('--batch-size', type=int, default=64, metavar='N')
            parser.add_argument('--epochs', type=int, default=3)
            parser.add_argument('--lr', type=float, default=0.05)
            parser.add_argument('--optimizer', choices=['sgd', 'adam'], default='sgd')
            parser.add_argument('--gamma', type=float, default=0.7, help='Learning rate step gamma (default: 0.7)')
            parser.add_argument('--no-cuda', action='store_true', default=False)
            parser.add_argument('--seed', type=int, default=1)
            args = parser.parse_args()
            torch.manual_seed(args.seed)
            train, val = get_data(512, 0), get_data(128, 1)
            model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
            opt = {'sgd': torch.optim.SGD, 'adam': torch.optim.Adam}[args.optimizer](model.parameters(), lr=args.lr)
            sched = torch.optim.lr_scheduler.StepLR(opt, step_size=1, gamma=args.gamma)
            for epoch in range(1, args.epochs + 1):
                model.train()
                for batch_idx, (x, y) in enumerate(DataLoader(train, batch_size=args.batch_size)):
                    opt.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    opt.step()
                    if batch_idx % 4 == 0:
                        print('Train Epoch: {} [{}/{} ({:.0f}%)]\\tLoss: {:.6f}'.format(
                            epoch, batch_idx * len(x), len(train), 100. * batch_idx / 8, loss.item()))
                test(model, DataLoader(val, batch_size=100))
                sched.step()

        if __name__ == '__main__':
            main()
        """,
        "Test_Average_loss:min",
        "lr",
    ),
    "lightning": (
        """
        import lightning as L
        import torch
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset

        class Net(L.LightningModule):
            def __init__(self, hidden=32, lr=1e-2):
                super().__init__()
                self.save_hyperparameters()
                self.net = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 1))

            def training_step(self, batch, _):
                x, y = batch
                loss = nn.functional.mse_loss(self.net(x), y)
                self.log("train_loss", loss)
                return loss

            def validation_step(self, batch, _):
                x, y = batch
                self.log("val_loss", nn.functional.mse_loss(self.net(x), y), prog_bar=True)

            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)

        if __name__ == "__main__":
            L.seed_everything(0)
            x = torch.randn(256, 4)
            data = TensorDataset(x, x.sum(1, keepdim=True))
            trainer = L.Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, log_every_n_steps=1)
            trainer.fit(Net(), DataLoader(data, 32), DataLoader(data, 64))
        """,
        "val_loss:min",
        "lr",
    ),
    "transformers": (
        """
        import torch
        from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

        class Data(torch.utils.data.Dataset):
            def __init__(self, n, seed):
                g = torch.Generator().manual_seed(seed)
                self.ids = torch.randint(5, 50, (n, 8), generator=g)
                self.labels = (self.ids[:, 0] > 25).long()

            def __len__(self):
                return len(self.ids)

            def __getitem__(self, i):
                return {"input_ids": self.ids[i], "attention_mask": torch.ones(8, dtype=torch.long), "labels": self.labels[i]}

        config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
        model = BertForSequenceClassification(config)
        args = TrainingArguments(
            output_dir="out",
            learning_rate=5e-4,
            per_device_train_batch_size=16,
            num_train_epochs=2,
            weight_decay=0.01,
            eval_strategy="epoch",
            save_strategy="epoch",
            report_to="none",
            use_cpu=True,
        )
        trainer = Trainer(model=model, args=args, train_dataset=Data(128, 0), eval_dataset=Data(64, 1))
        trainer.train()
        trainer.evaluate()
        """,
        "eval_loss:min",
        "learning_rate",
    ),
    "keras": (
        """
        import keras
        import numpy as np
        from keras import layers

        x = np.random.RandomState(0).rand(300, 4)
        y = x @ np.array([1.0, -2.0, 3.0, 0.5])

        model = keras.Sequential()
        model.add(layers.Input(shape=(4,)))
        model.add(layers.Dense(8, activation="relu"))
        model.add(layers.Dense(1))
        opt = keras.optimizers.SGD(learning_rate=0.05, momentum=0.9)
        model.compile(loss="mse", optimizer=opt, metrics=["mae"])
        history = model.fit(x, y, epochs=3, batch_size=16, validation_split=0.2)
        """,
        "val_loss:min",
        "learning_rate",
    ),
    "tensorboard": (
        """
        from torch.utils.tensorboard import SummaryWriter

        hparams = dict(lr=0.01, reg=1e-4)
        with SummaryWriter() as writer:
            for step in range(5):
                writer.add_scalar("Loss/train", 1 / (step + 1), step)
                writer.add_scalar("Loss/valid", abs(hparams["lr"] - 0.1) + hparams["reg"] + 1 / (step + 1), step)
        """,
        "Loss/valid:min",
        "lr",
    ),
}
CONFIG = """
    defaults:
      - optimizer: adam
      - _self_

    epochs: 3
    name: run_${optimizer.lr}
    """
ADAM = """
    lr: 0.1   # the rate
    weight_decay: 0.01
    """


@pytest.mark.timeout(600)
@pytest.mark.parametrize("library", SCRIPTS)
def test_the_printed_command_ranks_it(ranked_as_printed, script, monkeypatch, library):
    for name, value in {**QUIET, "MLFLOW_ALLOW_FILE_STORE": "true", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    text, metric, name = SCRIPTS[library]
    script("train.py", text)
    script("conf/config.yaml", CONFIG)
    script("conf/optimizer/adam.yaml", ADAM)
    ranked_as_printed("train.py", metric, name)


# --- files of the real libraries ----------------------------------------------------------------------------------------

FILES = {
    "CSV of Lightning": (
        """
        from lightning.pytorch.loggers import CSVLogger

        logger = CSVLogger(".", name="logs")
        for step, value in enumerate((0.5, 0.25)):
            logger.log_metrics({"val_loss": value}, step)
            logger.log_metrics({"train_loss": value}, step)
        logger.save()
        """,
        [(0, 0.5), (1, 0.25)],
    ),
    "MLflow in files": (
        """
        import mlflow

        mlflow.set_tracking_uri("file:./mlruns")
        with mlflow.start_run():
            for step in range(3):
                mlflow.log_metric("val_loss", 1 / (step + 1), step=step)
        """,
        [(0, 1.0), (1, 0.5), (2, 1 / 3)],
    ),
    "MLflow in SQLite": (
        """
        import mlflow

        mlflow.set_tracking_uri("sqlite:///mlflow.db")
        with mlflow.start_run():
            for step in range(3):
                mlflow.log_metric("val_loss", 1 / (step + 1), step=step)
        """,
        [(0, 1.0), (1, 0.5), (2, 1 / 3)],
    ),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("form", FILES)
def test_a_file_of_the_library_is_read(tmp_path, script, workdir, monkeypatch, form):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    text, rows = FILES[form]
    workspace = tmp_path / "run" / "workspace"
    workspace.mkdir(parents=True)
    path = script("log.py", text)
    subprocess.run([active_interpreter() or sys.executable, path], cwd=workspace, check=True, capture_output=True)
    run = Run("p", 1, 1, str(workdir), {}, {}, [], {}, str(tmp_path / "run"))
    reader = studio_open_metric(Metric("val_loss"), run)
    assert [(report.step, report.value) for report in [*reader.read(), *reader.close()]] == rows
