"""Contract tests of metric readers. Under pytest:

    from studio.experiment import Metric
    from studio.testing.readers import MetricReaderContract
    import my_plugin

    class TestMine(MetricReaderContract):
        plugin = my_plugin                      # the module with your @studio.hookimpl
        metric = Metric("csv:log.csv:loss")     # a metric that it reads

        def write(self, run, values):           # like a script: append below run.folder
            with open(run.folder + "/workspace/log.csv", "a") as file:
                for value in values:
                    file.write(f"{value}\\n")

The suite records the files that `write` makes and plays them back to your reader byte by byte, truncated, damaged and
replaced. All values are exact in float32. Set a test that your format cannot pass to None in your class, such as
`test_not_finite_values = None`.
"""

import math
import os
import random
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pluggy
import pytest

from studio import hookspecs
from studio.experiment import Metric, Report, Run
from studio.interfaces import MetricReader
from studio.testing.playback import TooLong, append, at_most, bytes_read, check, files, place, values_of

VALUES = [0.9375, -1.5, 12.25, 12.25, 0.0078125, 3.0]  # unsorted, one twice; each one truncated is another number
OTHERS = [7.75, -0.625, 40.0]
FOLDERS = ("workspace", "tb", "modeldir", "artifacts")


class MetricReaderContract:
    """The contract of `studio.MetricReader` and of the hook that opens it."""

    plugin: Any
    metric: Metric
    patience: float = 5.0  # seconds that one call may take on a busy machine

    @abstractmethod
    def write(self, run: Run, values: Sequence[float]) -> None:
        """Log `values` of the metric as a script in `run` does. Further calls for the same run append."""

    def open(self, metric: Metric, run: Run) -> MetricReader | None:
        """Return the result of the plugin's hook, called as by Studio."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(self.plugin)
        manager.check_pending()
        found: list[MetricReader] = manager.hook.studio_open_metric(metric=metric, run=run)
        return found[0] if found else None

    def make_run(self, folder: Path) -> Run:
        """Return a run below `folder` whose files do not exist yet."""
        return Run("contract", 1, 1, str(folder / "source"), {}, {}, [], {}, str(folder / "run"), metric=self.metric)

    # --- opening

    def test_opening_touches_nothing(self, tmp_path: Path) -> None:
        """The hook may be called before any file exists, to check whether a plugin reads the metric."""
        self._reader(self.make_run(tmp_path / "a"))
        assert not os.path.exists(tmp_path / "a"), "opening made files: it is also called before anything starts"

    def test_claims_its_metric_and_no_other(self, tmp_path: Path) -> None:
        """The hook returns None for names of other plugins."""
        run = self.make_run(tmp_path / "a")
        foreign = ["prefix-of-another-plugin:FILE:KEY"]
        if self.metric.name != "fitness":
            foreign.append("fitness")
        if ":" in self.metric.name:
            foreign += ["val_loss", "sub/val_loss"]
        for name in foreign:
            claimed = self.open(Metric(name), run)
            assert claimed is None, f"the hook answers for {name!r}, which belongs to another plugin: return None"
        assert self._reader(run), f"the hook returns None for {self.metric.name!r}, its own"

    # --- reading

    def test_missing_files_are_no_error(self, tmp_path: Path) -> None:
        """Files may come late, or never."""
        run = self.make_run(tmp_path / "a")
        reader = self._reader(run)
        assert self._read(reader, "the run has no folder yet") == []
        self._begin(run)
        assert self._read(reader, "the run has written nothing") == []
        assert self._close(reader, "the run wrote nothing at all") == []

    @pytest.mark.parametrize("mode", ["min", "max", "last"])
    def test_every_value_once_and_in_order(self, tmp_path: Path, mode: Any) -> None:
        """All values are reported, whatever the mode: Studio keeps the smallest, largest or last."""
        run = self._begun(tmp_path / "a")
        reader = self._reader(run, replace(self.metric, mode=mode))
        self.write(run, VALUES)
        check(self._read(reader, "values were written"), VALUES, "the mode is applied by Studio: report all, in order")
        check(self._read(reader, "nothing is new"), [], "a value that was reported came again")
        check(self._close(reader, "nothing is new"), [], "close() repeats what read() had returned")

    def test_follows_a_growing_run(self, tmp_path: Path) -> None:
        """Several values, one or none between two reads."""
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        for part in (VALUES[:1], VALUES[1:3], [], VALUES[3:], OTHERS):
            for value in part:
                self.write(run, [value])
            check(self._read(reader, "the run continues"), part, "read() returns what is new since the last read()")

    def test_waits_for_what_is_incomplete(self, tmp_path: Path) -> None:
        """An incomplete line or record is not a value yet, wherever it is cut."""
        recording = self._record(tmp_path / "recording", VALUES)
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        got: list[float] = []
        for path, data in recording.items():
            for at in range(len(data)):
                append(run, path, data[at : at + 1])
                got += values_of(self._read(reader, "the file grew by a byte"))
                check(got, VALUES[: len(got)], "an incomplete line or record was taken for a complete one")
        got += values_of(self._close(reader, "the run has ended"))
        check(got, VALUES, "written byte by byte, with a read() after each")

    def test_close_takes_what_is_left(self, tmp_path: Path) -> None:
        """The end of the run also ends its last line."""
        recording = self._record(tmp_path / "recording", VALUES)
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        text = all(data.endswith(b"\n") for data in recording.values())
        for path, data in recording.items():
            append(run, path, data[:-1] if text else data)
        got = values_of(self._read(reader, "the last line has no end"))
        got += values_of(self._close(reader, "the run has ended"))
        check(got, VALUES, "close() also takes a last line without its newline: the script has ended")

    def test_not_finite_values(self, tmp_path: Path) -> None:
        """nan and inf are values."""
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        values = [1.5, math.nan, math.inf, 2.5, -math.inf]
        self.write(run, values)
        check(self._read(reader, "nan and inf were written"), values, "nan and inf are reported: Studio filters them")

    # --- files that misbehave

    def test_truncated_file(self, tmp_path: Path) -> None:
        """A file that became shorter raises nothing, invents nothing, and is read again from its beginning."""
        recording = self._record(tmp_path / "recording", VALUES)
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        self.write_back(run, recording)
        self._read(reader, "values were written")
        for part in (2, 3):
            for path, data in recording.items():
                os.truncate(place(run, path), len(data) // part)
            got = values_of(self._read(reader, "the file was cut short"))
            assert set(got) <= set(VALUES), f"{got} came from a file that was cut short: some were never written"
        for path in recording:
            os.truncate(place(run, path), 0)
        check(self._read(reader, "the file was emptied"), [], "an empty file has no values")
        for path, data in recording.items():
            append(run, path, data)
        check(self._read(reader, "it was rewritten"), VALUES, "a file that was emptied is read from its beginning")

    def test_replaced_file(self, tmp_path: Path) -> None:
        """Another file under the same name is read from its beginning."""
        first = self._record(tmp_path / "first", OTHERS)
        second = self._record(tmp_path / "second", VALUES)  # longer than what it replaces
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        self.write_back(run, first)
        check(self._read(reader, "values were written"), OTHERS, "before the file is replaced")
        self.write_back(run, dict(zip(first, second.values(), strict=True)))
        check(self._read(reader, "another file took its place"), VALUES, "another file is read from its beginning")

    def test_deleted_file(self, tmp_path: Path) -> None:
        """A file may disappear, and come back."""
        recording = self._record(tmp_path / "recording", VALUES)
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        self.write_back(run, recording)
        check(self._read(reader, "values were written"), VALUES, "before the file is deleted")
        for path in recording:
            os.unlink(place(run, path))
        check(self._read(reader, "the file is gone"), [], "nothing is new")
        self.write_back(run, recording)
        check(self._read(reader, "it came back"), VALUES, "a file that came back is a new one")

    def test_garbage(self, tmp_path: Path) -> None:
        """Random bytes raise nothing and have no values, and a good file after them is read."""
        recording = self._record(tmp_path / "recording", VALUES)
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        garbage = random.Random(1).randbytes(1 << 16)
        self.write_back(run, dict.fromkeys(recording, garbage))
        check(self._read(reader, "the file has random bytes"), [], "random bytes have no values")
        self.write_back(run, recording)
        check(self._read(reader, "a good file took its place"), VALUES, "the reader did not recover")

    def test_no_file_at_all(self, tmp_path: Path) -> None:
        """A folder or a named pipe may be in the place of the file; opening the pipe would block."""
        recording = self._record(tmp_path / "recording", VALUES)
        run = self._begun(tmp_path / "a")
        for make in (os.mkdir, os.mkfifo):
            reader = self._reader(run)
            for path in recording:
                place(run, path).parent.mkdir(parents=True, exist_ok=True)
                make(place(run, path))
            check(self._read(reader, f"{make.__name__} made something in its place"), [], "that is not a file")
            check(self._close(reader, "the run has ended"), [], "that is not a file")
            for path in recording:
                (os.rmdir if make is os.mkdir else os.unlink)(place(run, path))

    # --- cost

    def test_never_waits(self, tmp_path: Path) -> None:
        """`read` returns an empty list at once if nothing is new."""
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        self.write(run, VALUES)
        begin = time.monotonic()
        for _ in range(20):
            self._read(reader, "nothing is new")
        assert time.monotonic() - begin < min(2.0, self.patience), "read() waits for new values: return an empty list"

    def test_reads_no_byte_twice(self, tmp_path: Path) -> None:
        """A file that grows in 40 pieces is read once, not 40 times."""
        if not os.path.exists("/proc/self/io"):
            pytest.skip("needs /proc/self/io, which counts the bytes that a process reads")
        values = VALUES * 400
        recording = self._record(tmp_path / "recording", values)
        warm = self._reader(self._begun(tmp_path / "warm"))
        self.write(self.make_run(tmp_path / "warm"), VALUES)
        self._read(warm, "values were written")  # so that modules are loaded
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        got: list[float] = []
        count, rounds = 0, 40
        for path, data in recording.items():
            size = -(-len(data) // rounds)
            for at in range(0, len(data), size):
                append(run, path, data[at : at + size])
                before = bytes_read()
                got += values_of(self._read(reader, "the file grew"))
                count += bytes_read() - before
        got += values_of(self._close(reader, "the run has ended"))
        check(got, values, "a file that grew in pieces")
        size = sum(map(len, recording.values()))
        most = 2 * size + rounds * 1024 * len(recording)
        assert count <= most, f"{count} bytes were read of {size}: continue where the last read() ended"

    def test_leaves_the_files_alone(self, tmp_path: Path) -> None:
        """A reader only reads."""
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        self.write(run, VALUES)
        before = files(run)
        self._read(reader, "values were written")
        self._close(reader, "the run has ended")
        assert files(run) == before, "the reader changed, made or removed files of the run"

    # --- the rest

    def test_runs_are_apart(self, tmp_path: Path) -> None:
        """Readers of two runs at once share nothing."""
        runs = [self._begun(tmp_path / name) for name in ("a", "b")]
        readers = [self._reader(run) for run in runs]
        for run, values in zip(runs, (VALUES, OTHERS), strict=True):
            self.write(run, values)
        for reader, values in zip(readers, (VALUES, OTHERS), strict=True):
            check(self._read(reader, "two runs wrote values"), values, "each reader reads its own run")

    def test_names(self, tmp_path: Path) -> None:
        """`names` lists the metrics seen, so that a misspelt name can be distinguished from a missing metric."""
        run = self._begun(tmp_path / "a")
        reader = self._reader(run)
        assert list(reader.names) == [], "names lists the metrics seen, and nothing was written yet"
        self.write(run, VALUES)
        self._read(reader, "values were written")
        names = list(reader.names)
        assert names, "names is empty although a value was seen: the error for a missing metric lists them"
        assert all(isinstance(name, str) and name for name in names), f"names has strings, not {names}"
        assert len(set(names)) == len(names), f"a name is listed twice: {names}"

    # --- helpers

    def write_back(self, run: Run, recording: dict[str, bytes]) -> None:
        """Write the recorded files to `run`, each as a new file that replaces an existing one."""
        for path, data in recording.items():
            target = place(run, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            new = target.with_name("new")
            new.write_bytes(data)
            os.replace(new, target)

    def _begin(self, run: Run) -> None:
        for folder in FOLDERS:
            Path(run.folder, folder).mkdir(parents=True, exist_ok=True)
        Path(run.snapshot).mkdir(parents=True, exist_ok=True)

    def _begun(self, folder: Path) -> Run:
        run = self.make_run(folder)
        self._begin(run)
        return run

    def _record(self, folder: Path, values: Sequence[float]) -> dict[str, bytes]:
        """Return the files that `write` makes: relative path -> bytes."""
        run = self._begun(folder)
        self.write(run, values)
        recording = files(run)
        assert recording, f"write() made no file below {run.folder}"
        return recording

    def _reader(self, run: Run, metric: Metric | None = None) -> MetricReader:
        reader = self.open(metric or self.metric, run)
        assert isinstance(reader, MetricReader), f"the hook returned {reader!r} for its metric, not a MetricReader"
        return reader

    def _read(self, reader: MetricReader, when: str) -> list[Report]:
        return self._call("read", reader, when)

    def _close(self, reader: MetricReader, when: str) -> list[Report]:
        return self._call("close", reader, when)

    def _call(self, name: str, reader: MetricReader, when: str) -> list[Report]:
        try:
            with at_most(self.patience):
                reports = getattr(reader, name)()
        except TooLong:
            raise AssertionError(f"{name}() took more than {self.patience} s when {when}: it must not block") from None
        except Exception as error:
            raise AssertionError(f"{name}() raised {error!r} when {when}") from error
        assert isinstance(reports, list), f"{name}() returned {reports!r}: it returns a list of reports"
        for report in reports:
            assert isinstance(report, Report), f"{name}() returned {report!r}: it returns a list of reports"
            assert isinstance(report.value, float), f"{report}: the value is a float"
            assert report.step is None or isinstance(report.step, int), f"{report}: the step is an int or None"
            assert report.number is None, f"{report}: number and attempt are filled in by Studio"
            assert report.attempt is None, f"{report}: number and attempt are filled in by Studio"
        return reports
