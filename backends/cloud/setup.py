"""`studio cloud setup`: what an account needs, as steps that are shown before they are done.

A step that was done is found done, so the command may be given again at any time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from studio.project.paths import studio_home
from studio.system.files import write_json

PREFIX = "search"  # of all keys: what machines may use of a bucket
KEPT = 30  # days that the bucket keeps what searches leave in it


@dataclass(frozen=True)
class Step:
    """`text` is all that would be sent, for a person to read."""

    title: str
    text: str
    is_done: Callable[[], bool]
    do: Callable[[], None]


class Setup(ABC):
    """Of one cloud.

    bucket    URL of what machines and searches share, as `--bucket` takes it
    account   what machines act as
    policies  titles and texts of what the driver and the machines must be allowed, and no more
    steps     in their order
    """

    cloud: str
    bucket: str
    account: str
    policies: list[tuple[str, str]]
    steps: list[Step]

    @abstractmethod
    def checks(self) -> Iterator[str]:
        """One line for each thing that was tried. Raises `CloudError` where there is no account to set up."""

    def remember(self) -> None:
        """For searches to come, on this computer."""
        folder = studio_home() / "cloud"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{self.cloud}.json", {"bucket": self.bucket, "account": self.account})
