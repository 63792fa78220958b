"""TensorBoard event files that are damaged, cut, replaced or gone: what was found stays, and what comes later is found."""

import json
import os
from pathlib import Path

import pytest

# Beside the script: event files by hand, so that each byte can be wrong.
EVENTS = """
    import os, struct, time

    def crc(data):
        value = 0xFFFFFFFF
        for byte in data:
            value ^= byte
            for _ in range(8):
                value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        value ^= 0xFFFFFFFF
        return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    def frame(data):
        length = struct.pack("<Q", len(data))
        return length + crc(length) + data + crc(data)

    def varint(number):
        out = b""
        while number > 127:
            out, number = out + bytes([number & 127 | 128]), number >> 7
        return out + bytes([number])

    def field(number, data):
        return bytes([number << 3 | 2]) + varint(len(data)) + data

    def event(value, tag="loss"):
        "A record with one scalar."
        entry = field(1, tag.encode()) + b"\\x15" + struct.pack("<f", value)
        return frame(field(5, field(1, entry)))

    FILE = os.path.join(os.environ["STUDIO_FOLDER"], "tb", "events.out.tfevents.1")
    lr = 0

    def write(data, file=FILE, mode="ab"):
        with open(file, mode) as out:
            out.write(data)

    def reach(number):
        "Tell the test that part `number` is done, and wait until it has seen that."
        open(os.environ["OUTSIDE"] + f"/done{number}", "w").close()
        while not os.path.exists(os.environ["OUTSIDE"] + f"/seen{number}"):
            time.sleep(0.01)
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    folder = tmp_path / "outside"
    folder.mkdir()
    monkeypatch.setenv("OUTSIDE", str(folder))
    return folder


@pytest.fixture
def train(script, outside):
    """Writes the script; `text` is its last part."""

    def write(text):
        script("events.py", EVENTS)
        script("train.py", f"from events import *\nlr = 0\nprint(lr)\n{text}\n")

    return write


@pytest.fixture
def outcome(command, train):
    """The only experiment of a search whose script ends with `text`."""

    def call(text, metric="loss:min"):
        train(text)
        result = command("run", "--quiet", "--project=p", f"--metric={metric}", "--hp=lr=1", "train.py")
        assert "Traceback" not in result.err
        (experiment,) = json.loads(command("runs", "list", "p", "--json").out)
        assert result.code == (0 if experiment["status"] == "completed" else 1), Path(
            experiment["folder"], "output.log"
        ).read_text()
        return experiment

    return call


# --- damage that is there when the run ends ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "write(event(3) + event(1) + event(2))",
        "write(event(1) + event(0.5)[:-1])",  # cut in its last byte
        "write(event(1) + event(0.5)[:5])",  # in its header
        "write(event(3) + event(0.5)[:20] + event(1))",  # cut, and gone on with
        "write(event(3) + event(0.5)[:5] + event(1))",
        "write(event(3) + event(0.5)[:-4] + b'0000' + event(1))",  # a wrong checksum of the data
        "write(event(3) + event(0.5)[:8] + b'0000' + event(0.5)[12:] + event(1))",  # and of the length
        "write(event(3) + b'\\xff' + event(0.5)[1:] + event(1))",  # a wrong length
        "write(event(3) + bytes(4096) + event(1))",  # a hole, as a crash of the machine leaves it
        "write(event(3) + os.urandom(5000) + event(1))",
        "write(b'no event file at all ' * 100 + event(1))",
        "write(event(3) + frame(b'\\xff' * 50) + frame(b'') + event(1))",  # whole records that are no events
        "write(event(3) + frame(field(5, b'\\xff' * 9)) + event(1))",
        "write(event(3) + event(0.5, tag='other') + event(0.5, tag='') + event(0.5, tag='x' * 100000) + event(1))",
        "write(event(float('nan')) + event(1) + event(float('-inf')))",  # which count in no minimum
        "write(b''); write(event(1), FILE + '.2')",  # an empty file before it
        "write(event(1)); write(b'', FILE + '.2'); write(b'x', FILE + '.3'); write(event(0.5)[:30], FILE + '.4')",
        "write(event(3)); write(event(1), FILE + '.2'); os.remove(FILE)",
        "write(event(1)); os.mkfifo(FILE + '.2'); os.mkdir(FILE + '.3'); os.symlink(FILE + '.4', FILE + '.4')",
        "write(event(1)); os.symlink('/dev/zero', FILE + '.2'); os.symlink(FILE, FILE + '.3')",
        "[write(event(n), FILE + f'.{n}') for n in range(300, 0, -1)]",
    ],
)
def test_damage_costs_what_is_damaged_alone(outcome, text):
    experiment = outcome(text)
    assert (experiment["status"], experiment["reason"]) == ("completed", "")
    assert (experiment["metric"]["value"], experiment["fitness"]) == (1, -1)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "no metric was logged"),
        ("write(b'')", "no metric was logged"),
        ("write(event(1)[:-1])", "no metric was logged"),
        ("write(event(1)[:-4] + b'0000')", "no metric was logged"),
        ("write(b'no event file ' * 1000)", "no metric was logged"),
        ("os.mkfifo(FILE)", "no metric was logged"),
        ("os.symlink(FILE, FILE)", "no metric was logged"),
        ("import shutil; shutil.rmtree(os.path.dirname(FILE))", "no metric was logged"),
        ("write(event(1, tag='accuracy') + event(1)[:-1])", "seen: accuracy"),
    ],
)
def test_without_any_whole_value_the_experiment_failed_and_says_so(outcome, text, seen):
    experiment = outcome(text)
    assert (experiment["status"], experiment["fitness"], experiment["metric"]) == ("failed", None, None)
    assert experiment["reason"] == f"metric 'loss' never came; {seen}"
    assert experiment["exit_code"] == 0


@pytest.mark.parametrize("metric", ["loss:min", "loss:max"])
def test_a_metric_that_is_never_finite_is_a_failure(outcome, metric):
    experiment = outcome("write(event(float('nan')) + event(float('inf')))", metric)
    assert (experiment["status"], experiment["fitness"]) == ("failed", None)
    assert experiment["reason"] == "every value of loss was nan or infinite"


def test_a_crash_in_the_middle_of_a_record_is_a_failure_with_its_last_whole_value(outcome):
    experiment = outcome("write(event(3) + event(1)[:20])\nos.abort()")
    assert (experiment["status"], experiment["fitness"]) == ("failed", None)
    assert experiment["reason"] == "killed by SIGABRT: 1"
    assert experiment["metric"] in (None, {"name": "loss", "mode": "min", "value": 3})


def test_a_length_that_lies_costs_no_memory(outcome):
    """A header that is right, of a record of 2**60 bytes."""
    lie = "length = struct.pack('<Q', 1 << 60)\nwrite(event(1) + length + crc(length) + bytes(100000))"
    assert outcome(lie)["metric"]["value"] == 1


# --- while the run goes on --------------------------------------------------------------------------------------------


@pytest.fixture
def live(driver, train, command, outside, until):
    """`live(text)` starts a search; `see(number, value)` waits until part `number` is done and the record shows `value`."""

    class Live:
        def __init__(self, text, metric="loss:min"):
            train(text)
            self.driver = driver("run", "--project=p", f"--metric={metric}", "--hp=lr=1", "train.py")

        @property
        def experiment(self):
            (found,) = json.loads(command("runs", "list", "p", "--json").out)
            return found

        @property
        def value(self):
            return (self.experiment["metric"] or {}).get("value")

        def see(self, number, value):
            until((outside / f"done{number}").exists, what=f"part {number} never came: {self.driver.err}")
            until(lambda: self.value == value, what=f"after part {number} the record shows no {value}")
            assert self.experiment["status"] == "running"
            (outside / f"seen{number}").touch()

        def end(self):
            assert self.driver.wait() == 0, self.driver.err
            assert "Traceback" not in self.driver.err
            assert self.experiment["status"] == "completed"
            return self.value

    return Live


def test_a_record_written_byte_by_byte_is_found_when_it_is_whole(live):
    run = live(
        """
