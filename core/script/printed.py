"""Lines and metrics that a program would print and log, taken from its text, with numbers for computed values.

    print(f"epoch {e}: val_loss {loss:.4f}")   -->   `epoch 1: val_loss 0.5`
    writer.add_scalar("loss/val", loss, e)     -->   loss/val, TensorBoard

The lines are for the metric readers, which find the metrics in them.
"""

import re
from collections.abc import Iterator

import libcst as cst

from studio.script.outline import Call, dotted, text_of
from studio.script.program import Program, Source

_PRINTING = {"print", "info", "debug", "warning", "write", "echo", "secho", "set_description", "log_message"}
_COUNTING = re.compile(r"(?i)(epoch|step|iter|it|i|e|t|round|fold|batch|idx|num|n)\w*")
_REDUCING = {"mean", "std", "median", "average", "append"}
_PERCENT = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?([diouxXeEfFgGcrsa%])")
_BRACES = re.compile(r"\{([^{}]*)\}")
# call -> the tracker of its names, which are keys of a dict or the first argument
_TRACKERS = {
    "add_scalar": "TensorBoard",
    "add_scalars": "TensorBoard",
    "log_metric": "MLflow",
    "log_metrics": "MLflow",
    "log_dict": "Lightning",
    "log": "its logger",
    "scalar": "TensorBoard",
}


def printed_lines(program: Program) -> tuple[list[str], list[str]]:
    """Return the lines that the program's `print` and logging calls would write: those of numbers, and those of arrays."""
    numbers: list[str] = []
    arrays: list[str] = []
    for source in program.parsed(program.python):
        of_arrays, of_texts = _arrays(source), _text_names(source)
        for call in source.outline.calls:
            if call.last in _PRINTING:
                text = _line(call)
                if text and re.search(r"\d", text):
                    values = [
                        piece for node in call.positionals for piece in _pieces(node) if not isinstance(piece, str)
                    ]
                    if values and all(dotted(one) in of_texts for one in values):
                        continue  # `print("see", OUT_DIR)`
                    is_array = bool(values) and all(dotted(one) in of_arrays for one in values)
                    (arrays if is_array else numbers).extend(text.splitlines())
    return list(dict.fromkeys(numbers)), list(dict.fromkeys(arrays))


def _arrays(source: Source) -> set[str]:
    """Return the names of arrays: what the text reduces, `scores.mean()` or `np.mean(scores)`, or appends to."""
    reduced = set()
    for call in source.outline.calls:
        if call.last in _REDUCING:
            inner = dotted(call.positionals[0]) if call.positionals else ""
            reduced |= {call.callee.rpartition(".")[0], inner}
    assigned = source.outline.assigned_calls.items()
    return reduced - {name for call, name in assigned if dotted(call.func).rpartition(".")[2] in _REDUCING}


def _text_names(source: Source) -> set[str]:
    """Return the names of variables that hold a text or a path."""
    return {
        name
        for name, value, _ in source.outline.assigns
        if _text(value) is not None
        or (
            isinstance(value, cst.Call) and dotted(value.func).rpartition(".")[2] in ("Path", "join", "strftime", "str")
        )
    }


def logged_names(program: Program) -> dict[str, str]:
    """Return the metrics that the program passes to a tracker: name -> tracker."""
    names: dict[str, str] = {}
    for source in program.parsed(program.python):
        for call in source.outline.calls:
            if call.last in _TRACKERS:
                for name in _names(call):
                    names.setdefault(name, _TRACKERS[call.last])
            for name in _columns(call):
                if not _COUNTING.fullmatch(name):
                    names.setdefault(name, "files")
    return names


def _columns(call: Call) -> list[str]:
    """Return the columns of a CSV file whose header the call writes."""
    if call.last in ("writerow", "DictWriter"):
        position = 0 if call.last == "writerow" else 1
        given = call.keyword("fieldnames") or (call.positionals[position] if len(call.positionals) > position else None)
        if isinstance(given, cst.List | cst.Tuple):
            texts = [text_of(element.value) for element in given.elements]
            return [text for text in texts if text] if all(texts) and len(texts) > 1 else []
    if call.last == "write" and call.positionals:
        text = text_of(call.positionals[0]) or ""
        return text.strip().split(",") if re.fullmatch(r"[A-Za-z]\w*(,[A-Za-z]\w*)+\n", text) else []
    return []


