#!/bin/bash
# Studio: the worker digits-2-w1. Written by `studio run`; this machine ends by itself.
set -u
google() {
  python3 - studio-test search/ "$@" <<'PYTHON'
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
PYTHON
}
delete_machine() { google end && sleep 120; shutdown -P now || poweroff -f; }
watch_machine() { google notice; }
up=$(cut -d. -f1 /proc/uptime)
ends=$((${up:-0} + 3600))
mark=${HOME:-/root}/.studio-boot boot=$(cat /proc/sys/kernel/random/boot_id)
if [ -e "$mark" ]; then
  id=$(google id)
  read -r at of <"$mark"
  if [ "${of:-$id}" = "${id:-$of}" ]; then # or one of them is not known
    [ "$at" = "$boot" ] || delete_machine
    exit
  fi
fi
{ sleep 3600; delete_machine; } >/dev/null 2>&1 &
echo "$boot $(google id)" >"$mark"
end_machine() {
  delete_machine
}
fetch() {
  google get "$1" "$2"
}
store() {
  google put "$1" "$2"
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
  within 60 store "$work/boot.part" boot/digits-2-w1.log || echo "studio: the boot log was not stored"
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
echo "studio: digits-2-w1 starts on $(uname -sr) at $(date -u +%FT%TZ)"
get files/user "$work/user-script" && chmod +x "$work/user-script"
"$work/user-script" || fail "the user's start-up script ended with exit code $?"
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
get wheels/studio_search-1.0-py3-none-any.whl "$work/"studio_search-1.0-py3-none-any.whl
add "$work/"studio_search-1.0-py3-none-any.whl'[gce]'
get files/requirements.txt "$work/requirements.txt"
add -r "$work/requirements.txt"
up=$(cut -d. -f1 /proc/uptime)
left=$((ends - ${up:-0} - 120))
[ "$left" -gt 0 ] || fail "no time is left to work in"
studio worker gs://studio-test/search --name=digits-2-w1 --idle=300s --slots=2 --lifetime "$left" &
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
