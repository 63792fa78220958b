"""`folder`: experiments run by workers on any machine that sees one folder, such as a network share.

studio worker /shared/dir                                   # on each machine, as often as wanted
studio run --backend=folder:/shared/dir --num-workers=8 …   # on one of them
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.backends.queue.backend import BucketBackend
from studio.backends.queue.bucket import PASSING, Bucket, CredentialsMissing
from studio.backends.queue.bucket_url import open_bucket
from studio.backends.queue.leaving import call_home
from studio.backends.queue.shipping import QUEUE
from studio.errors import BadInput
from studio.hookspecs import hookimpl


class FolderBackend(BucketBackend):
    """Experiments in a folder, for workers that take them: `slots` at a time; how many run depends on the workers.

    url  a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX: whatever `studio worker` is started with. `project` (its
         folder) and `notice` come from Studio
    """

    name = "folder"

    def __init__(
        self, *, slots: int, url: str, project: Path | None = None, notice: Callable[[str], None] | None = None
    ):
        place = os.path.expanduser(url)
        if "://" not in place and not os.path.isabs(place):
            raise BadInput(
                f"--backend=folder:{url}: write the whole path, {os.path.abspath(place)}, as workers need it"
            )
        if "://" not in place and not (project and (project / QUEUE).exists()):
            _check_apart(Path(place))
        bucket = _open(place)
        super().__init__(slots=slots, bucket=bucket, look=bucket.driver_look, notice=notice)
        self._project = project

    def leave(self) -> None:
        """The search goes on elsewhere: workers end what they have of it, and what is finished comes home."""
        try:
            if self._project is not None:
                call_home(self.bucket, self._project)
        finally:
            self.close()


def _open(place: str) -> Bucket:
    """BadInput without any credentials: that is no outage, and nothing is waited for."""
    try:
        bucket = open_bucket(place, create=True)
        bucket.get("stop")  # whatever is there: an answer
    except CredentialsMissing as error:
        raise BadInput(str(error)) from error
    except PASSING:
        pass  # the search says so, and asks again
    return bucket


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
