"""Metrics in the files of a workspace, those of the real libraries among them."""

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from studio.errors import BadInput
from studio.execution.metric_value import MetricValue
from studio.experiment import Metric, Run
from studio.plugins import regex_lines
from studio.plugins.run_files import MOST_NAMES, studio_open_metric
from studio.system.copying import is_original, original_bytes


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "source").mkdir()
    (tmp_path / "run/workspace").mkdir(parents=True)
    return Run("p", 1, 1, str(tmp_path / "source"), {}, {}, [], {}, str(tmp_path / "run"))


@pytest.fixture
def workspace(run: Run) -> Path:
    return Path(run.folder, "workspace")


def read(run: Run, name: str) -> list[tuple[int | None, float]]:
    reader = studio_open_metric(Metric(name), run)
    assert reader is not None
    return [(report.step, report.value) for report in [*reader.read(), *reader.close()]]


def last(run: Run, name: str) -> float | None:
    reader, summary = studio_open_metric(Metric(name), run), MetricValue(Metric(name))
    assert reader is not None
    for report in [*reader.read(), *reader.close()]:
        summary.add(report.value, report.source)
    return summary.value


LIGHTNING = "epoch,step,train_loss,val_loss\n0,9,0.9,\n0,9,,0.8\n1,19,0.5,\n1,19,,0.4\n"
ULTRALYTICS = (
    "      epoch,  metrics/mAP50(B),      val/box_loss\n          1,     0.25,    1.5\n          2,     0.5,     1.25\n"
)
KERAS = "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,0.7,0.6,0.8\n1,0.7,0.5,0.65,0.75\n"
TRAINER = {
    "best_metric": 0.4,
    "epoch": 2.0,
    "global_step": 20,
    "log_history": [
        {"epoch": 1.0, "loss": 0.9, "step": 10},
        {"epoch": 1.0, "eval_loss": 0.8, "step": 10},
        {"epoch": 2.0, "loss": 0.5, "step": 20},
        {"epoch": 2.0, "eval_loss": 0.4, "step": 20},
    ],
}


@pytest.mark.parametrize(
    ("file", "text", "name", "rows"),
    [
        ("lightning_logs/version_0/metrics.csv", LIGHTNING, "val_loss", [(9, 0.8), (19, 0.4)]),
        (
            "lightning_logs/version_0/metrics.csv",
            LIGHTNING,
            "csv:lightning_logs/*/metrics.csv:val_loss",
            [(9, 0.8), (19, 0.4)],
        ),
        ("runs/detect/train/results.csv", ULTRALYTICS, "metrics/mAP50(B)", [(1, 0.25), (2, 0.5)]),
        (
            "runs/detect/train/results.csv",
            ULTRALYTICS,
            "csv:runs/detect/train*/results.csv:val/box_loss",
            [(1, 1.5), (2, 1.25)],
        ),
        ("runs/detect/train/results.csv", ULTRALYTICS, "mAP50(B)", [(1, 0.25), (2, 0.5)]),
        ("training.log", KERAS, "val_loss", [(0, 0.8), (1, 0.75)]),
        ("training.log", KERAS.replace(",", ";"), "loss", [(0, 0.7), (1, 0.5)]),
        (
            "out/results.json",
            json.dumps({"metrics": {"val": {"loss": 0.5}}}),
            "json:out/results.json:metrics.val.loss",
            [(None, 0.5)],
        ),
        ("out/results.json", json.dumps({"metrics": {"val_loss": 0.5}}), "json:*/results.json:val_loss", [(None, 0.5)]),
        ("out/results.json", json.dumps({"metrics": {"val_loss": 0.5}}), "val_loss", [(None, 0.5)]),
        ("results.json", json.dumps({"metrics": {"val_loss": 0.5}, "val_loss": 0.25}), "val_loss", [(None, 0.25)]),
        ("out/trainer_state.json", json.dumps(TRAINER, indent=2), "eval_loss", [(10, 0.8), (20, 0.4)]),
        (
            "out/checkpoint-20/trainer_state.json",
            json.dumps(TRAINER),
            "json:out/checkpoint-*/trainer_state.json:eval_loss",
            [(10, 0.8), (20, 0.4)],
        ),
        (
            "metrics.jsonl",
            '{"step": 1, "val_loss": 0.5}\n{"step": 2, "val_loss": 0.25}\n',
            "val_loss",
            [(1, 0.5), (2, 0.25)],
        ),
        ("history.json", json.dumps({"val_loss": [0.5, 0.25]}), "val_loss", [(0, 0.5), (1, 0.25)]),
        ("log.csv", 'step,args,val_loss\n1,"lr=0.1, wd=0",0.5\n', "val_loss", [(1, 0.5)]),
        ("metrics.csv", "loss\n0.5\n", "val_loss", []),
        ("metrics.csv", "train_loss,val_loss\n0.5,0.25\n", "loss", []),
        ("metrics.csv", "epoch,note\n1,good\n", "note", []),
        ("results.json", "{", "val_loss", []),
    ],
)
def test_a_file_has_the_metric(
    run: Run, workspace: Path, file: str, text: str, name: str, rows: list[tuple[int | None, float]]
) -> None:
    (workspace / file).parent.mkdir(parents=True, exist_ok=True)
    (workspace / file).write_text(text)
    assert read(run, name) == rows


