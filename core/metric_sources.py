"""A reader of a metric that several plugins read: the first of them that has values is used."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from studio.experiment import Report
from studio.interfaces import MetricReader


class FirstOf(MetricReader):
    """Reader that asks `readers` in their order of precedence and returns the reports of the first that has any.

    Each report names its source. A later source may be quicker, as printed lines are before an event file: its values
    count until an earlier source has some; the new source in the reports then makes the old ones void.
    """

    def __init__(self, readers: Sequence[MetricReader]):
        self.readers = sorted(readers, key=lambda reader: reader.precedence)
        self._answering = len(self.readers)
        self._problem: Exception | None = None

    @property
    def names(self) -> Collection[str]:  # type: ignore[override]
        found: dict[str, float | None] = {}
        for reader in self.readers:
            for name in reader.names:
                found.setdefault(name, reader.names[name] if isinstance(reader.names, dict) else None)
        return found

    def read(self) -> list[Report]:
        return self._read(last=False)

    def close(self) -> list[Report]:
        found = self._read(last=True)
        if self._answering == len(self.readers) and self._problem is not None:
            raise self._problem
        return found

    def _read(self, *, last: bool) -> list[Report]:
        for at, reader in enumerate(self.readers[: self._answering + 1]):
            try:
                found = reader.close() if last else reader.read()
            except Exception as error:  # of a plugin: others may have the metric
                if at == self._answering:  # the last value may be an old one
                    raise
                self._problem = error
                continue
            if found or at == self._answering:
                self._answering = at
                return [report if report.source else replace(report, source=reader.source) for report in found]
        return []
