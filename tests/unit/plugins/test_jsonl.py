"""The reader of JSON-lines files."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import BadInput
from studio.experiment import Metric, Report, Run
from studio.interfaces import MetricReader
from studio.plugins.jsonl import MOST_NAMES, studio_open_metric


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "source").mkdir()
    (tmp_path / "run/workspace").mkdir(parents=True)
    return Run("p", 1, 1, str(tmp_path / "source"), {}, {}, [], {}, str(tmp_path / "run"))


def reader_of(name: str, run: Run) -> MetricReader:
    reader = studio_open_metric(Metric(name), run)
    assert reader is not None
    return reader


def log(run: Run, text: str | bytes, file: str = "m.jsonl") -> None:
    with open(os.path.join(run.folder, "workspace", file), "ab") as out:
        out.write(text if isinstance(text, bytes) else text.encode())


# --- names


@pytest.mark.parametrize("name", ["fitness", "val_loss", "jsonl", "csv:m.jsonl:loss", "jsonlines:a:b", ""])
def test_names_of_others(run: Run, name: str) -> None:
    assert studio_open_metric(Metric(name), run) is None


@pytest.mark.parametrize(
    "name",
    [
        *("jsonl:", "jsonl:m.jsonl", "jsonl::loss", "jsonl:m.jsonl:", "jsonl: : ", "jsonl:m.jsonl:loss:min:max"),
        *("jsonl:/etc/m.jsonl:loss", "jsonl:../m.jsonl:loss", "jsonl:a/../../m.jsonl:loss", "jsonl:..:loss"),
    ],
)
def test_wrong_names_say_what_to_write(run: Run, name: str) -> None:
    with pytest.raises(BadInput) as error:
        studio_open_metric(Metric(name), run)
    text = str(error.value)
    assert repr(name) in text
    assert ":loss" in text or ":val_loss" in text
    assert ".jsonl:" in text
    assert "\n" not in text


def test_dots_in_names_are_no_way_out(run: Run) -> None:
    log(run, '{"loss": 1}\n', "..m..jsonl")
    assert reader_of("jsonl:./..m..jsonl:loss", run).read() == [Report(None, 1.0)]


# --- values


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('{"a": 0.5}', "a", 0.5),
        ('{"a": 3}', "a", 3.0),
        ('{"a": -1e-3}', "a", -0.001),
        ('{"a": NaN}', "a", float("nan")),
        ('{"a": -Infinity}', "a", float("-inf")),
        ('{"m": {"a": 0.5}}', "m.a", 0.5),
        ('{"m": {"n": {"a": 0.5}}}', "m.n.a", 0.5),
        ('{"m.n": {"a": 0.5}}', "m.n.a", 0.5),
        ('{"m": {"n.a": 0.5}}', "m.n.a", 0.5),
        ('{"m.a": 0.5, "m": {"a": 0.7}}', "m.a", 0.5),
        ('{"m.a": "text", "m": {"a": 0.7}}', "m.a", None),
        ('{"m": 1, "m.n": {"a": 0.5}}', "m.n.a", 0.5),
        ('  {"a": 0.5}\r', "a", 0.5),
        ('{"a": 0.1, "a": 0.5}', "a", 0.5),
        ('{"naïve": 0.5}', "naïve", 0.5),
        (json.dumps({"naïve": 0.5}), "naïve", 0.5),
        ('{"val loss": 0.5}', "val loss", 0.5),
        ('{"a": "0.5"}', "a", None),
        ('{"a": true}', "a", None),
        ('{"a": null}', "a", None),
        ('{"a": [0.5]}', "a", None),
        ('{"a": {"b": 0.5}}', "a", None),
        ('{"b": 0.5}', "a", None),
        ('{"a": 0.5', "a", None),
        ('{"a": 0.5} {"a": 0.6}', "a", None),
        ('[{"a": 0.5}]', "a", None),
        ("0.5", "a", None),
        ("", "a", None),
        ('{"a": ' + "9" * 400 + "}", "a", None),
        ('{"a": ' + "9" * 5000 + "}", "a", None),
        ('{"a": ' * 50_000, "a", None),
        ('{"a": ' + '{"a": ' * 400 + "1" + "}" * 401, "b", None),
        ('{"a": 0.5, "x": "' + "x" * (1 << 20) + '"}', "a", None),
        ('{"a": 0.5, "x": "' + "x" * (1 << 19) + '"}', "a", 0.5),
    ],
)
def test_lines(run: Run, line: str, key: str, value: float | None) -> None:
    log(run, f'{{"{key}": 7}}\n{line}\n{{"{key}": 8}}\n')
    reader = reader_of(f"jsonl:m.jsonl:{key}", run)
    expected = [7.0, 8.0] if value is None else [7.0, value, 8.0]
    assert list(map(repr, (report.value for report in reader.read()))) == list(map(repr, expected))


@pytest.mark.parametrize("line", [b'{"a": 0.5, "x": "\xff"}', b"\x80\x00", b"{\x00}", b'\xff\xfe{\x00"\x00'])
def test_bytes_that_are_no_text(run: Run, line: bytes) -> None:
    log(run, line + b'\n{"a": 1}\n')
    assert reader_of("jsonl:m.jsonl:a", run).read() == [Report(None, 1.0)]


@pytest.mark.parametrize(
    ("entry", "step"),
    [
        ({"step": 3}, 3),
        ({"epoch": 3}, 3),
        ({"global_step": 3}, 3),
        ({"global_step": 300, "epoch": 3}, 3),
        ({"step": 1.5, "epoch": 3}, 3),
        ({"step": True}, None),
        ({"step": "3"}, None),
        ({}, None),
    ],
)
def test_steps(run: Run, entry: dict[str, object], step: int | None) -> None:
    log(run, json.dumps({"a": 1, **entry}) + "\n")
    assert reader_of("jsonl:m.jsonl:a", run).read() == [Report(step, 1.0)]


def test_live(run: Run) -> None:
    reader = reader_of("jsonl:m.jsonl:a", run)
    assert reader.read() == []
    log(run, '{"a": 1}\n{"a": 2')
    assert reader.read() == [Report(None, 1.0)]
    log(run, "3}")
    assert reader.read() == []
    assert reader.close() == [Report(None, 23.0)]


@settings(deadline=None)
@given(st.lists(st.floats(), max_size=5), st.integers(1, 40))
def test_any_cut_gives_the_same_values(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], size: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = Run("p", 1, 1, str(folder / "source"), {}, {}, [], {}, str(folder))
    (folder / "workspace").mkdir()
    text = "".join(json.dumps({"step": step, "loss": value}) + "\n" for step, value in enumerate(values))
    reader = reader_of("jsonl:m.jsonl:loss", run)
    got = []
    for at in range(0, len(text), size):
        log(run, text[at : at + size])
        got += reader.read()
    assert [repr(report.value) for report in got] == [repr(value) for value in values]
    assert [report.step for report in got] == list(range(len(values)))


def test_names_list_what_can_be_asked_for(run: Run) -> None:
    log(run, '{"loss": 1, "val": {"acc": 2, "ok": true}, "text": "x", "\\ud800": 1, "bell\\u0007": 1}\n')
    reader = reader_of("jsonl:m.jsonl:val_loss", run)
    assert reader.read() == []
    assert list(reader.names) == ["jsonl:m.jsonl:loss", "jsonl:m.jsonl:val.acc"]
    for name in reader.names:
        assert reader_of(name, run).read()


def test_names_are_not_listed_to_any_depth(run: Run) -> None:
    log(run, '{"a": ' * 9 + "1" + "}" * 9 + "\n" + '{"a": ' * 10 + "1" + "}" * 10 + "\n")
    reader = reader_of("jsonl:m.jsonl:loss", run)
    reader.read()
    assert list(reader.names) == ["jsonl:m.jsonl:" + ".".join("a" * 9)]


def test_names_are_bounded(run: Run) -> None:
    log(run, "".join(f'{{"key{n}": 1}}\n' for n in range(MOST_NAMES * 2)))
    reader = reader_of("jsonl:m.jsonl:loss", run)
    reader.read()
    assert len(reader.names) == MOST_NAMES


# --- a file that was in the source before


def copy_from_source(run: Run, text: str) -> Path:
    source, copy = Path(run.snapshot, "m.jsonl"), Path(run.folder, "workspace/m.jsonl")
    source.write_text(text)
    os.utime(source, ns=(1, 10**18))
    shutil.copy2(source, copy)
    return copy


def values(reader: MetricReader) -> list[float]:
    return [report.value for report in [*reader.read(), *reader.close()]]


OLD = '{"a": 1}\n{"a": 2}\n'


def test_lines_that_came_with_the_source_are_not_of_this_run(run: Run) -> None:
    copy_from_source(run, OLD)
    reader = reader_of("jsonl:m.jsonl:a", run)
    assert reader.read() == []
    log(run, '{"a": 3}\n')
    assert values(reader) == [3.0]


def test_lines_that_were_appended_before_the_first_read(run: Run) -> None:
    copy_from_source(run, OLD)
    log(run, '{"a": 3}\n')
    assert values(reader_of("jsonl:m.jsonl:a", run)) == [3.0]


@pytest.mark.parametrize("text", ['{"a": 3}\n', OLD, OLD.replace("1", "4"), '{"a": 0.25}\n' + OLD])
def test_a_file_that_was_written_anew_before_the_first_read(run: Run, text: str) -> None:
    copy_from_source(run, OLD).write_text(text)
    expected = [json.loads(line)["a"] for line in text.splitlines()]
    assert values(reader_of("jsonl:m.jsonl:a", run)) == expected


def test_a_file_that_is_written_anew_later(run: Run) -> None:
    copy = copy_from_source(run, OLD)
    reader = reader_of("jsonl:m.jsonl:a", run)
    assert reader.read() == []
    copy.write_text("")
    assert reader.read() == []
    log(run, OLD)
    assert values(reader) == [1.0, 2.0]


def test_an_empty_file_of_the_source_that_became_something_else(run: Run) -> None:
    copy_from_source(run, "").unlink()
    os.mkfifo(Path(run.folder, "workspace/m.jsonl"))
    assert values(reader_of("jsonl:m.jsonl:a", run)) == []


def test_a_file_of_an_earlier_run_that_is_written_anew_between_two_looks(run: Run) -> None:
    copy = copy_from_source(run, OLD)
    reader = reader_of("jsonl:m.jsonl:a", run)
    assert reader.read() == []
    copy.write_text('{"a": 7}\n{"a": 8}\n{"a": 9}\n')  # longer than it was: nothing shows that it was cut
    assert values(reader) == [7.0, 8.0, 9.0]
