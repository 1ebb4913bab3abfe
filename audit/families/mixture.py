"""Mixtures Σ_k π_k q_{ψ_k} of K members of one family.

φ = (weights [K], ψ_1, …, ψ_K): the weights as `logits` or `probs`, then each
component's own φ. If a component has a parameter called `logits` or `probs` too, its
name begins with `component.`; every component parameter may.

There is no closed form, but there is a certified bound. Observing which component made
a draw can only add information, so

    F(φ) ⪯ blkdiag(F_weights, π_1 F(ψ_1), …, π_K F(ψ_K))          complete data
    KL   ≤ KL(π ‖ π') + Σ_k π_k KL(ψ_k ‖ ψ'_k)

For one continuous number everything else is a quadrature, see `line_mixture`. Otherwise
scores have to be sampled, and a map from noise to draws would be an arbitrary choice.

Sources: Dempster, Laird & Rubin, Journal of the Royal Statistical Society B 39 (1977),
and Orchard & Woodbury (1972), for the missing information; Cover & Thomas, Elements of
Information Theory (2006), theorem 2.5.3, for the chain rule of KL.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch import distributions as td

from audit.families import FAMILIES
from audit.families.interface import Family
from audit.families.parameters import Shapes, either
from audit.families.roles import Role
from audit.families.roots import semidefinite_root
from audit.families.simplex import Categorical
from audit.ground.errors import ConfigError, NoTransport
from audit.linalg.stored import LinearOperator, Matrix
from audit.nodes.special import times

PREFIX = "component."


class Weights(Categorical):
    """Which component: one of K, or the only one."""

    least = 1

    def finite(self, phi: Tensor) -> Tensor:
        """Return φ: no weight may be infinite."""
        return phi


class Mixture(Family):
    """K components of the registered family `component`."""

    parameterizations = ()

    def __init__(self, component: str, shapes: Shapes, **options: object) -> None:
        shapes = _with_equal_shares(shapes)
        weights = [name for name in shapes if name in {"logits", "probs"}]
        if len(weights) != 1 or len(shapes[weights[0]]) != 1:
            raise ConfigError(
                f"The mixture was given the parameters {', '.join(shapes)}",
                "Its weights are logits or probs of shape (K,), one of the two",
                "Name a component's own logits or probs component.logits",
            )
        self.weights_name = weights[0]
        self.weights = Weights({self.weights_name: shapes[self.weights_name]})
        own = {
            name.removeprefix(PREFIX): shape
            for name, shape in shapes.items()
            if name != self.weights_name
        }
        if len(own) < len(shapes) - 1:
            raise ConfigError(
                f"The mixture was given the parameters {', '.join(shapes)}",
                "One of them is there twice, with and without component.",
                "Remove one of the two",
            )
        for name, shape in own.items():
            if shape[:1] != (self.count,):
                raise ConfigError(
                    f"The component parameter {name} has the shape {shape}",
                    f"Its first axis must be the {self.count} components",
                    "Reshape the output to (K, ...)",
                )
        self.component = FAMILIES[component](
            {name: shape[1:] for name, shape in own.items()}, **options
        )
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.parameters = tuple(shapes)
        self.settings = dict(options)
        self.discrete = self.component.discrete

    @property
    def name(self) -> str:
        """`mixture:` and the component's name."""
        return f"mixture:{self.component.name}"

    @property
    def count(self) -> int:
        """The number of components K."""
        return self.weights.size

    @property
    def size(self) -> int:
        """K + K times the component's size."""
        return self.count * (1 + self.component.size)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The component's."""
        return self.component.event_shape

    def role(self, name: str) -> Role | None:
        """Return what a parameter is for: the weights', or the component's own."""
        if name == self.weights_name:
            return Role.WEIGHTS
        return self.component.role(name.removeprefix(PREFIX))

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return (weights, φ of component 1, …, φ of component K)."""
        values = {
            name: value.unsqueeze(-1).expand(-1, self.count)
            if value.dim() == 1
            else value
            for name, value in values.items()
        }
        weights = values[self.weights_name].to(torch.float64)
        own = {
            name.removeprefix(PREFIX): value.flatten(0, 1)
            for name, value in values.items()
            if name in self.parameters and name != self.weights_name
        }
        packed = self.component.pack(own).reshape(len(weights), -1)
        return torch.cat([weights, packed], dim=-1)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the weights [N, K] and the components' parameters [N, K, ...]."""
        weights, parts = self.split(phi)
        own = self.component.unpack(parts)
        values = {self.weights_name: weights}
        for name in self.parameters:
            if name != self.weights_name:
                values[name] = own[name.removeprefix(PREFIX)]
        return values

    def split(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights [..., K] and the components' φ [..., K, p]."""
        weights, rest = phi[..., : self.count], phi[..., self.count :]
        return weights, rest.reshape(*phi.shape[:-1], self.count, self.component.size)

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape `event_shape`."""
        weights, parts = self.split(phi)
        chosen = td.Categorical(
            logits=self.weights.log_probs(weights), validate_args=False
        )
        component = self.component.distribution(parts)
        return td.MixtureSameFamily(chosen, component, validate_args=False)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the weights' violations, and those of any component."""
        weights, parts = self.split(phi)
        own = self.component.violations(parts.flatten(0, 1))
        any_of = {
            why: rows.reshape(-1, self.count).any(-1) for why, rows in own.items()
        }
        return either(self.weights.violations(weights), any_of)

    # the complete-data bound

    def complete_fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return blkdiag(B_weights, √π_k B_k) [N, r, p]; None if B_k is unknown."""
        weights, parts = self.split(phi)
        own = self.component.fisher_root(parts.flatten(0, 1))
        of_weights = self.weights.fisher_root(weights)
        if own is None:
            return None
        shares = self.weights.log_probs(weights).exp().sqrt()
        blocks = own.dense().reshape(*shares.shape, *own.shape[1:])
        blocks = times(shares[..., None, None].expand_as(blocks), blocks)
        rows, columns = own.shape[1:]
        whole = phi.new_zeros(len(phi), self.count * (1 + rows), self.size)
        whole[:, : self.count, : self.count] = of_weights.dense()
        for k in range(self.count):
            row, column = self.count + k * rows, self.count + k * columns
            whole[:, row : row + rows, column : column + columns] = blocks[:, k]
        return Matrix(whole)

    def _root(self, tensor: Tensor, phi: Tensor) -> LinearOperator:
        """Return a tensor's root; a weight of zero can only grow, and not for free."""
        weights, _ = self.split(phi)
        if self.weights_name == "probs":
            edge = torch.zeros_like(phi, dtype=torch.bool)
            edge[:, : self.count] = weights == 0
            tensor = torch.where(torch.diag_embed(edge), torch.inf, tensor)
        return Matrix(semidefinite_root(tensor))

    # without a formula

    def fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return None: scores have to be sampled; refuse if a component does."""
        self.component.fisher_root(self.split(phi)[1].flatten(0, 1))
        return None

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: which map from noise to draws is a choice nobody made."""
        raise NoTransport(
            f"The family {self.name} has no transport tensor here",
            "Only a mixture of one continuous number has one map from noise to draws, "
            "the increasing one; in more dimensions it is a choice, on the integers it "
            "is a step function, on a circle it needs a cut, and a support that "
            "moves has no common coordinate",
            "Audit it with -d kl",
        )

    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return None: only draws can tell."""
        return None


def _with_equal_shares(
    shapes: Shapes,
) -> dict[str, tuple[int, ...]]:
    """Return the shapes with one number, of all components alike, as one for each."""
    counts = {shape[0] for shape in shapes.values() if shape}
    whole = (max(counts),) if counts else ()
    return {name: shape or whole for name, shape in shapes.items()}
