"""What machines cost, and that `--max-cost` holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.backends.cloud.cloud import Offer
from studio.backends.cloud.ledger import Entry, Ledger
from studio.backends.cloud.spending import (
    HOUR,
    Quote,
    Rate,
    affordable_lifetime,
    experiment_cost,
    hours,
    parse_bid,
    parse_dollars,
    rate_of,
)
from studio.errors import BadInput

GIB = 1 << 30
OFFER = Offer("m7i.large", "us-east-1a", cpus=2, gpus=0, ram=8 * GIB, on_demand=0.10, spot=0.04, besides=0.02)


@pytest.mark.parametrize(
    ("options", "now", "ceiling"),
    [
        ({"spot": False}, 0.10, 0.10),
        ({"spot": True}, 0.04, 0.10),  # without a bid it may rise to the price on demand
        ({"spot": True, "bid": 0.06}, 0.04, 0.08),  # its disk and address are not in the bid
        ({"spot": True, "bid": 0.01}, 0.04, 0.04),
        ({"spot": True, "bid": 7.0}, 0.04, 0.10),  # nobody pays more than the price on demand
        ({"spot": False, "price": 0.5}, 0.5, 0.5),
        ({"spot": True, "price": 0.5}, 0.5, 0.5),
        ({"spot": True, "price": 0.05, "bid": 0.06}, 0.05, 0.06),
    ],
)
def test_rates(options, now, ceiling):
    assert rate_of(OFFER, **options) == Rate(now, ceiling)


def test_rates_that_are_not_known():
    assert rate_of(Offer("a", "b", 1, 0, GIB), spot=True) == Rate(None, None)
    assert rate_of(Offer("a", "b", 1, 0, GIB, on_demand=0.1), spot=True) == Rate(0.1, 0.1)
    alone = Offer("a", "b", 1, 0, GIB, spot=0.04, besides=0.02)
    assert rate_of(alone, spot=True) == Rate(0.04, None)  # it may rise, who knows how far
    assert rate_of(alone, spot=True, bid=0.06) == Rate(0.04, 0.08)


def entry(rate, begun, ends, name="one", **fields):
    return Entry(name, "small", "zone-a", False, rate, begun, ends, **fields)


def test_a_machine_costs_by_the_second_after_its_first_minute():
    one = entry(Rate(3.6, 7.2), begun=1000.0, ends=1000.0 + 2 * HOUR)
    assert one.spent(1001.0) == pytest.approx(0.06)
    assert one.spent(1000.0 + HOUR) == pytest.approx(3.6)
    assert one.committed(1000.0 + HOUR) == pytest.approx(14.4)
    assert one.spent(1000.0 + 9 * HOUR) == pytest.approx(7.2)  # its lifetime has ended it
    assert one.committed(1000.0 + 9 * HOUR) == pytest.approx(14.4)
    late = entry(Rate(3.6, 7.2), 1000.0, 1000.0 + 2 * HOUR, seen=1000.0 + 3 * HOUR)
    assert late.spent(1000.0 + 9 * HOUR) == pytest.approx(10.8)  # it outlived its time, as far as is known
    gone = entry(Rate(3.6, 7.2), 1000.0, 1000.0 + 2 * HOUR, "gone", ended=1000.0 + HOUR / 2)
    assert (gone.spent(9e9), gone.committed(1000.0)) == (pytest.approx(1.8), pytest.approx(3.6))
    ledger = Ledger()
    for each in (one, gone):
        ledger.note(each)
    assert ledger.spent(1000.0 + HOUR) == pytest.approx(5.4)
    assert ledger.committed(1000.0 + HOUR) == pytest.approx(18.0)


@pytest.mark.parametrize(
    ("left", "machines", "seconds"),
    [
        (None, 4, 86400),
        (100.0, 4, 86400),  # 4 x 0.1 x 24 h cost 9.60
        (4.0, 4, 36000),
        (4.0, 1, 86400),
        (0.1, 4, 900),  # a quarter of an hour, the least
        (0.09, 4, 0),
        (0.0, 1, 0),
        (-1.0, 1, 0),
    ],
)
def test_the_lifetime_that_money_buys(left, machines, seconds):
    assert affordable_lifetime(left, Rate(0.04, 0.10), machines, 86400) == seconds


def test_without_a_price_nothing_is_launched_under_a_cap():
    assert affordable_lifetime(20.0, Rate(None, None), 1, 3600) == 0
    assert affordable_lifetime(None, Rate(None, None), 1, 3600) == 3600


@given(
    cap=st.floats(0.01, 100),
    rates=st.lists(st.tuples(st.floats(0.001, 10), st.floats(1, 3)), min_size=1, max_size=20),
    pauses=st.lists(st.floats(0, 20 * HOUR), min_size=20, max_size=20),
    wanted=st.integers(60, 200 * 3600),
)
def test_the_cap_holds_whatever_is_launched_when(cap, rates, pauses, wanted):
    now, ledger, dearest = 0.0, Ledger(), 0.0
    for number, ((price, factor), pause) in enumerate(zip(rates, pauses, strict=False)):
        rate = Rate(price, price * factor)
        lifetime = affordable_lifetime(cap - ledger.committed(now), rate, 1, wanted)
        if lifetime >= 60:
            ledger.note(entry(rate, now, now + lifetime, f"{number}"))
            dearest += entry(Rate(rate.ceiling, rate.ceiling), now, now + lifetime).spent(1e12)
        now += pause
    assert ledger.spent(1e12) <= dearest + 1e-9
    assert dearest <= cap + 1e-6


def test_what_an_experiment_costs():
    assert experiment_cost(Rate(0.36, 1.0), 100.0, 2) == pytest.approx(0.005)
    assert experiment_cost(Rate(None, None), 100.0, 2) is None


@pytest.mark.parametrize(("text", "amount"), [("20", 20.0), ("$0.35", 0.35), (".5", 0.5), (7, 7.0), (None, None)])
def test_dollars_are_read(text, amount):
    assert parse_dollars(text, "--max-cost") == amount


@pytest.mark.parametrize("text", ["", "free", "-3", "0", "1e3", "nan", "20€", "20%"])
def test_what_is_no_amount(text):
    with pytest.raises(BadInput, match=r"--max-cost .* is not an amount of dollars; write for example 20 or 0\.35"):
        parse_dollars(text, "--max-cost")


def test_bids():
    assert parse_bid(None, 0.10) is None
    assert parse_bid("0.35", None) == 0.35
    assert parse_bid("60%", 0.10) == pytest.approx(0.06)
    with pytest.raises(BadInput, match="give the bid in dollars"):
        parse_bid("60%", None)
    with pytest.raises(BadInput, match="give dollars per hour"):
        parse_bid("cheap", 0.10)
    with pytest.raises(BadInput, match="is not a percentage"):
        parse_bid("%", 0.10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(20, "1 minute"), (300, "5 minutes"), (5400, "90 minutes"), (9000, "2.5 hours"), (86400, "24 hours")],
)
def test_times_are_shown(seconds, text):
    assert hours(seconds) == text


def test_a_quote():
    quote = Quote("ec2", 4, OFFER, spot=False, lifetime=86400)
    assert quote.text.splitlines() == [
        "4 machines m7i.large (2 CPUs, 8 GB) of ec2 in us-east-1a, each for at most 24 hours:",
        "  spot       $0.04 an hour each, $0.16 together: $3.84 in all that time",
        "* on demand  $0.10 an hour each, $0.40 together: $9.60 in all that time",
        "  a machine ends after 5 minutes without work, and with the search",
    ]
    assert quote.most == pytest.approx(9.6)


def test_a_quote_for_spot_machines_with_a_bid_and_a_cap():
    offer = Offer("g6.xlarge", "us-east-1b", cpus=4, gpus=1, ram=16 * GIB, on_demand=0.9, spot=None)
    quote = Quote("ec2", 1, offer, spot=True, lifetime=3600, bid=0.5, max_cost=0.4, idle=60)
    assert quote.text.splitlines() == [
        "1 machine g6.xlarge (4 CPUs, 16 GB, 1 GPU) of ec2 in us-east-1b, each for at most 60 minutes:",
        "* spot       price unknown; counted as on demand",
        "  on demand  $0.90 an hour each, $0.90 together: $0.90 in all that time",
        "  a spot machine ends when it costs more than $0.50 an hour",
        "  a machine ends after 1 minute without work, and with the search",
        "  --max-cost ends the search before it costs more than $0.40",
    ]
    assert quote.most == 0.4


def test_a_quote_at_the_users_own_price():
    quote = Quote("gce", 2, Offer("e2-standard-2", "a", 2, 0, 8 * GIB), spot=False, lifetime=7200, price=0.07)
    assert quote.text.splitlines()[1] == "* --price    $0.07 an hour each, $0.14 together: $0.28 in all that time"
    assert quote.most == pytest.approx(0.28)
    assert Quote("gce", 2, Offer("a", "b", 2, 0, 8 * GIB), spot=False, lifetime=7200).most is None
