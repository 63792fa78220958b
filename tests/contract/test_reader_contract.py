"""The contract suite of metric readers: the built-ins keep it, and for each promise a reader that breaks it fails."""

import io
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from studio.experiment import Metric, Report, Run
from studio.hookspecs import hookimpl
from studio.interfaces import MetricReader
from studio.plugins import fitness, printed, regex_lines, run_files, tensorboard
from studio.system.tail import Lines
from studio.testing.readers import MetricReaderContract


class TestFitness(MetricReaderContract):
    plugin = fitness
    metric = Metric("fitness")

    def write(self, run: Run, values: Sequence[float]) -> None:
        with open(run.folder + "/output.log", "a") as file:
            for value in values:
                print("epoch done\nfitness:", value, file=file)


class TestPrinted(MetricReaderContract):
    plugin = printed
    metric = Metric("val_loss")

    def write(self, run: Run, values: Sequence[float]) -> None:
        with open(run.folder + "/output.log", "a") as file:
            for value in values:
                print("epoch", 3, "loss: 0.5, val_loss:", value, file=file)


class TestRegex(MetricReaderContract):
    plugin = regex_lines
    metric = Metric(r"regex:score (\S+) after")

    def write(self, run: Run, values: Sequence[float]) -> None:
        with open(run.folder + "/output.log", "a") as file:
            file.writelines(f"the score {value} after\n" for value in values)


class TestCsv(MetricReaderContract):
    plugin = run_files
    metric = Metric("csv:logs/*.csv:val_loss")
    test_claims_its_metric_and_no_other: Any = None  # it also reads names without a prefix

    def write(self, run: Run, values: Sequence[float]) -> None:
        file = Path(run.folder, "workspace/logs/metrics.csv")
        file.parent.mkdir(exist_ok=True)
        new = not file.exists()
        with open(file, "a") as lines:
            lines.write("epoch,   val_loss, lr\n" if new else "")
            lines.writelines(f"{step}, {value}, 0.1\n" for step, value in enumerate(values))


class TestCsvByName(TestCsv):
    metric = Metric("val_loss")
    test_claims_its_metric_and_no_other = MetricReaderContract.test_claims_its_metric_and_no_other


class TestJson(MetricReaderContract):
    plugin = run_files
    metric = Metric("json:results.json:history.val_loss")
    test_claims_its_metric_and_no_other: Any = None
    test_reads_no_byte_twice: Any = None  # a document is understood when it is whole, and is written anew each time

    def write(self, run: Run, values: Sequence[float]) -> None:
        file = Path(run.folder, "workspace/results.json")
        before = json.loads(file.read_text())["history"]["val_loss"] if file.exists() else []
        file.write_text(json.dumps({"history": {"val_loss": [*before, *values]}, "seed": 3}) + "\n")


class TestJsonLines(MetricReaderContract):
    plugin = run_files
    metric = Metric("jsonl:logs/metrics.jsonl:val.loss")
    test_claims_its_metric_and_no_other: Any = None

    def write(self, run: Run, values: Sequence[float]) -> None:
        file = Path(run.folder, "workspace/logs/metrics.jsonl")
        file.parent.mkdir(exist_ok=True)
        with open(file, "a") as lines:
            for value in values:
                lines.write(json.dumps({"epoch": 3, "lr": 0.1, "val": {"loss": value}}) + "\n")


