"""RNN, GRU and LSTM, written out step by step so that every transform works.

Gates are stacked in the order of the standard (LSTM: input, output, forget, cell; GRU:
update, reset, hidden). The input part of all gates is one product for all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.onnx.registry import Site, operator

Activation = Callable[[Tensor], Tensor]
Cell = Callable[[Tensor, "State"], "State"]
State = tuple[Tensor, ...]


def _activation(name: str, alpha: float | None, beta: float | None) -> Activation:
    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    table: dict[str, Activation] = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softsign": functional.softsign,
        "softplus": lambda x: functional.softplus(x, 1.0, 40.0),
        "affine": lambda x: given(alpha, 1.0) * x + given(beta, 0.0),
        "leakyrelu": lambda x: functional.leaky_relu(x, given(alpha, 0.01)),
        "thresholdedrelu": lambda x: functional.threshold(x, given(alpha, 1.0), 0.0),
        "scaledtanh": lambda x: given(alpha, 1.0) * torch.tanh(given(beta, 1.0) * x),
        "hardsigmoid": lambda x: torch.clamp(
            given(alpha, 0.2) * x + given(beta, 0.5), 0, 1
        ),
        "elu": lambda x: functional.elu(x, given(alpha, 1.0)),
    }
    if name.lower() not in table:
        msg = f"activation '{name}' is unknown; expected one of {sorted(table)}"
        raise ValueError(msg)
    return table[name.lower()]


_TAKES_ALPHA = {
    "affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu",
}  # fmt: skip
_TAKES_BETA = {"affine", "scaledtanh", "hardsigmoid"}


def _activations(
    names: list[str], alphas: list[float] | None, betas: list[float] | None
) -> list[Activation]:
    """Hand the optional parameters to the activations that take them, in order."""
    alpha, beta = iter(alphas or ()), iter(betas or ())
    return [
        _activation(
            name,
            next(alpha, None) if name.lower() in _TAKES_ALPHA else None,
            next(beta, None) if name.lower() in _TAKES_BETA else None,
        )
        for name in names
    ]


@dataclass(frozen=True)
class Weights:
    """What one direction needs: W, R, the two biases, peepholes.

    `b` is what the gates start from; `rb` is what of the recurrent bias is not in it.
    """

    w: Tensor
    r: Tensor
    b: Tensor
    rb: Tensor
    p: Tensor | None = None


def _weights(
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    p: Tensor | None,
    direction: int,
    last_apart: int | None,
) -> Weights:
    """Pick one direction; the last gate of a GRU keeps its recurrent bias apart."""
    rows = w.shape[1]
    bias = b[direction] if b is not None else w.new_zeros(2 * rows)
    peep = p[direction] if p is not None else None
    wb, rb = bias[:rows], bias[rows:]
    joined = rows if last_apart is None else rows - last_apart
    start = torch.cat([wb[:joined] + rb[:joined], wb[joined:]])
    return Weights(w[direction], r[direction], start, rb, peep)


def _rnn_cell(weights: Weights, act: list[Activation], clip: Activation) -> Cell:
    r = weights.r.T

    def step(gates: Tensor, state: State) -> State:
        return (act[0](clip(torch.addmm(gates, state[0], r))),)

    return step


def _gru_cell(
    weights: Weights, act: list[Activation], clip: Activation, linear_before: bool
) -> Cell:
    size = weights.r.shape[-1]
    r_zr, r_h = weights.r[: 2 * size], weights.r[2 * size :]
    b_h = weights.rb[2 * size :]

    def after(gates: Tensor, state: State) -> State:
        """Reset the state, then multiply."""
        (h,) = state
        inner = torch.addmm(gates[..., : 2 * size], h, r_zr.T)
        update, reset = act[0](clip(inner)).chunk(2, -1)
        inner = functional.linear(reset * h, r_h, b_h)
        new = act[1](clip(gates[..., 2 * size :] + inner))
        return (torch.lerp(new, h, update),)

    def before(gates: Tensor, state: State) -> State:
        """Multiply the state, then reset."""
        (h,) = state
        inner = functional.linear(h, weights.r)
        both = act[0](clip(gates[..., : 2 * size] + inner[..., : 2 * size]))
        update, reset = both.chunk(2, -1)
        new = torch.addcmul(gates[..., 2 * size :], reset, inner[..., 2 * size :] + b_h)
        return (torch.lerp(act[1](clip(new)), h, update),)

    return before if linear_before else after


def _lstm_cell(
    weights: Weights, act: list[Activation], clip: Activation, coupled: bool
) -> Cell:
    f, g, h_act = act
    size, r = weights.r.shape[-1], weights.r.T
    peep = weights.p.chunk(3) if weights.p is not None else None

    def plain(gates: Tensor, state: State) -> State:
        h, c = state
        total = clip(torch.addmm(gates, h, r))
        i, o, forget = f(total[..., : 3 * size]).chunk(3, -1)
        c = torch.addcmul(forget * c, i, g(total[..., 3 * size :]))
        return (o * h_act(c), c)

    def full(gates: Tensor, state: State) -> State:
        """Peepholes look at the state; a coupled forget gate is 1 - i."""
        h, c = state
        i, o, forget, cell = torch.addmm(gates, h, r).chunk(4, -1)
        if peep is not None:
            i, forget = i + peep[0] * c, forget + peep[2] * c
        i = f(clip(i))
        forget = 1 - i if coupled else f(clip(forget))
        c = forget * c + i * g(clip(cell))
        if peep is not None:
            o = o + peep[1] * c
        return (f(clip(o)) * h_act(c), c)

    return full if coupled or peep is not None else plain


def _run(
    x: Tensor, weights: Weights, cell: Cell, state: State, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """Run one direction over [steps, batch, features]; finished rows stay put."""
    gates = functional.linear(x, weights.w, weights.b)
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


def _recurrent(
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
    lengths = None if lengths is None else lengths.to(torch.int64)
    count = 2 if direction == "bidirectional" else 1
    each = len(activations) // count
    outputs, finals = [], []
    for d in range(count):
        apart = parameters[1].shape[-1] if site.node.op == "GRU" else None
        weights = _weights(*parameters, d, apart)
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


def _clipper(clip: float | None) -> Activation:
    if not clip:
        return lambda x: x
    return lambda x: torch.clamp(x, -clip, clip)


@operator("RNN", zero_inputs=(4,))
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
    """H' = f(W x + R h + b)."""
    acts = _activations(
        activations or ["Tanh", "Tanh"], activation_alpha, activation_beta
    )
    acts = acts if direction == "bidirectional" else acts[:1]
    return _recurrent(
        site, x, (w, r, b, None), lengths, (initial_h,),
        lambda weights, act: _rnn_cell(weights, act, _clipper(clip)),
        acts, direction, layout,
    )  # fmt: skip


@operator("GRU", zero_inputs=(4,))
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
    """z, r gates and h' = (1 - z) n + z h."""
    names = activations or ["Sigmoid", "Tanh"] * (
        2 if direction == "bidirectional" else 1
    )
    acts = _activations(names, activation_alpha, activation_beta)
    linear = bool(linear_before_reset)
    return _recurrent(
        site, x, (w, r, b, None), lengths, (initial_h,),
        lambda weights, act: _gru_cell(weights, act, _clipper(clip), linear),
        acts, direction, layout,
    )  # fmt: skip


@operator("LSTM", zero_inputs=(4,))
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
    """C' = f c + i g, h' = o tanh(c'), with peepholes and coupled gates on request."""
    both = 2 if direction == "bidirectional" else 1
    names = activations or ["Sigmoid", "Tanh", "Tanh"] * both
    acts = _activations(names, activation_alpha, activation_beta)
    coupled = bool(input_forget)
    return _recurrent(
        site, x, (w, r, b, peepholes), lengths, (initial_h, initial_c),
        lambda weights, act: _lstm_cell(weights, act, _clipper(clip), coupled),
        acts, direction, layout,
    )  # fmt: skip
