"""The script that a machine starts with: its text as a whole, and what it does on machines of `ec2_simulator`."""

import dataclasses
import functools
import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from searches import FULL

from studio.backends.cloud.cloud import CloudDenied, Order
from studio.backends.cloud.ec2.cloud import EC2Cloud
from studio.backends.cloud.ec2.startup import snippets
from studio.backends.cloud.startup import LARGEST, Startup, log_key, render
from studio.backends.queue.launcher import worker_command
from studio.errors import BadInput

DATA = Path(__file__).parent / "data"
WHEEL = "studio_search-0.1.0-py3-none-any.whl"

PLAIN = Startup(
    **snippets("s3://my-bucket/digits", "us-east-1", 7200),
    command=worker_command("s3://my-bucket/digits", idle=300, program=["studio"]),
    wheel=f"blobs/{WHEEL}",
    extra="ec2",
    name="digits-1a2b-w1",
    lifetime=7200,
)
SIMPLE = dataclasses.replace(
    PLAIN,
    arm="sudo-arm-it",
    end="  end-it",
    fetch='  fetch-it "$1" "$2"',
    store='  store-it "$1" "$2"',
    extra="",
    command=worker_command("s3://my-bucket/digits", idle=300, slots=4, program=["studio"]),
    files=["blobs/1/requirements.txt", "blobs/2/uv.lock", "blobs/3/pyproject.toml", "blobs/4/packages.txt"],
    user="blobs/it's mine.sh",
)
SCRIPTS = {
    "ec2_startup.sh": PLAIN,
    "startup_all.sh": SIMPLE,
    "startup_pyproject.sh": dataclasses.replace(SIMPLE, user=None, files=["pyproject.toml"]),
}

