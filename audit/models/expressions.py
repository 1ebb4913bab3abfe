"""From a network's outputs to a family's parameters: a small, safe expression.

    loc=mean        scale=exp(log_std)        loc=out[:, :3]        df=4
    scale=softplus(out[:, 3:6])  scale_tril=tril(out[:, 6:12])  probs=softmax("out:0")

Grammar: an output's name (in quotes if it is no Python name; `@name` for a tensor
inside the graph), slices of it with the batch axis first, numbers, + − * / and unary
minus, and the functions in `LINKS`. Exporters call outputs `21`: a number that is also
the name of an output is refused, and either is written "21" or 21.0. The text is
parsed, never evaluated by Python. Links run in float64, whatever the network's own
type.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from keyword import iskeyword
from math import isfinite, isqrt

import torch
from torch import Tensor
from torch.nn import functional

from audit.ground.errors import ConfigError, boundary, cause

MAX_TEXT = 4096
MAX_DEPTH = 100
MAX_SHOWN = 200  # characters of an expression in an error


def tril(values: Tensor) -> Tensor:
    """Return lower triangles: of matrices [N, n, n], or filled from [N, n(n+1)/2].

    A flat vector fills row by row: (0,0), (1,0), (1,1), (2,0), …

    Raises:
        ConfigError: the length of a flat vector is no triangular number.
    """
    if values.dim() > 2:
        return torch.tril(values)
    length = values.shape[-1]
    side = (isqrt(8 * length + 1) - 1) // 2
    if side * (side + 1) // 2 != length:
        raise ConfigError(
            f"tril() was given {length} numbers for each input",
            "A triangle with side n has n(n+1)/2: 1, 3, 6, 10, …",
            "Check the slice in --param",
        )
    rows, columns = torch.tril_indices(side, side, device=values.device)
    matrix = values.new_zeros(*values.shape[:-1], side, side)
    return matrix.index_put((torch.arange(len(values))[:, None], rows, columns), values)


LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "softplus": functional.softplus,
    "sigmoid": torch.sigmoid,
    "softmax": lambda values: torch.softmax(values, dim=-1),
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tril": tril,
    "identity": lambda values: values,
}
_PLAIN = re.compile(r"[\w./:\-]+")
_INSIDE = re.compile(r"(?<![\w\"'])@([\w./:\-]+)")
_OPERATORS: dict[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Expression:
    """A parsed expression over named outputs; `str()` is its source text.

    Raises:
        ConfigError: at construction, if the text is outside the grammar.
    """

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > MAX_TEXT:
            raise self._refused(f"has more than {MAX_TEXT} characters")
        self._check(self._tree)

    def __str__(self) -> str:
        return self.text

    @property
    def _source(self) -> str:
        """The text with names inside the graph in quotes."""
        return _INSIDE.sub(r'"@\1"', self.text).strip()

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self._source, mode="eval").body
        except SyntaxError as error:
            raise self._refused(f"is not an expression ({error.msg})") from None
        except Exception as error:  # NUL, surrogates, depth, numbers of many digits
            raise self._refused(f"is not an expression ({cause(error)})") from None

    @property
    def names(self) -> frozenset[str]:
        """The outputs it reads."""
        functions = {
            id(node.func) for node in ast.walk(self._tree) if isinstance(node, ast.Call)
        }
        return frozenset(
            name
            for node in ast.walk(self._tree)
            if (name := _output_name(node)) is not None and id(node) not in functions
        )

    def refuse_ambiguous(self, outputs: Collection[str]) -> None:
        """Refuse a number that is also the name of an output.

        Raises:
            ConfigError: there is one; says how to write either.
        """
        for number in self._numbers(self._tree):
            if number in outputs:
                raise ConfigError(
                    f"The expression '{self.text}' reads {number}, which is a number "
                    f"and the name of an output (the outputs are {', '.join(outputs)})",
                    "Expected a name that is a number in quotes",
                    f"""Write '"{number}"' for the output, or """
                    f"{_written_apart(number, outputs)} for the number",
                )

    def _numbers(self, node: ast.expr) -> Iterator[str]:
        """Yield the numbers as they are written, with their sign too."""
        if isinstance(node, ast.Constant) and not isinstance(node.value, str):
            yield ast.get_source_segment(self._source, node) or ""
        elif isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
            yield (ast.get_source_segment(self._source, node) or "").replace(" ", "")
        for part in _operands(node) or ():
            yield from self._numbers(part)

    def argument_of(self, link: str) -> Expression | None:
        """Return x of `link(x)`; None if it is something else."""
        match self._tree:
            case ast.Call(func=ast.Name(id=name), args=[operand]) if name == link:
                return Expression(ast.unparse(operand))
        return None

    def output(self, *, sliced: bool) -> str | None:
        """Return the output's name if it is all there is, but perhaps for a slice."""
        node = self._tree
        while sliced and isinstance(node, ast.Subscript):
            node = node.value
        return _output_name(node)

    def reading(self, name: str) -> Expression:
        """Return the expression with a tensor inside the graph for its output."""
        node, slices = self._tree, ""
        while isinstance(node, ast.Subscript):
            part = ast.Subscript(ast.Name("x"), node.slice)
            slices = ast.unparse(part).removeprefix("x") + slices
            node = node.value
        return Expression(_inside(name) + slices)

    def __call__(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Return its value: outputs [N, …] in float64 -> [N, …]."""
        rows = next(iter(outputs.values()))
        shapes = ", ".join(f"{name} {list(v.shape)}" for name, v in outputs.items())
        with boundary(
            f"The expression '{self.text[:MAX_SHOWN]}' cannot be computed",
            f"Expected one that fits the outputs, {shapes}",
            "Correct the --param",
            ConfigError,
        ):
            return self._value(self._tree, outputs, rows)

    def _value(
        self, node: ast.expr, outputs: Mapping[str, Tensor], rows: Tensor
    ) -> Tensor:
        name = _output_name(node)
        if name is not None:
            return self._output(name, outputs)
        if isinstance(node, ast.Constant):
            return rows.new_full((len(rows),), float(node.value))  # type: ignore[arg-type]
        if isinstance(node, ast.Call):
            link = LINKS[node.func.id]  # type: ignore[attr-defined]
            return link(self._value(node.args[0], outputs, rows))
        if isinstance(node, ast.UnaryOp):
            return -self._value(node.operand, outputs, rows)
        if isinstance(node, ast.BinOp):
            left = self._value(node.left, outputs, rows)
            right = self._value(node.right, outputs, rows)
            return _OPERATORS[type(node.op)](*_same_rank(left, right))
        assert isinstance(node, ast.Subscript)
        whole = self._value(node.value, outputs, rows)
        return self._slice(whole, _slices(node.slice))

    def _output(self, name: str, outputs: Mapping[str, Tensor]) -> Tensor:
        for known in (name, name.removeprefix("@")):
            if known in outputs:
                return outputs[known]
        raise ConfigError(
            f"The expression '{self.text}' reads '{name}'",
            f"The file's outputs are {', '.join(outputs)}",
            "Use one of these names in --param",
        )

    def _slice(self, whole: Tensor, index: tuple[int | slice, ...]) -> Tensor:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a slice beyond 64 bits is cut
                part = whole[index]
        except Exception as error:  # torch raises of every kind here
            why = f"does not fit {list(whole.shape)} ({cause(error)})"
            raise self._refused(why) from None
        if part.numel() == 0:
            raise self._refused(f"selects nothing of {list(whole.shape)}")
        return part

    def _check(self, node: ast.expr, depth: int = 0) -> None:
        """Walk the tree and refuse everything outside the grammar."""
        if depth > MAX_DEPTH:
            raise self._refused(f"is nested more than {MAX_DEPTH} deep")
        if isinstance(node, ast.Subscript) and _slices(node.slice)[:1] != (
            slice(None),
        ):
            raise self._refused("slices the batch axis; begin with ':'")
        operands = _operands(node)
        if operands is None:
            raise self._refused("uses what the grammar does not have")
        for operand in operands:
            self._check(operand, depth + 1)

    def _refused(self, why: str) -> ConfigError:
        return ConfigError(
            f"The expression '{self.text[:MAX_SHOWN]}' {why}",
            "Expected output names, slices such as out[:, :3], numbers, + − * / and "
            + ", ".join(LINKS),
            "Correct the --param",
        )


def quoted(name: str) -> str:
    """Return an output's name as an expression reads it."""
    plain = name.isidentifier() and not iskeyword(name)
    return name if plain else f'"{name}"'


def _written_apart(number: str, outputs: Collection[str]) -> str:
    """Return a number in a way that is no output's name: 21 as 21.0."""
    text = repr(float(ast.literal_eval(number)))
    while text in outputs:
        digits, e, power = text.partition("e")
        text = f"{digits}{'' if '.' in digits else '.'}0{e}{power}"
    return text


def _inside(name: str) -> str:
    """Return how a tensor inside the graph is written: @name, quoted if need be."""
    return f"@{name}" if _PLAIN.fullmatch(name) else f'"@{name}"'


def _output_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def _operands(node: ast.expr) -> list[ast.expr] | None:
    """Return the parts of an expression; None if it is outside the grammar."""
    match node:
        case ast.Name() | ast.Constant(value=str()):
            return []
        case ast.Constant(value=int() | float() as value):
            return [] if not isinstance(value, bool) and _is_finite(value) else None
        case ast.Call(func=ast.Name(id=link), args=[operand], keywords=[]):
            return [operand] if link in LINKS else None
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=op, right=right):
            return [left, right] if type(op) in _OPERATORS else None
        case ast.Subscript(value=value):
            return [value]
    return None


