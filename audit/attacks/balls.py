"""Norm balls ‖u‖_p ≤ ε: their steepest directions, and the largest form on them.

The dual norm max over ‖u‖_p ≤ 1 of gᵀu is ‖g‖_q with 1/p + 1/q = 1; it is reached at
g/‖g‖₂, sign(g), or sign(g_j) e_j for the largest |g_j|.

|A u|² is convex, so it is largest at a corner of a ball. On the ℓ₂ ball that is λ_max;
on the ℓ₁ ball the largest squared column of A; on the ℓ∞ ball one of 2^m sign vectors,
a search that is NP-hard: all of them are tried for few features, else u ← sign(G u) is
repeated from several starts, which never lowers the form (Boyd, The power method for
ℓ^p norms, 1974), and the largest value found is a lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.linalg.matrix_free import free_part
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Spectrum

NORMS = {"2": 2.0, "inf": math.inf, "1": 1.0}
_ENUMERATED = 10  # features: 2^9 sign vectors
_STEPS = 30  # of the sign iteration
_COLUMNS = 64  # of A at a time


@dataclass(frozen=True)
class Ball:
    """The unit ball of ‖u‖_p, p = 1, 2 or ∞."""

    p: float = 2.0

    def norm(self, u: Tensor) -> Tensor:
        """Return ‖u‖_p over the last axis."""
        found: Tensor = torch.linalg.vector_norm(u, self.p, dim=-1)
        return found

    def dual(self, g: Tensor) -> Tensor:
        """Return max gᵀu over the ball, over the last axis."""
        other = {1.0: math.inf, math.inf: 1.0}.get(self.p, 2.0)
        found: Tensor = torch.linalg.vector_norm(g, other, dim=-1)
        return found

    def steepest(self, g: Tensor) -> Tensor:
        """Return a u of the ball with gᵀu = ‖g‖_q, over the last axis; 0 for g = 0."""
        if self.p == math.inf:
            return g.sign()
        if self.p == 1:
            place = g.abs().argmax(dim=-1, keepdim=True)
            return torch.zeros_like(g).scatter(-1, place, g.gather(-1, place).sign())
        return torch.nn.functional.normalize(g, dim=-1, eps=torch.finfo(g.dtype).tiny)

    def largest(self, form: QuadraticForm, spectrum: Spectrum) -> Tensor:
        """Return u [N, m] of the ball where the form is largest, as far as found.

        Zero where no direction is the worst.
        """
        if self.p == 2:
            return spectrum.directions[:, :, 0]
        directed = spectrum.directions[:, :, 0].abs().sum(dim=1, keepdim=True) > 0
        found = _column(form) if self.p == 1 else _signs(form, spectrum)
        return torch.where(directed, found, 0.0)


def read_norm(text: str) -> Ball:
    """Return the ball of a norm p, as it was written: 2, inf or 1.

    Raises:
        ConfigError: it is another one.
    """
    if text not in NORMS:
        raise ConfigError(
            f"The norm p={text} was given",
            f"Expected one of {', '.join(NORMS)}",
            "Write p=2 for Euclidean, p=inf for every feature at once, p=1 for few",
        )
    return Ball(NORMS[text])


def _column(form: QuadraticForm) -> Tensor:
    """Return the unit vector [N, m] of the longest column of A."""
    n, _, m = form.root.shape
    if free_part(form.root) is not None:
        raise ConfigError(
            "The worst of a ball p=1 was asked for, of a Jacobian that is too large to "
            "be stored",
            f"It is the longest of {m:,} columns, each a pass of the network",
            "Ask for p=2 or p=inf, or pass --method dense",
        )
    lengths = []
    eye = torch.eye(m, dtype=torch.float64)
    for first in range(0, m, _COLUMNS):
        part = eye[:, first : first + _COLUMNS]
        columns = part.expand(n, *part.shape)
        lengths.append(form(columns.to(_device(form))))
    longest = torch.cat(lengths, dim=1).argmax(dim=1)
    return torch.nn.functional.one_hot(longest, m).double()


def _device(form: QuadraticForm) -> torch.device:
    n, r, _ = form.root.shape
    return form.root.rmatmat(torch.zeros(n, r, 1, dtype=torch.float64)).device


def _signs(form: QuadraticForm, spectrum: Spectrum) -> Tensor:
    """Return the sign vector [N, m] of the largest form that is found."""
    n, _, m = form.root.shape
    if m <= _ENUMERATED:
        rest = product((1.0, -1.0), repeat=m - 1)
        every = torch.tensor([(1.0, *signs) for signs in rest], dtype=torch.float64)
        candidates = every.T.expand(n, m, len(every)).to(spectrum.directions)
    else:
        candidates = _iterated(form, spectrum)
    best = form(candidates).argmax(dim=1)
    return candidates[torch.arange(n, device=best.device), :, best]


def _iterated(form: QuadraticForm, spectrum: Spectrum) -> Tensor:
    """Return fixed points [N, m, K] of u -> sign(G u), from the leading directions."""
    u = torch.where(spectrum.directions < 0, -1.0, 1.0).to(spectrum.directions)
    for _ in range(_STEPS):
        pushed = form.root.rmatmat(form.root.matmat(u))
        again = torch.where(pushed < 0, -1.0, 1.0).to(u)
        if torch.equal(again, u):
            break
        u = again
    return u
