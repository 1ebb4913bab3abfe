"""com.microsoft GroupQueryAttention, as decoders are optimised to.

    y = softmax(s + bias) V,   s = c tanh(q̂ k̂ᵀ scale / c),   q̂, k̂ = q and k turned

Each head of K and V serves several of Q. A query sees the keys up to its own place, or
the last `local_window_size` of these; a smooth softmax has one more key, whose
score is zero or a number of the head's (its sink), and whose value is zero. The keys
that were kept from earlier come first, in all rows as many: what differs from row to
row there is refused.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from audit.importer.limits import check_temporary
from audit.importer.ops.attention import (
    allowed_keys,
    join_heads,
    masked_softmax,
    rotary_embedding,
    split_heads,
    with_mask,
)
from audit.importer.ops.microsoft import MICROSOFT
from audit.importer.registry import Site, operator


@operator(
    "GroupQueryAttention",
    domain=MICROSOFT,
    zero_inputs=(5, 6, 9),
    only={
        "kv_cache_bit_width": (0,),
        "k_quant_type": ("NONE",),
        "v_quant_type": ("NONE",),
        "qk_output": (0,),
        "sliding_window_cache": (0,),
    },
)
def group_query_attention(
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    lengths: Tensor,
    total: Tensor,
    cos: Tensor | None = None,
    sin: Tensor | None = None,
    positions: Tensor | None = None,
    bias: Tensor | None = None,
    sink: Tensor | None = None,
    *others: Tensor | None,
    causal: int = 1,
    do_rotary: int = 0,
    k_quant_type: str = "NONE",
    kv_cache_bit_width: int = 0,
    kv_num_heads: int,
    local_window_size: int = -1,
    num_heads: int,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float = 0.0,
    sliding_window_cache: int = 0,
    smooth_softmax: int = 0,
    softcap: float = 0.0,
    v_quant_type: str = "NONE",
    site: Site,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of grouped heads on [batch, steps, features], with what is kept."""
    if local_window_size == 0:
        raise site.refuse("a window of no key")
    if any(other is not None for other in others):
        raise site.refuse("norms of heads, a quantised cache or packed queries")
    q, k, v = _heads(query, key, value, num_heads, kv_num_heads)
    past = 0 if past_key is None else past_key.shape[2]
    if past and not bool((lengths.reshape(-1) + 1 == past + q.shape[2]).all()):
        raise site.refuse("rows that keep keys of different numbers")
    if do_rotary and cos is not None and sin is not None:
        turn = partial(_turned, cos, sin, positions, past, rotary_interleaved)
        q, k = turn(q), turn(k)
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    present, groups = (k, v), num_heads // kv_num_heads
    k, v = (each.repeat_interleave(groups, 1) for each in (k, v))
    check_temporary((*q.shape[:3], k.shape[2]), "The scores of attention")
    scores = torch.matmul(q, k.transpose(-1, -2)) * (scale or q.shape[-1] ** -0.5)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    window = (max(local_window_size - 1, -1), 0 if causal else -1)
    allowed = allowed_keys(q, k.shape[2], past, window, lengths + 1)
    allowed, added = with_mask(allowed, bias, k.shape[2])
    scores = scores if added is None else scores + added
    smooth = smooth_softmax or sink is not None
    weights = (
        _smooth(scores, allowed, sink) if smooth else masked_softmax(scores, allowed)
    )
    return join_heads(torch.matmul(weights, v)), *present


def _heads(
    query: Tensor, key: Tensor | None, value: Tensor | None, heads: int, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split into heads what may come side by side."""
    if key is None or value is None:
        size = query.shape[-1] // (heads + 2 * groups)
        parts = [heads * size, groups * size, groups * size]
        query, key, value = torch.split(query, parts, -1)
    return (
        split_heads(query, heads),
        split_heads(key, groups),
        split_heads(value, groups),
    )


def _turned(
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    past: int,
    interleaved: int,
    x: Tensor,
) -> Tensor:
    """Turn heads by their positions, which follow those that were kept."""
    if positions is None:
        here = torch.arange(past, past + x.shape[2], device=x.device)
        positions = here.expand(x.shape[0], -1)
    size = 2 * cos.shape[-1]
    return rotary_embedding(
        x,
        cos,
        sin,
        positions,
        interleaved=interleaved,
        rotary_embedding_dim=size,
    )


def _smooth(scores: Tensor, allowed: Tensor | None, sink: Tensor | None) -> Tensor:
    """Softmax with one more key: of the score 0, or of the head's own."""
    last = scores.new_zeros(()) if sink is None else sink.reshape(1, -1, 1, 1)
    more = last.to(scores.dtype).expand(*scores.shape[:3], 1)
    whole = torch.cat([scores, more], -1)
    if allowed is not None:
        allowed = torch.cat([allowed, allowed.new_ones(*allowed.shape[:-1], 1)], -1)
    return masked_softmax(whole, allowed)[..., :-1]
