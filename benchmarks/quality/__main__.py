"""Compare the results of Studio's optimizers and installed peers.

    make bench-quality                                                  # all of it, some hours; writes benchmarks/results
    python -m benchmarks.quality --optimizers auto optuna-tpe --seeds 3 --problems network6 --outstanding 4

Regret is (best cost - minimum) / (median cost of random points - minimum), at least 0.0001. Where nobody knows the minimum, it is the
least cost in the file for that problem and seed, and a regret is at least 0.001. Finished runs are not repeated: results are
lines of benchmarks/results/quality.jsonl, with tables beside them.
"""

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.quality.peers import PEERS
from benchmarks.quality.problems import PROBLEMS, typical
from studio.space import Floats

RESULTS = Path(__file__).parent.parent / "results"
OURS = ["auto", "gp", "tpe", "cma", "sobol", "random"]
POINTS = (50, 100, 200)
FLOOR, LIVE_FLOOR = 1e-4, 1e-3  # least regrets, with a known minimum and with one that was only seen


def run(optimizer: str, name: str, seed: int, budget: int, outstanding: int) -> dict[str, Any]:
    """Run one search with `outstanding` pending suggestions, told in random order; return the best cost after each count.
    Of a noisy problem, that is the true cost of what was seen as the best.
    """
    task = PROBLEMS[name](seed)
    peer = PEERS.get(optimizer, PEERS["studio"])(task.space, seed, budget, optimizer)
    order, out, best, failed, spent = np.random.default_rng(seed), [], np.inf, 0, 0.0
    curve: dict[int, float | None] = {}
    failures, asked, leader = {}, 0, {}
    for told in range(1, budget + 1):
        started = time.process_time()
        while len(out) < outstanding and asked < budget:
            out.append(peer.ask())
            asked += 1
        spent += time.process_time() - started
        token, values = out.pop(order.integers(len(out)))
        cost = task.cost(values)
        if cost is None:
            failed += 1
        elif cost < best:
            best, leader = cost, values
        started = time.process_time()
        peer.tell(token, cost)
        spent += time.process_time() - started
        if told in POINTS or told == budget:
            curve[told] = None if not leader else task.truth(leader) if task.truth else best
            failures[told] = failed
    known = {"minimum": task.minimum, "typical": typical(name, seed)}
    return {"cost": curve, "failures": failures, "ms": round(1e3 * spent / budget, 2), **known}


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("optimizer", "problem", "seed", "budget", "outstanding"))


def rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from map(json.loads, file.read_text().splitlines())


def minima(found: list[dict[str, Any]]) -> dict[tuple[str, int], float]:
    """Return the minimum of each problem and seed: the known one, or the least cost of all rows."""
    least: dict[tuple[str, int], float] = {}
    for row in found:
        costs = [row["minimum"]] if row["minimum"] is not None else [c for c in row["cost"].values() if c is not None]
        run = row["problem"], row["seed"]
        least[run] = min([least.get(run, np.inf), *costs])
    return least


def tables(found: list[dict[str, Any]]) -> list[str]:
    """Return for each number of pending suggestions a table of the optimizers with the most runs, and one of all on the runs that
    all of them finished.
    """
    least, made = minima(found), []
    for outstanding in sorted({row["outstanding"] for row in found}):
        rows_now = [row for row in found if row["outstanding"] == outstanding]
        counts = Counter(row["optimizer"] for row in rows_now)
        most = {name for name in counts if counts[name] == max(counts.values())}
        made.append(table([row for row in rows_now if row["optimizer"] in most], least, outstanding))
        if len(most) < len(counts):
            made.append(table(rows_now, least, outstanding))
    return made


