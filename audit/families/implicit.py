"""A law that a file computes: log q(θ; φ), a map θ = T(φ, z), or both.

Flows, neural likelihoods and generators name no parameters. Here φ [N, p + c] is
whatever the rest of the computation reads: the condition itself, or what an embedding
network made of it. The last c entries are context, inputs that are held fixed: nothing
is differentiated with respect to them, and tensors have p columns.

Expectations are taken over nodes θ_s that some source gives: the file's own sampler,
draws in the data, a grid, a chain.

    Fisher information   F = E[s sᵀ] − E[s] E[s]ᵀ,   s = ∇_φ log q(θ; φ),  θ ~ q(·; φ)
    transport tensor     E_z[J_Tᵀ J_T],              J_T = ∂T(φ, z)/∂φ
"""

from __future__ import annotations

from collections.abc import Set

from torch import Tensor

from audit.families.computed import ComputedFamily
from audit.families.givers import Base
from audit.families.implicit_roots import implicit_root
from audit.families.implicit_values import implicit_reference
from audit.families.normalisation import normalisation
from audit.families.references import Reference, reference_of
from audit.families.tensors import Comparable, Estimation, RowCost, Tensors
from audit.linalg.averaged import Averaged
from audit.linalg.operators import compose
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import LinearOperator
from audit.nodes.noise import Noise

EXACT = 256  # draws for an exact value, where each costs a pass of the network


class ImplicitFamily(ComputedFamily):
    """The family of all laws a file can give: how it answers what a law is asked."""

    def root(self, tensor: Tensors, phi: Tensor, noise: Noise) -> Averaged:
        """Return the root of one of its tensors, an average over nodes.

        Raises:
            NoFisher, NoTransport: the file does not compute what the tensor needs.
        """
        self.require(tensor, phi)
        return implicit_root(tensor, self, phi, noise)

    def joined(self, root: LinearOperator, jacobian: LinearOperator) -> LinearOperator:
        """Return B J; where J only selects, or is not stored, an average stays one."""
        return compose(root, jacobian)

    def require(self, tensor: Tensors, phi: Tensor) -> None:
        """Raise where the file does not compute what a tensor needs.

        Raises:
            NoFisher, NoTransport: with what is missing.
        """
        match tensor:
            case Tensors.FISHER:
                self.density()
            case Tensors.TRANSPORT:
                self.map()
            case Tensors.WASSERSTEIN:
                self.wasserstein_root(phi)
            case _:
                raise Tensors.unknown(tensor)

    def reference(
        self, divergence: Comparable, phi: Tensor, noise: Noise
    ) -> Reference | None:
        """Return the laws at φ, ready to be compared by their nodes or maps.

        A divergence with a tensor of its own may know exact values of its own.
        """
        own = divergence.tensor is Tensors.OTHER
        if own and divergence.exact(self, phi[:1], phi[:1]) is not None:
            return reference_of(divergence, self, phi, noise)
        return implicit_reference(divergence, self, phi, noise)

    def cost(self, tensors: Set[Tensors], draws: int) -> RowCost:
        """Count nodes; the mean score is a row too, and one looks for a NaN."""
        rows, pulled = 1, 1
        if Tensors.FISHER in tensors and self.source is not None:
            rows = self.source.count(draws)
            if self.sums_scores:  # the nodes take what as many halves of numbers do
                rows = max(self.size, rows // (2 * self.size))
            pulled += rows + 1
        if Tensors.TRANSPORT in tensors:
            rows = max(rows, self.map()[1].count(draws) * self.n)
            pulled += draws * self.n
        givers = [giver for giver in (self.source, self.base) if giver is not None]
        return RowCost(rows, pulled, all(giver.fixed for giver in givers))

    def estimation(self, tensor: Tensors, phi: Tensor, draws: int) -> Estimation:
        """Say where θ or z come from, and how many."""
        if tensor is Tensors.FISHER:
            assert self.source is not None
            exact, count = self.source.weighted, self.source.count(draws)
            notes = [f"θ from {self.source.name}"]
        else:
            _, base = self.map()
            exact, count = base.law is not None, base.count(draws)
            notes = self._transport_notes(base)
        kind = "quadrature" if exact else "monte_carlo"
        return Estimation(kind, None if exact else count, tuple(notes))

    def _transport_notes(self, base: Base) -> list[str]:
        """Return the map's name, and what depends on its choice."""
        notes = [f"transport map: {self.transport_name}, {base.name}, {base.how}"]
        if self.n > 1:
            notes.append(
                "in more than one dimension the quantile distance depends on this "
                "map: another one to the same distribution (permuted axes, rotated "
                "noise) gives another distance, never below W₂²"
            )
        return notes

    def few(self, noise: Noise) -> Noise:
        """Return fewer draws: exact values cost a pass of the file for each."""
        return noise.with_draws(min(noise.draws, EXACT))

    def total(self, phi: Tensor, noise: Noise) -> Estimate | None:
        """Return ∫ q where no grid has measured it already."""
        known = self.source is not None and self.source.weighted
        return None if known else normalisation(self, phi, noise)