# --- the text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_as_a_whole(name):
    """STUDIO_TEST_WRITE=1 writes the files anew: read what has changed."""
    text = render(SCRIPTS[name])
    if os.environ.get("STUDIO_TEST_WRITE"):
        (DATA / name).write_text(text)
    assert text == (DATA / name).read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_can_read_it(name):
    done = subprocess.run(["bash", "-n"], input=render(SCRIPTS[name]), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_end_is_armed_before_anything_else():
    lines = render(PLAIN).splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    assert commands[:6] == [
        "set -u",
        "up=$(cut -d. -f1 /proc/uptime) ends=7200",
        "left=$((ends - ${up:-0}))",
        "left=$((left < 60 ? 60 : left))",
        "shutdown -P +$((left / 60)) &",
        "{ sleep $left; shutdown -P now; sleep 60; poweroff -f; } >/dev/null 2>&1 &",
    ]


def arm_and_leave(folder, lifetime, boots, works):
    """What the two timers are set to, in seconds, when the machine has been up for `boots`, and what the worker is given
    when it has been up for `works`; both as /proc/uptime has them, or None."""
    said, uptime = folder / "said", folder / "uptime"
    arm = snippets("s3://my-bucket/digits", "us-east-1", lifetime)["arm"].partition("\ncloud=")[0]
    text = render(
        dataclasses.replace(PLAIN, **snippets("s3://my-bucket/digits", "us-east-1", lifetime), lifetime=lifetime)
    )
    leave = text[text.rindex("up=$(") : text.index('[ "$left" -gt 0 ]')]
    stubs = f'shutdown() {{ echo "minutes $2" >>{said}; }}\nsleep() {{ echo "seconds $1" >>{said}; }}\npoweroff() {{ :; }}\n'
    for at, lines in ((boots, f"{stubs}{arm}\nwait\ndeclare -p ends"), (works, leave + 'echo "$left"')):
        uptime.unlink(missing_ok=True)
        if at is not None:
            uptime.write_text(f"{at} 12.34\n")
        program = f"set -u\nends={lifetime}\n{lines.replace('/proc', str(folder))}"
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    found = [line.split() for line in said.read_text().splitlines()]
    minutes = [int(when) for what, when in found if what == "minutes" and when != "now"]
    seconds = [int(when) for what, when in found if what == "seconds"]
    return minutes[0] * 60, seconds[0], int(done.stdout)


@pytest.mark.parametrize(
    ("lifetime", "uptime", "minutes"),
    [
        (7200, "0.50", 120),
        (7200, "31.20", 119),
        (3659, "0.9", 60),
        (100, "50.1", 1),
        (60, "900.0", 1),
        (7200, None, 120),
    ],
)
def test_the_timer_counts_from_the_boot_and_ends_no_later(tmp_path, lifetime, uptime, minutes):
    by_minutes, by_seconds, _ = arm_and_leave(tmp_path, lifetime, uptime, uptime)
    assert by_minutes == minutes * 60
    assert by_seconds == max(lifetime - int(float(uptime or 0)), 60)


@pytest.mark.parametrize(
    ("lifetime", "boots", "works"), [(480, 0.9, 61.2), (600, 59.9, 200.0), (3659, 10.0, 31.2), (86400, 20.7, 79.9)]
)
def test_the_worker_ends_a_minute_before_any_timer(tmp_path, lifetime, boots, works):
    by_minutes, by_seconds, work = arm_and_leave(tmp_path, lifetime, boots, works)
    assert work == lifetime - int(works) - 120
    assert works + work + 60 <= boots + min(by_minutes, by_seconds)


def test_a_short_life_has_time_to_work_in(tmp_path):
    assert arm_and_leave(tmp_path, 60, 1.0, 5.0)[2] == 40


def test_what_amazon_says_to_a_signed_request_is_not_in_the_log(amazon):
    amazon.refuse("InvalidToken", of="s3:GET", by="i-*", times=1, message="the provided token is FwoGZXIvYXdzEA")
    id = launch(amazon)
    wait_for_worker(amazon, id)
    assert "InvalidToken" in amazon.log(id)
    assert "FwoGZXIvYXdzEA" not in amazon.log(id)


def test_the_log_outlives_a_signal_to_the_whole_machine(tmp_path):
    """As systemd ends a machine: SIGTERM to everybody."""
    line = next(line for line in render(PLAIN).splitlines() if line.startswith("exec > >("))
    program = f'work="{tmp_path}"\n{line}\ntrap "sleep 0.2; echo the end; exit" TERM'
    program += '\necho begun; until [ -s "$work/boot.log" ]; do sleep 0.05; done; kill -TERM 0; sleep 5'
    # Whoever reads its output waits for tee, which ends a moment after bash.
    subprocess.run(["bash", "-c", program], check=False, timeout=60, start_new_session=True, capture_output=True)
    assert (tmp_path / "boot.log").read_text() == "begun\nthe end\n"


def test_there_is_room_left():
    assert len(render(PLAIN).encode()) < LARGEST * 0.6


def test_no_secret_is_in_it(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very secret")
    text = render(dataclasses.replace(PLAIN, **snippets("s3://my-bucket/digits", "us-east-1", 7200)))
    assert text == (DATA / "ec2_startup.sh").read_text()
    assert "AKIA" not in text


def test_too_much_for_a_machine():
    with pytest.raises(CloudDenied, match=r"has \d+ bytes, and a machine takes 16384"):
        render(dataclasses.replace(PLAIN, command=["studio", "worker", f"s3://my-bucket/{'long/' * 3000}"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Digits"}, "'Digits' cannot name a machine"),
        ({"name": "a;rm -rf /"}, "cannot name a machine"),
        ({"extra": "ec2]"}, "cannot be an extra"),
        ({"wheel": "blobs/studio.tar.gz"}, "is not a wheel"),
        ({"wheel": "/studio.whl"}, "'/studio.whl' is not a key of a bucket"),
        (
            {"files": ["setup.py"]},
            "'setup.py' cannot be installed from: give requirements.txt, uv.lock, pyproject.toml, packages.txt",
        ),
        ({"files": ["uv.lock"]}, "uv.lock needs the pyproject.toml beside it"),
        ({"files": ["a/uv.lock", "b/uv.lock"]}, "two files of the same name"),
        ({"files": ["a\nb/packages.txt"]}, "line break"),
        ({"command": ["studio", "worker", "s3://a\rb"]}, "line break"),
        ({"user": ""}, "'' is not a key of a bucket"),
        ({"user": "-x"}, "'-x' is not a key of a bucket"),
        ({"lifetime": 59}, "lifetime is 59: at least 60"),
    ],
)
def test_what_has_no_place_in_it(changes, said):
    with pytest.raises(BadInput) as caught:
        render(dataclasses.replace(PLAIN, **changes))
    assert said in str(caught.value)


@pytest.mark.parametrize("url", ["gs://bucket/x", "/a/folder", "s3://"])
def test_machines_of_ec2_take_work_from_s3(url):
    with pytest.raises(BadInput, match="is not a bucket for machines of EC2: write s3://BUCKET/PREFIX"):
        snippets(url, "us-east-1", 7200)


# --- on a machine -----------------------------------------------------------------------------------------------------


def put(amazon, key, text):
    bucket, _, prefix = amazon.bucket.removeprefix("s3://").partition("/")
    amazon.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=text.encode())


def boot_log(amazon):
    """Of worker w1, as a driver reads it."""
    bucket, _, prefix = amazon.bucket.removeprefix("s3://").partition("/")
    return amazon.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/{log_key('w1')}")["Body"].read().decode()


@functools.cache
def ec2_of(url):
    """One for all tests: a client of boto3 takes some time to make."""
    return EC2Cloud()


# It waits and hears signals as a worker does, without the seconds that ours takes to start.
OURS = "studio worker s3:"
STAND_IN = """bash -c 'echo "waiting for experiments"; trap "exit 0" TERM; while :; do sleep 0.1; done' studio worker"""


def launch(
    amazon,
    *,
    lifetime=24 * 3600,
    user=None,
    packages=None,
    worker=STAND_IN,
    idle=600,
    edit=lambda text: text,
    token="once",
    **changes,
):
    """A machine with the script for `changes`, as soon as it is there. Its id."""
    put(amazon, f"blobs/{WHEEL}", "the wheel\n")
    if user is not None:
        put(amazon, "user.sh", user)
        changes["user"] = "user.sh"
    if packages is not None:
        put(amazon, "packages.txt", packages)
        changes["files"] = ["packages.txt"]
    command = worker_command(amazon.bucket, idle=idle, program=["studio"])
    options = {"command": command, "lifetime": lifetime, "name": "w1"} | changes
    text = edit(render(dataclasses.replace(PLAIN, **snippets(amazon.bucket, "us-east-1", lifetime), **options)))
    assert OURS in text
    text = text.replace(OURS, f"{worker} s3:" if worker != OURS else OURS)
    order = Order(
        project="digits",
        name="w1",
        token=token,
        machine_type="c6i.large",
        zone="us-east-1a",
        image=None,
        hdd=0,
        spot=True,
        lifetime=lifetime,
        script=text,
        account=amazon.profile,
    )
    return ec2_of(amazon.url).launch(order).id


def wait_for(amazon, id, words, timeout=60.0):
    end = time.monotonic() + timeout
    while words not in amazon.log(id):
        assert time.monotonic() < end, amazon.log(id)
        time.sleep(0.05)


def wait_for_worker(amazon, id):
    wait_for(amazon, id, "waiting for experiments")


def test_a_worker_without_work_ends_its_machine(amazon):
    user = "#!/bin/sh\necho mine in $PWD\n"
    launch(amazon, worker=OURS, idle=1, user=user, packages="numpy\n")
    amazon.wait_all_gone()
    said = boot_log(amazon).splitlines()
    assert said[0].startswith("studio: w1 starts on Linux")
    assert said[1].startswith("mine in /")
    assert said[2] == f"studio: waiting for experiments in {amazon.bucket}"
    assert said[-1].startswith("studio: the end, with exit code 0 after")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"packages": "numpy\nno-such-package\n"}, "studio: a package was not installed"),
        ({"user": "#!/bin/sh\nexit 3\n"}, "studio: the user's start-up script ended with exit code 3"),
        pytest.param({"wheel": f"blobs/not-{WHEEL}"}, f"studio: cannot fetch blobs/not-{WHEEL}", marks=FULL),
        pytest.param(
            {"user": "#!/no/such/program\n"}, "studio: the user's start-up script ended with exit code", marks=FULL
        ),
    ],
)
def test_a_broken_bootstrap_ends_the_machine_and_says_why(amazon, changes, said):
    launch(amazon, **changes)
    amazon.wait_all_gone()
    assert said in boot_log(amazon)
    assert "the end, with exit code 1" in boot_log(amazon)


