"""The trace of G = AᵀA beside a space that is known.

With P = 1 − Q Qᵀ, B = P K P and normal g,

    tr K = tr T + tr B,     E[gᵀ B g] = tr B,

exact on the space that was found and Hutchinson's estimate on the rest (Hutch++):
gᵀ B g = |Aᵀ P g|² takes one product. Q depends on none of the probes, so the estimate
has no bias. A space that is everything leaves nothing to estimate.

**How sure.** A few probes are no sample to take a standard deviation of. But their
halves are there, and so is b_ij = g_iᵀ B g_j of each pair:

    E[b_ij²] = tr B²,     E[b_ij b_jk b_ki] = tr B³,

and gᵀ B g of normal g has the variance 2 tr B² and the third central moment 8 tr B³.
m probes give m (m − 1) / 2 pairs, and from them the error and the skewness of their
mean. The standard error is that of a normal law with as wide an interval: where a few
eigenvalues make up tr B, the error is itself uncertain.
Probes are made until the standard error is `ERROR` of the trace, at least `LEAST` and
at most `MOST`.

**Control.** Where A = H J with H stored, C = P H Hᵀ P costs no product, and its trace
is known, |H|² − |HᵀQ|². It is what B would be if the rows of J were orthonormal. Then
B − s C is probed in place of B, and s tr C added. For the probe i the slope s is that
of the pairs without it, Σ b_jk c_jk / Σ c_jk²: it does not depend on g_i, and the mean
stays without bias.

References:
    Meyer et al., Hutch++: optimal stochastic trace estimation, SOSA (2021).
    Owen, Monte Carlo theory, methods and examples (2013), section 8.9, for controls.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from audit.ground.student import student_quantile
from audit.linalg.intervals.means import Interval, skewed_interval
from audit.linalg.krylov.space import Side, Space
from audit.linalg.matrix_free import PROBES, Draw
from audit.linalg.spectrum import Estimate

LEAST, MOST = 8, 24  # probes
ERROR = 0.01  # of the trace, that a standard error may be
_MORE = 2  # probes, at a time


def probed_trace(side: Side, space: Space, draw: Draw) -> Estimate:
    """Return tr K [N]: exact on the space, from probes beside it."""
    probes = space.beside(draw(side.size, MOST, PROBES))
    probes = torch.where(space.whole[:, None, None], 0.0, probes)
    known = space.t.diagonal(dim1=1, dim2=2).sum(dim=1)
    known = torch.where(space.parted.isnan(), torch.nan, known)
    rest = _until_sure(side, probes, _control(side, space, probes), known)
    return Estimate(
        known + rest.value,
        rest.standard_error,
        (known + rest.lower, known + rest.upper),
    )


def _until_sure(side: Side, probes: Tensor, control: Tensor, known: Tensor) -> Interval:
    """Return tr B from as many probes as each input needs."""
    halves: list[Tensor] = []
    forms = probes.new_zeros(len(probes), 0, 0)
    rest: Interval | None = None
    sure = torch.zeros_like(known, dtype=torch.bool)
    for count in range(LEAST, MOST + 1, _MORE):
        part = probes[:, :, forms.shape[1] : count]
        halves.append(side.half(torch.where(sure[:, None, None], 0.0, part)))
        forms = _bordered(forms, halves)
        newer = estimated(forms, control[:, :count, :count])
        rest = newer if rest is None else _where(sure, rest, newer)
        sure = sure | ~(rest.standard_error > ERROR * (known + rest.value))
        if bool(sure.all()):
            break
    assert rest is not None
    return rest


def _bordered(forms: Tensor, halves: list[Tensor]) -> Tensor:
    """Return b_ij [N, m, m] with those of the newest halves."""
    new = halves[-1]
    last = torch.cat([_met(half, new).to(forms) for half in halves], dim=1)
    block, before = new.shape[2], forms.shape[1]
    length = torch.linalg.vector_norm(new, dim=1, dtype=forms.dtype)
    last[:, before:].diagonal(dim1=1, dim2=2).copy_(length.square())
    top = torch.cat([forms, last[:, :before]], dim=2)
    return (
        torch.cat([top, last.mT], dim=1) if before else last.reshape(-1, block, block)
    )


def _met(one: Tensor, other: Tensor) -> Tensor:
    """Return their products; halves beyond a network's own type are of float64."""
    shared = torch.promote_types(one.dtype, other.dtype)
    return one.mT.to(shared) @ other.to(shared)


def _where(rows: Tensor, one: Interval, other: Interval) -> Interval:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return Interval(*(torch.where(rows, a, b) for a, b in pairs))


def _control(side: Side, space: Space, probes: Tensor) -> Tensor:
    """Return c_ij [N, K, K], less tr C where i = j; zeros where there is no control."""
    outer = side.stored
    if outer is None:
        return probes.new_zeros(len(probes), probes.shape[2], probes.shape[2])
    halves = outer.rmatmat(probes)
    whole = outer.dense().double().square().sum(dim=(1, 2))
    trace = whole - outer.rmatmat(space.q).square().sum(dim=(1, 2))
    own = torch.eye(probes.shape[2]).to(probes)
    return halves.mT @ halves - trace[:, None, None] * own


def estimated(forms: Tensor, control: Tensor) -> Interval:
    """Return tr B [N] with its interval.

    Args:
        forms: b_ij of m probes [N, m, m].
        control: c_ij, less tr C where i = j [N, m, m].
    """
    m = forms.shape[1]
    size = _sized(forms)
    forms, control = forms / size, control / _sized(control)
    between = 1 - torch.eye(m).to(forms)
    products, squares = forms * control * between, control.square() * between
    slope = _over(*(one.sum(dim=(1, 2), keepdim=True) for one in (products, squares)))
    without = (_without_each(one) for one in (products, squares))
    diagonal, own = (one.diagonal(dim1=1, dim2=2) for one in (forms, control))
    value = (diagonal - _over(*without) * own).mean(dim=1)
    pairs = (forms - slope * control) * between
    second = pairs.square().sum(dim=(1, 2)) / (m * (m - 1))
    third = ((pairs @ pairs) * pairs).sum(dim=(1, 2)) / (m * (m - 1) * (m - 2))
    skewness = _over(8 * third, (2 * second).pow(1.5)) / m**0.5
    size = size.flatten()
    error = size * (2 * second / m).sqrt()
    found = skewed_interval(size * value, error, m, skewness)
    as_wide = (found.upper - found.lower) / (2 * student_quantile(math.inf))
    return replace(found, standard_error=as_wide).at_least_zero()


def _sized(forms: Tensor) -> Tensor:
    """Return the largest entries [N, 1, 1], or one: powers of these stay in range."""
    largest = forms.abs().amax(dim=(1, 2), keepdim=True)
    return torch.where(largest > 0, largest, 1.0)


def _without_each(symmetric: Tensor) -> Tensor:
    """Return the sums [N, m] of what is in neither row nor column i."""
    return symmetric.sum(dim=(1, 2)).unsqueeze(1) - 2 * symmetric.sum(dim=2)


def _over(part: Tensor, whole: Tensor) -> Tensor:
    """Return a quotient, zero where there is nothing to divide by."""
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1.0), 0.0 * part)
