#!/bin/bash
# Studio: the worker digits-1a2b-w1. Written by `studio run`; this machine ends by itself.
set -u
sudo-arm-it
end_machine() {
  end-it
}
fetch() {
  fetch-it "$1" "$2"
}
store() {
  store-it "$1" "$2"
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
get 'blobs/it'"'"'s mine.sh' "$work/user-script" && chmod +x "$work/user-script"
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
get blobs/studio_search-0.1.0-py3-none-any.whl "$work/"studio_search-0.1.0-py3-none-any.whl
add "$work/"studio_search-0.1.0-py3-none-any.whl''
get blobs/1/requirements.txt "$work/requirements.txt"
get blobs/2/uv.lock "$work/uv.lock"
get blobs/3/pyproject.toml "$work/pyproject.toml"
get blobs/4/packages.txt "$work/packages.txt"
add -r "$work/requirements.txt"
command -v uv >/dev/null || add uv
uv export --frozen --no-emit-project --no-dev --directory "$work" -qo "$work/locked.txt" || fail "uv.lock cannot be read"
add -r "$work/locked.txt"
add -r "$work/packages.txt"
up=$(cut -d. -f1 /proc/uptime)
left=$((ends - ${up:-0} - 120))
[ "$left" -gt 0 ] || fail "no time is left to work in"
studio worker s3://my-bucket/digits --name=digits-1a2b-w1 --idle=300s --slots=4 --lifetime "$left" &
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
