"""Exact divergences between q(θ|x) and q(θ|x + δ), to hold predictions against.

Closed forms and quadrature come from the family. Where it has none, D is a mean over
draws, D = E_q[g(t)] with t = q'/q, or of a divergence that the mass of q' carries,
D = E_q'[g(t)] with t = q/q'. The noise of the draws is common to all q', so that D is
as smooth in φ' as the draws are, and vanishes with φ' − φ.

Draws of one law say little of a place where the other is far larger: t is heavy there,
and its mean seldom what it should be (KL to a law three times as wide, of two numbers:
17 % below by 1,024 draws, with a third of that for its standard error). So D is a mean
over draws of both laws (`balanced.shared`), where nothing is weighed by more than one,
and what has a bound stays within it. Draws of q' take a pass of its sampler, and may
leap as φ' moves: searches for the largest value climb on those of q, where D has no
bound that these break, and what they find is taken anew.

Means over draws of q alone take E[t] = 1 for granted. They do not see what q' has where
q has nothing, a mass of 1 − E[t] that costs g'(∞) times as much:

    D = E[g(t)] + g'(∞) (1 − E[t]).

The second mean is taken where it is clearly not zero, since it costs the first its
small variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from audit.families.balanced import shared
from audit.families.draws import draws_of
from audit.families.tensors import Comparable, Drawn, Pointwise
from audit.linalg.sampled import mean_over_units
from audit.nodes.noise import Noise

_LARGE = 300.0  # a log ratio at which g has its slope
_CLEAR, _ROUNDING = 6.0, 1e-9  # standard errors, and mass


class Whole:
    """A reference without a lighter one, which searches climb on themselves."""

    def lighter(self, points: int, fresh: bool) -> Reference | None:
        """Return None."""

    def guide(self) -> Reference | None:
        """Return None."""


@dataclass(frozen=True)
class Exchanged(Whole):
    """Laws q_φ of N inputs, which are compared with each q_φ' at the latter's nodes.

    Args:
        at: (φ' [k, p], noise) -> these laws, with weighted nodes; of φ [k, M, p] they
            give E_q'[g(q/q')] and its standard error [k, M].
        phi: φ [N, p].
        noise: of the N inputs.
    """

    at: Callable[[Tensor, Noise], Reference]
    phi: Tensor
    noise: Noise
    sampled = False

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_φ ‖ q_φ') and its standard error, both [k, M].

        Args:
            rows: which of the N inputs [k].
            others: φ' [k, M, p].
        """
        own = self.phi[rows].unsqueeze(1)
        noise = self.noise.of(self.noise.index[rows.cpu().numpy()])
        every = torch.arange(len(rows), device=rows.device)
        columns = [self.at(other, noise)(every, own) for other in others.unbind(dim=1)]
        values, errors = (torch.cat(parts, 1) for parts in zip(*columns, strict=True))
        return values, errors.masked_fill(torch.isinf(values), 0.0)


class Reference(Protocol):
    """Laws q_φ of N inputs, ready to be compared with others."""

    def lighter(self, points: int, fresh: bool) -> Reference | None:
        """Return about the same by few points of q_φ, without bias but with an error.

        None where a value takes no more than that.

        Args:
            points: about how many.
            fresh: whether each φ' has points of its own; else all have the same.
        """

    def guide(self) -> Reference | None:
        """Return about the same to climb on, cheaper and with slopes; None: itself."""

    @property
    def sampled(self) -> bool:
        """Whether values come from draws, with an error."""

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_φ ‖ q_φ') and its standard error, both [k, M].

        Args:
            rows: which of the N inputs [k].
            others: φ' [k, M, p].
        """


@dataclass(frozen=True)
class Mean:
    """What a divergence is a mean of, over one of two laws.

    Args:
        pointwise: log t -> g(t), t the ratio of the other law to the one it is over.
        over_moved: whether that is q', so that t = q/q'.
        supremum: of the divergence.
    """

    pointwise: Pointwise
    over_moved: bool
    supremum: float

    @property
    def guided(self) -> bool:
        """Whether draws of q alone may guide a search: nothing of D is beyond them."""
        return not self.over_moved and math.isinf(self.supremum)

    def turned(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Return log t at draws of the law it is over, and of the other.

        Args:
            ours: log q'/q at draws of q.
            theirs: log q'/q at draws of q'.
        """
        return (-theirs, -ours) if self.over_moved else (ours, theirs)


def mean_of(divergence: Comparable) -> Mean | None:
    """Return what a divergence is a mean of, if it is one."""
    pointwise = divergence.pointwise or divergence.exchanged
    if pointwise is None:
        return None
    return Mean(pointwise, divergence.pointwise is None, divergence.supremum)


def reference_of(
    divergence: Comparable, family: Drawn, phi: Tensor, noise: Noise
) -> Reference | None:
    """Return the laws at φ [N, p], ready to be compared under a divergence.

    Args:
        divergence: which one.
        family: of all laws.
        phi: φ [N, p].
        noise: of the draws, where they are needed.

    Returns:
        None where the divergence can be neither computed nor estimated.
    """
    if divergence.exact(family, phi[:1], phi[:1]) is not None:
        return _Closed(divergence, family, phi)
    mean = mean_of(divergence)
    return None if mean is None else _DrawnFromBoth(mean, family, phi, noise)


