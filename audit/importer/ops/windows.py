"""Where windows lie: pads, strides, dilations, auto_pad and ceil_mode in one place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_elements

_REMEMBERED = 256
Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """Windows over the spatial axes, with every size made explicit.

    Args:
        pads: (before, after) for each axis, as the file says.
        extra: cells beyond the padding that the last window needs (ceil_mode).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    extra: tuple[int, ...]

    @property
    def symmetric(self) -> bool:
        """Whether torch's own padding argument can express the pads."""
        return not any(self.extra) and all(a == b for a, b in self.pads)

    @property
    def padding(self) -> tuple[int, ...]:
        """The padding argument of torch, when symmetric."""
        return tuple(before for before, _ in self.pads)

    def counts(self, size: tuple[int, ...]) -> list[int]:
        """Return how many windows fit along each axis."""
        return [
            (n + sum(ends) + extra - (k - 1) * d - 1) // s + 1
            for n, ends, extra, k, d, s in zip(
                size,
                self.pads,
                self.extra,
                self.kernel,
                self.dilations,
                self.strides,
                strict=True,
            )
        ]

    def pad(self, x: Tensor, value: float) -> Tensor:
        """Pad the spatial axes, with the extra cells."""
        flat: list[int] = []
        for (before, after), extra in zip(self.pads, self.extra, strict=True):
            flat = [before, after + extra, *flat]
        if not any(flat):
            return x
        sizes = [
            n + sum(ends) + extra
            for n, ends, extra in zip(
                x.shape[-len(self.pads) :], self.pads, self.extra, strict=True
            )
        ]
        check_elements((*x.shape[: -len(self.pads)], *sizes), "A padding")
        return functional.pad(x, flat, value=value)

    def views(self, x: Tensor) -> Tensor:
        """Return the windows of a padded tensor, the kernel axes last."""
        first = x.dim() - len(self.kernel)
        for axis, (size, stride, dilation) in enumerate(
            zip(self.kernel, self.strides, self.dilations, strict=True), first
        ):
            x = x.unfold(axis, (size - 1) * dilation + 1, stride)
            x = x[..., ::dilation]
        return x


def windows(
    size: Numbers,
    kernel: Numbers,
    strides: list[int] | None,
    dilations: list[int] | None,
    pads: list[int] | None,
    auto_pad: str,
    ceil_mode: int = 0,
) -> Windows:
    """Resolve the attributes of a convolution or a pool for one input size."""
    asked = (None if one is None else tuple(one) for one in (strides, dilations, pads))
    found = _resolved(size, kernel, *asked, auto_pad, ceil_mode)
    check_elements(
        (n + sum(end) for n, end in zip(size, found.pads, strict=True)), "A padding"
    )
    return found


@lru_cache(_REMEMBERED)
def _resolved(
    size: Numbers,
    kernel: Numbers,
    strides: Numbers | None,
    dilations: Numbers | None,
    pads: Numbers | None,
    auto_pad: str,
    ceil_mode: int,
) -> Windows:
    rank = len(kernel)
    steps = strides or (1,) * rank
    spread = dilations or (1,) * rank
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, spread, strict=True))
    if any(stride < 1 for stride in steps) or any(k < 1 for k in kernel):
        msg = f"kernel {kernel} and strides {steps} must be positive"
        raise ValueError(msg)
    ends = _pads(size, reach, steps, pads, auto_pad)
    extra = tuple(
        _extra(n + sum(end), r, s) if ceil_mode else 0
        for n, end, r, s in zip(size, ends, reach, steps, strict=True)
    )
    if ceil_mode:
        extra = tuple(
            _without_empty_window(e, n, end, r, s)
            for e, n, end, r, s in zip(extra, size, ends, reach, steps, strict=True)
        )
    return Windows(kernel, steps, spread, ends, extra)


def _pads(
    size: tuple[int, ...],
    reach: tuple[int, ...],
    strides: tuple[int, ...],
    pads: Numbers | None,
    auto_pad: str,
) -> tuple[tuple[int, int], ...]:
    rank = len(reach)
    if auto_pad in ("NOTSET", ""):
        given = pads or (0,) * (2 * rank)
        return tuple(zip(given[:rank], given[rank:], strict=True))
    if auto_pad == "VALID":
        return ((0, 0),) * rank
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        msg = f"auto_pad '{auto_pad}' is unknown"
        raise ValueError(msg)
    ends = []
    for n, r, s in zip(size, reach, strides, strict=True):
        total = max((-(-n // s) - 1) * s + r - n, 0)
        small, large = total // 2, total - total // 2
        ends.append((small, large) if auto_pad == "SAME_UPPER" else (large, small))
    return tuple(ends)


def _extra(size: int, reach: int, stride: int) -> int:
    return (reach - size) % stride if size >= reach else max(reach - size, 0)


def _without_empty_window(
    extra: int, size: int, ends: tuple[int, int], reach: int, stride: int
) -> int:
    """Drop a last window that would start beyond the input and its first padding."""
    count = (size + sum(ends) + extra - reach) // stride + 1
    starts_outside = (count - 1) * stride >= size + ends[0]
    return extra - stride if extra and starts_outside else extra


def column_major(index: Tensor, spatial: tuple[int, ...]) -> Tensor:
    """Turn flat row-major positions within the spatial axes into column-major ones."""
    result, scale = torch.zeros_like(index), 1
    strides = [1]
    for size in reversed(spatial[1:]):
        strides.insert(0, strides[0] * size)
    for size, stride in zip(spatial, strides, strict=True):
        result = result + (index // stride % size) * scale
        scale *= size
    return result