@pytest.mark.parametrize(
    "name",
    [
        *("csv:", "csv:x.csv", "csv::loss", "csv:/etc/x.csv:loss", "json:../x.json:loss", "json:x.json:"),
        *("jsonl:x.jsonl", "jsonl: : ", "jsonl:a/../../x.jsonl:loss", "jsonl:..:loss", "jsonl:x.jsonl:loss:min:max"),
    ],
)
def test_wrong_names_say_what_to_write(run: Run, name: str) -> None:
    with pytest.raises(BadInput, match=r"FILE:KEY.*such as"):
        studio_open_metric(Metric(name), run)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('{"a": -1e-3}', "a", -0.001),
        ('{"a": NaN}', "a", float("nan")),
        ('{"a": -Infinity}', "a", float("-inf")),
        ('{"m": {"n": {"a": 0.5}}}', "m.n.a", 0.5),
        ('{"m.n": {"a": 0.5}}', "m.n.a", 0.5),
        ('{"m": {"n.a": 0.5}}', "m.n.a", 0.5),
        ('  {"a": 0.5}\r', "a", 0.5),
        ('{"a": 0.1, "a": 0.5}', "a", 0.5),
        ('{"naïve": 0.5}', "naïve", 0.5),
        (json.dumps({"naïve": 0.5}), "naïve", 0.5),
        ('{"a": "0.5"}', "a", None),
        ('{"a": true}', "a", None),
        ('{"a": null}', "a", None),
        ('{"b": 0.5}', "a", None),
        ('{"a": 0.5', "a", None),
        ('{"a": 0.5} {"a": 0.6}', "a", None),
        ("0.5", "a", None),
        ("", "a", None),
        ('{"a": ' + "9" * 400 + "}", "a", None),
        ('{"a": ' + "9" * 5000 + "}", "a", None),
        ('{"a": ' * 50_000, "a", None),
        ('{"a": 0.5, "x": "' + "x" * (1 << 19) + '"}', "a", 0.5),
        ("{\0}", "a", None),
    ],
)
def test_a_line_of_json(run: Run, workspace: Path, line: str, key: str, value: float | None) -> None:
    (workspace / "m.jsonl").write_text(f'{{"{key}": 7}}\n{line}\n{{"{key}": 8}}\n', encoding="utf-8")
    expected = [7.0, 8.0] if value is None else [7.0, value, 8.0]
    assert repr([value for _, value in read(run, f"jsonl:m.jsonl:{key}")]) == repr(expected)


