"""The few `$` expressions of MONAI bundles that mean something without running code."""

from __future__ import annotations

import ast
import operator
import posixpath
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from monai.transforms.utils import is_positive

MAX_LENGTH = 500
MAX_RESULT = 10_000
MAX_NUMBER = 1e12
MAX_EXPONENT = 64

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
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_SIGNS: dict[type, Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_}

# Functions of plain values, by the names that expressions have for them; nothing else can be called.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "bool": bool,
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "os.path.join": posixpath.join,
    "range": lambda *bounds: _listed(range(*bounds)),
    "round": lambda value, digits=None: round(
        float(value), digits
    ),  # of a whole number, -10**9 digits would take for ever
    "sorted": sorted,
    "str": str,
    "sum": sum,
    "tuple": list,
}
# Of a mapping, without arguments.
_VIEWS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "keys": list,
    "values": lambda mapping: list(mapping.values()),
    "items": lambda mapping: [list(item) for item in mapping.items()],
}


class UnsupportedExpressionError(Exception):
    """The expression would need code to run, or values that are not there."""


def plain_reference(expression: str) -> str | None:
    """The id that an expression refers to and does nothing else with: "a" for "@a", and for "@a.to(@device)"; or None."""
    match = _ALONE.fullmatch(expression.strip())
    return match.group(1) if match else None


def evaluate(expression: str, lookup: Callable[[str], Any]) -> Any:
    """The value of an expression (without its `$`) over literals and references, by a small interpreter of its syntax tree.

    Literals, lists, tuples (as lists), mappings, references, indexing, + - * / // % **, comparisons, `and`, `or`, `not`,
    `x if condition else y`, and calls of a few functions of plain values (`len`, `max`, `int`, ...), which are looked up by name. There are
    no other names and no attributes, and nothing is executed. Every intermediate result is bounded.

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the expression is written, to programmers
            tree = ast.parse(text, mode="eval")
        if references and any(
            isinstance(node, ast.Constant) and "reference_" in str(node.value) for node in ast.walk(tree)
        ):
            raise UnsupportedExpressionError  # a reference inside a quoted text
        return _value(tree.body, lambda name: lookup(references[name]))
    except (SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError) as error:
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


def _comparison(node: ast.Compare, lookup: Callable[[str], Any]) -> bool:
    left = _value(node.left, lookup)
    for operation, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, lookup)
        if not _OPERATIONS[type(operation)](left, right):
            return False
        left = right
    return True


def _arithmetic(node: ast.BinOp, lookup: Callable[[str], Any]) -> Any:
    left, right = _value(node.left, lookup), _value(node.right, lookup)
    if isinstance(node.op, ast.Mult) and (isinstance(left, list) or isinstance(right, list)):
        items, times = (left, right) if isinstance(left, list) else (right, left)
        return items * times if len(items) * times <= MAX_RESULT else _unsupported()
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if not numbers and not isinstance(node.op, ast.Add):
        raise UnsupportedExpressionError  # "x" * 10**9, "%s" % x
    if isinstance(node.op, ast.Pow) and not abs(right) <= MAX_EXPONENT:
        raise UnsupportedExpressionError
    return _OPERATIONS[type(node.op)](left, right)


def _call(node: ast.Call, lookup: Callable[[str], Any]) -> Any:
    if any(isinstance(argument, ast.Starred) for argument in node.args) or node.keywords:
        raise UnsupportedExpressionError
    arguments = [_value(argument, lookup) for argument in node.args]
    function = _FUNCTIONS.get(ast.unparse(node.func))
    if function is not None:
        return function(*arguments)
    if not isinstance(node.func, ast.Attribute) or arguments:
        raise UnsupportedExpressionError
    mapping = _value(node.func.value, lookup)
    return _VIEWS[node.func.attr](mapping) if isinstance(mapping, dict) else _unsupported()


def _mapping(node: ast.Dict, lookup: Callable[[str], Any]) -> dict[str, Any]:
    """With texts as keys, as `read_config` gives mappings."""
    return {
        str(_value(key, lookup) if key else _unsupported()): _value(value, lookup)
        for key, value in zip(node.keys, node.values, strict=True)
    }


def _item(node: ast.Subscript, lookup: Callable[[str], Any]) -> Any:
    value, index = _value(node.value, lookup), node.slice
    if isinstance(index, ast.Slice):
        ends: list[Any] = [end and _value(end, lookup) for end in (index.lower, index.upper, index.step)]
        return value[slice(*ends)] if isinstance(value, list | str) else _unsupported()
    key = _value(index, lookup)
    return value[str(key)] if isinstance(value, dict) else value[key]


def _listed(items: Sequence[int]) -> list[int]:
    return list(items) if len(items) <= MAX_RESULT else _unsupported()


def _unsupported() -> NoReturn:
    raise UnsupportedExpressionError


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
    ast.Call: _call,
    ast.Dict: _mapping,
    ast.Subscript: _item,
}


def _bounded(value: Any) -> Any:
    plain = value is None or isinstance(value, str | int | float | list | dict)
    too_large = isinstance(value, int | float) and not abs(value) <= MAX_NUMBER
    if not plain or too_large or _size(value) > MAX_RESULT:
        raise UnsupportedExpressionError
    return value


def _size(value: Any) -> int:
    """Values and characters in all, counted no further than beyond the bound: lists in lists grow fast."""
    if isinstance(value, str):
        return len(value)
    size = 1
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        size += _size(item)
        if size > MAX_RESULT:
            break
    return size
