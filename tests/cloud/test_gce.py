"""Google Compute Engine: what is asked of it, what its answers mean, and that its machines end."""

import json
import os
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from gce_simulator import PROJECT, GceSimulator
from machine_contract import MachineContract
from searches import needs_of_google

from studio.backends.cloud.cloud import (
    CloudCredentials,
    CloudDenied,
    CloudError,
    CloudUnreachable,
    NoCapacity,
    NotOffered,
    Order,
    QuotaRefused,
    Wanted,
)
from studio.backends.cloud.gce import cloud as gce_cloud
from studio.backends.cloud.gce import startup as gce_startup
from studio.backends.cloud.gce.backend import GCEBackend
from studio.backends.cloud.gce.cloud import GCECloud
from studio.backends.cloud.gce.prices import rates_of
from studio.backends.cloud.gce.requests import image, requests
from studio.backends.cloud.gce.setup import DRIVER, IMAGES, PORTS
from studio.backends.cloud.startup import LARGEST, Startup, log_key, render
from studio.backends.queue.gcs_bucket import GCSBucket
from studio.backends.queue.launcher import worker_command
from studio.errors import BadInput

DATA = Path(__file__).with_name("data")
GIB = 1 << 30
TOKEN = "5a1e3a0c-6c1f-4c57-9d2e-0e6d3f8f4a11"
WHEEL = "wheels/studio_search-1.0-py3-none-any.whl"
ORDER = Order(
    project="Digits 2",
    name="digits-2-w1",
    token=TOKEN,
    machine_type="e2-standard-2",
    zone="us-central1-a",
    image=None,
    hdd=20 * GIB,
    spot=True,
    lifetime=3600,
    script="#!/bin/bash\nsleep 600\n",
    account=GceSimulator.account,
)


@pytest.fixture
def cloud(google_server, home, monkeypatch):
    """An empty cloud, which a driver of this process finds."""
    google_server.reset()
    for name, value in google_server.env.items():
        monkeypatch.setenv(name, value)
    yield google_server
    google_server.reset()


@pytest.fixture
def google(cloud):
    return GCECloud()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(gce_cloud, "PATIENCE", 0.1)


@pytest.fixture
def bucket(cloud):
    with GCSBucket("studio-test", "search/") as bucket:
        yield bucket


def another(name, **changes):
    return replace(ORDER, **{"name": name, "token": str(uuid.uuid4()), **changes})


class TestLauncher(MachineContract):
    backend, machine_type = GCEBackend, "e2-standard-2"

    @pytest.fixture(autouse=True)
    def at_google(self, cloud):
        self.bucket = cloud.bucket


# --- requests ---------------------------------------------------------------------------------------------------------


def read(name):
    return json.loads((DATA / name).read_text())


@pytest.mark.parametrize(
    ("file", "order"),
    [
        ("gce_spot.json", ORDER),
        (
            "gce_gpu.json",
            replace(
                ORDER,
                machine_type="n1-standard-4",
                gpus=2,
                gpu_type="t4",
                spot=False,
                keypair="ada:ssh-ed25519 AAAAC3Nz ada@lab",
                port=8080,
                image="my-images/torch",
            ),
        ),
    ],
)
def test_what_is_sent_to_have_a_machine(file, order):
    sent = [{"method": request.method, "body": request.body} for request in requests(order, PROJECT, "default")]
    assert sent == read(file)


def test_to_show_requests_none_is_sent(google, cloud):
    assert [request.method for request in google.requests(ORDER)] == ["instances.insert"]
    assert cloud.requests() == []


@pytest.mark.parametrize("file", ["gce_spot.json", "gce_gpu.json"])
def test_the_library_sends_these_requests_as_they_are(google, cloud, file):
    order = {"gce_spot.json": ORDER, "gce_gpu.json": replace(another("w2"), machine_type="n1-standard-4", gpus=2)}[file]
    google.launch(replace(order, image="my-images/torch"))
    (sent,) = cloud.requests("compute:instances.insert")
    (asked,) = google.requests(replace(order, image="my-images/torch"))
    assert sent.body == asked.body["instanceResource"]
    assert sent.parameters["requestId"] == order.token


