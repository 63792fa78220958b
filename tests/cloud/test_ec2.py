"""Machines of EC2: what is asked of Amazon, what its answers mean, what is chosen. Against `ec2_simulator`."""

import dataclasses
import http.server
import json
import os
import threading
import time
from pathlib import Path

import pytest
from machine_contract import MachineContract

from studio.backends.cloud.cloud import (
    CloudCredentials,
    CloudDenied,
    CloudError,
    CloudUnreachable,
    Gone,
    Machine,
    NoCapacity,
    NoCredentials,
    NotOffered,
    Order,
    QuotaRefused,
    Wanted,
)
from studio.backends.cloud.ec2.backend import EC2Backend
from studio.backends.cloud.ec2.cloud import EC2Cloud
from studio.backends.cloud.ec2.requests import (
    OLD_GPUS,
    ROOT,
    image_id,
    is_arm,
    is_burstable,
    least_disk,
    region_of,
    requests,
)
from studio.backends.cloud.machine_types import MachineType, same_gpu, suitable
from studio.backends.queue import command as worker
from studio.entry_points import install_command
from studio.errors import BadInput

DATA = Path(__file__).parent / "data"
GIB = 1 << 30
ORDER = Order(
    project="digits",
    name="digits-1a2b-w1",
    token="6f1c9a52-01",
    machine_type="c6i.large",
    zone="us-east-1a",
    image=None,
    hdd=30 * GIB,
    spot=False,
    lifetime=7200,
    script="#!/bin/bash\nsleep 1000\n",
    account="studio-worker",
)


@pytest.fixture(scope="module")
def clouds():
    """One for all tests of a simulator: a client of boto3 takes some time to make."""
    return {}


@pytest.fixture
def ec2(amazon, clouds):
    if amazon.url not in clouds:
        clouds[amazon.url] = EC2Cloud()
    return clouds[amazon.url]


class TestLauncher(MachineContract):
    backend, machine_type = EC2Backend, "m7i.large"

    @pytest.fixture(autouse=True)
    def cloud(self, amazon):
        self.bucket = amazon.bucket


# --- what is sent -----------------------------------------------------------------------------------------------------

ORDERS = {
    "ec2_plain": ORDER,
    "ec2_spot_gpu": dataclasses.replace(
        ORDER, machine_type="g4dn.xlarge", zone="us-east-1b", spot=True, bid=0.25, gpus=1, gpu_type="T4", hdd=0
    ),
    "ec2_asked_for": dataclasses.replace(
        ORDER,
        machine_type="t3.medium",
        zone="",
        image="ami-0123456789abcdef0",
        keypair="my key",
        port=8888,
        account="arn:aws:iam::123456789012:instance-profile/studio-worker",
    ),
}


def order_requests(order):
    return requests(order, ROOT, least_disk(order.gpus))


@pytest.mark.parametrize("name", ORDERS)
def test_a_machine_is_ordered_by_these_requests(name):
    sent = [{request.method: request.body} for request in order_requests(ORDERS[name])]
    assert sent == json.loads((DATA / f"{name}.json").read_text())


def test_what_is_shown_is_what_is_sent(amazon, ec2):
    order = dataclasses.replace(ORDER, port=8888)
    shown = [request.method for request in ec2.requests(order)]
    assert amazon.requests() == []
    ec2.launch(order)
    assert [request.call for request in amazon.requests()] == [f"ec2:{method}" for method in shown]


