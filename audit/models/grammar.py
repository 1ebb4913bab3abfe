"""What an expression may hold: looked at before anything is computed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from difflib import get_close_matches
from math import isfinite

from audit.models.functions import FUNCTIONS, Function, Keyword
from audit.models.indexing import keeps_the_batch, places_of, shown

MAX_DEPTH = 100
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_SWITCHES = {"true": True, "false": False}


class Outside(Exception):
    """A part of an expression that the grammar does not have.

    Args:
        why: a clause about the expression.
        next_step: what to do; "" for the usual advice.
    """

    def __init__(self, why: str, next_step: str = "") -> None:
        super().__init__(why)
        self.why, self.next_step = why, next_step


def check(node: ast.expr, depth: int = 0) -> None:
    """Walk an expression's tree.

    Raises:
        Outside: at the first part that is not of the grammar.
        ConfigError: an index is no number.
    """
    if depth > MAX_DEPTH:
        raise Outside(f"is nested more than {MAX_DEPTH} deep")
    if isinstance(node, ast.Subscript) and not keeps_the_batch(places_of(node.slice)):
        raise Outside("slices the batch axis; begin with ':'")
    if isinstance(node, ast.Call):
        _check_call(node)
    operands = operands_of(node)
    if operands is None:
        raise Outside("uses what the grammar does not have")
    for operand in operands:
        check(operand, depth + 1)


def operands_of(node: ast.expr) -> list[ast.expr] | None:
    """Return the parts of an expression; None if it is outside the grammar."""
    match node:
        case ast.Name() | ast.Constant(value=str()):
            return []
        case ast.Constant(value=int() | float() as value):
            return [] if not isinstance(value, bool) and _is_finite(value) else None
        case ast.Call(func=ast.Name(), args=operands):
            return operands
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=op, right=right):
            return [left, right] if isinstance(op, OPERATORS) else None
        case ast.Subscript(value=value):
            return [value]
    return None


def output_name(node: ast.AST) -> str | None:
    """Return the name that a part of an expression is; None for others."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def values_in(node: ast.expr) -> Iterator[ast.expr]:
    """Yield every part that has a value: no functions, no keywords, no indices."""
    yield node
    for part in operands_of(node) or ():
        yield from values_in(part)


def keywords_of(node: ast.Call) -> dict[str, Keyword]:
    """Return what a call is given by keyword.

    Raises:
        Outside: the function has no such keyword, or takes other values for it.
    """
    name, function = _called(node)
    found: dict[str, Keyword] = {}
    for keyword in node.keywords:
        kind = function.keywords.get(keyword.arg or "")
        if kind is None:
            known = ", ".join(function.keywords) or "none"
            raise Outside(
                f"gives {name}() the keyword '{keyword.arg or '**'}'; it takes {known}"
            )
        value = _keyword(keyword.value, kind)
        if value is None:
            raise Outside(
                f"gives {name}() {keyword.arg}={shown(keyword.value)}; expected "
                + _KINDS[kind]
            )
        found[str(keyword.arg)] = value
    return found


_KINDS = {
    "axis": "the number of an axis",
    "switch": "true or false",
    "number": "a number",
    "diagonal": "a number, or a function of one number such as softplus",
}


def _keyword(node: ast.expr, kind: str) -> Keyword | None:
    """Return a keyword's value; None if it is not of its kind."""
    if isinstance(node, ast.Name):
        if kind == "switch":
            return _SWITCHES.get(node.id)
        known = node.id in FUNCTIONS and FUNCTIONS[node.id].pointwise
        return node.id if kind == "diagonal" and known else None
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return None
    if kind == "switch":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if kind == "axis":
        return value if isinstance(value, int) else None
    return value if _is_finite(value) else None


def _called(node: ast.Call) -> tuple[str, Function]:
    if not isinstance(node.func, ast.Name):
        raise Outside("uses what the grammar does not have")
    name = node.func.id
    if name not in FUNCTIONS:
        close = get_close_matches(name, list(FUNCTIONS), n=1, cutoff=0.6)
        raise Outside(
            f"has the function {name[:40]}(), which there is not",
            f"Did you mean {close[0]}()" if close else "",
        )
    return name, FUNCTIONS[name]


def _check_call(node: ast.Call) -> None:
    name, function = _called(node)
    keywords_of(node)
    if any(isinstance(each, ast.Starred) for each in node.args):
        raise Outside("uses what the grammar does not have")
    given, most = len(node.args), function.most
    if given < function.least or (most is not None and given > most):
        ends = f"{function.least}" if most == function.least else f"{function.least} to"
        ends += "" if most in (function.least, None) else f" {most}"
        ends = f"{function.least} or more" if most is None else ends
        raise Outside(f"gives {name}() {given} values; it takes {ends}")


def _is_finite(value: float) -> bool:
    """Whether a number is one in float64; a whole one may be too large."""
    try:
        return isfinite(float(value))
    except OverflowError:
        return False


INSIDE = re.compile(r"(?<![\w\"'])@([\w./:\-]+)")


def source_of(text: str) -> str:
    """Return an expression with the names of tensors inside the graph in quotes."""
    return INSIDE.sub(r'"@\1"', text).strip()