@pytest.mark.parametrize(
    ("named", "machine_type", "gpus", "path"),
    [
        (None, "e2-standard-2", 0, "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64"),
        (None, "t2a-standard-2", 0, "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-arm64"),
        (
            None,
            "g2-standard-4",
            1,
            "projects/ubuntu-os-accelerator-images/global/images/family/ubuntu-accelerator-2404-amd64-with-nvidia-580",
        ),
        ("mine/torch", "e2-standard-2", 0, "projects/mine/global/images/family/torch"),
        ("projects/mine/global/images/torch-7", "e2-standard-2", 0, "projects/mine/global/images/torch-7"),
    ],
)
def test_the_image(named, machine_type, gpus, path):
    assert image(replace(ORDER, image=named, machine_type=machine_type, gpus=gpus)) == path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image": "torch"}, "--image 'torch': write PROJECT/FAMILY"),
        ({"keypair": "my-key"}, "'my-key' is not a key: Google takes a public key"),
        (
            {"machine_type": "n1-standard-4", "gpus": 1, "gpu_type": "t5"},
            "--gpu-type 't5' cannot be attached to n1-standard-4",
        ),
    ],
)
def test_an_order_that_cannot_be(changes, says):
    with pytest.raises(CloudDenied, match=says):
        requests(replace(ORDER, **changes), PROJECT, "default")


@pytest.mark.parametrize("seconds", [(10, "30"), (3600, "3600"), (200 * 86400, str(120 * 86400))])
def test_the_time_limit_is_one_that_google_takes(seconds):
    lifetime, sent = seconds
    (request,) = requests(replace(ORDER, lifetime=lifetime), PROJECT, "default")
    assert request.body["instanceResource"]["scheduling"]["maxRunDuration"] == {"seconds": sent}


# --- whose cloud ------------------------------------------------------------------------------------------------------


def test_without_a_project_one_is_asked_for(cloud, monkeypatch):
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    with pytest.raises(BadInput, match="export GOOGLE_CLOUD_PROJECT=ID, or gcloud config set project ID"):
        GCECloud().machines()


def test_project_and_region_are_those_of_gcloud(cloud, monkeypatch, tmp_path):
    for name in ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_COMPUTE_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    (tmp_path / "active_config").write_text("work\n")
    (tmp_path / "configurations").mkdir()
    (tmp_path / "configurations" / "config_work").write_text(
        f"[core]\nproject = {PROJECT}\n[compute]\nzone = europe-west4-a\n"
    )
    offers = GCECloud().offers(Wanted(cpus=2))
    assert {offer.zone for offer in offers} == {"europe-west4-a"}
    assert GCECloud(region="us-central1").offers(Wanted(cpus=2))[0].zone.startswith("us-central1-")


@pytest.mark.parametrize("name", ["CLOUDSDK_COMPUTE_REGION", "GOOGLE_CLOUD_PROJECT"])
def test_a_setting_that_is_wrong(cloud, monkeypatch, name):
    monkeypatch.setenv(name, "mars1")
    with pytest.raises(NotOffered, match=f"'mars1'; export {name}="):
        GCECloud().offers(Wanted())


def test_without_credentials_it_says_how_to_have_some(cloud, monkeypatch, tmp_path):
    monkeypatch.delenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(CloudCredentials, match="gcloud auth application-default login"):
        GCECloud().machines()


# --- offers -----------------------------------------------------------------------------------------------------------


def test_the_cheapest_machines_come_first_with_disk_and_address_in_their_price(google):
    offers = google.offers(Wanted(cpus=2, ram=8 * GIB, hdd=73 * GIB))
    kinds = list(dict.fromkeys(offer.machine_type for offer in offers))
    assert kinds[:3] == ["e2-standard-2", "e2-standard-4", "n1-standard-4"]
    assert offers[0].on_demand == pytest.approx(2 * 0.022 + 8 * 0.003 + 73 * 0.1 / 730 + 0.005)
    assert offers[0].spot == pytest.approx(2 * 0.0088 + 8 * 0.0012 + 73 * 0.1 / 730 + 0.0025)
    assert [offer.zone[-1] for offer in offers[:3]] == ["a", "b", "c"]


