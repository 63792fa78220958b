"""Make a project of any size without running anything: for pictures, browser tests and `benchmarks/ui.py`.

    STUDIO_HOME=/tmp/home python benchmarks/synthetic_project.py mnist-mlp 1000 --running 4 --live 20

It uses the store, so readers see no difference to a driver's project. With `--running` the process keeps running and holds
the project's lock as a driver does, and with `--live` it ends and starts that many experiments a second.
SIGTERM ends it.
"""

import argparse
import json
import math
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from studio.experiment import Outcome
from studio.project.paths import FIRST_SNAPSHOT, attempt_folder, project_folder
from studio.project.store import Store
from studio.system.files import make_folder

EPOCHS = 20
BEFORE = 3600.0  # seconds ago that the search began
SLOTS = 4
RANGES = {
    "lr": "1e-5:0.1:l",
    "dropout": "0:0.6",
    "layers": "1:8:i",
    "width": "16:1024:il",
    "opt": ["adam", "lion", "sgd"],
}
HOSTILE = {
    "<img src=x onerror=alert(1)>": "0:1",
    "a very long name of a hyperparameter that somebody generated from a path/in/a/config.yaml": "1:9:i",
    '"; DROP TABLE events; --': ["</script><script>alert(1)</script>", "‮evil", "emoji 🧨 and \x1b[31mred", "x" * 200],
}
SCRIPT = """import sys

lr = 0.01
dropout = 0.5
layers = 2
width = 64
opt = "sgd"
model = dict(layers=layers, width=width, dropout=dropout)
for epoch in range(20):
    print("epoch", epoch, lr, opt, model)
"""
REASONS = ("exit code 1: torch.cuda.OutOfMemoryError: CUDA out of memory", "exit code 1: ValueError: loss is NaN")


