"""Expressions and links on a tape: what lies between a file's outputs and a family.

A family that is enclosed asks for each parameter in a coordinate of its own:

    value       the parameter itself
    log         its logarithm; of exp(v) that is v, of softplus(v) one curve
    logit       log p/(1−p); of sigmoid(v) it is v
    logits      the parameter, up to a number that all classes share
    log_probs   the logarithm up to such a number; of softmax(v) it is v

Copies, multiples and square roots between a link and its logarithm are looked through.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.importer.relaxation import Bend, Moving, Operand, Softened, Tape, refusal
from audit.importer.relaxation import functions as curves
from audit.importer.relaxation.affine import added, copied, operator, scaled
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.tape import Affine
from audit.models.expressions import Expression, applied
from audit.models.functions import aligned

_CURVES: dict[str, Curve] = {
    "exp": curves.EXP,
    "log": curves.LOG,
    "logit": curves.LOGIT,
    "sigmoid": curves.SIGMOID,
    "softplus": curves.switched(20.0),  # as torch computes it
    "sqrt": curves.SQRT,
    "square": curves.SQUARE,
    "tanh": curves.TANH,
    "abs": curves.ABS,
}
_COPIES = ("identity", "cat", "stack", "reshape", "diag", "transpose", "pad")
_SUMS = ("sum", "mean", "cumsum")
_SOFT = ("softplus", "softplus_switched")


@dataclass(frozen=True)
class Writer:
    """Writes expressions of a file's outputs on its tape.

    Args:
        tape: it grows. outputs: what the file's outputs are.
    """

    tape: Tape
    outputs: Mapping[str, Operand]

    def __call__(self, expression: Expression) -> Operand:
        """Return the value of an expression.

        Raises:
            NoCertificate: a function or operator in it has no place on a tape.
        """
        return expression.reduced(self._leaf, self._made)

    def _leaf(self, name: str | float) -> Operand:
        if isinstance(name, float):
            return self.tape.x.new_tensor(name)
        for known in (name, name.removeprefix("@")):
            if known in self.outputs:
                found = self.outputs[known]
                if isinstance(found, np.ndarray):
                    found = torch.from_numpy(found)
                return found.double() if isinstance(found, Tensor) else found
        raise refusal(f"the graph has no output '{name}'")

    def _made(self, node: ast.expr, values: list[Operand]) -> Operand:
        tensors = [v for v in values if isinstance(v, Tensor)]
        if len(tensors) == len(values):
            return applied(node, tensors)
        if not all(isinstance(v, Tensor | Moving) for v in values):
            raise refusal("a softmax inside an expression")
        if isinstance(node, ast.Subscript):
            return self._copied(node, values, "a slice")
        if isinstance(node, ast.UnaryOp):
            return self._times(values[0], self.tape.x.new_tensor(-1.0))
        if isinstance(node, ast.BinOp):
            return self._binary(node, values)
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        return self._called(node, node.func.id, values)

    def _called(self, node: ast.Call, name: str, values: list[Operand]) -> Operand:
        (first, *_), plain = values, not node.keywords
        if name in _CURVES and isinstance(first, Moving):
            return Moving(self.tape.bend(first.at, _CURVES[name]))
        if name == "softmax" and plain and isinstance(first, Moving):
            return Softened(first.at)
        if name in _COPIES or (name == "tril" and plain):
            return self._copied(node, values, name)
        if name in _SUMS and isinstance(first, Moving):

            def run(v: Tensor) -> Tensor:
                return applied(node, [v])

            return Moving(operator(self.tape, first.at, run, run, None, name))
        raise refusal(f"{name}() in an expression")

    def _copied(self, node: ast.expr, values: Sequence[Operand], what: str) -> Operand:
        inputs = [v.at for v in values if isinstance(v, Moving)]

        def run(*moving: Tensor) -> Tensor:
            rest = iter(moving)
            given = [next(rest) if isinstance(v, Moving) else v for v in values]
            return applied(node, given)  # type: ignore[arg-type]

        return Moving(copied(self.tape, inputs, run, what))

    def _binary(self, node: ast.BinOp, values: list[Operand]) -> Operand:
        left, right = self._aligned(values)
        op = type(node.op)
        if op in (ast.Add, ast.Sub):
            sign = -1.0 if op is ast.Sub else 1.0
            if isinstance(left, Moving) and isinstance(right, Moving):
                return Moving(added(self.tape, [left.at, right.at], [1.0, sign], "+"))
            if isinstance(left, Moving):
                assert isinstance(right, Tensor)
                return self._times(left, self.tape.x.new_ones(()), sign * right)
            assert isinstance(left, Tensor)
            return self._times(right, self.tape.x.new_tensor(sign), left)
        if op is ast.Mult and isinstance(left, Tensor):
            return self._times(right, left)
        if op in (ast.Mult, ast.Div) and isinstance(right, Tensor):
            return self._times(left, right if op is ast.Mult else 1 / right)
        raise refusal("a product, quotient or power of what moves in an expression")

    def _times(
        self, value: Operand, factor: Tensor, shift: Tensor | None = None
    ) -> Operand:
        assert isinstance(value, Moving)
        return Moving(scaled(self.tape, value.at, factor, shift, "an expression"))

    def _aligned(self, values: list[Operand]) -> list[Operand]:
        """Give all values the same number of axes, as expressions do."""
        centres = [
            self.tape.values[v.at] if isinstance(v, Moving) else v for v in values
        ]
        found: list[Operand] = []
        for value, lifted in zip(values, aligned(*centres), strict=True):  # type: ignore[arg-type]
            if not isinstance(value, Moving):
                found.append(lifted)
            elif lifted.shape == self.tape.values[value.at].shape:
                found.append(value)
            else:
                event = lifted.shape[1:]
                at = copied(
                    self.tape, [value.at], lambda v, e=event: v.reshape(-1, *e), "axes"
                )
                found.append(Moving(at))
        return found


def coordinate(tape: Tape, value: Operand, kind: str) -> Operand:
    """Return a parameter in the coordinate that its family asks for.

    Raises:
        NoCertificate: a softmax or sigmoid is where none is looked through.
    """
    if isinstance(value, Softened):
        if value.log == (kind == "logits") and kind in ("logits", "log_probs"):
            return Moving(value.at)
        raise refusal("a softmax whose logits are not the law's own")
    if isinstance(value, Tensor):
        return in_coordinate(value, kind)
    assert isinstance(value, Moving)
    if kind in ("value", "logits"):
        return value
    if kind == "logit":
        found = _inverse(tape, value.at, ("sigmoid",))
        return Moving(tape.bend(value.at, curves.LOGIT) if found is None else found)
    found = _inverse(tape, value.at, ("exp", *_SOFT))
    return Moving(tape.bend(value.at, curves.LOG) if found is None else found)


def in_coordinate(value: Tensor, kind: str) -> Tensor:
    """Return numbers in a coordinate."""
    if kind in ("log", "log_probs"):
        return value.log()
    return torch.logit(value) if kind == "logit" else value


def _inverse(tape: Tape, at: int, links: tuple[str, ...]) -> int | None:
    """Return the logarithm (or logit) of a value as what its link was given."""
    entry = tape.entries[at]
    if isinstance(entry, Bend):
        return _of_bend(tape, entry, links)
    if not isinstance(entry, Affine) or len(entry.inputs) != 1:
        return None
    if entry.index is not None and entry.bias is None:
        inner = _inverse(tape, entry.inputs[0], links)
        return None if inner is None else copied(tape, [inner], entry.run, "a copy")
    alpha, beta = entry.factor or (0.0, 0.0)
    if alpha > 0 and beta == 0 and "exp" in links:
        inner = _inverse(tape, entry.inputs[0], links)
        shift = tape.x.new_tensor(alpha).log()
        one = tape.x.new_ones(())
        return None if inner is None else scaled(tape, inner, one, shift, "a factor")
    return None


def _of_bend(tape: Tape, entry: Bend, links: tuple[str, ...]) -> int | None:
    name = entry.curve.name
    if name == "sqrt" and "exp" in links:
        inner = _inverse(tape, entry.input, links)
        half = tape.x.new_tensor(0.5)
        return None if inner is None else scaled(tape, inner, half, None, "a root")
    if name not in links:
        return None
    if name in _SOFT:
        curve = curves.log_of(entry.curve)
        return None if curve is None else tape.bend(entry.input, curve)
    return entry.input