def test_the_zone_of_the_user_comes_first(cloud, monkeypatch):
    monkeypatch.setenv("CLOUDSDK_COMPUTE_ZONE", "us-central1-b")
    assert [offer.zone[-1] for offer in GCECloud().offers(Wanted(cpus=2))[:3]] == ["b", "a", "c"]


def test_neither_arm_nor_shared_cores_nor_metal_are_chosen_unasked(google):
    kinds = {offer.machine_type for offer in google.offers(Wanted())}
    assert kinds.isdisjoint({"t2a-standard-2", "e2-medium", "c3-standard-192-metal"})
    assert {offer.machine_type for offer in google.offers(Wanted(machine_type="t2a-standard-2"))} == {"t2a-standard-2"}


@pytest.mark.parametrize(
    ("wanted", "machine_type", "zones", "gpus"),
    [
        (Wanted(gpus=1), "n1-standard-1", "ab", 1),  # with a T4, the cheapest GPU
        (Wanted(gpus=3), "n1-standard-1", "ab", 4),  # there is no way to attach three
        (Wanted(gpu_type="L4"), "g2-standard-4", "a", 1),
        (Wanted(gpu_type="nvidia-tesla-v100"), "n1-standard-1", "a", 1),
        (Wanted(gpu_type="v100", cpus=16), "n1-standard-16", "a", 2),  # one V100 takes at most twelve cores
        (Wanted(machine_type="n1-standard-4", gpus=1), "n1-standard-4", "ab", 1),  # with a T4, as it will be ordered
        (Wanted(gpu_type="a100"), "a2-highgpu-1g", "abc", 1),
    ],
)
def test_gpus(google, wanted, machine_type, zones, gpus):
    offers = google.offers(wanted)
    first = [offer for offer in offers if offer.machine_type == offers[0].machine_type]
    assert (first[0].machine_type, "".join(offer.zone[-1] for offer in first), first[0].gpus) == (
        machine_type,
        zones,
        gpus,
    )


def test_what_is_offered_can_be_had(google, cloud):
    for number, wanted in enumerate([Wanted(cpus=2), Wanted(gpus=1), Wanted(gpu_type="v100"), Wanted(gpu_type="l4")]):
        offer = google.offers(wanted)[0]
        order = another(
            f"w{number}", machine_type=offer.machine_type, zone=offer.zone, gpus=offer.gpus, gpu_type=wanted.gpu_type
        )
        google.launch(order)
    assert len(cloud.alive()) == 4


def test_a_machine_with_a_part_of_unknown_price_has_none(google):
    assert google.offers(Wanted(gpu_type="a100"))[0].on_demand is None
    assert google.offers(Wanted(machine_type="n2-custom-6-20480"))[0].cpus == 6


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(gpu_type="v1000"), "'v1000': no machine of Google in us-central1 has one; there are: nvidia-l4, "),
        (Wanted(cpus=1000), "has 1000 cpus; the closest is n1-standard-16"),
        (
            Wanted(machine_type="e2-standrad-2"),
            "Google has none in us-central1; did you mean 'e2-standard-2'",
        ),
        (
            Wanted(machine_type="e2-standard-2", cpus=8),
            r"e2-standard-2 \(2 cpus, 8 GB\) is too small for 8 cpus",
        ),
    ],
)
def test_what_nobody_has_is_denied_with_what_comes_closest(google, wanted, says):
    with pytest.raises(CloudDenied, match=says):
        google.offers(wanted)


def test_prices_are_kept_for_a_day(google, cloud):
    first = google.offers(Wanted(cpus=2))
    assert google.offers(Wanted(cpus=2)) == first
    assert len(cloud.requests("billing:*")) == 1


def test_without_permission_prices_are_not_known(google, cloud):
    cloud.refuse("403 forbidden", of="billing:*")
    assert google.offers(Wanted(cpus=2))[0].on_demand is None
    cloud.allow()
    assert google.offers(Wanted(cpus=2))[0].on_demand is not None


