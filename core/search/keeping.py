"""Which workspaces stay when their experiments have ended: `--keep all|best|none`."""

import contextlib
from pathlib import Path

from studio.experiment import Experiment
from studio.system.copying import remove_tree


class KeptWorkspaces:
    def __init__(self, keep: str):
        self._keep = keep
        self.best: Experiment | None = None  # whose workspace stays, under `best`

    def ended(self, experiment: Experiment, best: Experiment | None) -> None:
        """Remove what need not stay now that `experiment` has ended and `best` is the best."""
        drop: Experiment | None = experiment
        if self._keep == "best" and best is not None and best.number == experiment.number:
            drop, self.best = self.best, experiment
        if drop is not None and drop.folder is not None:
            self.remove(drop.folder)

    def remove(self, folder: str) -> None:
        """Remove the workspace of the attempt in `folder`, which can be the best no more."""
        if self._keep != "all":
            with contextlib.suppress(OSError):
                remove_tree(Path(folder) / "workspace")
