"""One step of RNN, GRU and LSTM: gates in, new state out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

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


def activations_of(
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


def weights_of(
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


def rnn_cell(weights: Weights, act: list[Activation], clip: Activation) -> Cell:
    """Return the step h = f(W x + R h + b)."""
    r = weights.r.T

    def step(gates: Tensor, state: State) -> State:
        return (act[0](clip(torch.addmm(gates, state[0], r))),)

    return step


def gru_cell(
    weights: Weights, act: list[Activation], clip: Activation, linear_before: bool
) -> Cell:
    """Return the step of a GRU, with the reset before or after the product."""
    size = weights.r.shape[-1]
    r_zr, r_h = weights.r[: 2 * size], weights.r[2 * size :]
    b_h = weights.rb[2 * size :]

    def after(gates: Tensor, state: State) -> State:
        """Reset the state, then multiply."""
        (h,) = state
        two, hidden = torch.split(gates, [2 * size, size], -1)
        inner = torch.addmm(two, h, r_zr.T)
        update, reset = act[0](clip(inner)).chunk(2, -1)
        inner = functional.linear(reset * h, r_h, b_h)
        new = act[1](clip(hidden + inner))
        return (torch.lerp(new, h, update),)

    def before(gates: Tensor, state: State) -> State:
        """Multiply the state, then reset."""
        (h,) = state
        two, hidden = torch.split(gates, [2 * size, size], -1)
        inner_two, inner = torch.split(
            functional.linear(h, weights.r), [2 * size, size], -1
        )
        update, reset = act[0](clip(two + inner_two)).chunk(2, -1)
        new = torch.addcmul(hidden, reset, inner + b_h)
        return (torch.lerp(act[1](clip(new)), h, update),)

    return before if linear_before else after


def lstm_cell(
    weights: Weights, act: list[Activation], clip: Activation, coupled: bool
) -> Cell:
    """Return the step of an LSTM (gates in the order input, output, forget, cell)."""
    f, g, h_act = act
    size, r = weights.r.shape[-1], weights.r.T
    peep = weights.p.chunk(3) if weights.p is not None else None

    def plain(gates: Tensor, state: State) -> State:
        h, c = state
        total = clip(torch.addmm(gates, h, r))
        three, cell = torch.split(total, [3 * size, size], -1)
        i, o, forget = f(three).chunk(3, -1)
        c = torch.addcmul(forget * c, i, g(cell))
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
