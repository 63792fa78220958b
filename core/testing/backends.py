"""Contract tests of backends, with real scripts. Under pytest:

    from studio.testing.backends import BackendContract

    class TestMine(BackendContract):
        backend = Mine
        options = {"host": "localhost"}     # fields of `Mine.Options`

The scripts need only Python. A backend that runs scripts where their processes and files cannot be seen from this machine
overrides `processes_of` and `files_of`.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from studio.experiment import Outcome, Report, Run
from studio.host import create_host
from studio.interfaces import Backend
from studio.settings import Settings
from studio.system.processes import processes_of

FITNESS = 'print("fitness: 0.5"); print("fitness: 0.75")'
SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)
CHILD = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
    "start_new_session=True); print('child', flush=True); time.sleep({})"
)


class BackendContract:
    """The contract of `studio.Backend`."""

    backend: ClassVar[type[Backend]]
    options: ClassVar[Mapping[str, Any]] = {}
    patience: float = 30.0  # seconds in which a trivial script must end, on a busy machine

    # --- outcomes

    def test_an_experiment_comes_back_once(self, tmp_path: Path) -> None:
        """Reports come in order and with the run's number, then one outcome, then nothing."""
        with self._open(slots=1) as backend:
            backend.start(self.make_run(tmp_path, 1, FITNESS))
            events = self._until_ended(backend, {1})
            outcome = _only_outcome(events, 1)
            assert (outcome.exit_code, outcome.signal, outcome.attempt) == (0, None, 1), (
                f"the script succeeded: {outcome}"
            )
            assert outcome.started <= outcome.finished, f"it finished before it started: {outcome}"
            assert events[-1] is outcome, "reports of a run come before its outcome"
            reports = [(event.value, event.number, event.attempt) for event in events if isinstance(event, Report)]
            assert reports == [(0.5, 1, 1), (0.75, 1, 1)], f"reports (value, number, attempt): {reports}"
            assert backend.poll(0.3) == [], "something came after the outcome"

    def test_nothing_is_lost(self, tmp_path: Path) -> None:
        """Twelve experiments through three slots: twelve outcomes, each number once."""
        with self._open(slots=3) as backend:
            waiting, running, seen = list(range(1, 13)), set[int](), list[int]()
            deadline = time.monotonic() + 4 * self.patience
            while (waiting or running) and time.monotonic() < deadline:
                while waiting and len(running) < 3:
                    running.add(waiting[0])
                    backend.start(self.make_run(tmp_path, waiting.pop(0), FITNESS))
                for event in backend.poll(0.5):
                    if isinstance(event, Outcome):
                        running.discard(event.number)
                        seen.append(event.number)
            assert sorted(seen) == list(range(1, 13)), f"outcomes came for {sorted(seen)}"

    def test_slots_run_side_by_side(self, tmp_path: Path) -> None:
        """Two slots: each script waits until it sees the other."""
        meet = "import os, time; open({mine!r}, 'w').close()\nwhile not os.path.exists({other!r}): time.sleep(0.01)"
        one, other = str(tmp_path / "one"), str(tmp_path / "other")
        with self._open(slots=2) as backend:
            backend.start(self.make_run(tmp_path, 1, meet.format(mine=one, other=other)))
            backend.start(self.make_run(tmp_path, 2, meet.format(mine=other, other=one)))
            events = self._until_ended(backend, {1, 2})
            assert {_only_outcome(events, n).exit_code for n in (1, 2)} == {0}

    def test_failures_say_why(self, tmp_path: Path) -> None:
        """The reason has exit code or signal, and the last line of the output."""
        scripts = {1: "import sys; print('no data'); sys.exit(3)", 2: "import os; os.kill(os.getpid(), 9)"}
        with self._open(slots=2) as backend:
            for number, text in scripts.items():
                backend.start(self.make_run(tmp_path, number, text))
            events = self._until_ended(backend, {1, 2})
        exited, killed = _only_outcome(events, 1), _only_outcome(events, 2)
        assert exited.exit_code == 3 and "no data" in exited.reason, f"exit code 3 after 'no data': {exited}"
        assert killed.signal == signal.SIGKILL.name and killed.failed, f"killed by SIGKILL: {killed}"

    def test_the_script_finds_its_files(self, tmp_path: Path) -> None:
        """The script finds its source, changed files, hyperparameters.json, artifacts, environment, arguments."""
        text = (
            "import json, os, sys\n"
            "values = json.load(open('../hyperparameters.json'))\n"
            "assert open('changed.txt').read() == 'new' and open('kept.txt').read() == 'old', os.listdir()\n"
            "assert sys.argv[1:] == ['30'] and os.environ['CONTRACT'] == 'yes', (sys.argv, os.environ)\n"
            "print('fitness:', values['lr'])"
        )
        run = self.make_run(tmp_path, 1, text, values={"lr": 0.25}, changes={"changed.txt": b"new"}, arguments=["30"])
        with self._open(slots=1) as backend:
            backend.start(run)
            events = self._until_ended(backend, {1})
        assert not _only_outcome(events, 1).failed, (
            f"the script could not find what it needs: {_only_outcome(events, 1)}"
        )
        assert [event.value for event in events if isinstance(event, Report)] == [0.25]

    # --- starting, stopping

    def test_starting_again_attaches(self, tmp_path: Path) -> None:
        """A second `start` of the same number and attempt runs nothing and brings no second outcome."""
        ran = tmp_path / "ran"
        run = self.make_run(tmp_path, 1, f"open({str(ran)!r}, 'a').write('x'); import time; time.sleep(0.5)")
        with self._open(slots=2) as backend:
            backend.start(run)
            backend.start(run)
            events = self._until_ended(backend, {1})
            events += backend.poll(0.5)
        _only_outcome(events, 1)
        assert ran.read_text() == "x", f"the script ran {len(ran.read_text())} times"

    def test_stop_ends_an_experiment(self, tmp_path: Path) -> None:
        """A stopped experiment has an outcome soon; others continue; a number that does not run is no error."""
        with self._open(slots=2) as backend:
            run = self.make_run(tmp_path, 1, SLEEP)
            backend.start(run)
            backend.start(self.make_run(tmp_path, 2, "import time; time.sleep(1)"))
            self._wait_for_processes(backend, run)
            backend.stop(1, kill=False)
            backend.stop(99, kill=True)
            events = self._until_ended(backend, {1, 2})
        stopped, other = _only_outcome(events, 1), _only_outcome(events, 2)
        assert stopped.stopped and stopped.failed, f"stopped on request: {stopped}"
        assert not other.failed and not other.stopped, f"the other one was not to be stopped: {other}"

    def test_kill_ends_a_deaf_script(self, tmp_path: Path) -> None:
        """A script that ignores SIGTERM is killed."""
        with self._open(slots=1) as backend:
            run = self.make_run(tmp_path, 1, STUBBORN)
            backend.start(run)
            self._wait_for_output(backend, run, "deaf")
            backend.stop(1, kill=True)
            assert _only_outcome(self._until_ended(backend, {1}), 1).stopped

    def test_max_duration_is_a_failure(self, tmp_path: Path) -> None:
        """An experiment beyond its time limit has failed with that reason, and is not marked as stopped."""
        with self._open(slots=1) as backend:
            backend.start(self.make_run(tmp_path, 1, SLEEP, max_duration=0.5))
            outcome = _only_outcome(self._until_ended(backend, {1}), 1)
        assert outcome.failed and not outcome.stopped and outcome.reason, f"ended by its limit: {outcome}"

    # --- nothing is left behind

    def test_no_process_outlives_its_experiment(self, tmp_path: Path) -> None:
        """No process is left after the outcome, not even a child in a session of its own."""
        with self._open(slots=1) as backend:
            run = self.make_run(tmp_path, 1, CHILD.format(0))
            backend.start(run)
            self._until_ended(backend, {1})
            assert self._gone(run), "a child of the script still runs after the outcome"

    def test_no_process_outlives_the_backend(self, tmp_path: Path) -> None:
        """`close` ends scripts and their children, and no outcome comes after it."""
        run = self.make_run(tmp_path, 1, CHILD.format(60))
        with self._open(slots=1) as backend:
            backend.start(run)
            self._wait_for_output(backend, run, "child")
        assert self._gone(run), "a process of the script still runs after close()"

    def test_poll_does_not_block(self, tmp_path: Path) -> None:
        """`poll` returns after its timeout, with and without a running experiment."""
        with self._open(slots=1) as backend:
            for run in (None, self.make_run(tmp_path, 1, SLEEP)):
                if run is not None:
                    backend.start(run)
                begun = time.monotonic()
                backend.poll(0.1)
                assert time.monotonic() - begun < self.patience / 3, "poll(0.1) blocked"

    # --- for the author to override

    def processes_of(self, run: Run) -> list[int]:
        """Return the ids of processes of `run`."""
        return list(processes_of(run.folder))

    def files_of(self, run: Run) -> Path:
        """Return the folder where the files of `run` can be read."""
        return Path(run.folder)

    def make_run(
        self,
        folder: Path,
        number: int,
        script: str,
        *,
        values: Mapping[str, Any] | None = None,
        changes: Mapping[str, bytes] | None = None,
        arguments: list[str] | None = None,
        max_duration: float | None = None,
    ) -> Run:
        """Return experiment `number`, which runs the Python text `script` below `folder`."""
        source = folder / f"source-{number}"
        source.mkdir()
        (source / "script.py").write_text(script)
        (source / "kept.txt").write_text("old")
        return Run(
            project="contract",
            number=number,
            attempt=1,
            snapshot=str(source),
            changes=dict(changes or {}),
            values=dict(values or {}),
            argv=[sys.executable, "script.py", *(arguments or [])],
            env={"CONTRACT": "yes"},
            folder=str(folder / "project" / str(number) / "1"),
            max_duration=max_duration,
        )

    # --- inside

    @contextmanager
    def _open(self, slots: int) -> Iterator[Backend]:
        with tempfile.TemporaryDirectory() as folder:
            backend = open_backend(self.backend, Path(folder) / "project", slots=slots, **self.options)
            try:
                yield backend
            finally:
                backend.close()

    def _until_ended(self, backend: Backend, numbers: set[int]) -> list[Report | Outcome]:
        events: list[Report | Outcome] = []
        deadline = time.monotonic() + self.patience
        missing = set(numbers)
        while missing and time.monotonic() < deadline:
            new = backend.poll(0.5)
            events += new
            missing -= {event.number for event in new if isinstance(event, Outcome)}
        assert not missing, f"no outcome of experiments {sorted(missing)} within {self.patience:g} s"
        return events

    def _wait_for_processes(self, backend: Backend, run: Run) -> None:
        deadline = time.monotonic() + self.patience
        while not self.processes_of(run) and time.monotonic() < deadline:
            backend.poll(0.05)

    def _wait_for_output(self, backend: Backend, run: Run, word: str) -> None:
        log = self.files_of(run) / "output.log"
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline and not (log.exists() and word in log.read_text()):
            backend.poll(0.05)

    def _gone(self, run: Run) -> bool:
        deadline = time.monotonic() + 2.0
        while self.processes_of(run) and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.processes_of(run)


def open_backend(cls: type[Backend], project: Path, *, slots: int = 1, **options: Any) -> Backend:
    """Return an opened backend, with fields of its `Options` as `options`; `project` becomes its project's folder."""
    host = create_host()
    project.mkdir(parents=True, exist_ok=True)
    settings = Settings("script.py", num_workers=slots, backend=cls.name, backend_options=options)
    backend = host.make_backend(settings, slots=slots, source=project, notify=lambda text: None, cls=cls)
    backend.open(project)
    return backend


def _only_outcome(events: list[Report | Outcome], number: int) -> Outcome:
    outcomes = [event for event in events if isinstance(event, Outcome) and event.number == number]
    assert len(outcomes) == 1, f"experiment {number} has {len(outcomes)} outcomes, not one"
    return outcomes[0]
