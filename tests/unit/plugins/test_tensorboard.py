"""The reader of TensorBoard's event files: real ones, live ones, damaged ones, and how names find them."""

import io
import json
import math
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.experiment import Metric, Run
from studio.plugins import event_files
from studio.plugins import tensorboard as plugin
from studio.plugins.event_files import Records, scalars
from studio.plugins.tensorboard import Logdir, TensorBoardReader, log_folder, studio_open_metric
from studio.system.tail import thinned

FILES = Path(__file__).parents[2] / "data/eventfiles"
LOGGED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())
ALIASES = LOGGED["keras"].pop("aliases")
TAGS = [(folder, tag, tag) for folder, tags in LOGGED.items() for tag in tags]
TAGS += [("keras", name, tag) for name, tag in ALIASES.items()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


def make_run(folder: Path) -> Run:
    for name in ("source", "run/tb", "run/workspace"):
        (folder / name).mkdir(parents=True)
    return Run("p", 1, 1, str(folder / "source"), {}, {}, [], {}, str(folder / "run"))


def expected(folder: str, tag: str) -> list[str]:
    return [repr(math.nan if value is None else float(value)) for value in LOGGED[folder][tag]]


def texts(reader: TensorBoardReader) -> list[str]:
    return [repr(report.value) for report in reader.read()]


def values(reader: TensorBoardReader) -> list[float]:
    return [report.value for report in reader.read()]


def frame(data: bytes) -> bytes:
    """`data` as a record, written by tensorboard itself."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    RecordWriter(buffer).write(data)
    return buffer.getvalue()


def event(step: int = 0, **tags: float) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    entries = [Summary.Value(tag=tag, simple_value=value) for tag, value in tags.items()]
    return frame(Event(step=step, wall_time=1.5, summary=Summary(value=entries)).SerializeToString())


def write(run: Run, file: str, data: bytes) -> Path:
    path = Path(run.folder, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as out:
        out.write(data)
    return path


def numbers(path: Path, *, last: bool = False) -> list[float]:
    return [value for _, _, value, _ in scalars(Records(str(path)).read(last=last))]


# --- real files


@pytest.mark.parametrize("place", ["tb", "workspace/logs/fit"])
@pytest.mark.parametrize(("folder", "name", "tag"), TAGS)
def test_real_files(run: Run, folder: str, name: str, tag: str, place: str) -> None:
    shutil.copytree(FILES / folder, Path(run.folder, place), dirs_exist_ok=True)
    reader = TensorBoardReader(name, run)
    assert texts(reader) == expected(folder, tag)
    assert reader.read() == []
    assert reader.close() == []


def test_reports_have_the_time_of_their_event(run: Run) -> None:
    write(run, "tb/events.out.tfevents.1", event(3, loss=0.5))
    reader = TensorBoardReader("loss", run)
    assert [(report.step, report.value, report.time) for report in reader.read()] == [(3, 0.5, 1.5)]
    write(run, "tb/events.out.tfevents.1", event(4, loss=0.25))
    assert [(report.step, report.time) for report in reader.read()] == [(4, 1.5)]  # and when it is followed


@pytest.mark.parametrize("folder", LOGGED)
def test_names_are_the_scalars_that_were_logged(run: Run, folder: str) -> None:
    shutil.copytree(FILES / folder, Path(run.folder, "tb"), dirs_exist_ok=True)
    reader = TensorBoardReader("never logged", run)
    assert reader.read() == []
    assert set(LOGGED[folder]) <= set(reader.names)
    for other in ("h", "img", "note", "keras", "_hparams_/experiment"):  # histograms, images, texts
        assert other not in reader.names
    for name in reader.names:
        assert texts(TensorBoardReader(name, run)), f"{name} is listed and cannot be read"


def test_steps_are_the_logged_ones(run: Run) -> None:
    shutil.copytree(FILES / "tensorboardX", Path(run.folder, "tb"), dirs_exist_ok=True)
    assert [report.step for report in TensorBoardReader("acc", run).read()] == list(range(25))


def test_torch_add_hparams(run: Run) -> None:
    shutil.copytree(FILES / "torch", Path(run.folder, "tb"), dirs_exist_ok=True)
    assert values(TensorBoardReader("1795533566.6348903/hparam/acc", run)) == [0.75]


def test_a_writer_at_work(run: Run) -> None:
    from tensorboardX import SummaryWriter

    reader = TensorBoardReader("acc", run)
    assert reader.read() == []
    wanted = np.random.default_rng(1).normal(size=30).astype(np.float32).tolist()
    got = []
    for part in range(3):  # a script that is started again, twice
        with SummaryWriter(run.folder + "/tb", filename_suffix=f".{part}") as writer:
            for step in range(part * 10, part * 10 + 10):
                writer.add_scalar("acc", wanted[step], step)
                writer.add_histogram("weights", np.arange(10.0), step)
                writer.flush()
                got += values(reader)
    got += [report.value for report in reader.close()]
    assert got == wanted


# --- kinds of values

TENSORS = [
    ("DT_FLOAT", {"float_val": [0.5]}, 0.5),
    ("DT_FLOAT", {"tensor_content": struct.pack("<f", 0.1)}, float(np.float32(0.1))),
    ("DT_FLOAT", {}, 0.0),
    ("DT_DOUBLE", {"double_val": [0.1]}, 0.1),
    ("DT_DOUBLE", {"tensor_content": struct.pack("<d", 0.1)}, 0.1),
    ("DT_HALF", {"half_val": [0x3555]}, float(np.float16(1 / 3))),
    ("DT_HALF", {"tensor_content": struct.pack("<e", 1 / 3)}, float(np.float16(1 / 3))),
    ("DT_BFLOAT16", {"half_val": [0x3FC0]}, 1.5),
    ("DT_BFLOAT16", {"tensor_content": struct.pack("<H", 0xC040)}, -3.0),
    ("DT_INT32", {"int_val": [-7]}, -7.0),
    ("DT_INT32", {"tensor_content": struct.pack("<i", -7)}, -7.0),
    ("DT_INT64", {"int64_val": [1 << 40]}, float(1 << 40)),
    ("DT_INT64", {"tensor_content": struct.pack("<q", -1)}, -1.0),
    ("DT_INT16", {"int_val": [-3]}, -3.0),
    ("DT_INT8", {"tensor_content": b"\xff"}, -1.0),
    ("DT_UINT8", {"tensor_content": b"\xff"}, 255.0),
    ("DT_UINT16", {"int_val": [65535]}, 65535.0),
    ("DT_UINT32", {"uint32_val": [7]}, 7.0),
    ("DT_UINT64", {"uint64_val": [7]}, 7.0),
    ("DT_FLOAT", {"tensor_content": b"abc"}, None),
    ("DT_STRING", {"string_val": [b"0.5"]}, None),
    ("DT_BOOL", {"bool_val": [True]}, None),
    ("DT_COMPLEX64", {"scomplex_val": [1.0, 0.0]}, None),
    ("DT_INVALID", {}, None),
]


def tensor_event(entry: dict[str, Any], metadata: dict[str, Any] | None = None) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    value = Summary.Value(tag="x", tensor=TensorProto(**entry))
    if metadata is not None:
        value.metadata.CopyFrom(SummaryMetadata(**metadata))
    return frame(Event(summary=Summary(value=[value])).SerializeToString())


@pytest.mark.parametrize("metadata", [None, {"plugin_data": {"plugin_name": "scalars"}}])
@pytest.mark.parametrize(("dtype", "fields", "value"), TENSORS)
def test_tensors_of_rank_0(run: Run, dtype: str, fields: dict[str, Any], value: float | None, metadata: Any) -> None:
    write(run, "tb/tfevents", tensor_event({"dtype": dtype, "tensor_shape": {}, **fields}, metadata))
    assert values(TensorBoardReader("x", run)) == ([] if value is None else [value])


@pytest.mark.parametrize("shape", [{"dim": [{"size": 1}]}, {"dim": [{}]}, {"unknown_rank": True}])
def test_other_tensors_are_no_scalars(run: Run, shape: dict[str, Any]) -> None:
    write(run, "tb/tfevents", tensor_event({"dtype": "DT_FLOAT", "tensor_shape": shape, "float_val": [0.5]}))
    reader = TensorBoardReader("x", run)
    assert reader.read() == []
    assert not reader.names


# --- records


def test_our_checksum_is_that_of_tensorboard() -> None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    for data in (b"", b"a", bytes(range(256)), b"123456789" * 50):
        assert event_files.masked_crc32c(data) == masked_crc32c(data)


def test_a_record_waits_for_its_last_byte(run: Run) -> None:
    data = event(x=0.5) + event(x=0.25) + event(x=0.125)
    ends = [len(event(x=0.5)), len(event(x=0.5) + event(x=0.25)), len(data)]
    reader = TensorBoardReader("x", run)
    got = 0
    for at in range(len(data)):
        write(run, "tb/tfevents", data[at : at + 1])
        got += len(reader.read())
        assert got == sum(end <= at + 1 for end in ends)


def test_a_file_cut_at_any_byte_loses_only_what_is_cut(tmp_path: Path) -> None:
    records = [event(x=value) for value in (0.5, 0.25, 0.125)]
    data = b"".join(records)
    for cut in range(len(data)):
        path = tmp_path / "tfevents"
        path.write_bytes(data[:cut])
        whole = sum(cut >= len(b"".join(records[: n + 1])) for n in range(3))
        assert numbers(path, last=True) == [0.5, 0.25, 0.125][:whole]


def test_values_after_a_record_that_was_cut_at_any_byte_are_found(tmp_path: Path) -> None:
    first, cut, after = event(x=0.5), event(x=0.25), event(x=0.125) + event(x=0.0625)
    for at in range(1, len(cut)):
        path = tmp_path / "tfevents"
        path.write_bytes(first + cut[:at] + after)
        assert numbers(path, last=True) == [0.5, 0.125, 0.0625]


def test_values_swallowed_by_a_cut_record_come_when_the_run_has_ended(tmp_path: Path) -> None:
    cut = event(**{"long" * 50: 0.25})
    path = tmp_path / "tfevents"
    path.write_bytes(event(x=0.5) + cut[:20] + event(x=0.125))
    records = Records(str(path))
    assert [value for _, _, value, _ in scalars(records.read())] == [0.5]
    assert [value for _, _, value, _ in scalars(records.read(last=True))] == [0.125]


def test_any_damaged_byte_costs_one_record(tmp_path: Path) -> None:
    records = [event(x=value) for value in (0.5, 0.25, 0.125)]
    begin, end = len(records[0]), len(records[0] + records[1])
    for at in range(begin, end):
        data = bytearray(b"".join(records))
        data[at] ^= 0xFF
        path = tmp_path / "tfevents"
        path.write_bytes(data)
        assert numbers(path, last=True) == [0.5, 0.125], f"byte {at - begin} of the record"


@given(noise=st.binary(min_size=1, max_size=60), size=st.integers(1, 40), zeros=st.integers(0, 30))
def test_values_after_noise_are_found_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, size: int, zeros: int
) -> None:
    path = tmp_path_factory.mktemp("noise") / "tfevents"
    data = event(x=0.5) + noise + bytes(zeros) + event(x=0.25) + event(x=0.125)
    records = Records(str(path))
    got = []
    for at in range(0, len(data), size):
        with open(path, "ab") as out:
            out.write(data[at : at + size])
        got += [value for _, _, value, _ in scalars(records.read())]
    got += [value for _, _, value, _ in scalars(records.read(last=True))]
    assert got == [0.5, 0.25, 0.125]


def test_large_records_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_files, "LARGEST", 1000)
    path = tmp_path / "tfevents"
    for size in (1001, 5000, 1 << 20):
        path.write_bytes(event(x=0.5) + frame(bytes(size)) + event(x=0.25))
        assert numbers(path) == [0.5, 0.25]
    records = Records(str(path))
    data = event(x=0.5) + frame(bytes(5000)) + event(x=0.25)
    got = []
    for at in range(0, len(data), 700):
        path.write_bytes(data[: at + 700])
        got += [value for _, _, value, _ in scalars(records.read())]
    assert got == [0.5, 0.25]


def test_data_that_is_no_event_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "tfevents"
    path.write_bytes(frame(b"\xff\xff\xff") + frame(b"") + event(x=0.5))
    assert numbers(path) == [0.5]


# --- where files are, and when


def test_opening_and_idling_loads_no_protobuf(tmp_path: Path) -> None:
    code = f"""
import sys
from studio.experiment import Metric, Run
from studio.plugins.tensorboard import studio_open_metric
reader = studio_open_metric(Metric("x"), Run("p", 1, 1, "/none", {{}}, {{}}, [], {{}}, {str(tmp_path)!r}))
assert reader.read() == []
sys.exit(any(name in sys.modules for name in ("google.protobuf", "tensorboard")))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["jsonl:a:b", "loss:0", "fitness", "", " "])
def test_names_of_others(run: Run, name: str) -> None:
    assert studio_open_metric(Metric(name), run) is None