def test_only_the_whole_price_of_this_region_counts():
    def sku(description, usage, region, nanos, currency="USD"):
        price = {"currencyCode": currency, "units": "0", "nanos": nanos}
        expression = {"usageUnit": "h", "tieredRates": [{"unitPrice": {"nanos": 0}}, {"unitPrice": price}]}
        return {
            "description": description,
            "category": {"usageType": usage},
            "serviceRegions": [region],
            "pricingInfo": [{"pricingExpression": expression}],
        }

    found = rates_of(
        iter(
            [
                sku("N2D AMD Instance Core running in Americas", "OnDemand", "us-central1", 27_000_000),
                sku("N2D AMD Instance Core running in Zurich", "OnDemand", "europe-west6", 38_000_000),
                sku(
                    "Spot Preemptible N2D AMD Instance Core running in Americas",
                    "Preemptible",
                    "us-central1",
                    8_000_000,
                ),
                sku("Commitment v1: N2D AMD Core in Americas", "Commit1Yr", "us-central1", 1_000_000),
                sku("N2D AMD Custom Instance Core running in Americas", "OnDemand", "us-central1", 29_000_000),
                sku("E2 Instance Core running in Americas", "OnDemand", "us-central1", 20_000_000, "EUR"),
                {"description": "E2 Instance Ram running in Americas", "category": {"usageType": "OnDemand"}},
            ]
        ),
        "us-central1",
    )
    assert found == {"on_demand": {"n2d core": 0.027}, "spot": {"n2d core": 0.008}}


# --- machines ---------------------------------------------------------------------------------------------------------


def test_a_machine_that_was_launched_is_listed(google, cloud):
    made = google.launch(ORDER)
    (listed,) = google.machines()
    assert replace(listed, launched=made.launched, state=made.state) == made
    assert (made.project, made.spot, made.state, listed.state) == ("Digits 2", True, "starting", "running")
    assert cloud.resource(made.id)["labels"] == {"studio-search": "digits-2"}


def test_machines_of_one_project_are_told_from_those_of_another_with_the_same_label(google):
    google.launch(another("w1", project="digits"))
    google.launch(another("w2", project="Digits", zone="us-central1-b"))
    google.launch(another("w3", project="letters"))
    assert [machine.name for machine in google.machines("digits")] == ["w1"]
    assert [machine.name for machine in google.machines("Digits")] == ["w2"]
    assert {machine.name for machine in google.machines()} == {"w1", "w2", "w3"}


def test_a_zone_that_does_not_answer_is_no_zone_without_machines(google, cloud):
    cloud.silence("us-central1-b")
    with pytest.raises(CloudUnreachable, match="cannot list the machines of zones/us-central1-b"):
        google.machines()
    google.launch(replace(ORDER, zone="us-central1-a"))
    found, missed = google.survey()
    assert [machine.name for machine in found] == [ORDER.name]  # and what could be looked at is told
    assert len(missed) == 1


def test_the_same_order_twice_makes_one_machine(google, cloud):
    assert google.launch(ORDER).id == google.launch(ORDER).id
    assert len(cloud.alive()) == 1


def test_a_lost_answer_makes_one_machine(google, cloud):
    cloud.lose_answers(of="compute:instances.insert", times=2)
    made = google.launch(ORDER)
    assert [instance.id for instance in cloud.instances()] == [made.id]
    assert len(cloud.requests("compute:instances.insert")) == 3


def test_an_order_is_known_again_when_google_has_forgotten_its_id(google, cloud):
    made = google.launch(ORDER)
    cloud.forget_request_ids()
    assert google.launch(ORDER).id == made.id
    with pytest.raises(CloudDenied, match="us-central1-a has another machine named digits-2-w1"):
        google.launch(another(ORDER.name))


@pytest.mark.parametrize("code", ["401 authError", "403 forbidden", "404 notFound"])
def test_an_order_that_was_taken_is_never_a_refusal(google, cloud, code):
    cloud.refuse(code, of="compute:zoneOperations.get")
    with pytest.raises(CloudUnreachable, match="the result of an order is unknown"):
        google.launch(ORDER)
    assert len(cloud.alive()) == 1


