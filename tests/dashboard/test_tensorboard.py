"""TensorBoard beside the dashboard, with a child that takes its time to begin."""

import threading

import pytest

from studio.dashboard import tensorboard
from studio.dashboard.tensorboard import TensorBoards
from studio.errors import BadInput
from tests.dashboard.conftest import wait_for

SLOW = """\
import os, pathlib, sys, time
if sys.argv[2] == "slow":
    pathlib.Path(os.environ["STUDIO_HOME"], "begun").touch()
    time.sleep(60)
print("http://localhost:6006/", file=sys.stderr, flush=True)
sys.stdin.read()
"""


def test_one_that_starts_slowly_holds_up_neither_the_others_nor_the_end(home, monkeypatch):
    monkeypatch.setattr(tensorboard, "_PROGRAM", SLOW)
    home.mkdir()
    boards, failed = TensorBoards(), []

    def ask():
        with pytest.raises(BadInput):
            boards.port("slow")
        failed.append("slow")

    slow = threading.Thread(target=ask, daemon=True)
    slow.start()
    wait_for((home / "begun").exists)
    assert boards.port("quick") == 6006
    boards.close()
    slow.join(10)
    assert failed == ["slow"]
    with pytest.raises(BadInput):
        boards.port("quick")
