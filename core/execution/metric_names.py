"""Meaning of the name of a metric: the better direction, and a result, a setting or a cost.

One table for all readers of metrics. A rule is on words of the name, in small letters and with `_` between them: `valLoss`,
`val/loss` and `val loss` are `val_loss`.
"""

import re

# How much a name stands for the objective of a search. The smaller, the likelier.
HELD_OUT, RESULT, TRAINING, UNKNOWN, COST, NO_RESULT = range(6)

# Phrases whose direction is not the one of their last word; the first that matches counts.
_PHRASES: tuple[tuple[str, str], ...] = (
    (
        r"(neg|negative|minus)_(mean_|root_mean_)*(squared|absolute|median_absolute|max_error|log_loss|brier|rmse|mse|mae)\w*",
        "max",
    ),
    (r"(neg|negative|minus)_(log_?)?(likelihood|lik|ll|elbo|accuracy|score|reward|return)", "min"),
    (r"top_?\d+|pass(_at)?_?\d*|hits?_?\d+", "max"),
    (
        r"(error|failure|failed|miss|misclassification|loss|drop|collision|false_(positive|negative|alarm)|fp|fn)_rate",
        "min",
    ),
    (r"(success|solve|solved|win|hit|pass|true_(positive|negative)|tp|tn|detection)_(rate|ratio|fraction)", "max"),
    (r"bits?_per_\w+|bits?_(dim|char|byte|token)|nats?_per_\w+|(loss|error|cost)_per_\w+", "min"),
    (r"word_error\w*|character_error\w*|calibration_error|hamming|misclassified|mistakes|wrong", "min"),
    (
        r"explained_variance(_score)?|average_precision|area_under\w*|coefficient_of_determination|r_(2|squared?)|adj_r2",
        "max",
    ),
    (r"inception_score|silhouette(_score|_coefficient)?|calinski\w*|modularity", "max"),
    (r"davies_bouldin(_score|_index)?|brier(_score)?|frechet\w*|inertia|objective_gap|duality_gap|gap", "min"),
)
_SPEED = re.compile(
    r"(\w+_)?(tokens?|tok|samples?|images?|imgs?|examples?|it(er)?s?|iterations?|steps?|items?|ops|requests?|words?|frames?|rows?"
    r"|bytes|[kmgt]i?b|[kmgt]?flops?|batch(es)?|queries|updates)_?(per_(s|sec|second)|/s|/sec|/second|_s|_sec|_second)"
    r"|throughput|bandwidth|fps|[kmgt]?flops|[kmgt]i?b_s|[kmg]?ips|speed_?up|qps|rate_mb_s|mups|mlups|gups"
)
_SMALL = re.compile(
    r"(loss|err|error|m?sle|r?n?r?mse|mae|mape|smape|mase|nll|perplexity|ppl|bp[cbd]|wer|cer|eer|fid|kid|log_?loss|deviance|cost|regret"
    r"|l1|l2|entropy|kl|kld|distance|divergence|residual|residue|bic|aic|risk|impurity|distortion|discrepancy|mistake|failure|violation"
    r"|penalty|energy|makespan|tour|imbalance|crossings|chi2|chisq|rmsd|rmsle|deviation|bias|ece|ter|lpips)s?"
)
_LARGE = re.compile(
    r"(acc\d*|accuracy|accuracies|auc|auroc|auprc|roc|rocauc|prauc|f1|f2|fbeta|r2|score|reward|return|m?ap\d*|bleu|sacrebleu|chrf|meteor|cider"
    r"|rouge\w*|precision|prec\d*|recall|iou|miou|jaccard|dice|psnr|ssim|ndcg|mrr|fitness|top\d+|win|success|sharpe|likelihood|loglik|loglikelihood"
    r"|ll|lik|elbo|elo|hit|correlation|corr|pearson\w*|spearman\w*|kappa|mcc|specificity|sensitivity|purity|coverage|nmi|ari|profit|revenue|gain"
    r"|rew|quality|similarity|utility|em|exact|correct|snr|sdr|pesq|stoi|evidence|evs?|uplift|lift|gini|concordance|cindex|rsq|rsquared|alignment)s?"
)
_TRAINING = {"train", "training", "tr", "fit", "fitted"}
_OTHERS_DATA = {
    "val",
    "valid",
    "validation",
    "test",
    "testing",
    "eval",
    "evaluation",
    "dev",
    "cv",
    "heldout",
    "holdout",
    "oob",
}
_VALIDATION = {"val", "valid", "validation", "dev", "cv", "oob", "eval", "evaluation"}
_COST = re.compile(
    r"(time|times|seconds?|secs?|s|ms|us|ns|minutes?|mins?|hours?|hrs?|elapsed|wall|walltime|runtime|duration|latency|delay|rss|vram|mem|memory"
    r"|mib|gib|params?|parameters|flops?|macs|overhead|joules?|watts?|power)"
)
_NO_RESULT = re.compile(
    r"(epochs?|steps?|iter\w*|batch\w*|lr|learning|eta|seed|version|num|n|no|count\w*|counter|tokens?|tok|gpus?|cuda|cpus?|cores?|threads?"
    r"|samples?|size|global|flos|py|python|norm|std|width|height|port|pid|rank|date|year|day|month|index|idx|id|shape|dim|dims|length|len"
    r"|device|config|lines?|rows?|columns?|cols?|features?|classes|labels?|files?|items?|nodes?|edges?|layers?|channels?|units?|args?|kwargs|option|options"
    r"|host|address|url|level|progress|percent|remaining|started|finished|ended|created|total|tick|ticks|granularity|precision_bits|bits|bytes|dtype"
    r"|random|state|gen|ngen|nevals|evals|evaluations|generations?|population|temperature|threshold|patience|seq|seqs|round|rounds|fold|folds"
    r"|trials?|worker|workers|rng|max_len|warmup|decay|momentum|dropout|workload|cache|bin|bins|timeout|interval|frequency|freq)"
)
# Names that end so are settings, whatever their last word tells: `loss_scale`, `reward_threshold`.
_SETTING = re.compile(
    r"(\w+_)?(loss|reward|score|error|accuracy|acc|gain|cost|return|kl|entropy|penalty)_(scale|scaler|threshold|coeff?|coefficient|weight|weights"
    r"|type|fn|func|function|name|mode|range|clip|bound|limit|target|tol|tolerance|beta|alpha|factor|ratio|size|every|interval|window|std)"
    r"|(target|max|min|desired|tol)_(kl|error|loss|entropy|reward|score)_?(threshold|tol|limit)?"
)
PLACEHOLDER = re.compile(r"[{}]|%[-+\d.]*[a-z]\b")  # a part of a name that the program fills in