@pytest.mark.parametrize("name", ["loss", "sub/val loss", "Fitness", "métrique", "a/b/c/d"])
def test_any_other_name_is_a_tag(run: Run, name: str) -> None:
    write(run, "tb/tfevents", event(**{name: 0.5}))
    reader = studio_open_metric(Metric(name, "min"), run)
    assert isinstance(reader, TensorBoardReader)
    assert values(reader) == [0.5]


W = "workspace/"


@pytest.mark.parametrize(
    ("name", "files", "value"),
    [
        # below tb/ a name is exact
        ("x", {"tb/tfevents": "x"}, 0),
        ("sub/x", {"tb/sub/tfevents": "x"}, 0),
        ("x", {"tb/sub/tfevents": "x"}, None),
        ("a/b/x", {"tb/a/b/tfevents": "x"}, 0),
        ("a/b/x", {"tb/a/tfevents": "b/x"}, 0),
        ("x", {"tb/deep/er/tfevents": "y", "tb/tfevents": "x"}, 1),
        # Keras
        ("val_loss", {"tb/validation/tfevents": "epoch_loss"}, 0),
        ("loss", {"tb/validation/tfevents": "epoch_loss", "tb/train/tfevents": "epoch_loss"}, 1),
        ("val_loss", {"tb/validation/tfevents": "epoch_loss", "tb/tfevents": "val_loss"}, 1),
        ("val_loss", {"tb/train/tfevents": "epoch_val_loss"}, None),
        ("val_loss", {W + "logs/1/validation/tfevents": "epoch_loss"}, 0),
        ("loss", {W + "logs/validation/tfevents": "epoch_loss", W + "logs/train/tfevents": "epoch_loss"}, 1),
        ("epoch_loss", {W + "logs/validation/tfevents": "epoch_loss"}, None),
        # the workspace: folders above the log folder need not be named
        ("x", {W + "tfevents": "x"}, 0),
        ("x", {W + "lightning_logs/version_0/tfevents": "x"}, 0),
        ("version_0/x", {W + "lightning_logs/version_0/tfevents": "x"}, 0),
        ("lightning_logs/version_0/x", {W + "lightning_logs/version_0/tfevents": "x"}, 0),
        ("sion_0/x", {W + "lightning_logs/version_0/tfevents": "x"}, None),
        ("x", {W + "logs/version_1/tfevents": "x", W + "logs/version_0/tfevents": "x"}, 1),
        ("version_1/x", {W + "logs/version_1/tfevents": "x", W + "logs/version_0/tfevents": "x"}, 0),
        # but those below it
        ("pair", {W + "runs/A/tfevents": "x", W + "runs/A/pair_a/tfevents": "pair"}, None),
        ("pair_a/pair", {W + "runs/A/tfevents": "x", W + "runs/A/pair_a/tfevents": "pair"}, 1),
        ("loss", {W + "runs/train/tfevents": "loss", W + "runs/val/tfevents": "loss"}, None),
        ("val/loss", {W + "runs/train/tfevents": "loss", W + "runs/val/tfevents": "loss"}, 1),
        # which goes first
        ("x", {W + "tfevents": "x", "tb/tfevents": "x"}, 1),
        ("loss", {"tb/train/tfevents": "epoch_loss", W + "runs/A/tfevents": "loss"}, 1),
        ("A/x", {W + "runs/A/tfevents": "x", W + "A/tfevents": "x"}, 1),
        ("x", {W + "a/deep/tfevents": "x", W + "z/tfevents": "x"}, 1),
        # elsewhere
        ("x", {"modeldir/tfevents": "x"}, None),
        ("x", {"tb/events.log": "x"}, None),
    ],
)
def test_names(run: Run, name: str, files: dict[str, str], value: int | None) -> None:
    for number, (file, tag) in enumerate(files.items()):
        write(run, file, event(**{tag: number}))
    reader = TensorBoardReader(name, run)
    assert values(reader) == ([] if value is None else [value])
    for listed in reader.names:
        assert texts(TensorBoardReader(listed, run)), f"{listed} is listed and cannot be read"


