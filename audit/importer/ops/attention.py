"""Attention in its forms: Attention, LinearAttention, RotaryEmbedding.

A query that may attend to no key gets zeros, and a derivative of zero: the scores of
such a row are left finite before the softmax, so that no NaN can reach the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_temporary, check_trips
from audit.importer.ops.reduction import softmax
from audit.importer.registry import Site, operator


@operator("Attention", zero_inputs=(6,))
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    valid: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    site: Site,
) -> tuple[Tensor, ...]:
    """Scaled dot-product attention with caches, masks, windows and grouped heads."""
    packed = q.dim() == 3
    if packed:
        q = split_heads(q, q_num_heads or 1)
        k, v = (split_heads(each, kv_num_heads or 1) for each in (k, v))
    past = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    present = (k, v)
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = (each.repeat_interleave(groups, 1) for each in (k, v))
    window = (left_window_size, 0 if is_causal else right_window_size)
    offset = _offset(past, valid, q.shape[2])
    allowed = allowed_keys(q, k.shape[2], offset, window, valid)
    allowed, bias = with_mask(allowed, mask, k.shape[2])
    factor = _rounded((scale or q.shape[-1] ** -0.5) ** 0.5, q.dtype)
    raw = torch.matmul(q * factor, k.transpose(-1, -2) * factor)
    scores = softcap * torch.tanh(raw / softcap) if softcap else raw
    biased = scores if bias is None else scores + bias
    wide = site.dtype(softmax_precision) if softmax_precision else biased.dtype
    weights = masked_softmax(biased.to(wide), allowed).to(q.dtype)
    y = torch.matmul(weights, v)
    y = join_heads(y) if packed else y
    if not site.wants(3):
        return y, *present
    if qk_matmul_output_mode == 2 and allowed is not None:
        biased = biased.masked_fill(~allowed, -torch.inf)
    shown = (raw, scores, biased, weights)[qk_matmul_output_mode]
    return y, *present, shown


def _rounded(number: float, dtype: torch.dtype) -> float:
    """Return a number as the type holds it: the standard casts the scale first."""
    return float(torch.tensor(number, dtype=torch.float64).to(dtype))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[batch, steps, heads * size] -> [batch, heads, steps, size]."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[batch, heads, steps, size] -> [batch, steps, heads * size]."""
    return x.transpose(1, 2).flatten(2)


def _offset(past: int, valid: Tensor | None, queries: int) -> Tensor | int:
    """Return how many keys come before the first query."""
    if past or valid is None:
        return past
    return valid.reshape(-1, 1, 1, 1) - queries


def allowed_keys(
    q: Tensor,
    keys: int,
    offset: Tensor | int,
    window: tuple[int, int],
    valid: Tensor | None,
) -> Tensor | None:
    """Return which keys each query may see: windows (-1: open) and padding."""
    left, right = window
    allowed = None
    places = torch.arange(keys, device=q.device)
    if left >= 0 or right >= 0:
        here = torch.arange(q.shape[2], device=q.device).unsqueeze(1) + offset
        distance = places - here
        allowed = torch.ones_like(distance, dtype=torch.bool)
        if left >= 0:
            allowed = allowed & (distance >= -left)
        if right >= 0:
            allowed = allowed & (distance <= right)
    if valid is not None:
        inside = places < valid.reshape(-1, 1, 1, 1)
        allowed = inside if allowed is None else allowed & inside
    return allowed


def with_mask(
    allowed: Tensor | None, mask: Tensor | None, keys: int
) -> tuple[Tensor | None, Tensor | None]:
    """Split a mask into the keys it forbids and the finite bias it adds."""
    if mask is None:
        return allowed, None
    missing = keys - mask.shape[-1]
    if mask.dtype is torch.bool:
        if missing > 0:
            mask = functional.pad(mask, (0, missing), value=False)
        return (mask if allowed is None else allowed & mask), None
    if missing > 0:
        mask = functional.pad(mask, (0, missing), value=-torch.inf)
    open_ = ~torch.isneginf(mask)
    bias = torch.where(open_, mask, torch.zeros_like(mask))
    return (open_ if allowed is None else allowed & open_), bias


