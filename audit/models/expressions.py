"""From a network's outputs to a family's parameters: a small, safe expression.

    loc=mean        scale=exp(log_std)        loc=out[:, :3]        df=4
    scale=softplus(out[..., 1])  scale_tril=tril(out[:, 6:12])  probs=softmax("out:0")

Grammar: the name of an output or input (in quotes if it is no Python name; `@name` for
a tensor inside the graph), slices of it with the batch axis first, numbers, + − * / **
and unary minus, and the functions in `functions`. Exporters call outputs `21`: a number
that is also the name of an output is refused, and either is written "21" or 21.0. The
text is parsed, never evaluated by Python. Functions run in float64, whatever the
network's own type. Values whose shapes do not fit each other are refused with both
shapes; nothing is broadcast where it could mean two things.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from keyword import iskeyword
from typing import TypeVar

from torch import Tensor

from audit.ground.errors import ConfigError, boundary, cause
from audit.models.functions import FUNCTIONS, aligned
from audit.models.grammar import (
    Outside,
    check,
    keywords_of,
    operands_of,
    output_name,
    source_of,
    values_in,
)
from audit.models.indexing import indexed, places_of, shown

T = TypeVar("T")
MAX_TEXT = 4096
MAX_SHOWN = 200  # characters of an expression in an error
_PLAIN = re.compile(r"[\w./:\-]+")
_OPERATORS: dict[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_WRONG = (IndexError, ValueError, TypeError, RuntimeError, OverflowError)


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
        try:
            check(self._tree)
        except Outside as outside:
            raise self._refused(outside.why, outside.next_step) from None

    def __str__(self) -> str:
        return self.text

    @property
    def _source(self) -> str:
        """The text with names inside the graph in quotes."""
        return source_of(self.text)

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
        """The outputs and inputs it reads."""
        found = map(output_name, values_in(self._tree))
        return frozenset(name for name in found if name is not None)

    def refuse_ambiguous(self, outputs: Collection[str]) -> None:
        """Refuse a number that is also the name of an output.

        Raises:
            ConfigError: there is one; says how to write either.
        """
        for number in map(self._number, values_in(self._tree)):
            if number in outputs:
                raise ConfigError(
                    f"The expression '{self.text}' reads {number}, which is a number "
                    f"and the name of an output (the outputs are {', '.join(outputs)})",
                    "Expected a name that is a number in quotes",
                    f"""Write '"{number}"' for the output, or """
                    f"{_written_apart(number, outputs)} for the number",
                )

    def _number(self, node: ast.expr) -> str:
        """Return a number as it is written, with its sign too; "" for others."""
        inner = node.operand if isinstance(node, ast.UnaryOp) else node
        if not isinstance(inner, ast.Constant) or isinstance(inner.value, str):
            return ""
        return (ast.get_source_segment(self._source, node) or "").replace(" ", "")

    def argument_of(self, link: str) -> Expression | None:
        """Return x of `link(x)`; None if it is something else."""
        match self._tree:
            case ast.Call(func=ast.Name(id=name), args=[operand], keywords=[]):
                return Expression(ast.unparse(operand)) if name == link else None
        return None

    def output(self, *, sliced: bool) -> str | None:
        """Return the output's name if it is all there is, but perhaps for a slice."""
        node = self._tree
        while sliced and isinstance(node, ast.Subscript):
            node = node.value
        return output_name(node)

    def reading(self, name: str) -> Expression:
        """Return the expression with a tensor inside the graph for its output."""
        node, slices = self._tree, ""
        while isinstance(node, ast.Subscript):
            part = ast.Subscript(ast.Name("x"), node.slice)
            slices = ast.unparse(part).removeprefix("x") + slices
            node = node.value
        return Expression(_inside(name) + slices)

    def renamed(self, names: Mapping[str, str]) -> Expression:
        """Return the expression with other names for some of its outputs."""
        if not self.names & set(names):
            return self
        tree = ast.parse(self._source, mode="eval").body
        for node in values_in(tree):
            other = names.get(output_name(node) or "")
            if other is not None and isinstance(node, ast.Name):
                node.id = quoted(other)
            elif other is not None and isinstance(node, ast.Constant):
                node.value = other
        return Expression(ast.unparse(tree))

    def __call__(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Return its value: outputs [N, …] in float64 -> [N, …]."""
        rows = next(iter(outputs.values()))
        try:
            value = self._value(self._tree, outputs, rows)
            return value if value.dim() else value.expand(len(rows)).clone()
        except Exception:
            shapes = ", ".join(f"{name} {list(v.shape)}" for name, v in outputs.items())
            with boundary(
                f"The expression '{self.text[:MAX_SHOWN]}' cannot be computed",
                f"Expected one that fits the outputs, {shapes}",
                "Correct the --param",
                ConfigError,
            ):
                raise

    def reduced(
        self, leaf: Callable[[str | float], T], made: Callable[[ast.expr, list[T]], T]
    ) -> T:
        """Return what comes of reading it in other values than tensors.

        Args:
            leaf: the name of an output, or a number -> its value.
            made: a part of the expression, and the values of its operands -> its own.
        """

        def value(node: ast.expr) -> T:
            name = output_name(node)
            if name is not None:
                return leaf(name)
            if isinstance(node, ast.Constant):
                return leaf(float(node.value))  # type: ignore[arg-type]
            return made(node, [value(part) for part in operands_of(node) or ()])

        return value(self._tree)

    def _value(
        self, node: ast.expr, outputs: Mapping[str, Tensor], rows: Tensor
    ) -> Tensor:
        name = output_name(node)
        if name is not None:
            return self._output(name, outputs)
        if isinstance(node, ast.Constant):
            return rows.new_tensor(float(node.value))  # type: ignore[arg-type]
        parts = operands_of(node)
        assert parts is not None
        values = [self._value(part, outputs, rows) for part in parts]
        try:
            return applied(node, values)
        except _WRONG as error:
            raise self._misfit(node, values, error) from None

    def _output(self, name: str, outputs: Mapping[str, Tensor]) -> Tensor:
        for known in (name, name.removeprefix("@")):
            if known in outputs:
                return outputs[known]
        raise ConfigError(
            f"The expression '{self.text}' reads '{name}'",
            f"The file's outputs are {', '.join(outputs)}",
            "Use one of these names in --param",
        )

    def _misfit(
        self, node: ast.expr, values: Sequence[Tensor], error: Exception
    ) -> ConfigError:
        """Return the error for values whose shapes a part of it does not take."""
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        shapes = " and ".join(str(list(value.shape)) for value in values)
        if isinstance(node, ast.Subscript):
            return self._refused(f"does not fit {shapes} ({why})")
        return ConfigError(
            f"In the expression '{self.text[:MAX_SHOWN]}', {shown(node)} is given the "
            f"shapes {shapes} ({why})",
            "Expected shapes that fit each other, the first axis the rows",
            "Slice the outputs, or give one another shape: see robaudit explain "
            "expressions",
        )

    def _refused(self, why: str, next_step: str = "") -> ConfigError:
        return ConfigError(
            f"The expression '{self.text[:MAX_SHOWN]}' {why}",
            "Expected output names, slices such as out[:, :3], numbers, + − * / ** and "
            "functions such as exp, softplus, cat and tril",
            f"{next_step or 'Correct the --param'}; robaudit explain expressions lists "
            "them",
        )


def applied(node: ast.expr, values: Sequence[Tensor]) -> Tensor:
    """Return what a part of an expression makes of its values.

    Raises:
        ConfigError, IndexError, ValueError, RuntimeError: their shapes do not fit.
    """
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return FUNCTIONS[node.func.id](*values, **keywords_of(node))
    if isinstance(node, ast.UnaryOp):
        return -values[0]
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](*aligned(*values))
    assert isinstance(node, ast.Subscript)
    part = indexed(values[0], places_of(node.slice))
    if part.numel() == 0:
        raise IndexError("it selects nothing")
    return part


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
