"""Give up a search whose experiments fail, with advice on some failures."""

import re
from collections import Counter, deque
from pathlib import Path

from studio.execution.metrics_seen import names_others
from studio.experiment import Experiment

FIRST = 5  # failures in a row before any experiment completed
IN_A_ROW = 20  # failures in a row later
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


class FailureWatch:
    """Detector of searches that cannot succeed. `learns`: the search needs a fitness."""

    def __init__(self, learns: bool) -> None:
        self._learns = learns
        self._reasons: deque[str] = deque(maxlen=IN_A_ROW)
        self.any_completed = False
        self._advised = False

    def advice(self, experiment: Experiment, python: str, source: Path) -> str:
        """Return advice if `python`, which ran the script, lacks a package; else "".

        Given once, before any experiment completed; not for a module in `source`.
        """
        missing = _MISSING.search(experiment.reason)
        if missing is None or self._advised or self.any_completed:
            return ""
        top = missing[1].partition(".")[0]
        if (source / top).is_dir() or (source / f"{top}.py").is_file():
            return ""
        self._advised = True
        if not Path(python).name.startswith("python"):
            return f"{python} has no module {missing[1]!r}; write the path of an interpreter that has it"
        return (
            f"{python} has no module {missing[1]!r}; install its package: {python} -m pip install …,"
            " or give a Python that has it: --python PATH"
        )

    def add(self, experiment: Experiment, *, without_metric: bool = False) -> str:
        """Take an ended experiment into account; return a message if the search should give up, else an empty text.

        `without_metric`: its exit code was 0, but it had no value of the metric at all. One that had others does not have
        it with other values either: its name is misspelt.
        """
        if experiment.status == "completed":
            self.any_completed = True
            self._reasons.clear()
        elif experiment.status == "failed":
            self._reasons.append(experiment.reason)
            learns_nothing = without_metric and not self.any_completed
            if learns_nothing and (self._learns or names_others(experiment.reason)):
                return f"giving up: experiment {experiment.number} succeeded but has no metric: {experiment.reason}"
        missing = not self.any_completed and len(self._reasons) > 1 and _MISSING.search(experiment.reason)
        if missing and len({*self._reasons}) == 1:
            return f"giving up: no value of a hyperparameter changes this: {experiment.reason}"
        if len(self._reasons) < (IN_A_ROW if self.any_completed else FIRST):
            return ""
        reason, often = Counter(self._reasons).most_common(1)[0]
        return f"giving up: {len(self._reasons)} experiments failed in a row, {often} of them for the same reason: {reason}"
