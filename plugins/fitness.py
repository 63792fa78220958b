"""The metric `fitness`: lines such as `fitness: 0.93` in the script's output."""

import re

from studio.experiment import Metric, Run
from studio.hookspecs import hookimpl
from studio.interfaces import MetricReader
from studio.plugins.output_reader import OutputReader
from studio.system.tail import Sample
from studio.text import without_escapes

# Begins with a fixed byte, so that the search jumps from line to line. No digit can be matched in two ways, so that a
# line of 60,000 digits fails quickly. Matches are short, so that no such line is lost as too long.
_LINE = re.compile(
    rb"\n[ \t\v\f]{0,500}fitness:[ \t\v\f]{0,500}"
    rb"([+-]?(?:\d{1,500}(?:\.\d{0,500})?(?:e[+-]?\d{1,500})?|\.\d{1,500}(?:e[+-]?\d{1,500})?|nan|inf(?:inity)?))"
    rb"[ \t\v\f]{0,500}(?=\n|\Z)"
)


@hookimpl(trylast=True)
def studio_open_metric(metric: Metric, run: Run) -> MetricReader | None:
    return FitnessReader(run) if metric.name == "fitness" else None


class FitnessReader(OutputReader):
    """Reads `fitness: NUMBER` lines from the output of `run`, stdout and stderr alike. The step counts them from 1.

    The word may be in any case; the number is one that float() takes, without underscores; the line has nothing else but
    blanks and colours. `\\r` ends a line too, as progress bars use it.
    """

    def __init__(self, run: Run):
        super().__init__(run)
        self._count = 0

    def _values(self, block: bytes) -> list[Sample]:
        found = list(enumerate(fitness_values(block), self._count + 1))
        self._count += len(found)
        if found:
            self.names = ("fitness",)
        return found  # type: ignore[return-value]


def fitness_values(block: bytes) -> list[float]:
    """Return the values of the fitness lines in a block of whole lines."""
    text = without_escapes(block).lower()
    if b"fitness" not in text:  # with lower(), seven times as fast as a regular expression that ignores case
        return []
    return list(map(float, _LINE.findall(b"\n" + text.replace(b"\r", b"\n"))))
