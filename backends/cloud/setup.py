"""`studio cloud setup`: what an account needs, as steps that are shown before they are done.

A step counts as done if what exists is as it should be, so the command may be repeated at any time, and corrects what was
changed.
"""

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from studio.project.paths import studio_home
from studio.system.files import write_json

PREFIX = "search"  # prefix of all keys that machines may use in a bucket
KEPT = 30  # days that the bucket keeps files of searches


@dataclass(frozen=True)
class Step:
    """A step of the setup. `text` shows all that would be sent."""

    title: str
    text: str
    is_done: Callable[[], bool]
    do: Callable[[], None]


class Setup(ABC):
    """The setup of one cloud.

    bucket    URL of the bucket shared by machines and searches, as `--bucket` takes it
    account   identity of machines
    policies  titles and texts of the minimal permissions of the driver and the machines
    steps     in their order
    template  the same as a text for an administrator, who runs it instead
    """

    cloud: str
    bucket: str
    account: str
    policies: list[tuple[str, str]]
    steps: list[Step]
    template: str

    @abstractmethod
    def checks(self) -> Iterator[str]:
        """Yield one line for each check. Raises `CloudError` if there is no account to set up."""

    def remember(self) -> None:
        """Record bucket and account on this computer, for later searches."""
        folder = studio_home() / "cloud"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{self.cloud}.json", {"bucket": self.bucket, "account": self.account})


def remembered(cloud: str) -> dict[str, Any]:
    """Return the bucket and the account that `studio cloud setup` recorded, or {}."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((studio_home() / "cloud" / f"{cloud}.json").read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}