@FULL
def test_a_worker_that_breaks_ends_the_machine(amazon):
    launch(amazon, worker="bash -c 'echo it broke; exit 2'")
    amazon.wait_all_gone()
    assert "it broke" in boot_log(amazon)
    assert "the end, with exit code 2" in boot_log(amazon)


def test_a_bootstrap_that_hangs_ends_with_its_lifetime(amazon):
    started = time.monotonic()
    launch(amazon, lifetime=3600, user="#!/bin/sh\ntrap '' TERM HUP\nwhile :; do sleep 1; done\n")
    amazon.wait_all_gone()
    assert time.monotonic() - started > 3


@FULL
def test_a_machine_whose_timer_cannot_be_set_ends_all_the_same(amazon):
    def broken(text):
        return text.replace("shutdown -P +", "false +").replace("sleep $left", "sleep 2")

    launch(amazon, user="#!/bin/sh\nsleep 1000\n", edit=broken)
    amazon.wait_all_gone()


def test_a_script_that_cancels_the_shutdown_cancels_one_timer_only(amazon):
    def soon(text):
        return text.replace("sleep $left", "sleep 2")

    launch(amazon, user="#!/bin/sh\nshutdown -c; sleep 1000\n", edit=soon)
    amazon.wait_all_gone()


def test_a_signal_ends_the_worker_and_the_machine(amazon):
    id = launch(amazon)
    wait_for_worker(amazon, id)
    os.kill(amazon.instances()[0].script, signal.SIGTERM)
    amazon.wait_all_gone()
    assert "studio: the end" in boot_log(amazon)


