"""The script that a machine runs when it starts, as pure text.

For images of Ubuntu or Debian, or any with bash, coreutils and python3. The experiments' Python is the image's if that
is 3.11 or newer and can make venvs; else the script installs uv, which installs one.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Template

from studio.backends.cloud.cloud import CloudDenied
from studio.backends.queue.launcher import shell_line
from studio.errors import BadInput

LARGEST = 16 * 1024  # bytes of user data that EC2 takes
LEAVING = 120  # seconds for a worker to release its jobs, and to upload its log and files
LOG_PART = 1_000_000  # last bytes of the boot log, which are uploaded
PACKAGES = "packages.txt"  # in the format of requirements.txt; a file, as the user's packages may hold a token
FILES = ("requirements.txt", "uv.lock", "pyproject.toml", PACKAGES)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Startup:
    """The parameters of the script. Keys are those of the search's bucket.

    arm       lines that come first: whatever happens below, this machine ends. They set `ends`: seconds of its uptime by
              which it does, or up to a minute before. They may define a shell function
              `watch_machine` that returns true when the machine is about to be preempted: the worker gets a SIGTERM
    end       the body of the shell function `end_machine`: how this machine ends itself now
    fetch     the body of the shell function `fetch KEY FILE`: a file from the bucket, with the machine's own account
    store     the body of the shell function `store FILE KEY`: a file into the bucket
    command   the worker's command, with {name} for its name; `--lifetime SECONDS` is added
    wheel     key of Studio's wheel in the bucket; extra: its extra for this cloud, such as ec2
    name      of the machine and its worker
    lifetime  seconds after which it ends in any case; its worker ends `LEAVING` before `ends`, or less if that is short
    files     keys of files to install from: requirements.txt, pyproject.toml, uv.lock, packages.txt
    user      key of the user's own script, which runs first
    """

    arm: str
    end: str
    fetch: str
    store: str
    command: Sequence[str]
    wheel: str
    extra: str
    name: str
    lifetime: int
    files: list[str] = field(default_factory=list)
    user: str | None = None


# Order matters: the end is armed before anything can fail, and the trap is set before anything can hang. The guard is
# for a bash that is killed and cannot run its trap. The worker is not run with `exec`, as the trap has to outlive it.
SCRIPT = Template(r"""#!/bin/bash
# Studio: the worker $name. Written by `studio run`; this machine ends by itself.
set -u
$arm
end_machine() {
$end
}
fetch() {
$fetch
}
store() {
$store
}
within() { # SECONDS COMMAND...: its exit code; a command that takes longer is ended
  "$${@:2}" & local job=$$!
  { sleep "$$1"; kill -KILL "$$job"; } >/dev/null 2>&1 & local clock=$$! # SIGTERM is ignored at the end
  disown "$$clock"
  local code=0
  wait "$$job" || code=$$?
  kill -KILL "$$clock" 2>/dev/null
  return "$$code"
}
get() { # KEY FILE: some keys hold the hash of their file
  local of=$${1%/*} try
  of=$${of##*/}
  for try in 1 2 3; do
    within 600 fetch "$$1" "$$2" || fail "cannot fetch $$1"
    if [[ ! $$of =~ ^[0-9a-f]{32}$$ || $$(sha256sum <"$$2") == "$$of"* ]]; then return; fi
  done
  fail "$$1 is damaged"
}
store_log() {
  tail -c $log_part "$$work/boot.log" >"$$work/boot.part"
  within 60 store "$$work/boot.part" $log_key || echo "studio: the boot log was not stored"
}
fail() {
  echo "studio: $$1"
  exit 1
}
finish() {
  local code=$$?
  trap - EXIT
  trap '' TERM INT HUP
  echo "studio: the end, with exit code $$code after $$SECONDS s"
  sleep 0.2 # for tee
  store_log
  end_machine
  exit "$$code"
}
worker=
leave() { if [ -n "$$worker" ]; then kill -TERM "$$worker"; else exit 143; fi; }
trap finish EXIT
trap leave TERM INT HUP
{ while kill -0 $$$$; do sleep 5; done; end_machine; } >/dev/null 2>&1 &

