"""Values of constant Python expressions, without executing them: numbers, texts, True, False, None, `2 * 64`."""

import ast
from typing import Final

import libcst as cst


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()  # not a constant, or one that cannot be computed
_LARGEST = 10**12  # limit of computed values


def constant(node: cst.BaseExpression) -> object:
    """Return the value of `node`: int, float, str, bool or None; UNKNOWN for any other expression. Nothing is executed."""
    if isinstance(node, cst.Integer | cst.Float):
        return _number(node.value)
    if isinstance(node, cst.SimpleString):
        return node.evaluated_value if not node.prefix.lower().startswith("b") else UNKNOWN
    if isinstance(node, cst.Name):
        return {"True": True, "False": False, "None": None}.get(node.value, UNKNOWN)
    if isinstance(node, cst.UnaryOperation):
        value = constant(node.expression)
        if is_number(value):
            if isinstance(node.operator, cst.Minus):
                return -value  # type: ignore[operator]
            if isinstance(node.operator, cst.Plus):
                return value
        return UNKNOWN
    if isinstance(node, cst.BinaryOperation):
        return _arithmetic(node)
    return UNKNOWN


def is_number(value: object) -> bool:
    return type(value) in (int, float)


def _number(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):  # an integer with too many digits for Python
        return UNKNOWN


def _arithmetic(node: cst.BinaryOperation) -> object:
    left, right = constant(node.left), constant(node.right)
    if not (is_number(left) and is_number(right)):
        return UNKNOWN
    a, b = float(left), float(right)  # type: ignore[arg-type]
    if not (abs(a) < _LARGEST and abs(b) < _LARGEST):
        return UNKNOWN
    whole = type(left) is int and type(right) is int
    try:
        match node.operator:
            case cst.Add():
                result = a + b
            case cst.Subtract():
                result = a - b
            case cst.Multiply():
                result = a * b
            case cst.Divide():
                return a / b
            case cst.FloorDivide():
                result = a // b
            case cst.Power():
                result = a**b
                whole = whole and b >= 0
            case _:
                return UNKNOWN
    except (ZeroDivisionError, OverflowError):
        return UNKNOWN
    if isinstance(result, complex) or not abs(result) < _LARGEST:
        return UNKNOWN
    return int(result) if whole else result
