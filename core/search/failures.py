"""When a search should stop because nothing works any more, and what may help."""

import re
from collections import Counter, deque
from pathlib import Path

from studio.experiment import Experiment

FIRST = 5  # that many fail and nothing ever completed
IN_A_ROW = 20  # or that many fail one after the other
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


class FailureWatch:
    """`learns`: without fitness the search can find nothing."""

    def __init__(self, learns: bool) -> None:
        self._learns = learns
        self._reasons: deque[str] = deque(maxlen=IN_A_ROW)
        self.any_completed = False
        self._advised = False

    def advice(self, experiment: Experiment, python: str, source: Path) -> str:
        """Once, while nothing completed: what to type where `python`, which ran the script, has not the packages of the
        user; empty for any other failure, and for a module that lies in `source`."""
        missing = _MISSING.search(experiment.reason)
        if missing is None or self._advised or self.any_completed:
            return ""
        top = missing[1].partition(".")[0]
        if (source / top).is_dir() or (source / f"{top}.py").is_file():
            return ""
        self._advised = True
        if not Path(python).name.startswith("python"):
            return f"{python} has no module {missing[1]!r}; write the path of the one that has it"
        return f"{python} has no module {missing[1]!r}; name the Python that has it: --python PATH"

    def hopeless(self, experiment: Experiment, *, without_metric: bool = False) -> str:
        """Take note of an experiment that ended; the word to the user when the search should be given up, else empty.
        `without_metric`: it ended well and had no value of the metric at all."""
        if experiment.status == "completed":
            self.any_completed = True
            self._reasons.clear()
        elif experiment.status == "failed":
            self._reasons.append(experiment.reason)
            if without_metric and self._learns and not self.any_completed:
                return f"giving up: experiment {experiment.number} ended well without a value to learn from: {experiment.reason}"
        if len(self._reasons) < (IN_A_ROW if self.any_completed else FIRST):
            return ""
        reason, often = Counter(self._reasons).most_common(1)[0]
        return f"giving up: {len(self._reasons)} experiments failed one after the other, {often} of them with: {reason}"