@FULL
def test_a_signal_during_the_bootstrap_ends_the_machine(amazon):
    id = launch(amazon, user="#!/bin/sh\necho at it\nsleep 2\n")
    wait_for(amazon, id, "at it")
    os.kill(amazon.instances()[0].script, signal.SIGTERM)
    amazon.wait_all_gone()
    assert "the end, with exit code 143" in boot_log(amazon)


def test_a_script_that_is_killed_takes_its_machine_along(amazon):
    id = launch(
        amazon, edit=lambda text: text.replace("do sleep 5; done; end_machine", "do sleep 0.2; done; end_machine")
    )
    wait_for_worker(amazon, id)
    os.kill(amazon.instances()[0].script, signal.SIGKILL)
    amazon.wait_all_gone()


@FULL
def test_a_worker_that_is_killed_takes_its_machine_along(amazon):
    id = launch(amazon)
    wait_for_worker(amazon, id)
    subprocess.run(["pkill", "-KILL", "-P", str(amazon.instances()[0].script), "-f", "studio worker"], check=True)
    amazon.wait_all_gone()
    assert "the end, with exit code 137" in boot_log(amazon)


def test_a_spot_machine_that_is_taken_away_says_so_first(amazon):
    id = launch(amazon, edit=lambda text: text.replace("time.sleep(5)", "time.sleep(0.2)"))
    wait_for_worker(amazon, id)
    amazon.interrupt_spot(id, notice=60)
    amazon.wait_all_gone()
    assert "studio: this machine is being taken away" in boot_log(amazon)
    assert '"action": "terminate"' in boot_log(amazon)


