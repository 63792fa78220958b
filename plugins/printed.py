"""Metrics that the script prints: `--metric=accuracy:max` reads `Epoch 3, accuracy: 0.93`, whatever surrounds it.

    NAME            each line of the output, after TensorBoard and files
    printed:NAME    only the output

A name is a whole key: `loss` is neither `val_loss` nor `val loss`. Separators of words (blanks, `_` or `-`) do not
matter, nor does case if no key has it exactly. If no key is the same, the only key that ends with the name is taken
(`Average loss`), or that has it as subject (`Accuracy of the model`); that is decided when the run ends.
"""

import os
import re

from studio.experiment import ANY, Metric, Report, Run
from studio.hookspecs import hookimpl
from studio.interfaces import MetricReader
from studio.plugins.printed_lines import LOOSE, closeness, fraction_of, is_headline, pairs, step_of, words
from studio.system.tail import Lines, Sample, soon, thinned
from studio.text import without_escapes

LONGEST_LINE = 1 << 14  # bytes; a longer line is not for people
MOST_SHAPES = 4_000
MOST_NAMES = 1_000
_NUMBERS = re.compile(rb"[\d.+\- ]+")
_ENDS = re.compile(rb"[\r\x08\v\f]")
_HEADLINE = re.compile(rb"(?i)epoch|step|iter|round|episode|update|generation|game")
_LETTERS = re.compile(r"[a-z]+")


@hookimpl(trylast=True)
def studio_open_metric(metric: Metric, run: Run) -> MetricReader | None:
    prefix, colon, name = metric.name.partition(":")
    if not colon:
        prefix, name = "printed", metric.name
    if prefix != "printed" or not name.strip() or metric.name == "fitness":
        return None
    return PrintedReader(name, run)


class PrintedReader(MetricReader):
    """Reads `name` from the output of `run`, stdout and stderr alike. `\\r` ends a line too, as progress bars use it."""

    source = "printed lines"
    precedence = 30

    def __init__(self, name: str, run: Run):
        self._name = name
        self._hint = _hint(name)
        self._lines = Lines(os.path.join(run.folder, "output.log"), ends=(b"\n", b"\r"))
        self._shapes: dict[bytes, bytes] = {}  # a line without its numbers -> the last such line
        self._dull: set[bytes] = set()  # shapes without the metric
        self._close, self._key = LOOSE, ""  # closeness and key of the reported values
        self._candidates: dict[tuple[str, ...], str] = {}  # loose keys by their words
        self._loose: list[Sample] = []  # values of the first candidate, until the run ends
        self._epoch: int | None = None  # of the last line that states only the progress

    @property
    def names(self) -> dict[str, float | None]:  # type: ignore[override]
        """Each key seen, as it can be typed, with its last value; those that the name may mean come first."""
        found: dict[str, float | None] = {"_".join(key.split()): None for key in self._candidates.values()}
        for line in self._shapes.values():
            for printed, value in pairs(line.decode(errors="replace")):
                key = "_".join(printed.split())
                if key in found or len(found) < MOST_NAMES:
                    found[key] = value
        return found

    def read(self) -> list[Report]:
        return self._read(last=False)

    def close(self) -> list[Report]:
        reports = self._read(last=True)
        if self._close < LOOSE or len(self._candidates) != 1:
            return reports
        self._key = next(iter(self._candidates.values()))
        return self._reports(self._loose)

    def _read(self, *, last: bool) -> list[Report]:
        values: list[Sample] = []
        for block in self._lines.read(last=last, until=soon()):
            text = _ENDS.sub(b"\n", without_escapes(block))
            lines, shapes = text.split(b"\n"), _NUMBERS.sub(b" ", text).split(b"\n")
            if self._hint in text.lower() or _HEADLINE.search(text):
                for shape, line in zip(shapes, lines, strict=True):
                    values = self._with_line(values, shape, line)
                values = thinned(values)
            self._note(shapes, lines)
        return self._reports(values)

    def _reports(self, values: list[Sample]) -> list[Report]:
        source = self.source if self._key == self._name else f"{self.source}, as {self._key!r}"
        return [Report(step, value, source=source) for step, value in values]

    def _with_line(self, values: list[Sample], shape: bytes, line: bytes) -> list[Sample]:
        """Return `values` with those of the metric in this line. A closer key discards the values of another."""
        if len(line) > LONGEST_LINE:
            return values
        if _HEADLINE.search(line) and is_headline(text := line.decode(errors="replace")):
            self._epoch = step_of(text)
            return values
        if self._hint not in line.lower() or shape in self._dull:
            return values
        text = line.decode(errors="replace")
        matched = False
        for key, value in pairs(text):
            close = closeness(key, self._name)
            matched = matched or close is not None
            if close is None or (close >= self._close and close < LOOSE and key != self._key):
                continue
            if close == LOOSE:
                self._hold(key, (self._step(text), value))
                continue
            if close < self._close:
                self._close, self._key, values = close, key, []
            values.append((self._step(text), value))
        if not matched and len(self._dull) < MOST_SHAPES:
            self._dull.add(shape)
        return values

    def _hold(self, key: str, value: Sample) -> None:
        if self._close < LOOSE:
            return
        self._candidates.setdefault(tuple(map(str.casefold, words(key))), key)
        if len(self._candidates) == 1:
            self._loose.append(value)
            self._loose = thinned(self._loose)

    def _step(self, text: str) -> int | None:
        step = step_of(text)
        if step is None:
            step = self._epoch
        return fraction_of(text) if step is None else step

    def _note(self, shapes: list[bytes], lines: list[bytes]) -> None:
        new = zip(shapes, lines, strict=True)
        self._shapes.update((shape, line) for shape, line in new if shape != line and len(line) <= LONGEST_LINE)
        if len(self._shapes) > MOST_SHAPES:
            for shape in list(self._shapes)[MOST_SHAPES // 2 : -MOST_SHAPES // 2]:
                del self._shapes[shape]


def _hint(name: str) -> bytes:
    """Return the last letters of the last word of `name`, which every line with it has; empty if they are not ASCII."""
    if name == ANY:
        return b"\n\n"  # no line has this
    letters = _LETTERS.findall(" ".join(words(name)).casefold())
    return letters[-1][-3:].encode() if letters and name.isascii() else b""
