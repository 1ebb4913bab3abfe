"""Sequences are Python lists, an absent optional is None."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from audit.importer.limits import check_elements, check_trips, count_kept, count_round
from audit.importer.registry import Site, operator
from audit.importer.values import Host, Value, axis_of, integer, ints

if TYPE_CHECKING:
    from audit.importer.places import Body


@operator("SequenceConstruct")
def sequence_construct(*tensors: Value) -> list[Value]:
    """Collect tensors."""
    return list(tensors)


@operator("SequenceEmpty")
def sequence_empty(*, dtype: int | None = None) -> list[Value]:
    """Make an empty sequence."""
    return []


@operator("SequenceAt", host=(1,), zero_inputs=(1,))
def sequence_at(sequence: list[Value], position: Host | Tensor) -> Value:
    """Pick one item."""
    return sequence[integer(position)]


@operator("SequenceInsert", host=(2,), zero_inputs=(2,))
def sequence_insert(
    sequence: list[Value], item: Value, position: Host | Tensor | None = None
) -> list[Value]:
    """Insert before a position, or at the end."""
    check_trips(len(sequence), "The sequence")
    count_kept(item.numel() if isinstance(item, Tensor) else 0, "A sequence")
    place = len(sequence) if position is None else integer(position)
    place = place + len(sequence) if place < 0 else place
    return [*sequence[:place], item, *sequence[place:]]


@operator("SequenceErase", host=(1,), zero_inputs=(1,))
def sequence_erase(
    sequence: list[Value], position: Host | Tensor | None = None
) -> list[Value]:
    """Drop the item at a position, or the last one."""
    place = -1 if position is None else integer(position)
    place = place + len(sequence) if place < 0 else place
    return [*sequence[:place], *sequence[place + 1 :]]


@operator("SequenceLength", zero_derivative=True)
def sequence_length(sequence: list[Value]) -> Tensor:
    """Count the items."""
    return torch.tensor(len(sequence), dtype=torch.int64)


@operator("SplitToSequence", host=(1,), zero_inputs=(1,))
def split_to_sequence(
    x: Tensor, split: Host | Tensor | None = None, *, axis: int = 0, keepdims: int = 1
) -> list[Value]:
    """Cut along an axis into pieces of a size, of given sizes, or of one."""
    check_trips(x.shape[axis] if split is None else 0, "SplitToSequence")
    if split is None:
        parts = x.unbind(axis) if not keepdims else torch.split(x, 1, axis)
        return list(parts)
    sizes = ints(split)
    scalar = not split.shape
    check_trips(x.shape[axis] // max(sizes[0], 1) if scalar else 0, "SplitToSequence")
    return list(torch.split(x, sizes[0] if scalar else sizes, axis))


@operator("ConcatFromSequence")
def concat_from_sequence(
    sequence: list[Tensor], *, axis: int, new_axis: int = 0
) -> Tensor:
    """Join the items along an axis, a new one on request."""
    check_elements([sum(part.numel() for part in sequence)], "The joined sequence")
    if new_axis:
        return torch.stack(sequence, axis_of(axis, sequence[0].dim() + 1))
    return torch.cat(sequence, axis)


@operator("SequenceMap")
def sequence_map(*values: Value, body: Body, site: Site) -> tuple[Value, ...]:
    """Apply a subgraph to the items of sequences (other inputs stay the same)."""
    explicit = values[: len(site.node.inputs)]
    captured = values[body.captured]
    first = explicit[0]
    if not isinstance(first, list):
        msg = "the first input must be a sequence"
        raise TypeError(msg)
    rounds = []
    for i in range(len(first)):
        count_round(site.node.label)
        given = (v[i] if isinstance(v, list) else v for v in explicit)
        rounds.append(body(*given, *captured))
        made = sum(v.numel() for v in rounds[-1] if isinstance(v, Tensor))
        count_kept(made, f"What {site.node.label} collects")
    outputs = len(body.outputs)
    return tuple([results[i] for results in rounds] for i in range(outputs))


@operator("Optional")
def optional(value: Value = None, *, type: object = None) -> Value:
    """Wrap a value, or make an absent one."""
    return value


@operator("OptionalHasElement", zero_derivative=True)
def optional_has_element(value: Value = None) -> Tensor:
    """Return whether the value is there."""
    return torch.tensor(value is not None)


@operator("OptionalGetElement")
def optional_get_element(value: Value) -> Value:
    """Unwrap."""
    if value is None:
        msg = "the optional input is absent"
        raise ValueError(msg)
    return value
