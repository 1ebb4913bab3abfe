"""Control flow: If, Loop and Scan call subgraphs.

A subgraph sees the values around it: the plan hands them over after the node's own
inputs, and `Body.captured` says where.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from audit.importer.limits import check_elements, check_trips, count_kept, count_round
from audit.importer.registry import Site, operator
from audit.importer.values import Value, axis_of, integer

if TYPE_CHECKING:
    from audit.importer.places import Body


@operator("If")
def if_(*values: Value, then_branch: Body, else_branch: Body) -> tuple[Value, ...]:
    """Run one of two subgraphs."""
    branch = then_branch if bool(integer(values[0])) else else_branch
    return branch(*values[branch.captured])


def taken_branch(run: object, condition: Value) -> Body | None:
    """Return the branch that an If of a plan takes; None where it is no such step."""
    bodies = getattr(run, "keywords", {})
    if getattr(run, "func", None) is not if_:
        return None
    found: Body = bodies["then_branch" if bool(integer(condition)) else "else_branch"]
    return found


@operator("Loop")
def loop(*values: Value, body: Body, site: Site) -> tuple[Value, ...]:
    """Run a subgraph while its condition holds, at most a number of times.

    Outputs are the final state, then each scanned output stacked over the rounds.
    """
    limit, keep_going = values[0], values[1]
    state = list(values[2 : len(site.node.inputs)])
    captured = values[body.captured]
    trips = inf if limit is None else integer(limit)
    rounds: list[tuple[Value, ...]] = []
    kept = 0
    running = keep_going is None or bool(integer(keep_going))
    count = 0
    while running and count < trips:
        count_round(site.node.label)
        results = body(torch.tensor(count), torch.tensor(True), *state, *captured)
        running = bool(integer(results[0]))
        state = list(results[1 : 1 + len(state)])
        rounds.append(results[1 + len(state) :])
        kept = _kept(kept, rounds[-1], site)
        count += 1
    return (
        *state,
        *_stacked(rounds, len(body.plan.outputs) - 1 - len(state), body, site),
    )


def _stacked(
    rounds: list[tuple[Value, ...]], scanned: int, body: Body, site: Site
) -> list[Value]:
    if rounds:
        return [torch.stack(parts) for parts in zip(*rounds, strict=True)]
    infos = body.outputs[len(body.outputs) - scanned :] if scanned else ()
    return [
        torch.zeros(
            (0, *(n if isinstance(n, int) else 0 for n in info.shape or ())),
            dtype=site.dtype(info.onnx_type or 1),
        )
        for info in infos
    ]


@operator("Scan", since=9)
def scan(
    *values: Value,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: list[int] | None = None,
    scan_input_directions: list[int] | None = None,
    scan_output_axes: list[int] | None = None,
    scan_output_directions: list[int] | None = None,
    site: Site,
) -> tuple[Value, ...]:
    """Run a subgraph over the slices of its last inputs, carrying a state."""
    states = _states(len(site.node.inputs), num_scan_inputs)
    state = list(values[:states])
    sources = values[states : len(site.node.inputs)]
    captured = values[body.captured]
    axes = scan_input_axes or [0] * num_scan_inputs
    backward = scan_input_directions or [0] * num_scan_inputs
    slices = [
        _slices(source, axis, bool(reverse))
        for source, axis, reverse in zip(sources, axes, backward, strict=True)
    ]
    rounds = []
    kept = 0
    for parts in zip(*slices, strict=True):
        count_round(site.node.label)
        results = body(*state, *parts, *captured)
        state = list(results[:states])
        rounds.append(results[states:])
        kept = _kept(kept, rounds[-1], site)
    scanned = len(body.plan.outputs) - states
    out_axes = scan_output_axes or [0] * scanned
    out_back = scan_output_directions or [0] * scanned
    outputs = [
        _joined([parts[i] for parts in rounds], axis, bool(reverse))
        for i, (axis, reverse) in enumerate(zip(out_axes, out_back, strict=True))
    ]
    return (*state, *outputs)


def _states(given: int, scanned: int) -> int:
    """Return how many of the inputs carry the state."""
    if not 0 < scanned <= given:
        msg = f"num_scan_inputs={scanned} of {given} inputs"
        raise ValueError(msg)
    return given - scanned


def _kept(before: int, results: tuple[Value, ...], site: Site) -> int:
    """Count what all rounds so far have scanned out; refuse too much of it."""
    now = before + sum(part.numel() for part in results if isinstance(part, Tensor))
    check_elements([now], f"What {site.node.label} stacks")
    return now


def _slices(source: Value, axis: int, reverse: bool) -> list[Tensor]:
    if not isinstance(source, Tensor):
        msg = f"a scanned input must be a tensor, not {type(source).__name__}"
        raise TypeError(msg)
    along = axis_of(axis, source.dim())
    check_trips(source.shape[along] if source.dim() else 0, "Scan")
    parts = list(source.unbind(along))
    return parts[::-1] if reverse else parts


def _joined(parts: list[Value], axis: int, reverse: bool) -> Tensor:
    tensors = [part for part in parts if isinstance(part, Tensor)]
    return torch.stack(tensors[::-1] if reverse else tensors, axis)


@operator("Scan", since=8)
def scan_batched(
    *values: Value,
    body: Body,
    num_scan_inputs: int,
    directions: list[int] | None = None,
    site: Site,
) -> tuple[Value, ...]:
    """Opset 8: as Scan, for each row of a batch (every row at its full length)."""
    if values[0] is not None:
        raise site.refuse("sequence_lens is not implemented")
    explicit = len(site.node.inputs)
    rows = values[1:explicit]
    results = []
    for row in range(rows[0].shape[0]):  # type: ignore[union-attr]
        mine = [value[row] for value in rows]  # type: ignore[index]
        results.append(
            _scan_row(mine, values[body.captured], body, num_scan_inputs, directions)
        )
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))


def _scan_row(
    values: list[Value],
    captured: tuple[Value, ...],
    body: Body,
    num_scan_inputs: int,
    directions: list[int] | None,
) -> tuple[Value, ...]:
    states = _states(len(values), num_scan_inputs)
    backward = directions or [0] * num_scan_inputs
    state = values[:states]
    slices = [
        _slices(source, 0, bool(reverse))
        for source, reverse in zip(values[states:], backward, strict=True)
    ]
    rounds = []
    for parts in zip(*slices, strict=True):
        results = body(*state, *parts, *captured)
        state = list(results[:states])
        rounds.append(results[states:])
        made = sum(v.numel() for v in rounds[-1] if isinstance(v, Tensor))
        count_kept(made, "What Scan stacks")
    return (
        *state,
        *(_joined(list(parts), 0, False) for parts in zip(*rounds, strict=True)),
    )
