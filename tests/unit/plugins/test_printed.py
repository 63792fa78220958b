"""The reader of printed lines: what is a named number, which name means which, and what a growing log changes."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.execution.metric_value import MetricValue
from studio.experiment import Metric, Run
from studio.metric_sources import FirstOf
from studio.plugins.printed import PrintedReader, studio_open_metric
from studio.plugins.printed_lines import closeness, pairs, step_of, words


def run_in(folder: Path) -> Run:
    return Run("p", 1, 1, str(folder / "source"), {}, {}, [], {}, str(folder))


def log(folder: Path, text: str | bytes) -> None:
    with open(folder / "output.log", "ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def read(folder: Path, name: str, text: str | bytes) -> list[tuple[int | None, float]]:
    log(folder, text)
    reader = PrintedReader(name, run_in(folder))
    return [(report.step, report.value) for report in reader.close()]


LINES = [
    ("accuracy: 0.9", "accuracy", 0.9, None),
    ("accuracy = 0.9", "accuracy", 0.9, None),
    ("accuracy=0.9", "accuracy", 0.9, None),
    ("accuracy 0.9", "accuracy", 0.9, None),
    ("accuracy\t0.9", "accuracy", 0.9, None),
    ('"accuracy": 0.9', "accuracy", 0.9, None),
    ("accuracy -> 0.9", "accuracy", 0.9, None),
    ("accuracy ...... 0.9", "accuracy", 0.9, None),
    ("accuracy is 0.9.", "accuracy", 0.9, None),
    ("accuracy: -1.5e-03", "accuracy", -0.0015, None),
    ("accuracy: .5", "accuracy", 0.5, None),
    ("accuracy: 5.", "accuracy", 5.0, None),
    ("Cost: 1,234.5", "cost", 1234.5, None),
    ("val_accuracy 0.91", "val_accuracy", 0.91, None),
    ("val_accuracy 0.91", "val-accuracy", 0.91, None),
    ("val accuracy: 0.91", "val_accuracy", 0.91, None),
    ("valAccuracy: 0.91", "val_accuracy", 0.91, None),
    ("Validation R2 = 0.43", "r2", 0.43, None),
    ("R² = 0.43", "r2", 0.43, None),
    ("R^2: 0.43", "R2", 0.43, None),
    ("Test Accuracy: 93.10%", "accuracy", 93.1, None),
    ("accuracy 93.1 %", "accuracy", 93.1, None),
    ("The RMSE of prediction is: 0.46", "rmse", 0.46, None),
    ("Accuracy of the model on the 10000 test images: 85.2 %", "accuracy", 85.2, None),
    ("Accuracy after epoch 3: 0.93", "accuracy", 0.93, 3),
    ("Finished with a validation loss of 0.31", "validation loss", 0.31, None),
    ("Average loss: 0.34, Accuracy: 330/360 (92%)", "accuracy", 330 / 360, None),
    ("Test set: Average loss: 0.34, Accuracy: 330/360 (92%)", "accuracy", 330 / 360, None),
    ("Test set: Average loss: 0.34, Accuracy: 330/360 (92%)", "loss", 0.34, None),
    ("cv accuracy = 0.95 +- 0.02", "cv_accuracy", 0.95, None),
    ("CV error 0.0527 (std 0.02)", "cv error", 0.0527, None),
    ("[D loss: 0.69] [G loss: 0.70]", "G_loss", 0.7, None),
    ("step 40: train loss 2.1, val loss 3.2", "val_loss", 3.2, 40),
    ("iter_dt 9.10ms; iter 10: train loss 2.1", "train loss", 2.1, 10),
    ("iter_dt 9.10ms; iter 10: train loss 2.1", "iter_dt", 9.1, 10),
    ("2026-11-28 10:02:11,123 INFO:root:val_r2: 0.48", "val_r2", 0.48, None),
    ("INFO:train:Fold 2: f1 = 0.48", "f1", 0.48, None),
    ("DEBUG:proj.train:loss 0.5", "loss", 0.5, None),
    ("[2026-11-28 10:02:11,123][__main__][INFO] - Test error: 0.12", "test_error", 0.12, None),
    ("I1128 10:02:11.1 123 train.py:29] eval_loss = 0.4", "eval_loss", 0.4, None),
    ("25/25 [=====] - 3s 2ms/step - loss: 0.4 - val_loss: 0.5", "val_loss", 0.5, 25),
    ("25/25 [=====] - 3s 2ms/step - loss: 0.4 - val_loss: 0.5", "loss", 0.4, 25),
    (
        "\x1b[1m32/32\x1b[0m \x1b[32m━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m1s\x1b[0m 3ms/step - acc: 0.9 - loss: 0.4",
        "acc",
        0.9,
        32,
    ),
    ("Epoch 3:  50%|█████     | 450/900 [00:01<00:01, 900.00it/s, val_mae=0.61]", "val_mae", 0.61, 3),
    ("[3]\teval-logloss:0.01\ttrain-logloss:0.02", "eval-logloss", 0.01, 3),
    ("[10]\tvalid_0's l2: 3012.1", "l2", 3012.1, 10),
    ("[10]\ttraining's l2: 7.5\tvalid_0's l2: 3012.1", "valid_0's l2", 3012.1, 10),
    ("[10]\ttraining's l2: 7.5\tvalid_0's l2: 3012.1", "valid_0 l2", 3012.1, 10),
    ("loss tensor(0.1034)", "loss", 0.1034, None),
    ("loss: tensor(0.1034, device='cuda:0', grad_fn=<Nll>)", "loss", 0.1034, None),
    ("loss: <tf.Tensor: shape=(), dtype=float32, numpy=0.41>", "loss", 0.41, None),
    ("loss: Array(0.25, dtype=float32)", "loss", 0.25, None),
    ("{'loo_mse': np.float64(512.3), 'n': 3}", "loo_mse", 512.3, None),
    ("global_step=100, episodic_return=[23.]", "episodic_return", 23.0, 100),
    ('{"step": 3, "val": {"loss": 0.5}}', "val.loss", 0.5, 3),
    ('{"step": 3, "val": {"loss": 0.5}}', "val_loss", 0.5, 3),
    ("{'eval_loss': 0.3, 'eval_runtime': 1.2, 'epoch': 2.0}", "eval_loss", 0.3, 2),
    ("    accuracy                           0.97       899", "accuracy", 0.97, None),
    ("   macro avg       0.97      0.96      0.95       899", "macro avg", 0.97, None),
    ("│         test_loss         │    0.1234    │", "test_loss", 0.1234, None),
    ("| test_loss | 0.1234 |", "test_loss", 0.1234, None),
    ("Epoch [3/30], Step [100/600], Loss: 0.1234", "loss", 0.1234, 3),
    ("Epoch 3 loss: 0.4 acc: 0.9", "acc", 0.9, 3),
    ("Loss 0.5 (0.6)  Acc@1 50.0 (48.0)", "acc@1", 50.0, None),
    ("Fold 3 accuracy: 0.9", "accuracy", 0.9, None),
    ("**F1**: 0.8", "f1", 0.8, None),
    ("train: loss=0.5 acc=0.7 val: loss=0.4 acc=0.8", "val_loss", 0.4, None),
    ("Validation - loss: 0.4", "validation_loss", 0.4, None),
    ("loss: nan", "loss", float("nan"), None),
    ("loss: -inf", "loss", float("-inf"), None),
    ("\x1b[32mloss\x1b[0m: \x1b[1m0.5\x1b[0m", "loss", 0.5, None),
    ("\x1b]0;training\x07loss: 0.5", "loss", 0.5, None),
    ("\x1b]8;;https://x.y/1\x1b\\loss\x1b]8;;\x1b\\: 0.5", "loss", 0.5, None),
    ("loss: 1.0\rloss: 0.5\r", "loss", 0.5, None),
    ("lr 0.1 | ppl 45.2 | tok/s 1200", "ppl", 45.2, None),
]


@pytest.mark.parametrize(("line", "name", "value", "step"), LINES)
def test_a_line_has_the_metric(tmp_path: Path, line: str, name: str, value: float, step: int | None) -> None:
    assert [repr(one) for one in read(tmp_path, name, f"begin\n{line}\nend\n")[-1:]] == [repr((step, value))]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("step 40: train loss 2.1, val loss 3.2", "loss"),
        ("D loss: 0.69, G loss: 0.70", "loss"),
        ("losses: 0.5", "loss"),
        ("loss_weight: 0.5", "loss"),
        ("loss", "loss"),
        ("loss: None", "loss"),
        ("loss: [0.5, 0.4]", "loss"),
        ("loss: 10k", "loss"),
        ("loss: 2026-11-28", "loss"),
        ("loss: 192.168.0.1", "loss"),
        ("loss: 10:02:11", "loss"),
        ("blossom: 0.5", "loss"),
        ("loss3: 0.5", "loss"),
        ("0.5", "loss"),
        ("0.5 loss", "loss"),
        ("my loss for class 3 of 10 is unknown", "loss"),
    ],
)
def test_another_key_or_no_number(tmp_path: Path, line: str, name: str) -> None:
    assert read(tmp_path, name, line + "\n") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Average loss: 0.5\nloss: 0.4\nAverage loss: 0.3\n", 0.4),
        ("Loss: 0.5\nloss: 0.4\nLoss: 0.3\n", 0.4),
        ("loss: 0.4\nLoss: 0.3\nval_loss: 0.2\n", 0.4),
        ("train loss: 0.5\nTrain Loss: 0.3\n", 0.3),
    ],
)
def test_the_closest_key_wins_wherever_it_stands(tmp_path: Path, text: str, value: float) -> None:
    log(tmp_path, text)
    summary, reader = MetricValue(Metric("loss")), PrintedReader("loss", run_in(tmp_path))
    for report in reader.close():
        summary.add(report.value, report.source)
    assert summary.value == value


def test_what_was_taken_is_said(tmp_path: Path) -> None:
    log(tmp_path, "Average loss: 0.5\n")
    assert [report.source for report in PrintedReader("loss", run_in(tmp_path)).close()] == [
        "printed lines, as 'Average loss'"
    ]


def test_candidates_come_first_among_the_names(tmp_path: Path) -> None:
    log(tmp_path, "lr 0.1\ntrain loss 2.1\nval loss 3.2\nval loss 3.0\n")
    reader = PrintedReader("loss", run_in(tmp_path))
    assert reader.close() == []
    assert reader.names == {"train_loss": 2.1, "val_loss": 3.0, "lr": 0.1}


def test_the_headline_of_an_epoch_is_the_step(tmp_path: Path) -> None:
    text = "Epoch 1/2\n25/25 [==] - loss: 0.4\nEpoch 2/2\n25/25 [==] - loss: 0.3\n"
    assert read(tmp_path, "loss", text) == [(1, 0.4), (2, 0.3)]


def test_opening() -> None:
    run = run_in(Path("/nonexistent"))
    assert studio_open_metric(Metric("fitness"), run) is None
    assert studio_open_metric(Metric("csv:a:b"), run) is None
    assert studio_open_metric(Metric("printed:fitness"), run) is not None
    assert studio_open_metric(Metric("val loss"), run) is not None


TEXTS = st.lists(
    st.sampled_from(
        [line for line, *_ in LINES] + ["", "Epoch 2/3", "loss: 0.25", "noise", "Average loss: 0.75", "é ü"]
    ),
    max_size=12,
)


@given(
    lines=TEXTS, cuts=st.lists(st.integers(1, 60), min_size=1), name=st.sampled_from(["loss", "accuracy", "val_loss"])
)
def test_any_cut_gives_the_same_values(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], cuts: list[int], name: str
) -> None:
    data = "\n".join(lines).encode()
    whole, pieces = (tmp_path_factory.mktemp("run") for _ in range(2))
    log(whole, data)
    one, other = MetricValue(Metric(name, "max")), MetricValue(Metric(name, "max"))
    for report in PrintedReader(name, run_in(whole)).close():
        one.add(report.value, report.source)
    reader, at = PrintedReader(name, run_in(pieces)), 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        log(pieces, data[at : at + size])
        at += size
        for report in reader.read():
            other.add(report.value, report.source)
    for report in reader.close():
        other.add(report.value, report.source)
    assert repr(one) == repr(other)


@given(st.text(max_size=300))
def test_any_text_is_taken_apart(text: str) -> None:
    for key, value in pairs(text):
        assert key.isprintable()
        assert isinstance(value, float)
    assert step_of(text) is None or step_of(text) >= 0  # type: ignore[operator]
    assert closeness(text, "loss") in (None, 0, 1, 2, 3)
    assert isinstance(words(text), tuple)


@pytest.mark.parametrize(
    "unit", ["1", "a", " ", "[", "1 ", "a ", "a:", "a 1", ":1", ".", "(", "-", "1,234", "epoch 3 ", "=", "'", "| "]
)
def test_a_long_line_takes_no_time(tmp_path: Path, unit: str) -> None:
    log(tmp_path, (unit * 20_000)[:16_000] + " loss: 0.5\n")
    begin = time.process_time()
    PrintedReader("loss", run_in(tmp_path)).close()
    assert time.process_time() - begin < 2


def test_a_flood_is_read_quickly(tmp_path: Path) -> None:
    with open(tmp_path / "output.log", "w") as file:
        for step in range(100_000):
            file.write(f"step {step}: lr {step / 1e6}, tokens {step * 7}, something else went on here\n")
        file.write("accuracy: 0.5\n")
    begin = time.process_time()
    reader = PrintedReader("accuracy", run_in(tmp_path))
    assert [report.value for report in reader.close()] == [0.5]
    assert time.process_time() - begin < 5
    assert set(reader.names) == {"lr", "tokens", "accuracy"}


class Fixed(PrintedReader):
    def __init__(self, values: list[list[float]], precedence: int):
        self.values, self.precedence, self.source = values, precedence, f"source {precedence}"

    names = ("a",)  # type: ignore[assignment]

    def read(self):  # type: ignore[no-untyped-def]
        from studio.experiment import Report

        return [Report(None, value) for value in (self.values.pop(0) if self.values else [])]

    close = read


class Breaks(Fixed):
    def read(self):  # type: ignore[no-untyped-def]
        if not self.values:
            raise ValueError("nothing more")
        return super().read()

    close = read


def test_a_source_that_breaks_after_it_answered_is_heard() -> None:
    reader = FirstOf([Fixed([], 30), Breaks([[1.0]], 10)])
    assert [report.value for report in reader.read()] == [1.0]
    with pytest.raises(ValueError, match="nothing more"):
        reader.close()


def test_a_source_that_breaks_before_another_answers_is_passed_over() -> None:
    reader = FirstOf([Fixed([[2.0]], 30), Breaks([], 10)])
    assert [report.value for report in reader.close()] == [2.0]


def test_an_earlier_source_replaces_a_later_one() -> None:
    reader = FirstOf([Fixed([[1.0], [2.0], [3.0]], 30), Fixed([[], [9.0], [], [8.0]], 10)])
    summary = MetricValue(Metric("a", "max"))
    seen = []
    for _ in range(4):
        for report in reader.read():
            summary.add(report.value, report.source)
        seen.append((summary.source, summary.value))
    assert seen == [("source 30", 1.0), ("source 10", 9.0), ("source 10", 9.0), ("source 10", 9.0)]
