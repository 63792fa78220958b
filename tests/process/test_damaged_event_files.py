"""TensorBoard event files that are damaged, cut, replaced or gone: what was found stays, and what comes later is found."""

import json

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
def train(script, outside):
    """Writes the script; `text` is its last part."""

    def write(text):
        script("events.py", EVENTS)
        script("train.py", f"from events import *\nlr = 0\nprint(lr)\n{text}\n")

    return write


# --- damage that is there when the run ends ---------------------------------------------------------------------------

# Byte by byte, damage is in tests/unit/plugins/test_tensorboard.py.
DAMAGES = [
    "write(event(3) + event(0.5)[:20] + event(1))",  # cut, and gone on with
    "write(event(3) + event(0.5)[:-4] + b'0000' + event(1))",  # a wrong checksum
    "write(event(3) + bytes(4096) + event(1))",  # a hole, as a crash of the machine leaves it
    "length = struct.pack('<Q', 1 << 60); write(event(1) + length + crc(length) + bytes(100000))",  # a length that lies
    "write(event(float('nan')) + event(1) + event(float('-inf')))",  # which count in no minimum
    "write(event(1)); write(b'', FILE + '.2'); write(b'x', FILE + '.3'); write(event(0.5)[:30], FILE + '.4')",
    "write(event(3)); write(event(1), FILE + '.2'); os.remove(FILE)",
    "write(event(1)); os.mkfifo(FILE + '.2'); os.mkdir(FILE + '.3'); os.symlink('/dev/zero', FILE + '.4')",
    "[write(event(n), FILE + f'.{n}') for n in range(300, 0, -1)]",
]
NO_VALUE = {
    "pass": "metric 'loss' never came; no metric was logged",
    "write(event(1)[:-1])": "metric 'loss' never came; no metric was logged",
    "os.mkfifo(FILE)": "metric 'loss' never came; no metric was logged",
    "import shutil; shutil.rmtree(os.path.dirname(FILE))": "metric 'loss' never came; no metric was logged",
    "write(event(1, tag='accuracy') + event(1)[:-1])": "metric 'loss' never came; seen: accuracy",
    "write(event(float('nan')) + event(float('inf')))": "every value of loss was nan or infinite",
    "write(event(3) + event(1)[:20]); os.abort()": "killed by SIGABRT: ",
}


def test_damage_costs_what_is_damaged_alone(command, train):
    ways = [*DAMAGES, *NO_VALUE]
    train("\n".join(f"if lr == {number}:\n    {way}" for number, way in enumerate(ways)))
    options = ["--project=p", "--metric=loss:min", "--num-workers=2", f"--hp=lr=0:{len(ways) - 1}"]
    result = command("run", *options, "train.py")
    assert (result.code, "Traceback" in result.err) == (3, False)
    experiments = json.loads(command("runs", "list", "p", "--json").out)
    for way, found in zip(ways, experiments, strict=True):
        if way in DAMAGES:
            assert (found["status"], found["reason"]) == ("completed", ""), way
            assert (found["metric"]["value"], found["fitness"]) == (1, -1), way
        else:
            assert (found["status"], found["fitness"]) == ("failed", None), way
            assert found["reason"].startswith(NO_VALUE[way]), way


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


@pytest.mark.parametrize(
    "accident",
    [
        "write(event(9), FILE + '.part'); os.replace(FILE + '.part', FILE)",  # replaced
        "import shutil; shutil.rmtree(os.path.dirname(FILE)); os.mkdir(os.path.dirname(FILE))",
        *(
            pytest.param(way, marks=pytest.mark.slow)
            for way in (
                "write(event(9), mode='wb')",  # written anew, shorter
                "write(os.urandom(3000))",
                "os.remove(FILE); os.mkfifo(FILE); time.sleep(0.5); os.remove(FILE)",
            )
        ),
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
