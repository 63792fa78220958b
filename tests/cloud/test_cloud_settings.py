"""What a search asks of a cloud, from options and offers: no cloud is there."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_cloud import GIB, FakeCloud

from studio.backends.cloud.cloud import Offer
from studio.backends.cloud.ec2.backend import EC2Backend
from studio.backends.cloud.gce.backend import GCEBackend
from studio.backends.cloud.packages import is_local
from studio.backends.cloud.plan import Wishes, settle
from studio.errors import BadInput
from studio.host import create_host
from studio.interfaces import BackendContext
from studio.settings import Settings

GPUS = [
    Offer("four", "zone-a", cpus=16, gpus=4, ram=64 * GIB, on_demand=2.0, spot=0.5),
    Offer("one", "zone-a", cpus=4, gpus=1, ram=16 * GIB, on_demand=3.0, spot=1.0),
]


class GpuCloud(FakeCloud):
    def offers(self, wanted):
        return [offer for offer in super().offers(wanted) if offer.gpus >= wanted.gpus]


def settings(**changes):
    return replace(Settings("train.py"), **changes)


@pytest.mark.parametrize(
    ("changes", "per_machine", "machines"),
    [
        ({"gpus": 1}, 4, 2),
        ({"gpus": 2}, 2, 4),
        ({"gpus": 1, "cpus": 8}, 2, 4),  # its CPUs are for two
        ({"gpus": 1, "ram": "60 GB"}, 1, 8),
        ({}, 1, 8),
    ],
)
def test_one_experiment_for_each_gpu(changes, per_machine, machines):
    settled = settle(GpuCloud(offered=GPUS), settings(num_workers=8, **changes), Wishes(), spot=False)
    assert (settled.per_machine, settled.machines) == (per_machine, machines)
    assert all(offer.gpus >= per_machine * changes.get("gpus", 0) for offer in settled.offers)


def test_the_disk_is_for_all_experiments_of_a_machine():
    settled = settle(GpuCloud(), settings(hdd="10GB", num_workers=2), Wishes(per_machine=2), spot=False)
    assert settled.hdd == 2 * settle(GpuCloud(), settings(hdd="10GB"), Wishes(), spot=False).hdd


def test_a_cap_needs_to_know_how_far_a_spot_price_may_rise():
    cloud = FakeCloud(offered=[Offer("small", "zone-a", 2, 0, 8 * GIB, spot=0.1, besides=0.02)])
    with pytest.raises(BadInput, match=r"small costs \$0.10 an hour as a spot machine, and how far"):
        settle(cloud, settings(), Wishes(max_cost="5"), spot=True)
    with pytest.raises(BadInput, match="give --price DOLLARS an hour"):
        settle(cloud, settings(), Wishes(max_cost="5", bid="0.2"), spot=True, bids=False)
    settled = settle(cloud, settings(), Wishes(max_cost="5", bid="0.2"), spot=True)
    assert settled.rate(cloud.offered[0]).ceiling == 0.22


def test_a_quote_is_for_as_many_machines_as_the_cap_pays_for():
    cloud = FakeCloud(offered=[Offer("small", "zone-a", 2, 0, 8 * GIB, on_demand=1.0)])
    quote = settle(cloud, settings(num_workers=40), Wishes(max_cost="1"), spot=False).quote
    assert (quote.machines, quote.lifetime) == (4, 900)  # a quarter of an hour is the least
    assert "--max-cost 1 pays for only 4 of 40 machines at a time" in quote.text
    quote = settle(cloud, settings(num_workers=3), Wishes(max_cost="100"), spot=False).quote
    assert quote.machines == 3
    assert "pays for only" not in quote.text


def test_a_machine_lives_for_the_search_and_some_time_to_spare_or_a_day():
    assert settle(FakeCloud(), settings(), Wishes(), spot=False).lifetime == 24 * 3600
    assert settle(FakeCloud(), settings(max_time=18000.0), Wishes(), spot=False).lifetime == 18000 + 900
    assert settle(FakeCloud(), settings(max_time=18000.0), Wishes(cloud_lifetime="2h"), spot=False).lifetime == 7200


def test_a_bid_is_for_the_machine_alone_and_not_below_its_price():
    cloud = FakeCloud(offered=[Offer("small", "zone-a", 2, 0, 8 * GIB, on_demand=0.3, spot=0.1, besides=0.02)])
    assert settle(cloud, settings(), Wishes(bid="50%"), spot=True).bid == pytest.approx(0.14)
    assert settle(cloud, settings(), Wishes(bid="0.081"), spot=True).bid == 0.081
    with pytest.raises(
        BadInput, match=r"--bid 0\.07: small in zone-a costs \$0\.08 an hour now, and no other zone less"
    ):
        settle(cloud, settings(), Wishes(bid="0.07"), spot=True)


def test_a_bid_is_ignored_with_a_word_where_there_are_none():
    settled = settle(FakeCloud(), settings(), Wishes(bid="0.2"), spot=True, bids=False)
    assert settled.bid is None
    assert "--bid 0.2 is ignored: this cloud takes no bids" in settled.quote.text


def test_a_key_pair_of_google_is_read_from_its_file(tmp_path):
    (tmp_path / "id.pub").write_text("ssh-ed25519 AAAAC3 me@home\n")
    assert GCEBackend.keypair(f"ann:{tmp_path}/id.pub") == "ann:ssh-ed25519 AAAAC3 me@home"
    assert GCEBackend.keypair(f"{tmp_path}/id.pub") == "ssh-ed25519 AAAAC3 me@home"
    assert GCEBackend.keypair("ann:ssh-ed25519 AAAAC3") == "ann:ssh-ed25519 AAAAC3"
    with pytest.raises(BadInput, match=r"cannot be read; write USER:FILE\.pub"):
        GCEBackend.keypair("ann:none.pub")
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n")
    with pytest.raises(BadInput, match="is not a public key"):
        GCEBackend.keypair(f"ann:{tmp_path}/id")


def bucket_url(backend, given):
    context = BackendContext(Settings("train.py"), 1, Path(), create_host(), print)
    return backend(Wishes(bucket=given), context).bucket_url()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("s3://mine", "s3://mine/search"),
        ("s3://mine/", "s3://mine/search"),
        ("s3://mine/search", "s3://mine/search"),
        ("s3://mine/a/b/", "s3://mine/a/b"),
    ],
)
def test_of_a_bucket_that_part_is_used_which_its_role_may_use(given, used):
    assert bucket_url(EC2Backend, given) == used
    with pytest.raises(BadInput, match=f"--bucket {given}: machines of gcloud need gs://NAME"):
        bucket_url(GCEBackend, given)


@pytest.mark.parametrize("given", ["s3://", "s3:///", "mine"])
def test_a_bucket_has_a_name(given):
    with pytest.raises(BadInput, match=rf"--bucket {given}: .*s3://NAME"):
        bucket_url(EC2Backend, given)


FILES = """
-r other.txt | -rother.txt | -c limits.txt | -e . | -e ../a | ./pkg | ../a | libs/a | /a
mine @ file:///mine | file:///mine | dist/a-1.0-py3-none-any.whl
"""
PACKAGES = """
# -r other.txt | numpy | torch==2.5  # ./pkg | a[b]>=1; sys_platform=='linux' | --index-url https://x.org/simple
git+https://github.com/a/b@main | a @ https://x.org/a.whl | -e git+https://x.org/a | --extra-index-url=https://x.org
"""


@pytest.mark.parametrize("line", FILES.replace("\n", " | ").strip(" |").split(" | "))
def test_what_is_a_file_of_this_machine(line):
    assert is_local(line)


@pytest.mark.parametrize("line", ["", *PACKAGES.replace("\n", " | ").strip(" |").split(" | ")])
def test_what_another_machine_can_install(line):
    assert not is_local(line)


def test_what_is_capped_or_noted():
    settings = Settings("train.py", num_workers=2, max_time=7200.0)
    settled = settle(FakeCloud(), settings, Wishes(per_machine=50, cloud_lifetime="1h"), spot=False)
    assert (settled.machines, settled.per_machine) == (1, 2)
    (note,) = settled.quote.notes
    assert note.startswith("--cloud-lifetime 1h is less than --max-time")
    assert settle(FakeCloud(), settings, Wishes(cloud_lifetime="3h"), spot=False).quote.notes == ()


@pytest.mark.parametrize(
    "package", ["torch", "torch >= 2", "a[b, c]>=1, <2", "a; python_version < '3.13'", "a @ https://x/a", "torch>= 2"]
)
def test_a_package_may_have_spaces(package):
    Wishes(python_pkg=[package]).check(False)
