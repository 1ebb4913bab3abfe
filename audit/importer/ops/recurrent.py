"""RNN, GRU and LSTM, written out step by step so that every transform works.

Gates are stacked in the order of the standard (LSTM: input, output, forget, cell; GRU:
update, reset, hidden). The input part of all gates is one product for all steps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audit.importer.limits import check_temporary, check_trips
from audit.importer.ops.cells import (
    Activation,
    Cell,
    State,
    Weights,
    activations_of,
    gru_cell,
    lstm_cell,
    rnn_cell,
    weights_of,
)
from audit.importer.products import linear
from audit.importer.registry import Site, operator


def _run(
    x: Tensor, weights: Weights, cell: Cell, state: State, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """Run one direction over [steps, batch, features]; finished rows stay put."""
    gates = linear(x, weights.w, weights.b)
    outputs = []
    for t, now in enumerate(gates.unbind(0)):
        new = cell(now, state)
        if lengths is None:
            outputs.append(new[0])
            state = new
            continue
        alive = (t < lengths).unsqueeze(-1)
        outputs.append(torch.where(alive, new[0], torch.zeros_like(new[0])))
        state = tuple(torch.where(alive, a, b) for a, b in zip(new, state, strict=True))
    if not outputs:
        return state[0].new_zeros(0, *state[0].shape), state
    return torch.stack(outputs), state


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse the steps of each row within its own length."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    ends = lengths.unsqueeze(0)
    index = torch.where(steps < ends, ends - 1 - steps, steps)
    return x.gather(0, index.unsqueeze(-1).expand(x.shape))


def recurrent(
    site: Site,
    x: Tensor,
    parameters: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    lengths: Tensor | None,
    initial: tuple[Tensor | None, ...],
    make_cell: Callable[[Weights, list[Activation]], Cell],
    activations: list[Activation],
    direction: str,
    layout: int,
) -> tuple[Tensor, ...]:
    """Run one or two directions and join their outputs as the standard asks."""
    if direction not in ("forward", "reverse", "bidirectional"):
        raise site.refuse(f"direction '{direction}' is unknown")
    if layout:
        x = x.transpose(0, 1)
        initial = tuple(s if s is None else s.transpose(0, 1) for s in initial)
    check_trips(x.shape[0], site.node.label)
    gates = (*x.shape[:2], parameters[0].shape[1])
    check_temporary(gates, f"The gates of {site.node.label}")
    lengths = None if lengths is None else lengths.to(torch.int64)
    count = 2 if direction == "bidirectional" else 1
    each = len(activations) // count
    outputs, finals = [], []
    for d in range(count):
        apart = parameters[1].shape[-1] if site.node.op == "GRU" else None
        weights = weights_of(*parameters, d, apart)
        backward = direction == "reverse" or d == 1
        zero = x.new_zeros(x.shape[1], weights.r.shape[-1])
        state = tuple(zero if s is None else s[d] for s in initial)
        cell = make_cell(weights, activations[d * each : (d + 1) * each])
        steps = _reversed(x, lengths) if backward else x
        y, final = _run(steps, weights, cell, state, lengths)
        outputs.append(_reversed(y, lengths) if backward else y)
        finals.append(final)
    y = torch.stack(outputs, 1)
    last = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    if layout:
        return y.permute(2, 0, 1, 3), *(part.transpose(0, 1) for part in last)
    return y, *last


def clipper(clip: float | None) -> Activation:
    """Return the clamp that `clip` asks for."""
    if not clip:
        return lambda x: x
    return lambda x: torch.clamp(x, -clip, clip)


@operator("RNN", zero_inputs=(4,), bounded=True)
def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    output_sequence: int = 0,
    site: Site,
) -> tuple[Tensor, ...]:
    """Run h' = f(W x + R h + b)."""
    acts = activations_of(
        activations or ["Tanh", "Tanh"], activation_alpha, activation_beta
    )
    acts = acts if direction == "bidirectional" else acts[:1]
    return recurrent(
        site, x, (w, r, b, None), lengths, (initial_h,),
        lambda weights, act: rnn_cell(weights, act, clipper(clip)),
        acts, direction, layout,
    )  # fmt: skip


@operator("GRU", zero_inputs=(4,), bounded=True)
def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,
    site: Site,
) -> tuple[Tensor, ...]:
    """Run h' = (1 - z) n + z h with the gates z and r."""
    names = activations or ["Sigmoid", "Tanh"] * (
        2 if direction == "bidirectional" else 1
    )
    acts = activations_of(names, activation_alpha, activation_beta)
    linear = bool(linear_before_reset)
    return recurrent(
        site, x, (w, r, b, None), lengths, (initial_h,),
        lambda weights, act: gru_cell(weights, act, clipper(clip), linear),
        acts, direction, layout,
    )  # fmt: skip


@operator("LSTM", zero_inputs=(4,), bounded=True)
def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    peepholes: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
    site: Site,
) -> tuple[Tensor, ...]:
    """Run c' = f c + i g, h' = o tanh(c'); peepholes and coupled gates on request."""
    both = 2 if direction == "bidirectional" else 1
    names = activations or ["Sigmoid", "Tanh", "Tanh"] * both
    acts = activations_of(names, activation_alpha, activation_beta)
    coupled = bool(input_forget)
    return recurrent(
        site, x, (w, r, b, peepholes), lengths, (initial_h, initial_c),
        lambda weights, act: lstm_cell(weights, act, clipper(clip), coupled),
        acts, direction, layout,
    )  # fmt: skip
