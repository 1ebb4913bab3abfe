"""The transpose of a convolution into few channels, those of an image.

A convolution places tap a of a window at y_Y += w_a g_i with Y + pad = s i + d a, along
each axis. One product makes w_a g_i of all taps and places. Then, of the pixels with
the remainder f = Y mod s, Y = s t + f, tap a adds its product at
i = t + (f + pad − d a) / s where that is whole: a sum of whole rows, shifted. So the
taps that meet at a remainder are added up along the width and then along the height,
and each sum is written once.
A transposed convolution of the libraries fills up few channels with zeros, and takes
ten times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from audit.importer.ops.windows import Windows

MOST = 4  # channels, up to which this is faster
_AT_ONCE = 2**19  # products of all taps at a time
_WASTED = 1.25  # times as many: more are not multiplied to save a copy
_LARGE = 2**17  # of one input: fewer are copied in less time than it takes to begin


@dataclass(frozen=True)
class Axis:
    """Where taps lie along one axis.

    Args:
        size: pixels. kernel: taps. stride, dilation: s and d. before: pixels of padding
            before the first.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int

    def length(self, remainder: int) -> int:
        """Return how many pixels have a remainder."""
        return max(0, -(-(self.size - remainder) // self.stride))

    def taps(self, remainder: int) -> list[tuple[int, int]]:
        """Return (tap, i − t) of those that meet at a remainder."""
        far = [remainder + self.before - self.dilation * a for a in range(self.kernel)]
        return [
            (a, n // self.stride) for a, n in enumerate(far) if n % self.stride == 0
        ]

    def even(self, count: int) -> bool:
        """Whether tap pad + f lies on the pixels with remainder f, one for each i."""
        last = self.before + self.stride
        return (
            self.dilation == 1
            and last <= self.kernel
            and self.size == self.stride * count
        )

    def gathered(self, parts: Tensor, tap: int, dim: int) -> Tensor:
        """Return the sums of each remainder along `tap`, of an axis that is even.

        Args:
            parts: w_a g_i, written into.
            tap: the axis of a.
            dim: that of i, counted from the last.
        """
        own, count = self.before, parts.shape[dim]
        for a in range(self.kernel):
            f = (a - own) % self.stride
            shift = (f + own - a) // self.stride
            if shift and abs(shift) < count:
                length = count - abs(shift)
                to = parts.select(tap, own + f).narrow(dim, max(0, -shift), length)
                to += parts.select(tap, a).narrow(dim, max(0, shift), length)
        return parts.narrow(tap, own, self.stride)

    def summed(self, parts: Sequence[Tensor], dim: int) -> list[Tensor]:
        """Return the sums of each remainder; the parts are written into.

        Args:
            parts: of each tap, the places i along `dim`.
            dim: counted from the last.
        """
        return [self._sum(parts, dim, f) for f in range(self.stride)]

    def _sum(self, parts: Sequence[Tensor], dim: int, remainder: int) -> Tensor:
        count, taps = parts[0].shape[dim], self.taps(remainder)
        length = self.length(remainder)
        whole = [
            (a, shift) for a, shift in taps if shift >= 0 and shift + length <= count
        ]
        if whole:
            (tap, shift), *_ = whole
            total = parts[tap].narrow(dim, shift, length)
        else:
            tap, shape = -1, list(parts[0].shape)
            shape[dim] = length
            total = parts[0].new_zeros(shape)
        for a, shift in taps:
            first, last = max(0, -shift), min(length, count - shift)
            if a != tap and last > first:
                part = parts[a].narrow(dim, first + shift, last - first)
                total.narrow(dim, first, last - first).add_(part)
        return total


class Thin:
    """The transpose of a convolution with one group.

    Args:
        weight: [out, C, kh, kw].
        places: where its windows lie.
        sizes: pixels, height and width.
    """

    def __init__(self, weight: Tensor, places: Windows, sizes: Sequence[int]) -> None:
        self._channels = weight.shape[1]
        self._weight = weight.permute(3, 2, 1, 0).flatten(0, 2)  # [kw kh C, out]
        self._high, self._wide = (
            Axis(n, k, stride, dilation, ends[0])
            for n, k, stride, dilation, ends in zip(
                sizes, places.kernel, places.strides, places.dilations, places.pads,
                strict=True,
            )
        )  # fmt: skip
        counts = places.counts((self._high.size, self._wide.size))
        self._even = self._high.even(counts[0]) and self._wide.even(counts[1])

    def pulled(self, g: Tensor) -> Tensor:
        """Return the cotangents of images [n, r, C, H, W] of those [n, r, out, h, w].

        Each input by itself where all of them do not lie evenly in memory, and are too
        large to be copied.
        """
        n, rows = g.shape[:2]
        y = g.new_empty(n, rows, self._channels, self._high.size, self._wide.size)
        even = n == 1 or g.stride(0) == rows * g.stride(1)
        if not even and rows * self._each(g) >= _LARGE:
            for one, to in zip(g, y, strict=True):
                self._pull(one, to)
        else:
            self._pull(folded(g), y.flatten(0, 1))
        return y

    def _each(self, g: Tensor) -> int:
        """Return the products of one image."""
        return len(self._weight) * g.shape[-2] * g.shape[-1]

    def _pull(self, g: Tensor, y: Tensor) -> None:
        """Write the cotangents of images, some at a time."""
        count = max(1, _AT_ONCE // max(self._each(g), 1))
        for first in range(0, len(g), count):
            parts = self._products(g[first : first + count])
            (self._at_once if self._even else self._one_by_one)(
                parts, y[first : first + count]
            )

    def _products(self, g: Tensor) -> Tensor:
        """Return w_a g_i [kw, kh, C, m, h, w].

        Of images that lie side by side in memory, what lies between them is multiplied
        too, and left out: nothing is copied.
        """
        beside = g.stride(2) > g.stride(0)
        places = g.permute(2, 0, 3, 1) if beside else g.permute(0, 2, 3, 1)
        flat, (far, near) = _flat(places)
        made = self._weight @ flat.t()
        each = len(flat)
        high, channels = self._high.kernel, self._channels
        parts = made.as_strided(
            (self._wide.kernel, high, channels, *places.shape[:3]),
            (high * channels * each, channels * each, each, far, near, 1),
        )
        return parts.transpose(3, 4) if beside else parts

    def _at_once(self, parts: Tensor, y: Tensor) -> None:
        """Add up on the taps that lie on their pixels, and write these together."""
        wide = self._wide.gathered(parts, 0, -1)
        both = self._high.gathered(wide, 1, -2)  # [sw, sh, C, m, h, w]
        m, _, rows, columns = y.shape
        down, right = self._high.stride, self._wide.stride
        cells = (rows // down, down, columns // right, right)
        y.view(m, self._channels, *cells).copy_(both.permute(3, 2, 4, 1, 5, 0))

    def _one_by_one(self, parts: Tensor, y: Tensor) -> None:
        down, right = self._high.stride, self._wide.stride
        for across, wide in enumerate(self._wide.summed(list(parts), -1)):
            for along, total in enumerate(self._high.summed(list(wide), -2)):
                y[:, :, along::down, across::right] = total.movedim(0, 1)


def folded(g: Tensor) -> Tensor:
    """Return [n r, C, H, W] of [n, r, C, H, W], as it lies in memory if that can be."""
    return g.permute(0, 1, 3, 4, 2).flatten(0, 1).permute(0, 3, 1, 2)


def _flat(places: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Return pixels [a, b, w, C] as rows of a matrix, and how far a's and b's are.

    Where there are a few others between them in memory, as between images side by side,
    these are rows too.
    """
    a, b, width, channels = places.shape
    far, near = (places.stride(axis) // channels for axis in (0, 1))
    few = _WASTED * b * width >= far  # of the others, in what is multiplied
    if (
        few
        and far >= b * near > b * width
        and places.stride() == (*(far * channels, near * channels, channels, 1),)
    ):
        count = (a - 1) * far + (b - 1) * near + width
        return places.as_strided((count, channels), (channels, 1)), (far, near)
    return places.reshape(-1, channels), (b * width, width)


__all__ = ["MOST", "Axis", "Thin", "folded"]
