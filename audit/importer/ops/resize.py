"""Resize and Upsample: each axis in turn, by a few weighted neighbours.

For one axis, `Axis.taps` gives which elements each output reads and with what weight;
both come from NumPy, so only gathers and products reach torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from audit.importer.limits import check_elements, check_temporary
from audit.importer.registry import Site, operator
from audit.importer.values import Host, axis_of, floats, ints


@dataclass(frozen=True)
class Method:
    """The attributes of Resize."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


@dataclass(frozen=True)
class Axis:
    """One axis: its sizes, the exact scale between them, and the region of interest."""

    size: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)

    def positions(self, how: str) -> Host:
        """Return where in the input each output element lies."""
        x, size, scale = np.arange(self.out, dtype=np.float64), self.size, self.scale
        wide = scale * size  # the output size before it was rounded
        start, end = self.roi
        if how == "align_corners":
            return x * 0 if self.out == 1 else x * ((size - 1) / (self.out - 1))
        if how == "asymmetric":
            return np.asarray(x / scale)
        if how == "tf_half_pixel_for_nn":
            return (x + 0.5) / scale
        if how == "tf_crop_and_resize":
            first = start * (size - 1)
            if wide == 1:
                return x * 0 + first + (end - start) * (size - 1) / 2
            return first + x * ((end - start) * (size - 1) / (wide - 1))
        half = (x + 0.5) / scale - 0.5
        if how == "half_pixel":
            return half
        if how == "pytorch_half_pixel":
            return half if self.out > 1 else x * 0
        if how == "half_pixel_symmetric":
            return half + size / 2 * (1 - self.out / wide)
        msg = f"coordinate_transformation_mode '{how}' is unknown"
        raise ValueError(msg)

    def taps(self, method: Method) -> tuple[Host, Host]:
        """Return the positions read by each output element, and their weights."""
        at = self.positions(method.coordinates)
        if method.mode == "nearest":
            whole = _nearest(at, method.nearest)[:, None]
            return np.clip(whole, 0, self.size - 1), np.ones((self.out, 1))
        shrink = min(self.scale, 1.0) if method.antialias else 1.0
        reach = {"linear": 1, "cubic": 2}[method.mode] / shrink
        check_elements((self.out, 2 * ceil(reach)), "The weights of Resize")
        first = floor(-reach) + 1
        steps = np.arange(first, 2 - first)
        low = np.floor(at)
        index = low[:, None] + steps
        distance = np.abs(index - at[:, None]) * shrink
        weights = (
            _linear(distance)
            if method.mode == "linear"
            else (_cubic(distance, method.cubic))
        )
        if method.exclude_outside:
            weights = weights * ((index >= 0) & (index < self.size))
        if method.exclude_outside or method.antialias:
            weights = weights / weights.sum(1, keepdims=True)
        return np.clip(index, 0, self.size - 1), weights

    def outside(self, method: Method) -> Host | None:
        """Return which outputs lie outside the input (tf_crop_and_resize only)."""
        if method.coordinates != "tf_crop_and_resize":
            return None
        at = self.positions(method.coordinates)
        return np.asarray((at < 0) | (at > self.size - 1))


def _nearest(at: Host, how: str) -> Host:
    rounding = {
        "round_prefer_floor": lambda: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda: np.floor(at + 0.5),
        "floor": lambda: np.floor(at),
        "ceil": lambda: np.ceil(at),
    }
    if how not in rounding:
        msg = f"nearest_mode '{how}' is unknown; expected one of {sorted(rounding)}"
        raise ValueError(msg)
    return np.asarray(rounding[how]())


def _linear(distance: Host) -> Host:
    return np.asarray(np.clip(1 - distance, 0, None))


def _cubic(t: Host, a: float) -> Host:
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def resampled(x: Tensor, axes: dict[int, Axis], method: Method) -> Tensor:
    """Resize the given axes of x, one after the other."""
    shape = [axes[i].out if i in axes else n for i, n in enumerate(x.shape)]
    check_elements(shape, "The result of Resize")
    dtype = x.dtype
    x = x if dtype.is_floating_point else x.to(torch.float32)
    missing = None
    for place, axis in axes.items():
        index, weights = axis.taps(method)
        x = _along(x, place, index, weights)
        outside = axis.outside(method)
        if outside is not None:
            mask = torch.as_tensor(outside, device=x.device)
            mask = mask.reshape(-1, *(1,) * (x.dim() - 1 - place))
            missing = mask if missing is None else missing | mask
    if missing is not None:
        x = torch.where(missing, torch.full_like(x, method.extrapolation), x)
    return x.to(dtype)