class TestTensorBoard(MetricReaderContract):
    plugin = tensorboard
    metric = Metric("loss/val")
    folder = "tb"

    def write(self, run: Run, values: Sequence[float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        buffer = io.BytesIO()
        for step, value in enumerate(values):
            entries = [Summary.Value(tag=tag, simple_value=value) for tag in ("other", "loss/val")]
            RecordWriter(buffer).write(Event(step=step, summary=Summary(value=entries)).SerializeToString())
        os.makedirs(Path(run.folder, self.folder), exist_ok=True)
        with open(Path(run.folder, self.folder, "events.out.tfevents.1.host"), "ab") as file:
            file.write(buffer.getvalue())


class TestTensorBoardInWorkspace(TestTensorBoard):
    folder = "workspace/lightning_logs/version_0"


# --- readers that break a promise, and the test that says so


class Good(MetricReader):
    """A number a line in workspace/log.csv."""

    def __init__(self, metric: Metric, run: Run):
        self.mode = metric.mode
        self.path = run.folder + "/workspace/log.csv"
        self.lines = Lines(self.path)
        self.names: list[str] = []

    def read(self) -> list[Report]:
        return self.reports(last=False)

    def close(self) -> list[Report]:
        return self.reports(last=True)

    def reports(self, last: bool) -> list[Report]:
        return self.parsed(b"".join(self.lines.read(last=last)))

    def parsed(self, text: bytes) -> list[Report]:
        reports = []
        for line in text.split(b"\n"):
            try:
                reports.append(Report(None, float(line)))
            except ValueError:
                continue
            self.names = ["csv:log.csv"]
        return reports


def whole_file(path: str) -> bytes:
    return Path(path).read_bytes() if os.path.isfile(path) else b""


class OpensItsFile(Good):
    def __init__(self, metric: Metric, run: Run):
        super().__init__(metric, run)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)


class NeedsItsFile(Good):
    def reports(self, last: bool) -> list[Report]:
        return self.parsed(Path(self.path).read_bytes())


class ReportsAgain(Good):
    def reports(self, last: bool) -> list[Report]:
        return self.parsed(whole_file(self.path))


class CloseRepeats(Good):
    def close(self) -> list[Report]:
        return self.parsed(whole_file(self.path))


class Reverses(Good):
    def reports(self, last: bool) -> list[Report]:
        return super().reports(last)[::-1]


class LeavesOutEquals(Good):
    def reports(self, last: bool) -> list[Report]:
        return list(dict.fromkeys(super().reports(last)))


class SummarisesByMode(Good):
    def reports(self, last: bool) -> list[Report]:
        reports = super().reports(last)
        return [min(reports, key=lambda report: report.value)] if reports and self.mode == "min" else reports


class ReturnsNumbers(Good):
    def reports(self, last: bool) -> list[Any]:
        return [report.value for report in super().reports(last)]


class ReturnsNone(Good):
    def reports(self, last: bool) -> Any:
        return super().reports(last) or None


class KeepsNewestOnly(Good):
    def reports(self, last: bool) -> list[Report]:
        return super().reports(last)[-1:]


class TakesHalfLines(Good):
    at = 0

    def reports(self, last: bool) -> list[Report]:
        text = whole_file(self.path)[self.at :]
        self.at += len(text)
        return self.parsed(text)


class LosesHalfLines(Good):
    """Passes over a line that is not complete, and over its end when that comes."""

    at = 0

    def reports(self, last: bool) -> list[Report]:
        text = whole_file(self.path)[self.at :]
        self.at += len(text)
        return self.parsed(text[: text.rfind(b"\n") + 1])


class ForgetsTheLastLine(Good):
    def close(self) -> list[Report]:
        return self.read()


class FiltersNan(Good):
    def reports(self, last: bool) -> list[Report]:
        return [report for report in super().reports(last) if report.value == report.value]


class StaysAtItsPosition(Good):
    at = 0

    def reports(self, last: bool) -> list[Report]:
        text = whole_file(self.path)[self.at :]
        text = text if last else text[: text.rfind(b"\n") + 1]
        self.at += len(text)
        return self.parsed(text)


class InventsWhenCut(StaysAtItsPosition):
    def reports(self, last: bool) -> list[Report]:
        cut = os.path.isfile(self.path) and os.path.getsize(self.path) < self.at
        return [Report(None, 0.0)] if cut else super().reports(last)


class RaisesWhenGone(Good):
    seen = False

    def reports(self, last: bool) -> list[Report]:
        self.seen = self.seen or os.path.exists(self.path)
        if self.seen:
            os.stat(self.path)
        return super().reports(last)


class Decodes(Good):
    def parsed(self, text: bytes) -> list[Report]:
        return super().parsed(text.decode().encode())


class OpensAnything(Good):
    def reports(self, last: bool) -> list[Report]:
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            with open(self.path, "rb"):
                pass
        return super().reports(last)


class Waits(Good):
    def reports(self, last: bool) -> list[Report]:
        reports = super().reports(last)
        if not reports:
            time.sleep(0.05)
        return reports


class ReadsAllAgain(Good):
    """Reports each value once, but reads the file from its beginning to do so."""

    count = 0

    def reports(self, last: bool) -> list[Report]:
        text = whole_file(self.path)
        reports = self.parsed(text if last else text[: text.rfind(b"\n") + 1])
        new, self.count = reports[self.count :], len(reports)
        return new


class TakesTheFileAway(Good):
    def reports(self, last: bool) -> list[Report]:
        reports = super().reports(last)
        if os.path.isfile(self.path):
            os.unlink(self.path)
        return reports


class SharesItsState(Good):
    shared: ClassVar[dict[str, Lines]] = {}

    def reports(self, last: bool) -> list[Report]:
        lines = self.shared.setdefault("lines", self.lines)
        return self.parsed(b"".join(lines.read(last=last)))


class KnowsNoNames(Good):
    def parsed(self, text: bytes) -> list[Report]:
        reports = super().parsed(text)
        self.names = []
        return reports


class NamesBeforeItSees(Good):
    def __init__(self, metric: Metric, run: Run):
        super().__init__(metric, run)
        self.names = ["csv:log.csv"]


class NamesTwice(Good):
    def parsed(self, text: bytes) -> list[Report]:
        reports = super().parsed(text)
        self.names = self.names * 2
        return reports


class Plugin:
    def __init__(self, reader: type[Good], names: tuple[str, ...] = ("csv:log.csv",)):
        self.reader = reader
        self.names = names

    @hookimpl
    def studio_open_metric(self, metric: Metric, run: Run) -> MetricReader | None:
        return self.reader(metric, run) if metric.name in self.names else None


class Suite(MetricReaderContract):
    metric = Metric("csv:log.csv")
    patience = 0.4

    def __init__(self, plugin: Plugin):
        self.plugin = plugin

    def write(self, run: Run, values: Sequence[float]) -> None:
        with open(run.folder + "/workspace/log.csv", "a") as file:
            file.writelines(f"{value}\n" for value in values)


TESTS = sorted(name for name in dir(MetricReaderContract) if name.startswith("test_"))
BROKEN = [
    (Plugin(OpensItsFile), "test_opening_touches_nothing"),
    (Plugin(Good, ("csv:log.csv", "val_loss")), "test_claims_its_metric_and_no_other"),
    (Plugin(Good, ("csv:log.csv", "fitness")), "test_claims_its_metric_and_no_other"),
    (Plugin(Good, ("csv:log.csv", "prefix-of-another-plugin:FILE:KEY")), "test_claims_its_metric_and_no_other"),
    (Plugin(Good, ()), "test_claims_its_metric_and_no_other"),
    (Plugin(NeedsItsFile), "test_missing_files_are_no_error"),
    (Plugin(ReportsAgain), "test_every_value_once_and_in_order"),
    (Plugin(CloseRepeats), "test_every_value_once_and_in_order"),
    (Plugin(Reverses), "test_every_value_once_and_in_order"),
    (Plugin(LeavesOutEquals), "test_every_value_once_and_in_order"),
    (Plugin(SummarisesByMode), "test_every_value_once_and_in_order"),
    (Plugin(ReturnsNumbers), "test_every_value_once_and_in_order"),
    (Plugin(ReturnsNone), "test_every_value_once_and_in_order"),
    (Plugin(KeepsNewestOnly), "test_follows_a_growing_run"),
    (Plugin(TakesHalfLines), "test_waits_for_what_is_incomplete"),
    (Plugin(LosesHalfLines), "test_waits_for_what_is_incomplete"),
    (Plugin(ForgetsTheLastLine), "test_close_takes_what_is_left"),
    (Plugin(FiltersNan), "test_not_finite_values"),
    (Plugin(StaysAtItsPosition), "test_truncated_file"),
    (Plugin(InventsWhenCut), "test_truncated_file"),
    (Plugin(StaysAtItsPosition), "test_replaced_file"),
    (Plugin(RaisesWhenGone), "test_deleted_file"),
    (Plugin(Decodes), "test_garbage"),
    (Plugin(OpensAnything), "test_no_file_at_all"),
    (Plugin(Waits), "test_never_waits"),
    (Plugin(ReadsAllAgain), "test_reads_no_byte_twice"),
    (Plugin(TakesTheFileAway), "test_leaves_the_files_alone"),
    (Plugin(SharesItsState), "test_runs_are_apart"),
    (Plugin(KnowsNoNames), "test_names"),
    (Plugin(NamesBeforeItSees), "test_names"),
    (Plugin(NamesTwice), "test_names"),
]


def run_one(plugin: Plugin, test: str, folder: Path) -> None:
    SharesItsState.shared.clear()
    arguments = ("min",) if test == "test_every_value_once_and_in_order" else ()
    getattr(Suite(plugin), test)(folder, *arguments)


@pytest.mark.parametrize(
    ("plugin", "test"), BROKEN, ids=lambda item: item if isinstance(item, str) else item.reader.__name__
)
def test_the_suite_fails_a_broken_reader(plugin: Plugin, test: str, tmp_path: Path) -> None:
    if test == "test_reads_no_byte_twice" and not os.path.exists("/proc/self/io"):
        pytest.skip("needs /proc/self/io")
    with pytest.raises(AssertionError) as failure:
        run_one(plugin, test, tmp_path)
    assert len(str(failure.value)) > 20, "the failure says what is wrong"


@pytest.mark.parametrize("test", TESTS)
def test_the_suite_passes_a_good_reader(test: str, tmp_path: Path) -> None:
    run_one(Plugin(Good), test, tmp_path)


def test_every_promise_has_a_reader_that_breaks_it() -> None:
    assert {test for _, test in BROKEN} == set(TESTS)