def test_a_machine_is_as_it_was_ordered(amazon, ec2):
    machine = ec2.launch(dataclasses.replace(ORDER, spot=True, bid=0.05))
    assert machine == Machine(
        id=machine.id,
        name="digits-1a2b-w1",
        project="digits",
        machine_type="c6i.large",
        zone="us-east-1a",
        spot=True,
        launched=machine.launched,
        state="starting",
    )
    assert abs(time.time() - machine.launched) < 60
    client = amazon.client("ec2")
    (reservation,) = client.describe_instances(InstanceIds=[machine.id])["Reservations"]
    (instance,) = reservation["Instances"]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert [disk["Ebs"]["DeleteOnTermination"] for disk in instance["BlockDeviceMappings"]] == [True]
    attribute = client.describe_instance_attribute(InstanceId=machine.id, Attribute="instanceInitiatedShutdownBehavior")
    assert attribute["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    mine = [{"Name": "tag:studio-search", "Values": ["digits"]}]
    assert len(client.describe_volumes(Filters=mine)["Volumes"]) == 1


def test_ports_are_opened_once(amazon, ec2):
    for token in ("a", "b"):
        ec2.launch(dataclasses.replace(ORDER, token=token, keypair="mine", port=6006))
    (group,) = amazon.client("ec2").describe_security_groups(GroupNames=["studio-search-22-6006"])["SecurityGroups"]
    assert sorted(rule["FromPort"] for rule in group["IpPermissions"]) == [22, 6006]


def test_ports_are_closed_when_no_machine_uses_them_any_more(amazon, ec2, monkeypatch):
    waited = []

    def groups():
        found = amazon.client("ec2").describe_security_groups()["SecurityGroups"]
        return [group["GroupName"] for group in found if group["GroupName"].startswith("studio-")]

    ec2.close_ports()  # of tests before this one
    machine = ec2.launch(dataclasses.replace(ORDER, port=7007))
    amazon.refuse("DependencyViolation", of="ec2:DeleteSecurityGroup", times=2)  # moto deletes it whoever uses it
    assert EC2Backend.close_ports(ec2) == ["studio-search-7007"]  # nobody waits for a machine that goes on
    ec2.terminate([machine])
    amazon.wait_all_gone()
    monkeypatch.setattr(time, "sleep", waited.append)
    assert EC2Backend.close_ports(ec2) == []
    assert waited == [5.0]
    assert groups() == []
    assert ec2.close_ports() == []


def test_a_group_that_another_search_deletes_is_made_again(amazon, ec2):
    order = dataclasses.replace(ORDER, port=7008)
    amazon.refuse("InvalidGroup.NotFound", of="ec2:RunInstances", times=1)
    with pytest.raises(CloudUnreachable):  # so the launcher sends the same order again
        ec2.launch(order)
    ec2.launch(order)


def test_a_worker_on_a_fresh_machine_waits_for_its_credentials(amazon, command, monkeypatch):
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    for name in keys:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setattr(worker.time, "sleep", lambda seconds: os.environ.update(keys))
    done = command("worker", f"{amazon.bucket}/fresh", "--lifetime=1h", "--idle=0.1s")
    assert (done.code, done.err.count("waiting for credentials: ")) == (0, 1), done.err
    monkeypatch.setattr(worker, "FRESH", 0.0)
    for name in keys:
        monkeypatch.delenv(name)
    done = command("worker", f"{amazon.bucket}/fresh", "--lifetime=1h")
    assert done.code == 2
    assert "no AWS credentials; run aws configure" in done.err


def test_an_image_may_be_a_parameter_and_its_disk_counts(amazon, ec2):
    (image,) = amazon.client("ec2").describe_images(ImageIds=["ami-03cf127a"])["Images"]
    amazon.client("ssm").put_parameter(Name="/team/image", Value=image["ImageId"], Type="String", Overwrite=True)
    order = dataclasses.replace(ORDER, image="/team/image", hdd=0)
    (request,) = ec2.requests(order)
    assert request.body["ImageId"] == "resolve:ssm:/team/image"
    (disk,) = request.body["BlockDeviceMappings"]
    assert disk["DeviceName"] == image["RootDeviceName"]
    root = image["BlockDeviceMappings"][0]["Ebs"]
    assert disk["Ebs"]["VolumeSize"] == max(root.get("VolumeSize", 0), 1)
    ec2.launch(order)


@pytest.mark.parametrize("image", ["/no/such/parameter", "ami-00000000000000000"])
def test_an_image_that_is_not_there(ec2, image):
    with pytest.raises(NotOffered, match=f"--image '{image}': there is none in us-east-1; write ami-"):
        ec2.check(dataclasses.replace(ORDER, image=image))
    with pytest.raises(NotOffered):
        ec2.launch(dataclasses.replace(ORDER, image=image))


def test_a_key_pair_and_a_profile_that_are_not_there(amazon, ec2):
    amazon.client("ec2").create_key_pair(KeyName="ada-laptop")
    ec2.check(dataclasses.replace(ORDER, keypair="ada-laptop"))
    with pytest.raises(NotOffered, match=r"--ssh-keypair 'ada-labtop': there is no such .* did you mean 'ada-laptop'"):
        ec2.check(dataclasses.replace(ORDER, keypair="ada-labtop"))
    with pytest.raises(NotOffered, match=r"no instance profile 'mine'.* make it with: studio cloud setup ec2"):
        ec2.check(dataclasses.replace(ORDER, account="arn:aws:iam::123456789012:instance-profile/mine"))
    amazon.refuse("AccessDenied", of="iam:GetInstanceProfile")
    ec2.check(dataclasses.replace(ORDER, account="mine"))  # whoever may not look hears it later


def test_images_by_architecture_and_driver():
    found = [image_id(dataclasses.replace(ORDER, machine_type=name)) for name in ("c6i.large", "c7g.large")]
    assert ["arm64" in image for image in found] == [False, True]
    assert "nvidia" in image_id(dataclasses.replace(ORDER, gpus=1))


# --- one order, one machine -------------------------------------------------------------------------------------------


def test_an_order_that_is_sent_twice_makes_one_machine(amazon, ec2):
    assert ec2.launch(ORDER).id == ec2.launch(ORDER).id
    assert len(amazon.alive()) == 1


def test_an_order_whose_answer_is_lost_makes_one_machine(amazon, ec2):
    amazon.lose_answers("ec2:RunInstances")
    machine = ec2.launch(ORDER)  # boto3 sends it again
    assert [each.id for each in amazon.alive()] == [machine.id]
    assert len(amazon.requests("ec2:RunInstances")) == 2


def test_an_order_without_any_answer_may_be_sent_again(amazon, ec2):
    amazon.lose_answers("ec2:RunInstances", times=100)
    with pytest.raises(CloudUnreachable):
        ec2.launch(ORDER)
    amazon.allow()
    assert ec2.launch(ORDER).id == amazon.alive()[0].id
    assert len(amazon.alive()) == 1


def test_an_order_that_is_sent_again_after_its_machine_has_ended(amazon, ec2):
    ec2.terminate([ec2.launch(ORDER)])
    with pytest.raises(Gone, match="IdempotentInstanceTerminated"):
        ec2.launch(ORDER)


def test_another_order_with_the_same_token_is_refused(amazon, ec2):
    ec2.launch(ORDER)
    with pytest.raises(CloudDenied, match="IdempotentParameterMismatch"):
        ec2.launch(dataclasses.replace(ORDER, name="digits-1a2b-w2"))
    assert len(amazon.alive()) == 1


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InsufficientInstanceCapacity", NoCapacity),
        ("InsufficientCapacity", NoCapacity),
        ("SpotMaxPriceTooLow", NoCapacity),
        ("Unsupported", NoCapacity),
        ("VcpuLimitExceeded", QuotaRefused),
        ("InstanceLimitExceeded", QuotaRefused),
        ("VolumeLimitExceeded", QuotaRefused),
        ("MaxSpotInstanceCountExceeded", QuotaRefused),
        ("PendingVerification", QuotaRefused),
        ("UnauthorizedOperation", CloudDenied),
        ("InvalidParameterValue", CloudDenied),
        ("OptInRequired", CloudDenied),
        ("Blocked", CloudDenied),
        ("SomethingNew", CloudDenied),
        ("AuthFailure", NoCredentials),
        ("ExpiredToken", CloudCredentials),
        ("RequestExpired", CloudCredentials),
        ("InvalidClientTokenId", NoCredentials),
        ("SignatureDoesNotMatch", NoCredentials),
    ],
)
def test_what_refusals_are(amazon, ec2, code, kind):
    amazon.refuse(code, message="Said by Amazon.")
    with pytest.raises(CloudError, match=f"^c6i.large in us-east-1a: {code}: Said by Amazon.") as caught:
        ec2.launch(ORDER)
    assert type(caught.value) is kind
    assert len(amazon.requests()) == 1
    assert amazon.alive() == []