def masked_softmax(scores: Tensor, allowed: Tensor | None) -> Tensor:
    """Softmax over the allowed keys; zeros where a query has none."""
    if allowed is None:
        return softmax(scores, -1)
    some = allowed.any(-1, keepdim=True)
    weights = softmax(scores.masked_fill(~allowed & some, -torch.inf), -1)
    return torch.where(some, weights, torch.zeros_like(weights))


@operator("RotaryEmbedding", zero_inputs=(3,))
def rotary_embedding(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Rotate pairs of features by an angle that grows with the position."""
    heads = split_heads(x, num_heads) if x.dim() == 3 else x
    size = rotary_embedding_dim or heads.shape[-1]
    if positions is not None:
        cos, sin = cos[positions], sin[positions]
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    turned, rest = heads[..., :size], heads[..., size:]
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
    else:
        a, b = turned.chunk(2, -1)
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    if interleaved:
        both = torch.stack([real, imaginary], -1).flatten(-2)
    else:
        both = torch.cat([real, imaginary], -1)
    y = torch.cat([both, rest], -1)
    return join_heads(y) if x.dim() == 3 else y


@operator("LinearAttention", bounded=True)
def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_state: Tensor | None = None,
    decay: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
    site: Site,
) -> tuple[Tensor, Tensor]:
    """Attention as a recurrence on a matrix state, one step for each token."""
    if update_rule not in ("linear", "gated", "delta", "gated_delta"):
        raise site.refuse(f"update_rule '{update_rule}' is unknown")
    wide = torch.promote_types(query.dtype, site.dtype(1))  # halves in float32
    q = split_heads(query.to(wide), q_num_heads)
    k, v = (split_heads(each.to(wide), kv_num_heads) for each in (key, value))
    factor = scale or q.shape[-1] ** -0.5
    groups = q_num_heads // kv_num_heads
    check_trips(q.shape[2], site.node.label)
    sizes = (q.shape[0], q_num_heads, k.shape[-1], v.shape[-1])
    check_temporary(sizes, f"The state of {site.node.label}")
    if past_state is None:
        state = q.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])
    else:
        state = past_state.to(wide)
    gates = None
    if decay is not None:
        gates = split_heads(decay.to(wide), kv_num_heads).exp()
    rates = None if beta is None else _rates(beta.to(wide), kv_num_heads)
    outputs = []
    for t in range(q.shape[2]):
        if gates is not None and "gated" in update_rule:
            state = gates[:, :, t].unsqueeze(-1) * state
        new = v[:, :, t]
        if rates is not None and "delta" in update_rule:
            recalled = torch.einsum("bhkv,bhk->bhv", state, k[:, :, t])
            new = rates[:, :, t] * (new - recalled)
        state = state + k[:, :, t].unsqueeze(-1) * new.unsqueeze(-2)
        seen = state.repeat_interleave(groups, 1)
        outputs.append(torch.einsum("bhkv,bhk->bhv", seen, q[:, :, t]) * factor)
    y = torch.stack(outputs, 2).to(query.dtype)
    return join_heads(y), state.to(
        query.dtype if past_state is None else past_state.dtype
    )


def _rates(beta: Tensor, heads: int) -> Tensor:
    """Give the update rate the shape [batch, heads, steps, 1]."""
    return beta.expand(*beta.shape[:2], heads).transpose(1, 2).unsqueeze(-1)


@operator("CausalConvWithState")
def causal_conv_with_state(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    past_state: Tensor | None = None,
    *,
    activation: str = "none",
    site: Site,
) -> tuple[Tensor, Tensor]:
    """Depthwise convolution over the past, with the last positions carried on."""
    if activation not in ("none", "silu", "swish"):
        raise site.refuse(f"activation '{activation}' is unknown")
    keep = weight.shape[-1] - 1
    if past_state is None:
        past_state = x.new_zeros(*x.shape[:2], keep)
    line = torch.cat([past_state, x], -1)
    y = functional.conv1d(line, weight, bias, groups=x.shape[1])
    present = line[..., line.shape[-1] - keep :]
    return (y if activation == "none" else functional.silu(y)), present
