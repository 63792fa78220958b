"""Prices of EC2 machines, in dollars an hour. Without permission to ask, they are unknown."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from studio.backends.cloud.ec2.errors import aws_errors
from studio.backends.cloud.prices import DAY, PriceCache
from studio.backends.cloud.spending import HOUR

PRICING_REGION = "us-east-1"  # has the prices of all regions
HOURS_A_MONTH = 730
GP3 = 0.08  # dollars per GiB and month, if Amazon does not say
ADDRESS = 0.005  # an hour, for the public address through which a machine reaches the bucket
SPOT_SYSTEM = "Linux/UNIX"

Client = Callable[[str, str], Any]  # service, region


class Prices:
    """Prices of one region. `client` makes a boto3 client."""

    def __init__(self, client: Client, region: str):
        self._client, self._region = client, region
        self._cache = PriceCache(f"ec2-prices-{region}")

    def on_demand(self, machine_type: str | None = None) -> dict[str, float]:
        """Return on-demand prices by machine type, of all or of one. Empty: unknown."""
        filters = {
            "operatingSystem": "Linux",
            "preInstalledSw": "NA",
            "tenancy": "Shared",
            "capacitystatus": "Used",
            "marketoption": "OnDemand",
        }
        if machine_type is not None:
            filters["instanceType"] = machine_type
        key = f"on demand {machine_type or ''}".strip()
        return self._cache.get(key, DAY, lambda: self._products(filters, "instanceType", "Hrs"))

    def spot(self, machine_types: Sequence[str]) -> dict[tuple[str, str], float]:
        """Return the present spot prices by machine type and zone."""
        if not machine_types:
            return {}
        key = f"spot {' '.join(sorted(machine_types))}"
        found = self._cache.get(key, HOUR, lambda: self._spot_history(machine_types))
        return {(name.split()[0], name.split()[1]): price for name, price in found.items()}

    def besides(self, gib: int) -> float:
        """Return dollars an hour of a disk of `gib` GiB and a public address."""
        filters = {"productFamily": "Storage", "volumeApiName": "gp3"}
        found = self._cache.get("gp3", DAY, lambda: self._products(filters, "volumeApiName", "GB-Mo"))
        return gib * found.get("gp3", GP3) / HOURS_A_MONTH + ADDRESS

    # --- asking -----------------------------------------------------------------------------------------------------

    def _products(self, filters: dict[str, str], name: str, unit: str) -> dict[str, float]:
        filters = {"regionCode": self._region, **filters}
        asked = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()]
        prices: dict[str, float] = {}
        with aws_errors("prices of EC2"):
            pages = self._client("pricing", PRICING_REGION).get_paginator("get_products")
            for page in pages.paginate(ServiceCode="AmazonEC2", FormatVersion="aws_v1", Filters=asked):
                for text in page["PriceList"]:
                    product = json.loads(text)
                    price = _dollars(product, unit)
                    if price:  # reservations are listed at 0
                        prices[product["product"]["attributes"][name]] = price
        return prices

    def _spot_history(self, machine_types: Sequence[str]) -> dict[str, float]:
        newest: dict[str, tuple[datetime, float]] = {}
        with aws_errors("spot prices of EC2"):
            pages = self._client("ec2", self._region).get_paginator("describe_spot_price_history")
            asked = {"InstanceTypes": sorted(machine_types), "ProductDescriptions": [SPOT_SYSTEM]}
            for page in pages.paginate(StartTime=datetime.now(UTC), **asked):  # from now on: the price that holds now
                for entry in page["SpotPriceHistory"]:
                    name = f"{entry['InstanceType']} {entry['AvailabilityZone']}"
                    if name not in newest or newest[name][0] < entry["Timestamp"]:
                        newest[name] = entry["Timestamp"], float(entry["SpotPrice"])
        return {name: price for name, (_, price) in newest.items()}


def _dollars(product: dict[str, Any], unit: str) -> float | None:
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension["unit"] == unit and "USD" in dimension["pricePerUnit"]:
                return float(dimension["pricePerUnit"]["USD"])
    return None