@pytest.mark.parametrize(
    ("entry", "step"),
    [
        ({"step": 3}, 3),
        ({"global_step": 300, "epoch": 3}, 3),
        ({"step": 1.5, "epoch": 3}, 3),
        ({"step": True}, None),
        ({"step": "3"}, None),
        ({}, None),
    ],
)
def test_the_step_of_a_line(run: Run, workspace: Path, entry: dict[str, object], step: int | None) -> None:
    (workspace / "m.jsonl").write_text(json.dumps({"a": 1, **entry}) + "\n")
    assert read(run, "jsonl:m.jsonl:a") == [(step, 1.0)]


def test_the_names_of_one_file_can_be_asked_for(run: Run, workspace: Path) -> None:
    few = {"loss": 1, "val": {"acc": 2, "ok": True}, "text": "x", "bell\a": 1}
    deep = '{"a": ' * 8 + "1" + "}" * 8 + "\n" + '{"b": ' * 10 + "1" + "}" * 10
    many = "".join(f'{{"key{n}": 1}}\n' for n in range(MOST_NAMES * 2))
    (workspace / "m.jsonl").write_text(f"{json.dumps(few)}\n{deep}\n{many}")
    reader = studio_open_metric(Metric("jsonl:m.jsonl:val_loss"), run)
    assert reader is not None
    reader.close()
    assert list(reader.names)[:3] == [f"jsonl:m.jsonl:{key}" for key in ("loss", "val.acc", "a.a.a.a.a.a.a.a")]
    assert len(reader.names) == MOST_NAMES
    for name in list(reader.names)[:4]:
        assert read(run, name)


def test_the_names_tell_what_there_is(run: Run, workspace: Path) -> None:
    (workspace / "metrics.csv").write_text(KERAS)
    reader = studio_open_metric(Metric("*"), run)
    assert reader is not None
    assert reader.close() == []
    assert reader.names == {"epoch": 1.0, "accuracy": 0.7, "loss": 0.5, "val_accuracy": 0.65, "val_loss": 0.75}


# --- files that came with the source


@pytest.mark.parametrize("file", ["metrics.csv", "results.json", "metrics.jsonl"])
def test_a_file_of_an_earlier_run_is_not_of_this_one(run: Run, workspace: Path, file: str) -> None:
    old = {"metrics.csv": "loss\n0.125\n", "results.json": '{"loss": 0.125}', "metrics.jsonl": '{"loss": 0.125}\n'}[
        file
    ]
    new = old.replace("0.125", "0.5") * (1 if file == "results.json" else 3)
    source = Path(run.snapshot, file)
    source.write_text(old)
    os.utime(source, ns=(1, 10**18))
    shutil.copy2(source, workspace / file)
    reader = studio_open_metric(Metric("loss"), run)
    assert reader is not None
    assert reader.read() == []
    (workspace / file).write_text(new)  # long after the reader looked first, and longer than it was
    assert {report.value for report in [*reader.read(), *reader.close()]} == {0.5}


def test_what_is_original(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("abc")
    shutil.copy2(one, other)
    assert is_original(str(other), str(one))
    with open(other, "a") as file:
        file.write("def")
    assert not is_original(str(other), str(one))
    assert original_bytes(str(other), str(one)) == 3
    other.write_text("xyzdef")
    assert original_bytes(str(other), str(one)) == 0
    assert not is_original(str(tmp_path / "none"), str(one))


# --- trackers, by the real libraries


def made_by(script: str, workspace: Path) -> None:
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=workspace, env=env, check=True)