def test_listed_names_leave_out_the_folders_of_one_run(run: Run) -> None:
    write(run, "workspace/runs/Nov24_12-00_host/tfevents", event(**{"loss/val": 1}))
    write(run, "workspace/runs/Nov24_12-00_host/sub/tfevents", event(x=1))
    write(run, "workspace/logs/validation/tfevents", event(epoch_loss=1))
    write(run, "tb/sub/tfevents", event(y=1))
    reader = TensorBoardReader("never logged", run)
    reader.read()
    assert sorted(reader.names) == ["loss/val", "sub/x", "sub/y", "validation/epoch_loss"]


def test_the_first_found_stays(run: Run) -> None:
    reader = TensorBoardReader("val_loss", run)
    write(run, "tb/validation/tfevents", event(epoch_loss=1))
    assert values(reader) == [1]
    write(run, "tb/tfevents", event(val_loss=2))
    write(run, "tb/validation/tfevents", event(epoch_loss=3))
    assert values(reader) == [3]


def test_files_of_a_folder_in_order_of_name(run: Run) -> None:
    for number in (3, 1, 2):
        write(run, f"tb/events.out.tfevents.{number}", event(x=number))
    reader = TensorBoardReader("x", run)
    assert values(reader) == [1, 2, 3]
    write(run, "tb/events.out.tfevents.0", event(x=0))
    write(run, "tb/events.out.tfevents.2", event(x=2.5))
    assert values(reader) == [0, 2.5]


