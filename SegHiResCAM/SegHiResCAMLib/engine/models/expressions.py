"""The few `$` expressions of MONAI bundles that mean something without running code."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from monai.transforms.utils import is_positive

MAX_LENGTH = 500
MAX_RESULT = 10_000
MAX_NUMBER = 1e12

# What bundles write for well-known values, letter for letter. Looked up, never evaluated.
CONSTANTS: dict[str, Any] = {
    "None": None,
    "True": True,
    "False": False,
    "monai.utils.CommonKeys.IMAGE": "image",
    "monai.utils.CommonKeys.LABEL": "label",
    "monai.utils.CommonKeys.PRED": "pred",
    **{f"{module}.{name}": getattr(torch, name) for module in ("torch", "np", "numpy")
       for name in ("float16", "float32", "float64", "uint8", "int16", "int32", "int64")},
    "lambda x: x > 0": is_positive,
}  # fmt: skip

_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")
_MOVED = re.compile(r"@(\w+(?:(?:::|#)\w+)*)(?:\.to\(@?[\w.:#]+\))?")

_OPERATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SIGNS: dict[type, Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_}


class UnsupportedExpressionError(Exception):
    """The expression would need code to run, or values that are not there."""


def plain_reference(expression: str) -> str | None:
    """The id that an expression refers to and does nothing else with: "a" for "@a", and for "@a.to(@device)"; or None."""
    match = _MOVED.fullmatch(expression.strip())
    return match.group(1) if match else None


def evaluate(expression: str, lookup: Callable[[str], Any]) -> Any:
    """The value of an expression (without its `$`) over literals and references, by a small interpreter of its syntax tree.

    There are no names, no calls and no attributes: literals, lists, references, + - * / //, comparisons, `and`, `or`, `not` and
    `x if condition else y`. Results are bounded.

    Args:
        expression: As the bundle has it.
        lookup: Gives the value that a reference's id stands for.

    Raises:
        UnsupportedExpressionError: It is anything else.
    """
    if expression.strip() in CONSTANTS:
        return CONSTANTS[expression.strip()]
    if len(expression) > MAX_LENGTH:
        raise UnsupportedExpressionError
    references: dict[str, str] = {}

    def placeholder(match: re.Match[str]) -> str:
        name = f"reference_{len(references)}"
        references[name] = match.group(1)
        return name

    try:
        tree = ast.parse(_REFERENCE.sub(placeholder, expression).strip(), mode="eval")
        return _value(tree.body, lambda name: lookup(references[name]))
    except (SyntaxError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError, MemoryError) as error:
        raise UnsupportedExpressionError from error


def _value(node: ast.expr, lookup: Callable[[str], Any]) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
        return _bounded(node.value)
    if isinstance(node, ast.Name):
        return _bounded(lookup(node.id))
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item, lookup) for item in node.elts]
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, lookup) else node.orelse, lookup)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_value(node.operand, lookup))
    if isinstance(node, ast.BoolOp):
        values = (_value(item, lookup) for item in node.values)
        return any(values) if isinstance(node.op, ast.Or) else all(values)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPERATIONS:
        return _OPERATIONS[type(node.ops[0])](_value(node.left, lookup), _value(node.comparators[0], lookup))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left, lookup), _value(node.right, lookup)
        if not isinstance(node.op, ast.Add) and not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise UnsupportedExpressionError  # "x" * 10**9
        return _bounded(_OPERATIONS[type(node.op)](left, right))
    raise UnsupportedExpressionError


def _bounded(value: Any) -> Any:
    too_long = isinstance(value, str | list) and len(value) > MAX_RESULT
    too_large = isinstance(value, int | float) and not abs(value) <= MAX_NUMBER
    if too_long or too_large or not isinstance(value, str | int | float | list | bool | None):
        raise UnsupportedExpressionError
    return value