def test_a_port_is_opened_once(google, cloud):
    google.launch(another("w1", port=8080))
    google.launch(another("w2", port=8080))
    assert len(cloud.requests("compute:firewalls.insert")) == 2
    assert [cloud.resource(name)["tags"] for name in ("w1", "w2")] == [{"items": ["studio-search-8080"]}] * 2


def test_ports_are_closed_when_no_machine_uses_them_any_more(google, cloud):
    first, second = google.launch(another("w1", port=8080)), google.launch(another("w2", port=9090))
    google.terminate([first])
    cloud.wait(lambda alive: [each.name for each in alive] == ["w2"])
    assert GCEBackend.close_ports(google) == ["studio-search-9090"]
    google.terminate([second])
    assert GCEBackend.close_ports(google) == []
    assert google.close_ports() == []
    asked = set.union(*(needs_of_google(request) for request in cloud.requests("compute:*")))
    assert {"compute.firewalls.delete", "compute.instances.setTags"} <= asked <= {*DRIVER, *PORTS}


@pytest.mark.parametrize("image", ["ubuntu-os-cloud/ubuntu-2404-lts-amd64", "projects/mine/global/images/torch-7"])
def test_an_image_is_looked_for(google, cloud, image):
    google.check(replace(ORDER, image=image))
    assert set.union(*(needs_of_google(request) for request in cloud.requests("compute:*"))) <= {*IMAGES}
    cloud.refuse("404 notFound", of="compute:images.*")
    with pytest.raises(NotOffered, match=f"--image '{image}': Google has none; write PROJECT/FAMILY"):
        google.check(replace(ORDER, image=image))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ZONE_RESOURCE_POOL_EXHAUSTED", NoCapacity),
        ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", NoCapacity),
        ("QUOTA_EXCEEDED", QuotaRefused),
        ("INTERNAL_ERROR", CloudError),
        ("RESOURCE_NOT_FOUND", CloudDenied),
        ("400 invalid", CloudDenied),
        ("403 forbidden", CloudDenied),
        ("403 quotaExceeded", QuotaRefused),
        ("403 rateLimitExceeded", CloudUnreachable),
        ("429 rateLimitExceeded", CloudUnreachable),
        ("503 backendError", CloudUnreachable),
    ],
)
def test_refusals_are_told_apart(google, cloud, impatient, code, error):
    cloud.refuse(code, message="Not today.")
    with pytest.raises(CloudError) as raised:
        google.launch(ORDER)
    assert type(raised.value) is error
    assert str(raised.value).startswith("e2-standard-2 in us-central1-a: ")
    assert "Not today." in str(raised.value)
    assert "\n" not in str(raised.value)
    assert cloud.instances() == []


def test_credentials_that_are_no_longer_good(google, cloud):
    cloud.refuse("401 authError", of="*", by="driver")
    with pytest.raises(CloudCredentials, match="gcloud auth application-default login"):
        google.launch(ORDER)


def test_another_zone_may_have_what_one_has_not(google, cloud):
    cloud.refuse("ZONE_RESOURCE_POOL_EXHAUSTED", zone="us-central1-a")
    with pytest.raises(NoCapacity):
        google.launch(ORDER)
    assert google.launch(another("w1", zone="us-central1-b")).zone == "us-central1-b"


def test_a_short_trouble_of_google_is_waited_out(google, cloud):
    cloud.refuse("503 backendError", of="compute:*", times=3)
    assert google.machines() == []


def test_nobody_there(cloud, impatient, monkeypatch):
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", "http://127.0.0.1:9/compute/v1/")
    with pytest.raises(CloudUnreachable, match=r"^listing machines: "):
        GCECloud().machines()


# --- ends -------------------------------------------------------------------------------------------------------------


def test_terminated_machines_are_gone_and_may_be_terminated_again(google, cloud):
    machines = [google.launch(another(f"w{number}")) for number in range(3)]
    google.terminate(machines)
    cloud.wait_all_gone()
    google.terminate(machines)
    assert google.machines() == []


