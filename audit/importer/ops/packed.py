"""Weights of 2, 4 or 8 bits, unpacked into the matrix that they stand for."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.limits import check_elements
from audit.importer.registry import Site, operator


@operator("UnpackedWeights", domain="robaudit", zero_inputs=(0, 3))
def unpacked_weights(
    packed: Tensor,
    scales: Tensor,
    zero_points: Tensor | None = None,
    groups: Tensor | None = None,
    *,
    K: int,
    N: int,
    bits: int = 4,
    block_size: int,
    site: Site,
) -> Tensor:
    """Return W [K, N] = (q − zero point) · scale, both of the block of each weight.

    Args:
        packed: q [N, blocks, bytes of a block], the lowest bits of a byte first.
        scales: [N, blocks].
        zero_points: packed likewise, or real [N, blocks]; else half of the range.
        groups: of each of the K rows, the block it belongs to; else in order.
        K: the rows of W.
        N: its columns.
        bits: of a weight.
        block_size: rows of a block.
        site: for what is not implemented.
    """
    if bits not in (2, 4, 8):
        raise site.refuse(f"weights of {bits} bits are not implemented")
    check_elements((K, N), "A matrix of unpacked weights")
    blocks = -(-K // block_size)
    if groups is None:
        groups = torch.arange(K, device=packed.device) // block_size
    scale = scales.reshape(N, blocks)
    q = _numbers(packed.reshape(N, -1), bits)[:, :K].to(scale.dtype)
    if zero_points is None:
        zero = torch.full_like(scale, 2 ** (bits - 1))
    elif zero_points.is_floating_point():
        zero = zero_points.reshape(N, blocks).to(scale.dtype)
    else:
        zero = _numbers(zero_points.reshape(N, -1), bits)[:, :blocks].to(scale.dtype)
    each = groups.to(torch.int64)
    return ((q - zero[:, each]) * scale[:, each]).mT


def _numbers(packed: Tensor, bits: int) -> Tensor:
    """Return the numbers in bytes [n, bytes], in order along each row."""
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    parts = torch.bitwise_right_shift(packed.unsqueeze(-1), shifts)
    return torch.bitwise_and(parts, 2**bits - 1).flatten(1)
