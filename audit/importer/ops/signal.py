"""Signals: DFT, STFT, windows, mel weights. Complex numbers are a last axis of two."""

from __future__ import annotations

from math import pi

import numpy as np
import torch
from torch import Tensor

from audit.importer.limits import check_elements, check_trips
from audit.importer.registry import Site, operator
from audit.importer.values import Host, axis_of, integer, plain


@operator("DFT", since=17, host=(1,), zero_inputs=(1,))
def dft_attribute(
    x: Tensor,
    length: Host | Tensor | None = None,
    *,
    axis: int = 1,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """Fourier transform along an attribute (opset 17 to 19)."""
    return _dft(x, length, axis, bool(inverse), bool(onesided))


@operator("DFT", since=20, host=(1, 2), zero_inputs=(1, 2))
def dft(
    x: Tensor,
    length: Host | Tensor | None = None,
    axis: Host | Tensor | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """Fourier transform along an axis given by an input."""
    along = -2 if axis is None else integer(axis)
    return _dft(x, length, along, bool(inverse), bool(onesided))


def _dft(
    x: Tensor, length: Host | Tensor | None, axis: int, inverse: bool, onesided: bool
) -> Tensor:
    axis = axis_of(axis, x.dim())
    points = None if length is None else integer(length)
    if points is not None:
        sizes = list(x.shape)
        sizes[axis] = points
        check_elements(sizes, "The result of DFT")
    if onesided and inverse:
        real: Tensor = torch.fft.irfft(_complex(x), points, dim=axis)
        return real.unsqueeze(-1)
    if onesided:
        return torch.view_as_real(torch.fft.rfft(x[..., 0], points, dim=axis))
    z = _complex(x)
    if inverse:
        return torch.view_as_real(torch.fft.ifft(z, points, dim=axis))
    return torch.view_as_real(torch.fft.fft(z, points, dim=axis))


def _complex(x: Tensor) -> Tensor:
    if x.shape[-1] == 1:
        return torch.complex(x[..., 0], torch.zeros_like(x[..., 0]))
    return torch.complex(x[..., 0], x[..., 1])


@operator("STFT", host=(1, 3), zero_inputs=(1, 3))
def stft(
    signal: Tensor,
    step: Host | Tensor,
    window: Tensor | None = None,
    length: Host | Tensor | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    """Fourier transforms of windows that slide over a signal."""
    if length is not None:
        size = integer(length)
    else:
        size = signal.shape[1] if window is None else window.shape[0]
    if signal.dim() == 2:
        signal = signal.unsqueeze(-1)
    frames = signal.unfold(1, size, integer(step))  # [batch, frames, parts, size]
    check_elements((*frames.shape, 2), "The frames of STFT")
    if window is not None:
        frames = frames * window
    frames = frames.transpose(-1, -2)
    if onesided and frames.shape[-1] == 1:
        return torch.view_as_real(torch.fft.rfft(frames[..., 0], dim=2))
    return torch.view_as_real(torch.fft.fft(_complex(frames), dim=2))


def _cosine_window(
    size: Host | Tensor,
    weights: tuple[float, ...],
    periodic: int,
    onnx_type: int,
    site: Site,
) -> Tensor:
    count = integer(size)
    check_elements((count,), "A window")
    span = count if periodic else max(count - 1, 1)
    angle = torch.arange(count, dtype=torch.float64) * (2 * pi / span)
    window = torch.zeros_like(angle)
    for k, weight in enumerate(weights):
        window += weight * torch.cos(k * angle)
    return window.to(device=site.policy.device, dtype=site.dtype(onnx_type))


@operator("HannWindow", host=(0,), zero_derivative=True)
def hann(
    size: Host | Tensor, *, output_datatype: int = 1, periodic: int = 1, site: Site
) -> Tensor:
    """0.5 - 0.5 cos."""
    return _cosine_window(size, (0.5, -0.5), periodic, output_datatype, site)


@operator("HammingWindow", host=(0,), zero_derivative=True)
def hamming(
    size: Host | Tensor, *, output_datatype: int = 1, periodic: int = 1, site: Site
) -> Tensor:
    """25/46 - 21/46 cos."""
    weights = (25 / 46, -21 / 46)
    return _cosine_window(size, weights, periodic, output_datatype, site)


@operator("BlackmanWindow", host=(0,), zero_derivative=True)
def blackman(
    size: Host | Tensor, *, output_datatype: int = 1, periodic: int = 1, site: Site
) -> Tensor:
    """0.42 - 0.5 cos + 0.08 cos of the double angle."""
    weights = (0.42, -0.5, 0.08)
    return _cosine_window(size, weights, periodic, output_datatype, site)


@operator("MelWeightMatrix", host=(0, 1, 2, 3, 4), zero_derivative=True)
def mel_weight_matrix(
    bins: Host,
    length: Host,
    rate: Host,
    low: Host,
    high: Host,
    *,
    output_datatype: int = 1,
    site: Site,
) -> Tensor:
    """Triangles, equally wide in mel, that map a spectrum to mel bins."""
    count, rows = integer(bins), integer(length) // 2 + 1
    check_elements((rows, count), "The mel matrix")
    check_trips(count, "The mel matrix")
    ends = [2595 * np.log10(1 + float(plain(f)) / 700) for f in (low, high)]
    mels = ends[0] + np.arange(count + 2) * ((ends[1] - ends[0]) / (count + 2))
    hertz = 700 * (10 ** (mels / 2595) - 1)
    edges = ((integer(length) + 1) * hertz // integer(rate)).astype(np.int64)
    matrix = np.zeros((rows, count))
    for i in range(count):
        left, centre, right = edges[i : i + 3]
        rising, falling = np.arange(left, centre + 1), np.arange(centre, right)
        if centre == left:
            matrix[centre, i] = 1
        else:
            matrix[rising, i] = (rising - left) / (centre - left)
        if right > centre:
            matrix[falling, i] = (right - falling) / (right - centre)
    return torch.as_tensor(matrix).to(
        device=site.policy.device, dtype=site.dtype(output_datatype)
    )
