"""`folder`: experiments run by workers on any machine that sees one folder, such as a network share.

studio worker /shared/dir                                   # on each machine, as often as wanted
studio run --backend=folder:/shared/dir --num-workers=8 …   # on one of them
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar

from studio.backends.queue.backend import BucketBackend
from studio.backends.queue.bucket_url import open_to_use
from studio.backends.queue.leaving import call_home
from studio.backends.queue.pool import whole_path
from studio.backends.queue.shipping import QUEUE
from studio.errors import BadInput
from studio.hookspecs import hookimpl
from studio.options import option


def _whole_path(given: str, flag: str) -> str:
    """A folder is kept with its whole path, as workers and `studio resume` need it."""
    if not given:
        raise BadInput("--backend=folder: names no folder; write --backend=folder:/shared/dir, or a bucket")
    return given if "://" in given else os.path.abspath(os.path.expanduser(given))


class FolderBackend(BucketBackend):
    """Experiments in a folder, for workers that take them: `slots` at a time; how many run depends on the workers.

    url  a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX: whatever `studio worker` is started with. `project` (its
         folder) and `notice` come from Studio
    """

    name = "folder"

    @dataclass(frozen=True)
    class Options(BucketBackend.Options):
        url: str = option(
            MISSING, "URL", "The folder, s3://NAME or gs://NAME that workers are started with.", parse=_whole_path
        )

        after_colon: ClassVar[str | None] = "url"

    def __init__(
        self, *, slots: int, url: str, project: Path | None = None, notice: Callable[[str], None] | None = None
    ):
        place = whole_path(url, self.name)
        if "://" not in place and not (project and (project / QUEUE).exists()):
            _check_apart(Path(place))
        bucket = open_to_use(place)
        super().__init__(slots=slots, bucket=bucket, look=bucket.driver_look, notice=notice)
        self._project = project

    def migrate(self, unfinished: Sequence[tuple[int, int]]) -> None:
        """The search goes on elsewhere: workers end what they have of it, and what is finished comes home."""
        try:
            if self._project is not None:
                call_home(self.bucket, self._project)
        finally:
            self.close()


def _check_apart(place: Path) -> None:
    """The working directory goes to each experiment: what workers write must not lie in it, nor around it."""
    here = Path.cwd().resolve()
    if place.resolve() in (here, *here.parents):
        raise BadInput(
            f"--backend=folder:{place}: the working directory {here} is in it; name another folder, such as /shared/dir"
        )


@hookimpl
def studio_backends() -> list[Any]:
    return [FolderBackend]
