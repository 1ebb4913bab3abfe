"""Expressions on a tape: what lies between a file's outputs and a family's parameters.

Slices and reshapes are copies, sums and products with constants are affine, functions
of one number are curves; a softmax is marked, for a law of classes is the same by its
logits. What is constant is computed as expressions compute it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.importer.relaxation import Moving, Operand, Softened, Tape, refusal
from audit.importer.relaxation import functions as curves
from audit.importer.relaxation.affine import added, operator, scaled
from audit.importer.relaxation.copies import copied
from audit.importer.relaxation.curves import Curve
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
        found = expression.reduced(self._leaf, self._made)
        if isinstance(found, Tensor) and not found.dim():
            return found.expand(self.tape.rows).clone()
        return found

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
