"""What a parametric family q_φ tells the audit.

φ [N, p] is the concatenation of the family's parameters, each broadcast to the event
and flattened: for a product of n one-dimensional laws (loc₁ … loc_n, scale₁ …). It is
always float64: the network runs in the file's own dtype, the small algebra does not.

A metric tensor is known by a root B [N, r, p]: Bᵀ B = F(φ) for the Fisher information,
Bᵀ B = E[J_Tᵀ J_T] for the transport tensor. Both are with respect to φ itself; link
functions (exp, softplus, …) belong to the map that made φ.

An entry of a root is a number or infinite. An infinite one says that any step of that
parameter has an infinite price, and a step that leaves it none: ∞ · 0 = 0 in B J. NaN,
in a root or a divergence, is for a law that no quadrature or sum resolves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from audit.ground.errors import ConfigError, NoTransport
from audit.linalg.operators import LinearOperator, Product


class Family(ABC):
    """A family with its parameter shapes fixed.

    Args:
        shapes: parameter name -> shape without the batch axis; () is one number that
            all coordinates share.
        options: settings that are not parameters (`levels` of a quantile head).

    Raises:
        ConfigError: the names are not one of `parameterizations`, an option is not
            one of `options` or is missing, or the shapes do not fit each other.
    """

    parameterizations: ClassVar[tuple[tuple[str, ...], ...]]
    options: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()  # those of `options` with a default
    discrete: bool = False
    transport_name: str = "increasing map of each coordinate"

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], **options: object
    ) -> None:
        self.parameters = self._match(tuple(shapes))
        self.shapes = {name: tuple(shapes[name]) for name in self.parameters}
        unknown = set(options) - set(self.options)
        if unknown:
            raise ConfigError(
                f"The family {self.name} was given the option {sorted(unknown)[0]!r}",
                f"It takes {', '.join(self.options) or 'none'}",
                "Remove the option",
            )
        missing = set(self.options) - set(options) - set(self.optional)
        if missing:
            raise ConfigError(
                f"The family {self.name} was not given its {sorted(missing)[0]}",
                f"It takes the options {', '.join(self.options)}",
                "Give it a value",
            )
        self.settings: dict[str, object] = dict(options)

    @property
    def name(self) -> str:
        """The id under which the family is registered (class name in snake case)."""
        letters = (f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__)
        return "".join(letters).lstrip("_")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shapes!r})"

    # φ and back

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of parameters p."""

    @property
    @abstractmethod
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one θ."""

    @abstractmethod
    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Flatten parameters [N, *shape] into φ [N, p], differentiably."""

    @abstractmethod
    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the parameters of φ, as `torch.distributions` takes them."""

    # the law

    @abstractmethod
    def distribution(self, phi: Tensor) -> Distribution:
        """Return q_φ: batch shape [N], event shape `event_shape`.

        Argument validation is off: `violations` has already looked.
        """

    @abstractmethod
    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N], true where φ is no member of the family.

        The reason is a sentence for the reader ("scale is not positive").
        """

    # metric tensors

    def fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return B with Bᵀ B = F(φ); None where scores have to be sampled.

        Raises:
            NoFisher: there is no Fisher information (the support moves with φ).
        """
        return None

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return B with Bᵀ B = E[J_Tᵀ J_T] for the map `transport_name`.

        Entries of parameters for which it is infinite (no second moment) are infinite.

        Raises:
            NoTransport: no differentiable map is known, with the reason.
        """
        raise NoTransport(
            f"The family {self.name} has no transport tensor",
            "The quantile distance needs a differentiable map from noise to draws",
            "Audit it with -d kl",
        )

    def wasserstein_root(self, phi: Tensor) -> LinearOperator:
        """Return B with Bᵀ B the metric tensor of W₂²; in 1-d the transport's own.

        Raises:
            NoTransport: it is not known for this family.
        """
        return self.transport_root(phi)

    def linear_root(self, phi: Tensor) -> LinearOperator | None:
        """Return rows B with quantile distance ≈ ‖B δ‖₁ (discrete families only).

        A step function moves by whole steps on a set of probability O(|δ|): the
        distance is linear in δ, and its quadratic form is infinite, not zero.
        """
        return None

    def transport_caveat(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N], true where `transport_root` is not finite."""
        return {}

    def tail_root(self, phi: Tensor) -> LinearOperator | None:
        """Return B with Bᵀ B the part of the transport tensor that is an assumption.

        It comes from levels of which the head says nothing; None if there are none.
        """
        return None

    def tail_share(self, phi: Tensor, jacobian: LinearOperator) -> Tensor | None:
        """Return which share [N] of the trace of the transport tensor is assumed.

        Args:
            phi: φ [N, p].
            jacobian: J of φ [N, p, d], in the units of the perturbation.

        Returns:
            tr(Jᵀ B_tᵀ B_t J) / tr(Jᵀ Bᵀ B J), from 0 to 1, with B_t the `tail_root`;
            NaN where the trace is zero. None if nothing is assumed.
        """
        tails = self.tail_root(phi)
        if tails is None:
            return None
        assumed, whole = (
            Product(root, jacobian).gram().diagonal(dim1=-2, dim2=-1).sum(-1)
            for root in (tails, self.transport_root(phi))
        )
        return assumed / whole

    # the complete-data bound of a mixture

    def complete_fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return B with F(φ) ⪯ Bᵀ B, known exactly; None where F itself is."""
        return None

    def complete_kl_bound(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return an upper bound [N] on `kl`; None where there is no need of one."""
        return None

    # exact values, to check every approximation

    @abstractmethod
    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return KL(q_φ ‖ q_other) [N] in nats; None where only draws can tell.

        0 log 0 = 0; a mass that q_φ has and q_other has not is infinite.
        """

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor | None:
        """Return the Rényi divergence of order α [N]; None where unknown.

        D_α = log ∫ q_φ^α q_other^{1−α} / (α − 1), which may be infinite for α > 1.
        """
        return None

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return ½ KL(q_φ ‖ m) + ½ KL(q_other ‖ m) [N], m = ½ (q_φ + q_other)."""
        return None

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return E‖T_φ(z) − T_other(z)‖² [N] for the family's own map T."""
        return None

    def wasserstein_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return W₂² [N]; None where unknown."""
        return self.transport_distance(phi, other)

    # helpers

    @classmethod
    def _match(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for known in cls.parameterizations:
            if set(known) == set(names):
                return known
        wanted = " or ".join(", ".join(known) for known in cls.parameterizations)
        raise ConfigError(
            f"The family {cls.__name__} was given the parameters {', '.join(names)}",
            f"It takes {wanted}",
            "Name each of them with --param NAME=EXPRESSION",
        )


def check_finite(phi: Tensor) -> dict[str, Tensor]:
    """Return the violation every family shares: a parameter that is not finite."""
    return {"a parameter is not finite": ~torch.isfinite(phi).all(dim=-1)}