def _is_finite(value: float) -> bool:
    """Whether a number is one in float64; a whole one may be too large."""
    try:
        return isfinite(float(value))
    except OverflowError:
        return False


def _slices(node: ast.expr) -> tuple[int | slice, ...]:
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return tuple(_index(part) for part in parts)


def _index(node: ast.expr) -> int | slice:
    try:
        if isinstance(node, ast.Slice):
            ends = (node.lower, node.upper, node.step)
            return slice(*(None if e is None else ast.literal_eval(e) for e in ends))
        return operator.index(ast.literal_eval(node))
    except (ValueError, TypeError, RecursionError):
        raise ConfigError(
            f"The index '{_shown(node)}' is not a number or a slice",
            "Expected something like out[:, :3]",
            "Correct the --param",
        ) from None


def _shown(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:MAX_SHOWN]
    except RecursionError:
        return "…"  # too deep to be written


def _same_rank(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Give both the same number of axes by adding axes after the batch axis.

    Torch aligns shapes from the right; a number for each input [N] must not be
    aligned with the events of [N, n].
    """
    rank = max(left.dim(), right.dim())

    def lift(values: Tensor) -> Tensor:
        shape = (len(values), *[1] * (rank - values.dim()), *values.shape[1:])
        return values.reshape(shape)

    return lift(left), lift(right)
