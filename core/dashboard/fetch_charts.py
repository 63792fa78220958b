"""Fetch the chart libraries listed in `core/dashboard/vendor.lock.json` into `core/dashboard/vendor`.

Uses only the standard library, no Node. The registry is npm's own, or that of NPM_CONFIG_REGISTRY. A tarball with another
hash than in the lock file is refused; existing libraries are not fetched again.
"""

import base64
import hashlib
import io
import json
import os
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

DASHBOARD = Path(__file__).parent
REGISTRY = "https://registry.npmjs.org/"
LARGEST_TARBALL = 50_000_000  # bytes of a tarball


def fetch(lock: Path, vendor: Path, registry: str) -> None:
    """Unpack the files that `lock` names into `vendor`. SystemExit with one line on failure."""
    for name, entry in json.loads(lock.read_text()).items():
        mark = vendor / f"{name}.version"
        if mark.is_file() and mark.read_text() == entry["integrity"]:
            continue
        url = f"{registry.rstrip('/')}/{entry['tarball']}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                data = answer.read(LARGEST_TARBALL)
        except (OSError, urllib.error.URLError) as error:
            sys.exit(f"{url}: {error}; name another registry with NPM_CONFIG_REGISTRY=https://…")
        kind, _, expected = entry["integrity"].partition("-")
        if base64.b64encode(hashlib.new(kind, data).digest()).decode() != expected:
            sys.exit(f"{url}: its {kind} is not the one in {lock.name}; nothing was unpacked")
        vendor.mkdir(exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for target, member in entry["files"].items():
                found = archive.extractfile(member)
                if found is None:
                    sys.exit(f"{url}: {member} is not a file")
                (vendor / target).write_bytes(found.read())
        mark.write_text(entry["integrity"])
        sys.stdout.write(f"{name} {entry['version']}: {', '.join(entry['files'])}\n")


if __name__ == "__main__":
    fetch(DASHBOARD / "vendor.lock.json", DASHBOARD / "vendor", os.environ.get("NPM_CONFIG_REGISTRY") or REGISTRY)
