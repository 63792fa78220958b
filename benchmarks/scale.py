"""Throughput of a large search: the driver with simulated workers, compared with bare SQLite commits in the same run.

    python benchmarks/scale.py --experiments 10000 100000 --workers 10 1000

For each size: experiments a second from ask to recorded outcome, and the ratio to as many commits of the same rows to a
bare database; the driver's memory and the size of the database for each experiment; seconds of `studio runs list` and of
the project's summary, which the dashboard asks for.
"""

import argparse
import itertools
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = "x = 0.5\nprint('fitness:', x)\n"
SEARCH = """
import json, resource, sys, time
import studio
from benchmarks.scale import plugin
workers, experiments = map(int, sys.argv[1:])
begun = time.perf_counter()
studio.run("train.py", hyperparams={"x": "0:1"}, optimizer="random", seed=1, max_experiments=experiments, project="p",
           num_workers=workers, backend="pretend", host=studio.create_host(plugins=[plugin()]))
seconds = time.perf_counter() - begun
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, memory * (1 if sys.platform == "darwin" else 1024)]))
"""


def plugin() -> object:
    """Return a plugin with the backend `pretend`, whose runs end when they are polled, a tenth of them at a time."""
    from studio.experiment import Outcome, Report, Run
    from studio.testing.fakes import FakeBackend, events_of

    class Pretend(FakeBackend):
        name = "pretend"

        def start(self, run: Run) -> None:
            self._running[run.number] = run

        def poll(self, timeout: float) -> list[Report | Outcome]:
            ended = list(itertools.islice(self._running.values(), max(1, self.context.slots // 10)))
            for run in ended:
                del self._running[run.number]
            return [event for run in ended for event in events_of(run, run.values["x"])]

        def close(self) -> None:
            self._running.clear()

    return Pretend.plugin()


def bare_commits(folder: Path, experiments: int) -> float:
    """Return the seconds of two durable commits for each experiment, of a row of 200 bytes each, into a bare database."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, line TEXT)")
    begun = time.perf_counter()
    for _ in range(2 * experiments):
        connection.execute("INSERT INTO events (line) VALUES (?)", ("x" * 200,))
    seconds = time.perf_counter() - begun
    connection.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 1000])
    args = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for experiments in args.experiments:
        with tempfile.TemporaryDirectory() as folder:
            floor = bare_commits(Path(folder), min(experiments, 10_000)) * max(1.0, experiments / 10_000)
        for workers in args.workers:
            with tempfile.TemporaryDirectory() as folder:
                home = Path(folder) / "home"
                environment["STUDIO_HOME"] = str(home)
                work = Path(folder) / "work"
                work.mkdir()
                (work / "train.py").write_text(SCRIPT)

                def timed(*command: str, cwd: Path = work) -> tuple[float, str]:
                    begun = time.perf_counter()
                    done = subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, text=True)
                    return time.perf_counter() - begun, done.stdout

                _, said = timed(sys.executable, "-c", SEARCH, str(workers), str(experiments))
                seconds, memory = (float(text) for text in said.strip().splitlines()[-1].strip("[]").split(","))
                size = sum(file.stat().st_size for file in (home / "projects" / "p").glob("studio.db*"))
                studio = str(Path(sys.executable).with_name("studio"))
                listed, _ = timed(studio, "runs", "list", "p", "--json")
                summary, _ = timed(studio, "runs", "list")
                print(
                    f"{experiments} experiments, {workers} workers: {experiments / seconds:.0f} a second, "
                    f"{seconds / floor:.1f} x bare commits; driver {memory / 1e6:.0f} MB; "
                    f"database {size / experiments:.0f} bytes each; all experiments as JSON in {listed:.1f} s; "
                    f"list of projects in {summary:.2f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