def bare_numbers(program: Program) -> dict[str, str]:
    """Return patterns for lines of numbers without a word, `print(epoch, loss.item())`: pattern -> the expressions."""
    patterns: dict[str, str] = {}
    for source in program.parsed(program.python):
        for call in source.outline.calls:
            if call.last != "print" or not call.positionals or call.keyword("sep") is not None:
                continue
            pieces = [piece for argument in call.positionals for piece in (" ", *_pieces(argument))][1:]
            if any(isinstance(piece, str) and re.search(r"\w", piece) for piece in pieces):
                continue
            names = ["" if isinstance(piece, str) else _expression(piece) for piece in pieces]
            at = next((i for i in reversed(range(len(names))) if names[i] and not _COUNTING.fullmatch(names[i])), None)
            if at is not None:
                parts = [re.escape(one) if isinstance(one, str) else r"\S+" for one in pieces[:at]]
                pattern = f"^{''.join(parts)}(\\S+)".replace("\\ ", " ")
                pattern = pattern if at else f"{pattern}$"
                patterns[pattern] = f"{patterns.get(pattern, '')} {names[at]}".strip()
    return patterns


def _pieces(node: cst.BaseExpression) -> list[str | cst.BaseExpression]:
    """The texts and the expressions that an argument of `print` is made of."""
    if isinstance(node, cst.FormattedString):
        return [
            part.value if isinstance(part, cst.FormattedStringText) else part.expression
            for part in node.parts
            if isinstance(part, cst.FormattedStringText | cst.FormattedStringExpression)
        ]
    text = _text(node)
    return [node if text is None else text]


def _expression(node: cst.BaseExpression) -> str:
    """The names in an expression: `loss.item`, `round.accuracy_score`."""
    if isinstance(node, cst.Call):
        inner = [_expression(argument.value) for argument in node.args if argument.keyword is None][:1]
        return ".".join(filter(None, [*(inner if not dotted(node.func).count(".") else []), dotted(node.func)]))
    return dotted(node)


def _names(call: Call) -> Iterator[str]:
    for argument in call.positionals[:2]:
        if isinstance(argument, cst.Dict):
            for element in argument.elements:
                if isinstance(element, cst.DictElement) and (name := text_of(element.key)):
                    yield name
    first = call.positionals[0] if call.positionals else None
    if (name := text_of(first)) and len(call.positionals) > 1:
        yield name


def _line(call: Call) -> str:
    """Return the text that the call prints; empty if it has no constant text."""
    arguments = call.positionals
    if not arguments:
        return ""
    first = _text(arguments[0])
    if first is not None and call.last not in ("print", "echo", "secho") and len(arguments) > 1 and "%" in first:
        return _filled(first)
    parts = [_text(argument) for argument in arguments]
    if not any(part is not None for part in parts):
        return ""
    return " ".join(
        _number(argument) if part is None else part for part, argument in zip(parts, arguments, strict=True)
    )


def _text(node: cst.BaseExpression) -> str | None:
    """Return the text of a string expression with numbers filled in; None for any other expression."""
    match node:
        case cst.FormattedString():
            pieces = []
            for part in node.parts:
                if isinstance(part, cst.FormattedStringText):
                    pieces.append(part.value.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r"))
                elif isinstance(part, cst.FormattedStringExpression):
                    pieces.append(_number(part.expression))
            return "".join(pieces)
        case cst.ConcatenatedString():
            left, right = _text(node.left), _text(node.right)
            return None if left is None or right is None else left + right
        case cst.SimpleString():
            return text_of(node)
        case cst.BinaryOperation(operator=cst.Modulo()):
            template = _text(node.left)
            return None if template is None else _filled(template)
        case cst.BinaryOperation(operator=cst.Add()):
            texts = [_text(node.left), _text(node.right)]
            if texts == [None, None]:
                return None
            return "".join("0.5" if text is None else text for text in texts)
        case cst.Call(func=cst.Attribute(value=inner, attr=cst.Name("format"))):
            template = _text(inner)
            return None if template is None else _BRACES.sub("0.5", template)
    return None


def _filled(template: str) -> str:
    return _PERCENT.sub(lambda m: {"%": "%", "d": "1", "i": "1"}.get(m[1], "0.5"), template)


def _number(node: cst.BaseExpression) -> str:
    """Return `1` for a counter, such as an epoch, else `0.5`."""
    inner = node.left if isinstance(node, cst.BinaryOperation) else node
    return "1" if isinstance(inner, cst.Name) and _COUNTING.fullmatch(inner.value) else "0.5"
