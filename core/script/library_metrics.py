"""Metrics that libraries print or write by themselves, found by the calls that do so.

    program --library_metrics--> name -> which library      xgb.train(…, evals=[(dval, "val")])   -->   val-rmse

To know another library, write a function that yields names and add a line to `LIBRARIES`.
"""

import re
from collections.abc import Callable, Iterator

import libcst as cst

from studio.script.constants import constant
from studio.script.outline import Call, dotted, text_of
from studio.script.program import Program, Source

# The default metric of an objective, by the beginning of its name
_XGBOOST = {"binary:": "logloss", "multi:": "mlogloss", "rank:": "ndcg", "survival:": "aft-nloglik", "": "rmse"}
_LIGHTGBM = {"binary": "binary_logloss", "multiclass": "multi_logloss", "lambdarank": "ndcg@5", "": "l2"}
_ALIASES = {"mse": "l2", "mean_squared_error": "l2", "mae": "l1", "mean_absolute_error": "l1"}


def library_metrics(program: Program) -> dict[str, str]:
    """Return the metrics that libraries report for the program: name -> which library."""
    names: dict[str, str] = {}
    for source in program.parsed(program.python):
        for module, (library, find) in LIBRARIES.items():
            if re.search(rf"\b{module}\b", source.file.text):
                for name in find(source):
                    names.setdefault(name, library)
    return names


def _keras(source: Source) -> Iterator[str]:
    """`val_loss`, `loss` and metrics of `compile(metrics=[…])`, if `fit` draws its bar or a callback writes them."""
    compiled: list[str] = []
    for call in _calls(source, "compile"):
        given = call.keyword("metrics") or (call.positionals[2] if len(call.positionals) > 2 else None)
        compiled += _texts(given)
    for call in _calls(source, "fit"):
        if call.keyword("epochs") is None and not compiled:
            continue
        quiet = _is_off(call.keyword("verbose"))
        if quiet and not re.search(r"CSVLogger|TensorBoard|WandbCallback|WandbMetrics", source.file.text):
            continue
        held_out = call.keyword("validation_data") or call.keyword("validation_split")
        for name in ("loss", *compiled):
            yield f"val_{name}" if held_out is not None else name


def _transformers(source: Source) -> Iterator[str]:
    """`eval_loss` of a Trainer with a data set for evaluation, else `loss`."""
    for call in source.outline.calls:
        if call.last.endswith("Trainer"):
            yield "eval_loss" if call.keyword("eval_dataset") is not None else "loss"


def _xgboost(source: Source) -> Iterator[str]:
    """`val-rmse` of the last pair in `evals`; `validation_0-rmse` of the scikit-learn interface; `test-rmse-mean` of cv."""
    metric = _setting(source, "eval_metric") or _by_objective(_XGBOOST, _setting(source, "objective"))
    for call in source.outline.calls:
        if call.last == "train" and dotted(call.node.func).partition(".")[0] in ("xgb", "xgboost", "train"):
            evals = _value(
                source, call.keyword("evals") or (call.positionals[3] if len(call.positionals) > 3 else None)
            )
            label = _last_label(evals)
            if label and not _is_off(call.keyword("verbose_eval")):
                yield f"{label}-{metric}"
        elif call.last == "cv" and call.keyword("verbose_eval") is not None:
            yield f"test-{metric}"
        elif call.last == "fit" and call.keyword("eval_set") is not None and not _is_off(call.keyword("verbose")):
            sets = _value(source, call.keyword("eval_set"))
            count = len(sets.elements) if isinstance(sets, cst.List | cst.Tuple) else 1
            yield f"validation_{count - 1}-{metric}"


def _lightgbm(source: Source) -> Iterator[str]:
    """`valid_0's l2` of `valid_sets`, if `log_evaluation` or `early_stopping` prints it."""
    if not re.search(r"log_evaluation|early_stopping|verbose_eval", source.file.text):
        return
    metric = _setting(source, "metric") or _by_objective(_LIGHTGBM, _setting(source, "objective"))
    metric = _ALIASES.get(metric, metric)
    for call in source.outline.calls:
        if call.last == "train" and (sets := call.keyword("valid_sets")) is not None:
            names = _texts(_value(source, call.keyword("valid_names")))
            known = _value(source, sets)
            count = len(known.elements) if isinstance(known, cst.List | cst.Tuple) else 1
            yield f"{names[-1] if names else f'valid_{count - 1}'}'s {metric}"
        elif call.last == "fit" and call.keyword("eval_set") is not None:
            yield f"valid_0's {metric}"


def _catboost(source: Source) -> Iterator[str]:
    """`test` of each line, by `eval_set`."""
    for call in source.outline.calls:
        if call.last == "fit" and call.keyword("eval_set") is not None:
            yield "bestTest"


def _sklearn(source: Source) -> Iterator[str]:
    """`accuracy`, a row of a printed report."""
    reports = [name for name, value, _ in source.outline.assigns if dotted(value).endswith("classification_report")]
    for call in _calls(source, "print"):
        if any(dotted(one).endswith("classification_report") or dotted(one) in reports for one in call.positionals):
            yield "accuracy"


def _ultralytics(source: Source) -> Iterator[str]:
    """`metrics/mAP50-95(B)` of `YOLO(…).train(…)`, in `results.csv`."""
    if any(call.last == "YOLO" for call in source.outline.calls) and list(_calls(source, "train")):
        yield "metrics/mAP50-95(B)"


# module, as named in the source -> the library, and the function that finds its metrics
LIBRARIES: dict[str, tuple[str, Callable[[Source], Iterator[str]]]] = {
    "keras": ("Keras", _keras),
    "transformers": ("Hugging Face", _transformers),
    "xgboost": ("XGBoost", _xgboost),
    "lightgbm": ("LightGBM", _lightgbm),
    "catboost": ("CatBoost", _catboost),
    "sklearn": ("scikit-learn", _sklearn),
    "ultralytics": ("Ultralytics", _ultralytics),
}


def _calls(source: Source, last: str) -> Iterator[Call]:
    return (call for call in source.outline.calls if call.last == last)


def _setting(source: Source, name: str) -> str:
    """Return the text under `name` in a dict or a keyword; of a list of texts, the last."""
    found = [one.value for one in source.outline.named if one.name.partition("[")[0] == name]
    return str(found[-1]) if any(isinstance(value, str) for value in found) else ""


def _by_objective(table: dict[str, str], objective: str) -> str:
    return next(metric for start, metric in table.items() if objective.startswith(start))


def _value(source: Source, node: cst.BaseExpression | None) -> cst.BaseExpression | None:
    """Return the value of a name that is assigned once; else the node itself."""
    if isinstance(node, cst.Name):
        values = [value for name, value, _ in source.outline.assigns if name == node.value]
        return values[0] if len(values) == 1 else node
    return node


def _texts(node: cst.BaseExpression | None) -> list[str]:
    """Return the texts of a list, or of a single text."""
    if isinstance(node, cst.List | cst.Tuple):
        return [text for element in node.elements if (text := text_of(element.value))]
    return [text] if (text := text_of(node)) else []


def _last_label(node: cst.BaseExpression | None) -> str:
    """Return `val` for `[(dtrain, "train"), (dval, "val")]`."""
    labels = []
    if isinstance(node, cst.List | cst.Tuple):
        for element in node.elements:
            if isinstance(element.value, cst.Tuple | cst.List) and len(element.value.elements) == 2:
                labels.append(text_of(element.value.elements[1].value) or "")
    return labels[-1] if labels else ""


def _is_off(node: cst.BaseExpression | None) -> bool:
    return node is not None and constant(node) in (False, 0)
