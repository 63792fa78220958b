"""Machines of Google Compute Engine.

What ends a machine, each without the help of the others:

1. `maxRunDuration`: Google deletes it at the end of its lifetime in any case, even with the laptop closed.
2. Its worker, when there is no work; the trap of its start-up script; the timer that this script sets first: each
   deletes the machine through Google's interface (`startup`).
3. If that is refused it shuts down, which only stops it: the disk still costs, and Google's limit no longer applies.
   `machines()` lists it as "ending", so that
4. the driver's sweep, or `studio cloud gc`, deletes it.

Machines have an external address: without one they reach neither PyPI nor the bucket, unless the network has Cloud NAT.
A firewall rule is made only for `port` or `keypair`.
"""

import contextlib
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, ClassVar

from studio.backends.cloud.cloud import (
    TAG,
    Cloud,
    CloudDenied,
    CloudError,
    CloudUnreachable,
    Machine,
    NotOffered,
    Offer,
    Order,
    Request,
    Wanted,
)
from studio.backends.cloud.gce.account import endpoint, is_emulator, region_and_zone, setting
from studio.backends.cloud.gce.errors import google_errors, refusal
from studio.backends.cloud.gce.prices import CATALOGUE, load_rates
from studio.backends.cloud.gce.requests import image, label, read_machine, read_metadata, requests, seconds
from studio.backends.cloud.gce.types import ZoneType, choose, read_type, with_guests
from studio.backends.cloud.machine_types import wanted_gpus
from studio.backends.queue.bucket import sdk
from studio.errors import BadInput
from studio.text import did_you_mean

SCOPE = "https://www.googleapis.com/auth/cloud-platform"  # of the driver, whose roles say what it may do
TIMEOUT = 30  # seconds for one response
PATIENCE = 20  # seconds of retries. Requests that make something have an id, so that a repeated one makes one thing
SETTLE = 60  # seconds after which a machine whose order is still pending counts as made: the list will tell


