"""Build a wheel of the running Studio from its own files, so that machines install exactly this version.

No package index is needed. The same files give the same bytes, so a bucket has it once, under the hash of its content.
"""

import base64
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from studio.backends.queue.bucket import Bucket
from studio.errors import BadInput

if TYPE_CHECKING:
    from importlib.metadata import Distribution

DISTRIBUTION = "studio-search"
PACKAGES = ("studio", "studio.plugins", "studio.optimizers", "studio.backends")  # each a folder in an editable install
WHEELS = "wheels/"
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
    for package in PACKAGES:
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
