"""nflows as exporters can follow it: no branch on values, no triangular solve.

nflows picks out the inputs inside the spline's box by a mask and asks whether there are
any. Here every input goes through the box, clamped, and `where` takes the tails. The
formulas are equations 4 to 8 of Durkan, Bekasov, Murray & Papamakarios, Neural Spline
Flows (2019).
"""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NAME = "unconstrained_rational_quadratic_spline"
_PLACES = (
    "nflows.transforms.splines",
    "nflows.transforms.splines.rational_quadratic",
    "nflows.transforms.autoregressive",
)


@contextmanager
def branch_free() -> Iterator[None]:
    """Put `spline` in the place of nflows's own while a flow is exported."""
    places = [sys.modules[name] for name in _PLACES if name in sys.modules]
    patches = [mock.patch.object(place, _NAME, spline) for place in places]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def cache_inverses(flow: nn.Module) -> nn.Module:
    """Return a copy whose linear layers hold their inverse matrices."""
    flow = copy.deepcopy(flow).eval().requires_grad_(False)
    layers: list[Any] = [m for m in flow.modules() if hasattr(m, "weight_inverse")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nflows calls what torch has deprecated
        for layer in layers:
            layer.use_cache(True)
            for run in (layer.forward, layer.inverse):
                run(torch.zeros(1, layer.features, dtype=layer.bias.dtype))
    return flow


def spline(
    inputs: Tensor,
    unnormalized_widths: Tensor,
    unnormalized_heights: Tensor,
    unnormalized_derivatives: Tensor,
    inverse: bool = False,
    tails: str = "linear",
    tail_bound: float = 1.0,
    min_bin_width: float = 1e-3,
    min_bin_height: float = 1e-3,
    min_derivative: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """Return the monotonic spline with identity tails, and the log of its slope."""
    if tails != "linear":
        raise NotImplementedError(f"tails '{tails}'")
    x = _knots(unnormalized_widths, tail_bound, min_bin_width)
    y = _knots(unnormalized_heights, tail_bound, min_bin_height)
    edge = math.log(math.exp(1 - min_derivative) - 1)
    slopes = F.pad(unnormalized_derivatives, (1, 1), value=edge)
    slopes = min_derivative + F.softplus(slopes)
    inside = (inputs >= -tail_bound) & (inputs <= tail_bound)
    clamped = inputs.clamp(-tail_bound, tail_bound)
    within = (clamped[..., None] >= (y if inverse else x)[..., 1:-1]).sum(-1)
    moved, log_slope = _in_bin(clamped, within, x, y, slopes, inverse)
    tail = torch.zeros_like(inputs)
    return torch.where(inside, moved, inputs), torch.where(inside, log_slope, tail)


def _knots(unnormalized: Tensor, bound: float, least: float) -> Tensor:
    """Return the K + 1 knots of K bins between -bound and bound."""
    shares = F.softmax(unnormalized, -1)
    shares = least + (1 - least * unnormalized.shape[-1]) * shares
    inner = 2 * bound * shares.cumsum(-1)[..., :-1] - bound
    low = torch.full_like(shares[..., :1], -bound)
    return torch.cat([low, inner, -low], -1)


def _in_bin(
    inputs: Tensor, index: Tensor, x: Tensor, y: Tensor, slopes: Tensor, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Evaluate each input's own bin (x0, y0)..(x1, y1) with slopes d0, d1."""

    def pick(values: Tensor, offset: int) -> Tensor:
        return values.gather(-1, index[..., None] + offset)[..., 0]

    x0, x1, y0, y1 = pick(x, 0), pick(x, 1), pick(y, 0), pick(y, 1)
    d0, d1, s = pick(slopes, 0), pick(slopes, 1), (y1 - y0) / (x1 - x0)
    bend = d0 + d1 - 2 * s
    if inverse:
        rise = inputs - y0
        a = rise * bend + (y1 - y0) * (s - d0)
        b = (y1 - y0) * d0 - rise * bend
        root = torch.sqrt((b * b + 4 * a * s * rise).clamp(min=0))
        t = 2 * s * rise / (b + root)
    else:
        t = (inputs - x0) / (x1 - x0)
    middle = t * (1 - t)
    below = s + bend * middle
    above = s * s * (d1 * t * t + 2 * s * middle + d0 * (1 - t) * (1 - t))
    log_slope = torch.log(above) - 2 * torch.log(below)
    if inverse:
        return t * (x1 - x0) + x0, -log_slope
    return y0 + (y1 - y0) * (s * t * t + d0 * middle) / below, log_slope
