"""Texts that torch evaluates as Python: may these be numbers and nothing else?"""

from __future__ import annotations

import ast
import re

_FUNCTIONS = {
    *(
        "Symbol",
        "Integer",
        "Float",
        "Rational",
        "Add",
        "Mul",
        "Pow",
        "Mod",
        "PythonMod",
    ),
    *("FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv", "FloatPow"),
    *("PowByNatural", "ModularIndexing", "Max", "Min", "Abs", "Eq", "Ne", "Gt", "Ge"),
    *("Lt", "Le", "And", "Or", "Not", "Where", "ToFloat", "TruncToInt", "PythonMod"),
    *("CeilToInt", "FloorToInt", "RoundToInt", "floor", "ceiling", "sqrt"),
}
_METHODS = {"size", "stride", "dim", "storage_offset"}
_NODES = (
    *(ast.Constant, ast.Name, ast.Load, ast.Call, ast.keyword, ast.UnaryOp, ast.BinOp),
    *(ast.Compare, ast.BoolOp, ast.unaryop, ast.operator, ast.cmpop, ast.boolop),
)
_WORD = re.compile(r"\w*")
_SYMBOL = re.compile(r"[a-z]+\d*|_\w*\d+|oo|int_oo")


def is_formula(text: str) -> bool:
    """Whether a shape expression is arithmetic over symbols."""
    tree = _parsed(text)
    return tree is not None and all(_in_formula(node) for node in ast.walk(tree))


def is_guard(text: str) -> bool:
    """Whether a guard compares sizes: `L['x'].size()[0] >= 2`."""
    tree = _parsed(text)
    return tree is not None and all(
        _in_formula(node) or _reads_a_size(node) for node in ast.walk(tree)
    )


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _in_formula(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or bool(_SYMBOL.fullmatch(node.id))
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or bool(_WORD.fullmatch(node.value))
    return isinstance(node, _NODES)


def _reads_a_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and not node.keywords
    if isinstance(node, ast.Attribute):
        return node.attr in _METHODS
    if isinstance(node, ast.Name):
        return node.id == "L"
    return isinstance(node, ast.Subscript)
