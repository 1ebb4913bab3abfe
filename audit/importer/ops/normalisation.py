"""Normalisation layers, in inference mode."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_elements
from audit.importer.ops.reduction import lp_norm
from audit.importer.registry import Site, operator
from audit.importer.values import axis_of


def per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    """Give a parameter per channel the rank of x."""
    return parameter.reshape(-1, *(1,) * (x.dim() - 2))


@operator("BatchNormalization")
def batch_norm_flagged(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    is_test: int = 0,
    spatial: int = 1,
    site: Site,
) -> Tensor:
    """Up to opset 6 `is_test`, up to opset 13 the number of outputs, says inference."""
    if (site.node.opset < 7 and not is_test) or site.wants(1):
        raise site.refuse_training()
    if spatial:
        return batch_norm(x, scale, bias, mean, variance, epsilon=epsilon)
    return (x - mean) * (variance + epsilon).rsqrt() * scale + bias


@operator("BatchNormalization", since=14, only={"training_mode": (0,)})
def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    """Scale and shift each channel by stored statistics."""
    factor = scale * (variance + epsilon).rsqrt().to(scale.dtype)
    shift = bias - mean * factor
    return torch.addcmul(
        per_channel(shift, x).to(x.dtype), x, per_channel(factor, x).to(x.dtype)
    )


@operator("InstanceNormalization")
def instance_norm(
    x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5
) -> Tensor:
    """Standardise each channel of each row over its spatial axes."""
    y = _standardised(x, list(range(2, x.dim())), epsilon)
    return y * per_channel(scale, x) + per_channel(bias, x)


def _standardised(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) * (variance + epsilon).rsqrt()


@operator("LayerNormalization", zero_outputs=())
def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    site: Site,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Standardise over the axes from `axis` on, then scale and shift."""
    first = axis_of(axis, x.dim())
    shape = tuple(x.shape[first:])
    plain = not (site.wants(1) or site.wants(2)) and tuple(scale.shape) == shape
    if plain and (bias is None or bias.shape == scale.shape):
        return functional.layer_norm(x, shape, scale, bias, epsilon)
    wide = x.to(_stash(x, site, stash_type))
    axes = list(range(first, x.dim()))
    variance, mean = torch.var_mean(wide, axes, correction=0, keepdim=True)
    inverse = (variance + epsilon).rsqrt()
    y = ((wide - mean) * inverse).to(x.dtype) * scale
    return (y if bias is None else y + bias), mean, inverse


def _stash(x: Tensor, site: Site, stash_type: int) -> torch.dtype:
    """Return the type of stage one: float32 for halves, never narrower than x."""
    return torch.promote_types(x.dtype, site.dtype(stash_type))


@operator("RMSNormalization")
def rms_norm(
    x: Tensor,
    scale: Tensor,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    site: Site,
) -> Tensor:
    """Divide by the root mean square over the axes from `axis` on, then scale."""
    wide = x.to(_stash(x, site, stash_type))
    axes = list(range(axis_of(axis, x.dim()), x.dim()))
    mean_square = (wide * wide).mean(axes, keepdim=True)
    return (wide * (mean_square + epsilon).rsqrt()).to(x.dtype) * scale


@operator("GroupNormalization")
def group_norm_per_group(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
) -> Tensor:
    """Standardise groups of channels; opset 18 scales each group."""
    repeats = x.shape[1] // num_groups
    scale, bias = scale.repeat_interleave(repeats), bias.repeat_interleave(repeats)
    return functional.group_norm(x, num_groups, scale, bias, epsilon)


@operator("GroupNormalization", since=21)
def group_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: int = 1,
) -> Tensor:
    """Standardise groups of channels; from opset 21 each channel has its scale."""
    return functional.group_norm(x, num_groups, scale, bias, epsilon)


@operator("LRN")
def local_response_norm(
    x: Tensor,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
    size: int,
) -> Tensor:
    """Divide by a power of the mean square over neighbouring channels."""
    before = (size - 1) // 2
    squares = (x * x).movedim(1, -1)
    check_elements((*squares.shape[:-1], x.shape[1] + size), "The squares of LRN")
    padded = functional.pad(squares, (before, size - 1 - before))
    sums = padded.unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return x / (bias + alpha / size * sums) ** beta


@operator("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """Divide by the norm along an axis; a row of norm zero stays zero."""
    norm = lp_norm(x, p, (axis,), keep=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(x: Tensor, *, axes: list[int] | None = None) -> Tensor:
    """Standardise over the given axes, (0, 2, 3) by default."""
    over = [0, 2, 3] if axes is None else axes
    centred = x - x.mean(over, keepdim=True)
    spread = (centred * centred).mean(over, keepdim=True).sqrt()
    return centred / (spread + 1e-9)


@operator("Dropout", zero_outputs=(1,))
def dropout_flagged(
    x: Tensor, *, is_test: int = 0, ratio: float = 0.5, site: Site
) -> tuple[Tensor, Tensor]:
    """Dropout of inference mode hands its input on (up to opset 6 by a flag)."""
    if site.node.opset < 7 and not is_test:
        raise site.refuse_training()
    return x, torch.ones_like(x, dtype=torch.bool)


@operator("Dropout", since=12, host=(1, 2), zero_inputs=(1, 2), zero_outputs=(1,))
def dropout(
    x: Tensor,
    ratio: Tensor | None = None,
    training: Tensor | None = None,
    *,
    seed: int | None = None,
    site: Site,
) -> tuple[Tensor, Tensor]:
    """Hand the input on, unless training is asked for with a ratio above zero."""
    drops = training is not None and bool(training.any())
    if drops and (ratio is None or float(ratio.reshape(-1)[0]) > 0):
        raise site.refuse_training()
    return x, torch.ones_like(x, dtype=torch.bool)