def _along(x: Tensor, place: int, index: Host, weights: Host) -> Tensor:
    read = (*x.shape[:place], index.size, *x.shape[place + 1 :])
    check_temporary(read, "What Resize reads")
    where = torch.as_tensor(index.astype(np.int64), device=x.device)
    picked = x.index_select(place, where.reshape(-1))
    if index.shape[1] == 1 and (weights == 1).all():
        return picked
    shape = (*x.shape[:place], *index.shape, *x.shape[place + 1 :])
    share = torch.as_tensor(weights, dtype=x.dtype, device=x.device)
    share = share.reshape(*weights.shape, *(1,) * (x.dim() - 1 - place))
    return (picked.reshape(shape) * share).sum(place + 1)


@operator("Resize", since=11, host=(1, 2, 3), zero_inputs=(1, 2, 3))
def resize(
    x: Tensor,
    roi: Host | Tensor | None = None,
    scales: Host | Tensor | None = None,
    sizes: Host | Tensor | None = None,
    *,
    antialias: int = 0,
    axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    site: Site,
) -> Tensor:
    """Resize by scales or to sizes."""
    if mode not in ("nearest", "linear", "cubic"):
        raise site.refuse(f"mode '{mode}' is unknown")
    chosen = [axis_of(a, x.dim()) for a in axes or range(x.dim())]
    method = Method(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias),
        extrapolation_value,
    )
    regions = floats(roi) or [0.0] * len(chosen) + [1.0] * len(chosen)
    shape = [x.shape[a] for a in chosen]
    if sizes is not None and ints(sizes):
        outs, factors = _to_sizes(shape, ints(sizes), keep_aspect_ratio_policy)
    else:
        factors = floats(scales)
        outs = [floor(n * s) for n, s in zip(shape, factors, strict=True)]
    plans = {
        place: Axis(
            shape[i], outs[i], factors[i], (regions[i], regions[i + len(chosen)])
        )
        for i, place in enumerate(chosen)
    }
    return resampled(x, _changing(plans, method), method)


def _to_sizes(
    shape: Sequence[int], sizes: Sequence[int], policy: str
) -> tuple[list[int], list[float]]:
    factors = [size / n for size, n in zip(sizes, shape, strict=True)]
    if policy == "stretch":
        return list(sizes), factors
    if policy not in ("not_larger", "not_smaller"):
        msg = f"keep_aspect_ratio_policy '{policy}' is unknown"
        raise ValueError(msg)
    one = min(factors) if policy == "not_larger" else max(factors)
    return [floor(one * n + 0.5) for n in shape], [one] * len(shape)


def _changing(plans: dict[int, Axis], method: Method) -> dict[int, Axis]:
    """Leave out the axes that stay as they are."""
    if method.coordinates == "tf_crop_and_resize":
        whole = (0.0, 1.0)
        return {k: a for k, a in plans.items() if a.size != a.out or a.roi != whole}
    return {k: a for k, a in plans.items() if a.size != a.out or a.scale != 1.0}


def _plain(x: Tensor, factors: list[float], mode: str) -> Tensor:
    mode = "linear" if mode in ("bilinear", "trilinear") else mode
    method = Method(mode, "asymmetric", "floor")
    plans = {
        place: Axis(n, floor(n * scale), scale)
        for place, (n, scale) in enumerate(zip(x.shape, factors, strict=True))
    }
    return resampled(x, _changing(plans, method), method)


@operator("Resize", since=10, host=(1,), zero_inputs=(1,))
@operator("Upsample", since=9, host=(1,), zero_inputs=(1,))
def resize_by_scales(
    x: Tensor, scales: Host | Tensor, *, mode: str = "nearest"
) -> Tensor:
    """Resize up to opset 10: positions divide by the scale, nearest rounds down."""
    return _plain(x, floats(scales), mode)


@operator("Upsample", since=7)
def upsample_attribute(
    x: Tensor, *, scales: list[float], mode: str = "nearest"
) -> Tensor:
    """The same with the scales as an attribute (opset 7)."""
    return _plain(x, scales, mode)


@operator("Upsample", since=1)
def upsample_image(
    x: Tensor, *, height_scale: float, width_scale: float, mode: str = "nearest"
) -> Tensor:
    """The same for images (opset 1)."""
    return _plain(x, [1.0, 1.0, height_scale, width_scale], mode)
