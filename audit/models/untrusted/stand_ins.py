"""What the pickles of TorchScript make, as stand-ins: is all that they claim there?

A tensor of theirs is a view (offset, shape, strides) of a storage. torch builds it
without looking whether the storage is that long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_DEPTH = 500  # what is nested is freed by recursion
Numbers = tuple[int, ...]
SCALES = "torch.per_channel_affine"
_MOST = 1 << 27  # elements of a tensor that repeats those of its storage


class PickleFault(ValueError):
    """Why a pickle is not loaded: a clause that follows its name."""


@dataclass(frozen=True)
class Global:
    """A class or function that a pickle names."""

    name: str

    @property
    def is_class(self) -> bool:
        """Whether it belongs to the program, and not to torch."""
        return self.name.startswith("__torch__.")


@dataclass(frozen=True)
class Storage:
    """The numbers in a record: how many."""

    count: int


@dataclass(frozen=True)
class View:
    """A tensor on a storage: its shape."""

    shape: tuple[int, ...]


@dataclass(eq=False)
class Container:
    """A list, mapping or object, by what it holds."""

    items: list[Any]


def view(storage: Storage, offset: int, shape: Numbers, strides: Numbers) -> View:
    """Return a tensor all of whose numbers are in its storage."""
    if not all(map(is_count, (offset, *shape, *strides))):
        raise PickleFault("has a tensor in another form than torch writes")
    last = offset + sum(
        (size - 1) * stride for size, stride in zip(shape, strides, strict=True)
    )
    if math.prod(shape) and last >= storage.count:
        raise PickleFault(
            f"has a tensor of the shape {list(shape)} on {storage.count} numbers"
        )
    if math.prod(shape) > max(storage.count, _MOST):
        raise PickleFault(f"has a tensor of the shape {list(shape)}")
    return View(tuple(shape))


def quantised(
    storage: Storage,
    offset: int,
    shape: Numbers,
    strides: Numbers,
    scheme: tuple[Any, ...],
) -> View:
    """Return a quantised tensor that has as many scales as it needs."""
    found = view(storage, offset, shape, strides)
    kind, scales, zeros = scheme[:3]
    if kind.name == SCALES:
        axis = scheme[3]
        if not is_count(axis) or {scales.shape, zeros.shape} != {(shape[axis],)}:
            raise PickleFault("has a quantised tensor with too few scales")
    elif not (isinstance(scales, float) and type(zeros) is int):
        raise PickleFault("has a quantised tensor in another form than torch writes")
    return found


def is_count(value: object) -> bool:
    """Whether a value is a number of things, and none that overflows."""
    return type(value) is int and 0 <= value < 1 << 62


def refuse_deep(root: Any) -> None:  # noqa: ANN401
    """Raise if things are nested in one another very deep, or in a circle."""
    depths: dict[int, int] = {}
    within: set[int] = set()
    work = [(root, False)]
    while work:
        node, is_last = work.pop()
        parts = _parts(node)
        if is_last:
            within.discard(id(node))
            depths[id(node)] = 1 + max(depths.get(id(part), 0) for part in parts)
            if depths[id(node)] > _DEPTH:
                raise PickleFault("is nested too deep")
        elif id(node) in within:
            raise PickleFault("holds something that holds itself")
        elif parts and id(node) not in depths:
            within.add(id(node))
            work.append((node, True))
            work.extend((part, False) for part in parts)


def _parts(node: Any) -> Sequence[Any]:  # noqa: ANN401
    if isinstance(node, Container):
        return node.items
    return node if isinstance(node, tuple) else ()
