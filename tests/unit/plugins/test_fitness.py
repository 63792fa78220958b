"""The reader of `fitness:` lines."""

import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.experiment import Metric, Report, Run
from studio.plugins.fitness import FitnessReader, studio_open_metric
from studio.system.tail import CHUNK, MOST_VALUES

FLOOD = b"step 1234 loss 0.123 Fitness is fine, fitness=0.3\n"


def run_in(folder: Path) -> Run:
    return Run("p", 1, 1, str(folder / "source"), {}, {}, [], {}, str(folder))


def log(run: Run, data: bytes) -> None:
    with open(run.folder + "/output.log", "ab") as file:
        file.write(data)


def read(tmp_path: Path, data: bytes) -> list[float]:
    run = run_in(tmp_path)
    log(run, data)
    reader = FitnessReader(run)
    return [report.value for report in [*reader.read(), *reader.close()]]


def test_only_the_metric_of_that_name(tmp_path: Path) -> None:
    assert studio_open_metric(Metric("fitness", "max"), run_in(tmp_path)) is not None
    for name in ("Fitness", "fitness2", "sub/fitness", "fitness:x", ""):
        assert studio_open_metric(Metric(name), run_in(tmp_path)) is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("fitness: 0.93", 0.93),
        ("FITNESS: 1", 1.0),
        ("FitNess:-2.5", -2.5),
        ("  \tfitness:   1e-3 \t", 0.001),
        ("fitness: +.5", 0.5),
        ("fitness: 5.", 5.0),
        ("fitness: 1.5E+3", 1500.0),
        ("fitness: nan", math.nan),
        ("fitness: NaN", math.nan),
        ("fitness: -inf", -math.inf),
        ("fitness: Infinity", math.inf),
        ("fitness: 1e999", math.inf),
        ("fitness: 0x10", None),
        ("fitness: 1_000", None),
        ("fitness: 0.9.3", None),
        ("fitness: 0,93", None),
        ("fitness: 93%", None),
        ("fitness:", None),
        ("fitness: .", None),
        ("fitness: e5", None),
        ("fitness: None", None),
        ("fitness: [0.93]", None),
        ("fitness = 0.93", None),
        ("my fitness: 0.93", None),
        ("fitness: 0.93 (best)", None),
        ("fitness: 0.93 fitness: 0.94", None),
        ("fitness fitness: 0.93", None),
        ("fitness: ٣", None),
        ("'fitness: 0.93'", None),
    ],
)
def test_lines(tmp_path: Path, line: str, value: float | None) -> None:
    got = read(tmp_path, f"before\n{line}\nafter\n".encode())
    assert list(map(repr, got)) == ([] if value is None else [repr(value)])


@pytest.mark.parametrize(
    "data",
    [
        b"fitness: 0.5\r\n",
        b"\rEpoch 3 ...\rfitness: 0.5\n",
        b"\rfitness: 0.5\r",
        b" 10%|#    |\r 20%|##   |\r\nfitness: 0.5\r\n100%|##|",
        b"\x1b[1mfitness: \x1b[1;36m0.5\x1b[0m\n",
        b"\x1b[2K\x1b[32mfitness\x1b[0m: 0.5\x1b[K\n",
        b"\x1b[31mfitness: 0.5\x1b(B\x1b[m\n",
        b"\x1b]0;training\x07fitness: 0.5\n",
        b"\x1b]8;;https://x.y\x1b\\fitness\x1b]8;;\x1b\\: 0.5\n",
        b"\xff\xfe\x00\x80 binary \x00\nfitness: 0.5\n\xc3",
        b"fitness: 0.5",
        "fitneß: 0.6\nfitness: 0.5\n".encode("latin-1"),
        b"x" * (CHUNK * 3) + b"\nfitness: 0.5\n" + b"y" * (CHUNK * 3),
        b"fitness" * 100_000 + b"\nfitness: 0.5\n",
    ],
)
def test_found_among(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data) == [0.5]


def test_a_long_line_is_no_report_and_takes_no_time(tmp_path: Path) -> None:
    begin = time.monotonic()
    assert read(tmp_path, b"fitness: " + b"1" * 60_000 + b"x\nfitness: " + b" " * 60_000 + b"x\n") == []
    assert read(tmp_path, b"fitness: 1" + b" " * 70_000 + b"\nfitness: 0.25\n")[-1:] == [0.25]
    assert time.monotonic() - begin < 1


def test_live(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    reader = FitnessReader(run)
    assert reader.read() == []
    assert reader.names == ()
    log(run, b"fitness: 0.1\nfitness: 0.")
    assert reader.read() == [Report(1, 0.1)]
    assert reader.names == ("fitness",)
    assert reader.read() == []
    log(run, b"2\nfitness: 0.3")
    assert reader.read() == [Report(2, 0.2)]
    assert reader.close() == [Report(3, 0.3)]
    assert reader.close() == []


@given(st.lists(st.floats(width=32), max_size=5), st.lists(st.integers(1, 9), min_size=1, max_size=20), st.booleans())
def test_any_cut_gives_the_same_values(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], cuts: list[int], carriage: bool
) -> None:
    run = run_in(tmp_path_factory.mktemp("run"))
    end = b"\r\n" if carriage else b"\n"
    text = b"".join(b"noise" + end + b"\x1b[1mFitness:\x1b[0m %r" % value + end for value in values)
    reader = FitnessReader(run)
    got = []
    while text:
        size = cuts[len(text) % len(cuts)]
        log(run, text[:size])
        got += reader.read()
        text = text[size:]
    got += reader.close()
    assert [repr(report.value) for report in got] == [repr(value) for value in values]


def test_a_number_across_two_chunks(tmp_path: Path) -> None:
    for shift in range(20):
        noise = b"." * (CHUNK - shift - 1) + b"\n"
        folder = tmp_path / str(shift)
        folder.mkdir()
        assert read(folder, noise + b"fitness: 0.9375\nend\n") == [0.9375]


def test_a_flood_is_read_fast_and_in_little_memory(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    with open(run.folder + "/output.log", "wb") as file:
        for _ in range(64):
            file.write(b"epoch 3 step 1234 loss 0.123456 lr 0.001 and more words\n" * (1 << 20 >> 6))
        file.write(b"fitness: 0.5\n")
    size = os.path.getsize(run.folder + "/output.log")
    begin = time.perf_counter()
    assert [report.value for report in FitnessReader(run).close()] == [0.5]
    assert size / (time.perf_counter() - begin) > 50e6, "less than 50 MB/s; about 600 are usual"


def test_a_flood_of_fitness_lines_keeps_what_counts(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    log(run, b"".join(b"fitness: %d\n" % (at * 7919 % 100_003) for at in range(100_003)) + b"fitness: 5\n")
    reports = FitnessReader(run).close()
    values = [report.value for report in reports]
    assert (min(values), max(values), values[-1]) == (0, 100_002, 5)
    assert len(values) <= 3 * MOST_VALUES
    assert [report.step for report in reports] == sorted(report.step or 0 for report in reports)


def test_lines_that_only_mention_it_are_fast(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    log(run, FLOOD * 100_000)
    begin = time.perf_counter()
    assert FitnessReader(run).read() == []
    assert len(FLOOD) * 100_000 / (time.perf_counter() - begin) > 5e6