export HOME="$${HOME:-/root}" PYTHONUNBUFFERED=1 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
umask 077
work=$$HOME/studio-worker
rm -rf "$$work" && mkdir -p "$$work" && cd "$$work" || exit 1
exec > >(trap '' TERM INT HUP; exec tee -a "$$work/boot.log") 2>&1 # it outlives a signal to all
echo "studio: $name starts on $$(uname -sr) at $$(date -u +%FT%TZ)"
$user
good_python() { python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
get_uv() {
  { curl -LsSf --max-time 120 https://astral.sh/uv/install.sh || wget -qO- https://astral.sh/uv/install.sh; } |
    env UV_UNMANAGED_INSTALL="$$work/uv" sh && PATH=$$work/uv:$$PATH && command -v uv >/dev/null
}
apt_venv() { # Ubuntu and Debian have a good Python without its venv
  export DEBIAN_FRONTEND=noninteractive
  local wait="-o DPkg::Lock::Timeout=300" # a fresh machine updates itself
  apt-get $$wait update -q && apt-get $$wait install -qy python3-venv && good_python
}
if ! command -v uv >/dev/null && ! good_python; then get_uv || apt_venv || fail "no Python 3.11 here, and no uv to bring one"; fi
if command -v uv >/dev/null; then
  uv venv --python '>=3.11' "$$work/venv" || fail "uv made no venv"
  add() { uv pip install --python "$$work/venv/bin/python" "$$@" || fail "a package was not installed"; }
else
  python3 -m venv "$$work/venv" || fail "python3 made no venv"
  add() { "$$work/venv/bin/python" -m pip install "$$@" || fail "a package was not installed"; }
fi
export PATH="$$work/venv/bin:$$PATH" VIRTUAL_ENV="$$work/venv"
$install
up=$$(cut -d. -f1 /proc/uptime)
left=$$((ends - $${up:-0} - $leaving))
[ "$$left" -gt 0 ] || fail "no time is left to work in"
$command --lifetime "$$left" &
worker=$$!
if declare -F watch_machine >/dev/null; then
  { watch_machine && echo "studio: this machine is being taken away" && kill -TERM "$$worker"; } &
fi
store_log
code=0
wait "$$worker" || code=$$?
while kill -0 "$$worker" 2>/dev/null; do # a signal ends `wait`, and the worker is still tidying up
  code=0
  wait "$$worker" || code=$$?
done
exit "$$code"
""")


def render(startup: Startup) -> str:
    """Return the script. Raises CloudDenied for one above 16 kB, BadInput for values that cannot be in a script."""
    _check(startup)
    text = SCRIPT.substitute(
        arm=startup.arm.strip("\n"),
        end=_body(startup.end),
        fetch=_body(startup.fetch),
        store=_body(startup.store),
        command=shell_line(startup.command, startup.name),
        name=startup.name,
        leaving=min(LEAVING, startup.lifetime // 4),
        log_part=LOG_PART,
        log_key=shlex.quote(log_key(startup.name)),
        user=_user(startup),
        install="\n".join(_install(startup)),
    )
    size = len(text.encode())
    if size > LARGEST:
        raise CloudDenied(f"the start-up script has {size} bytes, and a machine takes {LARGEST}: give shorter names")
    return text


def log_key(name: str) -> str:
    """Return the key of the boot log of the machine `name` in the bucket."""
    return f"boot/{name}.log"


def _body(text: str) -> str:
    return text.strip("\n") or "  :"


def _user(startup: Startup) -> str:
    if startup.user is None:
        return ""
    return (
        f'get {shlex.quote(startup.user)} "$work/user-script" && chmod +x "$work/user-script"\n'
        '"$work/user-script" || fail "the user\'s start-up script ended with exit code $?"'
    )


def _install(startup: Startup) -> list[str]:
    """Return the lines that install packages: Studio first, so that the project's pins have the last word."""
    wheel = shlex.quote(_base(startup.wheel))
    extra = f"[{startup.extra}]" if startup.extra else ""
    lines = [f'get {shlex.quote(startup.wheel)} "$work/"{wheel}', f'add "$work/"{wheel}{shlex.quote(extra)}']
    keys = {_base(key): key for key in startup.files}
    for name in (name for name in FILES if name in keys):
        lines.append(f'get {shlex.quote(keys[name])} "$work/{name}"')
    if "requirements.txt" in keys:
        lines.append('add -r "$work/requirements.txt"')
    if "uv.lock" in keys:
        lines += [
            "command -v uv >/dev/null || add uv",
            'uv export --frozen --no-emit-project --no-dev --directory "$work" -qo "$work/locked.txt"'
            ' || fail "uv.lock cannot be read"',
            'add -r "$work/locked.txt"',
        ]
    elif "pyproject.toml" in keys:
        lines += [
            '"$work/venv/bin/python" -c \'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))'
            '.get("project", {}).get("dependencies", []), sep="\\n")\' >"$work/project.txt"'
            ' || fail "pyproject.toml cannot be read"',
            'add -r "$work/project.txt"',
        ]
    if PACKAGES in keys:
        lines.append(f'add -r "$work/{PACKAGES}"')
    return lines


def _check(startup: Startup) -> None:
    if not _NAME.fullmatch(startup.name):
        raise BadInput(f"{startup.name!r} cannot name a machine: lower case letters, digits and -, at most 60")
    if startup.extra and not re.fullmatch(r"[a-z0-9]+", startup.extra):
        raise BadInput(f"{startup.extra!r} cannot be an extra of the wheel: lower case letters and digits")
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+\.whl", _base(startup.wheel)):
        raise BadInput(f"{startup.wheel!r} is not a wheel: its name ends with .whl")
    names = [_base(key) for key in startup.files]
    if unknown := sorted(set(names) - set(FILES)):
        raise BadInput(f"{unknown[0]!r} cannot be installed from: give {', '.join(FILES)}")
    if len(set(names)) < len(names):
        raise BadInput(f"two files of the same name to install from: {', '.join(startup.files)}")
    if "uv.lock" in names and "pyproject.toml" not in names:
        raise BadInput("uv.lock needs the pyproject.toml beside it")
    for text in (*startup.command, startup.wheel, startup.user or "", *startup.files):
        if _CONTROL.search(text):
            raise BadInput(f"{text!r} has a line break or another control character in it")
    for key in (startup.wheel, *startup.files, *([startup.user] if startup.user is not None else [])):
        if not key or key.startswith(("/", "-")):
            raise BadInput(f"{key!r} is not a key of a bucket")
    if startup.lifetime < 60:
        raise BadInput(f"lifetime is {startup.lifetime}: at least 60")


def _base(key: str) -> str:
    return key.rsplit("/", 1)[-1]
