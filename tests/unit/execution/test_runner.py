"""An experiment where it runs: folder, processes, limits and metric; with real processes."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from studio import hookimpl
from studio.backends.local import LocalBackend
from studio.errors import BadInput
from studio.execution import run_folder, runner
from studio.execution.runner import Runner
from studio.experiment import FITNESS, Metric, Outcome, Report, Resources, Run
from studio.host import Host, create_host
from studio.interfaces import MetricReader
from studio.settings import Settings
from studio.system.machine import usable_cpus, with_thread_share
from studio.system.processes import processes_of

SLEEP = "import time\ntime.sleep(60)"
READY = "print('ready', flush=True)\n"


@pytest.fixture
def host() -> Host:
    return create_host()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GRACE", 0.4)
    monkeypatch.setattr(runner, "READ_EVERY", 0.05)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """`make("print(1)")`: a run of that script. No process of any of them outlives the test."""
    folders: list[str] = []

    def do(script: str, number: int = 1, **changes: Any) -> Run:
        snapshot = tmp_path / "project" / "source"
        snapshot.mkdir(parents=True, exist_ok=True)
        (snapshot / "train.py").touch()
        text = dedent(script).encode()
        folder = str(tmp_path / "project" / str(number) / "1")
        folders.append(folder)
        argv = [sys.executable, "train.py"]
        return replace(Run("p", number, 1, str(snapshot), {"train.py": text}, {}, argv, {}, folder), **changes)

    yield do
    survivors = [pid for folder in folders for pid in processes_of(folder)]
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert survivors == []


def collect(one: Runner | LocalBackend, count: int = 1, seconds: float = 60) -> list[Report | Outcome]:
    """Events until `count` outcomes came."""
    events: list[Report | Outcome] = []
    deadline = time.monotonic() + seconds
    while sum(isinstance(event, Outcome) for event in events) < count:
        assert time.monotonic() < deadline, "no outcome came"
        events += one.poll(0.1)
    return events


_OPENED: list[Runner] = []


def opened(host: Host) -> Runner:
    """A runner that is closed when the test is over."""
    _OPENED.append(Runner(host))
    return _OPENED[-1]


@pytest.fixture(autouse=True)
def _close_runners() -> Iterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().close()


def carry_out(run: Run, host: Host) -> tuple[Outcome, list[float]]:
    one = opened(host)
    one.start(run)
    events = collect(one)
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    return outcome, [event.value for event in events if isinstance(event, Report)]


def output(run: Run) -> str:
    path = Path(run.folder) / "output.log"
    return path.read_text() if path.exists() else ""


def wait_for(run: Run, text: str, poll: Callable[[float], object] = time.sleep) -> None:
    deadline = time.monotonic() + 60
    while text not in output(run):
        assert time.monotonic() < deadline, output(run)
        poll(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_a_run_ends_with_its_reports_and_an_outcome(make: Callable[..., Run], host: Host) -> None:
    run = make("print('fitness: 0.5')\nprint('fitness: 0.75')")
    before = time.time()
    one = opened(host)
    one.start(run)
    *reports, outcome = collect(one)
    assert reports == [Report(1, 0.5, 1, 1), Report(2, 0.75, 1, 1)]
    assert isinstance(outcome, Outcome)
    assert (outcome.number, outcome.attempt, outcome.exit_code, outcome.signal) == (1, 1, 0, None)
    assert (outcome.reason, outcome.failed, outcome.stopped) == ("", False, False)
    assert before <= outcome.started <= outcome.finished <= time.time()
    assert 0 < outcome.duration < 20
    assert json.loads((Path(run.folder) / "outcome.json").read_text()) == {**vars(outcome), "metric": 0.75}
    assert one.poll(0.01) == []


@pytest.mark.parametrize(
    ("script", "exit_code", "signal_name", "reason"),
    [
        ("raise SystemExit(3)", 3, None, "exit code 3"),
        ("print('one')\nprint('the last')\nprint('  ')\nraise SystemExit(4)", 4, None, "exit code 4: the last"),
        ("1 / 0", 1, None, "exit code 1: ZeroDivisionError: division by zero"),
        ("import os\nos.kill(os.getpid(), 9)", None, "SIGKILL", "killed by SIGKILL"),
        ("print('x', flush=True)\nimport os\nos.abort()", None, "SIGABRT", "killed by SIGABRT: x"),
        ("pass", 0, None, "printed no line `fitness: NUMBER`"),
    ],
)
def test_the_reason_is_the_signal_or_exit_code_and_the_last_words(
    make: Callable[..., Run], host: Host, script: str, exit_code: int | None, signal_name: str | None, reason: str
) -> None:
    outcome, _ = carry_out(make(script), host)
    assert (outcome.exit_code, outcome.signal, outcome.reason) == (exit_code, signal_name, reason)
    assert outcome.failed == (exit_code != 0)


def test_a_signal_without_a_name_is_named_by_its_number(make: Callable[..., Run], host: Host) -> None:
    outcome, _ = carry_out(make(f"import os\nos.kill(os.getpid(), {signal.SIGRTMIN + 3})"), host)
    assert outcome.exit_code is None
    assert str(int(signal.SIGRTMIN) + 3) in outcome.reason or "SIGRT" in outcome.reason


def test_what_cannot_be_started_is_an_outcome(make: Callable[..., Run], host: Host) -> None:
    outcome, _ = carry_out(make("pass", argv=["/no/such/program"]), host)
    assert outcome.exit_code is None
    assert outcome.failed
    assert outcome.reason.startswith("could not start: ")
    assert "/no/such/program" in outcome.reason
    outcome, _ = carry_out(make("pass", number=2, snapshot="/no/such/folder"), host)
    assert outcome.reason.startswith("could not start: ")


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_run_waits_for_a_machine_without_room_and_says_so_once(
    make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(runner, "START_PAUSES", (0.01,) * 2)
    refusals = [number] * 2
    real = runner.spawn

    def refuse_twice(*arguments: Any) -> Any:
        if refusals:
            raise OSError(refusals.pop(), "no room")
        return real(*arguments)

    monkeypatch.setattr(runner, "spawn", refuse_twice)
    one = opened(host)
    one.start(make("print('fitness: 1')", number=1))
    (report, outcome) = collect(one)
    assert (report.value, outcome.exit_code, outcome.stopped) == (1.0, 0, False)
    assert outcome.notice == "it had to wait for a free process or file descriptor: no room"
    refusals += [number]
    one.start(make("print('fitness: 1')", number=2))
    assert collect(one)[-1].notice == ""


def test_a_machine_that_stays_without_room_is_not_the_fault_of_the_run(
    make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(runner, "START_PAUSES", (0.01,) * 2)
    monkeypatch.setattr(runner, "spawn", refuse)
    outcome, _ = carry_out(make("pass"), host)
    assert (outcome.stopped, outcome.failure) == (True, "lost")
    assert outcome.reason == "could not start: [Errno 11] Resource temporarily unavailable"


def test_no_free_thread_is_not_the_fault_of_the_run(
    make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = opened(host)
    run = make("print('fitness: 1')")

    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(runner.threading, "Thread", NoThread)
    one.start(run)
    (outcome,) = collect(one)
    assert (outcome.stopped, outcome.failure, outcome.reason) == (
        True,
        "lost",
        "could not start: can't start new thread",
    )


def test_a_folder_that_cannot_be_made_is_an_outcome(make: Callable[..., Run], host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome, _ = carry_out(make("pass", folder=str(tmp_path / "file" / "1")), host)
    assert outcome.reason.startswith("could not start: ")


def test_a_script_that_removes_its_own_folder_stops_nothing(make: Callable[..., Run], host: Host) -> None:
    outcome, _ = carry_out(make("import os, shutil\nshutil.rmtree(os.environ['STUDIO_FOLDER'])"), host)
    assert outcome.exit_code == 0


# --- what a script finds ----------------------------------------------------------------------------------------------


def test_the_script_finds_its_files_folders_and_values(make: Callable[..., Run], host: Host) -> None:
    script = """
    import json, os, sys
    from studio import fs_tracker
    values = json.load(open('../hyperparameters.json'))
    assert values == {'lr': 0.1, 'v': [1.0, 2.0], 'o': 'adam', 'none': None}, values
    for folder in ('tb', 'modeldir'):
        open(f'../{folder}/x', 'w').close()
    assert fs_tracker.get_tensorboard_dir() == os.path.abspath('../tb')
    assert fs_tracker.get_model_directory() == os.path.abspath('../modeldir')
    assert fs_tracker.get_experiment_key() == 'p/1'
    assert fs_tracker.get_artifact('v') == os.path.abspath('../artifacts/v.npy')
    import numpy
    assert numpy.load(fs_tracker.get_artifact('v')).tolist() == [1, 2]
    assert open('data/x').read() == 'from the source'
    assert sys.argv[1:] == ['a b', '*']
    assert sys.stdin.read() == ''
    assert os.environ['MINE'] == 'yes' and os.environ['BASE'] == 'over'
    assert os.environ['PYTHONUNBUFFERED'] == '1'
    print('fitness: 1')
    """
    values = {"lr": 0.1, "v": np.array([1.0, 2.0]), "o": "adam", "none": None}
    run = make(
        script, values=values, argv=[sys.executable, "train.py", "a b", "*"], env={"MINE": "yes", "BASE": "over"}
    )
    (Path(run.snapshot) / "data").mkdir()
    (Path(run.snapshot) / "data" / "x").write_text("from the source")
    one = opened(host)
    one.start(run, {"BASE": "under", "PATH": os.environ["PATH"]})
    outcome = collect(one)[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.exit_code, outcome.reason) == (0, ""), output(run)
    assert np.load(Path(run.folder) / "artifacts" / "v.npy").tolist() == [1, 2]
    assert (Path(run.folder) / "tb" / "x").is_file()


def test_a_users_choice_of_buffering_stays(make: Callable[..., Run], host: Host) -> None:
    run = make("import os\nprint(repr(os.environ['PYTHONUNBUFFERED']))", env={"PYTHONUNBUFFERED": ""})
    carry_out(run, host)
    assert output(run) == "''\n"


def test_output_of_both_streams_goes_to_one_file_in_order(make: Callable[..., Run], host: Host) -> None:
    run = make("import sys\nfor n in range(3):\n    print('out', n)\n    print('err', n, file=sys.stderr)")
    carry_out(run, host)
    assert output(run).split("\n") == ["out 0", "err 0", "out 1", "err 1", "out 2", "err 2", ""]


def test_artifacts_are_captured_copied_shared_and_linked(make: Callable[..., Run], host: Host, tmp_path: Path) -> None:
    for path, text in {"outside/x": "copied", "shared/y": "shared", "linked/z": "linked"}.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    script = """
    import os
    from studio.fs_tracker import get_artifact, get_artifacts
    assert sorted(get_artifacts()) == ['copy', 'file', 'late', 'model', 'never', 'share']
    assert open(get_artifact('copy') + '/x').read() == 'copied'
    open(get_artifact('copy') + '/x', 'w').write('changed')
    assert open(get_artifact('share') + '/y').read() == 'shared'
    assert open('deep/data/z').read() == 'linked'
    os.mkdir('model')
    open('model/weights', 'w').write('good')
    open(get_artifact('file'), 'w').write('short')
    """
    run = make(
        script,
        captures={"model": "model", "file": "file.txt", "never": "absent", "late": "train.py"},
        copies={"copy": str(tmp_path / "outside")},
        shared={"share": str(tmp_path / "shared")},
        links={"deep/data": str(tmp_path / "linked")},
    )
    outcome, _ = carry_out(run, host)
    assert outcome.exit_code == 0, output(run)
    artifacts = Path(run.folder) / "artifacts"
    assert (artifacts / "model" / "weights").read_text() == "good"
    assert (artifacts / "file").read_text() == "short"
    assert "get_artifact" in (artifacts / "late").read_text()
    assert not (artifacts / "never").exists()
    assert (artifacts / "copy" / "x").read_text() == "changed"
    assert (tmp_path / "outside" / "x").read_text() == "copied"


def test_what_a_script_does_to_its_files_changes_no_other_run(make: Callable[..., Run], host: Host) -> None:
    script = """
    import os
    assert open('data').read() == 'whole', open('data').read()
    open('data', 'a').write('more')
    os.remove('other')
    open('new', 'x').close()
    """
    one = opened(host)
    for number in (1, 2):
        run = make(script, number)
        (Path(run.snapshot) / "data").write_text("whole")
        (Path(run.snapshot) / "other").touch()
        one.start(run)
    assert [e.exit_code for e in collect(one, 2) if isinstance(e, Outcome)] == [0, 0]


# --- its processes ----------------------------------------------------------------------------------------------------


def test_the_script_leads_a_session_of_its_own(make: Callable[..., Run], host: Host) -> None:
    run = make("import os\nprint(os.getpid(), os.getsid(0), os.getpgrp())")
    carry_out(run, host)
    pid, session, group = map(int, output(run).split())
    assert pid == session == group != os.getsid(0)


STRAYS = """
import os, subprocess, sys, time
child = "import os, time; os.write(1, f'{os.getpid()}{chr(10)}'.encode()); time.sleep(60)"  # at once: five have the pipe
subprocess.Popen([sys.executable, '-c', child])
subprocess.Popen([sys.executable, '-c', child], start_new_session=True)
subprocess.Popen([sys.executable, '-c', f'import subprocess, sys; subprocess.Popen([sys.executable, "-c", {child!r}])'])
daemon = f"import os\\nif os.fork(): os._exit(0)\\nos.setsid()\\nif os.fork(): os._exit(0)\\n{child}"
subprocess.Popen([sys.executable, '-c', daemon])
deaf = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; " + child
subprocess.Popen([sys.executable, '-c', deaf], start_new_session=True)
while open('../output.log').read().count('\\n') < 5:
    time.sleep(0.02)
