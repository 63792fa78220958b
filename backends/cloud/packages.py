"""The packages that machines install: the running Studio, as a wheel built from its own files, and those that a script needs.

No package index is needed for Studio. The same files give the same bytes, so a bucket has it once, under the hash of its
content.
"""

import base64
import hashlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from studio.backends.cloud.startup import PACKAGES
from studio.backends.queue.bucket import Bucket
from studio.errors import BadInput

if TYPE_CHECKING:
    from importlib.metadata import Distribution

DISTRIBUTION = "studio-search"
# Each a folder in an editable install.
OUR_PACKAGES = ("studio", "studio.plugins", "studio.optimizers", "studio.backends")
WHEELS, SETUP = "wheels/", "setup/"  # prefixes of files that machines install
NOT_OURS = {"__pycache__", "node_modules"}  # `make ui` puts chart libraries into the latter
OLDEST = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold
ABOUT_THIS_INSTALL = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "WHEEL"}
TAG = "Wheel-Version: 1.0\nGenerator: studio\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def put_wheel(bucket: Bucket) -> str:
    """Upload the wheel, and return its key."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:32]
        key = f"{WHEELS}{digest}/{wheel.name}"
        bucket.upload(key, wheel)  # even if the bucket has it: files older than 30 days are deleted
    return key


def put_file(bucket: Bucket, path: Path, name: str = "") -> str:
    """Upload the file, even if the bucket has it: files older than 30 days are deleted there. Return its key."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    key = f"{SETUP}{digest}/{name or path.name}"
    bucket.upload(key, path)
    return key


def put_packages(bucket: Bucket, packages: list[str]) -> str:
    """Upload a requirements file with these packages and return its key. They may hold a token, so they go nowhere else."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, PACKAGES)
        file.write_text("".join(f"{package}\n" for package in packages), encoding="utf-8")
        return put_file(bucket, file)


def build(folder: Path) -> Path:
    """Build the wheel in `folder`. Raises BadInput if this Studio was never installed."""
    import zipfile

    found = _distribution()
    stem = f"{DISTRIBUTION.replace('-', '_')}-{found.version}"
    files = dict(_package_files(found))
    files |= {f"{stem}.dist-info/{name}": data for name, data in _metadata(found)}
    files[f"{stem}.dist-info/WHEEL"] = TAG.encode()
    files[f"{stem}.dist-info/RECORD"] = _record(files, f"{stem}.dist-info/RECORD")
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, OLDEST)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return wheel


def _distribution() -> "Distribution":
    import importlib.metadata  # this import takes as long as those of all plugins of a local search

    for found in importlib.metadata.distributions(name=DISTRIBUTION):
        if found.read_text("RECORD") is not None:  # an egg-info in the working directory has none
            return found
    raise BadInput("cloud machines get the running Studio, which was never installed: pip install -e FOLDER")


def _package_files(found: "Distribution") -> Iterator[tuple[str, bytes]]:
    """Yield the files of an installed wheel by its RECORD, or of an editable install by its source folders."""
    recorded = [file for file in found.files or () if file.parts[0] == "studio" and "__pycache__" not in file.parts]
    if recorded:
        for file in recorded:
            yield file.as_posix(), Path(str(file.locate())).read_bytes()
        return
    for package in OUR_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise BadInput(f"cloud machines get the running Studio, and its {package} was not found")
        root = Path(next(iter(spec.submodule_search_locations)))
        for where, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in NOT_OURS and not name.startswith(".")]
            for name in names:
                if not name.startswith(".") and not name.endswith((".pyc", ".orig", ".rej", ".swp", "~")):
                    path = Path(where) / name
                    inside = path.relative_to(root).as_posix()
                    yield f"{package.replace('.', '/')}/{inside}", path.read_bytes()


def _metadata(found: "Distribution") -> Iterator[tuple[str, bytes]]:
    for file in found.files or ():
        if len(file.parts) > 1 and file.parts[0].endswith(".dist-info") and file.name not in ABOUT_THIS_INSTALL:
            path = Path(str(file.locate()))
            if path.is_file():
                yield "/".join(file.parts[1:]), path.read_bytes()


def _record(files: dict[str, bytes], itself: str) -> bytes:
    lines = []
    for name in sorted(files):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(files[name])}\n")
    return "".join([*lines, f"{itself},,\n"]).encode()


def requirement_files(source: Path) -> list[Path]:
    """Return the files that list the packages of the script: requirements.txt, else pyproject.toml with or without uv.lock.

    Raises BadInput for a requirements.txt that names other files: machines do not have them when they install packages.
    """
    if (file := source / "requirements.txt").is_file():
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if is_local(line):
                raise BadInput(
                    f"{file}, line {number}: {line.strip()!r} is a file on this machine, and others install from "
                    "requirements.txt only: name packages there, or install it in a --user-startup-script"
                )
        return [file]
    if not (source / "pyproject.toml").is_file():
        return []
    return [path for name in ("pyproject.toml", "uv.lock") if (path := source / name).is_file()]


def is_local(requirement: str) -> bool:
    """Return whether a line of a requirements file names a file or folder: `-r other.txt`, `-e .`, `./pkg`, `a.whl`."""
    text = re.sub(r"(^|\s)#.*", "", requirement).strip()
    option = re.match(r"(-[rce]|--(requirement|constraint|editable))[\s=]*", text)
    text = text[option.end() :] if option else text
    if re.match(r"[\w+.-]+://", text) or (not option and text.startswith("-")):
        return text.startswith("file:")
    path = re.match(r"[.~]|[\w.-]*/|[^@;]*\.(whl|zip|tar\.gz)\s*(;|$)", text)
    return bool(option or path or re.search(r"\bfile:", text))
