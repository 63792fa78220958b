"""Experiments on four workers of a shared folder, compared with the same ones run locally, four at a time.

python benchmarks/bucket.py [EXPERIMENTS]

The driver looks at the bucket once a second, as clouds bill requests. So the time of no-op experiments depends on these looks
and on the number of experiments sent: with four, the four workers wait for the driver.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import studio
from studio.backends.queue.bucket_url import open_bucket

WORKERS = 4


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STUDIO_HOME"], share = f"{folder}/home", f"{folder}/share"
        (Path(folder) / "work").mkdir()
        os.chdir(f"{folder}/work")
        Path("noop.py").write_text("x = 1\nprint('fitness:', x)\n")
        run(2, 1)  # imports and first files
        here = run(count, WORKERS)
        print(f"{count} no-op experiments here, {WORKERS} at a time: {count / here:.1f} a second")
        open_bucket(share, create=True).close()
        program = [Path(sys.executable).with_name("studio"), "worker", share]
        workers = [subprocess.Popen(program, stderr=subprocess.DEVNULL) for _ in range(WORKERS)]
        try:
            while len(list(Path(share).glob("workers/*"))) < WORKERS:
                time.sleep(0.1)
            for out in (WORKERS, 4 * WORKERS):
                there = run(count, out, backend=f"folder:{share}")
                rate = f"{count / there:.1f} a second, {there / here:.2f} x the time of here"
                print(f"through a folder to {WORKERS} workers, {out} out at a time: {rate}")
        finally:
            for worker in workers:
                worker.terminate()
                worker.wait()


def run(count: int, slots: int, **options: str) -> float:
    """Run a search and return its seconds."""
    begun = time.perf_counter()
    project = studio.run("noop.py", hyperparams={"x": f"1:{count}"}, num_workers=slots, **options)
    seconds = time.perf_counter() - begun
    assert [e.status for e in project.experiments] == ["completed"] * count
    return seconds


if __name__ == "__main__":
    main()