"""


@pytest.mark.parametrize("end", ["by itself", "stop", "kill", "close"])
def test_no_child_outlives_its_run_however_far_it_strayed(make: Callable[..., Run], host: Host, end: str) -> None:
    run = make(STRAYS + ("" if end == "by itself" else "print('all')\ntime.sleep(60)"))
    one = opened(host)
    one.start(run)
    if end != "by itself":
        wait_for(run, "all", one.poll)
    if end == "close":
        one.close()
        assert one.poll(0) == []
    else:
        if end != "by itself":
            one.stop(1, kill=end == "kill")
        collect(one)
    pids = [int(word) for word in output(run).split() if word.isdecimal()]
    assert len(pids) == 5
    assert [pid for pid in pids if alive(pid)] == []


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(SLEEP, id="plain"),
        pytest.param("import signal\nsignal.signal(15, signal.SIG_IGN)\n" + SLEEP, id="deaf"),
        pytest.param("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", id="stopped"),
    ],
)
def test_max_duration_ends_it(make: Callable[..., Run], host: Host, script: str) -> None:
    outcome, reports = carry_out(make("print('fitness: 2', flush=True)\n" + script, max_duration=1.5), host)
    assert outcome.reason == "took longer than 1.5 s: fitness: 2"
    assert (outcome.exit_code, outcome.failed, outcome.stopped) == (None, True, False)
    assert reports == [2.0]
    assert 1.5 <= outcome.duration < 10


def test_copying_is_not_the_scripts_time(make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []

    def slowly(run: Run) -> None:
        time.sleep(0.7)  # longer than the script may take
        run_folder.create_run_folder(run)
        copied.append(time.time())

    monkeypatch.setattr(runner, "create_run_folder", slowly)
    outcome, reports = carry_out(make("print('fitness: 2')", max_duration=0.6), host)
    assert (outcome.exit_code, outcome.reason, reports) == (0, "", [2.0])
    assert outcome.started >= copied[0]
    assert outcome.duration < 0.6


def test_a_run_that_is_stopped_while_it_is_copied_never_starts(
    make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying, stopped = threading.Event(), threading.Event()

    def slowly(run: Run) -> None:
        copying.set()
        assert stopped.wait(60)
        run_folder.create_run_folder(run)

    monkeypatch.setattr(runner, "create_run_folder", slowly)
    one = opened(host)
    one.start(run := make("print('it ran')"))
    assert copying.wait(60)
    one.stop(1, kill=False)
    stopped.set()
    (outcome,) = collect(one)
    assert isinstance(outcome, Outcome)
    assert (outcome.stopped, outcome.exit_code, output(run)) == (True, None, "")


def test_a_script_that_ends_well_when_it_is_over_its_limit_has_failed(make: Callable[..., Run], host: Host) -> None:
    script = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(0))\nprint('fitness: 1')\ntime.sleep(60)"
    outcome, _ = carry_out(make(script, max_duration=1.0), host)
    assert (outcome.exit_code, outcome.failed) == (None, True)


def test_what_ended_before_anybody_looked_is_over_no_limit(make: Callable[..., Run], host: Host) -> None:
    """The driver was paused, or busy with something else."""
    run = make("import os\nprint(os.getpid(), flush=True)\nprint('fitness: 1', flush=True)", max_duration=0.1)
    one = opened(host)
    one.start(run)
    begun = time.monotonic()
    wait_for(run, "fitness: 1")
    while alive(int(output(run).split()[0])) or time.monotonic() < begun + 0.1:
        time.sleep(0.01)
    outcome = collect(one)[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.exit_code, outcome.failed, outcome.stopped) == (0, False, False)


def test_a_polite_stop_is_one_signal_to_each_process(
    make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GRACE", 20.0)
    script = """
    import signal, sys, time
    signal.signal(signal.SIGTERM, lambda *_: print('term', flush=True))
    print('ready', flush=True)
    while 'term' not in open('../output.log').read(): time.sleep(0.01)
    time.sleep(0.2)
    """
    run = make(script)
    one = opened(host)
    one.start(run)
    wait_for(run, "ready", one.poll)
    one.stop(1, kill=False)
    collect(one)
    assert output(run).split() == ["ready", "term"]


def test_a_polite_stop_lets_the_script_tidy_up(
    make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GRACE", 20.0)
    script = """
    import signal, sys, time
    def bye(*_):
        print('fitness: 3')
        sys.exit(7)
    signal.signal(signal.SIGTERM, bye)
    print('ready', flush=True)
    time.sleep(60)
    """
    run = make(script)
    one = opened(host)
    one.start(run)
    wait_for(run, "ready", one.poll)
    one.stop(99, kill=True)  # nobody of that number
    one.stop(1, kill=False)
    *reports, outcome = collect(one)
    assert isinstance(outcome, Outcome)
    assert (outcome.stopped, outcome.reason, outcome.exit_code) == (True, "stopped", 7)
    assert [r.value for r in reports if isinstance(r, Report)] == [3.0]


def test_a_script_that_was_paused_hears_a_polite_stop(
    make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GRACE", 20.0)
    script = """
    import os, signal, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    print('ready', flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    """
    run = make(script)
    one = opened(host)
    one.start(run)
    wait_for(run, "ready", one.poll)
    begun = time.monotonic()
    one.stop(1, kill=False)
    outcome = collect(one)[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.stopped, outcome.exit_code) == (True, 7)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("kill", [False, True])
def test_a_deaf_script_is_killed_at_once_or_after_the_grace(make: Callable[..., Run], host: Host, kill: bool) -> None:
    run = make("import signal\nsignal.signal(15, signal.SIG_IGN)\n" + READY + SLEEP)
    one = opened(host)
    one.start(run)
    wait_for(run, "ready", one.poll)
    begun = time.monotonic()
    one.stop(1, kill=kill)
    outcome = collect(one)[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.stopped, outcome.signal) == (True, "SIGKILL")
    assert kill or time.monotonic() - begun >= runner.GRACE


def test_asking_again_gives_a_deaf_script_no_more_time(make: Callable[..., Run], host: Host) -> None:
    script = """
    import signal, time
    signal.signal(signal.SIGTERM, lambda *_: print('term', flush=True))
    print('ready', flush=True)
    while True: time.sleep(0.01)
    """
    run = make(script)
    one = opened(host)
    one.start(run)
    wait_for(run, "ready", one.poll)
    events: list[Report | Outcome] = []
    deadline = time.monotonic() + 30
    while not events:
        assert time.monotonic() < deadline, "it was given more time"
        one.stop(1, kill=False)
        events = one.poll(0.05)
    assert isinstance(events[-1], Outcome)
    assert (events[-1].stopped, events[-1].signal) == (True, "SIGKILL")
    assert output(run).split() == ["ready", "term"]


def test_a_stop_before_the_process_is_there_starts_none(
    make: Callable[..., Run], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = runner.create_run_folder

    def slowly(run: Run) -> None:
        time.sleep(0.3)
        prepare(run)

    monkeypatch.setattr(runner, "create_run_folder", slowly)
    run = make("print('started')")
    one = opened(host)
    one.start(run)
    one.stop(1, kill=False)
    outcome = collect(one)[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.stopped, outcome.exit_code, output(run)) == (True, None, "")


# --- once more --------------------------------------------------------------------------------------------------------


def test_a_run_that_was_seen_to_its_end_is_not_repeated(make: Callable[..., Run], host: Host) -> None:
    run = make("open('/dev/stdout', 'a')\nprint('fitness: 4')\nraise SystemExit(2)")
    first, _ = carry_out(run, host)
    written = output(run)
    again, reports = carry_out(run, host)
    assert again == first
    assert reports == [4.0]
    assert output(run) == written


@pytest.mark.parametrize("recorded", ["", "{", "[]", '{"number": 1}', "null"])
def test_an_outcome_that_is_not_whole_does_not_count(make: Callable[..., Run], host: Host, recorded: str) -> None:
    run = make("print('fitness: 4')")
    Path(run.folder).mkdir(parents=True)
    (Path(run.folder) / "outcome.json").write_text(recorded)
    outcome, reports = carry_out(run, host)
    assert (outcome.exit_code, reports) == (0, [4.0])


@pytest.mark.parametrize(
    ("before", "now", "seen"),
    [
        ({"lr": 1}, {"lr": 1}, True),
        ({"lr": np.array([1.0, 2.0])}, {"lr": np.array([1.0, 2.0])}, True),
        ({"lr": 1}, {"lr": 999}, False),
        ({"lr": 1}, {"lr": 1, "momentum": 0.9}, False),
        ({"lr": np.array([1.0, 2.0])}, {"lr": np.array([1.0, 3.0])}, False),
    ],
)
def test_an_outcome_counts_for_the_same_values_alone(
    make: Callable[..., Run], host: Host, before: dict[str, Any], now: dict[str, Any], seen: bool
) -> None:
    carry_out(make("print('fitness: 4')", values=before), host)
    _, reports = carry_out(make("print('fitness: 5')", values=now), host)
    assert reports == [4.0 if seen else 5.0]


def test_an_outcome_without_its_values_does_not_count(make: Callable[..., Run], host: Host) -> None:
    carry_out(make("print('fitness: 4')", values={"lr": 1}), host)
    (Path(make("").folder) / "hyperparameters.json").unlink()
    _, reports = carry_out(make("print('fitness: 5')", values={"lr": 1}), host)
    assert reports == [5.0]


def test_a_run_that_was_stopped_is_repeated(make: Callable[..., Run], host: Host) -> None:
    run = make(
        "import os, time\nprint('fitness: 4', flush=True)\ntime.sleep(0 if os.path.exists('/tmp') and os.environ.get('GO') else 60)"
    )
    one = opened(host)
    one.start(run)
    wait_for(run, "fitness", one.poll)
    one.stop(1, kill=True)
    collect(one)
    outcome, reports = carry_out(replace(run, env={"GO": "1"}), host)
    assert (outcome.exit_code, outcome.stopped, reports) == (0, False, [4.0])


def test_a_run_that_was_cut_off_is_cleaned_and_repeated(make: Callable[..., Run], host: Host) -> None:
    script = """
    import os
    assert not os.path.exists('left')
    try:  # a killed process has no environment any more; a moment later it is a zombie, which has none to read
        assert open(f"/proc/{os.environ['LEFT']}/environ").read() == '', 'it lives'
    except ProcessLookupError:
        pass
    print('fitness: 5')
    """
    run = make(script)
    workspace = Path(run.folder) / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "left").touch()
    (Path(run.folder) / "output.log").write_text("fitness: 1\n")
    env = {**os.environ, "STUDIO_MARKS": f"|ab12={run.folder}|"}
    with subprocess.Popen([sys.executable, "-c", SLEEP], env=env, start_new_session=True) as left:
        outcome, reports = carry_out(replace(run, env={"LEFT": str(left.pid)}), host)
        assert left.wait(60) == -signal.SIGKILL
    assert (outcome.exit_code, reports, output(run)) == (0, [5.0], "fitness: 5\n")


def test_starting_a_run_that_runs_attaches_to_it(make: Callable[..., Run], host: Host) -> None:
    run = make(READY + "import time\ntime.sleep(0.3)")
    one = opened(host)
    one.start(run)
    wait_for(run, "ready", one.poll)
    one.start(run)
    assert len([e for e in collect(one) if isinstance(e, Outcome)]) == 1
    assert one.poll(0.1) == []
    assert output(run).count("ready") == 1


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_reports_come_while_the_script_runs(make: Callable[..., Run], host: Host) -> None:
    run = make(
        "import os, time\nprint('fitness: 1')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('fitness: 2')"
    )
    one = opened(host)
    one.start(run)
    events: list[Report | Outcome] = []
    deadline = time.monotonic() + 60
    while not events and time.monotonic() < deadline:
        events = one.poll(0.05)
    assert events == [Report(1, 1.0, 1, 1)]
    (Path(run.folder) / "workspace" / "go").touch()
    assert [e.value for e in collect(one) if isinstance(e, Report)] == [2.0]


class Broken(MetricReader):
    """Fails in one of its three ways; else it has nothing to say."""

    def __init__(self, where: str, answer: Any = None):
        self.where, self.answer = where, answer

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        if self.where == "names":
            raise RuntimeError("no names")
        return ["seen/b", "seen/a"]

    def read(self) -> list[Report]:
        if self.where == "read":
            raise RuntimeError("cannot read")
        return self.answer if self.where == "answer" else []

    def close(self) -> list[Report]:
        if self.where == "close":
            raise RuntimeError("cannot close")
        return self.read()


class Readers:
    def __init__(self, where: str, answer: Any = None):
        self.where, self.answer = where, answer

    @hookimpl
    def studio_open_metric(self, metric: Metric) -> MetricReader:
        if self.where == "open":
            raise RuntimeError("cannot open")
        return Broken(self.where, self.answer)


@pytest.mark.parametrize(
    ("where", "answer", "reason"),
    [
        ("read", None, "reading the metric failed: RuntimeError: cannot read"),
        ("close", None, "reading the metric failed: RuntimeError: cannot close"),
        ("open", None, "plugin Readers of this program is left out: RuntimeError: cannot open"),
        ("nothing", None, "metric 'loss' never came; seen: seen/a, seen/b"),
        ("names", None, "metric 'loss' never came"),
        ("answer", None, "reading the metric failed"),
        ("answer", [3.0], "reading the metric failed"),
    ],
)
def test_a_reader_that_fails_stops_nothing(make: Callable[..., Run], where: str, answer: Any, reason: str) -> None:
    host = create_host(entry_points=False, plugins=[Readers(where, answer)])
    outcome, reports = carry_out(make("import time\ntime.sleep(0.15)", metric=Metric("loss", "min")), host)
    assert (outcome.exit_code, reports) == (0, [])
    assert outcome.reason.startswith(reason)


# --- the local backend ------------------------------------------------------------------------------------------------


@pytest.fixture
def local(host: Host) -> Iterator[Callable[..., LocalBackend]]:
    opened: list[LocalBackend] = []

    def do(slots: int = 1) -> LocalBackend:
        opened.append(host.make_backend(Settings(""), slots=slots, source=Path(), notify=print, cls=LocalBackend))
        return opened[-1]

    yield do
    for backend in opened:
        backend.close()


def test_slots_share_the_cpus_and_a_users_choice_stays(
    make: Callable[..., Run], local: Callable[..., LocalBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "77")
    monkeypatch.setattr("studio.backends.local.usable_cpus", lambda: 8)
    backend = local(2)
    show = "import os\nprint(*(os.environ[n + '_NUM_THREADS'] for n in ('OMP', 'OPENBLAS', 'MKL')))"
    runs = [make(show, 1), make(show, 2, resources=Resources(cpus=3))]
    for run in runs:
        backend.start(run)
    collect(backend, 2)
    assert [output(run) for run in runs] == ["4 4 77\n", "3 3 77\n"]


def test_a_share_is_at_least_one_thread() -> None:
    assert with_thread_share({}, 0)["OMP_NUM_THREADS"] == "1"
    assert usable_cpus() >= 1


def test_gpus_are_given_out_and_taken_back(
    make: Callable[..., Run], local: Callable[..., LocalBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-abc")
    backend = local(2)
    wait = "import os, time\nprint(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\n" + SLEEP
    one = make(wait, 1, resources=Resources(gpus=2))
    two = make(wait, 2, resources=Resources(gpus=1))
    backend.start(one)
    backend.start(two)
    with pytest.raises(BadInput, match="0 GPUs are free for experiment p/3"):
        backend.start(make("pass", 3, resources=Resources(gpus=1)))
    wait_for(one, "\n", backend.poll)
    wait_for(two, "\n", backend.poll)
    assert (output(one), output(two)) == ("4,5\n", "GPU-abc\n")
    backend.stop(2, kill=True)
    collect(backend)
    last = make("import os\nprint(os.environ['CUDA_VISIBLE_DEVICES'])", 4, resources=Resources(gpus=1))
    backend.start(last)
    collect(backend)
    assert output(last) == "GPU-abc\n"


def test_a_run_without_gpus_sees_what_the_user_sees(
    make: Callable[..., Run], local: Callable[..., LocalBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6")
    backend = local()
    run = make("import os\nprint(os.environ['CUDA_VISIBLE_DEVICES'])", metric=FITNESS)
    backend.start(run)
    collect(backend)
    assert output(run) == "6\n"


# --- the death of the driver ------------------------------------------------------------------------------------------

DRIVER = """
import sys, time
import studio
studio.run("train.py", hyperparams={"lr": "1:4"}, num_workers=2, project="p")
"""


def test_no_process_outlives_a_driver_that_was_killed(home: Path, workdir: Path) -> None:
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)"
    (workdir / "train.py").write_text(
        f"import subprocess, sys, time\nlr = 1\n{child}\nprint('up', lr, flush=True)\ntime.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], cwd=workdir)
    project = home / "projects" / "p"
    deadline = time.monotonic() + 60
    while len([log for log in project.glob("*/1/output.log") if "up" in log.read_text()]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(list(processes_of(str(project)))) == 4
    driver.kill()
    driver.wait()
    while list(processes_of(str(project))):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- what it took of the machine ----------------------------------------------------------------------------------------


def usage_of(run: Run, host: Host) -> dict[str, float]:
    outcome, _ = carry_out(run, host)
    return {name: used for name in ("cpu", "memory") if (used := getattr(outcome, name)) is not None}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel says it")
def test_its_memory_is_its_own_and_not_that_of_this_process(make: Callable[..., Run], host: Host) -> None:
    """The figure of wait4 begins with the memory of the parent process."""
    large = np.ones(300_000_000, dtype=np.uint8)
    usage = usage_of(make("import time\nprint('fitness: 1')\ntime.sleep(0.2)"), host)
    del large
    assert 1_000_000 < usage["memory"] < 100_000_000


@pytest.mark.parametrize("by", ["it", "a child"])
def test_its_memory_is_the_most_that_it_or_a_child_had(make: Callable[..., Run], host: Host, by: str) -> None:
    takes = "import time\nx = bytearray(b'x') * 200_000_000\ntime.sleep(0.4)\ndel x\ntime.sleep(0.4)"
    text = takes if by == "it" else f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {takes!r}])"
    assert 200_000_000 < usage_of(make(text), host)["memory"] < 260_000_000


class Slow(MetricReader):
    """Takes long for its last look, as one at a million scalars does."""

    def read(self) -> list[Report]:
        return []

    def close(self) -> list[Report]:
        time.sleep(1.5)
        return [Report(1, 0.5)]


class SlowPlugin:
    @hookimpl
    def studio_open_metric(self) -> MetricReader:
        return Slow()


def test_a_long_read_keeps_nobody_from_a_limit(make: Callable[..., Run]) -> None:
    runner = Runner(create_host(entry_points=False, plugins=[SlowPlugin()]))
    metric = Metric("loss", "min")
    quick, hanging = (
        make("pass", metric=metric),
        make("import time\ntime.sleep(60)", metric=metric, max_duration=0.8, number=2),
    )
    runner.start(quick)
    runner.start(hanging)
    longest, found = 0.0, []
    deadline = time.monotonic() + 30
    while len([one for one in found if isinstance(one, Outcome)]) < 2 and time.monotonic() < deadline:
        begun = time.monotonic()
        found += runner.poll(0.1)
        longest = max(longest, time.monotonic() - begun)
    runner.close()
    assert longest < 1.2, "a poll waited for a reader"
    assert Report(1, 0.5, 1, 1) in found
    assert all(one.duration < 1.4 for one in found if isinstance(one, Outcome)), "reading is not the script's time"


def test_what_a_killed_driver_moved_aside_goes(make: Callable[..., Run], host: Host) -> None:
    run = make("print('fitness: 1')")
    for name in ("1", ".1.0a1b2c3d"):
        Path(run.folder).with_name(name).mkdir(parents=True)
        Path(run.folder).with_name(name).joinpath("output.log").write_text("before")
    assert carry_out(run, host)[0].exit_code == 0
    assert os.listdir(Path(run.folder).parent) == ["1"]
    assert "before" not in output(run)
