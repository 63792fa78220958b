import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest
from studio_pool import Channel, PoolBackend, run_of

import studio
from studio.testing.backends import SLEEP, BackendContract, open_backend


class TestPool(BackendContract):
    backend = PoolBackend

    def test_a_worker_that_dies_fails_its_experiment(self, tmp_path):
        with self._open(slots=1) as backend:
            run = self.make_run(tmp_path, 1, "print('begun', flush=True); " + SLEEP)
            backend.start(run)
            self._wait_for_output(backend, run, "begun")
            os.kill(backend._workers[0]._process.pid, signal.SIGKILL)
            [outcome] = self._until_ended(backend, {1})
            assert (outcome.failed, outcome.stopped, outcome.reason) == (True, False, "worker died (SIGKILL)")
            assert self._gone(run)
            backend.start(self.make_run(tmp_path, 2, "print('fitness: 1')"))
            report, outcome = self._until_ended(backend, {2})
            assert (report.value, outcome.exit_code) == (1.0, 0)

    def test_a_worker_that_dies_with_nothing_to_do(self, tmp_path):
        with self._open(slots=1) as backend:
            backend.start(self.make_run(tmp_path, 1, "print('fitness: 1')"))
            self._until_ended(backend, {1})
            os.kill(backend._workers[0]._process.pid, signal.SIGKILL)
            backend._workers[0]._process.wait()
            backend.start(self.make_run(tmp_path, 2, "print('fitness: 1')"))
            outcome = self._until_ended(backend, {2})[-1]
            assert not outcome.failed, "the dead worker was given an experiment"

    def test_what_waits_for_a_worker_can_be_stopped(self, tmp_path):
        with self._open(slots=1) as backend:
            for number in (1, 2):
                backend.start(self.make_run(tmp_path, number, "import time; time.sleep(1)"))
            backend.stop(2, kill=False)
            [outcome] = backend.poll(5)
            assert (outcome.number, outcome.stopped) == (2, True)
            assert self._until_ended(backend, {1})[-1].exit_code == 0

    def test_nothing_outlives_a_backend_that_was_killed(self, tmp_path):
        run = self.make_run(tmp_path, 1, "print('begun', flush=True); " + SLEEP)
        program = """
import pathlib, sys, studio, studio_pool
from studio.testing.backends import open_backend
backend = open_backend(studio_pool.PoolBackend, pathlib.Path(sys.argv[2]))
backend.start(studio.Run(**eval(sys.argv[1])))
while True: backend.poll(1)
"""
        run_text = repr({key: getattr(run, key) for key in run.__dict__ if key not in ("metric", "resources")})
        driver = subprocess.Popen([sys.executable, "-c", program, run_text, str(tmp_path / "p")])
        log = self.files_of(run) / "output.log"
        while not (log.exists() and "begun" in log.read_text()):
            assert driver.poll() is None
            time.sleep(0.05)
        driver.kill()
        driver.wait()
        assert self._gone(run)


def test_a_run_crosses_the_channel_unchanged(tmp_path):
    ends = os.pipe()
    run = TestPool().make_run(
        tmp_path, 1, "", values={"w": np.array([1, 2]), "x": 0.1, "n": None}, changes={"a.py": b"\xff\n"}
    )
    channel = Channel(*ends)
    channel.write({"start": asdict(run)})
    again = run_of(channel.read()[0]["start"])
    for end in ends:
        os.close(end)
    assert (again.changes, again.values["x"], again.metric) == (run.changes, 0.1, run.metric)
    assert again.values["w"].dtype == np.int64
    assert again.values["w"].tolist() == [1, 2]


def test_it_takes_no_options(tmp_path):
    with pytest.raises(studio.BadInput, match="backend pool has no option 'colour': it takes none"):
        open_backend(PoolBackend, tmp_path, colour="red")
    assert studio.create_host().backend("pool") is PoolBackend
