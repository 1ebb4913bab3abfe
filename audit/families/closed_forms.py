"""What of a law is known in closed form: its metric tensors and its divergences.

A metric tensor is known by a root B [N, r, p]: Bᵀ B = F(φ) for the Fisher information,
Bᵀ B = E[J_Tᵀ J_T] for the transport tensor. Both are with respect to φ itself; link
functions (exp, softplus, …) belong to the map that made φ.

An entry of a root is a number or infinite. An infinite one says that any step of that
parameter has an infinite price, and a step that leaves it none: ∞ · 0 = 0 in B J. NaN,
in a root or a divergence, is for a law that no quadrature or sum resolves.

A hook that answers None says that nothing is known, and each says what then takes its
place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from audit.families.enclosures import Enclosure
from audit.families.parameters import Parameterised
from audit.ground.errors import NoCertificate, NoTransport
from audit.linalg.operators import Product
from audit.linalg.stored import LinearOperator


class ClosedForms(Parameterised):
    """The hooks of a law that are formulas of φ alone."""

    enclosed_as: ClassVar[Mapping[str, str]] = {}
    """Parameter -> how `largest_kl` wants it: value, log, logit, logits, log_probs."""
    transport_name: str = "increasing map of each coordinate"

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
        if (tails := self.tail_root(phi)) is None:
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

    # exact values, to check every approximation

    @abstractmethod
    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return KL(q_φ ‖ q_other) [N] in nats; None where only draws can tell.

        0 log 0 = 0; a mass that q_φ has and q_other has not is infinite.
        """

    def kl_slope(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return ∂KL(q_φ ‖ q_other)/∂other [N, p]; None where autograd takes it."""
        return None

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

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return an upper bound [B] on KL(q_η ‖ q_η') over an enclosure of η'.

        Args:
            enclosure: of the coordinates `enclosed_as`. Where nothing finite is
                proven, the bound is ∞.

        Raises:
            NoCertificate: none is known for this law, or for such an enclosure.
        """
        raise NoCertificate(
            f"no certificate: the family {self.name} has none",
            "Expected a family whose KL is bounded in closed form",
            "Read the witness instead, which needs no such thing",
        )
