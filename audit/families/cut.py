"""The two laws with limits (`limited`): clipped to them, or given that it is between.

Clipped, what lies beyond a limit is an atom there; else the law between is rescaled.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.limited import LEAST, Limited
from audit.families.torch_laws import OwnLaw
from audit.families.univariate import Parameters
from audit.nodes.panels import Panels
from audit.nodes.survey import Survey, panels_of, survey

ROUNDS = 1000


class _OfLimited(OwnLaw):
    """A law of one coordinate of a family, and its component's."""

    def __init__(self, family: Limited, parameters: Parameters) -> None:
        self.family, self.own = family, parameters
        self.inner = family.line.law(parameters)
        super().__init__(parameters[0].shape)

    def surveyed(self) -> tuple[Tensor, Panels]:
        """Return the parameters as rows [M, q], and panels that resolve them."""
        rows = torch.stack(self.own, dim=-1).reshape(-1, len(self.own))
        return rows, panels_of(survey(self.family.line, rows.detach()))


class Censored(Limited):
    """Coordinates of a component, those beyond a limit seen at the limit.

    Density: f(θ) between the limits, and the mass of f beyond a limit at it; f the
    component's.

    Fisher information: ∫ ∂f ∂fᵀ / f dθ between the limits, plus ∂P ∂Pᵀ / P for the mass
    P at each.
    """

    kind = "censored"

    def masses(self, rows: Tensor, log_density: Tensor, panels: Panels) -> Tensor:
        """Return those of the nodes, and of the two atoms."""
        every = panels_of(survey(self.line, rows.detach()))
        atoms = self.beyond(rows, every, lambda part, mass: mass.sum(-1))
        inside = log_density + panels.weights.log()
        return torch.cat([inside, torch.stack([*atoms.values()], -1).log()], dim=-1)

    def information(self, rows: Tensor, surveyed: Survey) -> Tensor:
        """Return ∫ s sᵀ f + ∂C ∂Cᵀ/C + ∂S ∂Sᵀ/S [M, q, q]."""
        every = panels_of(surveyed)
        panels = self.between(every, *self.ends())
        mass = (
            panels.weights
            * self.line.log_density(panels.nodes, rows.unsqueeze(1)).exp()
        )
        score = self.line.score(panels.nodes, rows)
        found = torch.einsum("mk,mki,mkj->mij", mass, score, score)

        def atom(part: Panels, mass: Tensor) -> Tensor:
            total = mass.sum(-1)
            slope = torch.einsum("mk,mki->mi", mass, self.line.score(part.nodes, rows))
            side = slope / torch.where(total > 0, total, 1.0).sqrt().unsqueeze(-1)
            return side.unsqueeze(-1) * side.unsqueeze(-2)

        for each in self.beyond(rows, every, atom).values():
            found = found + each
        return found

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the clipped law of one coordinate."""
        return Clipped(self, parameters)


class Clipped(_OfLimited):
    """Draws of a component, clipped; atoms at the limits."""

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch]."""
        drawn: Tensor = self.inner.sample(shape)
        return drawn.clamp(self.family.low, self.family.high)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, and the log probability of an atom at a limit."""
        family, shape = self.family, self.own[0].shape
        rows, every = self.surveyed()
        atoms = family.beyond(rows, every, lambda _, mass: mass.sum(-1))
        none = torch.full_like(self.own[0], -torch.inf)
        low, high = (
            atoms[side].log().reshape(shape) if side in atoms else none
            for side in ("low", "high")
        )
        below, above = value <= family.low, value >= family.high
        beyond = below | above
        middle = self.inner.sample() if not bool((~beyond).any()) else value[~beyond][0]
        inside = self.inner.log_prob(torch.where(beyond, middle.reshape(-1)[0], value))
        return torch.where(below, low, torch.where(above, high, inside))


class Truncated(Limited):
    """Coordinates of a component, given that they are between the limits.

    Density: f(θ) / Z between the limits, Z the mass of f there; f the component's.

    Fisher information: E[s sᵀ] − E[s] E[s]ᵀ under this law, s = ∂ ln f.
    """

    kind = "truncated"

    def masses(self, rows: Tensor, log_density: Tensor, panels: Panels) -> Tensor:
        """Return those of the nodes, which add up to one."""
        logs = log_density + panels.weights.log()
        total = logs.logsumexp(-1, keepdim=True)
        return torch.where(total > torch.tensor(LEAST).log(), logs - total, torch.nan)

    def information(self, rows: Tensor, surveyed: Survey) -> Tensor:
        """Return ∫ (s − m)(s − m)ᵀ f / Z [M, q, q]."""
        panels = self.between(panels_of(surveyed), *self.ends())
        log_density = self.line.log_density(panels.nodes, rows.unsqueeze(1))
        mass = self.masses(rows, log_density, panels).exp()
        score = self.line.score(panels.nodes, rows)
        score = score - torch.einsum("mk,mki->mi", mass, score).unsqueeze(1)
        return torch.einsum("mk,mki,mkj->mij", mass, score, score)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the law of one coordinate."""
        return Inside(self, parameters)


class Inside(_OfLimited):
    """Draws of a component until they are between the limits."""

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch]; NaN where a thousand were outside."""
        low, high = self.family.low, self.family.high
        drawn: Tensor = self.inner.sample(shape)
        for _ in range(ROUNDS):
            outside = (drawn < low) | (drawn > high)
            if not bool(outside.any()):
                return drawn
            drawn = torch.where(outside, self.inner.sample(shape), drawn)
        return torch.where((drawn < low) | (drawn > high), torch.nan, drawn)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ln f − ln Z, −∞ beyond the limits."""
        family, shape = self.family, self.own[0].shape
        rows, every = self.surveyed()
        panels = family.between(every, *family.ends())
        log_density = family.line.log_density(panels.nodes, rows.unsqueeze(1))
        total = (log_density + panels.weights.log()).logsumexp(-1).reshape(shape)
        inside = (value >= family.low) & (value <= family.high)
        found = self.inner.log_prob(torch.where(inside, value, self.inner.sample()))
        return torch.where(inside, found - total, -torch.inf)