def test_of_several_all_are_tried(google, cloud):
    machines = [google.launch(another(f"w{number}")) for number in range(3)]
    cloud.refuse("403 forbidden", of="compute:instances.delete", name="w0")
    with pytest.raises(CloudDenied, match=r"^deleting w0 in us-central1-a: "):
        google.terminate(machines)
    assert [instance.name for instance in cloud.alive()] == ["w0"]


def test_a_later_machine_of_the_same_name_is_left_alone(google, cloud):
    first = google.launch(another("w1"))
    cloud.delete(first.id)
    second = google.launch(another("w1"))
    google.terminate([first])
    assert [instance.id for instance in cloud.alive()] == [second.id]


@pytest.mark.parametrize("spot", [True, False])
def test_google_deletes_a_machine_at_the_end_of_its_lifetime(google, cloud, spot):
    made = google.launch(replace(ORDER, spot=spot))
    cloud.hang(made.id)
    cloud.expire(made.id)
    cloud.wait_all_gone()
    assert cloud.instances()[0].ended_by == "maxRunDuration"


# --- the start-up script ----------------------------------------------------------------------------------------------


def startup(*, idle=300, **changes):
    given = {
        "command": worker_command(GceSimulator.bucket, idle=idle, slots=2, program=["studio"]),
        "wheel": WHEEL,
        "extra": "gce",
        "name": ORDER.name,
        "lifetime": 3600,
        **changes,
    }
    return Startup(**gce_startup.snippets(GceSimulator.bucket, given["lifetime"]), **given)


def test_the_script_whole(tmp_path):
    """STUDIO_TEST_WRITE=1 writes the file anew: read what has changed."""
    text = render(startup(files=["files/requirements.txt"], user="files/user"))
    (tmp_path / "startup.sh").write_text(text)
    subprocess.run(["bash", "-n", tmp_path / "startup.sh"], check=True)
    if os.environ.get("STUDIO_TEST_WRITE"):
        (DATA / "gce_startup.sh").write_text(text)
    assert text == (DATA / "gce_startup.sh").read_text()


def test_the_largest_script_has_room_to_spare():
    assert len(render(startup(files=["f/pyproject.toml", "f/uv.lock"], user="files/user"))) < LARGEST / 2


@pytest.mark.parametrize("bucket", ["s3://studio-test/search", "studio-test", "gs://"])
def test_only_a_bucket_of_google_will_do(bucket):
    with pytest.raises(BadInput, match=r"write gs://BUCKET/PREFIX"):
        gce_startup.snippets(bucket, 3600)


@pytest.fixture
def launch(google, bucket, tmp_path):
    """A machine with a worker, as a driver makes it."""
    (tmp_path / "wheel").write_bytes(b"PK")
    bucket.upload(WHEEL, tmp_path / "wheel")

    def launch(**changes):
        return google.launch(replace(ORDER, script=render(startup(**changes))))

    return launch


def boot_log(bucket):
    return bucket.get(log_key(ORDER.name))[0].decode()


def test_a_machine_without_work_deletes_itself(cloud, bucket, launch):
    launch(idle=1)
    cloud.wait_all_gone()
    assert [instance.ended_by for instance in cloud.instances()] == ["itself"]
    assert "studio: the end, with exit code 0" in boot_log(bucket)


def test_a_machine_that_cannot_be_set_up_says_why_and_deletes_itself(cloud, bucket, launch, tmp_path):
    (tmp_path / "packages").write_text("no-such-package\n")
    bucket.upload("packages.txt", tmp_path / "packages")
    launch(files=["packages.txt"])
    cloud.wait_all_gone()
    assert [instance.ended_by for instance in cloud.instances()] == ["itself"]
    assert "no-such-package" in boot_log(bucket)
    assert "studio: a package was not installed" in boot_log(bucket)


def test_a_machine_that_may_not_delete_itself_shuts_down_and_is_swept(cloud, bucket, google, launch):
    cloud.refuse("403 forbidden", of="compute:instances.delete", by=ORDER.name)
    made = launch(idle=1)
    cloud.wait(lambda alive: [instance.state for instance in alive] == ["TERMINATED"])
    assert len(cloud.requests("compute:instances.delete")) == 2  # the script, and the shutdown script
    (swept,) = google.machines()
    assert (swept.id, swept.state) == (made.id, "ending")
    google.terminate([swept])
    cloud.wait_all_gone()


