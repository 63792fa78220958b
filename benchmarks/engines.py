"""Short experiments on an engine, compared with the engine's own `map` over the same scripts.

    python benchmarks/engines.py --engine=dask --experiments=200 --workers=2

Prints experiments a second of each, and the ratio of their times: what Studio's record, copies and metric cost on top.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

SCRIPT = "x = 1\nprint('fitness:', x)\n"


def run_script(folder: str, x: int) -> int:
    """Run the script as a process with its output in a file, as `map` does for each experiment."""
    with tempfile.TemporaryFile() as log:
        return subprocess.run([sys.executable, "train.py", str(x)], cwd=folder, stdout=log, check=True).returncode


def map_seconds(engine: str, folder: str, experiments: int, workers: int) -> float:
    if engine == "dask":
        from distributed import Client, LocalCluster

        local = {"processes": False, "n_workers": 1, "threads_per_worker": workers, "dashboard_address": None}
        with LocalCluster(**local) as cluster, Client(cluster) as client:
            begin = time.perf_counter()
            client.gather(client.map(run_script, [folder] * experiments, range(experiments)))
            return time.perf_counter() - begin
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    task = ray.remote(run_script)
    begin = time.perf_counter()
    ray.get([task.remote(folder, x) for x in range(experiments)])
    seconds = time.perf_counter() - begin
    ray.shutdown()
    return seconds


def search_seconds(engine: str, folder: str, experiments: int, workers: int) -> float:
    """Return the seconds from the first start to the last outcome in the record, without starting a cluster."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["STUDIO_HOME"] = home
        os.chdir(folder)
        import studio

        project = studio.run(
            "train.py",
            hyperparams={"x": f"1:{experiments}"},
            project="bench",
            backend=engine,
            num_workers=workers,
        )
        done = project.experiments
        assert [one.status for one in done] == ["completed"] * experiments

        times = [datetime.fromisoformat(text) for one in done for text in (one.started, one.finished) if text]
        return (max(times) - min(times)).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["dask", "ray"], default="dask")
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train.py").write_text(SCRIPT)
        chosen = (options.engine, folder, options.experiments, options.workers)
        floor = map_seconds(*chosen)
        ours = search_seconds(*chosen)
    print(f"{options.engine} map: {options.experiments / floor:.1f} a second")
    print(f"studio on {options.engine}: {options.experiments / ours:.1f} a second, {ours / floor:.2f} x its time")


if __name__ == "__main__":
    main()
