"""Proposed ranges: a range for a place by its name and present value, and the places to search first.

Learning rates and the like span a decade on each side of their value, whole numbers a factor of four; flags have both
values, known families of names (optimizers, kernels) their members.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.settings import write_value
from studio.text import parse_literal

if TYPE_CHECKING:  # an option that `studio run` does not know needs a range for its value, and no parser
    from studio.script.places import Place
    from studio.script.places.place import Bounds

MOST_CHOICES = 10
MOST_SEARCHED = 5  # hyperparameters of a proposed command

# Names of hyperparameters, the most important first. Names are compared by words, so `--optim.weight-decay` matches.
KNOWN = (
    r"lr|lr0|rate|(base_|max_|init_|initial_)?learning_rate|eta|eta0|step_size|alpha|c|gamma|lambda|lam|reg|l1|l2",
    r"weight_decay|wd|dropout|p_?drop|momentum|beta1|beta2|reg_(alpha|lambda)|l1_ratio|penalty|tau|epsilon|temperature",
    r"hidden(_?(size|dim|units|layers?|layer_sizes))?|n_?hidden|width|units|layers|n_?layers?|num_layers|depth|max_depth"
    r"|num_leaves|n_?embd|n_?heads?|d_model|embed(ding)?_dim|latent(_dim)?|k|n_neighbors|n_components|rank",
    r"batch(_?size)?|bs|optimizer|optim|activation|kernel|solver|n_estimators|num_rounds?|subsample|colsample_bytree"
    r"|min_child_weight|min_samples_(leaf|split)|max_features|warmup(_steps|_iters)?|grad_clip|clip|degree|nesterov",
)
NEVER = re.compile(
    r"(?i)(random_)?(seed|state)|epochs?|max_(iters?|steps|epochs)|(num|n)_(epochs|iters|steps|workers|jobs|threads|classes|samples"
    r"|features|informative|redundant|inputs?|outputs?|splits|folds)|iters?|iterations|steps|total_?timesteps|(log|eval|save|print)_.*|.*_(interval|every|freq|path|dir|file|name|port|url)"
    r"|device|gpus?|cuda|workers|n_jobs|verbose|verbosity|debug|port|host|path|file|name|version|dpi|figsize|test_size|train_size"
    r"|loss|acc|accuracy|best|total|correct|count|score|error|sum|i|j|n|x|y|t|step|epoch|batch|idx|index|start|end|now|time"
    r"|axis|dim|shape|dtype|mode|level|format|indent|encoding|exist_ok|default|nargs|required|help|type|cv|end|sep|flush|shuffle"
    r"|fontsize|loc|color|marker|linewidth|bins|pad|rotation|zorder|in_features|out_features|in_channels|out_channels|input_(dim|size)|output_(dim|size)|num_classes|as_frame|return_X_y"
)
# Keywords of well-known calls that load and write data, print and draw, or define options
PLUMBING = re.compile(
    r"return_X_y|as_frame|download|header|index|index_col|inplace|copy|exist_ok|parents|indent|sort_keys|ensure_ascii|encoding"
    r"|errors|newline|flush|end|sep|verbose|verbosity|n_jobs|num_workers|pin_memory|dpi|figsize|fontsize|linewidth|axis"
    r"|keepdims|min|max|min_open|max_open|clamp|nargs|required|is_flag|show_default|add_help|check|capture_output|text"
)
# Names of lists and dicts that say what the data are: classes and their numbers, columns, colours, moments of a data set
LABELS = re.compile(
    r"(.+_)?(class(es)?|labels?|categor(y|ies)|targets?|digits|vocab(ulary)?|columns?|colou?rs?|palette|means?|stds?)"
    r"(_(names?|ids?|map|mapping|idx|indices))?|(.+_)?(id|idx|index)_?(2|to)_?\w+|\w+_?(2|to)_?(id|idx|index)"
)
FAMILIES = {
    r"opt(im(izer)?)?": ("adam", "adamw", "sgd", "rmsprop", "adagrad"),
    r"kernel": ("rbf", "linear", "poly", "sigmoid"),
    r"activation|act": ("relu", "tanh", "gelu", "elu", "silu"),
    r"penalty": ("l1", "l2", "elasticnet"),
    r"criterion": ("gini", "entropy", "log_loss"),
    r"weights": ("uniform", "distance"),
    r"scheduler|schedule|lr_schedule": ("constant", "linear", "cosine"),
}
SHARES = re.compile(r"(?i).*(dropout|p_?drop|subsample|colsample|l1_ratio)\w*")
FRACTIONS = re.compile(
    r"(?i)(.*_)?(size|split|ratio|fraction|frac|proportion|prob|probability|drop|(drop|mask|noise)\w*_rate)"
)
PARTS = re.compile(r"(?i)cv|(.*_)?k?_?(folds?|splits?)")  # one part is none
# One has to divide the other in a transformer: powers of two, where today's value is one
DIVIDED = re.compile(r"(?i)hidden_size|n_?embd|d_model|embed(ding)?_(dim|size)|(n|num)_?(attention_)?heads?")
NEAR_ONE = re.compile(r"(?i)momentum|beta_?[12]?|betas?\[\d\]|gamma|discount|decay|ema|gae_lambda")


@dataclass(frozen=True)
class Proposal:
    """A place with a proposed range as text, empty if none is obvious."""

    place: "Place"
    range: str

    @property
    def is_plumbing(self) -> bool:
        """Return whether it is a keyword of reading, writing and drawing, which no search varies."""
        return self.place.kind == "keyword" and bool(PLUMBING.fullmatch(self.place.name))


def propose(places: Sequence["Place"]) -> list[Proposal]:
    """Return a proposal for each place that has an address, in the order of the places."""
    return [Proposal(place, range_for(place)) for place in places if place.address]


def worth_searching(proposals: Sequence[Proposal], script: str | None = None) -> list[Proposal]:
    """Return the few that a first search should vary: names of hyperparameters before others, each name once. What stands
    inside functions of other files than `script` is for a script that has nothing of its own."""
    likely = [one for one in proposals if one.range and _rank(one.place.name) is not None]
    if any(one.place.file in ("", script) for one in likely):
        proposals = [one for one in proposals if one.place.file in ("", script) or not _is_inner(one.place)]
    ranked: list[tuple[int, int, Proposal]] = []
    names: set[str] = set()
    for order, proposal in enumerate(proposals):
        name = proposal.place.name.casefold()
        rank = _rank(proposal.place.name)
        if proposal.range and rank is not None and name not in names:
            names.add(name)
            ranked.append((rank, order, proposal))
    ranked.sort(key=lambda one: one[:2])
    known = [proposal for rank, _, proposal in ranked if rank < len(KNOWN)]
    return (known or [proposal for _, _, proposal in ranked])[:MOST_SEARCHED]


def _is_inner(place: "Place") -> bool:
    """Return whether the value is a detail of how a function works, not a setting of its module."""
    return place.kind in ("default", "attribute", "keyword", "argument") or (
        place.kind == "variable" and bool(place.within)
    )


def range_for(place: "Place") -> str:
    """Return the range to search for `place`: its choices, where the script names them, the one of today first."""
    if place.scale == "running" and place.value == 0:
        return ""  # a sum
    if _is_label(place):
        return ""
    if len(place.choices) > MOST_CHOICES:
        return ""
    plain = [one for one in place.choices if isinstance(one, str | int | float) and not isinstance(one, bool)]
    if plain and len(plain) == len(place.choices):
        ordered = [*([place.value] if place.value in plain else []), *plain]
        return ",".join(dict.fromkeys(map(write_value, ordered))) if len(plain) > 1 else ""
    value = parse_literal(place.value) if isinstance(place.value, str) else place.value  # `default="0.1"`
    return _within(place.bounds, range_of(place.name, value), value, is_rate(place.name))


def _is_label(place: "Place") -> bool:
    """Return whether the value is an item of a list or dict of labels, by the name of that."""
    base, bracket, _ = place.name.partition("[")
    holders = [base] if bracket else place.within[-1:] if place.kind == "dict key" else []
    return any(LABELS.fullmatch(_words_of(holder)) for holder in holders)


def _within(bounds: "Bounds", text: str, value: object, is_rate: bool) -> str:
    """Return the range within the bounds that the script names: all of what lies between 0 and 1, unless it is a rate."""
    low, high = bounds
    if isinstance(value, bool | str) or (low is None and high is None):
        return text
    if "," in text:
        most, least = math.inf if high is None else high, -math.inf if low is None else low
        return ",".join(each for each in text.split(",") if least <= float(each) <= most)
    span = re.fullmatch(r"([^:,]+):([^:,]+)(?::(\w+))?", text)
    share = low is not None and high is not None and 0 <= low < high <= 1 and not is_rate
    if span is None or share:  # no value of today
        whole = isinstance(value, int) or (isinstance(low, int) and isinstance(high, int) and not share)
        return "" if low is None or high is None else f"{low:g}:{high:g}{':i' if whole else ''}"
    ends = [float(span[1]), float(span[2])]
    least = ends[0] if low is None else max(ends[0], low)
    most = ends[1] if high is None else min(ends[1], high)
    if not least < most:
        return ""
    return ":".join([f"{least:.6g}", f"{most:.6g}", *filter(None, [span[3]])])


def range_of(name: str, value: object) -> str:
    """Return the range to search around `value`, as the command line takes it; empty if none is obvious."""
    if isinstance(value, bool):
        return "true,false"
    if isinstance(value, str):
        for names, members in FAMILIES.items():
            if re.fullmatch(names, name, re.IGNORECASE) and value.casefold() in members:
                others = [member.capitalize() if value[:1].isupper() else member for member in members]
                return ",".join(dict.fromkeys([value, *others]))
        return ""
    if isinstance(value, int) and not is_rate(name):
        return _whole_range(name, value)
    if isinstance(value, int):  # `learning_rate=1`
        return _real_range(name, float(value))
    if isinstance(value, float):
        return _real_range(name, value)
    return ""


def _whole_range(name: str, value: int) -> str:
    if DIVIDED.fullmatch(name) and value >= 2 and value & (value - 1) == 0:
        return ",".join(str(each) for each in (value // 4, value // 2, value, value * 2, value * 4) if each)
    if value < 1:
        return "0:4:i" if value == 0 else ""
    least = 1 if value < 4 and not PARTS.fullmatch(name) else 2
    low, high = max(least, value // 4), value * 4
    return f"{low}:{high}:{'il' if value >= 16 else 'i'}"


def _real_range(name: str, value: float) -> str:
    if value < 0:
        return ""
    if SHARES.fullmatch(name) and value <= 1:
        return "0:0.6" if value <= 0.6 else "0.3:1"
    if FRACTIONS.fullmatch(name) and 0 < value < 1 and not is_rate(name):
        return f"{value / 2:.3g}:{min(value * 2, (1 + value) / 2):.3g}"
    if NEAR_ONE.fullmatch(name) and 0.5 <= value < 1:
        return "0.5:0.999"
    if value == 0:
        return "1e-6:0.1:l"
    return f"{value / 10:.3g}:{value * 10:.3g}:l"


def is_rate(name: str) -> bool:
    """Return whether the name is one of a learning rate and the like, a real number where `1` stands as well."""
    return _rank(name) == 0


def _rank(name: str) -> int | None:
    """Return the row of `KNOWN` with the name, or one after the last; None if the name is not a hyperparameter's."""
    word = re.sub(r"\[\d+\]\Z", "", _words_of(name))
    for row, names in enumerate(KNOWN):
        if re.fullmatch(names, word):
            return row
    return None if NEVER.fullmatch(word) else len(KNOWN)


def _words_of(name: str) -> str:
    """Return the name in small letters, with `_` between its words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[-.]", "_", name).casefold()
