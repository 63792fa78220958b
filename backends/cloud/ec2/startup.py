"""The parts of the start-up script for EC2: how it ends its machine, and how it accesses the bucket.

The machine's credentials come from its instance profile, through the metadata service (IMDSv2), when they are needed;
none is in the text. Requests to S3 are signed by the image's own python3: nothing is installed before the user's
script has run. Both addresses can be set by the environment variables of boto3.
"""

import shlex
from typing import Any

from studio.errors import BadInput

# A machine that boots a second time has lost its script and timer: cloud-init runs user data once. So any reboot
# (by Amazon after a hardware fault, by the user's script, after a panic) ends it.
# An image made from this machine has that file too: its machines have other ids, and are not ended.
# Amazon bills from before the kernel started, so that time counts, and minutes are rounded down. There are two timers:
# the first follows a clock that may be set, and `shutdown -c` cancels it.
ARM = r"""up=$(cut -d. -f1 /proc/uptime) ends={lifetime}
left=$((ends - ${{up:-0}}))
left=$((left < 60 ? 60 : left))
shutdown -P +$((left / 60)) &
{{ sleep $left; shutdown -P now; sleep 60; poweroff -f; }} >/dev/null 2>&1 &
cloud=/var/lib/cloud
boots=$cloud/scripts/per-boot
mkdir -p "$boots" && cat >"$boots/studio-end" <<END && chmod +x "$boots/studio-end"
#!/bin/sh
[ "\$(cat $cloud/data/instance-id)" != "$(cat $cloud/data/instance-id)" ] || shutdown -P now
END
export AWS_DEFAULT_REGION={region} AWS_METADATA_SERVICE_TIMEOUT=5 AWS_METADATA_SERVICE_NUM_ATTEMPTS=10
amazon() {{
  python3 - {bucket} {prefix} "$@" <<'PYTHON'
{python}
PYTHON
}}
watch_machine() {{ amazon notice; }}"""

PYTHON = r"""
import hashlib, hmac, json, os, re, sys, time
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener, urlopen

bucket, prefix, action, *paths = sys.argv[1:]
region = os.environ["AWS_DEFAULT_REGION"]
here = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/") + "/latest/"
direct = build_opener(ProxyHandler({}))
off = 0.0  # seconds by which this machine's clock is behind Amazon's, which believes no signature of another time

def metadata(path):
    wish = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = direct.open(Request(here + "api/token", None, wish, method="PUT"), timeout=5).read().decode()
    return direct.open(Request(here + path, None, {"X-aws-ec2-metadata-token": token}), timeout=5).read().decode()

def signed(url, method, body, keys, region):
    at, parts = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + off)), urlsplit(url)
    digest = hashlib.sha256(body or b"").hexdigest()
    heads = {"content-type": "application/octet-stream", "host": parts.netloc, "x-amz-content-sha256": digest,
             "x-amz-date": at, "x-amz-security-token": keys["Token"]}
    names = ";".join(heads)
    text = "\n".join([method, parts.path, "", *(f"{k}:{v}" for k, v in heads.items()), "", names, digest])
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(text.encode()).hexdigest()])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    sign = hmac.digest(key, text.encode(), "sha256").hex()
    heads["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/{scope}, SignedHeaders={names}, Signature={sign}")
    return Request(url, body, heads, method=method)

def send(method, key, body, region):
    role = metadata("meta-data/iam/security-credentials/").split()[0]
    keys = json.loads(metadata("meta-data/iam/security-credentials/" + role))
    end = ".cn" if region.startswith("cn-") else ""
    server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or (
        f"https://s3.{region}.amazonaws.com{end}")
    url = server.rstrip("/") + quote(f"/{bucket}/{prefix}{key}")
    return urlopen(signed(url, method, body, keys, region), timeout=60)

def transfer(method, key, path):
    global off, region
    body = open(path, "rb").read() if method == "PUT" else None
    for attempt in range(8):
        try:
            with send(method, key, body, region) as answer:
                if method == "GET":
                    with open(path, "wb") as file:
                        while part := answer.read(1 << 20):
                            file.write(part)
            return
        except HTTPError as error:
            said = re.search(rb"<Code>(\w+)<", error.read(10000))  # the rest may quote what signs the request
            print(f"{method} {key}: {error} {said[1].decode() if said else ''}", file=sys.stderr)
            if said and said[1] == b"RequestTimeTooSkewed":
                off = parsedate_to_datetime(error.headers["Date"]).timestamp() - time.time()
            other = error.headers.get("x-amz-bucket-region", region)
            if other == region and error.code == 404 and not error.url.startswith(here):
                break
            region = other
        except (OSError, HTTPException, ValueError, IndexError) as error:
            print(f"{method} {key}: {error!r}", file=sys.stderr)
        time.sleep(min(2 ** attempt / 4, 10))
    sys.exit(1)

def notice():
    while True:
        try:
            print(metadata("meta-data/spot/instance-action"))
            return
        except (OSError, HTTPException, ValueError):
            time.sleep(5)

if action == "notice":
    notice()
else:
    transfer(action, *paths)
""".strip()


def snippets(bucket: str, region: str, lifetime: int) -> dict[str, str]:
    """Return `arm`, `end`, `fetch` and `store` of a `Startup`.

    `bucket` is a URL as `studio worker` takes it, s3://BUCKET/PREFIX; `region` is the machine's: S3 tells where the bucket
    is. `lifetime` in seconds. Raises BadInput.
    """
    scheme, _, rest = bucket.partition("://")
    if scheme != "s3" or not rest:
        raise BadInput(f"{bucket!r} is not a bucket for machines of EC2: write s3://BUCKET/PREFIX")
    name, _, prefix = rest.partition("/")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    values: dict[str, Any] = {
        "lifetime": lifetime,
        "region": shlex.quote(region),
        "bucket": shlex.quote(name),
        "prefix": shlex.quote(prefix),
        "python": PYTHON,
    }
    return {
        "arm": ARM.format(**values),
        "end": "  shutdown -P now || poweroff -f",
        "fetch": '  amazon GET "$1" "$2"',
        "store": '  amazon PUT "$2" "$1"',
    }