def test_a_second_boot_is_the_end(amazon):
    id = launch(amazon)
    wait_for_worker(amazon, id)
    cloud = amazon.instances()[0].folder / "root/cloud"

    def boot_again():
        path = {"PATH": f"{cloud.parent.parent}/bin:/usr/bin:/bin"}
        subprocess.run([cloud / "scripts/per-boot/studio-end"], env=path, check=True)

    (cloud / "data/instance-id").write_text("i-123\n")  # a machine of an image that was made of this one
    boot_again()
    time.sleep(0.5)
    assert "studio: the end" not in amazon.log(id)
    (cloud / "data/instance-id").write_text(f"{id}\n")
    boot_again()
    amazon.wait_all_gone()


def test_a_file_that_is_not_what_its_key_says_is_not_installed(amazon):
    key = f"wheels/{hashlib.sha256(b'the wheel').hexdigest()[:32]}/{WHEEL}"
    put(amazon, key, "the wh")
    launch(amazon, wheel=key)
    amazon.wait_all_gone()
    assert f"studio: {key} is damaged" in boot_log(amazon)
    put(amazon, key, "the wheel")
    wait_for_worker(amazon, launch(amazon, wheel=key, token="twice"))


def test_credentials_and_buckets_take_a_moment(amazon):
    amazon.refuse("AccessDenied", of="s3:GET", by="i-*", times=2)
    amazon.lose_answers(of="s3:GET", by="i-*")
    id = launch(amazon)
    wait_for_worker(amazon, id)


@FULL
def test_the_bucket_may_be_in_another_region(amazon):
    amazon.refuse("PermanentRedirect", of="s3:*", by="i-*", region="us-east-1", message="eu-west-1")
    launch(amazon, worker="true")
    amazon.wait_all_gone()
    assert "the end, with exit code 0" in boot_log(amazon)


def test_a_machine_without_network_ends(amazon):
    id = launch(amazon, edit=lambda text: text.replace("within 60 store", "within 1 store"))
    wait_for_worker(amazon, id)
    amazon.cut(id)
    os.kill(amazon.instances()[0].script, signal.SIGTERM)
    amazon.wait_all_gone()
    assert "the boot log was not stored" in amazon.log(id)


def test_a_machine_has_nothing_of_ours(amazon):
    """Nothing of our environment reaches a machine, and of its own it has what Amazon gave it."""
    id = launch(amazon, user="#!/bin/sh\nenv\n")
    wait_for_worker(amazon, id)
    assert "AWS_ACCESS_KEY_ID" not in amazon.log(id)
    assert "STUDIO_HOME" not in amazon.log(id)
    assert {request.by for request in amazon.requests("s3:GET")} == {id}


def test_without_uv_the_python_of_the_image_does(tmp_path):
    """The lines that make the environment, with a stand-in for Python."""
    text = render(dataclasses.replace(PLAIN, files=["packages.txt"]))
    start, end = text.index("good_python() {"), text.index('export PATH="$work/venv')
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").write_text('#!/bin/sh\necho "python3 $*" >>"$0.asked"\n')
    (folder / "python3").chmod(0o755)
    program = f'work="{tmp_path}"\nfail() {{ echo "$1"; exit 1; }}\n{text[start:end]}\ndeclare -f add\n'
    done = subprocess.run(
        ["bash", "-c", program], env={"PATH": f"{folder}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"$work/venv/bin/python" -m pip install' in done.stdout
    asked = (folder / "python3.asked").read_text().splitlines()
    assert asked[1:] == [f"python3 -m venv {tmp_path}/venv"]
    assert "sys.version_info < (3, 11)" in asked[0]