def test_a_machine_that_is_taken_away_gives_its_work_back_first(cloud, bucket, launch):
    made = launch()
    cloud.wait(lambda alive: "waiting for experiments" in cloud.log(made.id))
    cloud.preempt(made.id, notice=25)
    cloud.wait_all_gone()
    assert [instance.ended_by for instance in cloud.instances()] == ["itself"]
    assert "studio: this machine is being taken away" in boot_log(bucket)


def script(lines="sleep 600", lifetime=3600):
    """Only what is Google's of the start-up script, and then `lines`."""
    return f"#!/bin/bash\n{gce_startup.snippets(GceSimulator.bucket, lifetime)['arm']}\n{lines}\n"


@pytest.fixture
def run(google):
    return lambda *lines, **options: google.launch(replace(ORDER, script=script(*lines, **options)))


def test_the_timer_deletes_a_machine_whose_script_hangs(cloud, run):
    run(lifetime=1)
    cloud.wait_all_gone()
    assert cloud.instances()[0].ended_by == "itself"


def test_whoever_shuts_a_machine_down_deletes_it(cloud, run):
    run("trap '' TERM; shutdown -P now; sleep 600")
    cloud.wait_all_gone()
    assert cloud.instances()[0].ended_by == "itself"


def test_a_machine_that_boots_again_has_lost_its_timer_and_deletes_itself(cloud, run):
    made = run("echo at work; sleep 600")
    cloud.wait(lambda alive: "at work" in cloud.log(made.id))
    cloud.reboot(made.id)
    cloud.wait_all_gone()
    assert cloud.instances()[0].ended_by == "itself"


def test_a_script_that_is_started_twice_goes_on_once(cloud, run):
    made = run("echo at work; sleep 600")
    cloud.wait(lambda alive: "at work" in cloud.log(made.id))
    cloud.rerun(made.id)
    assert (cloud.log(made.id), len(cloud.alive())) == ("at work\n", 1)


def test_a_machine_of_an_image_of_another_machine_lives(cloud, run):
    made = run("echo at work")
    cloud.wait(lambda alive: "at work" in cloud.log(made.id))
    home = cloud._cloud.find(made.id).folder / "home"
    assert (home / ".studio-boot").read_text().split()[1] == made.id
    (home / ".studio-boot").write_text("11111111-2222-3333-4444-555555555555 123\n")
    cloud.rerun(made.id)
    assert (cloud.log(made.id), len(cloud.alive())) == ("at work\nat work\n", 1)
    cloud.rerun(made.id)  # the mark is its own now
    assert cloud.log(made.id) == "at work\nat work\n"


def test_files_go_in_and_out_under_any_name(cloud, bucket, run, tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 5000)
    bucket.upload("in/a file, 50% größer+", tmp_path / "file")
    made = run("google get 'in/a file, 50% größer+' here; google put here 'out/über uns?&#'; echo done; sleep 600")
    cloud.wait(lambda alive: "done" in cloud.log(made.id))
    assert bucket.get("out/über uns?&#")[0] == (tmp_path / "file").read_bytes()


def test_a_key_that_is_missing_is_not_waited_for_and_a_trouble_is(cloud, bucket, run):
    bucket.put_if_absent("there", b"1")
    cloud.refuse("503 backendError", of="storage:GET", by=ORDER.name, times=2)
    made = run("google get there here; echo code $?; google get not-there here; echo code $?; echo done; sleep 600")
    cloud.wait(lambda alive: "done" in cloud.log(made.id))
    lines = [line.split(":")[0] for line in cloud.log(made.id).splitlines()]
    assert lines == ["get there here", "get there here", "code 0", "get not-there here", "code 1", "done"]


def test_a_machine_that_is_told_to_wait_deletes_itself_later(cloud, run):
    cloud.refuse("429 rateLimitExceeded", of="compute:instances.delete", by=ORDER.name, times=2)
    run("google end; sleep 600")
    cloud.wait_all_gone()
    assert [instance.ended_by for instance in cloud.instances()] == ["itself"]