def words(name: str) -> list[str]:
    """Return the words of the name in small letters; a sign of the name that is no word ends one."""
    name = name.replace("R²", "R2").replace("R^2", "R2").replace("²", "2").replace("%", " ")
    plain = re.sub(r"(?<=[a-z\d])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name)
    return [word.casefold() for word in re.split(r"[\W_]+", plain) if word]


def likely_mode(name: str) -> str:
    """Return "min" or "max", whichever is better by the name; empty if it does not tell."""
    own = words(name)
    plain = "_".join(own)
    if _SETTING.fullmatch(plain):
        return ""
    if _SPEED.fullmatch(re.sub(r"\s+", "_", name.strip().casefold())) or _SPEED.fullmatch(plain):
        return "max"
    if own and _COST.fullmatch(own[-1]):
        return "min"
    for phrase, mode in _PHRASES:
        if re.search(rf"(?:\A|_)(?:{phrase})(?:\Z|_)", plain):
            return mode
    for word in reversed(own):
        if _SMALL.fullmatch(word) or re.search(r"(loss|error|cost)\Z", word):
            return "min"
        if _LARGE.fullmatch(word):
            return "max"
    return "min" if any(map(_COST.fullmatch, own)) else ""


def standing(name: str) -> int:
    """Return HELD_OUT for a result on data that was not trained on, RESULT, TRAINING, UNKNOWN, COST (what a run takes), or
    NO_RESULT (a setting, a count, a part of another text)."""
    own = words(name)
    plain = "_".join(own)
    if PLACEHOLDER.search(name) or not own or _SETTING.fullmatch(plain):
        return NO_RESULT
    if _SPEED.fullmatch(re.sub(r"\s+", "_", name.strip().casefold())) or _SPEED.fullmatch(plain):
        return COST
    mode = likely_mode(name)
    costs = any(map(_COST.fullmatch, own))
    results = any(_SMALL.fullmatch(one) or _LARGE.fullmatch(one) for one in own)
    if not mode or (costs and (not results or _COST.fullmatch(own[-1]))):
        return COST if costs else NO_RESULT if any(map(_NO_RESULT.fullmatch, own)) else UNKNOWN
    if _TRAINING & set(own):
        return TRAINING
    return HELD_OUT if _OTHERS_DATA & set(own) else RESULT


def result_rank(name: str) -> tuple[int, ...]:
    """Return the key to sort names by: the likeliest objective of a search first. `fitness` was printed for a search; a score
    is before a loss of equal standing because the task is measured by it; validation before test."""
    own = words(name)
    loss = any(re.search(r"(loss|nll|entropy|elbo|kl)\Z", word) for word in own)
    return (own[-1:] != ["fitness"], standing(name), not _VALIDATION & set(own), loss)
