"""Settings of `gcloud` and Google's libraries that Studio uses, too: project, region, zone, addresses of services.

Each is a variable, such as CLOUDSDK_COMPUTE_ZONE, or in the active configuration of `gcloud`:
~/.config/gcloud/configurations/config_default, or where CLOUDSDK_CONFIG and CLOUDSDK_ACTIVE_CONFIG_NAME point.
"""

import configparser
import contextlib
import os
import re
from pathlib import Path

DEFAULT_REGION = "us-central1"


def setting(section: str, name: str) -> str:
    """Return a setting, or "" if it is not set."""
    return os.environ.get(f"CLOUDSDK_{section}_{name}".upper()) or _configured(section, name)


def region_and_zone(region: str | None) -> tuple[str, str]:
    """Return the region of machines, and its preferred zone; empty: any."""
    zone = setting("compute", "zone")
    region = region or setting("compute", "region") or zone.rpartition("-")[0] or DEFAULT_REGION
    return region, zone if zone.startswith(f"{region}-") else ""


def endpoint(service: str) -> str:
    """Return `https://host` or `http://host:port` of `compute` or `cloudbilling`; empty: Google's own.

    CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE holds the value that `gcloud` expects, which ends with compute/v1/.
    """
    return re.sub(r"/(compute/)?v1/?$", "", setting("api_endpoint_overrides", service)).rstrip("/")


def is_emulator(address: str) -> bool:
    """Return whether the address is an emulator (plain HTTP), which gets no credentials."""
    return address.startswith("http://")


def _configured(section: str, name: str) -> str:
    folder = Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser()
    active = os.environ.get("CLOUDSDK_ACTIVE_CONFIG_NAME", "")
    parser = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(OSError, UnicodeDecodeError, configparser.Error):
        active = active or (folder / "active_config").read_text().strip()
    with contextlib.suppress(OSError, UnicodeDecodeError, configparser.Error):
        parser.read_string((folder / "configurations" / f"config_{active or 'default'}").read_text())
    return parser.get(section, name, fallback="")
