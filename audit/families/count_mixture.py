"""Mixtures of one count, summed exactly.

The mixture is a law on the integers like any other (`summed`): its mass is a sum of
the components' masses, and so are its slopes. A component that is a point mass, by a
rate or a probability of 0, needs no care: slopes of masses are finite where scores are
not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.integrands import Integrand
from audit.families.lattice import Lattice
from audit.families.line_mixture import LineMixture
from audit.families.listed import Integrated, refuse_steps
from audit.families.mixture import Mixture
from audit.families.parameters import Shapes
from audit.families.summed import Summed, log_mean_change
from audit.families.univariate import Parameters
from audit.linalg.stored import LinearOperator, Matrix
from audit.nodes.special import times


class CountMixture(Integrated, Mixture):
    """K components of a law on the integers with one coordinate."""

    @classmethod
    def fits(cls, mixture: Mixture) -> bool:
        """Return whether the mixture is one of this kind."""
        one = math.prod(mixture.event_shape) == 1
        return one and isinstance(mixture.component, Lattice)

    @property
    def sums(self) -> _Sums:
        """The same law with φ for its parameters."""
        return _Sums(self)

    def fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the root of the sum; infinite for a weight of zero."""
        return self._root(self.sums.fisher_information(phi.unbind(-1)), phi)

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: a step function has no derivative."""
        return refuse_steps(self)

    def linear_root(self, phi: Tensor) -> LinearOperator | None:
        """Return rows ∂C(k), summed over groups of neighbouring k."""
        sums = self.sums
        return Matrix(sums.on_window([phi.unbind(-1)], sums._cdf_steps))

    def divergence(self, phi: Tensor, other: Tensor, integrand: Integrand) -> Tensor:
        """Return a divergence [N] as a sum."""
        return self.sums._divergence(phi.unbind(-1), other.unbind(-1), integrand)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return E(T − T')² [N] of the step functions."""
        laws = phi.unbind(-1), other.unbind(-1)
        return self.sums.on_window(laws, self.sums._step_distance, sparse=True)


class _Sums(Summed):
    """A mixture as a law on the integers: its parameters are the entries of φ."""

    def __init__(self, mixture: CountMixture) -> None:
        assert isinstance(mixture.component, Lattice)
        self.mixture, self.counts = mixture, mixture.component
        self.parameters = tuple(str(i) for i in range(mixture.size))
        self._event_shape = ()

    @property
    def name(self) -> str:
        """The mixture's."""
        return self.mixture.name

    def sampler(self, parameters: Parameters) -> td.Distribution:
        """Return the mixture's law."""
        return self.mixture.distribution(torch.stack(parameters, dim=-1))

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ln Σ π_j f_j(k) [M, K]."""
        return self._log_parts(k, parameters).logsumexp(-1)

    def log_change(self, k: Tensor, left: Parameters, right: Parameters) -> Tensor:
        """Return by how much that grows [M, K], by the components' shares."""
        (weights, own), (others, moved) = self._parts(left), self._parts(right)
        changes = self.mixture.weights.log_changes(weights, others).unsqueeze(1)
        inner = [
            self.counts.log_change(k, ours, theirs)
            for ours, theirs in zip(own, moved, strict=True)
        ]
        changes = changes + torch.stack(inner, dim=-1)
        ours, theirs = self._log_parts(k, left), self._log_parts(k, right)
        absent = torch.isneginf(torch.maximum(ours, theirs))
        return log_mean_change(ours, theirs, torch.where(absent, 0.0, changes))

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the first and the last integer of any component [M, 1]."""
        windows = [self.counts.window(own) for own in self._parts(parameters)[1]]
        first = torch.cat([low for low, _ in windows], -1).amin(-1, keepdim=True)
        last = torch.cat([high for _, high in windows], -1).amax(-1, keepdim=True)
        return first, last

    def pieces(self, parameters: Parameters) -> list[tuple[Tensor, Tensor]]:
        """Return the window of each component."""
        return [self.counts.window(own) for own in self._parts(parameters)[1]]

    def mass_slopes(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return Σ_j f_j ∂π_j, and π_j ∂f_j for each component [M, K, p]."""
        weights, own = self._parts(parameters)
        shares = self.mixture.weights.log_probs(weights).exp()  # [M, J]
        masses = torch.stack([self.counts.log_mass(k, each).exp() for each in own], -1)
        total = (shares.unsqueeze(1) * masses).sum(-1, keepdim=True)
        if self.mixture.weights_name == "logits":
            size = shares
        else:
            size = 1 / weights.sum(-1, keepdim=True).expand_as(weights)
        of_weights = size.unsqueeze(1) * (masses - total)
        slopes = [
            times(shares[:, j, None, None], self.counts.mass_slopes(k, each))
            for j, each in enumerate(own)
        ]
        return torch.cat([of_weights, *slopes], dim=-1)

    def _parts(self, parameters: Parameters) -> tuple[Tensor, list[Parameters]]:
        """Return the weights [M, J], and the parameters [M, 1] of each component."""
        weights, parts = self.mixture.split(torch.cat(parameters, dim=-1))
        return weights, [
            tuple(part[:, j : j + 1] for part in parts.unbind(-1))
            for j in range(parts.shape[1])
        ]

    def _log_parts(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ln π_j f_j(k) [M, K, J]."""
        weights, own = self._parts(parameters)
        masses = torch.stack([self.counts.log_mass(k, each) for each in own], dim=-1)
        return self.mixture.weights.log_probs(weights).unsqueeze(1) + masses


def build_mixture(component: str, shapes: Shapes, **options: object) -> Mixture:
    """A mixture of laws: by quadrature or sums for one number, else by draws.

    Density: Σ_k π_k f_k(θ), π = softmax of `logits`, or `probs`; f_k the components'.

    Fisher information: E[s sᵀ], s = ∂ ln Σ_k π_k f_k: no closed form; at most
    blkdiag(diag π − π πᵀ, π_k F_k).

    Raises:
        UnknownName: no family has the component's name.
        ConfigError: parameters, shapes or options do not fit it.
    """
    mixture = Mixture(component, shapes, **options)
    for kind in (LineMixture, CountMixture):
        if kind.fits(mixture):
            return kind(component, shapes, **options)
    return mixture