for byte in event(3):
    write(bytes([byte]))
    time.sleep(0.005)
data = event(2)
write(data[:-1])
reach(1)
write(data[-1:] + event(1)[:9])
reach(2)
write(event(1)[9:])
"""
    )
    run.see(1, 3)
    run.see(2, 2)
    assert run.end() == 1


@pytest.mark.parametrize(
    "accident",
    [
        "write(b'', mode='wb')",  # emptied
        "write(event(9), mode='wb')",  # written anew, shorter
        "write(event(9), FILE + '.part'); os.replace(FILE + '.part', FILE)",  # replaced
        "os.remove(FILE)",
        "import shutil; shutil.rmtree(os.path.dirname(FILE)); os.mkdir(os.path.dirname(FILE))",
        "write(os.urandom(3000))",
        "write(event(0.5)[:-4] + b'0000')",
        "os.remove(FILE); os.mkdir(FILE); write(event(9), FILE + '/x'); import shutil; shutil.rmtree(FILE)",
        "os.remove(FILE); os.mkfifo(FILE); time.sleep(0.5); os.remove(FILE)",
    ],
)
def test_the_live_value_stays_and_later_ones_are_found(live, accident):
    run = live(
        f"""
write(event(4) + event(3) + event(5))
reach(1)
{accident}
time.sleep(0.6)  # two looks of the reader
reach(2)
write(event(7) + event(2))
reach(3)
write(event(1), FILE + ".2")
"""
    )
    run.see(1, 3)
    run.see(2, 3)
    run.see(3, 2)
    assert run.end() == 1


def test_the_last_value_too_stays_where_its_file_is_gone(live):
    run = live("write(event(1) + event(3))\nreach(1)\nos.remove(FILE)\ntime.sleep(0.6)\nreach(2)", metric="loss")
    run.see(1, 3)
    run.see(2, 3)
    assert run.end() == 3


def test_a_writer_as_scripts_have_it_that_starts_again_in_the_same_folder(live):
    pytest.importorskip("tensorboardX")
    run = live(
        """
from tensorboardX import SummaryWriter
folder = os.path.dirname(FILE)
for part, value in enumerate((3, 2)):
    writer = SummaryWriter(folder, filename_suffix=f".{part}")
    writer.add_scalar("loss", value, part)
    writer.close()
    newest = max(os.path.join(folder, name) for name in os.listdir(folder))
    if part == 0:
        write(event(0.5)[:-2], newest)  # as if it had been killed while it wrote
    reach(part)
"""
    )
    run.see(0, 3)
    run.see(1, 2)
    assert run.end() == 2


def test_a_file_that_cannot_be_read_for_a_while(live, tmp_path):
    (tmp_path / "closed").touch(mode=0)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("root reads everything")
    run = live(
        """
write(event(3))
reach(1)
os.chmod(FILE, 0o200)
write(event(2))
time.sleep(0.6)
reach(2)
os.chmod(FILE, 0o600)
reach(3)
write(event(1))
"""
    )
    run.see(1, 3)
    run.see(2, 3)
    run.see(3, 2)
    assert run.end() == 1
