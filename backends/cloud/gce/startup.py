"""The parts of the start-up script for Google: how it ends its machine, and how it accesses the bucket.

A shutdown from inside only stops a machine: its disk still costs, and Google's own time limit no longer applies. So the
machine deletes itself, through the REST API, as its service account. If something else shuts it down, the shutdown
script deletes it. The account's tokens come from the metadata server when they are needed; none is in the
text. Nothing is installed before the user's script has run: python3 and curl are the image's.

GCE_METADATA_HOST, STORAGE_EMULATOR_HOST and CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE are used, for simulated clouds.
"""

import shlex

from studio.errors import BadInput

# Google runs the script at each boot, and again when its agent is updated. A machine that boots a second time (after a
# hardware fault or a panic, or by the user's script) has lost its timer: it ends. An image made from this machine has its
# mark too: other machines have other ids.
ARM = r"""google() {{
  python3 - {bucket} {prefix} "$@" <<'PYTHON'
{python}
PYTHON
}}
delete_machine() {{ google end && sleep 120; shutdown -P now || poweroff -f; }}
watch_machine() {{ google notice; }}
up=$(cut -d. -f1 /proc/uptime)
ends=$((${{up:-0}} + {lifetime}))
mark=${{HOME:-/root}}/.studio-boot boot=$(cat /proc/sys/kernel/random/boot_id)
if [ -e "$mark" ]; then
  id=$(google id)
  read -r at of <"$mark"
  if [ "${{of:-$id}}" = "${{id:-$of}}" ]; then # or one of them is not known
    [ "$at" = "$boot" ] || delete_machine
    exit
  fi
fi
{{ sleep {lifetime}; delete_machine; }} >/dev/null 2>&1 &
echo "$boot $(google id)" >"$mark"
"""

PYTHON = r"""
import json, os, sys, time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener, urlopen

bucket, prefix, action, *paths = sys.argv[1:]
here = "http://" + (os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal") + "/computeMetadata/v1/"
storage = (os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com").rstrip("/")
compute = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE") or "https://compute.googleapis.com/compute/v1"
direct = build_opener(ProxyHandler({}))

def metadata(path, timeout=10):
    return direct.open(Request(here + path, None, {"Metadata-Flavor": "Google"}), timeout=timeout)

def text(path):
    with metadata(path) as answer:
        return answer.read().decode()

def send(method, url, body=None):
    token = json.loads(text("instance/service-accounts/default/token"))["access_token"]
    heads = {"Authorization": "Bearer " + token, "Content-Type": "application/octet-stream"}
    return urlopen(Request(url, body, heads, method=method), timeout=60)

def get(key, path):
    with send("GET", f"{storage}/storage/v1/b/{bucket}/o/{quote(prefix + key, safe='')}?alt=media") as answer:
        with open(path, "wb") as file:
            while part := answer.read(1 << 20):
                file.write(part)

def put(path, key):
    name = quote(prefix + key, safe="")
    with open(path, "rb") as file:
        body = file.read()
    send("POST", f"{storage}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}", body).close()

def end():
    zone = text("instance/zone").split("/")[-1]
    machine = f"projects/{text('project/project-id')}/zones/{zone}/instances/{text('instance/name')}"
    send("DELETE", f"{compute.rstrip('/')}/{machine}").close()

def notice():
    etag = "0"
    while True:
        try:
            with metadata(f"instance/preempted?wait_for_change=true&timeout_sec=60&last_etag={etag}", 90) as answer:
                etag = answer.headers["ETag"]
                if answer.read() == b"TRUE":
                    return
        except (OSError, HTTPException):
            time.sleep(5)

if action == "notice":
    notice()
    sys.exit()
for attempt in range(8):
    try:
        {"id": lambda: print(text("instance/id")), "get": get, "put": put, "end": end}[action](*paths)
        sys.exit()
    except HTTPError as error:
        print(f"{action} {' '.join(paths)}: {error} {error.read(300)}", file=sys.stderr)
        if error.code == 404 or (action == "end" and error.code < 500 and error.code not in (408, 429)):
            break
    except (OSError, HTTPException, ValueError, KeyError) as error:
        print(f"{action} {' '.join(paths)}: {error!r}", file=sys.stderr)
    time.sleep(min(2 ** attempt / 4, 10))
sys.exit(1)
""".strip()

# Run by Google whenever the machine is shut down: within 90 s, or 30 s on a preempted spot machine.
SHUTDOWN = r"""#!/bin/bash
# Studio: a machine that is only stopped would go on costing.
ask() {
  curl -sf -m 10 -H 'Metadata-Flavor: Google' \
    "http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1/$1"
}
compute=${CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE:-https://compute.googleapis.com/compute/v1}
token=$(ask instance/service-accounts/default/token | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
zone=$(ask instance/zone)
curl -sS -m 20 -X DELETE -H @- <<<"Authorization: Bearer $token" \
  "${compute%/}/projects/$(ask project/project-id)/zones/${zone##*/}/instances/$(ask instance/name)"
"""


def snippets(bucket: str, lifetime: int) -> dict[str, str]:
    """Return `arm`, `end`, `fetch` and `store` of a `Startup`.

    `bucket` is a URL as `studio worker` takes it, gs://BUCKET/PREFIX. `lifetime` in seconds. Raises BadInput.
    """
    scheme, _, rest = bucket.partition("://")
    name, _, prefix = rest.partition("/")
    if scheme != "gs" or not name:
        raise BadInput(f"{bucket!r} is not a bucket for machines of Google: write gs://BUCKET/PREFIX")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    return {
        "arm": ARM.format(bucket=shlex.quote(name), prefix=shlex.quote(prefix), lifetime=lifetime, python=PYTHON),
        "end": "  delete_machine",
        "fetch": '  google get "$1" "$2"',
        "store": '  google put "$1" "$2"',
    }
