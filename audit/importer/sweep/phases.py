"""The transpose of a strided convolution of a thin image, as one without strides.

Along an axis y_u = Σ w_k g_i over u = s i + k, with stride s. Write u = s q + r and
k = s j + r, r < s the phase: i = q − j, and

    y_{s q + r} = Σ_j w_{s j + r} g_{q − j},

for each phase a convolution of g without a stride, with every s-th weight. The phases
are channels of one convolution, and a shuffle of pixels puts them side by side. Image
gradients have 1 to 4 channels, which kernels of convolutions fill up to 16; with the
phases, s² times as many are asked for, and none of the k² columns of windows is stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LEAST = 64  # weights of a channel out; windows of fewer are added one place at a time


@dataclass(frozen=True)
class Phases:
    """The transpose of a convolution with one stride s along both axes.

    Args:
        weight: [C s s, out, a, b], flipped.
        stride: s.
    """

    weight: Tensor
    stride: int

    def pulled(self, g: Tensor, size: tuple[int, int]) -> Tensor:
        """Return cotangents [m, out, h, w] pulled to the padded image [m, C, *size]."""
        reach = tuple(n - 1 for n in self.weight.shape[2:])
        y = functional.conv2d(g, self.weight, None, 1, reach)
        whole = self._shuffled(y)
        more = [n - m for n, m in zip(size, whole.shape[2:], strict=True)]
        return functional.pad(whole, (0, more[1], 0, more[0]))

    def _shuffled(self, y: Tensor) -> Tensor:
        """Return the phases side by side: one copy, also of channels that are last."""
        (m, channels, height, width), s = y.shape, self.stride
        apart = y.reshape(m, channels // (s * s), s, s, height, width)
        return apart.permute(0, 1, 4, 2, 5, 3).reshape(m, -1, height * s, width * s)


def phases_of(weight: Tensor, strides: tuple[int, ...]) -> Phases | None:
    """Return the transpose by phases of a convolution [out, C, kh, kw], undilated.

    None where it is not worth it: for small windows, strides of one or two kinds, and
    in float64, where torch's convolutions are slow.
    """
    out, channels, kh, kw = weight.shape
    s = strides[0]
    worth = channels * kh * kw >= LEAST and weight.dtype == torch.float32
    if not worth or s == 1 or strides[1] != s:
        return None
    a, b = -(-kh // s), -(-kw // s)
    whole = functional.pad(weight, (0, b * s - kw, 0, a * s - kh))
    parts = whole.reshape(out, channels, a, s, b, s).permute(1, 3, 5, 0, 2, 4)
    flipped = parts.reshape(channels * s * s, out, a, b).flip(2, 3)
    return Phases(flipped.contiguous(memory_format=torch.channels_last), s)
