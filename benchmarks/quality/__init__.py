"""Benchmark of the optimizers' results: `python -m benchmarks.quality`."""
