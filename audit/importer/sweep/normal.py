"""Softmax, LayerNormalization and MaxPool: rules of their own.

Softmax y: g -> y (g − Σ g y) along its axis; log-softmax: g -> g − e^y Σ g. Layer norm
y = x̂ s + b, x̂ = (x − mean) / deviation: with h = g s,
g -> (h − mean h − x̂ mean(h x̂)) / deviation. A maximum hands its cotangent to the place
it was found at.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.sweep.rows import Dense, Piece, dense
from audit.importer.sweep.rules import Kept, Rule, Site, only_piece, rule
from audit.importer.sweep.stretched import lifted
from audit.importer.values import Value, axis_of

_ONE_AXIS = 13  # from this opset on a softmax is along one axis


@rule("Softmax", "LogSoftmax")
def softmax(site: Site) -> Rule | None:
    """Return the rule of a softmax along an axis of a row."""
    found = site.only()
    if found is None or site.opset < _ONE_AXIS:
        return None
    place = found[1]
    axis = axis_of(int(site.attribute("axis", -1)), place.rank)  # type: ignore[call-overload]
    if axis == place.axis:
        return None
    return Softmax(site, place.dim(axis), site.op == "LogSoftmax")


@rule("LayerNormalization")
def layer_norm(site: Site) -> Rule | None:
    """Return the rule of a layer norm over the last axes, all of rows."""
    found = site.only()
    if found is None or found[0] != 0 or not site.others_fixed():
        return None
    place, scale = found[1], site.arguments[1]
    assert isinstance(scale, Tensor)
    first = axis_of(int(site.attribute("axis", -1)), place.rank)  # type: ignore[call-overload]
    whole = place.back(torch.empty(0, *place.shape)).shape[first:]
    if place.axis >= first or tuple(scale.shape) != tuple(whole):
        return None
    return LayerNorm(site, place.rank - first)


class Softmax:
    """A softmax, or its logarithm.

    Args:
        site: where it is.
        axis: of the cotangents [n, r, *row].
        logarithm: whether it is its logarithm.
    """

    def __init__(self, site: Site, axis: int, logarithm: bool) -> None:
        self._run, self._out = site.step.run, site.outputs[0]
        self._axis, self._logarithm = axis, logarithm

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value and the probabilities."""
        y = self._run(*arguments)
        assert isinstance(y, Tensor)
        return y, (lifted(y.exp() if self._logarithm else y, self._out),)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Return the cotangents of the logits."""
        piece, (y,) = only_piece(given), kept
        whole = dense(piece, self._out.shape)
        if self._logarithm:
            g = whole.g - y * whole.g.sum(self._axis, keepdim=True)
        else:
            weighed = whole.g * y
            g = weighed - y * weighed.sum(self._axis, keepdim=True)
        return [[Dense(whole.start, g, owned=True)]]


class LayerNorm:
    """A layer norm.

    Args:
        site: where it is.
        axes: how many of the last axes are standardised.
    """

    def __init__(self, site: Site, axes: int) -> None:
        self._run, self._out = site.step.run, site.outputs[0]
        self._axes = tuple(range(-axes, 0))
        self._epsilon = float(site.attribute("epsilon", 1e-5))  # type: ignore[arg-type]
        scale = site.arguments[1]
        assert isinstance(scale, Tensor)
        self._scale = scale

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value, the standardised operand and one over its deviation."""
        x = arguments[0]
        assert isinstance(x, Tensor)
        variance, mean = torch.var_mean(x, self._axes, correction=0, keepdim=True)
        inverse = (variance + self._epsilon).rsqrt()
        kept = ((x - mean) * inverse, inverse)
        return self._run(*arguments), tuple(lifted(k, self._out) for k in kept)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Return the cotangents of the operand."""
        piece, (standard, inverse) = only_piece(given), kept
        h = dense(piece, self._out.shape).g * self._scale
        along = (h * standard).mean(self._axes, keepdim=True)
        g = (h - h.mean(self._axes, keepdim=True) - standard * along) * inverse
        return [[Dense(piece.start, g, owned=True)]]


@rule("MaxPool")
def max_pool(site: Site) -> Rule | None:
    """Return the rule of a maximum over windows of the last two axes."""
    found = site.only()
    if found is None or not found[1].plain or not found[2].plain:
        return None
    if len(found[1].shape) != 3:  # channels, height, width
        return None
    return _pool_of(site)


def _pool_of(site: Site) -> Rule | None:
    kernel = site.attribute("kernel_shape", None)
    pads = site.attribute("pads", None) or [0, 0, 0, 0]
    steps = site.attribute("strides", None) or [1, 1]
    spread = site.attribute("dilations", None) or [1, 1]
    auto_pad = site.attribute("auto_pad", "NOTSET")
    lists = [each for each in (kernel, pads, steps, spread) if isinstance(each, list)]
    if len(lists) < 4 or auto_pad not in ("NOTSET", b"NOTSET"):
        return None
    even = pads[:2] == pads[2:] and not site.attribute("ceil_mode", 0)  # type: ignore[index]
    if not even or any(2 * p > k for p, k in zip(lists[1][:2], lists[0], strict=True)):
        return None
    return MaxPool(site, lists[0], lists[1][:2], lists[2], lists[3])


class MaxPool:
    """A maximum over windows of an image."""

    def __init__(
        self,
        site: Site,
        kernel: list[int],
        pads: list[int],
        strides: list[int],
        dilations: list[int],
    ) -> None:
        ((_, self._place),) = site.active.items()
        self._out = site.outputs[0]
        self._given = (kernel, strides, pads, dilations)

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the maxima and where they are."""
        x = arguments[0]
        assert isinstance(x, Tensor)
        y, index = functional.max_pool2d(x, *self._given, return_indices=True)
        return y, (index.flatten(2).unsqueeze(1),)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Add each cotangent at its maximum's place."""
        piece, (index,) = only_piece(given), kept
        whole = dense(piece, self._out.shape)
        flat = whole.g.flatten(3)
        n = max(len(flat), len(index))
        flat = flat.expand(n, *flat.shape[1:])
        size = self._place.shape[1:]
        g = flat.new_zeros(*flat.shape[:3], size[0] * size[1])
        g.scatter_add_(3, index.expand(flat.shape), flat)
        return [[Dense(whole.start, g.reshape(*g.shape[:3], *size), owned=True)]]