def test_event_files_of_the_source_are_of_other_runs(run: Run) -> None:
    for root in (Path(run.snapshot), Path(run.folder, "workspace")):
        (root / "runs/A").mkdir(parents=True)
        (root / "runs/A/events.out.tfevents.1").write_bytes(event(x=1))
        os.utime(root / "runs/A/events.out.tfevents.1", (10**9, 10**9))  # a copy keeps its time
    reader = TensorBoardReader("x", run)
    assert reader.read() == []
    assert not reader.names
    write(run, "workspace/runs/A/events.out.tfevents.2", event(x=2))
    assert values(reader) == [2]


def test_replaced_and_emptied_files_keep_the_source(run: Run) -> None:
    path = write(run, "tb/tfevents", event(x=1) + event(x=2))
    reader = TensorBoardReader("x", run)
    assert values(reader) == [1, 2]
    path.write_bytes(b"")
    assert values(reader) == []
    write(run, "tb/tfevents", event(x=3))
    assert values(reader) == [3]
    shutil.rmtree(Path(run.folder, "tb"))
    assert values(reader) == []
    write(run, "tb/tfevents", event(x=4))
    assert values(reader) == [4]


def test_links_and_what_is_no_file(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "tfevents").write_bytes(event(x=1))
    workspace = Path(run.folder, "workspace")
    (workspace / "link").symlink_to(elsewhere)
    (workspace / "loop").symlink_to(workspace)
    (workspace / "tfevents.link").symlink_to(elsewhere / "tfevents")
    (workspace / "tfevents.folder").mkdir()
    os.mkfifo(workspace / "tfevents.fifo")
    assert TensorBoardReader("x", run).close() == []