def test_mlflow_in_sqlite(run: Run, workspace: Path) -> None:
    def log(path: Path, *values: float) -> None:
        connection = sqlite3.connect(path)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL,"
            " run_uuid VARCHAR(32) NOT NULL, step BIGINT DEFAULT '0' NOT NULL, is_nan BOOLEAN DEFAULT '0' NOT NULL,"
            " PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan))"
        )
        for step, value in enumerate(values):
            connection.execute("INSERT INTO metrics VALUES ('val_loss', ?, ?, 'r', ?, 0)", (value, step, step))
        connection.commit()
        connection.close()

    log(Path(run.snapshot, "mlflow.db"), 0.125)
    shutil.copy2(Path(run.snapshot, "mlflow.db"), workspace / "mlflow.db")
    log(workspace / "mlflow.db", 0.5, 0.25)
    assert read(run, "val_loss") == [(0, 0.5), (1, 0.25)]


def test_wandb_offline(run: Run, workspace: Path) -> None:
    script = (
        "import wandb\nrun = wandb.init(project='x', dir='.')\n"
        "for i in range(4): run.log({'val/loss': 1 / (i + 1), 'text': 'x' * 20000})\nrun.summary['best'] = 0.125\nrun.finish()\n"
    )
    made_by(script, workspace)
    assert [value for step, value in read(run, "val/loss") if step is not None] == [1.0, 0.5, 1 / 3, 0.25]
    assert last(run, "val/loss") == 0.25
    assert last(run, "best") == 0.125
    for file in workspace.rglob("*.wandb"):  # that of another run came with the source
        original = Path(run.snapshot, file.relative_to(workspace))
        original.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, original)
    assert read(run, "val/loss") == []


def test_rows_of_a_csv_without_a_number_are_no_header(run: Run, workspace: Path) -> None:
    (workspace / "log.csv").write_text("epoch,val_loss\n1,0.5\n,\ndone,best\n2,0.4\nval_loss,epoch\n0.3,1\n")
    assert read(run, "val_loss") == [(1, 0.5), (2, 0.4), (1, 0.3)]


def test_csv_as_the_library_quotes_it(run: Run, workspace: Path) -> None:
    with open(workspace / "log.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", "val loss"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerow({"epoch": 3, "val loss": 0.5})
    assert read(run, "val_loss") == [(3, 0.5)]


# --- patterns


@pytest.mark.parametrize(
    ("pattern", "line", "value"),
    [
        (r"score=(\S+) after", "the score=0.5 after all", (None, 0.5)),
        (r"(?P<step>\d+)\) (?P<value>.+) points", "3) 0.5 points", (3, 0.5)),
        (r"step (?P<step>\d+) loss (\S+)", "step 7 loss 0.25", (7, 0.25)),
        (r"loss=(?P<value>[\d.]+)|(accuracy)", "accuracy 3", None),
        (r"\d+\.\d+ correct", "so 0.5 correct", (None, 0.5)),
        (r"got (\w+)", "got nothing", None),
    ],
)
def test_a_pattern_reads(run: Run, pattern: str, line: str, value: tuple[int | None, float] | None) -> None:
    Path(run.folder, "output.log").write_text(line + "\n")
    reader = regex_lines.studio_open_metric(Metric(f"regex:{pattern}"), run)
    assert reader is not None
    assert [(report.step, report.value) for report in reader.close()] == ([value] if value else [])


@pytest.mark.parametrize(
    "pattern", ["", "(", r"(a+)+b", r"(a|aa)+b", r"(\w+\s?)*x", r"a*b.*c.*d.*e", r"(?:a{2,9}){2,}"]
)
def test_a_pattern_that_could_take_for_ever_is_refused(run: Run, pattern: str) -> None:
    with pytest.raises(BadInput, match="regex:"):
        regex_lines.studio_open_metric(Metric(f"regex:{pattern}"), run)


@pytest.mark.parametrize("pattern", ["val_loss", "^loss 5$"])
def test_a_pattern_that_finds_its_own_text_alone_is_refused(run: Run, pattern: str) -> None:
    with pytest.raises(BadInput, match="finds its own text alone, and no number; write for example"):
        regex_lines.studio_open_metric(Metric(f"regex:{pattern}"), run)
