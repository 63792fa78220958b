"""Scripts on the real libraries, searched by exactly the command that `studio inspect` prints."""

import pytest

# name -> the text of the script, and what its command has to name
SCRIPTS = {
    "tyro": (
        """
        from dataclasses import dataclass, field

        import tyro

        @dataclass
        class Optim:
            learning_rate: float = 0.1
            nesterov: bool = False

        @dataclass
        class Args:
            optim: Optim = field(default_factory=Optim)
            epochs: int = 3

        args = tyro.cli(Args)
        for epoch in range(args.epochs):
            loss = (args.optim.learning_rate - 0.03) ** 2 + args.optim.nesterov / 10
            print(f"epoch {epoch}: train_loss={loss * 2:.6f} val_loss={loss:.6f}")
        """,
        "val_loss:min",
        "learning_rate",
    ),
    "click": (
        """
        import click

        @click.command()
        @click.option("--learning-rate", "-l", default=0.1, show_default=True)
        @click.option("--shuffle/--no-shuffle", default=True)
        @click.argument("epochs", default=3)
        def main(learning_rate, shuffle, epochs):
            for epoch in range(epochs):
                click.echo(f"Epoch {epoch + 1}/{epochs} - accuracy: {1 - abs(learning_rate - 0.03):.4f}")

        if __name__ == "__main__":
            main()
        """,
        "accuracy:max",
        "learning_rate",
    ),
    "typer": (
        """
        import typer

        app = typer.Typer()

        @app.command()
        def train(epochs: int = 3, dropout: float = typer.Option(0.1, "--dropout", "-d"), fast: bool = False):
            for epoch in range(epochs):
                typer.echo(f"[{epoch}] valid acc: {100 - 100 * abs(dropout - 0.3):.2f}%")

        if __name__ == "__main__":
            app()
        """,
        "valid_acc:max",
        "dropout",
    ),
    "fire": (
        """
        import fire

        def train(lr=0.1, momentum=0.9, epochs=3):
            for epoch in range(epochs):
                print("test error", abs(lr - 0.03) + abs(momentum - 0.5))

        if __name__ == "__main__":
            fire.Fire(train)
        """,
        "test_error:min",
        "lr",
    ),
    "absl": (
        """
        from absl import app, flags, logging

        FLAGS = flags.FLAGS
        flags.DEFINE_float("learning_rate", 0.1, "Learning rate.")
        flags.DEFINE_enum("optimizer", "adam", ["adam", "sgd"], "Optimizer.")

        def main(argv):
            logging.info("eval_loss = %.4f", abs(FLAGS.learning_rate - 0.03) + (FLAGS.optimizer == "sgd"))

        if __name__ == "__main__":
            logging.set_verbosity(logging.INFO)
            app.run(main)
        """,
        "eval_loss:min",
        "optimizer",
    ),
    "xgboost": (
        """
        import numpy as np
        import xgboost as xgb

        rng = np.random.default_rng(0)
        X = rng.random((200, 5))
        y = (X.sum(axis=1) + rng.random(200) > 3).astype(int)
        dtrain, dval = xgb.DMatrix(X[:150], y[:150]), xgb.DMatrix(X[150:], y[150:])
        params = {"max_depth": 3, "eta": 0.3, "objective": "binary:logistic", "eval_metric": "logloss", "nthread": 1}
        bst = xgb.train(params, dtrain, num_boost_round=10, evals=[(dtrain, "train"), (dval, "eval")])
        """,
        "eval-logloss:min",
        "eta",
    ),
    "lightgbm": (
        """
        import lightgbm as lgb
        import numpy as np

        rng = np.random.default_rng(0)
        X = rng.random((200, 5))
        y = X.sum(axis=1) + rng.random(200)
        train = lgb.Dataset(X[:150], y[:150])
        params = {"objective": "regression", "metric": "l2", "num_leaves": 7, "learning_rate": 0.1, "verbose": -1, "num_threads": 1}
        lgb.train(params, train, 10, valid_sets=[lgb.Dataset(X[150:], y[150:], reference=train)], callbacks=[lgb.log_evaluation(2)])
        """,
        "valid_0's l2:min",
        "num_leaves",
    ),
    "wandb": (
        """
        import wandb

        run = wandb.init(project="x", config={"lr": 0.1, "hidden": 32}, mode="offline")
        for step in range(5):
            run.log({"val/loss": abs(run.config.lr - 0.03) + 1 / (step + 1)})
        run.finish()
        """,
        "val/loss:min",
        "lr",
    ),
    "scikit-learn": (
        """
        from sklearn.datasets import load_iris
        from sklearn.metrics import classification_report
        from sklearn.model_selection import train_test_split
        from sklearn.svm import SVC

        X, y = load_iris(return_X_y=True)
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
        clf = SVC(C=1.0, kernel="rbf").fit(X_train, y_train)
        print(classification_report(y_test, clf.predict(X_test)))
        """,
        "accuracy:max",
        "kernel",
    ),
}


HEAVY = ("xgboost", "lightgbm", "wandb", "scikit-learn")  # seconds of imports, in each of two runs


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "library", [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in SCRIPTS]
)
def test_the_printed_command_ranks_it(ranked_as_printed, script, library):
    text, metric, name = SCRIPTS[library]
    script("train.py", text)
    ranked_as_printed("train.py", metric, name)
