"""Curves are read from the files of an attempt, beside the source that this attempt had."""

from pathlib import Path

import pytest

from studio.experiment import Experiment, Metric, Report, Run
from studio.host import Host, create_host
from studio.interfaces import MetricReader
from studio.reporting.curves import reports_of


class Reader(MetricReader):
    """Counts what was in the source as nothing new, as readers do."""

    names = ("loss",)

    def __init__(self, run: Run):
        source, workspace = (
            Path(folder, "log").read_text().split() for folder in (run.snapshot, f"{run.folder}/workspace")
        )
        self.new = workspace[len(source) :]

    def read(self) -> list[Report]:
        return []

    def close(self) -> list[Report]:
        return [Report(None, float(text)) for text in self.new]


@pytest.mark.parametrize(("snapshot", "values"), [(None, [0.001, 5.0]), ("source", [0.001, 5.0]), ("source-2", [5.0])])
def test_a_curve_is_compared_with_the_attempts_own_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: str | None, values: list[float]
) -> None:
    for folder, text in {"source": "", "source-2": "0.001", "1/1/workspace": "0.001 5.0"}.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "log").write_text(text)
    host: Host = create_host()
    monkeypatch.setattr(host, "open_metric", lambda metric, run: Reader(run))
    experiment = Experiment("p", 1, "completed", {}, folder=str(tmp_path / "1" / "1"), snapshot=snapshot)
    assert [report.value for report in reports_of(experiment, tmp_path, Metric("loss"), host)] == values
