"""The laws of counts: their masses, the slopes of these, and what draws move by.

A law on the integers states its log masses, where they are, and how they move. Each is
held by the others: the masses of the stated window add up to one, the stated slopes are
those of the masses, and E|T − T'|² of the step functions tends to the stated |B δ|₁,
which the masses give alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audit.families.checking.subject import SUMMED, Subject
from audit.families.lattice import Lattice
from audit.families.univariate import Parameters

_SIZES = (2e-3, 2.5e-4)
_FINE = 1e-5  # relative error of a form at the smaller step


def masses_add_up_to_one(it: Subject) -> None:
    """The masses add up to one over the integers that `window` says carry them."""
    if not isinstance(it.law, Lattice):
        return
    total = it.law.on_window([it.law.split(it.phi.detach())], _mass(it.law))
    law = "the masses of the integers in the window add up to one"
    it.demand(((total - 1).abs() < SUMMED).all(), law, 1.0, total)


def stated_slopes_are_those_of_masses(it: Subject) -> None:
    """What a law states as ∂p(k) is what its masses rise by, sign and all."""
    if not isinstance(it.law, Lattice):
        return
    own, law = it.law, "mass_slopes is ∂ exp(log_mass) [M, K, q], of either sign"

    def gaps(k: Tensor, laws: Sequence[Parameters]) -> Tensor:
        stated, expected = own.mass_slopes(k, laws[0]), _slopes(own, k, laws[0])
        it.demand(stated.shape == expected.shape, law, expected.shape, stated.shape)
        largest = expected.abs().amax(1, keepdim=True)
        return ((stated - expected).abs() / largest).amax(1)

    found = own.on_window([own.split(it.phi.detach())], gaps)
    it.demand((found < SUMMED).all(), law, "the same relative to the largest", found)


def linear_laws_predict_distances(it: Subject) -> None:
    """E|T − T'|² of integers, ahead and behind, is |Bδ|₁, the better the smaller δ."""
    root, phi = it.root("linear_root"), it.phi.detach()
    if root is None or not it.law.discrete:
        return
    errors, law = [], "E|T − T'|² at δ and −δ tends to |Bδ|₁ of linear_root"
    for size in _SIZES:
        step = it.step(size)
        ahead, behind = (it.law.transport_distance(phi, phi + s) for s in (step, -step))
        if ahead is None or behind is None:
            return
        form = root.matmat(step.unsqueeze(-1)).abs().sum((-2, -1))
        errors.append((2 * form / (ahead + behind) - 1).abs().max().item())
    better = errors[1] < max(errors[0] / 4, _FINE)
    it.demand(better, law, "an error that falls with δ", errors)


def _mass(law: Lattice) -> Callable[[Tensor, Sequence[Parameters]], Tensor]:
    def total(k: Tensor, laws: Sequence[Parameters]) -> Tensor:
        return law.log_mass(k, laws[0]).exp().sum(-1)

    return total


@torch.enable_grad()
def _slopes(law: Lattice, k: Tensor, parameters: Parameters) -> Tensor:
    """Return ∂p(k) [M, K, q] of integers k [M, K], one column at a time."""
    leaves = [
        value.expand(k.shape).detach().clone().requires_grad_() for value in parameters
    ]
    mass = law.log_mass(k, tuple(leaves)).exp().sum()
    return torch.stack(torch.autograd.grad(mass, leaves), -1)


LAWS = (
    masses_add_up_to_one,
    stated_slopes_are_those_of_masses,
    linear_laws_predict_distances,
)
