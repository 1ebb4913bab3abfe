"""One step of RNN, GRU and LSTM, and the transpose of its derivative.

Gates a = W x + R h' + b are in the order of the standard; h' is the state before, and d
marks a cotangent. What depends on the input alone is computed once:

RNN:  h = tanh a;                     da = dh (1 − h²),  dh' = da R.
GRU:  z, r = σ, n = tanh(a_n + r q), q = R_n h' + b_n, h = (1 − z) n + z h':
      da_z = dh (h' − n) z (1 − z),   da_n = dh (1 − z) (1 − n²),
      da_r = da_n q r (1 − r),        dq = da_n r,
      dh' = dh z + da_z R_z + da_r R_r + dq R_n.
      With the reset before the product, n = tanh(a_n + R_n (r h') + b_n):
      e = da_n R_n,  da_r = e h' r (1 − r),  dh' = dh z + e r + da_z R_z + da_r R_r.
LSTM: i, o, f = σ, g = tanh, c = f c' + i g, h = o tanh c:
      da_o = dh tanh(c) o (1 − o),    e = dc + dh o (1 − tanh² c),
      da_i = e g i (1 − i),  da_f = e c' f (1 − f),  da_g = e i (1 − g²),
      dc' = e f,  dh' = da R.

Sources: Cho et al. 2014; Hochreiter & Schmidhuber 1997; ONNX operators RNN, GRU, LSTM.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.products import plain_times

State = tuple[Tensor, ...]


class Cell(Protocol):
    """One step.

    Shapes: gates [n, G], a state's tensors [n, H]; cotangents [n, r, H].
    """

    def step(self, gates: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
        """Return the state after, and what `back` needs [n, …]."""

    def back(self, kept: tuple[Tensor, ...], given: State) -> tuple[Tensor, State]:
        """Return the cotangents of the gates [n, r, G] and of the state before."""


class Plain:
    """An RNN with tanh.

    Args:
        r: R [H, H].
    """

    def __init__(self, r: Tensor) -> None:
        self._r = r

    def step(self, gates: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
        """Return h and 1 − h²."""
        h = torch.tanh(torch.addmm(gates, state[0], self._r.T))
        return (h,), (1 - h * h,)

    def back(self, kept: tuple[Tensor, ...], given: State) -> tuple[Tensor, State]:
        """Return da and dh'."""
        gates = given[0] * kept[0].unsqueeze(1)
        return gates, (plain_times(gates, self._r),)


class Gated:
    """A GRU with the reset after the product, as torch has it.

    Args:
        r: R [3 H, H]. b: what of the recurrent bias the reset scales [H].
    """

    def __init__(self, r: Tensor, b: Tensor) -> None:
        self._r, self._b, self._size = r, b, r.shape[1]
        self._turned = torch.cat([r[2 * self._size :], r[: 2 * self._size]])  # n, z, r

    def step(self, gates: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
        """Return h, the coefficients of q, z, r and n [n, 4 H], and z."""
        (h,), size = state, self._size
        inner = functional.linear(h, self._r)
        update, reset = torch.sigmoid(
            gates[:, : 2 * size] + inner[:, : 2 * size]
        ).chunk(2, -1)
        q = inner[:, 2 * size :] + self._b
        new = torch.tanh(torch.addcmul(gates[:, 2 * size :], reset, q))
        of_new = (1 - update) * (1 - new * new)
        of_q = of_new * reset
        of_update = (h - new) * (update * (1 - update))
        of_reset = of_q * q * (1 - reset)
        kept = torch.cat([of_q, of_update, of_reset, of_new], dim=1)
        return (torch.lerp(new, h, update),), (kept, update)

    def back(self, kept: tuple[Tensor, ...], given: State) -> tuple[Tensor, State]:
        """Return da and dh'."""
        (h,), (coefficients, update) = given, kept
        n, size = len(coefficients), self._size
        four = coefficients.reshape(n, 1, 4, size) * h.unsqueeze(2)
        four = four.flatten(2)
        before = plain_times(four[:, :, : 3 * size], self._turned)
        before.addcmul_(h, update.unsqueeze(1))
        return four[:, :, size:], (before,)


class Reset:
    """A GRU with the reset before the product.

    Args:
        r: R [3 H, H]. b: the recurrent bias of the new state [H].
    """

    def __init__(self, r: Tensor, b: Tensor) -> None:
        size = r.shape[1]
        self._two, self._new, self._b, self._size = (
            r[: 2 * size],
            r[2 * size :],
            b,
            size,
        )

    def step(self, gates: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
        """Return h, and the coefficients of z, n and r, z and r."""
        (h,), size = state, self._size
        two = torch.sigmoid(torch.addmm(gates[:, : 2 * size], h, self._two.T))
        update, reset = two.chunk(2, -1)
        inner = functional.linear(reset * h, self._new, self._b)
        new = torch.tanh(gates[:, 2 * size :] + inner)
        of_update = (h - new) * (update * (1 - update))
        of_new = (1 - update) * (1 - new * new)
        of_reset = h * reset * (1 - reset)
        kept = (of_update, of_new, of_reset, update, reset)
        return (torch.lerp(new, h, update),), kept

    def back(self, kept: tuple[Tensor, ...], given: State) -> tuple[Tensor, State]:
        """Return da and dh'."""
        (h,) = given
        of_update, of_new, of_reset, update, reset = (k.unsqueeze(1) for k in kept)
        new = h * of_new
        inner = plain_times(new, self._new)
        two = torch.cat([h * of_update, inner * of_reset], dim=2)
        before = plain_times(two, self._two).addcmul_(h, update).addcmul_(inner, reset)
        return torch.cat([two, new], dim=2), (before,)


class Long:
    """An LSTM.

    Args:
        r: R [4 H, H].
    """

    def __init__(self, r: Tensor) -> None:
        self._r, self._size = r, r.shape[1]

    def step(self, gates: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
        """Return h and c, and the coefficients."""
        (h, c), size = state, self._size
        total = torch.addmm(gates, h, self._r.T)
        i, o, forget = torch.sigmoid(total[:, : 3 * size]).chunk(3, -1)
        g = torch.tanh(total[:, 3 * size :])
        after = torch.addcmul(forget * c, i, g)
        bent = torch.tanh(after)
        of_cell = o * (1 - bent * bent)
        of_o = bent * o * (1 - o)
        of_i, of_g = g * i * (1 - i), i * (1 - g * g)
        of_forget = c * forget * (1 - forget)
        kept = (of_cell, of_o, of_i, of_forget, of_g, forget)
        return (o * bent, after), kept

    def back(self, kept: tuple[Tensor, ...], given: State) -> tuple[Tensor, State]:
        """Return da, dh' and dc'."""
        h, c = given
        of_cell, of_o, of_i, of_forget, of_g, forget = (k.unsqueeze(1) for k in kept)
        cell = torch.addcmul(c, h, of_cell)
        gates = torch.cat([cell * of_i, h * of_o, cell * of_forget, cell * of_g], dim=2)
        return gates, (plain_times(gates, self._r), cell * forget)
