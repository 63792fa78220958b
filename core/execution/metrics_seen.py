"""All metrics that an ended run had, and what to type to search by one of them."""

import difflib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from studio.execution.metric_names import TRAINING, UNKNOWN, likely_mode, result_rank, standing, words
from studio.experiment import ANY, FITNESS, Metric, Run
from studio.host import Host
from studio.interfaces import MetricReader
from studio.metric_sources import FirstOf

CLOSE = 0.75  # how like another a name is that is misspelt
MOST_NAMES = 20  # in an error
MOST_OPTIONS = 6  # suggested in an error
_OFFER = re.compile(r"""'--metric=(?:[^']|'"'"')+'|--metric=[^\s,;?']+""")
_SEEN = re.compile(r"\bseen(?: elsewhere)?: (.+)")


@dataclass(frozen=True)
class Seen:
    """A metric that a run had.

    source  where it was read
    value   the last one, if its reader keeps it
    mode    "min" or "max", whichever is better; "" if the name does not tell
    """

    name: str
    source: str
    value: float | None
    mode: str

    @property
    def sure(self) -> bool:
        """True if the name tells that it is a result, and which direction is better."""
        return bool(self.mode) and standing(self.name) <= TRAINING

    @property
    def options(self) -> list[str]:
        """The options to type to search by this metric: both directions where the name does not tell."""
        name = f"printed:{self.name}" if self.name == FITNESS.name else self.name
        return [shlex.quote(f"--metric={name}:{mode}") for mode in ([self.mode] if self.mode else ["max", "min"])]

    def __str__(self) -> str:
        value = "" if self.value is None else f" {self.value:.6g}"
        return f"{self.name}{value} ({self.source or 'its files'}): {' or '.join(self.options)}"


def seen_metrics(run: Run, host: Host) -> list[Seen]:
    """Return all metrics in the files of an ended run, those that look like results first; empty if no plugin reads any."""
    reader = host.open_metric(Metric(ANY), run)
    if reader is None:
        return []
    try:
        reader.close()
    except Exception:  # of one reader: list what the others saw
        pass
    found: dict[str, Seen] = {}
    for one in reader.readers if isinstance(reader, FirstOf) else [reader]:
        values = _names_of(one)
        for name in values:
            found.setdefault(name, Seen(name, one.source, values[name], likely_mode(name)))
    return sorted(found.values(), key=lambda seen: result_rank(seen.name))


def _names_of(reader: MetricReader) -> dict[str, float | None]:
    try:
        names = reader.names
        return dict(names) if isinstance(names, dict) else dict.fromkeys(map(str, names))
    except Exception:  # a plugin's reader may fail in any way, and these names are only a hint
        return {}


def why_missing(run: Run, reader: MetricReader | None, host: Host | None) -> str:
    """Return why a run with exit code 0 has no fitness, with the metrics that it had instead.

    `host` opens the other readers; without it only `reader` is asked.
    """
    name = run.metric.name
    own = [] if name == FITNESS.name else _close_first(_names_of(reader) if reader else {}, name)[:MOST_NAMES]
    elsewhere = seen_metrics(run, host) if host is not None and not own else []
    results = [seen for seen in elsewhere if standing(seen.name) < UNKNOWN] or elsewhere
    offered = ", ".join(map(str, results[:MOST_OPTIONS]))
    if name == FITNESS.name:
        near = next((seen for seen in elsewhere if "fitness" in seen.name.casefold()), None)
        text = "printed no line `fitness: NUMBER`"
        if near is not None:
            return f"{text}, on a line of its own; {near.name!r} was seen: {near.options[0]} reads it"
        return f"{text}; seen: {offered}" if offered else text
    text = f"metric {name!r} never came; "
    if own:
        return text + _meant(run.metric, own) + f"seen: {', '.join(own)}"
    return text + (f"seen elsewhere: {offered}" if offered else "no metric was logged")


def _meant(metric: Metric, names: Iterable[str]) -> str:
    """Return `did you mean --metric=val_loss:min? ` for the one of `names` that is a near miss; empty if none is."""
    source, _, name = metric.name.rpartition(":")
    ends = {each.rpartition(":")[2]: each for each in names if each.rpartition(":")[0] == source}
    close = difflib.get_close_matches(name, ends, n=1, cutoff=CLOSE)
    mode = "" if metric.mode == "last" else f":{metric.mode}"
    return f"did you mean {shlex.quote(f'--metric={ends[close[0]]}{mode}')}? " if close else ""


def names_others(reason: str) -> bool:
    """Return whether the reason of a run without its metric names others that it had."""
    return _SEEN.search(reason) is not None


def metric_to_take(reason: str) -> str:
    """Return the metric of the first option that the reason of a run without a fitness offers, else the likeliest result of
    those that it names; empty if there is none."""
    offer, seen = _OFFER.search(reason), _SEEN.search(reason)
    if offer:
        option = "" if reason[offer.end() :].startswith(" or ") else offer[0]  # of an unknown direction
    else:
        found = [Seen(name, "", None, likely_mode(name)) for name in (seen[1].split(", ") if seen else [])]
        results = sorted((one for one in found if one.sure), key=lambda one: result_rank(one.name))
        option = results[0].options[0] if results else ""
    return "".join(shlex.split(option)).removeprefix("--metric=")


def _close_first(names: Iterable[str], name: str) -> list[str]:
    """Return the names, those with the last word of `name` first, each part in order."""
    word = (words(name) or [""])[-1]
    return sorted(names, key=lambda one: (word not in one.casefold(), one))
