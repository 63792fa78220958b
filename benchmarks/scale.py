"""Throughput of a large search: the driver with simulated workers, compared with bare SQLite commits in the same run.

    python benchmarks/scale.py --experiments 10000 100000 --workers 10 1000

For each size: experiments a second from ask to recorded outcome, the ratio to as many commits of the same rows to a bare
database, and milliseconds of a CPU for each; the driver's memory and the size of the database for each experiment; seconds
of a CPU, which other programs on the machine do not change much, of `studio runs list` and of the dashboard: its first page
of the project, the next one, and the best hundred experiments. Then, for each number of results that an optimizer knows,
the milliseconds of its next ask.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEADER = (
    "experiments",
    "workers",
    "a second",
    "of bare commits",
    "CPU each",
    "driver",
    "bytes each",
    "all as JSON",
    "`studio runs list`",
    "project's page, again",
    "100 rows",
    "dashboard",
)
COMMITTED = 1000  # experiments whose commits are the floor
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
print(json.dumps([seconds, time.process_time(), memory * (1 if sys.platform == "darwin" else 1024)]))
"""


DASHBOARD = """
import json, resource, sys, time, urllib.request
from studio.dashboard.server import Server
with Server() as server:
    took = []
    for path in ("/p/p", "/p/p", "/api/projects/p/experiments?sort=-fitness&limit=100"):
        asked = urllib.request.Request(server.address + path, headers={"Authorization": f"Bearer {server.token}"})
        begun = time.process_time()
        urllib.request.urlopen(asked, timeout=3600).read()
        took.append(time.process_time() - begun)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([*took, memory * (1 if sys.platform == "darwin" else 1024)]))
"""
ASK = """
import json, random, sys, time
import studio
name, known = sys.argv[1], int(sys.argv[2])
draw = random.Random(1)
told = [({"x": (x := draw.random()), "y": (y := draw.random())}, -(x - 0.3) ** 2 - (y - 0.6) ** 2) for _ in range(known)]
told = [] if name in ("random", "sobol") else told  # they learn nothing
search = studio.Search({"x": "0:1", "y": "0:1"}, optimizer=name, seed=1, learn_from=told)
asks = []
for _ in range(20):
    begun = time.perf_counter()
    suggestion = search.ask()
    asks.append(time.perf_counter() - begun)
    search.tell(suggestion, -suggestion.values["x"])
print(json.dumps([sorted(asks)[10], max(asks)]))
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


def bare_commits(folder: Path) -> float:
    """Return the seconds of the two durable commits of an experiment, of a row of 200 bytes each, into a bare database."""
    (folder / "bare").mkdir()
    connection = sqlite3.connect(folder / "bare" / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, line TEXT)")
    begun = time.perf_counter()
    for _ in range(2 * COMMITTED):
        connection.execute("INSERT INTO events (line) VALUES (?)", ("x" * 200,))
    seconds = time.perf_counter() - begun
    connection.close()
    shutil.rmtree(folder / "bare")
    return seconds / COMMITTED


def row(*cells: str) -> None:
    """Print a row of the tables of docs/scaling.md."""
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--optimizers", nargs="*", default=["random", "cma", "tpe", "gp"])
    parser.add_argument("--known", type=int, nargs="+", default=[100, 1000, 10_000])
    args = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    row(*HEADER)
    row(*("---" for _ in HEADER))
    for experiments in args.experiments:
        for workers in args.workers:
            with tempfile.TemporaryDirectory() as folder:
                home = Path(folder) / "home"
                environment["STUDIO_HOME"] = str(home)
                work = Path(folder) / "work"
                work.mkdir()
                (work / "train.py").write_text(SCRIPT)

                def told(*command: str, cwd: Path = work) -> list[float]:
                    python = [sys.executable, "-c", *command]
                    done = subprocess.run(python, cwd=cwd, env=environment, check=True, capture_output=True, text=True)
                    return list(json.loads(done.stdout.strip().splitlines()[-1]))

                def cpu_of(*command: str, cwd: Path = work) -> float:
                    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
                    subprocess.run(command, cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)
                    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
                    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime

                floor = bare_commits(work)  # before and after, since other programs use the disk, too
                seconds, cpu, memory = told(SEARCH, str(workers), str(experiments))
                floor = experiments * (floor + bare_commits(work)) / 2
                print(f"{experiments:,} experiments: {seconds:.0f} s, {cpu:.0f} s of CPU", file=sys.stderr, flush=True)
                size = sum(file.stat().st_size for file in (home / "projects" / "p").glob("studio.db*"))
                studio = str(Path(sys.executable).with_name("studio"))
                listed = cpu_of(studio, "runs", "list", "p", "--json")
                summary = cpu_of(studio, "runs", "list")
                first, again, page, served = told(DASHBOARD)
                row(
                    f"{experiments:,}",
                    f"{workers:,}",
                    f"{experiments / seconds:.0f}",
                    f"{floor / seconds:.2f}",
                    f"{1000 * cpu / experiments:.2f} ms",
                    f"{memory / 1e6:.0f} MB",
                    f"{size / experiments:.0f}",
                    f"{listed:.1f} s",
                    f"{summary:.1f} s",
                    f"{first:.1f} s, {again:.2f} s",
                    f"{page:.2f} s",
                    f"{served / 1e6:.0f} MB",
                )
    if not args.optimizers:
        return
    row("optimizer", *(f"{known:,} results" for known in args.known))
    row(*("---" for _ in [*args.known, 0]))
    for name in args.optimizers:
        cells = []
        for known in args.known:
            done = subprocess.run(
                [sys.executable, "-c", ASK, name, str(known)],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            usual, longest = json.loads(done.stdout)
            cells.append(f"{1000 * usual:.1f} ms, {1000 * longest:.0f} ms")
        row(f"`{name}`", *cells)


if __name__ == "__main__":
    main()
