"""Time that Studio adds to each experiment, compared with a bare loop over subprocesses.

python benchmarks/overhead.py [EXPERIMENTS]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import studio


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["STUDIO_HOME"] = f"{folder}/home"
        Path("noop.py").write_text("x = 1\nprint('fitness:', x)\n")
        floor = timed(
            lambda: [subprocess.run([sys.executable, "noop.py"], stdout=subprocess.DEVNULL) for _ in range(count)]
        )
        studio.run("noop.py", hyperparams={"x": "1:2"})  # imports and first files
        for workers in (1, 2):
            seconds = timed(lambda n=workers: studio.run("noop.py", hyperparams={"x": f"1:{count}"}, num_workers=n))
            print(
                f"{count} no-op experiments, {workers} at a time: {1000 * seconds / count:.1f} ms each, "
                f"{seconds / floor:.2f} x a bare loop of one ({1000 * floor / count:.1f} ms)"
            )


def timed(action) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
