#!/bin/bash
# Studio: the worker digits-1a2b-w1. Written by `studio run`; this machine ends by itself.
set -u
up=$(cut -d. -f1 /proc/uptime) ends=7200
left=$((ends - ${up:-0}))
left=$((left < 60 ? 60 : left))
shutdown -P +$((left / 60)) &
{ sleep $left; shutdown -P now; sleep 60; poweroff -f; } >/dev/null 2>&1 &
cloud=/var/lib/cloud
boots=$cloud/scripts/per-boot
mkdir -p "$boots" && cat >"$boots/studio-end" <<END && chmod +x "$boots/studio-end"
#!/bin/sh
[ "\$(cat $cloud/data/instance-id)" != "$(cat $cloud/data/instance-id)" ] || shutdown -P now
END
export AWS_DEFAULT_REGION=us-east-1 AWS_METADATA_SERVICE_TIMEOUT=5 AWS_METADATA_SERVICE_NUM_ATTEMPTS=10
amazon() {
  python3 - my-bucket digits/ "$@" <<'PYTHON'
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
PYTHON
}
watch_machine() { amazon notice; }
end_machine() {
  shutdown -P now || poweroff -f
}
fetch() {
  amazon GET "$1" "$2"
}
store() {
  amazon PUT "$2" "$1"
}
within() { # SECONDS COMMAND...: its exit code; a command that takes longer is ended
  "${@:2}" & local job=$!
  { sleep "$1"; kill -KILL "$job"; } >/dev/null 2>&1 & local clock=$! # SIGTERM is ignored at the end
  disown "$clock"
  local code=0
  wait "$job" || code=$?
  kill -KILL "$clock" 2>/dev/null
  return "$code"
}
get() { # KEY FILE: some keys hold the hash of their file
  local of=${1%/*} try
  of=${of##*/}
  for try in 1 2 3; do
    within 600 fetch "$1" "$2" || fail "cannot fetch $1"
    if [[ ! $of =~ ^[0-9a-f]{32}$ || $(sha256sum <"$2") == "$of"* ]]; then return; fi
  done
  fail "$1 is damaged"
}
store_log() {
  tail -c 1000000 "$work/boot.log" >"$work/boot.part"
  within 60 store "$work/boot.part" boot/digits-1a2b-w1.log || echo "studio: the boot log was not stored"
}
fail() {
  echo "studio: $1"
  exit 1
}
finish() {
  local code=$?
  trap - EXIT
  trap '' TERM INT HUP
  echo "studio: the end, with exit code $code after $SECONDS s"
  sleep 0.2 # for tee
  store_log
  end_machine
  exit "$code"
}
worker=
leave() { if [ -n "$worker" ]; then kill -TERM "$worker"; else exit 143; fi; }
trap finish EXIT
trap leave TERM INT HUP
{ while kill -0 $$; do sleep 5; done; end_machine; } >/dev/null 2>&1 &

export HOME="${HOME:-/root}" PYTHONUNBUFFERED=1 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
umask 077
work=$HOME/studio-worker
rm -rf "$work" && mkdir -p "$work" && cd "$work" || exit 1
exec > >(trap '' TERM INT HUP; exec tee -a "$work/boot.log") 2>&1 # it outlives a signal to all
echo "studio: digits-1a2b-w1 starts on $(uname -sr) at $(date -u +%FT%TZ)"

good_python() { python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
get_uv() {
  { curl -LsSf --max-time 120 https://astral.sh/uv/install.sh || wget -qO- https://astral.sh/uv/install.sh; } |
    env UV_UNMANAGED_INSTALL="$work/uv" sh && PATH=$work/uv:$PATH && command -v uv >/dev/null
}
apt_venv() { # Ubuntu and Debian have a good Python without its venv
  export DEBIAN_FRONTEND=noninteractive
  local wait="-o DPkg::Lock::Timeout=300" # a fresh machine updates itself
  apt-get $wait update -q && apt-get $wait install -qy python3-venv && good_python
}
if ! command -v uv >/dev/null && ! good_python; then get_uv || apt_venv || fail "no Python 3.11 here, and no uv to bring one"; fi
if command -v uv >/dev/null; then
  uv venv --python '>=3.11' "$work/venv" || fail "uv made no venv"
  add() { uv pip install --python "$work/venv/bin/python" "$@" || fail "a package was not installed"; }
else
  python3 -m venv "$work/venv" || fail "python3 made no venv"
  add() { "$work/venv/bin/python" -m pip install "$@" || fail "a package was not installed"; }
fi
export PATH="$work/venv/bin:$PATH" VIRTUAL_ENV="$work/venv"
get blobs/studio_search-0.1.0-py3-none-any.whl "$work/"studio_search-0.1.0-py3-none-any.whl
add "$work/"studio_search-0.1.0-py3-none-any.whl'[ec2]'
up=$(cut -d. -f1 /proc/uptime)
left=$((ends - ${up:-0} - 120))
[ "$left" -gt 0 ] || fail "no time is left to work in"
studio worker s3://my-bucket/digits --name=digits-1a2b-w1 --idle=300s --lifetime "$left" &
worker=$!
if declare -F watch_machine >/dev/null; then
  { watch_machine && echo "studio: this machine is being taken away" && kill -TERM "$worker"; } &
fi
store_log
code=0
wait "$worker" || code=$?
while kill -0 "$worker" 2>/dev/null; do # a signal ends `wait`, and the worker is still tidying up
  code=0
  wait "$worker" || code=$?
done
exit "$code"
