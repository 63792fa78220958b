import csv
import os
from pathlib import Path

import pytest
import studio_csv

import studio
from studio.testing.readers import MetricReaderContract


class TestCsv(MetricReaderContract):
    plugin = studio_csv
    metric = studio.Metric("csv:logs/metrics.csv:val_loss")

    def write(self, run, values):
        """Write as Lightning does: with other rows between, and empty cells."""
        path = Path(run.folder, "workspace", "logs", "metrics.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a") as file:
            if file.tell() == 0:
                file.write("epoch,step,train_loss,val_loss\n")
            for step, value in enumerate(values):
                file.write(f"0,{step},0.5,\n0,{step},,{value}\n")


class TestOneColumn(TestCsv):
    metric = studio.Metric("csv:log.csv:loss")

    def write(self, run, values):
        with open(Path(run.folder, "workspace", "log.csv"), "a", newline="") as file:
            if file.tell() == 0:
                file.write("# run 7\r\n\r\nloss\r\n")
            csv.writer(file).writerows([value] for value in values)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "run" / "workspace" / "metrics.csv"
    path.parent.mkdir(parents=True)
    (tmp_path / "source").mkdir()
    return path


def open_reader(log, column="val_loss"):
    run = TestCsv().make_run(log.parents[2])
    return studio_csv.studio_open_metric(studio.Metric(f"csv:metrics.csv:{column}"), run)


def values(reports):
    return [(report.step, report.value) for report in reports]


LIGHTNING = """\
epoch,step,train_loss,val_loss
0,0,0.39,
0,3,,0.0778
1,7,,0.0186
2,11,,nan
"""


def test_the_log_of_lightning(log):
    reader = open_reader(log)
    log.write_text(LIGHTNING)
    assert values(reader.read())[:2] == [(3, 0.0778), (7, 0.0186)]
    assert list(reader.names) == [f"csv:metrics.csv:{name}" for name in ("epoch", "step", "train_loss", "val_loss")]


def test_a_log_that_is_written_anew_with_another_column(log):
    reader = open_reader(log)
    log.write_text("epoch,step,val_loss\n0,3,0.5\n1,7,0.25\n")
    assert values(reader.read()) == [(3, 0.5), (7, 0.25)]
    log.write_text("accuracy,epoch,step,val_loss\n,0,3,0.5\n,1,7,0.25\n0.9,2,11,0.125\n")
    assert values(reader.read()) == [(11, 0.125)]
    assert values(reader.close()) == []


def test_the_column_that_comes_later(log):
    reader = open_reader(log)
    log.write_text("epoch,step,train_loss\n0,0,0.5\n")
    assert reader.read() == []
    log.write_text("epoch,step,train_loss,val_loss\n0,0,0.5,\n0,3,,0.25\n")
    assert values(reader.read()) == [(3, 0.25)]


def test_another_file_without_the_column(log):
    reader = open_reader(log, "b")
    log.write_text("a,b\n1,2\n")
    assert values(reader.read()) == [(None, 2.0)]
    log.unlink()
    log.write_text("a,c\n1,3\n")
    assert reader.read() == []


def test_rows_that_are_no_rows(log):
    reader = open_reader(log, "b")
    log.write_text(
        'written by me\n\na,b\n1\n1,2,3\nx,"1,5"\n"1", "4"\n1,1_0\n1,0x1\n1,infe5\n1,True\n' + "9," * 40_000 + "9\n"
    )
    assert values(reader.read()) == [(None, 2.0), (None, 4.0)]


def test_what_the_source_brought_along_is_not_of_this_run(log, tmp_path):
    old = tmp_path / "source" / "metrics.csv"
    old.write_text("step,val_loss\n1,0.5\n")
    log.write_bytes(old.read_bytes())
    os.utime(log, ns=(old.stat().st_mtime_ns, old.stat().st_mtime_ns))
    reader = open_reader(log)
    assert reader.read() == []
    with open(log, "a") as file:
        file.write("2,0.25\n")
    assert values(reader.read()) == [(2, 0.25)]
    log.write_text("step,val_loss\n1,0.75\n")
    assert values(reader.close()) == [(1, 0.75)]


@pytest.mark.parametrize("name", ["csv:", "csv:a.csv", "csv:a.csv:", "csv::b", "csv:/a.csv:b", "csv:../a.csv:b"])
def test_wrong_names(name, log):
    with pytest.raises(studio.StudioError, match=r"write csv:FILE:COLUMN"):
        studio_csv.studio_open_metric(studio.Metric(name), TestCsv().make_run(log.parents[2]))
