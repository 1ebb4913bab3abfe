"""Rows of cotangents side by side, for the transpose of a strided convolution.

Kernels of transposed convolutions go along the width of an image, by a short product
for each run of pixels. Small images make runs of a few pixels: with few channels to
write, most of the time goes between the products. So all rows of an input are laid side
by side as one wide image, with zeros between them. Along the width, tap k of a window
places y_u += w_k g_i with u + pad = s i + d k. Row r starts at i = r (w + gap), and
reaches from s r (w + gap) over s (w − 1) + d (K − 1) pixels. The W pixels that it keeps
follow the first `pad` of these; no other row reaches into them if

    s (w + gap) ≥ pad + W   and   s (w + gap) > s (w − 1) + d (K − 1) − pad.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.ops.windows import Windows

_CHANNELS = 32  # to write; with more there is no gain, as measured
_PIXELS = range(8, 33)  # of a row
_WIDE = range(64, 4097)  # of a wide image: the copy pays, and its lines fit the cache


@dataclass(frozen=True)
class Strips:
    """The transpose of a convolution with one group, all rows of an input at once.

    Args:
        weight: [C, C', kh, kw], the channels last in memory.
        places: where its windows lie.
        sizes: H and W, pixels that are kept.
        padding: pixels at both ends of the height that are not computed.
        more: pixels that no window reaches, at the lower end of what is kept, and at
            the right end of wide images, whose width is a multiple of the stride so:
            kernels take others pixel by pixel.
        width: w, pixels of a cotangent.
        gap: pixels between two rows.
    """

    weight: Tensor
    places: Windows
    sizes: tuple[int, int]
    padding: int
    more: tuple[int, int]
    width: int
    gap: int

    def worth(self, rows: int) -> bool:
        """Whether so many rows make a wide image."""
        return rows * self.width in _WIDE

    def pulled(self, g: Tensor) -> Tensor:
        """Return the cotangents [n, r, C', H, W] of images of those [n, r, C, h, w].

        They lie in memory as the wide images do, with gaps.
        """
        (high, wide), places = self.sizes, self.places
        (top, _), (left, _) = places.pads
        y = functional.conv_transpose2d(
            self._laid(g), self.weight, None, places.strides, (self.padding, 0),
            self.more, 1, places.dilations,
        )  # fmt: skip
        kept = y[:, :, top - self.padding :, left:][:, :, :high]
        rows = kept.unfold(3, wide, places.strides[1] * (self.width + self.gap))
        return rows[:, :, :, : g.shape[1]].permute(0, 3, 1, 2, 4)

    def _laid(self, g: Tensor) -> Tensor:
        """Return wide images [n, C, h, r (w + gap)], the channels last in memory."""
        n, rows, channels, high, _ = g.shape
        images = g.new_empty(n, high, rows, self.width + self.gap, channels)
        images[:, :, :, self.width :] = 0.0
        images[:, :, :, : self.width] = g.permute(0, 3, 1, 4, 2)
        return images.flatten(2, 3).permute(0, 3, 1, 2)


def strips_of(weight: Tensor, places: Windows, sizes: tuple[int, int]) -> Strips | None:
    """Return the transpose of a convolution with one group by wide images.

    None where it is not worth it: without strides, where windows do not overlap, of
    images with many channels or pixels, in float64, and on other devices.

    Args:
        weight: [C, C', kh, kw].
        places: where its windows lie.
        sizes: H and W.
    """
    rows, width = places.counts(sizes)
    gap = _gap(places, sizes[1], width)
    small = weight.shape[1] <= _CHANNELS and width in _PIXELS
    if gap <= 0 or not small or weight.dtype != torch.float32 or not weight.is_cpu:
        return None
    stride, across = places.strides
    down, reach = _reaches(places)
    padding = min(*places.pads[0], down)
    end = sizes[0] + places.pads[0][0] + padding
    more = max(0, end - stride * (rows - 1) - down - 1), (across - reach - 1) % across
    return Strips(weight, places, sizes, padding, more, width, gap)


def _gap(places: Windows, wide: int, width: int) -> int:
    """Return the pixels between two rows; 0 where it is not worth it, or needs none."""
    (_, stride), (_, reach), (left, _) = (
        places.strides,
        _reaches(places),
        places.pads[1],
    )
    least = max(left + wide, stride * (width - 1) + reach - left + 1)
    return max(0, -(-least // stride) - width) if 1 < stride <= reach else 0


def _reaches(places: Windows) -> tuple[int, int]:
    """Return the pixels from the first tap to the last, along both axes."""
    down, across = (
        d * (k - 1) for d, k in zip(places.dilations, places.kernel, strict=True)
    )
    return down, across