class _Closed(Whole):
    """Closed forms and quadrature."""

    sampled = False

    def __init__(self, divergence: Comparable, family: Drawn, phi: Tensor) -> None:
        self.divergence, self.family, self.phi = divergence, family, phi

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        k, m, p = others.shape
        here = self.phi[rows].unsqueeze(1).expand(k, m, p).reshape(k * m, p)
        found = self.divergence.exact(self.family, here, others.reshape(k * m, p))
        assert found is not None
        return found.reshape(k, m), torch.zeros_like(found).reshape(k, m)


class _Drawn(Whole):
    """Means over draws from a family without a closed form."""

    sampled = True

    def __init__(
        self,
        pointwise: Pointwise,
        family: Drawn,
        phi: Tensor,
        noise: Noise,
    ) -> None:
        self.pointwise, self.family = pointwise, family
        self.phi, self.noise = phi, noise
        self.drawn = draws_of(family, phi, noise)
        self.here = family.distribution(phi).log_prob(self.drawn.values)  # [S, N]

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        columns = [self._mean(rows, other) for other in others.unbind(dim=1)]
        values, errors = zip(*columns, strict=True)
        return torch.stack(values, dim=1), torch.stack(errors, dim=1)

    def _mean(self, rows: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return D and its standard error [k], for φ' [k, p]."""
        log_ratio = self._log_ratio(rows, self.family.distribution(other))
        unseen = clearly_unseen(self.pointwise, log_ratio, self._error)
        samples = self.pointwise(log_ratio) + unseen
        return self._mean_of(samples)

    def _mean_of(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean [k] over draws [S, k], and its standard error."""
        found = mean_over_units(samples.T / len(samples), self.drawn.unit)
        assert found.standard_error is not None
        return found.value, found.standard_error

    def _log_ratio(self, rows: Tensor, other: Distribution) -> Tensor:
        """Return log q'/q [S, k] at the draws of q."""
        return other.log_prob(self.drawn.values[:, rows]) - self.here[:, rows]

    def _error(self, samples: Tensor) -> Tensor:
        """Return the standard error [N] of means over draws [S, N]."""
        return self._mean_of(samples)[1]


class _DrawnFromBoth(_Drawn):
    """Means over draws of both laws, from the same noise."""

    def __init__(self, mean: Mean, family: Drawn, phi: Tensor, noise: Noise) -> None:
        super().__init__(mean.pointwise, family, phi, noise)
        self.mean = mean

    def guide(self) -> Reference | None:
        """Return the same by draws of q alone, where these bear D out."""
        if not self.mean.guided:
            return None
        return _Drawn(self.pointwise, self.family, self.phi, self.noise)

    def _mean(self, rows: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        law, own = map(self.family.distribution, (other, self.phi[rows]))
        noise = self.noise.of(self.noise.index[rows.cpu().numpy()])
        theirs = draws_of(self.family, other, noise).values
        there = law.log_prob(theirs) - own.log_prob(theirs)
        sides = self._log_ratio(rows, law), there
        samples = shared(self.pointwise, *self.mean.turned(*sides))
        return within(self.mean.supremum, self._mean_of(samples), *sides)


def within(
    supremum: float, found: tuple[Tensor, Tensor], ours: Tensor, theirs: Tensor
) -> tuple[Tensor, Tensor]:
    """Return D [N], below its bound but for laws without common support, and its error.

    Where D is infinite there is none.

    Args:
        supremum: of D.
        found: D, by rounding perhaps beyond it, and its standard error [N].
        ours: log t [S, N] at draws of q.
        theirs: log t [S, N] at draws of q'.
    """
    value, error = found
    if math.isinf(supremum):
        return value, error.masked_fill(torch.isinf(value), 0.0)
    apart = torch.isneginf(ours).all(dim=0) & torch.isposinf(theirs).all(dim=0)
    below = value.clamp_max(math.nextafter(supremum, 0.0))
    return torch.where(apart, supremum, below), error


def clearly_unseen(
    pointwise: Pointwise, log_ratio: Tensor, error: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return g'(∞) (1 − t) [S, N] where E[t] is clearly below one, else 0.

    The mass of q' that no draw of q sees, 1 − E[t], adds g'(∞) times itself.

    Args:
        pointwise: log t -> g(t).
        log_ratio: log t [S, N].
        error: samples [S, N] -> the standard error of their mean [N].
    """
    slope = pointwise(log_ratio.new_tensor(_LARGE)) * math.exp(-_LARGE)
    rest = -torch.expm1(log_ratio)
    lost = rest.T.sum(dim=1) / len(rest)
    clear = lost > _CLEAR * error(rest) + _ROUNDING
    return torch.where(clear, slope * rest, 0.0)
