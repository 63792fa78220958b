"""The comparison of optimizers, run small: `python -m benchmarks.quality`."""

import json
import sys

import numpy as np

from benchmarks.pruning import Result, Task, rules
from benchmarks.quality.__main__ import main, minima, tables


def test_a_comparison_writes_rows_and_tables_and_goes_on_where_it_was(tmp_path, monkeypatch):
    out = tmp_path / "rows.jsonl"
    words = [
        "quality",
        "--optimizers",
        "random",
        "tpe",
        "--problems",
        "memory6",
        "--budget",
        "50",
        "--outstanding",
        "4",
    ]
    for seeds in (1, 2):
        monkeypatch.setattr(sys, "argv", [*words, "--seeds", str(seeds), "--out", str(out)])
        main()
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [(row["optimizer"], row["seed"]) for row in rows] == [
            (name, seed) for seed in range(seeds) for name in ("random", "tpe")
        ]
    assert all(row["failures"]["50"] > 10 for row in rows if row["optimizer"] == "random")
    written = out.with_suffix(".md").read_text()
    assert "### 4 outstanding" in written
    assert "Problems memory6; seeds 0, 1." in written


def row(optimizer, seed, cost, **given):
    kept = {
        "problem": "live",
        "minimum": None,
        "typical": 2.0,
        "outstanding": 1,
        "budget": 50,
        "failures": {},
        "ms": 1.0,
    }
    return {"optimizer": optimizer, "seed": seed, "cost": {"50": cost}} | kept | given


def test_regret_is_from_the_best_of_all_and_differences_are_to_auto():
    rows = [row("auto", 0, 1.0), row("auto", 1, 1.1), row("peer", 0, 1.1), row("peer", 1, 1.0)]
    assert minima(rows) == {("live", 0): 1.0, ("live", 1): 1.0}
    assert minima([*rows, row("peer", 0, 0.5, minimum=0.25)])["live", 0] == 0.25
    (table,) = tables(rows)
    assert "| auto | 1.50 / -2.00 (1.00) |  |  |  | 1.0 |" in table
    assert "| peer | 0.00 (2.00) |  |  |" in table
    both = tables([*rows, row("slow", 0, 1.5)])
    assert len(both) == 2
    assert "slow" in both[1]


def test_a_search_whose_experiments_all_failed_is_as_far_as_a_random_point():
    (table,) = tables([row("auto", 0, None, minimum=1.0), row("auto", 1, 1.0)])
    assert "/ -1.50 " in table  # log10 of 1 and of 0.001


def test_rules_for_pruning_are_counted_alike():
    ends = np.linspace(50, 90, 50)
    curves = ends[:, None] * np.linspace(0.5, 1, 20)
    task = Task(curves, curves)
    results = {name: Result() for name in rules()}
    for name, rule in rules().items():
        results[name].add(task, *rule(task))
    assert (results["none"].used, results["none"].lost, results["none"].kept) == ([100.0], [0.0], [True])
    assert all(0 < result.used[0] <= 100 for result in results.values())
    assert results["safe"].kept == [True]  # each run is better than those before it
