"""Proposed ranges: a range for a place by its name and present value, and the places to search first.

The name says which kind of number a place has (a rate, a decay, a probability, a temperature, a size, a count); the kind
says the range around the value of today. Flags have both values, known families of names (optimizers, kernels) their members.
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
MOST_SEARCHED = 8  # hyperparameters of a proposed command

# Names of hyperparameters, the most important first. Names are compared by words, so `--optim.weight-decay` matches.
KNOWN = (
    r"(\w+_)?lr0?|lr_?(init|max|min|actor|critic|policy|backbone|head|encoder|decoder)|rate|(\w+_)?learning_rate(_init)?"
    r"|eta0?|alpha|c|gamma|lambda_?|lam|reg|l1|l2",
    r"weight_decay|wd|(\w+_)?dropout(_rate|_prob|_p)?|p_?drop|(\w+_)?momentum|betas?_?[12]?|reg_(alpha|lambda)|l1_ratio|l[12]_(reg|penalty|leaf_reg)"
    r"|penalty|tau|(\w+_)?(epsilon|temperature|smoothing|coef)|step_?size|clip_range|gae_lambda|discount|(\w+_)?decay(_rate|_factor)?",
    r"hidden(_?(size|dim|units|layers?|layer_sizes|channels))?|n_?hidden|width|(n_)?units|layers|n_?layers?|num_(hidden_)?layers|depth|max_depth"
    r"|num_leaves|max_leaf_nodes|n_?embd|(n|num)_?(attention_)?heads?|d_model|embed(ding)?_(dim|size)|latent(_dim)?|k|n_neighbors|n_components|rank"
    r"|lora_(r|rank|alpha)|(num_|n_)?filters|kernel_size|nu|sigma0?|bandwidth|length_?scale",
    r"(\w+_)?batch(_?size)?|bs|optimizer|optim|activation|kernel|solver|n_estimators|num_rounds?|subsample|colsample_by\w+"
    r"|min_child_weight|min_samples_(leaf|split)|max_features|warmup(_steps|_iters|_ratio|_epochs)?|(max_)?grad_(clip|norm)|clip|degree|nesterov"
    r"|pop(ulation)?_?size|mutation_(rate|prob)|crossover_(rate|prob)|cxpb|mutpb|cooling(_rate)?|threshold|tol(erance)?",
)
# What no first search varies: seeds, the length of a run, reports, files, machines, memory, the data and their sizes
NEVER = re.compile(
    r"(\w+_)?seeds?(_\w+)?|random_state|(\w+_)?epochs?|(n|num|max)_(epochs?|iter(ation)?s?|steps?|evals?|rounds|episodes|generations)|iters?|iterations"
    r"|(\w+_)?steps|(total_?)?timesteps|(n|num|max)_?(\w+_)?(workers|jobs|threads|process(es)?|cpus?|gpus?|nodes|devices|class(es)?|labels|samples|examples"
    r"|rows|points|records|features|informative|redundant|inputs?|outputs?|splits|folds|runs|trials|repeats?|items|users|tokens|lines|columns|images|channels)"
    r"|(log|logging|eval|save|print|report|display|plot|summary|checkpoint|ckpt|val|validation|wandb|tensorboard|hub)_.*"
    r"|.*_(interval|every|freq|frequency|path|dir|directory|folder|file|filename|names?|port|url|uri|host|token|ids?|tag|prefix|suffix|version|revision)"
    r"|(\w+_)?(device|gpus?|cuda|cpus?|tpu|mps|amp|fp16|bf16|tf32|precision|backend)(_\w+)?|no_accel|workers|n_?jobs|threads|jobs|local_rank|world_size"
    r"|(\w+_)?(cache|memory|mem|buffer|chunk|block|queue|heap|shard)(_?(size|mb|gb|kb|limit|dir|gib))?|pin_memory|prefetch\w*|verbos(e|ity)|quiet|silent|debug"
    r"|dry_run|resume|overwrite\w*|save|download|port|host|path|file|input|output|data(set)?|train|test|name|version|dpi|figsize"
    r"|(test|train|val|valid|validation|holdout|eval|data|dataset|sample|image|img|input|crop|vocab)_?(size|split|ratio|frac(tion)?|len(gth)?)"
    r"|(do|run|skip|only|show|plot|interactive|wait|profile|compile|deterministic|benchmark|async)(_\w+)?"
    r"|loss|acc|accuracy|best|total|correct|count(er)?|score|error|sum|sign|results?|i|j|n|x|y|t|step|epoch|batch|idx|index|start|end|now|time(out)?|elapsed"
    r"|duration|delay|sleep|year|month|day|hour|minute|date|age|axis|dims?|ndim|shape|dtype|mode|level|format|indent|encoding|exist_ok|default|nargs"
    r"|required|help|type|cv|sep|flush|shuffle|replace|fontsize|loc|color|marker|linewidth|bins|pad|rotation|zorder|in_features|out_features"
    r"|(in|out)_channels|(input|output)_(dim|size)|n(um)?_class(es)?|as_frame|return_x_y"
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
# Kinds of numbers, by the words of a name
SHARES = re.compile(r"(\w+_)?(dropout(_rate|_prob|_p)?|p_?drop|subsample|colsample_by\w+|l1_ratio)")
FRACTIONS = re.compile(
    r"(test|train|val|valid|validation|holdout)_size|(\w+_)?(split|ratio|frac(tion)?|proportion|prob(ability)?|pct|drop|threshold|smoothing|cxpb|mutpb|(drop|mask|noise|mutation|crossover)\w*_rate)"
)
NEAR_ONE = re.compile(
    r"(\w+_)?momentum|betas?_?[12]?|gamma|discount|(lr_)?decay(_rate|_factor)?|ema|gae_lambda|cooling(_rate)?"
)
DECAYS = re.compile(r"(\w+_)?(weight_decay|wd|decay|reg|penalty|lambda_?|lam|alpha|l[12](_(reg|penalty|leaf_reg))?)")
TEMPERATURES = re.compile(r"(\w+_)?temp(erature)?")
SIZES = re.compile(
    r"hidden(_?(size|dim|units|channels))?|n_?hidden|width|(n_)?units|n_?embd|d_model|embed(ding)?_(dim|size)|latent(_dim)?|(num_|n_)?filters"
    r"|(n|num)_?(attention_)?heads?|(\w+_)?batch(_?size)?|bs|lora_(r|rank|alpha)"
)
PARTS = re.compile(r"cv|(\w+_)?k?_?(folds?|splits?)")  # one part is none
WINDOWS = re.compile(r"(\w+_)?kernel_size")  # of a convolution, odd
REAL = (SHARES, FRACTIONS, NEAR_ONE, DECAYS, TEMPERATURES)  # 0 and 1 stand for real numbers there
LEVELS = {"O": 3}  # the highest level of `-O2`


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
    others = [proposal for _, _, proposal in ranked]
    flags = [proposal for proposal in others if proposal.range == "true,false"]  # if there is nothing else
    return (known or [proposal for proposal in others if proposal not in flags] or flags)[:MOST_SEARCHED]


def _is_inner(place: "Place") -> bool:
    """Return whether the value is a detail of how a function works, not a setting of its module."""
    return place.kind in ("default", "attribute", "keyword", "argument") or (
        place.kind == "variable" and bool(place.within)
    )


def range_for(place: "Place") -> str:
    """Return the range to search for `place`: its choices, where the script names them, the one of today first."""
    if place.scale == "running" and place.value == 0:
        return ""  # a sum
    if _is_label(place) or _is_sign(place):
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


def _is_sign(place: "Place") -> bool:
    """Return whether the value says which way an objective goes: `weights=(-1.0, 1.0)`."""
    base, bracket, _ = place.name.partition("[")
    return bool(bracket) and "weights" in _words_of(base) and place.value in (1, -1)


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
    if not isinstance(value, int | float) or value < 0:
        return ""
    if name in LEVELS and value in range(LEVELS[name] + 1):
        return ",".join(map(str, range(LEVELS[name] + 1)))
    word = _word_of(name)
    if isinstance(value, float) or is_rate(name) or (value <= 1 and any(kind.fullmatch(word) for kind in REAL)):
        return _real_range(word, float(value))
    return _whole_range(word, value)


def _whole_range(word: str, value: int) -> str:
    if SIZES.fullmatch(word) and value >= 2 and value & (value - 1) == 0:
        return ",".join(str(each) for each in (value // 4, value // 2, value, value * 2, value * 4) if each)
    if WINDOWS.fullmatch(word) and value % 2:
        return ",".join(str(each) for each in (value - 2, value, value + 2, value + 4) if each > 0)
    if value == 0:
        return "0:4:i"
    least = 1 if value < 4 and not PARTS.fullmatch(word) else 2
    low, high = max(least, value // 4), value * 4
    return f"{low}:{high}:{'il' if value >= 16 else 'i'}"


def _real_range(word: str, value: float) -> str:
    if SHARES.fullmatch(word) and value <= 1:
        return "0:0.6" if value <= 0.6 else "0.3:1"
    if FRACTIONS.fullmatch(word) and 0 < value < 1 and not is_rate(word):
        return f"{value / 2:.3g}:{min(value * 2, (1 + value) / 2):.3g}"
    if NEAR_ONE.fullmatch(word) and 0.5 <= value < 1:
        return "0.5:0.999" if value < 0.95 else "0.9:0.9999"
    if TEMPERATURES.fullmatch(word) and 0.2 <= value <= 2:
        return "0.1:2"
    if value == 0 and (DECAYS.fullmatch(word) or is_rate(word)):
        return "0,1e-6,1e-5,1e-4,1e-3,0.01,0.1"  # no decay, and each power
    if value == 0:
        return "0:0.99" if NEAR_ONE.fullmatch(word) else "0:1"
    high = value * 10
    if 0.1 <= value < 1 and _rank(word) not in range(len(KNOWN)):
        high = 1.0  # it may be a probability
    return f"{_short(value / 10)}:{_short(high)}:l"


def _short(number: float) -> str:
    return f"{float(f'{number:.3g}'):g}"


def is_rate(name: str) -> bool:
    """Return whether the name is one of a learning rate and the like, a real number where `1` stands as well."""
    return _rank(name) == 0


def _rank(name: str) -> int | None:
    """Return the row of `KNOWN` with the name, or one after the last; None if the name is not a hyperparameter's."""
    word = _word_of(name)
    for row, names in enumerate(KNOWN):
        if re.fullmatch(names, word):
            return row
    return None if NEVER.fullmatch(word) else len(KNOWN)


def _word_of(name: str) -> str:
    """Return the words of the name, without the number of an item."""
    return re.sub(r"\[\d+\]\Z", "", _words_of(name))


def _words_of(name: str) -> str:
    """Return the name in small letters, with `_` between its words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[-.]", "_", name).casefold()
