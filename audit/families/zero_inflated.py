"""Counts with more zeros: 0 with probability 1 − π, else a count of a component.

    P(0) = 1 − π + π f(0),     P(k) = π f(k) for k > 0

A component that is a point mass at 0 (a rate of 0) is a member: what it cannot reach
costs nothing while it stays there.

Source: Lambert, Technometrics 34 (1992).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.gates import Gated
from audit.families.lattice import Lattice
from audit.families.parameters import Shapes
from audit.families.summed import Summed, log_mean_change
from audit.families.torch_laws import OwnLaw
from audit.families.univariate import Parameters
from audit.ground.errors import ConfigError


class ZeroInflated(Gated, Summed):
    """Independent coordinates; the component is a law on the integers from 0.

    Probability: P(0) = 1 − π + π f(0), P(k) = π f(k) for k > 0; f the component's.

    Fisher information: Σ_k ∂P(k) ∂P(k)ᵀ / P(k), ∂ by π and the component's parameters.

    Parameters: the gate, as `probs` or `logits` of π, or as `gate` or `gate_logits` of
    1 − π; and the component's.
    """

    def __init__(self, component: str, shapes: Shapes, **options: object) -> None:
        super().__init__("zero_inflated", component, shapes, **options)
        if not isinstance(self.component, Lattice):
            raise ConfigError(
                f"The family {self.name} has a component without mass at 0",
                "zero_inflated: takes counts, such as poisson or negative_binomial",
                f"Write hurdle:{component}, where every zero is of the atom",
            )
        self.counts = self.component

    def sampler(self, parameters: Parameters) -> td.Distribution:
        """Return a law that draws the coin and the component."""
        coin, own = self.opened(parameters)
        return Thinned(self.sides(coin)[1].exp(), self.counts.law(own))

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ln[(1−π) 1(k = 0) + π f(k)]."""
        return self._log_parts(k, parameters).logsumexp(-1)

    def log_change(self, k: Tensor, left: Parameters, right: Parameters) -> Tensor:
        """Return by how much that grows, by the shares of atom and component."""
        (coin, own), (other, others) = self.opened(left), self.opened(right)
        atom, rest = self.side_changes(coin, other)
        rest = rest + self.counts.log_change(k, own, others)
        ours, theirs = self._log_parts(k, left), self._log_parts(k, right)
        changes = torch.stack([atom.expand_as(rest), rest], dim=-1)
        absent = torch.isneginf(torch.maximum(ours, theirs))
        return log_mean_change(ours, theirs, torch.where(absent, 0.0, changes))

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return 0 and the component's last."""
        last = self.counts.window(self.opened(parameters)[1])[1]
        return torch.zeros_like(last), last

    def pieces(self, parameters: Parameters) -> list[tuple[Tensor, Tensor]]:
        """Return 0 alone, and the component's."""
        found = self.counts.pieces(self.opened(parameters)[1])
        zero = torch.zeros_like(found[0][0])
        return [(zero, zero), *found]

    def mass_slopes(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return (f(k) − 1(k = 0)) dπ and π ∂f(k)."""
        coin, own = self.opened(parameters)
        mass = self.counts.log_mass(k, own).exp()
        of_gate = (mass - (k == 0).to(mass)) * self.side_slope(coin)
        share = self.sides(coin)[1].exp().unsqueeze(-1)
        of_component = share * self.counts.mass_slopes(k, own)
        return torch.cat([of_gate.unsqueeze(-1), of_component], dim=-1)

    def _log_parts(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return the log masses [..., 2] of atom and component at k."""
        coin, own = self.opened(parameters)
        atom, rest = self.sides(coin)
        rest = rest + self.counts.log_mass(k, own)
        atom = torch.where(k == 0, atom, -torch.inf).expand_as(rest)
        return torch.stack([atom, rest], dim=-1)


class Thinned(OwnLaw):
    """Draws that are 0 but with a probability.

    Args:
        share: that probability [...].
        law: of the others, batch shape [...].
    """

    def __init__(self, share: Tensor, law: td.Distribution) -> None:
        self.share, self.law = share, law
        super().__init__(law.batch_shape)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch]."""
        drawn: Tensor = self.law.sample(shape)
        kept = torch.rand_like(drawn) < self.share
        return torch.where(kept, drawn, 0.0)
