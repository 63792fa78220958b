"""`studio cloud list|gc`, and what `studio run --cloud` says before it orders anything."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time

import pytest

from studio.backends.cloud.cloud import Order
from studio.backends.cloud.ec2.cloud import EC2Cloud
from studio.backends.cloud.gce.backend import GCEBackend
from studio.backends.cloud.ledger import Entry, Ledger
from studio.backends.cloud.spending import Rate
from studio.project.lock import take_lock

CHEAPEST = ["--cloud=ec2", "--bucket=s3://studio-test/search"]
SPOT = ["--cloud=ec2spot", "--machine-type=m7i.large", "--bucket=s3://studio-test/search"]
PLACE = ["--cloud=ec2", "--machine-type=m7i.large", "--bucket=s3://studio-test/search"]
NO_GOOGLE = {
    "NO_GCE_CHECK": "true",
    "CLOUDSDK_CONFIG": "/nonexistent",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent",
}


@pytest.fixture
def amazon(amazon, monkeypatch):
    """Credentials of Amazon, and none of Google."""
    for name, value in NO_GOOGLE.items():
        monkeypatch.setenv(name, value)
    return amazon


@pytest.fixture
def machine(amazon, home):
    """`machine("digits-1a2b")` makes one, in us-east-1b."""

    def make(project, name="studio-digits-1"):
        script = "#!/bin/bash\nsleep 100\n"
        about = ("m7i.large", "us-east-1b", None, 16 << 30, False, 3600, script, amazon.profile)
        return EC2Cloud().launch(Order(project, name, f"token of {name}", *about))

    return make


# --- list, gc ---------------------------------------------------------------------------------------------------------


def test_without_machines(amazon, command):
    done = command("cloud", "list")
    assert (done.code, done.out) == (0, "")
    assert "studio: no machines found" in done.err
    assert "studio: gcloud could not be checked: " in done.err


def test_machines_are_listed_with_age_and_price(machine, command, home):
    machine("digits-1a2b")
    machine("other-9z9z", "studio-other-1")
    project = home / "projects" / "digits"
    project.mkdir(parents=True)
    (project / "studio.db").touch()
    rate, begun = Rate(1.0, 1.0), time.time() - 7200
    Ledger(project).note(Entry("studio-digits-1", "m7i.large", "us-east-1b", False, rate, begun, begun + 3600))
    done = command("cloud", "list")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["cloud", "machine", "project", "type", "zone", "price", "state", "age", "cost", "so", "far"]
    assert lines[1][:7] == ["ec2", "studio-digits-1", "digits-1a2b", "m7i.large", "us-east-1b", "on", "demand"]
    assert lines[1][-1] == "$2.00"  # an hour longer than it should live, and it is still there
    assert lines[2][1:3] == ["studio-other-1", "other-9z9z"]
    assert lines[2][-1] == "unknown"
    found = json.loads(command("cloud", "list", "--json").out)
    assert [row["name"] for row in found] == ["studio-digits-1", "studio-other-1"]
    assert 0 <= found[0]["age"] < 3600


def test_gc_deletes_all(machine, amazon, command):
    machine("digits-1a2b")
    machine("other-9z9z", "studio-other-1")
    done = command("cloud", "gc", "--yes")
    assert done.code == 0
    assert "studio: ec2: deleted 2 machines" in done.err
    amazon.wait_all_gone()


def test_gc_of_one_search(machine, amazon, command):
    machine("digits-1a2b")
    machine("other-9z9z", "studio-other-1")
    assert command("cloud", "gc", "other-9z9z", "--yes").code == 0
    amazon.wait(lambda alive: [each.name for each in alive] == ["studio-digits-1"])


def test_gc_by_the_name_of_a_project(machine, amazon, command):
    machine("digits-1a2b3c")
    machine("other-9f9f9f", "studio-other-1")
    machine("other-one-9f9f9f", "studio-other-2")
    assert command("cloud", "gc", "Other", "--yes").code == 0
    amazon.wait(lambda alive: [each.name for each in alive] == ["studio-digits-1", "studio-other-2"])


def test_gc_while_the_search_runs_says_that_it_will_replace_them(machine, amazon, command, home):
    machine("digits-1a2b3c")
    folder = home / "projects" / "Digits"
    folder.mkdir(parents=True)
    (folder / "studio.db").touch()
    warning = "the search Digits runs here and will replace its machines; to end both: studio stop Digits"
    assert warning not in command("cloud", "gc", "digits").err
    with take_lock(folder):
        assert warning in command("cloud", "gc", "digits").err


def test_gc_of_a_project_that_nobody_knows(amazon, command, home):
    (home / "projects" / "Digits").mkdir(parents=True)
    (home / "projects" / "Digits" / "studio.db").touch()
    done = command("cloud", "gc", "digist", "--cloud=ec2")
    assert done.code == 0
    assert "no machines found; no project 'digist' on this computer; did you mean 'Digits'?" in done.err
    for name in ("digits", "digits-1a2b3c"):
        assert command("cloud", "gc", name, "--cloud=ec2").err.endswith("no machines found\n")


@pytest.mark.parametrize("told", [[], ["--yes"]])
def test_gc_with_a_region_that_does_not_answer_deletes_what_it_finds_and_fails(machine, amazon, command, told):
    if told:
        machine("digits-1a2b")
    amazon.refuse("InternalError", of="ec2:DescribeInstances", region="eu-west-1")
    done = command("cloud", "gc", *told)
    amazon.allow()
    assert done.code == 1
    assert "studio: ec2 could not be checked everywhere: EC2 in eu-west-1: InternalError" in done.err
    assert ("deleted 1 machines" if told else "no machines found; not every cloud could be checked") in done.err
    amazon.wait_all_gone()


def test_gc_without_a_word_of_a_cloud_that_was_used_fails(amazon, command, home):
    GCEBackend.note_use()
    done = command("cloud", "gc")
    assert done.code == 1
    assert "studio: gcloud could not be checked" in done.err
    assert "studio: no machines found; not every cloud could be checked" in done.err


def test_one_damaged_ledger_hides_no_machine(machine, command, home):
    machine("digits-1a2b")
    for name in ("broken", "digits"):
        (home / "projects" / name).mkdir(parents=True)
        (home / "projects" / name / "studio.db").touch()
    (home / "projects" / "broken" / "machines.json").write_text("[{")
    assert "studio-digits-1" in command("cloud", "list").out


def test_gc_does_nothing_unasked(machine, amazon, command):
    machine("digits-1a2b")
    done = command("cloud", "gc")
    assert done.code == 2
    assert done.err.endswith("studio: nothing was deleted: confirm with --yes\n")
    assert "studio-digits-1" in done.out
    assert len(amazon.alive()) == 1


def test_gc_that_may_not_delete_says_so(machine, amazon, command):
    machine("digits-1a2b")
    amazon.refuse("UnauthorizedOperation", "ec2:TerminateInstances")
    done = command("cloud", "gc", "--yes")
    amazon.allow()
    assert done.code == 1
    assert "UnauthorizedOperation" in done.err
    assert "may remain: studio-digits-1" in done.err


def test_no_credentials_at_all(amazon, command, monkeypatch):
    amazon.refuse("InvalidClientTokenId", "*", by="driver")
    done = command("cloud", "list")
    amazon.allow()
    assert done.code == 1
    assert "studio: no cloud could be checked" in done.err


# --- before anything is ordered ---------------------------------------------------------------------------------------


@pytest.fixture
def train(script):
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")


def test_a_dry_run_shows_the_requests_and_sends_none(amazon, command, train):
    done = command("run", "--dry-run", *PLACE, "--num-workers=4", "--hp=lr=1:8", "train.py")
    assert done.code == 0
    assert "4 machines m7i.large (2 CPUs, 8 GB) of ec2 in us-east-1" in done.out
    for text in (
        "RunInstances {",
        '"InstanceInitiatedShutdownBehavior": "terminate"',
        '"ClientToken"',
        "shutdown -P +",
    ):
        assert text in done.out
    assert amazon.requests("ec2:RunInstances") == []
    asked = command("run", "--dry-run", *PLACE, "--json", "--hp=lr=1:8", "train.py")
    preview = json.loads(asked.out)["preview"]
    assert "RunInstances {" in preview
    assert '"InstanceType": "m7i.large"' in preview


def test_a_bucket_of_another_region_is_in_the_quote(amazon, command, train, monkeypatch):
    far = "the bucket is in us-east-1: traffic between regions is slow, and billed extra"
    place = [*PLACE, "--cloud-timeout=8m"]
    assert far not in command("run", "--dry-run", *place, "--hp=lr=1:8", "train.py").out
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert far in command("run", "--dry-run", *place, "--price=1", "--hp=lr=1:8", "train.py").out


def test_both_prices_are_in_the_quote(amazon, command, train):
    out = command("run", "--dry-run", *PLACE, "--num-workers=4", "--hp=lr=1:8", "train.py").out
    lines = [line for line in out.splitlines() if " an hour each, " in line]
    assert [line[:11] for line in lines] == ["  spot     ", "* on demand"]


def test_no_machine_is_for_an_experiment_that_there_is_not(amazon, command, train):
    out = command("run", "--dry-run", *PLACE, "--num-workers=1000", "--hp=lr=1,2", "train.py").out
    assert "2 machines m7i.large" in out
    assert out.count("RunInstances {") <= 2


def test_nothing_is_started_unless_somebody_agrees(amazon, command, train, home):
    done = command("run", *PLACE, "--project=p", "--hp=lr=1:8", "train.py")
    assert done.code == 2
    assert done.err.endswith("this costs money: accept it with --yes, or limit it with --max-cost DOLLARS\n")
    assert "1 machine m7i.large" in done.err
    assert not (home / "projects").exists()
    assert amazon.requests("ec2:RunInstances") == []


def test_a_terminal_is_asked(amazon, train, home, terminal):
    shown = terminal("run", *PLACE, "--hp=lr=1:8", "train.py", columns=200).until("Continue? [y/N]:")
    os.write(shown.master, b"n\n")
    assert shown.end() == 2
    assert "1 machine m7i.large" in shown.text
    assert shown.text.rstrip().endswith("studio: nothing was started")
    assert not (home / "projects").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cloud=azure"], ["there is no backend 'azure'"]),
        (["--cloud=aws"], ["there is no backend 'aws'; did you mean 'ec2'?"]),
        (
            ["--gpu-type=t4"],
            [
                "--gpu-type is an option of gce, gcspot, ec2, ec2spot, and the backend is local; add --cloud or --backend"
            ],
        ),
        (["--cloud=ec2", "--backend=folder:/tmp/x"], ["ec2 and folder:/tmp/x: a search runs in one place"]),
        (["--cloud=ec2", "--backend=local"], ["ec2 and local: a search runs in one place"]),
        (["--cloud=ec2", "--cloud=gcloud"], ["ec2 and gcloud: a search runs in one place"]),
        (["--cloud=ec2", "--num-workers=auto"], ["--num-workers auto counts the CPUs of this machine"]),
        (["--cloud=ec2"], ["no bucket is set up; make one with: studio cloud setup ec2, or give --bucket"]),
        ([*PLACE, "--bid=0.1"], ["--bid 0.1 is for spot machines"]),
        ([*PLACE, "--max-cost=much"], ["--max-cost 'much' is not an amount of dollars"]),
        ([*PLACE, "--max-cost=0.001"], ["--max-cost 0.001: m7i.large can cost $0.11 an hour"]),
        ([*PLACE, "--per-machine=0"], ["--per-machine 0: at least 1 is needed"]),
        ([*PLACE, "--python-pkg=./mine"], ["--python-pkg './mine' is a file on this machine"]),
        ([*PLACE, "--port=99999"], ["--port 99999: a number from 1 to 65535 is needed"]),
        ([*PLACE, "--user-startup-script=none.sh"], ["--user-startup-script 'none.sh' is not a file"]),
        ([*PLACE, "--python-pkg=--index-url=x"], ["--python-pkg '--index-url=x' is not a package"]),
        ([*PLACE, "--python-pkg=a b==2 c"], ["write --python-pkg=a --python-pkg=b==2 --python-pkg=c"]),
        ([*PLACE, "--cloud-timeout=5"], ["--cloud-timeout 5 is 5 seconds", "give 60s or more"]),
        ([*PLACE, "--cloud-timeout=soon"], ["--cloud-timeout 'soon' is not a duration"]),
        ([*PLACE, "--python=python3"], ["--python python3 is a path on this machine"]),
        ([*PLACE, "--ram=lots"], ["--ram 'lots' is not a size"]),
        (
            [*PLACE, "--cpus=64"],
            ["is too small for 64 cpus; name a larger one, or leave --machine-type out"],
        ),
        ([*PLACE, "--hdd=1000TB"], ["--hdd 1000TB: the disk of a machine has at most 64 TiB"]),
        (
            [*PLACE, "--hdd=20TB", "--per-machine=4", "--num-workers=4"],
            ["--hdd 20TB for each of 4 experiments of a machine: the disk"],
        ),
        ([*CHEAPEST, "--cpus=100000"], ["has 100000 cpus; the closest is "]),
        ([*CHEAPEST, "--ram=1000TB"], ["has 1000TB of memory; the closest is r6i.32xlarge"]),
        ([*CHEAPEST, "--gpu-type=t5"], ["--gpu-type 't5': no machine of EC2 in us-east-1 has one; there are: "]),
        ([*CHEAPEST, "--machine-type=m7i.lagre"], ["--machine-type 'm7i.lagre': EC2 has none in us-east-1; did you"]),
        ([*PLACE, "--image=ami-1"], ["--image 'ami-1': there is none in us-east-1; write ami-"]),
        ([*PLACE, "--ssh-keypair=mine"], ["--ssh-keypair 'mine': there is no such key pair in us-east-1"]),
        (
            [*PLACE, "--cloud-lifetime=1m"],
            ["--cloud-lifetime 1m: a machine takes some minutes to start", "give 10m or more"],
        ),
        (
            ["--cloud=ec2", "--bucket=s3://nobodys"],
            ["--bucket s3://nobodys: there is no such bucket; make one with: studio"],
        ),
        (["--cloud=ec2", "--bucket=s3://"], ["--bucket s3://: '' cannot be the name of a bucket"]),
        (["--cloud=ec2", "--bucket=s3://UPPER_case"], ["--bucket s3://UPPER_case: 'UPPER_case' cannot be the name"]),
        (["--cloud=gcloud", "--bucket=s3://mine"], ["machines of gcloud need gs://NAME"]),
        (["--cloud=gcloud"], ["make one with: studio cloud setup gcloud, or give --bucket"]),
        (["--cloud=ec2", "--bucket=gs://mine"], ["--bucket gs://mine: machines of ec2 need s3://NAME"]),
        (
            [*SPOT, "--bid=0.001"],
            ["--bid 0.001: m7i.large in us-east-1a costs $0.03 an hour now, and no other zone less"],
        ),
        ([*SPOT, "--bid=10%"], ["--bid 10%, which is $0.01 an hour: m7i.large in us-east-1a costs $0.03"]),
    ],
    ids=lambda value: " ".join(value[-1:]) if isinstance(value, list) else None,
)
def test_what_cannot_be_meant(amazon, command, train, home, options, said):
    done = command("run", "--yes", "--hp=lr=1:8", *options, "train.py")
    assert done.code == 2, done.err
    assert done.err.count("\n") == 1
    for text in said:
        assert text in done.err
    assert not (home / "projects").exists()


@pytest.mark.parametrize(
    "line", ["-r other.txt", "-e .", "./mine", "--requirement=a.txt", "mine @ file:///mine", "a.whl"]
)
def test_requirements_that_name_other_files(amazon, command, train, script, home, line):
    script("requirements.txt", f"numpy>=2  # -r is fine here\n{line}\n")
    done = command("run", "--yes", *PLACE, "--hp=lr=1:8", "train.py")
    assert done.code == 2
    assert f"requirements.txt, line 2: {line!r} is a file on this machine" in done.err
    assert not (home / "projects").exists()


def test_a_token_in_a_package_is_in_no_request(amazon, command, train):
    url = "git+https://SECRET@example.com/mine"
    out = command("run", "--dry-run", *PLACE, f"--python-pkg={url}", "--hp=lr=1:8", "train.py").out
    assert "packages.txt" in out
    assert "SECRET" not in out


def test_a_lifetime_from_the_budget(amazon, command, train):
    out = command("run", "--dry-run", *PLACE, "--max-time=5h", "--hp=lr=1:8", "train.py").out
    assert "each for at most 5.2 hours" in out
    out = command("run", "--dry-run", *PLACE, "--max-cost=0.5", "--hp=lr=1:8", "train.py").out
    assert "each for at most 4.6 hours" in out
    assert "--max-cost ends the search before it costs more than $0.50" in out


def test_a_bucket_that_may_not_be_used(amazon, command, train):
    amazon.refuse("AccessDenied", "s3:GET", by="driver")
    done = command("run", "--dry-run", *PLACE, "--hp=lr=1:8", "train.py")
    amazon.allow()
    assert done.code == 2
    assert "no permission to use --bucket s3://studio-test/search (" in done.err
    assert done.err.endswith("the permissions needed are listed by: studio cloud setup ec2\n")


def test_a_price_that_nobody_says(amazon, command, train):
    amazon.refuse("AccessDeniedException", of="pricing:*")
    amazon.refuse("UnauthorizedOperation", of="ec2:DescribeSpotPriceHistory")
    place = [*PLACE, "--cloud-timeout=6m"]  # else of a test before this one it is known
    done = command("run", "--dry-run", *place, "--hp=lr=1:8", "train.py")
    assert "price unknown; look it up and pass --price=DOLLARS" in done.out
    done = command("run", "--yes", *place, "--max-cost=5", "--hp=lr=1:8", "train.py")
    amazon.allow()
    assert done.code == 2
    assert "--max-cost 5: the price of m7i.large is unknown; give --price DOLLARS an hour" in done.err


@pytest.mark.parametrize("cloud", ["ec2", "ec2spot", "gce", "gcloud", "gcspot"])
def test_without_credentials_bad_input_is_said_in_one_line(command, train, home, monkeypatch, cloud):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    nothing = {"AWS_SHARED_CREDENTIALS_FILE": "AWS_CONFIG_FILE", "AWS_DEFAULT_REGION": "us-east-1", **NO_GOOGLE}
    for name, value in (nothing | {"AWS_EC2_METADATA_DISABLED": "true", "GOOGLE_CLOUD_PROJECT": "mine"}).items():
        monkeypatch.setenv(name, value)
    bucket = "--bucket=s3://mine" if cloud.startswith("ec2") else "--bucket=gs://mine"
    for arguments in (
        ["run", "--yes", f"--cloud={cloud}", bucket, "--hp=lr=1:8", "train.py"],
        ["run", "--dry-run", f"--cloud={cloud}", bucket, "--hp=lr=1:8", "train.py"],
        ["cloud", "setup", cloud, "--yes"],
        ["run", f"--backend=folder:{bucket.removeprefix('--bucket=')}/x", "--hp=lr=1:8", "train.py"],
    ):
        done = command(*arguments)
        assert done.code == 2, done.err
        assert done.err.count("\n") == 1
        assert "run aws configure" in done.err or "run gcloud auth application-default login" in done.err
    assert not (home / "projects").exists() or not list((home / "projects").iterdir())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch"),
        ("AWS_DEFAULT_REGION", "mars-1", "AWS_DEFAULT_REGION 'mars-1' is not an AWS region"),
        ("AWS_DEFAULT_REGION", "us-wset-1", "did you mean 'us-west-1'"),
    ],
)
def test_a_setting_of_amazon_that_is_wrong(amazon, command, train, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    done = command("run", "--dry-run", *PLACE, "--cloud-timeout=7m", "--hp=lr=1:8", "train.py")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert name in done.err
    assert said in done.err


def test_every_spelling_of_a_cloud_is_taken_everywhere(machine, amazon, command):
    machine("digits-1a2b")
    for name in ("ec2", "ec2spot"):
        assert "studio-digits-1" in command("cloud", "list", name).out
        assert command("cloud", "setup", name, "--dry-run").code == 0
    for name in ("gce", "gcloud", "gcspot"):
        done = command("cloud", "list", name)
        assert (done.code, done.out) == (1, "")
        assert f"studio: {name.replace('gce', 'gcloud')} could not be checked: " in done.err
        assert command("cloud", "gc", "--cloud", name).code == 1
    assert command("cloud", "list", "azure").code == 2
    assert command("cloud", "gc", "--cloud=ec2", "--yes").code == 0
    amazon.wait_all_gone()


def test_a_project_with_machines_is_not_deleted(machine, amazon, command, train, home):
    command("run", "--quiet", "--project=digits", "--hp=lr=1", "train.py")
    machine("digits-1a2b3c")
    ledger, now = Ledger(home / "projects" / "digits"), time.time()
    ledger.note(Entry("studio-digits-1", "m7i.large", "us-east-1b", False, Rate(1.0, 1.0), now, now + 60, cloud="ec2"))
    done = command("rm", "digits", "--yes")
    assert (done.code, done.err) == (
        2,
        "studio: project digits was not deleted: its machines are still running and cost money (studio-digits-1); "
        "end them with studio cloud gc digits, then delete the project\n",
    )
    amazon.refuse("InvalidClientTokenId", "*", by="driver")
    done = command("rm", "digits", "--yes")
    amazon.allow()
    assert done.code == 1
    assert "its machines may still run" in done.err
    assert command("cloud", "gc", "digits", "--yes").code == 0
    amazon.wait_all_gone()
    assert command("rm", "digits", "--yes").code == 0


def test_what_a_search_cost_is_listed(command, train, home):
    command("run", "--quiet", "--project=p", "--hp=lr=1,2", "train.py")
    assert "cost" not in (command("runs", "list").out + command("runs", "list", "p").out).split()
    (home / "projects/p/cost.json").write_text('{"dollars": 1.5}')
    set_cost(home, 0.0123)
    lines = command("runs", "list").out.splitlines()
    assert (lines[0].split()[-1], lines[1].split()[-1]) == ("cost", "$1.50")
    lines = [line.split() for line in command("runs", "list", "p").out.splitlines()]
    assert [line[4] for line in lines[:2]] == ["cost", "$0.012"]
    assert json.loads(command("runs", "list", "--json").out)[0]["cost"] == 1.5
    found = json.loads(command("runs", "list", "p", "--json").out)
    assert [experiment.get("cost") for experiment in found] == [0.0123, None]


def set_cost(home, dollars):
    with contextlib.closing(sqlite3.connect(home / "projects/p/studio.db")) as connection, connection:
        connection.execute("UPDATE attempts SET cost = ? WHERE number = 1", (dollars,))


def test_what_an_experiment_cost(command, train, home):
    command("run", "--quiet", "--project=p", "--hp=lr=1", "train.py")
    assert "$" not in command("runs", "show", "p/1").out
    set_cost(home, 0.0123)
    assert json.loads(command("runs", "show", "p/1", "--json").out)["attempts"][0]["cost"] == 0.0123
    assert "$0.012" in command("runs", "show", "p/1").out


def test_a_local_search_loads_no_sdk(home, train):
    program = """
import sys
sys.argv = ["studio", "run", "--hp=lr=1,2", "train.py"]
from studio.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = ("boto3", "botocore", "google.cloud", "google.auth", "requests", "urllib3")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