@pytest.mark.parametrize("code", ["InternalError", "Throttling"])
def test_a_busy_amazon_is_asked_again(amazon, ec2, code):
    amazon.refuse(code, times=1)
    ec2.launch(ORDER)


def test_an_amazon_that_stays_busy(amazon, ec2):
    amazon.refuse("RequestLimitExceeded")
    with pytest.raises(CloudUnreachable, match="RequestLimitExceeded"):
        ec2.launch(ORDER)


def test_an_image_that_is_not_shared_is_no_fault_of_the_credentials(amazon, ec2):
    amazon.refuse("AuthFailure", message="Not authorized for images: [ami-1]")
    with pytest.raises(CloudDenied, match="Not authorized for images"):
        ec2.launch(ORDER)


def test_the_part_that_only_amazon_can_read_is_left_out(amazon, ec2):
    said = "You may not. Encoded authorization failure message: XYZ123abc"
    amazon.refuse("UnauthorizedOperation", message=said)
    with pytest.raises(CloudDenied, match=r"UnauthorizedOperation: You may not\.$"):
        ec2.launch(ORDER)


def test_nobody_answers(ec2, amazon, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(CloudUnreachable, match=r"c6i\.large in us-east-1a"):
        EC2Cloud().launch(ORDER)


def test_a_connection_that_breaks(amazon, ec2):
    amazon.cut("driver")
    with pytest.raises(CloudUnreachable):
        ec2.machines()
    amazon.mend("driver")
    assert ec2.machines() == []


def test_somebody_else_answers(amazon, monkeypatch):
    class LogIn(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Welcome to our hotel! <br> Please log in.</html>")

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), LogIn) as hotel:
        threading.Thread(target=hotel.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{hotel.server_port}")
        with pytest.raises(CloudUnreachable, match="the response was not Amazon's"):
            EC2Cloud().machines()
        hotel.shutdown()


def test_there_are_no_credentials(amazon, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CloudCredentials, match=r"no AWS credentials .*; run aws configure"):
        EC2Cloud().machines()


def test_a_profile_that_is_not_there(amazon, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CloudCredentials, match="nobody"):
        EC2Cloud()


def test_credentials_that_amazon_does_not_know(amazon, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    with pytest.raises(CloudCredentials, match="AuthFailure"):
        EC2Cloud().machines()


def test_no_region(amazon, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(BadInput, match="export AWS_DEFAULT_REGION=us-east-1"):
        EC2Cloud()


# --- offers -----------------------------------------------------------------------------------------------------------

BESIDES = 16 * 0.08 / 730 + 0.005  # an hour of the disk and the address


def test_the_cheapest_that_is_enough_comes_first(ec2):
    offers = ec2.offers(Wanted(cpus=2))
    first = offers[0]
    assert (first.machine_type, first.cpus, first.gpus, first.ram) == ("c6i.large", 2, 0, 4 * GIB)
    assert first.on_demand == pytest.approx(0.085 + BESIDES)
    assert first.spot is None
    types = list(dict.fromkeys(offer.machine_type for offer in offers))
    assert types[:4] == ["c6i.large", "c7i.large", "m7i.large", "r6i.large"]  # a burstable t3.medium costs less
    prices = [offer.on_demand for offer in offers if offer.on_demand]
    assert prices == sorted(prices)
    assert offers[len(prices) :] != []
    assert all(offer.on_demand is None for offer in offers[len(prices) :])  # unknown ones are the last
    assert {offer.zone[:-1] for offer in offers} == {"us-east-1"}


def test_memory_and_disk_count(ec2):
    first = ec2.offers(Wanted(cpus=2, ram=6 * GIB, hdd=100 * GIB))[0]
    assert first.machine_type == "m7i.large"
    assert first.on_demand == pytest.approx(0.1008 + 100 * 0.08 / 730 + 0.005)


def test_spot_machines_by_their_price_now_and_by_zone(ec2):
    offers = ec2.offers(Wanted(cpus=2, spot=True))
    assert [(offer.machine_type, offer.zone) for offer in offers[:3]] == [
        ("c6i.large", "us-east-1a"),
        ("c6i.large", "us-east-1b"),
        ("c7i.large", "us-east-1a"),
    ]
    assert offers[0].spot == pytest.approx(0.085 * 0.3 + BESIDES)
    assert offers[1].spot == pytest.approx(0.085 * 0.31 + BESIDES)


@pytest.mark.parametrize(
    ("wanted", "machine_type"),
    [
        (Wanted(gpus=1), "g4dn.xlarge"),
        (Wanted(gpu_type="l4"), "g6.xlarge"),
        (Wanted(gpus=1, gpu_type="nvidia-a10g"), "g5.xlarge"),
        (Wanted(machine_type="t3.medium"), "t3.medium"),
        (Wanted(machine_type="m7g.large"), "m7g.large"),
    ],
)
def test_gpus_and_types_by_name(ec2, wanted, machine_type):
    first = ec2.offers(wanted)[0]
    assert first.machine_type == machine_type
    assert first.gpus == (wanted.gpus or (1 if wanted.gpu_type else 0))


def test_a_type_that_does_not_exist(ec2):
    with pytest.raises(NotOffered, match=r"--machine-type 'm7i\.lagre': EC2 has none in us-east-1; did you mean"):
        ec2.offers(Wanted(machine_type="m7i.lagre"))


def test_prices_that_may_not_be_asked_for_are_not_known(amazon, ec2):
    amazon.refuse("AccessDeniedException", of="pricing:*")
    amazon.refuse("UnauthorizedOperation", of="ec2:DescribeSpotPriceHistory")
    offers = ec2.offers(Wanted(machine_type="c6i.large", spot=True))
    assert {(offer.on_demand, offer.spot) for offer in offers} == {(None, None)}
    amazon.allow()  # and that they are unknown is not kept
    assert EC2Cloud().offers(Wanted(machine_type="c6i.large", spot=True))[0].spot is not None


def test_prices_are_kept_for_a_time(amazon, ec2, home):
    def asked():
        before = len(amazon.requests("pricing:*")), len(amazon.requests("ec2:DescribeSpotPriceHistory"))
        ec2.offers(Wanted(machine_type="c6i.large", spot=True))
        after = len(amazon.requests("pricing:*")), len(amazon.requests("ec2:DescribeSpotPriceHistory"))
        return [now - then for now, then in zip(after, before, strict=True)]

    def older(seconds):
        kept = json.loads(file.read_text())
        file.write_text(json.dumps({key: entry | {"at": entry["at"] - seconds} for key, entry in kept.items()}))

    file = home / "cache" / "ec2-prices-us-east-1.json"
    assert asked() == [2, 1]  # the type, and the disk
    assert asked() == [0, 0]
    older(3700)
    assert asked() == [0, 1]  # spot prices change
    older(86400)
    assert asked() == [2, 1]
    file.write_text('["what is this?"]')
    assert asked() == [2, 1]


def test_offers_need_a_network(amazon, ec2):
    amazon.refuse("UnauthorizedOperation", of="ec2:DescribeSubnets")
    with pytest.raises(CloudDenied, match="UnauthorizedOperation"):
        ec2.offers(Wanted(machine_type="c6i.large"))


SMALL, LARGE = MachineType("m.small", 2, 0, 8 * GIB), MachineType("m.large", 8, 0, 32 * GIB)
OLD, NEW = MachineType("p.old", 8, 1, 60 * GIB, "V100"), MachineType("g.new", 8, 4, 60 * GIB, "T4")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), ["m.small", "m.large", "g.new"]),
        (Wanted(cpus=3), ["m.large", "g.new"]),
        (Wanted(gpus=1), ["g.new"]),  # the old GPU's last driver is not the one of the image
        (Wanted(gpu_type="v100"), ["p.old"]),
    ],
)
def test_what_is_enough(wanted, names):
    assert [kind.name for kind in suitable([NEW, LARGE, OLD, SMALL], wanted, "EC2 in here", OLD_GPUS)] == names


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            Wanted(cpus=64),
            "no machine of EC2 in here has 64 cpus; the closest is m.large (8 cpus, 32 GB)",
        ),
        (
            Wanted(gpus=8),
            "no machine of EC2 in here has 8 gpus; the closest is g.new (8 cpus, 60 GB, 4 gpus T4)",
        ),
        (Wanted(gpu_type="T5"), "--gpu-type 'T5': no machine of EC2 in here has one; there are: T4, V100"),
        (Wanted(gpu_type="V100", gpus=2), "has 2 gpus V100; the closest is p.old (8 cpus, 60 GB, 1 gpus V100)"),
    ],
)
def test_nothing_is_enough(wanted, said):
    with pytest.raises(CloudDenied) as caught:
        suitable([SMALL, LARGE, OLD, NEW], wanted, "EC2 in here")
    assert said in str(caught.value)


