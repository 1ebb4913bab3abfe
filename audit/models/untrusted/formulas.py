"""Texts that torch evaluates as Python: may these be small numbers and nothing else?

A formula over sizes is read by sympy, which computes what it can at once and multiplies
out what it cannot: `10**10**10`, `10^10^10` (a power to sympy), `1e99999999` and
`Float(1, 10**9)` would take years, a product of sums has as many terms as the product
of their numbers. So a formula has bounds for its text, depth, numbers, powers and
terms, and for how many bits its value could have at the largest sizes. The rules:

    bits    size 64, number its own, a + b: max + 1, a b: sum, a^k: k times
    terms   size and number 1, a + b: sum, a b: product, a^k: C(terms + k − 1, k)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil, comb
from typing import NoReturn

MAX_TEXT = 4096
MAX_DEPTH = 48
MAX_POWER = 16
MAX_BITS = 2048  # of what a formula may be worth
MAX_TERMS = 64  # of a formula multiplied out
MAX_CHOICES = 24  # numbers of which the largest, or one, is taken
SIZE_BITS = 64
_ARITHMETIC = (
    *("Add", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "ModularIndexing"),
    *("IntTrueDiv", "FloatTrueDiv", "Abs", "ToFloat", "TruncToInt", "CeilToInt"),
    *("FloorToInt", "RoundToInt", "floor", "ceiling", "sqrt", "Eq", "Ne", "Gt", "Ge"),
    *("Lt", "Le", "Not", "Equality", "Unequality", "GreaterThan", "LessThan"),
    *("StrictGreaterThan", "StrictLessThan"),
)
_CHOICES = ("Max", "Min", "max", "min", "And", "Or", "Where")
_POWERS = ("Pow", "FloatPow", "PowByNatural")
_METHODS = {"size", "stride", "dim", "storage_offset"}
_WORD = re.compile(r"\w*")
_NUMBER = re.compile(r"\d{1,19}(\.\d{0,19})?(e[-+]?\d{1,2})?|\.\d{1,19}")
_SYMBOL = re.compile(r"[a-z]+\d*|_\w*\d|oo|int_oo")


@dataclass(frozen=True)
class Extent:
    """How large the value of a formula could be, and how long the formula."""

    bits: int = SIZE_BITS
    terms: int = 1
    choices: int = 0

    def plus(self, other: Extent) -> Extent:
        """Return that of a sum."""
        return self._of(max(self.bits, other.bits) + 1, self.terms + other.terms, other)

    def times(self, other: Extent) -> Extent:
        """Return that of a product or a quotient."""
        return self._of(self.bits + other.bits, self.terms * other.terms, other)

    def power(self, exponent: int) -> Extent:
        """Return that of a power."""
        terms = comb(self.terms + exponent - 1, exponent)
        return Extent(self.bits * max(exponent, 1), terms, self.choices)

    def whole(self) -> Extent:
        """Return that of what is not multiplied out: one term, whatever it is of."""
        return replace(self, terms=1)

    def _of(self, bits: int, terms: int, other: Extent) -> Extent:
        return Extent(bits, terms, self.choices + other.choices)

    @property
    def is_small(self) -> bool:
        """Whether it can be computed at once."""
        return (
            self.bits <= MAX_BITS
            and self.terms <= MAX_TERMS
            and self.choices <= MAX_CHOICES
        )


def is_formula(text: str) -> bool:
    """Whether a shape expression is small arithmetic over symbols."""
    return _fits(text, guard=False)


def is_guard(text: str) -> bool:
    """Whether a guard compares sizes: `L['x'].size()[0] >= 2`."""
    return _fits(text.replace("\n", " "), guard=True)


def _fits(text: str, guard: bool) -> bool:
    if len(text) > MAX_TEXT or not text.isascii() or not text.isprintable():
        return False
    try:
        tree = ast.parse(text, mode="eval").body
        _Walk(text, guard).extent(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


class Refused(ValueError):
    """A part of a text that is no small arithmetic."""


class _Walk:
    """Goes through a text's tree; what it does not know is refused."""

    def __init__(self, text: str, guard: bool) -> None:
        self._text, self._guard = text, guard
        self._depth = 0

    def extent(self, node: ast.expr) -> Extent:
        """Return the extent of a part.

        Raises:
            Refused: it is not known, too deep or too large.
        """
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Refused
        found = self._extent(node)
        if not found.is_small:
            raise Refused
        self._depth -= 1
        return found

    def _extent(self, node: ast.expr) -> Extent:
        match node:
            case ast.Constant(value=bool()):
                return Extent(1)
            case ast.Constant() | ast.Call(func=ast.Name(id="Integer")):
                return Extent(abs(int(self._number(node))).bit_length())
            case ast.Call(func=ast.Name(id="Float" | "Rational")):
                return Extent(int(abs(self._number(node))).bit_length() + SIZE_BITS)
            case ast.Name(id=name) if _SYMBOL.fullmatch(name):
                return Extent()
            case ast.UnaryOp(operand=operand):
                return self.extent(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(left, right)
            case ast.BinOp(left=left, op=op, right=right):
                return self._operation(op, self.extent(left), self.extent(right))
            case ast.Compare(left=left, comparators=others):
                return self._sum([left, *others])
            case ast.BoolOp(values=values):
                return self._sum(values)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._call(name, args, keywords)
        return self._size(node)

    def _number(self, node: ast.expr) -> float:
        """Return the number that a literal is, as sympy or Python would write one."""
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand)
            case ast.Call(func=ast.Name(id="Integer"), args=[inner], keywords=[]):
                return self._number(inner)
            case ast.Call(func=ast.Name(id="Rational"), args=[p, q], keywords=[]):
                return self._number(p) / (self._number(q) or _refuse())
            case ast.Call(
                func=ast.Name(id="Float"),
                args=[ast.Constant(value=str(written))],
                keywords=[ast.keyword(arg="precision", value=ast.Constant(value=53))],
            ):
                return float(_literal(written.removeprefix("-")))
            case ast.Constant(value=int() | float() as value):
                # The text counts, not Python's value: sympy reads it anew.
                _literal(self._text[node.col_offset : node.end_col_offset])
                return value
        raise Refused

    def _power(self, base: ast.expr, exponent: ast.expr) -> Extent:
        power = ceil(abs(self._number(exponent)))
        if power > MAX_POWER:
            raise Refused
        return self.extent(base).power(power)

    @staticmethod
    def _operation(op: ast.operator, left: Extent, right: Extent) -> Extent:
        match op:
            case ast.Add() | ast.Sub():
                return left.plus(right)
            case ast.Mult() | ast.Div():
                return left.times(right)
            case ast.FloorDiv() | ast.Mod():
                return left.plus(right).whole()
        raise Refused  # ^ is a power to sympy, << one to everybody

    def _sum(self, nodes: Iterable[ast.expr]) -> Extent:
        total = Extent(0, 0)
        for node in nodes:
            total = total.plus(self.extent(node))
        return total

    def _call(
        self, name: str, args: list[ast.expr], keywords: list[ast.keyword]
    ) -> Extent:
        if not all(_is_flag(keyword) for keyword in keywords):
            raise Refused
        match name, args:
            case "Symbol", [ast.Constant(value=str(word))] if _WORD.fullmatch(word):
                return Extent()
            case "Mul", _:
                return reduce(Extent.times, map(self.extent, args), Extent(0))
            case _, [base, exponent] if name in _POWERS:
                return self._power(base, exponent)
        if name in _CHOICES:
            total = self._sum(args).whole()
            return replace(total, choices=total.choices + len(args))
        if name not in _ARITHMETIC:
            raise Refused
        return self._sum(args) if name == "Add" else self._sum(args).whole()

    def _size(self, node: ast.expr) -> Extent:
        """A size of an input, in a guard: L['x'].size()[0]."""
        match node:
            case ast.Name(id="L") if self._guard:
                return Extent()
            case ast.Attribute(value=value, attr=name) if name in _METHODS:
                return self._size(value)
            case ast.Call(func=ast.Attribute() as method, args=[], keywords=[]):
                return self._size(method)
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key))):
                return self._size(value) if _WORD.fullmatch(key) else _refuse()
            case ast.Subscript(value=value, slice=place):
                self._number(place)
                return self._size(value)
        raise Refused


def _literal(written: str) -> str:
    return written if _NUMBER.fullmatch(written) else _refuse()


def _is_flag(keyword: ast.keyword) -> bool:
    """Whether a keyword is a flag such as integer=True."""
    value = keyword.value
    return isinstance(value, ast.Constant) and isinstance(value.value, bool)


def _refuse() -> NoReturn:
    raise Refused
