"""Divergences on the panels of the first law alone, where those tell that they do.

A scan compares one law f with hundreds of others g that are near it. Panels that
resolve f resolve most of these as well: f is surveyed once, its density is taken once,
and g is only evaluated. Whether the panels do for a pair is seen in the pair itself, in
the terms h ≥ 0 of D = ∫ h (h ≤ 0 for some orders of Rényi's):

1.  Nothing of g lies elsewhere. ∫ g = ∫ f, so that the sum of w (g − f) over the nodes
    is what the panels miss of g, or see wrongly of it: at most `MISSED` of D, and never
    more than rounding does.
2.  h is resolved. The last Legendre coefficients of h in a panel, times its width, are
    at most `TOLERANCE` of D. The rule of 16 points is right for coefficients up to the
    degree 31; where they fall geometrically its error is about the square of that. A
    pair for which panels are too wide is looked at again on their halves.

Pairs that fail are left to panels for both laws (`quadrature`). A law f that no panels
resolve has none here either.

Shapes: U first laws, M pairs, K nodes, q parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from audit.families.integrands import Integrand, Parts
from audit.nodes.lines import CHUNK, PANELS, Line
from audit.nodes.panels import ORDER, Panels, unresolved
from audit.nodes.survey import distinct_rows, panels_of, stand_ins, survey

TOLERANCE = 1e-6  # of D: the last coefficients of h in a panel
MISSED, ROUNDING = 1e-11, 2e-15  # of D, and of the mass
COPIES = 16  # numbers that are kept for each pair and node: what a cache holds


def on_first_panels(
    line: Line, left: Tensor, right: Tensor, integrand: Integrand
) -> Tensor:
    """Return the divergence [M] of pairs [M, q], NaN where panels of f do not do."""
    first, owner = distinct_rows(left)
    bulks = line.bulk(left[:1])[0].shape[1]
    size = max(1, CHUNK // (PANELS * ORDER * bulks * COPIES))
    found = []
    for at in range(0, len(first), size):
        laws = _Laws.of(line, left[first[at : at + size]])
        pairs = ((owner >= at) & (owner < at + size)).nonzero()[:, 0]
        found += [
            laws.divergence(owner[part] - at, right[part], integrand)
            for part in torch.split(pairs, size)
        ]
    return torch.cat(found)


@dataclass(frozen=True)
class _Laws:
    """Laws f [U, q] on panels of their own; lost [U], those that no panels resolve."""

    line: Line
    rows: Tensor
    panels: Panels
    lost: Tensor

    @classmethod
    def of(cls, line: Line, rows: Tensor) -> _Laws:
        """Return the laws at φ [U, q]."""
        surveyed = survey(line, rows.detach())
        lost = surveyed.lost
        if bool(lost.all()):
            return cls(line, rows, Panels(rows.new_zeros(len(rows), 2)), lost)
        if bool(lost.any()):
            places = stand_ins(lost)
            rows, surveyed = rows[places], surveyed[places]
        return cls(line, rows, panels_of(surveyed), lost)

    @cached_property
    def log_f(self) -> Tensor:
        """Their log densities at the nodes [U, K]."""
        rows = self.rows.detach().unsqueeze(1)
        return self.line.log_density(self.panels.nodes, rows)

    @cached_property
    def halved(self) -> _Laws:
        """The same on panels of half the width."""
        every = torch.ones_like(self.panels.half_widths[..., 0], dtype=torch.bool)
        return replace(self, panels=self.panels.halved(every))

    def divergence(self, owner: Tensor, right: Tensor, integrand: Integrand) -> Tensor:
        """Return D [M] of these laws and g [M, q]; NaN where it is not seen."""
        found, wide = self.tried(owner, right, integrand)
        again = (wide & ~self.lost[owner]).nonzero()[:, 0]
        if not len(again):
            return found
        values, _ = self.halved.tried(owner[again], right[again], integrand)
        return found.index_put((again,), values)

    def tried(
        self, owner: Tensor, right: Tensor, integrand: Integrand
    ) -> tuple[Tensor, Tensor]:
        """Return D [M], NaN where it is not seen, and where panels are too wide [M]."""
        with torch.no_grad():
            found = self._parts(owner, right, integrand)
        size = found.total.abs()
        whole = (found.g - found.f).sum(-1).abs() <= MISSED * size + ROUNDING
        fine = unresolved(found.terms) <= TOLERANCE * size
        seen, total = whole & fine & ~self.lost[owner], found.total
        if right.requires_grad or self.rows.requires_grad:
            total = self._differentiable(owner, right, seen, integrand)
        return torch.where(seen, total, torch.nan), whole & ~fine

    def _parts(self, owner: Tensor, right: Tensor, integrand: Integrand) -> Parts:
        log_g = self.line.log_density(self.panels.nodes[owner], right.unsqueeze(1))
        return integrand.parts(self.log_f[owner], log_g, self.panels.weights[owner])

    def _differentiable(
        self, owner: Tensor, right: Tensor, seen: Tensor, integrand: Integrand
    ) -> Tensor:
        """Return D [M] with its gradients, and 0 where it is not seen.

        There a gradient may be no number, and 0 · NaN is none either.
        """
        rows, nodes = self.rows[owner], self.panels.nodes[owner]
        near = torch.where(seen.unsqueeze(1), right, rows)
        log_f, log_g = (
            self.line.log_density(nodes, law.unsqueeze(1)) for law in (rows, near)
        )
        return integrand.parts(log_f, log_g, self.panels.weights[owner]).total
