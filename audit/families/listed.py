"""Laws whose divergences are sums or integrals, and laws on a few listed places.

The quantile function of a law on ordered places is a step function: a small move of φ
moves draws by whole steps, so its quantile distance is linear in the move.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NoReturn

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.integrands import JENSEN_SHANNON, RELATIVE_ENTROPY, Integrand, Renyi
from audit.families.interface import Family
from audit.ground.errors import NoTransport
from audit.linalg.stored import LinearOperator


class Integrated(Family):
    """A law with one sum, or one integral, for every divergence."""

    @abstractmethod
    def divergence(self, phi: Tensor, other: Tensor, integrand: Integrand) -> Tensor:
        """Return the divergence [N] of an integrand."""

    def kl(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return KL [N], in nats."""
        return self.divergence(phi, other, RELATIVE_ENTROPY)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor:
        """Return the Rényi divergence of order α [N]."""
        return self.divergence(phi, other, Renyi(alpha))

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the Jensen-Shannon divergence [N]."""
        return self.divergence(phi, other, JENSEN_SHANNON)


class Listed(Integrated):
    """One of K places, known by their log probabilities."""

    discrete = True

    @abstractmethod
    def log_probs(self, phi: Tensor) -> Tensor:
        """Return ln p [..., K], normalised."""

    def log_changes(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return ln p'/p [..., K]."""
        return self.log_probs(other) - self.log_probs(phi)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """()."""
        return ()

    def most_likely(self, phi: Tensor) -> Tensor | None:
        """Return the class with the largest probability [N]."""
        return self.log_probs(phi).argmax(dim=-1).to(phi)

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape []."""
        return td.Categorical(logits=self.log_probs(phi), validate_args=False)

    def divergence(self, phi: Tensor, other: Tensor, integrand: Integrand) -> Tensor:
        """Return a divergence [N] as a sum over the places."""
        log_f, log_g = self.log_probs(phi), self.log_probs(other)
        changes = self.log_changes(phi, other)
        return integrand(log_f, log_g, torch.ones_like(log_f), changes)


class Steps(Listed):
    """One of K ordered places, 0 … K − 1."""

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: a step function has no derivative."""
        return refuse_steps(self)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return E(T − T')² [N] of the places' numbers."""
        ours, theirs = self.log_probs(phi).exp(), self.log_probs(other).exp()
        return step_distance(ours, theirs, torch.arange(ours.shape[-1]).to(ours))


def refuse_steps(family: Family) -> NoReturn:
    """Refuse a transport tensor: a step function has no derivative.

    Raises:
        NoTransport: always.
    """
    raise NoTransport(
        f"The family {family.name} is discrete: its quantile function is a step "
        "function, and the quantile distance grows linearly with the perturbation",
        "A quadratic form would be infinite; autograd would say zero",
        "Read the linear coefficient, or audit it with -d kl",
    )


def step_distance(ours: Tensor, theirs: Tensor, places: Tensor) -> Tensor:
    """Return E(T − T')² [M] of laws with masses [M, K] on the same places, rising [K].

    The levels at which either function steps cut (0, 1) into pieces on which both are
    constant.
    """
    first, second = (mass.cumsum(-1).clamp_max(1) for mass in (ours, theirs))
    levels = torch.cat([first, second], dim=-1).sort(dim=-1).values
    levels = torch.nn.functional.pad(levels, (1, 0))
    middle = (levels[:, 1:] + levels[:, :-1]) / 2
    places = places.expand_as(ours)
    at, to = (
        places.gather(
            -1, torch.searchsorted(each, middle).clamp_max(each.shape[-1] - 1)
        )
        for each in (first, second)
    )
    gap = at - to
    return (levels.diff(dim=-1) * gap.square()).sum(-1)
