"""Operators that change the element type, and those that make tensors."""

from __future__ import annotations

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from audit.models.onnx.limits import check_elements
from audit.models.onnx.registry import Site, operator
from audit.models.onnx.values import CARRIED, Host, ints, plain


@operator("Cast")
def cast(
    x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up", site: Site
) -> Tensor:
    """Convert to another element type; towards integers, cut towards zero."""
    if to == TensorProto.STRING:
        raise site.refuse("casting to strings is not implemented")
    if to in CARRIED:
        kind = CARRIED[to][1]
        rounded = x.detach().cpu().numpy().astype(kind).astype(np.float32)
        return torch.as_tensor(rounded, device=x.device).to(CARRIED[to][0])
    return x.to(site.dtype(to))


@operator("CastLike", zero_inputs=(1,))
def cast_like(
    x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up"
) -> Tensor:
    """Convert to the element type of the second input."""
    return x.to(like.dtype)


@operator("BitCast", zero_derivative=True)
def bit_cast(x: Tensor, *, to: int, site: Site) -> Tensor:
    """Read the same bits as another element type."""
    return x.view(site.dtype(to))


@operator("ConstantOfShape", host=(0,), zero_derivative=True)
def constant_of_shape(
    shape: Host | Tensor, *, value: Host | None = None, site: Site
) -> Tensor:
    """One number, everywhere; a float32 zero by default."""
    sizes = ints(shape)
    check_elements(sizes, "The result of ConstantOfShape")
    one = np.zeros(1, np.float32) if value is None else value
    return site.policy.tensor(one).reshape(()).expand(sizes)


@operator("EyeLike", zero_derivative=True)
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0, site: Site) -> Tensor:
    """Ones on a diagonal, zeros elsewhere, in the shape of x."""
    kind = x.dtype if dtype is None else site.dtype(dtype)
    rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    columns = torch.arange(x.shape[1], device=x.device)
    return (rows + k == columns).to(kind)


@operator("Range", host=(0, 1, 2))
def range_(
    start: Host | Tensor,
    limit: Host | Tensor,
    delta: Host | Tensor,
    *,
    stash_type: int = 1,
) -> Tensor:
    """start, start + delta, ... up to but without the limit."""
    first, last, step = (_scalar(value) for value in (start, limit, delta))
    count = max(int(np.ceil((float(last) - float(first)) / float(step))), 0)
    check_elements([count], "The result of Range")
    dtype, device = _like(start)
    steps = torch.arange(count, device=device)
    if not dtype.is_floating_point:
        return (steps * int(step) + int(first)).to(dtype)
    origin = start.reshape(()) if isinstance(start, Tensor) else first
    stride = delta.reshape(()) if isinstance(delta, Tensor) else step
    return (origin + steps.to(dtype) * stride).to(dtype)


def _scalar(value: Host | Tensor) -> float | int:
    number = plain(value)
    return number.detach().item() if isinstance(number, Tensor) else number


def _like(value: Host | Tensor) -> tuple[torch.dtype, torch.device | None]:
    if isinstance(value, Tensor):
        return value.dtype, value.device
    return torch.from_numpy(np.zeros(1, value.dtype)).dtype, None


@operator("Shape", zero_derivative=True)
def shape_(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """The sizes of x as int64."""
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


@operator("Size", zero_derivative=True)
def size(x: Tensor) -> Tensor:
    """The number of elements of x as int64."""
    return torch.tensor(x.numel(), dtype=torch.int64)
