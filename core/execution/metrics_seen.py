"""All metrics that an ended run had, and what to type to search by one of them."""

import difflib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from studio.experiment import ANY, FITNESS, Metric, Run
from studio.host import Host
from studio.interfaces import MetricReader
from studio.metric_sources import FirstOf

CLOSE = 0.75  # how like another a name is that is misspelt
MOST_NAMES = 20  # in an error
MOST_OPTIONS = 6  # suggested in an error
# Words in names of metrics that are minimised, that are maximised, and in names of numbers that are not results.
_SMALL = re.compile(
    r"(?i)(?:loss|err|error|m?sle|r?mse|mae|mape|nll|perplexity|ppl|bp[cb]|wer|cer|fid|log_?loss|deviance|cost|regret|l1|l2"
    r"|entropy|kl|distance|divergence|residual|bic|aic)s?"
)
_LARGE = re.compile(
    r"(?i)(?:acc|accuracy|auc|roc|f1|r2|score|reward|return|map|ap|map\d+|bleu|rouge\w*|precision|recall|iou|miou|dice|psnr"
    r"|ssim|ndcg|mrr|fitness|top\d|win|success|sharpe|likelihood|elbo|hits?|correlation|kappa|mcc|specificity|sensitivity)s?"
)
_OFFER = re.compile(r"""'--metric=(?:[^']|'"'"')+'|--metric=[^\s,;?']+""")
_SEEN = re.compile(r"\bseen(?: elsewhere)?: (.+)")
_NO_RESULT = re.compile(
    r"(?i)(?:epochs?|steps?|iter\w*|batch\w*|lr|learning|time|seconds?|sec|ms|eta|elapsed|seed|version|num|params?|tokens?|tok"
    r"|memory|mem|gpu|cuda|cpu|samples?|size|hours?|minutes?|runtime|global|flos|py|fps|norm|std|width|height|port|pid|rank)"
)


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
    def option(self) -> str:
        """The option to type to search by this metric."""
        name = f"printed:{self.name}" if self.name == FITNESS.name else self.name
        return shlex.quote(f"--metric={name}:{self.mode or 'max'}")

    def __str__(self) -> str:
        value = "" if self.value is None else f" {self.value:.6g}"
        return f"{self.name}{value} ({self.source or 'its files'}): {self.option}"


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


def _words(name: str) -> list[str]:
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("R²", "R2").replace("R^2", "R2"))
    return [word for word in re.split(r"[\W_]+", plain) if word]


def likely_mode(name: str) -> str:
    """Return "min" or "max", whichever is better, by the last word of the name that tells; empty if none does."""
    for word in reversed(_words(name)):
        if _LARGE.fullmatch(word):
            return "max"
        if _SMALL.fullmatch(word) or re.search(r"(?i)loss\Z|error\Z", word):
            return "min"
    return ""


def result_rank(name: str) -> int:
    """Return 0 for what looks like a result on held-out data, then other results, unknown names, and settings."""
    words = [word.casefold() for word in _words(name)]
    if likely_mode(name):
        return 0 if {"val", "valid", "validation", "test", "eval", "cv"} & set(words) else 2 if "train" in words else 1
    return 4 if any(map(_NO_RESULT.fullmatch, words)) else 3


def why_missing(run: Run, reader: MetricReader | None, host: Host | None) -> str:
    """Return why a run with exit code 0 has no fitness, with the metrics that it had instead.

    `host` opens the other readers; without it only `reader` is asked.
    """
    name = run.metric.name
    own = [] if name == FITNESS.name else _close_first(_names_of(reader) if reader else {}, name)[:MOST_NAMES]
    elsewhere = seen_metrics(run, host) if host is not None and not own else []
    results = [seen for seen in elsewhere if result_rank(seen.name) < 3] or elsewhere
    offered = ", ".join(map(str, results[:MOST_OPTIONS]))
    if name == FITNESS.name:
        near = next((seen for seen in elsewhere if "fitness" in seen.name.casefold()), None)
        text = "printed no line `fitness: NUMBER`"
        if near is not None:
            return f"{text}, on a line of its own; {near.name!r} was seen: {near.option} reads it"
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
    results = sorted((name for name in seen[1].split(", ") if likely_mode(name)), key=result_rank) if seen else []
    option = offer[0] if offer else Seen(results[0], "", None, likely_mode(results[0])).option if results else ""
    return "".join(shlex.split(option)).removeprefix("--metric=")


def _close_first(names: Iterable[str], name: str) -> list[str]:
    """Return the names, those with the last word of `name` first, each part in order."""
    word = (_words(name.casefold()) or [""])[-1]
    return sorted(names, key=lambda one: (word not in one.casefold(), one))
