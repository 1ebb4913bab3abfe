"""com.microsoft attention: Attention, MultiHeadAttention, RotaryEmbedding.

A masked key gets `mask_filter_value` added to its score, as in onnxruntime, so a row
that is masked throughout stays finite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.limits import check_temporary
from audit.importer.ops.attention import (
    join_heads,
    masked_softmax,
    rotary_embedding,
    split_heads,
)
from audit.importer.ops.microsoft import MICROSOFT
from audit.importer.registry import Site, operator


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    scale: float,
    causal: bool,
) -> Tensor:
    """Attention on [batch, heads, steps, size], heads joined again."""
    check_temporary((*q.shape[:3], k.shape[2]), "The scores of attention")
    scores = torch.matmul(q, k.transpose(-1, -2)) * (scale or q.shape[-1] ** -0.5)
    if bias is not None:
        scores = scores + bias
    allowed = None
    if causal:
        before = k.shape[2] - q.shape[2]
        shape = (q.shape[2], k.shape[2])
        allowed = torch.ones(shape, dtype=torch.bool, device=q.device).tril(before)
    return join_heads(torch.matmul(masked_softmax(scores, allowed), v))


def _mask_bias(
    mask: Tensor, keys: int, dtype: torch.dtype, fill: float, site: Site
) -> Tensor:
    """Turn lengths [batch] or a 0/1 mask [batch, keys] into a bias on the scores."""
    if mask.dim() == 1:
        places = torch.arange(keys, device=mask.device)
        open_ = places < mask.unsqueeze(1)
    elif mask.dim() == 2 and mask.shape[1] == keys:
        open_ = mask != 0
    elif mask.dim() == 3:
        open_ = (mask != 0).unsqueeze(1)
        return torch.where(open_, 0.0, fill).to(dtype)
    else:
        raise site.refuse(f"a mask of the shape {list(mask.shape)} is not implemented")
    return torch.where(open_, 0.0, fill).to(dtype)[:, None, None, :]


@operator("Attention", domain=MICROSOFT, zero_inputs=(3,), only={"do_rotary": (0,)})
def packed_attention(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    past: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_length: Tensor | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: list[int] | None = None,
    rotary_embedding_dim: int = 0,
    scale: float = 0.0,
    unidirectional: int = 0,
    site: Site,
) -> tuple[Tensor, Tensor]:
    """Self attention with its three projections in one matrix."""
    if past_present_share_buffer or past_length is not None:
        raise site.refuse("a shared past buffer is not implemented")
    packed = torch.matmul(x, weights)
    packed = packed if bias is None else packed + bias
    sizes = qkv_hidden_sizes or [packed.shape[-1] // 3] * 3
    parts = (split_heads(part, num_heads) for part in torch.split(packed, sizes, -1))
    q, k, v = parts
    if past is not None:
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    total = attention_bias
    if mask is not None:
        added = _mask_bias(mask, k.shape[2], x.dtype, mask_filter_value, site)
        total = added if total is None else total + added
    y = _attend(q, k, v, total, scale, bool(unidirectional))
    return y, torch.stack([k, v]) if sizes[0] == sizes[2] else y


@operator("MultiHeadAttention", domain=MICROSOFT, zero_inputs=(4,))
def multi_head_attention(
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    padding: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float = 0.0,
    unidirectional: int = 0,
    site: Site,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention on projected query, key and value, each [batch, steps, features]."""
    if key is None or value is None or query.dim() != 3 or key.dim() != 3:
        raise site.refuse("packed or four-dimensional operands are not implemented")
    operands = [query, key, value]
    if bias is not None:
        sizes = [each.shape[-1] for each in operands]
        shifts = torch.split(bias, sizes)
        operands = [x + shift for x, shift in zip(operands, shifts, strict=True)]
    q, k, v = (split_heads(each, num_heads) for each in operands)
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    total = attention_bias
    if padding is not None:
        added = _mask_bias(padding, k.shape[2], q.dtype, mask_filter_value, site)
        total = added if total is None else total + added
    return _attend(q, k, v, total, scale, bool(unidirectional)), k, v


@operator(
    "RotaryEmbedding",
    domain=MICROSOFT,
    zero_inputs=(1,),
    only={"is_packed_batching": (0,), "scale": (1.0,)},
)
def rotary(
    x: Tensor,
    positions: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
) -> Tensor:
    """RotaryEmbedding with the positions before the tables."""
    if positions.numel() == 1:  # where the first row starts
        steps = x.shape[-2]
        positions = positions.reshape(1, 1) + torch.arange(steps, device=x.device)
    size = rotary_embedding_dim or 2 * cos.shape[-1]
    heads = num_heads or x.shape[-1] // size
    return rotary_embedding(
        x,
        cos,
        sin,
        positions.expand(x.shape[0], -1),
        interleaved=interleaved,
        num_heads=heads,
        rotary_embedding_dim=size if rotary_embedding_dim else 0,
    )