def test_a_named_type_with_less_than_was_asked_for():
    with pytest.raises(CloudDenied, match=r"m\.small \(2 cpus, 8 GB\) is too small for 4 cpus"):
        suitable([SMALL], Wanted(machine_type="m.small", cpus=4), "EC2 in here")


def test_names():
    assert [
        name for name in ("t2.nano", "t3a.small", "t4g.small", "t8i.small", "trn1.2xlarge") if is_burstable(name)
    ] == [
        "t2.nano",
        "t3a.small",
        "t4g.small",
    ]
    assert [name for name in ("a1.large", "c7gn.large", "g5g.xlarge", "g5.xlarge", "m7i.large") if is_arm(name)] == [
        "a1.large",
        "c7gn.large",
        "g5g.xlarge",
    ]
    assert [region_of(zone) for zone in ("us-east-1a", "us-west-2-lax-1a", "us-gov-west-1b", "")] == [
        "us-east-1",
        "us-west-2",
        "us-gov-west-1",
        "",
    ]
    assert same_gpu("L40S", "nvidia-l40s")
    assert not same_gpu("L40S", "L4")


# --- the simulator is as strict as Amazon ------------------------------------------------------------------------------


def test_signatures_are_checked(amazon, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something else")
    with pytest.raises(CloudCredentials, match="SignatureDoesNotMatch"):
        EC2Cloud().machines()


def test_user_data_has_a_limit(amazon):
    client = amazon.client("ec2")
    with pytest.raises(client.exceptions.ClientError, match="User data is limited to 16384 bytes"):
        client.run_instances(ImageId="ami-03cf127a", MinCount=1, MaxCount=1, UserData="x" * 16385)


def test_a_hung_machine_does_nothing_until_it_wakes_up(amazon, ec2):
    script = "#!/bin/bash\nfor i in {1..1000}; do echo at it; sleep 0.05; done\n"
    id = ec2.launch(dataclasses.replace(ORDER, script=script)).id
    amazon.wait(lambda alive: "at it" in amazon.log(id))
    amazon.hang(id)
    before = amazon.log(id)
    time.sleep(0.3)
    assert amazon.log(id) == before
    amazon.wake(id)
    amazon.wait(lambda alive: amazon.log(id) != before)


def test_a_machine_may_be_lost_without_a_word(amazon, ec2):
    id = ec2.launch(ORDER).id
    amazon.interrupt_spot(id, notice=0)
    amazon.wait_all_gone(timeout=30)


# --- all machines -----------------------------------------------------------------------------------------------------


def order(number, **changes):
    return dataclasses.replace(ORDER, name=f"w{number}", token=f"token {number}", **changes)


def test_machines_are_found_by_project(ec2):
    first, second = ec2.launch(order(1)), ec2.launch(order(2, project="letters", spot=True))
    assert [machine.id for machine in ec2.machines("digits")] == [first.id]
    (found,) = ec2.machines("letters")
    assert found == dataclasses.replace(second, state="running")
    assert {machine.name for machine in ec2.machines()} == {"w1", "w2"}


def test_machines_of_others_are_none_of_ours(amazon, ec2):
    amazon.client("ec2").run_instances(ImageId="ami-03cf127a", MinCount=1, MaxCount=1)
    assert ec2.machines() == []


def test_a_stopped_machine_still_costs(amazon, ec2):
    machine = ec2.launch(ORDER)
    amazon.client("ec2").stop_instances(InstanceIds=[machine.id])
    (found,) = ec2.machines()
    assert found.state == "ending"
    ec2.terminate([found])
    assert ec2.machines() == []


def test_machines_end_for_good_and_may_be_ended_again(amazon, ec2):
    machines = [ec2.launch(order(number)) for number in range(3)]
    ec2.terminate(machines)
    amazon.wait_all_gone()
    assert ec2.machines() == []
    ec2.terminate(machines)
    ec2.terminate([])


def test_a_machine_that_amazon_has_forgotten_keeps_no_other_alive(amazon, ec2):
    machine = ec2.launch(ORDER)
    forgotten = dataclasses.replace(machine, id="i-00000000000000000")
    ec2.terminate([forgotten, machine])
    assert amazon.alive() == []
    ec2.terminate([forgotten])


def test_a_machine_of_which_amazon_has_not_heard_yet_ends(amazon, ec2):
    machine = ec2.launch(ORDER)
    amazon.refuse("InvalidInstanceID.NotFound", of="ec2:TerminateInstances", times=2)
    ec2.terminate([machine])
    assert amazon.alive() == []


def test_a_region_that_refuses_keeps_no_machine_of_another_alive(amazon, ec2):
    here, there = ec2.launch(order(1)), ec2.launch(order(2, zone="eu-west-1a"))
    amazon.refuse("UnauthorizedOperation", of="ec2:TerminateInstances", **{"InstanceId__1": here.id})
    with pytest.raises(CloudDenied):
        ec2.terminate([here, there])
    assert [each.id for each in amazon.alive()] == [here.id]


def test_machines_are_found_in_each_region_that_ever_had_one(ec2, monkeypatch):
    machine = ec2.launch(dataclasses.replace(ORDER, zone="eu-west-1a"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    assert EC2Cloud().machines() == [dataclasses.replace(machine, state="running")]
    EC2Cloud().terminate([machine])
    assert EC2Cloud().machines() == []


def test_machines_are_found_where_regions_may_not_be_listed(amazon, ec2):
    """The one region that answers has machines, whoever refuses DescribeRegions."""
    machine = ec2.launch(ORDER)
    amazon.refuse("UnauthorizedOperation", of="ec2:DescribeRegions")
    found, missed = EC2Cloud(every_region=True).survey()
    assert ([each.id for each in found], len(missed)) == ([machine.id], 1)


def test_another_computer_looks_in_every_region(amazon, ec2, home):
    machine = ec2.launch(dataclasses.replace(ORDER, zone="eu-west-1a"))
    (home / "cloud" / "ec2-regions").unlink()
    assert EC2Cloud().machines() == []
    amazon.refuse("UnauthorizedOperation", of="ec2:DescribeInstances", region="ap-south-1")  # the company closed it
    assert [found.id for found in EC2Cloud(every_region=True).machines()] == [machine.id]
    amazon.refuse("UnauthorizedOperation", of="ec2:DescribeInstances", region="us-east-1")
    with pytest.raises(CloudDenied):
        EC2Cloud(every_region=True).machines()


def test_boto3_is_asked_for_where_it_is_missing(home, tmp_path, monkeypatch):
    import subprocess
    import sys

    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError('no boto3', name='boto3')\n")
    program = "from studio.backends.cloud.ec2.cloud import EC2Cloud; EC2Cloud()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip().splitlines()[-1].endswith(install_command("ec2"))
