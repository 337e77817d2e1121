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

IDENTIFIER = r"(\w+(?:(?:::|#)\w+)*)"
"""An id as references have it: "network_def", "preprocessing::transforms::0", "preprocessing#transforms#0"."""

# What bundles write for well-known values, letter for letter. Looked up, never evaluated.
CONSTANTS: dict[str, Any] = {
    "None": None,
    "True": True,
    "False": False,
    "monai.utils.CommonKeys.IMAGE": "image",
    "monai.utils.CommonKeys.LABEL": "label",
    "monai.utils.CommonKeys.PRED": "pred",
    "lambda x: x > 0": is_positive,
    **{
        f"{module}.{name}": getattr(torch, name)
        for module in ("torch", "np", "numpy")
        for name in ("float16", "float32", "float64", "uint8", "int16", "int32", "int64")
    },
}

_REFERENCE = re.compile(f"@{IDENTIFIER}")
_ALONE = re.compile(rf"@{IDENTIFIER}(?:\.to\(@?[\w.:#]+\))?")

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
    match = _ALONE.fullmatch(expression.strip())
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

    text = _REFERENCE.sub(placeholder, expression).strip()
    try:
        tree = ast.parse(text, mode="eval")
        if references and any(
            isinstance(node, ast.Constant) and "reference_" in str(node.value) for node in ast.walk(tree)
        ):
            raise UnsupportedExpressionError  # a reference inside a quoted text
        return _value(tree.body, lambda name: lookup(references[name]))
    except (SyntaxError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError, MemoryError) as error:
        raise UnsupportedExpressionError from error


def _value(node: ast.expr, lookup: Callable[[str], Any]) -> Any:
    for kind, evaluator in _NODES.items():
        if isinstance(node, kind):
            return _bounded(evaluator(node, lookup))
    raise UnsupportedExpressionError


def _choice(node: ast.IfExp, lookup: Callable[[str], Any]) -> Any:
    return _value(node.body if _value(node.test, lookup) else node.orelse, lookup)


def _logic(node: ast.BoolOp, lookup: Callable[[str], Any]) -> Any:
    """As Python: the first value that decides, or the last."""
    decides = isinstance(node.op, ast.Or)
    value = None
    for item in node.values:
        value = _value(item, lookup)
        if bool(value) is decides:
            break
    return value


def _sign(node: ast.UnaryOp, lookup: Callable[[str], Any]) -> Any:
    return _SIGNS[type(node.op)](_value(node.operand, lookup))


def _comparison(node: ast.Compare, lookup: Callable[[str], Any]) -> Any:
    if len(node.ops) != 1:
        raise UnsupportedExpressionError
    return _OPERATIONS[type(node.ops[0])](_value(node.left, lookup), _value(node.comparators[0], lookup))


def _arithmetic(node: ast.BinOp, lookup: Callable[[str], Any]) -> Any:
    left, right = _value(node.left, lookup), _value(node.right, lookup)
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if not numbers and not isinstance(node.op, ast.Add):
        raise UnsupportedExpressionError  # "x" * 10**9, "%s" % x
    return _OPERATIONS[type(node.op)](left, right)


_NODES: dict[type, Callable[[Any, Callable[[str], Any]], Any]] = {
    ast.Constant: lambda node, _: node.value,
    ast.Name: lambda node, lookup: lookup(node.id),
    ast.List: lambda node, lookup: [_value(item, lookup) for item in node.elts],
    ast.Tuple: lambda node, lookup: [_value(item, lookup) for item in node.elts],
    ast.IfExp: _choice,
    ast.BoolOp: _logic,
    ast.UnaryOp: _sign,
    ast.Compare: _comparison,
    ast.BinOp: _arithmetic,
}


def _bounded(value: Any) -> Any:
    plain = value is None or isinstance(value, str | int | float | list)
    too_long = isinstance(value, str | list) and len(value) > MAX_RESULT
    too_large = isinstance(value, int | float) and not abs(value) <= MAX_NUMBER
    if not plain or too_long or too_large:
        raise UnsupportedExpressionError
    return value
