"""Operators that change the element type, and those that make tensors."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from audit.importer.integers import steps_between
from audit.importer.limits import check_elements, check_listed
from audit.importer.registry import Site, operator
from audit.importer.values import (
    CARRIED,
    FLOAT8,
    Host,
    from_numpy,
    ints,
    plain,
    round_to,
    to_host,
)


@operator("Cast")
def cast(
    x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up", site: Site
) -> Tensor | Host:
    """Convert to another element type; towards integers, cut towards zero.

    A number that the integer type does not hold, and NaN, become what the processor
    makes of them, as in onnxruntime; the standard leaves it open.
    """
    if to == TensorProto.STRING:
        return written(to_host(x))
    if to in CARRIED:
        return round_to(x, to, round_mode)
    return as_type(x, site.dtype(to), bool(saturate))


def written(x: Host) -> Host:
    """Return numbers as text, as onnxruntime writes them: floats with 8 digits."""
    check_listed(x.shape, "The text of numbers")
    words = {"nan": "NaN", "inf": "INF", "-inf": "-INF"}
    items = x.reshape(-1).tolist()
    if x.dtype.kind == "f":
        items = [words.get(text := f"{item:.8g}", text) for item in items]
    else:
        items = [str(int(item)) for item in items]
    return np.array(items, object).reshape(x.shape)


def as_type(x: Tensor, dtype: torch.dtype, saturate: bool = True) -> Tensor:
    """Convert; beyond the range of an 8-bit float stop at its end, or overflow.

    No derivative passes to 8 bits: that is quantisation.
    """
    if dtype not in FLOAT8:
        return x.to(dtype)
    last = torch.finfo(dtype).max
    wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    if saturate:
        return wide.clamp(-last, last).to(dtype)
    kind = str(dtype).removeprefix("torch.")
    bits = to_host(wide).astype(getattr(ml_dtypes, kind)).view(np.uint8)
    return torch.from_numpy(bits).to(x.device).view(dtype)


@operator("CastLike", zero_inputs=(1,))
def cast_like(
    x: Tensor,
    like: Tensor,
    *,
    saturate: int = 1,
    round_mode: str = "up",
    site: Site,
) -> Tensor:
    """Convert to the element type of the second input."""
    declared = site.input_type(1)
    if declared in CARRIED:
        return round_to(x, declared, round_mode)
    return as_type(x, like.dtype, bool(saturate))


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


@operator("Range", host=(0, 1, 2), zero_inputs=(1,))
def range_(
    start: Host | Tensor,
    limit: Host | Tensor,
    delta: Host | Tensor,
    *,
    stash_type: int = 1,
    site: Site,
) -> Tensor:
    """start, start + delta, ... up to but without the limit."""
    first, last, step = (_scalar(value) for value in (start, limit, delta))
    count = steps_between(first, last, step)
    check_elements([count], "The result of Range")
    like = start if isinstance(start, Tensor) else from_numpy(np.asarray(start))
    dtype = like.dtype
    device = like.device if isinstance(start, Tensor) else site.policy.device
    steps = torch.arange(count, device=device)
    if not dtype.is_floating_point:
        return (steps * int(step) + int(first)).to(dtype)
    origin = start.reshape(()) if isinstance(start, Tensor) else first
    stride = delta.reshape(()) if isinstance(delta, Tensor) else step
    return (origin + steps.to(dtype) * stride).to(dtype)


def _scalar(value: Host | Tensor) -> float | int:
    number = plain(value)
    return number.detach().item() if isinstance(number, Tensor) else number


@operator("Shape", zero_derivative=True)
def shape_(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """The sizes of x as int64."""
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


@operator("Size", zero_derivative=True)
def size(x: Tensor) -> Tensor:
    """The number of elements of x as int64."""
    return torch.tensor(x.numel(), dtype=torch.int64)
