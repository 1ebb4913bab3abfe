"""Which element of an operand each element of a result is: read off a run on labels.

Operand k's element j at input i is labelled 1 + j + offset_k + i · total, and constants
0. The labels of the result show the source of each element, and that no input's row
holds a number of another's. An index that is not a constant has no labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from audit.importer.sweep.rules import (
    Place,
    Site,
    is_number_like,
)
from audit.importer.values import Value


def labelled(site: Site) -> list[Value] | None:
    """Return the arguments with labels for numbers; None where an index may change."""
    given: list[Value] = []
    sizes = [prod(place.shape) for place in site.active.values()]
    total, offset = sum(sizes) + 1, 0
    for position, (value, fixed) in enumerate(
        zip(site.arguments, site.fixed, strict=True)
    ):
        place = site.active.get(position)
        if place is not None:
            assert isinstance(value, Tensor)
            size = prod(place.shape)
            own = torch.arange(size, device=value.device) + (1 + offset)
            each = torch.arange(site.rows, device=value.device) * total
            whole = own.reshape(1, *place.shape) + each.reshape(
                -1, *(1,) * len(place.shape)
            )
            given.append(place.back(whole))
            offset += size
        elif is_number_like(value):
            given.append(_zeros(value))
        elif isinstance(value, Tensor) and not fixed:
            return None
        else:
            given.append(value)
    return given


def _zeros(value: Value) -> Value:
    if isinstance(value, Tensor):
        return torch.zeros(value.shape, dtype=torch.int64, device=value.device)
    return np.zeros(np.shape(value), dtype=np.int64)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Part:
    """What one result takes from one operand.

    Args:
        where: flat positions in the result's row. source: in the operand's.
        whole: whether it is all of the result, in the operand's own order.
        once: whether none of the operand's elements is there twice.
        inverse: of the operand's elements in the result, where each is there once.
    """

    where: Tensor
    source: Tensor
    whole: bool
    once: bool
    inverse: Tensor | None


def map_of(result: Value, place: Place, site: Site) -> list[Part] | None:
    """Return what a result takes from each operand; None where rows mix."""
    if not isinstance(result, Tensor) or not place.fits(result, site.rows):
        return None
    sizes = [prod(each.shape) for each in site.active.values()]
    total = sum(sizes) + 1
    rows = place.first(result).reshape(site.rows, -1)
    sources, inputs = rows % total, rows // total
    own = torch.arange(site.rows, device=rows.device).unsqueeze(1)
    if not bool(((inputs == own) | (sources == 0)).all()):
        return None
    if not bool((sources == sources[:1]).all()):
        return None
    found, offset = [], 0
    for size in sizes:
        each = sources[0] - 1 - offset
        where = ((each >= 0) & (each < size)).nonzero().squeeze(1)
        found.append(_part(where, each[where], size, rows.shape[1]))
        offset += size
    return found


def _part(where: Tensor, source: Tensor, size: int, width: int) -> Part:
    order = torch.arange(size, device=where.device)
    whole = len(where) == width == size and torch.equal(source, order)
    once = len(torch.unique(source)) == len(source)
    inverse = where[source.argsort()] if once and len(source) == size else None
    return Part(where, source, whole, once, inverse)