def test_names_are_bounded(run: Run) -> None:
    write(run, "tb/tfevents", b"".join(event(**{f"tag{n}": 1}) for n in range(plugin.MOST_NAMES + 50)))
    reader = TensorBoardReader("x", run)
    reader.read()
    assert len(reader.names) == plugin.MOST_NAMES
    write(run, "tb/tfevents", event(x=0.5))
    assert values(reader) == [0.5]


@pytest.mark.parametrize(
    ("folder", "holding", "top"),
    [
        ("", {""}, ""),
        ("a/b", {"a/b"}, "a/b"),
        ("a/b/c", {"a/b/c", "a/b"}, "a/b"),
        ("a/b/c", {"a/b/c", "a/c"}, "a/b/c"),
        ("logs/train", {"logs/train", "logs/validation"}, "logs"),
        ("train", {"train"}, ""),
        ("ab/c", {"ab/c", "a"}, "ab/c"),
    ],
)
def test_log_folders(folder: str, holding: set[str], top: str) -> None:
    assert log_folder(folder, holding) == top


# --- the cost of looking


def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are listed from now on."""
    folders: list[str] = []
    scandir = os.scandir

    def spy(path: str) -> Any:
        folders.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", spy)
    return folders


def test_a_folder_that_did_not_change_is_not_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a/b", "c"):
        (tmp_path / folder).mkdir(parents=True)
        os.utime(tmp_path / folder, (1, 1))  # so that what is made in it below changes its time on any file system
    logdir = Logdir(str(tmp_path))
    folders = listed(monkeypatch)
    for _ in range(2):  # twice: a file made within the same tick of the clock is found
        assert logdir.walk(fresh=False) == {}
    assert len(folders) == 8
    assert logdir.walk(fresh=False) == {}
    assert len(folders) == 8
    (tmp_path / "a/b/tfevents").touch()
    assert logdir.walk(fresh=False) == {"a/b": ["tfevents"]}
    assert folders[8:] == [str(tmp_path / "a/b")]
    logdir.walk(fresh=True)
    assert len(folders) == 13


def test_once_found_only_that_folder_is_looked_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(run.folder, "workspace/many").mkdir()
    write(run, "tb/a/tfevents", event(x=1))
    reader = TensorBoardReader("a/x", run)
    assert values(reader) == [1]
    folders = listed(monkeypatch)
    write(run, "tb/a/tfevents.2", event(x=2))
    assert values(reader) == [2]
    assert {os.path.relpath(folder, run.folder) for folder in folders} == {"tb/a"}


def test_the_number_of_folders_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "MOST_FOLDERS", 20)
    for number in range(30):
        (tmp_path / f"folder{number}").mkdir()
    folders = listed(monkeypatch)
    Logdir(str(tmp_path)).walk(fresh=False)
    assert len(folders) == 20


def test_many_values_at_once_keep_what_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: Sequence[float] = [float(at * 7919 % 2003) for at in range(2003)]
    write(run, "tb/tfevents", b"".join(event(x=value) for value in shown))
    monkeypatch.setattr(plugin, "thinned", lambda reports: thinned(reports, 100))
    got = values(TensorBoardReader("x", run))
    assert len(got) <= 101
    assert (min(got), max(got), got[-1]) == (0, 2002, shown[-1])
