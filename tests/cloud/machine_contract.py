"""The contract of launchers, for machines of a simulated cloud."""

from studio.backends.cloud.plan import Wishes
from studio.host import create_host
from studio.interfaces import BackendContext
from studio.settings import Settings
from studio.testing import LauncherContract

WHEEL = "wheels/studio_search-1-py3-none-any.whl"


class MachineContract(LauncherContract):
    """Subclasses say `backend`, `machine_type` and, in `self.bucket`, the bucket's URL."""

    def launcher(self, folder):
        class Hasty(self.backend):
            @classmethod
            def pace(cls, seconds):
                return seconds / 20

        (folder / "project").mkdir(exist_ok=True)
        wishes = Wishes(bucket=self.bucket, machine_type=self.machine_type)
        backend = Hasty(wishes, BackendContext(Settings("train.py"), 2, folder, create_host(), print))
        backend.open(folder / "project")
        backend.bucket.put_if_absent(WHEEL, b"PK")
        backend._uploads = WHEEL, [], None
        return backend.launcher()
