"""Reasons that are given for the end of a failed script."""

import subprocess
import sys
from pathlib import Path

import pytest

from studio.execution.reason import last_words

TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 3, in <module>
    main()
  File "train.py", line 2, in main
    raise ValueError("no data")
ValueError: no data
"""
TORCHRUN = """E1128 10:02:11.123 torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: 1) local_rank: 0 of binary: python
Traceback (most recent call last):
  File "/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-28_10:02:11
  exitcode  : 1 (pid: 123)
============================================================
"""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (b"a\nb\n\n \n", "b"),
        (b"10%\r20%\r", "20%"),
        (b"\x1b[31mred\x1b[0m\n", "red"),
        (b"caf\xe9\n", "caf\ufffd"),
        (b"x" * 1000 + b"\n", "x" * 300),
        (b"", ""),
        (b"\n\n", ""),
        (b"first\n" + b"\n" * 80_000, ""),
    ],
)
def test_without_an_exception_it_is_the_last_line(tmp_path: Path, log: bytes, line: str) -> None:
    (tmp_path / "log").write_bytes(log)
    assert last_words(tmp_path / "log", 1) == line
    assert last_words(tmp_path / "absent", 1) == ""


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (TRACEBACK, "ValueError: no data"),
        ("epoch 1\n" + TRACEBACK, "ValueError: no data"),
        # Hydra
        (
            "Error executing job with overrides: ['lr=1']\n"
            + TRACEBACK
            + "\nSet the environment variable HYDRA_FULL_ERROR=1 for"
            " a complete stack trace.\n",
            "ValueError: no data",
        ),
        # torchrun, whose own exception says nothing; ranks have a prefix in later versions
        (TRACEBACK + TORCHRUN, "ValueError: no data"),
        ("".join(f"[rank0]: {line}\n" for line in TRACEBACK.splitlines()) + TORCHRUN, "ValueError: no data"),
        # accelerate launch
        (
            TRACEBACK + 'Traceback (most recent call last):\n  File "accelerate", line 8, in main\n    launch()\n'
            "subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 1.\n",
            "ValueError: no data",
        ),
        # multiprocessing and joblib
        (
            'multiprocessing.pool.RemoteTraceback: \n"""\n'
            + TRACEBACK
            + '"""\n\nThe above exception was the direct cause of the'
            " following exception:\n\n" + TRACEBACK,
            "ValueError: no data",
        ),
        # torch.multiprocessing.spawn
        (
            'Traceback (most recent call last):\n  File "s.py", line 1, in <module>\n    spawn(f)\n'
            "torch.multiprocessing.spawn.ProcessRaisedException: \n\n-- Process 0 terminated with the following error:\n"
            + TRACEBACK,
            "ValueError: no data",
        ),
        # a message of several lines
        (
            TRACEBACK.replace(
                "ValueError: no data\n",
                "RuntimeError: Error(s) in loading state_dict for Net:\n\tsize mismatch for fc.weight: torch.Size([2, 3])\n",
            ),
            "RuntimeError: Error(s) in loading state_dict for Net: size mismatch for fc.weight: torch.Size([2, 3])",
        ),
        # trackers and progress bars behind it
        (
            TRACEBACK + "wandb: You can sync this run to the cloud by running:\nwandb: wandb sync x\n",
            "ValueError: no data",
        ),
        (TRACEBACK + "  3%|#  | 3/100 [00:01<00:30]\n", "ValueError: no data"),
        # chained: what was raised at last
        (
            TRACEBACK
            + "\nDuring handling of the above exception, another exception occurred:\n\n"
            + TRACEBACK.replace("ValueError: no data", "KeyError: 'x'"),
            "KeyError: 'x'",
        ),
        (TRACEBACK.replace("ValueError: no data", "KeyboardInterrupt"), "KeyboardInterrupt"),
        (
            "  File \"train.py\", line 1\n    foo(\n       ^\nSyntaxError: '(' was never closed\n",
            "SyntaxError: '(' was never closed",
        ),
        # others
        ("Error in f(): no data\nCalls: f\nExecution halted\n", "Error in f(): no data"),
        (
            "usage: train.py [-h]\ntrain.py: error: unrecognized arguments: --lr\n",
            "train.py: error: unrecognized arguments: --lr",
        ),
        # caught long before the end
        (TRACEBACK + "".join(f"epoch {n}\n" for n in range(100)) + "gave up\n", "gave up"),
    ],
)
def test_the_exception_is_said(tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / "log").write_text(log)
    assert last_words(tmp_path / "log", 1) == said


def test_an_end_of_its_own_choice_is_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(TRACEBACK + "no data today\n")
    assert last_words(tmp_path / "log", 3) == "no data today"


@pytest.mark.parametrize(
    "script",
    [
        "from concurrent.futures import ProcessPoolExecutor as P\ndef f(x): raise ValueError('no data')\n"
        "if __name__ == '__main__':\n    with P(1) as p: list(p.map(f, [1]))",
        "from multiprocessing import Pool\ndef f(x): raise ValueError('no data')\n"
        "if __name__ == '__main__':\n    with Pool(1) as p: p.map(f, [1])",
        "try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('no data') from e",
    ],
)
def test_a_real_script_says_why(tmp_path: Path, script: str) -> None:
    (tmp_path / "train.py").write_text(script)
    with open(tmp_path / "log", "wb") as log:
        code = subprocess.run([sys.executable, tmp_path / "train.py"], stdout=log, stderr=log, timeout=60).returncode
    assert last_words(tmp_path / "log", code) == "ValueError: no data"
