"""A device that is not there: what mixes it with the CPU fails, as it would on a GPU.

A tensor "elsewhere" is one of the CPU behind a device of another name. Operations on
it are computed by the CPU; but a factor of the CPU beside one from elsewhere is refused
(numbers without a dimension and indices aside, as on CUDA), and so is NumPy. So the
whole measurement can be held to its device where there is no accelerator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = "lazy"  # a device that torch knows and computes nothing on
_INDEXED = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
    torch.ops.aten._unsafe_index.Tensor,
}
_MOVED = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class Elsewhere(torch.Tensor):
    """A tensor that says it lies elsewhere."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=NAME,
        )
        made.inner = inner
        return made

    def __repr__(self, **_: object) -> str:
        return f"Elsewhere({self.inner!r})"

    def tolist(self) -> Any:
        """Return numbers, which a device hands out."""
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


class _Made(TorchFunctionMode):
    """Make from numbers, and index by lists, what torch makes past the dispatcher."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor):
            beside = args[0] if func is torch.Tensor.new_tensor else None
            device = kwargs.pop("device", None if beside is None else beside.device)
            if beside is not None:
                kwargs, args = {"dtype": beside.dtype, **kwargs}, args[1:]
            if beside is not None or func is torch.tensor or device is not None:
                func = torch.as_tensor if func is torch.as_tensor else torch.tensor
                found = func(*args, **kwargs)
                return found if device is None else found.to(device)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            place = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(one, list) for one in place):
                place = tuple(
                    torch.tensor(one) if isinstance(one, list) else one for one in place
                )
                args = args[0], place, *args[2:]
        return func(*args, **kwargs)


class OfElsewhere(TorchDispatchMode):
    """Let new tensors be made elsewhere."""

    def __enter__(self):
        self._made = _Made()
        self._made.__enter__()
        return super().__enter__()

    def __exit__(self, *given):
        super().__exit__(*given)
        self._made.__exit__(*given)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


def computed(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute an operation by the CPU, and say where its results lie."""
    given, _ = tree_flatten((args, kwargs))
    there = any(isinstance(one, Elsewhere) for one in given)
    asked = kwargs.get("device")
    if asked is not None:
        there = torch.device(asked).type == NAME
        kwargs = {**kwargs, "device": "cpu" if there else asked}
    elif there and func not in _MOVED:
        refuse_mixed(func, args, given)
    found = func(*tree_map(plain, args), **tree_map(plain, kwargs))
    if func._schema.is_mutable and func._schema.name.endswith("_"):
        return args[0]
    out = kwargs.get("out")
    if out is not None:
        return out

    def place(one: Any) -> Any:
        return Elsewhere(one) if there and type(one) is torch.Tensor else one

    return tree_map(place, found)


def refuse_mixed(func: Callable[..., Any], args: Any, given: list[Any]) -> None:
    """Refuse an operation on tensors of two devices, as CUDA does."""
    beside = given
    if func in _INDEXED:
        beside = [args[0], *args[2:3]]
    for one in beside:
        if type(one) is torch.Tensor and one.dim() > 0:
            raise RuntimeError(
                f"Expected all tensors on one device: {func} got {list(one.shape)} of "
                "the CPU beside one from elsewhere"
            )


def plain(one: Any) -> Any:
    return one.inner if isinstance(one, Elsewhere) else one
