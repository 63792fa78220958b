"""Many no-op experiments while scripts, their process groups, the driver and its watchdog are killed at random. Linux.

    python benchmarks/soak.py [--experiments 10000] [--slots 8] [--seed 1]

lost        experiments without an outcome
doubled     experiments that were asked or told twice, or that started again after their outcome was told
orphaned    processes of the search that live one second after its end; every tenth script leaves a daemon behind
mismatched  outcomes that were told, stored or shown differently from what the script printed
driver      its memory and open files: the first tenth of the experiments against the last
overhead    seconds per experiment, with killed and resumed drivers, relative to a bare loop over subprocesses with
            as many at a time, which runs before and after the search

The driver is the installed `studio`, with the defaults of `studio run`: an experiment whose script was killed has failed,
and is not tried again. Exit code 1 where one of the first four is not 0. 10,000 experiments take ten minutes to an hour.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from studio.errors import StoreError
from studio.format import metric_value
from studio.project.project import Project
from studio.project.records import read_events, reading
from studio.search.create_project import project_exists
from studio.system.processes import processes_of

PROJECT = "soak"
LOOK_EVERY = 0.1  # seconds between two looks at a running driver
SCRIPTS_PER_KILL, DRIVERS_PER_KILL = 20, 200  # on average one kill in so many experiments
STARTS_UP = 1.5  # seconds in which a driver comes up; every fifth one is killed by then
SURE = 50  # experiments before the first kill of a script: five failures without a success would end the search
PATIENCE = 180.0  # seconds without an outcome, after which the search hangs
SCRIPT = """
import os
import time

x = 1
if "STUDIO_EXPERIMENT" in os.environ:
    with open(os.environ["SOAK_BEGUN"], "a") as begun:
        begun.write(f"{x} {time.time()}\\n")
    if x % 10 == 0 and os.fork() == 0:
        os.setsid()
        time.sleep(600)
