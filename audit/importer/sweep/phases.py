"""The transpose of a strided convolution of a thin image, as one without strides.

Along an axis y_p = Σ w_k g_i over p + pad = s i + k, with stride s. Write p = s t + f,
f < s the phase: with δ = t − i the tap is k = s δ + f + pad, and

    y_{s t + f} = Σ_δ w_{s δ + f + pad} g_{t − δ},

for each phase a convolution of g without a stride, with every s-th weight, over the
same δ for all phases where weights that are not there are zero. The phases are channels
of one convolution, and a shuffle of pixels puts them side by side, which is one copy.
Image gradients have 1 to 4 channels, which kernels of convolutions fill up to 16; with
the phases, s² times as many are asked for, and none of the k² columns of windows is
stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LEAST = 64  # weights of a channel out; windows of fewer are added one place at a time


@dataclass(frozen=True)
class Axis:
    """One axis: s, and how far δ goes.

    Args:
        stride: s.
        first: the smallest δ. count: how many there are.
        size: pixels.
    """

    stride: int
    first: int
    count: int
    size: int

    @classmethod
    def made(cls, kernel: int, stride: int, before: int, size: int) -> Axis:
        """Return an axis of pixels, of which so many are padded before the first."""
        first = -((stride - 1 + before) // stride)
        last = (kernel - 1 - before) // stride
        return cls(stride, first, last - first + 1, size)

    @property
    def places(self) -> int:
        """How many t there are."""
        return -(-self.size // self.stride)

    def taps(self, before: int) -> tuple[int, int]:
        """Return the weights k of the first phase's first δ, and after the last δ."""
        first = self.stride * self.first + before
        return first, first + self.stride * self.count

    @property
    def last(self) -> int:
        """The largest δ."""
        return self.first + self.count - 1

    def padding(self, length: int) -> int:
        """Return the zeros on both sides of so many g, with which every t − δ is there.

        The last t that a g reaches is length − 1 + the last δ.
        """
        reached = min(self.places, length + self.last) - 1
        return max(self.last, reached - self.first - (length - 1), 0)

    def of(self, y: Tensor, dim: int, padding: int) -> Tensor:
        """Return the places t of a padded convolution, zero where no g reaches."""
        before = padding - self.last
        y = y.narrow(dim, before, min(self.places, y.shape[dim] - before))
        missing = self.places - y.shape[dim]
        if not missing:
            return y
        return functional.pad(y, [0, 0, 0, missing] if dim == 2 else [0, missing])


@dataclass(frozen=True)
class Phases:
    """The transpose of a convolution with one stride along each axis.

    Args:
        weight: [C s s, out, a, b], flipped.
        axes: the height and the width of the image.
    """

    weight: Tensor
    axes: tuple[Axis, Axis]

    def pulled(self, g: Tensor) -> Tensor:
        """Return cotangents [m, out, h, w] pulled to the image [m, C, H, W]."""
        high, wide = self.axes
        down, right = high.padding(g.shape[2]), wide.padding(g.shape[3])
        y = functional.conv2d(g, self.weight, None, 1, (down, right))
        y = wide.of(high.of(y, 2, down), 3, right)
        m, channels, height, width = y.shape
        s, r = high.stride, wide.stride
        apart = y.reshape(m, channels // (s * r), s, r, height, width)
        whole = apart.permute(0, 1, 4, 2, 5, 3).reshape(m, -1, height * s, width * r)
        return whole[:, :, : high.size, : wide.size]


def phases_of(
    weight: Tensor,
    strides: Sequence[int],
    before: Sequence[int],
    sizes: Sequence[int],
) -> Phases | None:
    """Return the transpose by phases of a convolution [out, C, kh, kw], undilated.

    None where it is not worth it: for small windows, strides of one or two kinds, and
    in float64, where torch's convolutions are slow.

    Args:
        weight: its weights.
        strides: along height and width.
        before: padding before the first pixel.
        sizes: pixels.
    """
    out, channels, kh, kw = weight.shape
    s = strides[0]
    worth = channels * kh * kw >= LEAST and weight.dtype == torch.float32
    if not worth or s == 1 or strides[1] != s:
        return None
    high, wide = (
        Axis.made(*one) for one in zip((kh, kw), strides, before, sizes, strict=True)
    )
    (top, bottom), (left, right) = high.taps(before[0]), wide.taps(before[1])
    whole = functional.pad(weight, (-left, right - kw, -top, bottom - kh))
    parts = whole.reshape(out, channels, high.count, s, wide.count, s)
    parts = parts.permute(1, 3, 5, 0, 2, 4).reshape(
        channels * s * s, out, high.count, wide.count
    )
    flipped = parts.flip(2, 3).contiguous(memory_format=torch.channels_last)
    return Phases(flipped, (high, wide))
