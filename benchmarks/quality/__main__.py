"""Compare the results of Studio's optimizers and installed peers.

    make bench-quality                                                  # all of it, some hours; writes benchmarks/results
    python -m benchmarks.quality --optimizers auto optuna-tpe --seeds 3 --problems network6 --outstanding 4

Regret is (best cost - minimum) / (median cost of random points - minimum), at least 1e-4. Finished runs
are not repeated: results are lines of benchmarks/results/quality.jsonl, with tables beside them.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

from benchmarks.quality.peers import PEERS  # noqa: E402
from benchmarks.quality.problems import PROBLEMS, Problem, problem  # noqa: E402
from studio.space import Floats  # noqa: E402

RESULTS = Path(__file__).parent.parent / "results"
OURS = ["auto", "gp", "tpe", "cma", "sobol", "random"]
POINTS = (50, 100, 200)
FLOOR = 1e-4


def run(optimizer: str, task: Problem, seed: int, budget: int, outstanding: int) -> dict[str, Any]:
    """Run one search with `outstanding` pending suggestions, told in random order; return the best cost after each count."""
    peer = PEERS.get(optimizer, PEERS["studio"])(task.space, seed, budget, optimizer)
    order, out, best, failed, spent = np.random.default_rng(seed), [], np.inf, 0, 0.0
    curve, failures, asked = {}, {}, 0
    for told in range(1, budget + 1):
        started = time.perf_counter()
        while len(out) < outstanding and asked < budget:
            out.append(peer.ask())
            asked += 1
        spent += time.perf_counter() - started
        token, values = out.pop(order.integers(len(out)))
        cost = task.cost(values)
        best, failed = (best, failed + 1) if cost is None else (min(best, cost), failed)
        started = time.perf_counter()
        peer.tell(token, cost)
        spent += time.perf_counter() - started
        if told in POINTS or told == budget:
            curve[told] = max((best - task.minimum) / task.scale, FLOOR) if np.isfinite(best) else 1.0
            failures[told] = failed / told
    return {"regret": curve, "failures": failures, "ms": 1e3 * spent / budget}


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("optimizer", "problem", "seed", "budget", "outstanding"))


def rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from map(json.loads, file.read_text().splitlines())


def table(found: list[dict[str, Any]], outstanding: int) -> str:
    """Return Markdown: mean rank, mean log10 regret and its standard error, over problems and seeds that all optimizers finished."""
    found = [row for row in found if row["outstanding"] == outstanding]
    names = sorted({row["optimizer"] for row in found})
    logs: dict[tuple[str, int], dict[tuple[str, int], float]] = {}
    for row in found:
        for point, regret in row["regret"].items():
            logs.setdefault((row["optimizer"], int(point)), {})[row["problem"], row["seed"]] = float(np.log10(regret))
    columns, common = [], set()
    for point in POINTS:
        runs = set.intersection(*(set(logs.get((name, point), {})) for name in names))
        common |= runs
        values = np.array([[logs[name, point][run] for run in sorted(runs)] for name in names])
        columns.append(rank_and_regret(values) if len(runs) > 1 else [""] * len(names))
    lines = [
        f"### {outstanding} outstanding",
        "",
        "| optimizer | " + " | ".join(map(str, POINTS)) + " | failures in 100 | ms |",
    ]
    lines.append("|---|" + "---|" * (len(POINTS) + 2))
    for name, *cells in zip(names, *columns, strict=True):
        own = [row for row in found if row["optimizer"] == name]
        limited = [row["failures"].get("100", 0) for row in own if row["problem"].startswith("memory")]
        share = f"{100 * np.mean(limited):.1f} %" if limited else ""
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {share} | {np.median([row['ms'] for row in own]):.1f} |")
    seeds = sorted({seed for _, seed in common})
    tasks = sorted({task for task, _ in common})
    return "\n".join([*lines, "", f"Problems {', '.join(tasks)}; seeds {', '.join(map(str, seeds))}.", ""])


def rank_and_regret(values: Floats) -> list[str]:
    """Return a cell for each optimizer, from log10 regrets of shape (optimizers, runs)."""
    from scipy.stats import rankdata

    ranks = rankdata(values.round(9), axis=0).mean(1)
    errors = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    return [
        f"{rank:.2f} / {mean:.2f} ({error:.2f})"
        for rank, mean, error in zip(ranks, values.mean(1), errors, strict=True)
    ]


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
    done = {key(row) for row in rows(args.out)}
    with args.out.open("a") as out:
        for seed in range(args.seeds):
            for outstanding in args.outstanding:
                for name in args.problems:
                    for optimizer in args.optimizers:
                        row = {"optimizer": optimizer, "problem": name, "seed": seed, "budget": args.budget}
                        row["outstanding"] = outstanding
                        if key(row) in done:
                            continue
                        try:
                            row |= run(optimizer, problem(name, seed), seed, args.budget, outstanding)
                        except ImportError as error:
                            print(f"{optimizer} is left out: {error}")
                            done |= {
                                key({**row, "problem": other, "seed": s})
                                for other in PROBLEMS
                                for s in range(args.seeds)
                            }
                            continue
                        out.write(json.dumps(row) + "\n")
                        out.flush()
    found = list(rows(args.out))
    head = f"Mean rank / mean log10 regret (standard error), {date.today()}, {platform.machine()}, numpy {np.__version__}.\n"
    tables = [table(found, outstanding) for outstanding in sorted({row["outstanding"] for row in found})]
    args.out.with_suffix(".md").write_text("\n".join(["# Quality of the answers", "", head, *tables]))
    print("\n".join(tables))


if __name__ == "__main__":
    main()