print("fitness:", x)
"""


@dataclass
class Sample:
    """Memory of a driver in MB, and the number of outcomes told by then."""

    told: int
    memory: float
    files: int


@dataclass
class Soak:
    """A search that is killed and resumed until it ends."""

    folder: Path
    experiments: int
    slots: int
    random: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    sessions: int = 0

    @property
    def project(self) -> Path:
        return self.folder / "home" / "projects" / PROJECT

    def carry_out(self) -> None:
        self._next_driver_kill = self._after(DRIVERS_PER_KILL)
        self._next_script_kill = SURE
        self._next_line = self.experiments // 10
        while not self._session():
            pass

    def _session(self) -> bool:
        """Run one driver until it ends; return whether the search has ended."""
        self.sessions += 1
        if self.project.exists() and project_exists(self.project):
            arguments = ["resume", PROJECT]
        else:
            options = [f"--project={PROJECT}", f"--num-workers={self.slots}", f"--max-experiments={self.experiments}"]
            arguments = ["run", *options, f"--hyperparam=x=1:{self.experiments}", "noop.py"]
        log = self.folder / f"driver-{self.sessions}.err"
        with open(log, "w") as errors:
            driver = subprocess.Popen(
                [Path(sys.executable).with_name("studio"), *arguments],
                cwd=self.folder / "work",
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        try:
            sent = self._watch(driver)
        finally:
            if driver.poll() is None:
                driver.kill()
                driver.wait()
        if driver.returncode in (0, 3) or (driver.returncode == 1 and "giving up" in log.read_text()):
            return True
        if driver.returncode not in {None: (), signal.SIGKILL: (-9,), signal.SIGTERM: (-15, 130)}[sent]:
            raise RuntimeError(f"driver ended with {driver.returncode}: {log.read_text()[-2000:]}")
        return False

    def _watch(self, driver: subprocess.Popen[bytes]) -> int | None:
        """Watch the driver until it ends, and return the signal that it was sent."""
        begun = last_news = time.monotonic()
        dies_early = self.random.random() < 0.2
        lifetime = self.random.uniform(0, STARTS_UP)
        sent, told = None, self._told()
        while driver.poll() is None:
            time.sleep(LOOK_EVERY)
            before, told, now = told, self._told(), time.monotonic()
            last_news = now if told > before else last_news
            if now - last_news > PATIENCE:
                raise RuntimeError(f"no outcome for {PATIENCE:.0f} s; {told} of {self.experiments} are told")
            self._look_at(driver.pid, told)
            if sent is not None or told >= self.experiments:
                continue
            if told >= self._next_script_kill:
                self._next_script_kill = told + self._after(SCRIPTS_PER_KILL)
                self._kill_a_script()
            if told >= self._next_driver_kill or (dies_early and now - begun >= lifetime):
                self._next_driver_kill = told + self._after(DRIVERS_PER_KILL)
                sent = self._kill_driver(driver)
        return sent

    def _after(self, mean: int) -> int:
        return 1 + int(self.random.expovariate(1 / mean))

    # --- kills --------------------------------------------------------------------------------------------------------

    def _kill_driver(self, driver: subprocess.Popen[bytes]) -> int:
        """Send SIGKILL or SIGTERM; sometimes kill the watchdog first, so that scripts are left to the next driver."""
        if self.random.random() < 0.3:
            for pid in self._of_home():
                if b"processes.py" in _read(f"/proc/{pid}/cmdline"):
                    self._send(pid, "watchdogs", group=False)
        number = self.random.choice([signal.SIGKILL, signal.SIGTERM])
        driver.send_signal(number)
        self.kills[f"drivers by {number.name}"] += 1
        return number

    def _kill_a_script(self) -> None:
        for _ in range(50):
            found = list(processes_of(str(self.project)))
            if found:
                group = self.random.random() < 0.5
                if self._send(self.random.choice(found), "process groups" if group else "scripts", group):
                    return

    def _send(self, pid: int, what: str, group: bool) -> bool:
        """Send SIGKILL to a process of this search, or to its group. Ids are soon reused: the handle makes sure that it is still
        the process found.
        """
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            if not self._is_ours(pid) or (group and os.getpgid(pid) != pid):
                return False
            if group:
                os.killpg(pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:  # it has ended
            return False
        finally:
            os.close(handle)
        self.kills[what] += 1
        return True

    # --- looks --------------------------------------------------------------------------------------------------------

    def _look_at(self, driver: int, told: int) -> None:
        status = _read(f"/proc/{driver}/status").decode()
        memory = re.search(r"VmRSS:\s+(\d+) kB", status)
        with contextlib.suppress(OSError):
            files = len(os.listdir(f"/proc/{driver}/fd"))
            if memory:
                self.samples.append(Sample(told, int(memory[1]) / 1024, files))
        if told >= self._next_line:
            self._next_line += self.experiments // 10 or 1
            print(f"  {told} told, {self.sessions} drivers, {sum(self.kills.values())} kills", flush=True)

    def _told(self) -> int:
        """Return the number of outcomes in the record, read while the driver writes."""
        with contextlib.suppress(StoreError), reading(self.project) as connection:
            row = connection.execute("SELECT COUNT(DISTINCT number) FROM events WHERE kind = 'tell'").fetchone()
            return int(row[0])
        return 0

    def _is_ours(self, pid: int) -> bool:
        return f"STUDIO_HOME={self.folder / 'home'}".encode() in _read(f"/proc/{pid}/environ").split(b"\0")

    def _of_home(self) -> set[int]:
        """Return drivers, watchdogs, scripts and their children; not this process, whose recorded environment differs."""
        found = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        return {pid for pid in found if pid != os.getpid() and self._is_ours(pid)}

    # --- the end ------------------------------------------------------------------------------------------------------

    def orphans(self) -> set[int]:
        time.sleep(1.0)
        return set(processes_of(str(self.folder / "home"))) | self._of_home()

    def faults(self) -> dict[str, int]:
        """Count lost, doubled and mismatched experiments."""
        with reading(self.project) as connection:
            events = list(read_events(connection))
        numbers = range(1, self.experiments + 1)
        asks = Counter(event.number for event in events if event.kind == "ask")
        tells = Counter(event.number for event in events if event.kind == "tell")
        told = {event.number: event for event in events if event.kind == "tell"}
        again = {number for number, at in self._begun() if number in told and at > told[number].at}
        record = {experiment.number: experiment for experiment in Project(PROJECT).experiments}
        doubled = {n for n in numbers if asks[n] > 1 or tells[n] > 1} | again
        mismatched = set()
        for number, tell in told.items():
            experiment, fitness = record[number], tell.fitness
            wanted = float(number) if experiment.status == "completed" else None
            if not fitness == experiment.fitness == wanted or experiment.status not in ("completed", "failed"):
                mismatched.add(number)
        for number, line in self._shown():
            experiment = record.get(number)
            value = f"fitness {metric_value(experiment)}  " if experiment and experiment.fitness is not None else ""
            if experiment is None or f"  {experiment.status}  {value}" not in line:
                mismatched.add(number)
        return {
            "lost": len([n for n in numbers if n not in told]),
            "doubled": len(doubled),
            "mismatched": len(mismatched),
        }

    def _begun(self) -> Iterator[tuple[int, float]]:
        """Yield when scripts began; skip lines cut off by a kill."""
        for line in (self.folder / "begun").read_text().splitlines():
            with contextlib.suppress(ValueError):
                number, at = line.split()
                yield int(number), float(at)

    def _shown(self) -> Iterator[tuple[int, str]]:
        """Yield the complete lines about outcomes that all drivers printed."""
        for log in self.folder.glob("driver-*.err"):
            for line in log.read_text().rpartition("\n")[0].splitlines():
                if found := re.match(r"#(\d+)/\d+  (completed|failed)", line):
                    yield int(found[1]), line


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def floor(folder: Path, count: int, slots: int) -> float:
    """Return the seconds of one run of the script in a bare loop, `slots` at a time."""

    def run(_: int) -> None:
        subprocess.run([sys.executable, "noop.py"], cwd=folder, stdout=subprocess.DEVNULL, check=True)

    begun = time.perf_counter()
    with ThreadPoolExecutor(slots) as pool:
        list(pool.map(run, range(count)))
    return (time.perf_counter() - begun) / count


def print_driver(samples: list[Sample], experiments: int) -> None:
    first = [sample for sample in samples if sample.told < experiments / 10]
    last = [sample for sample in samples if sample.told >= experiments * 9 / 10]
    if not first or not last:
        print("driver: too few looks at it")
        return
    for name, unit in (("memory", " MB"), ("files", " open")):
        before, after = (max(getattr(sample, name) for sample in part) for part in (first, last))
        peak = max(getattr(sample, name) for sample in samples)
        print(f"driver {name}: first tenth {before:.0f}{unit}, last tenth {after:.0f}{unit}, peak {peak:.0f}{unit}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "work").mkdir()
        (folder / "work" / "noop.py").write_text(SCRIPT)
        (folder / "begun").touch()
        runs = max(2 * given.slots, min(500, given.experiments // 4))
        bare = floor(folder / "work", runs, given.slots)
        os.environ |= {"STUDIO_HOME": str(folder / "home"), "SOAK_BEGUN": str(folder / "begun")}
        soak = Soak(folder, given.experiments, given.slots, random.Random(given.seed))
        print(f"{given.experiments} experiments, {given.slots} at a time, seed {given.seed}", flush=True)
        begun = time.perf_counter()
        soak.carry_out()
        seconds = (time.perf_counter() - begun) / given.experiments
        orphans = soak.orphans()
        bare = (bare + floor(folder / "work", runs, given.slots)) / 2
        faults = {**soak.faults(), "orphaned": len(orphans)}
        experiments = Project(PROJECT).experiments
        outcomes = Counter(experiment.status for experiment in experiments)
        reasons = Counter(e.reason.split(":")[0] for e in experiments if e.status == "failed")
        print(f"drivers: {soak.sessions}, kills: {json.dumps(soak.kills)}")
        print(f"outcomes: {json.dumps(outcomes)}, reasons of failures: {json.dumps(reasons)}")
        print("  ".join(f"{name} {faults[name]}" for name in ("lost", "doubled", "orphaned", "mismatched")))
        print_driver(soak.samples, given.experiments)
        ratio = seconds / bare
        print(f"{1 / seconds:.1f} experiments a second, {ratio:.1f} x a bare loop ({1 / bare:.1f} a second)")
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
    return 1 if any(faults.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
