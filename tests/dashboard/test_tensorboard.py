"""TensorBoard beside the dashboard, with a child that takes its time to begin."""

import threading
import time

import pytest

from studio.dashboard import tensorboard
from studio.dashboard.tensorboard import TensorBoards
from studio.errors import BadInput

SLOW = """\
import sys, time
if sys.argv[2] == "slow":
    time.sleep(60)
print("http://localhost:6006/", file=sys.stderr, flush=True)
sys.stdin.read()
"""


def test_one_that_starts_slowly_holds_up_neither_the_others_nor_the_end(monkeypatch):
    monkeypatch.setattr(tensorboard, "_PROGRAM", SLOW)
    boards, failed = TensorBoards(), []

    def ask():
        with pytest.raises(BadInput):
            boards.port("slow")
        failed.append("slow")

    slow = threading.Thread(target=ask, daemon=True)
    slow.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert boards.port("quick") == 6006
    boards.close()
    slow.join(10)
    assert failed == ["slow"]
    assert time.monotonic() - began < 20
    with pytest.raises(BadInput):
        boards.port("quick")
