"""The base of readers of a script's output."""

import os
from abc import abstractmethod

from studio.experiment import Report, Run
from studio.interfaces import MetricReader
from studio.system.tail import Lines, Sample, soon, thinned


class OutputReader(MetricReader):
    """A reader of values in the output of `run`, stdout and stderr alike, block by block of whole lines."""

    def __init__(self, run: Run):
        self._lines = Lines(os.path.join(run.folder, "output.log"), ends=(b"\n", b"\r"))

    def read(self) -> list[Report]:
        return self._read(last=False)

    def close(self) -> list[Report]:
        return self._read(last=True)

    def _read(self, *, last: bool) -> list[Report]:
        values: list[Sample] = []
        for block in self._lines.read(last=last, until=soon()):
            values += self._values(block)
            values = thinned(values)
        return [Report(step, value) for step, value in values]

    @abstractmethod
    def _values(self, block: bytes) -> list[Sample]:
        """Return steps and values in a block."""
