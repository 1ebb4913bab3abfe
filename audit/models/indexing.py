"""Slices of a value: numbers, slices with steps of either sign, `...` and None."""

from __future__ import annotations

import ast
import operator
from functools import lru_cache
from types import EllipsisType

import torch
from torch import Tensor

from audit.ground.errors import ConfigError

Place = int | slice | EllipsisType | None


@lru_cache(maxsize=256)
def places_of(node: ast.expr) -> tuple[Place, ...]:
    """Return what stands between the brackets: read once, and used at each call.

    Raises:
        ConfigError: something in it is neither a number, a slice, `...` nor None.
    """
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return tuple(_place(part) for part in parts)


def keeps_the_batch(places: tuple[Place, ...]) -> bool:
    """Return whether the first axis is left whole."""
    return places[:1] in ((slice(None),), (...,)) and places.count(...) <= 1


def indexed(whole: Tensor, places: tuple[Place, ...]) -> Tensor:
    """Return the part [N, ...] of a value [N, ...].

    Raises:
        IndexError, ValueError: the places do not fit the value's axes.
    """
    named = sum(place is not None and place is not ... for place in places)
    if named > whole.dim() - (places[0] is ...):
        raise IndexError(f"{named} places for {whole.dim()} axes, the batch among them")
    rest = [slice(None)] * (whole.dim() - named)
    spread: list[Place] = []
    for place in places if ... in places else (*places, ...):
        spread += rest if place is ... else [place]
    axis, part = 0, whole
    for place in spread:
        if place is None:
            part = part.unsqueeze(axis)
        elif isinstance(place, slice):
            part = _sliced(part, axis, place)
        else:
            part = part.select(axis, place)  # type: ignore[arg-type]
            continue
        axis += 1
    return part


def _sliced(part: Tensor, axis: int, place: slice) -> Tensor:
    """Return a slice along one axis; torch's own take no negative steps."""
    chosen = range(*place.indices(part.shape[axis]))
    if len(chosen) == part.shape[axis] and chosen.step == 1:
        return part
    if chosen.step > 0:
        taken = part[(*[slice(None)] * axis, slice(*_bounds(chosen)))]
        return taken.clone(memory_format=torch.contiguous_format)
    index = torch.tensor(list(chosen), dtype=torch.long, device=part.device)
    return part.index_select(axis, index)


def _bounds(chosen: range) -> tuple[int, int, int]:
    return chosen.start, max(chosen.start, chosen.stop), chosen.step


def _place(node: ast.expr) -> Place:
    try:
        if isinstance(node, ast.Slice):
            return slice(_end(node.lower), _end(node.upper), _end(node.step))
        return _literal(node)
    except (ValueError, TypeError, RecursionError):
        raise ConfigError(
            f"The index '{shown(node)}' is not a number or a slice",
            "Expected something like out[:, :3] or out[..., 1]",
            "Correct the --param",
        ) from None


def _end(node: ast.expr | None) -> int | None:
    value = None if node is None else _literal(node)
    if value is ...:
        raise TypeError("an end is a number")
    return value


def _literal(node: ast.expr) -> int | EllipsisType | None:
    value = ast.literal_eval(node)
    if value is None or value is ...:
        return value
    if isinstance(value, bool):
        raise TypeError("an index is a number")
    return operator.index(value)


def shown(node: ast.expr, most: int = 200) -> str:
    """Return the text of a part of an expression."""
    try:
        return ast.unparse(node)[:most]
    except RecursionError:
        return "…"  # too deep to be written