class Filler:
    """Writes experiments into a new project. The first `curves` of them get event files and a log."""

    def __init__(self, name: str, *, hostile: bool = False, failed: float = 0.05, pruned: float = 0.1, curves: int = 60,
                 size: int | None = None, cost: float = 0.0):  # fmt: skip
        self.random = random.Random(name)
        self.folder = project_folder(name)
        make_folder(self.folder)
        snapshot = self.folder / FIRST_SNAPSHOT
        snapshot.mkdir(exist_ok=True)
        (snapshot / "train.py").write_text(SCRIPT)
        self.ranges: dict[str, Any] = {**RANGES, **HOSTILE} if hostile else RANGES
        self.failed, self.pruned, self.curves, self.cost = failed, pruned, curves, cost
        settings = {
            "script": "train.py", "arguments": [], "ranges": self.ranges, "optimizer": "cma", "metric": "val_loss:min",
            "num_workers": SLOTS, "max_experiments": size, "seed": 7, "backend": "ec2" if cost else "local",
        }  # fmt: skip
        self.store = Store.create(self.folder, settings)
        self.store.set_meta("seed", 7)
        self.store.begin_session(SLOTS, size, begun=time.time() - BEFORE)
        self.number = 0
        self.spent = 0.0  # dollars

    def values(self) -> dict[str, Any]:
        draw = self.random
        found: dict[str, Any] = {
            "lr": 10 ** draw.gauss(-3.1, 0.8), "dropout": min(0.6, abs(draw.gauss(0.2, 0.1))), "layers": draw.randint(1, 8),
            "width": round(2 ** draw.uniform(4, 10)), "opt": draw.choice(["adam", "adam", "lion", "sgd"]),
        }  # fmt: skip
        for name, given in self.ranges.items():
            if name not in found:
                found[name] = draw.choice(given) if isinstance(given, list) else draw.randint(1, 9)
        return found

    def loss(self, values: dict[str, Any]) -> float:
        away = abs(math.log10(values["lr"]) + 3.1) * 0.11 + abs(values["dropout"] - 0.2) * 0.3
        return 0.255 + away + {"adam": 0.0, "lion": 0.02, "sgd": 0.09}[values["opt"]] + abs(self.random.gauss(0, 0.02))

    def start(self, when: float) -> tuple[int, dict[str, Any]]:
        self.number += 1
        values = self.values()
        self.store.ask(self.number, values, [0.5])
        self.store.attempt_started(self.number, 1, FIRST_SNAPSHOT, (self.number - 1) % SLOTS)
        self.store._write("UPDATE attempts SET started = ? WHERE number = ?", (when, self.number))
        return self.number, values

    def end(self, number: int, values: dict[str, Any], started: float, finished: float) -> None:
        loss, draw = self.loss(values), self.random.random()
        failed = draw < self.failed or (self.failed and values["width"] > 980)
        pruned = not failed and draw > 1 - self.pruned
        loss += 0.15 if pruned else 0
        status = "failed" if failed else "pruned" if pruned else "completed"
        reason = REASONS[values["width"] < 700] if failed else ""
        if number <= self.curves:
            self.write_files(number, loss, EPOCHS // 3 if pruned else EPOCHS, reason)
        outcome = Outcome(
            number,
            1,
            1 if failed else 0,
            None,
            reason,
            started,
            finished,
            finished - started,
            failure="crash" if failed else "",
            cost=self.cost or None,
        )
        self.store.tell(number, -loss if status == "completed" else None, duration=finished - started)
        reported = None if reason == REASONS[0] else 0.1 if failed else loss  # some look good until they fail
        self.store.attempt_ended(outcome, status, reported)  # type: ignore[arg-type]

    def write_files(self, number: int, loss: float, epochs: int, reason: str = "") -> None:
        folder = attempt_folder(self.folder, number, 1)
        (folder / "tb").mkdir(parents=True, exist_ok=True)
        lines = []
        with SummaryWriter(str(folder / "tb")) as writer:
            for epoch in range(1, epochs + 1):
                value = loss + 0.6 * math.exp(-epoch / 4) - 0.6 * math.exp(-epochs / 4)
                writer.add_scalar("val_loss", value, epoch)
                lines.append(f"epoch {epoch:2}  \x1b[32mval_loss\x1b[0m {value:.4f} <b>not bold</b>")
        (folder / "output.log").write_text("\n".join([*lines, reason or "saved model.npz (1.2 MB)"]) + "\n")
        (folder / "hyperparameters.json").write_text(json.dumps({}))
        if self.cost:
            (folder / "machine.json").write_text(json.dumps({"dollars": self.cost}))
            self.spent += self.cost
            (self.store.folder / "cost.json").write_text(json.dumps({"dollars": self.spent}))

    def fill(self, count: int) -> None:
        step = BEFORE / max(1, count)
        with self.store.transaction():
            for at in range(count):
                started = time.time() - BEFORE + step * at
                number, values = self.start(started)
                self.end(
                    number, values, started, min(time.time(), started + step * SLOTS * self.random.uniform(0.6, 0.98))
                )

    def end_search(self) -> None:
        self.store.end_session("done", time.time())
        self.store.close()
        Path(self.folder, "requests").mkdir(exist_ok=True)

    def begin(self, running: int) -> list[tuple[int, dict[str, Any], float]]:
        """Start experiments that have reported something."""
        going = [(*self.start(time.time() - at * 7), time.time() - at * 7) for at in range(running)]
        for at, (number, values, _) in enumerate(going):
            self.write_files(number, self.loss(values), 4 + 4 * at % EPOCHS)
            self.store.attempt_metric(number, 1, self.loss(values))
        return going

    def live(self, running: int, rate: float) -> None:
        """End and start experiments, `rate` a second, until SIGTERM."""
        going = self.begin(running)
        print("running", flush=True)
        while True:
            time.sleep(1 / rate if rate else 3600)
            number, values, started = going.pop(0)
            with self.store.transaction():
                self.end(number, values, started, time.time())
                going.append((*self.start(time.time()), time.time()))


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("count", type=int)
    parser.add_argument("--failed", type=float, default=0.05)
    parser.add_argument("--pruned", type=float, default=0.1)
    parser.add_argument("--curves", type=int, default=60)
    parser.add_argument("--size", type=int)
    parser.add_argument("--running", type=int, default=0)
    parser.add_argument("--live", type=float, default=0.0)
    parser.add_argument("--cost", type=float, default=0.0, help="dollars an experiment, as on a cloud")
    parser.add_argument("--hostile", action="store_true")
    return parser.parse_args(words)


def filled(given: argparse.Namespace) -> Filler:
    """Return the filler of a project with the experiments that have ended."""
    filler = Filler(
        given.name, hostile=given.hostile, failed=given.failed, pruned=given.pruned, curves=given.curves,
        cost=given.cost, size=given.size or given.count + (28 if given.running else 0),
    )  # fmt: skip
    filler.fill(given.count)
    return filler


def main() -> None:
    given = parse()
    filler = filled(given)
    if given.running:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        filler.live(given.running, given.live)
    filler.end_search()


if __name__ == "__main__":
    main()
