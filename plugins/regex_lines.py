"""The metric `regex:PATTERN`: a number in each printed line that PATTERN finds, in its group `value`, its first group or whole.

--metric='regex:score=(\\S+) after:max'        a group `(?P<step>\\d+)` is the step
"""

import importlib
import re
import time
from typing import Any

from studio.errors import BadInput, StudioError
from studio.experiment import Metric, Run
from studio.hookspecs import hookimpl
from studio.interfaces import MetricReader
from studio.plugins.output_reader import OutputReader
from studio.system.tail import Sample
from studio.text import without_escapes

# The parser of patterns, for which `re` has no public name: one pattern could otherwise block a search for ever.
parser: Any = importlib.import_module("re._parser")
constants: Any = importlib.import_module("re._constants")
LONGEST_LINE = 1_000  # characters: a pattern may take quadratic time, and more
MOST_REPEATS = 3  # unbounded ones in a pattern
SLOWEST = 2.0  # seconds for one line
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf(?:inity)?)")


@hookimpl(trylast=True)
def studio_open_metric(metric: Metric, run: Run) -> MetricReader | None:
    prefix, colon, pattern = metric.name.partition(":")
    if prefix != "regex" or not colon:
        return None
    return RegexReader(_compiled(pattern), run)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadInput(f"--metric 'regex:{pattern}': {error}; write for example 'regex:score=(\\S+)'") from None
    if not pattern:
        raise BadInput("--metric 'regex:' has no pattern; write for example 'regex:score=(\\S+)'")
    if all(operation in (constants.LITERAL, constants.AT) for operation, _ in parser.parse(pattern)):
        raise BadInput(
            f"--metric 'regex:{pattern}': this pattern finds its own text alone, and no number; write for example"
            f" 'regex:{pattern}\\D*(\\S+)', or without `regex:` the name of what is printed"
        )
    repeats = _endless(parser.parse(pattern), inside=False, pattern=pattern)
    if repeats > MOST_REPEATS:
        raise BadInput(
            f"--metric 'regex:{pattern}': {repeats} unbounded repeats may take for ever; leave `.*` out at both ends, or"
            " write {0,50} for *"
        )
    return compiled


def _endless(parsed: Any, *, inside: bool, pattern: str) -> int:
    """Count the unbounded repeats. Raises BadInput for one inside another: it may take for ever."""
    count = 0
    for operation, argument in parsed:
        if operation in (constants.MAX_REPEAT, constants.MIN_REPEAT):
            low, high, body = argument
            endless = high == constants.MAXREPEAT or high > 100
            if inside and (endless or low != high):
                raise BadInput(
                    f"--metric 'regex:{pattern}': a repeat inside a repeat may take for ever; write {{0,50}} without the inner one"
                )
            count += endless + _endless(body, inside=inside or endless, pattern=pattern)
        elif operation is constants.BRANCH:
            if inside:
                raise BadInput(f"--metric 'regex:{pattern}': `|` inside a repeat may take for ever; write [ab] for a|b")
            count += max((_endless(one, inside=inside, pattern=pattern) for one in argument[1]), default=0)
        elif isinstance(argument, tuple | list):
            for part in argument:
                if isinstance(part, parser.SubPattern):
                    count += _endless(part, inside=inside, pattern=pattern)
    return count


class RegexReader(OutputReader):
    """Reads the lines in which `pattern` is found, stdout and stderr alike. Longer lines are cut at 1,000 characters."""

    source = "printed lines"

    def __init__(self, pattern: re.Pattern[str], run: Run):
        super().__init__(run)
        self._pattern = pattern
        self.names: dict[str, float | None] = {}

    def _values(self, block: bytes) -> list[Sample]:
        lines = without_escapes(block).replace(b"\r", b"\n").split(b"\n")
        return [
            value
            for line in lines
            for value in self._of_line(line[: 4 * LONGEST_LINE].decode(errors="replace")[:LONGEST_LINE])
        ]

    def _of_line(self, line: str) -> list[Sample]:
        begun = time.thread_time()
        found = self._pattern.search(line)
        if time.thread_time() - begun > SLOWEST:
            raise StudioError(
                f"the pattern {self._pattern.pattern!r} took {time.thread_time() - begun:.0f} s for one line"
            )
        if found is None:
            return []
        groups, named = found.groupdict(), self._pattern.groupindex
        others = [index for index in range(1, self._pattern.groups + 1) if index != named.get("step")]
        text = found[named.get("value") or (others[0] if others else 0)] or ""
        number = _NUMBER.search(text)
        if number is None:
            return []
        value, step = float(number[0]), groups.get("step") or ""
        self.names[f"regex:{self._pattern.pattern}"] = value
        return [(int(step) if step.isdecimal() else None, value)]