class GCECloud(Cloud):
    """Google Compute Engine, with the application default credentials. Project, region and zone: as `gcloud` finds
    them, in GOOGLE_CLOUD_PROJECT, CLOUDSDK_COMPUTE_REGION and _ZONE, or in the configuration of `gcloud`.

    CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE and _CLOUDBILLING are honoured as `gcloud` does. One that begins with
    `http://` is an emulator: it is sent no credentials.
    """

    name: ClassVar[str] = "gce"

    def __init__(self, *, project: str | None = None, region: str | None = None, network: str = "default"):
        self._api = sdk("google.api_core.exceptions", extra="gce")
        self.region, self._near = region_and_zone(region)
        self._asked_project, self._network = project, network
        self._clients: dict[str, Any] = {}
        self._lock = threading.RLock()

    # --- offers -------------------------------------------------------------------------------------------------

    def offers(self, wanted: Wanted) -> list[Offer]:
        with google_errors(f"looking for machines in {self.region}"):
            zones = self._zones()
            types = self._types(zones, wanted)
            gpus = self._gpus(zones) if wanted_gpus(wanted) else {}
            address = endpoint("cloudbilling") or CATALOGUE
            rates = load_rates(self._session(address), self.region, catalogue=address)
        return choose(with_guests(types, gpus, wanted), wanted, rates, self.region, self._near)

    def _zones(self) -> list[str]:
        """Return the zones of the region. Raises NotOffered for an unknown region or project."""
        try:
            return [url.rpartition("/")[2] for url in self._call("Regions", "get", region=self.region).zones]
        except (self._api.NotFound, self._api.BadRequest) as error:
            if re.search(r"regions?[/']", error.message.partition(": ")[2]):
                way = "export CLOUDSDK_COMPUTE_REGION=us-central1, or gcloud config set compute/region us-central1"
                raise NotOffered(f"there is no Google region {self.region!r}; {way}") from error
            way = "export GOOGLE_CLOUD_PROJECT=ID, or gcloud config set project ID"
            raise NotOffered(f"there is no Google Cloud project {self.project!r}; {way}") from error

    def _types(self, zones: list[str], wanted: Wanted) -> list[ZoneType]:
        """Return all types, or the one named: custom types, such as n2-custom-6-20480, are in no list."""
        if wanted.machine_type is None:
            return [read_type(found, zone) for zone, found in self._in_zones("MachineTypes", zones)]
        types = []
        for zone in zones:
            with contextlib.suppress(self._api.NotFound):
                found = self._call("MachineTypes", "get", zone=zone, machine_type=wanted.machine_type)
                types.append(read_type(found, zone))
        if not types:
            names = {found.name for _, found in self._in_zones("MachineTypes", zones)}
            close = did_you_mean(wanted.machine_type, names)
            raise NotOffered(f"--machine-type {wanted.machine_type!r}: Google has none in {self.region}{close}")
        return types

    def _gpus(self, zones: list[str]) -> dict[str, set[str]]:
        """Return the GPUs that can be attached, by zone."""
        found: dict[str, set[str]] = {}
        for zone, kind in self._in_zones("AcceleratorTypes", zones):
            found.setdefault(zone, set()).add(kind.name)
        return found

    def _in_zones(self, kind: str, zones: list[str]) -> Iterator[tuple[str, Any]]:
        """Yield items zone by zone: an aggregated list has those of all regions, some 40,000 machine types."""
        for zone in zones:
            for found in self._call(kind, "list", zone=zone):
                yield zone, found

    # --- one machine ------------------------------------------------------------------------------------------------

    def check(self, order: Order) -> None:
        if order.image is None:
            return
        found = re.search(r"projects/([^/]+)/global/images/(family/)?([^/]+)$", image(order))
        if found is None:
            raise NotOffered(f"--image {order.image!r}: write PROJECT/FAMILY, or projects/PROJECT/global/images/NAME")
        method, key = ("get_from_family", "family") if found[2] else ("get", "image")
        with google_errors(f"image {order.image}"):
            try:
                self._call("Images", method, **{"project": found[1], key: found[3]})
            except self._api.NotFound as error:
                raise NotOffered(f"--image {order.image!r}: Google has none; write PROJECT/FAMILY") from error

    def requests(self, order: Order) -> list[Request]:
        return requests(order, self.project, self._network)

    def launch(self, order: Order) -> Machine:
        where = f"{order.machine_type} in {order.zone}"
        *rules, insert = self.requests(order)
        with google_errors(where):
            for rule in rules:
                resource = self._compute.Firewall.from_json(json.dumps(rule.body["firewallResource"]))
                with contextlib.suppress(self._api.Conflict):  # exists already
                    self._call("Firewalls", "insert_unary", firewall_resource=resource)
            try:
                operation = self._call(
                    "Instances",
                    "insert_unary",
                    zone=order.zone,
                    request_id=order.token,
                    instance_resource=self._compute.Instance.from_json(json.dumps(insert.body["instanceResource"])),
                )
            except self._api.Conflict:  # Google forgets a request_id after a while; the machine keeps it
                found = self._call("Instances", "get", zone=order.zone, instance=order.name)
                if read_metadata(found).get(f"{TAG}-order") != order.token:
                    raise CloudDenied(f"{order.zone} has another machine named {order.name}") from None
                return read_machine(found)
        try:
            with google_errors(where):
                operation = self._settled(operation, order.zone)
        except CloudError as unknown:  # the order was accepted: in any case there may be a machine
            raise CloudUnreachable(f"the result of an order is unknown: {unknown}") from unknown
        for error in operation.error.errors:
            raise refusal(error.code, f"{where}: {error.code}: {error.message}")
        return Machine(
            id=str(operation.target_id),
            name=order.name,
            project=order.project,
            machine_type=order.machine_type,
            zone=order.zone,
            spot=order.spot,
            launched=seconds(operation.insert_time),
            state="starting",
        )

    def _settled(self, operation: Any, zone: str) -> Any:
        """Wait for the operation: lack of capacity and quotas are known some seconds after an order."""
        done = self._compute.Operation.Status.DONE
        end = time.monotonic() + SETTLE
        pause = 0.1
        while operation.status != done and time.monotonic() < end:
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
            operation = self._call("ZoneOperations", "get", zone=zone, operation=operation.name)
        return operation

    # --- all machines -----------------------------------------------------------------------------------------------

    def survey(self, project: str | None = None) -> tuple[list[Machine], list[CloudError]]:
        found, missed = list[Machine](), list[CloudError]()
        wanted = f"labels.{TAG}:*" if project is None else f"labels.{TAG}={label(project)}"
        with google_errors("listing machines"):
            for scope, answer in self._call("Instances", "aggregated_list", filter=wanted):
                if answer.warning.code == "UNREACHABLE":
                    said = answer.warning.message
                    missed.append(CloudUnreachable(f"cannot list the machines of {scope}: {said}"))
                found += [read_machine(instance) for instance in answer.instances]
        # two projects may have the same label
        return [machine for machine in found if project in (None, machine.project)], missed

    def terminate(self, machines: Sequence[Machine]) -> None:
        if not machines:
            return
        with ThreadPoolExecutor(min(8, len(machines))) as pool:
            errors = list(pool.map(self._delete, machines))  # all are tried: the other machines cost, too
        for error in errors:
            if error is not None:
                raise error

    def _delete(self, machine: Machine) -> CloudError | None:
        try:
            with google_errors(f"deleting {machine.name} in {machine.zone}"), contextlib.suppress(self._api.NotFound):
                named = {"zone": machine.zone, "instance": machine.name}
                # not a later machine of the same name
                if str(self._call("Instances", "get", **named).id) == machine.id:
                    self._call("Instances", "delete_unary", **named, request_id=str(uuid.uuid4()))
        except CloudError as error:
            return error
        return None

    def close_ports(self) -> list[str]:
        with google_errors("closing ports"):
            rules = [rule.name for rule in self._call("Firewalls", "list") if rule.name.startswith(f"{TAG}-")]
            if not rules:
                return []
            answers = self._call("Instances", "aggregated_list", filter=f"labels.{TAG}:*")
            used = {tag for _, answer in answers for instance in answer.instances for tag in instance.tags.items}
            for rule in set(rules) - used:
                with contextlib.suppress(self._api.NotFound):  # another search was faster
                    self._call("Firewalls", "delete_unary", firewall=rule)
        return sorted(used & set(rules))

    # --- inside -----------------------------------------------------------------------------------------------------

    @cached_property
    def _compute(self) -> Any:
        """Google's library, which takes two seconds to import: not for an account that has no project or credentials."""
        return sdk("google.cloud.compute_v1", extra="gce")

    @cached_property
    def project(self) -> str:
        """Google's project, which pays; not a project of Studio."""
        found = self._asked_project or os.environ.get("GOOGLE_CLOUD_PROJECT") or setting("core", "project")
        if not found and not is_emulator(endpoint("compute")):
            found = self._default[1] or ""
        if not found:
            raise BadInput(
                "no Google Cloud project is set: export GOOGLE_CLOUD_PROJECT=ID, or gcloud config set project ID"
            )
        return found

    @cached_property
    def _default(self) -> tuple[Any, str | None]:
        """The application default credentials, and the project that they belong to."""
        with google_errors("looking for Google credentials"):
            found: tuple[Any, str | None] = sdk("google.auth", extra="gce").default(scopes=[SCOPE])
            return found

    def _credentials(self, address: str) -> Any:
        if is_emulator(address):
            return sdk("google.auth.credentials", extra="gce").AnonymousCredentials()
        return self._default[0]

    def _session(self, address: str) -> Any:
        """Return an HTTP session for services without a library."""
        session = sdk("google.auth.transport.requests", extra="gce").AuthorizedSession(self._credentials(address))
        if not is_emulator(address):
            session.headers["x-goog-user-project"] = self.project  # in which the API has to be enabled
        return session

    def _call(self, kind: str, method: str, **arguments: Any) -> Any:
        """Call a method of the Compute API: `_call("Instances", "get", zone=…, instance=…)`."""
        retry = sdk("google.api_core.retry", extra="gce")
        again = retry.Retry(predicate=self._may_pass, initial=0.2, maximum=5.0, timeout=PATIENCE)
        asked = {"project": self.project, **arguments}
        return getattr(self._client(kind), method)(asked, retry=again, timeout=TIMEOUT)

    def _may_pass(self, error: Exception) -> bool:
        http = sdk("requests.exceptions", extra="gce")
        auth = sdk("google.auth.exceptions", extra="gce")
        passing = self._api.ServerError, self._api.TooManyRequests, auth.TransportError
        return isinstance(error, (*passing, http.ConnectionError, http.Timeout, http.ChunkedEncodingError))

    def _client(self, kind: str) -> Any:
        address = endpoint("compute")
        with self._lock:  # one client for all threads
            if kind not in self._clients:
                options = {"api_endpoint": address} if address else None
                made = {"credentials": self._credentials(address), "client_options": options}
                self._clients[kind] = getattr(self._compute, f"{kind}Client")(**made)
            return self._clients[kind]
