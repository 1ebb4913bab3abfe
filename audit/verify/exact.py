"""Exact divergences from the laws of a site, at perturbations of its inputs.

Where D is infinite, or φ(x + δ) belongs to no member of the family (a scale below
zero), its value is ∞. Where neither a sum nor a quadrature resolves it, it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from audit.families.interface import Family
from audit.families.references import Reference
from audit.geometry.divergence import Divergence
from audit.verify.sites import MOVED_BYTES, Site

_FEW, _FEWER = 1024, 256  # nodes of the same law for all values, and anew for each


@dataclass(frozen=True)
class Exact:
    """Exact divergences from the laws of a site.

    Args:
        slope: (φ, φ') -> ∂D/∂φ' [C, p] in closed form; None where it is not known.
        finite: whether they are numbers wherever the supports are the same.
        anew_by: () -> the laws with other draws; None where that is not known.
    """

    site: Site
    laws: Reference
    slope: Callable[[Tensor, Tensor], Tensor | None] | None = field(
        default=None, kw_only=True
    )
    finite: bool = field(default=False, kw_only=True)
    anew_by: Callable[[], Reference | None] | None = field(default=None, kw_only=True)

    @cached_property
    def light(self) -> Exact | None:
        """The same by few nodes of q_x where that is far less, with errors."""
        return self._lighter(_FEW, fresh=False)

    @cached_property
    def guide(self) -> Exact:
        """About the same, to climb on; itself where that is as cheap."""
        laws = self.laws.guide()
        return self if laws is None else replace(self, laws=laws)

    @cached_property
    def fresh(self) -> Exact:
        """The same by other draws; itself where nothing is drawn.

        The larger of two means is larger than it should be by the draws that made it
        so. Of the one that other draws chose the mean owes them nothing, and has the
        draws of its prediction.
        """
        if not self.laws.sampled or self.anew_by is None:
            return self
        laws = self.anew_by()
        return self if laws is None else replace(self, laws=laws, anew_by=None)

    def anew(self) -> Exact | None:
        """Return the same by few nodes, others for each value; None as for `light`.

        The mean over many values has no more error than their spread tells.
        """
        return self._lighter(_FEWER, fresh=True)

    def _lighter(self, points: int, fresh: bool) -> Exact | None:
        laws = self.laws.lighter(points, fresh) if self.finite else None
        return None if laws is None else Exact(self.site, laws, finite=True)

    def __call__(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_x ‖ q_{x+Su}) [k, K] and its error.

        Args:
            rows: of the site's inputs [k].
            u: perturbations [k, K, m].
        """
        k, count, _ = u.shape
        wide = max(self.site.x.shape[1], self.site.point.phi.shape[1])
        at_once = max(1, MOVED_BYTES // (8 * max(1, k) * wide))
        parts = [
            self._part(rows, u[:, first : first + at_once])
            for first in range(0, count, at_once)
        ]
        values, errors = zip(*parts, strict=True)
        return torch.cat(values, dim=1), torch.cat(errors, dim=1)

    def _part(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.against(rows, self.site.moved(rows, u))

    def against(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_φ ‖ q_φ') [k, K] and its error, for φ' [k, K, p] of some inputs.

        A gradient that φ' requires passes, where the divergence's values carry it.
        """
        point = self.site.point
        apart = outside(point.family, others.detach())
        own = point.phi[rows].unsqueeze(1)
        others = torch.where(apart.unsqueeze(-1), own, others)
        values, errors = self.laws(rows, others)
        return values.masked_fill(apart, torch.inf), errors.masked_fill(apart, 0.0)

    def sloped(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return D(q_φ ‖ q_φ') [C] and ∂D/∂φ' [C, p] in closed form, for φ' [C, p].

        Where D is not finite the slopes are zero. None where no closed form is known.
        """
        if self.slope is None:
            return None
        with torch.no_grad():
            found = self.slope(self.site.point.phi[rows], others)
            if found is None:
                return None
            values, _ = self.against(rows, others.unsqueeze(1))
            return values.squeeze(1), torch.where(torch.isfinite(values), found, 0.0)


@dataclass(frozen=True)
class Attained(Exact):
    """Where a bounded divergence is as large as it can be: 2 τ there, else 0.

    Laws far apart are at the bound by rounding; only those without common support
    reach it, and leaving the family is no such thing.

    Args:
        bound: of the divergence. tau: what has to be reached, at least the bound.
    """

    bound: float
    tau: float

    def against(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return 2 τ at the bound itself where that is τ, else 0, without an error."""
        values, errors = super().against(rows, others)
        there = (values == self.bound) & (self.tau <= self.bound)
        return torch.where(there, 2 * self.tau, 0.0), torch.zeros_like(errors)


def exact_at(divergence: Divergence, site: Site) -> Exact | None:
    """Return exact divergences at a site.

    Returns:
        None where the divergence can be neither computed nor estimated.
    """
    point = site.point
    laws = point.family.reference(divergence, point.phi, site.noise)
    if laws is None:
        return None
    known = divergence.slope
    slope = None if known is None else partial(known, point.family)
    noise = site.noise.anew()
    again = partial(point.family.reference, divergence, point.phi, noise)
    return Exact(site, laws, slope=slope, finite=divergence.finite, anew_by=again)


def outside(family: Family, others: Tensor) -> Tensor:
    """Return where φ [n, K, p] is no member; of a matrix, its symmetric part counts."""
    phi = others.flatten(0, 1)
    found = [torch.isnan(phi).any(dim=1)]
    found += family.violations(family.pack(family.unpack(phi))).values()
    return torch.stack(found).any(dim=0).reshape(others.shape[:2])
