"""Backend `folder`: experiments run by workers on any machine that sees one folder, such as a network share.

studio worker /shared/dir                                   # on each machine, as often as wanted
studio run --backend=folder:/shared/dir --num-workers=8 …   # on one of them
"""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar

from studio.backends.queue.backend import BucketBackend
from studio.backends.queue.bucket_url import open_to_use, shared_place
from studio.backends.queue.leaving import call_home
from studio.backends.queue.shipping import QUEUE
from studio.errors import BadInput
from studio.hookspecs import hookimpl
from studio.options import option


class FolderBackend(BucketBackend):
    """Experiments in a folder, for workers that take them: `slots` at a time; how many run depends on the workers."""

    name = "folder"

    @dataclass(frozen=True)
    class Options(BucketBackend.Options):
        url: str = option(
            MISSING, "URL", "The folder, s3://NAME or gs://NAME that workers are started with.", parse=shared_place
        )

        after_colon: ClassVar[str | None] = "url"

    def place(self) -> str:
        return f"{self.name}:{self.options.url}"

    def open(self, project: Path) -> None:
        self._project, place = project, self.options.url
        if "://" not in place and not (project / QUEUE).exists():
            _check_apart(Path(place))
        self.use(open_to_use(place))

    def migrate(self, unfinished: Sequence[tuple[int, int]]) -> None:
        """End the search's jobs and fetch finished results: the search continues elsewhere."""
        try:
            call_home(self.bucket, self._project)
        finally:
            self.close()


def _check_apart(place: Path) -> None:
    """Raise BadInput if the working directory, which is copied for each experiment, is in the folder."""
    here = Path.cwd().resolve()
    if place.resolve() in (here, *here.parents):
        raise BadInput(
            f"--backend=folder:{place}: the working directory {here} is in it; name another folder, such as /shared/dir"
        )


@hookimpl
def studio_backends() -> list[Any]:
    return [FolderBackend]
