"""Operators that go element by element, with NumPy's broadcasting.

y = f(a, b, …) has one partial derivative an element and operand, ∂y/∂a [n, 1, *row]:
it is computed once, and every row of cotangents is multiplied by it. Where an operand
was broadcast, its cotangents are summed over what it was stretched along. The common
partial derivatives are written out; any other is one autograd call on the step, with
its operands expanded to the shape of the result:

    ∂y/∂a = grad(Σ y, a), since element i of y depends on element i of a alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from audit.importer.ops.lengths import halved, length
from audit.importer.replaced import Shielded
from audit.importer.sweep.pushed import Tangents
from audit.importer.sweep.rows import Axes, Dense, Piece, dense
from audit.importer.sweep.rules import (
    KeepsNothing,
    Kept,
    Place,
    Rule,
    Site,
    only_piece,
    rule,
)
from audit.importer.sweep.stretched import aligned, lifted, risen, spread, summed_to
from audit.importer.values import Value

Partial = Callable[[Sequence[Any], Tensor, int], Tensor]
"""(arguments, result, position) -> ∂ result / ∂ argument, as torch broadcasts it."""


def _relu(a: Sequence[Any], y: Tensor, _: int) -> Tensor:
    """Return 0 for x ≤ 0, else 1, NaN included, in one pass over x."""
    x: Tensor = a[0]
    found: Tensor = torch.ops.aten.threshold_backward(y.new_ones(()).expand_as(x), x, 0)
    return found


def _swish(a: Sequence[Any], y: Tensor, _: int) -> Tensor:
    """Return s + y (1 − s) of y = x s and s = 1 / (1 + e⁻ˣ), in two passes."""
    gate = torch.sigmoid(a[0])
    found: Tensor = torch.lerp(y, y.new_ones(()), gate, out=gate)
    return found


PARTIALS: dict[str, Partial] = {
    "Relu": _relu,
    "Exp": lambda a, y, k: y,
    "Tanh": lambda a, y, k: 1 - y * y,
    "Sigmoid": lambda a, y, k: y * (1 - y),
    "FallingSigmoid": lambda a, y, k: -y * torch.sigmoid(a[0]),
    "Mul": lambda a, y, k: a[1 - k],
    "Div": lambda a, y, k: -y / a[1] if k else 1 / a[1],
    "Swish": _swish,
}
MINUS = {"Add": (), "Sum": (), "Identity": (), "Neg": (0,), "Sub": (1,)}
"""Operators that sum their operands -> which of these they subtract."""
_BY_AUTOGRAD = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Erf"),
    *("Log", "Reciprocal", "Sin", "Sinh", "Softsign", "Sqrt", "Tan", "Mish"),
    *("HardSwish", "Softplus", "Elu", "Celu", "Selu", "LeakyRelu", "ThresholdedRelu"),
    *("HardSigmoid", "Shrink", "Gelu", "Clip", "Pow", "PRelu", "Max", "Min", "Mean"),
    *("SwiGLU",),
)
_FIRST_BROADCAST = 7  # before this opset broadcasting had to be asked for


@rule(*PARTIALS, *MINUS, *_BY_AUTOGRAD)
def pointwise(site: Site) -> Rule | None:
    """Return the rule, where the batch of every operand meets that of the result."""
    if site.opset < _FIRST_BROADCAST or list(site.outputs) != [0]:
        return None
    out = site.outputs[0]
    if not all(aligned(place, out) for place in site.active.values()):
        return None
    if site.op in MINUS:
        return Signed(site, MINUS[site.op])
    if site.step.run is length:
        return Length(site, None)
    scaled = site.op == "Swish" and site.attribute("alpha", 1.0) != 1.0
    if scaled or isinstance(site.step.run, Shielded):
        return Pointwise(site, None)
    return Pointwise(site, PARTIALS.get(site.op))


@rule("BatchNormalization")
def batch_norm(site: Site) -> Rule | None:
    """Return y = x · factor + shift with one factor a channel, on axis 1."""
    found = site.only()
    spatial = site.opset >= 9 or site.attribute("spatial", 1) == 1
    if found is None or found[0] != 0 or not spatial or not site.others_fixed():
        return None
    epsilon = float(site.attribute("epsilon", 1e-5))  # type: ignore[arg-type]

    def factor(a: Sequence[Any], _: Tensor, __: int) -> Tensor:
        each = a[1] * (a[4] + epsilon).rsqrt().to(a[1].dtype)
        return each.reshape(-1, *(1,) * (a[0].dim() - 2)).to(a[0].dtype)  # type: ignore[no-any-return]

    return Pointwise(site, factor)


class Pointwise:
    """Every element by itself.

    Args:
        site: where it is.
        partial: its partial derivatives; None: by autograd.
    """

    def __init__(self, site: Site, partial: Partial | None) -> None:
        self._run, self._partial = site.step.run, partial
        self._active, self._out = dict(site.active), site.outputs[0]

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value and the partial derivative of each active operand."""
        if self._partial is None:
            return self._recorded(arguments)
        y = self._run(*arguments)
        assert isinstance(y, Tensor)
        partials = []
        for position in self._active:
            found = self._partial(arguments, y, position)
            partials.append(lifted(found, self._out))
        return y, tuple(partials)

    def _recorded(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        shape = self._run(*arguments).shape  # type: ignore[union-attr]
        given, leaves = list(arguments), []
        for position in self._active:
            value = given[position]
            assert isinstance(value, Tensor)
            leaves.append(value.detach().expand(shape).requires_grad_())
            given[position] = leaves[-1]
        with torch.enable_grad():
            y = self._run(*given)
            assert isinstance(y, Tensor)
            total = y.sum()
        found = torch.autograd.grad(total, leaves, allow_unused=True)
        partials = [
            lifted(y.new_zeros(()) if partial is None else partial, self._out)
            for partial in found
        ]
        return y.detach(), tuple(partials)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Multiply by the partial derivatives."""
        piece = only_piece(given)
        alone = len(kept) == 1
        found: list[list[Piece]] = []
        for partial, place in zip(kept, self._active.values(), strict=True):
            if isinstance(piece, Axes) and place.shape == self._out.shape:
                found.append([_scaled(piece, partial, place)])
            else:
                whole = dense(piece, self._out.shape)
                found.append([_times(whole, partial, place, alone)])
        return found

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Add up the tangents, each times its partial derivative."""
        parts = [
            risen(tangent, self._out) * partial
            for partial, tangent in zip(kept, given, strict=True)
            if tangent is not None
        ]
        return [spread(parts, self._out)]


class Length(Pointwise):
    """The root of a sum of squares: what comes back as zero stays zero."""

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the root, twice."""
        root = self._run(*arguments)
        assert isinstance(root, Tensor)
        return root, (lifted(root, self._out),)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Return g / (2 √q)."""
        whole = dense(only_piece(given), self._out.shape)
        return [[Dense(whole.start, halved(whole.g, kept[0]), owned=True)]]

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Return dq / (2 √q)."""
        (tangent,) = given
        assert tangent is not None
        return [tangent / (2 * kept[0])]


class Signed(KeepsNothing):
    """A sum or a difference: cotangents pass on, with a sign.

    Args:
        site: where it is.
        minus: the positions of what is subtracted.
    """

    def __init__(self, site: Site, minus: Sequence[int]) -> None:
        self._run, self._minus = site.step.run, minus
        self._active, self._out = dict(site.active), site.outputs[0]

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Hand on."""
        piece = only_piece(given)
        shared = len(self._active) > 1
        return [
            [self._passed(piece, place, position in self._minus, shared)]
            for position, place in self._active.items()
        ]

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Add the tangents up, or subtract them."""
        parts = [
            -risen(tangent, self._out)
            if position in self._minus
            else risen(tangent, self._out)
            for position, tangent in zip(self._active, given, strict=True)
            if tangent is not None
        ]
        return [spread(parts, self._out)]

    def _passed(self, piece: Piece, place: Place, minus: bool, shared: bool) -> Piece:
        if isinstance(piece, Axes) and place.shape == self._out.shape:
            return _negated(piece) if minus else piece
        whole = dense(piece, self._out.shape)
        g = summed_to(whole.g, place.shape)
        owned = g is not whole.g or (whole.owned and not shared)
        if minus:
            g, owned = -g, True
        return Dense(whole.start, g, owned)


def _scaled(piece: Axes, partial: Tensor, place: Place) -> Axes:
    """Return rows with one number each, times the partial derivative there."""
    whole = partial.squeeze(1)
    whole = whole.expand(len(whole), *place.shape).reshape(len(whole), -1)
    scale = whole.index_select(1, piece.index)
    if piece.scale is not None:
        scale = scale * piece.scale
    return Axes(piece.start, piece.index, scale, piece.like)


def _negated(piece: Axes) -> Axes:
    scale = piece.like.new_ones(1, len(piece.index))
    scale = -(scale if piece.scale is None else piece.scale)
    return Axes(piece.start, piece.index, scale, piece.like)


def _times(piece: Dense, partial: Tensor, place: Place, alone: bool) -> Dense:
    """Return g ∂y/∂a, in the memory of g where nobody else reads it."""
    fits = partial.shape[0] in (1, piece.g.shape[0])
    g = piece.g.mul_(partial) if piece.owned and alone and fits else piece.g * partial
    return Dense(piece.start, summed_to(g, place.shape), owned=True)