def table(found: list[dict[str, Any]], least: dict[tuple[str, int], float], outstanding: int) -> str:
    """Return Markdown: mean rank, mean log10 regret and its standard error, and its difference to the first optimizer, over the
    problems and seeds that all finished.
    """
    names = sorted({row["optimizer"] for row in found}, key=lambda name: (name != "auto", name))
    logs: dict[tuple[str, int], dict[tuple[str, int], float]] = {}
    for row in found:
        minimum = least[row["problem"], row["seed"]]
        for point, cost in row["cost"].items():
            floor = LIVE_FLOOR if row["minimum"] is None else FLOOR
            regret = 1.0 if cost is None else max((cost - minimum) / (row["typical"] - minimum), floor)
            logs.setdefault((row["optimizer"], int(point)), {})[row["problem"], row["seed"]] = float(np.log10(regret))
    cells: dict[str, list[str]] = {name: [] for name in names}
    differences: dict[str, list[str]] = {name: [] for name in names}
    common = set()
    for point in POINTS:
        reached = [name for name in names if (name, point) in logs]
        runs = sorted(set.intersection(*(set(logs[name, point]) for name in reached))) if reached else []
        common |= set(runs)
        values = np.array([[logs[name, point][run] for run in runs] for name in reached])
        cell = dict(zip(reached, rank_and_regret(values), strict=True))
        for name in names:
            cells[name].append(cell.get(name, ""))
            row = values[reached.index(name)] - values[0] if name in reached else np.empty(0)
            differences[name].append(with_error(row))
    columns = " | ".join(map(str, POINTS))
    lines = [f"### {outstanding} outstanding", "", f"| optimizer | {columns} | failures in 100 | ms |"]
    lines.append("|---|" + "---|" * (len(POINTS) + 2))
    for name in names:
        own = [row for row in found if row["optimizer"] == name]
        limited = [row["failures"].get("100", 0) for row in own if row["problem"].startswith("memory")]
        share = f"{np.mean(limited):.1f}" if limited else ""
        lines.append(f"| {name} | {' | '.join(cells[name])} | {share} | {np.median([row['ms'] for row in own]):.1f} |")
    lines += ["", f"Log10 regret less that of {names[0]} (standard error of the difference):", ""]
    lines += [f"| optimizer | {columns} |", "|---|" + "---|" * len(POINTS)]
    lines += [f"| {name} | {' | '.join(differences[name])} |" for name in names[1:]]
    seeds = ", ".join(map(str, sorted({seed for _, seed in common})))
    tasks = ", ".join(sorted({task for task, _ in common}))
    return "\n".join([*lines, "", f"Problems {tasks}; seeds {seeds}.", ""])


def rank_and_regret(values: Floats) -> list[str]:
    """Return a cell for each optimizer, from log10 regrets of shape (optimizers, runs)."""
    from scipy.stats import rankdata

    if values.ndim < 2 or values.shape[1] < 2:
        return [""] * len(values)
    ranks = rankdata(values.round(9), axis=0).mean(1)
    return [f"{rank:.2f} / {with_error(row)}" for rank, row in zip(ranks, values, strict=True)]


def with_error(values: Floats) -> str:
    """Return mean and standard error of the values, shape (n,)."""
    return f"{values.mean():.2f} ({values.std(ddof=1) / np.sqrt(len(values)):.2f})" if len(values) > 1 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizers", nargs="*", default=[*OURS, *[name for name in PEERS if name != "studio"]])
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--outstanding", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--out", type=Path, default=RESULTS / "quality.jsonl")
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    done, missing = {key(row) for row in rows(args.out)}, set()
    with args.out.open("a") as out:
        for seed in range(args.seeds):
            for outstanding in args.outstanding:
                for name in args.problems:
                    for optimizer in args.optimizers:
                        row = {"optimizer": optimizer, "problem": name, "seed": seed, "budget": args.budget}
                        row["outstanding"] = outstanding
                        if key(row) in done or optimizer in missing:
                            continue
                        try:
                            with threadpool_limits(1):
                                row |= run(optimizer, name, seed, args.budget, outstanding)
                        except ImportError as error:
                            print(f"{optimizer} is left out: {error}")
                            missing.add(optimizer)
                            continue
                        out.write(json.dumps(row) + "\n")
                        out.flush()
    found = list(rows(args.out))
    head = f"Mean rank / mean log10 regret (standard error), {date.today()}, {platform.machine()}, numpy {np.__version__}.\n"
    made = "\n".join(tables(found))
    args.out.with_suffix(".md").write_text("\n".join(["# Quality of the answers", "", head, made]))
    print(made)


if __name__ == "__main__":
    main()
