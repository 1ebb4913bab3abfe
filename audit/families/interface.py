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

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Set
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from audit.families.draws import draws_of, sampled_fisher_root
from audit.families.enclosures import Enclosure
from audit.families.givers import Nodes
from audit.families.observed import log_likelihood
from audit.families.references import Reference, reference_of
from audit.families.roles import ROLES, Role
from audit.families.tensors import Comparable, Estimation, RowCost, Tensors
from audit.ground.errors import ConfigError, NoCertificate, NoTransport
from audit.linalg.averaged import Sampled
from audit.linalg.operators import Product
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import LinearOperator
from audit.nodes.noise import Noise

Shapes = Mapping[str, tuple[int, ...]]
"""Parameter -> its shape without the batch axis."""


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
    event_axes: ClassVar[Mapping[str, int]] = {}
    """Parameter -> how many axes it has for one law, where that is fixed; axes before
    them are places with a law each. A parameter that is not named takes any shape."""
    roles: ClassVar[Mapping[str, Role]] = {}  # where a name means another than usual
    places: tuple[int, ...] = ()
    """Axes of places with a law each, where it is one law for each place."""
    follows: bool = True
    """Whether draws are those of the φ that is asked about, not of the inputs' own."""
    discrete: bool = False
    parametric: bool = True
    """Whether φ are parameters of a known law, whose own tensor tells something."""
    unnormalised: bool = False
    """Whether the density is known up to a number that may depend on x."""
    enclosed_as: ClassVar[Mapping[str, str]] = {}
    """Parameter -> how `largest_kl` wants it: value, log, logit, logits, log_probs."""
    transport_name: str = "increasing map of each coordinate"

    def __init__(self, shapes: Shapes, **options: object) -> None:
        self.parameters = self._match(tuple(shapes))
        self.shapes = {name: tuple(shapes[name]) for name in self.parameters}
        if unknown := set(options) - set(self.options):
            raise ConfigError(
                f"The family {self.name} was given the option {sorted(unknown)[0]!r}",
                f"It takes {', '.join(self.options) or 'none'}",
                "Remove the option",
            )
        if missing := set(self.options) - set(options) - set(self.optional):
            raise ConfigError(
                f"The family {self.name} was not given its {sorted(missing)[0]}",
                f"It takes the options {', '.join(self.options)}",
                f"Pass --option {sorted(missing)[0]}=VALUE; robaudit explain "
                f"{self.name} says what it is",
            )
        self.settings: dict[str, object] = dict(options)

    @property
    def name(self) -> str:
        """The id under which the family is registered (class name in snake case)."""
        letters = (f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__)
        return "".join(letters).lstrip("_")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shapes!r})"

    def reshaped(self, shapes: Shapes) -> Family:
        """Return the same family with other shapes of its parameters."""
        return type(self)(shapes, **self.settings)

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

    def finite(self, phi: Tensor) -> Tensor:
        """Return φ [N, p] with 0 for what is infinite in a member of the family.

        Differences of φ are then numbers, where the members' infinities are equal.
        """
        return phi

    @abstractmethod
    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N], true where φ is no member of the family.

        The reason is a sentence for the reader ("scale is not positive").
        """

    # how it answers

    def root(self, tensor: Tensors, phi: Tensor, noise: Noise) -> LinearOperator:
        """Return B [N, r, p] with BᵀB one of the law's metric tensors at φ.

        Args:
            tensor: which one.
            phi: φ [N, p].
            noise: of the draws, where the root has no closed form.

        Raises:
            NoFisher, NoTransport: the law has no such tensor.
            ConfigError: laws do not know the tensor.
        """
        match tensor:
            case Tensors.TRANSPORT:
                return self.transport_root(phi)
            case Tensors.WASSERSTEIN:
                return self.wasserstein_root(phi)
            case Tensors.FISHER:
                closed = self.fisher_root(phi)
                return closed or sampled_fisher_root(self, phi, noise)
        raise Tensors.unknown(tensor)

    def joined(self, root: LinearOperator, jacobian: LinearOperator) -> LinearOperator:
        """Return B J [N, r, d]."""
        return Product(root, jacobian)

    def require(self, tensor: Tensors, phi: Tensor) -> None:
        """Raise where the law has no such tensor at φ [N, p].

        Raises:
            NoFisher, NoTransport: with the reason.
        """
        if tensor is Tensors.FISHER or self.linear_root(phi) is None:
            self.root(tensor, phi, Noise(0, np.arange(len(phi)), 2))

    def reference(
        self, divergence: Comparable, phi: Tensor, noise: Noise
    ) -> Reference | None:
        """Return the laws at φ [N, p], ready to be compared with others exactly.

        Returns:
            None where the divergence can be neither computed nor estimated.
        """
        return reference_of(divergence, self, phi, noise)

    def cost(self, tensors: Set[Tensors], draws: int) -> RowCost:
        """Return what answers about one input take."""
        return RowCost()

    def estimation(self, tensor: Tensors, phi: Tensor, draws: int) -> Estimation:
        """Return how a tensor is found at φ [1, p], for the report."""
        root = self.root(tensor, phi, Noise(0, np.zeros(1, np.int64), 2))
        sampled = isinstance(root, Sampled)
        fisher = tensor is Tensors.FISHER
        notes = () if fisher else (f"transport map: {self.transport_name}",)
        kind = "monte_carlo" if sampled else "closed_form"
        return Estimation(kind, draws if sampled else None, notes)

    def few(self, noise: Noise) -> Noise:
        """Return the draws that an exact value takes, where it takes any."""
        return noise

    def total(self, phi: Tensor, noise: Noise) -> Estimate | None:
        """Return ∫ q_φ [N] where it has to be looked at; None where it is one."""
        return None

    # what was seen of it

    def log_likelihood(self, theta: Tensor, phi: Tensor) -> Tensor:
        """Return ln q_φ(θ) [S, N] at θ [S, N, *event], −∞ where there is no such θ.

        Raises:
            NotImplementedError: the law has no density.
        """
        return log_likelihood(self, theta, phi)

    def drawn(self, phi: Tensor, noise: Noise) -> Nodes:
        """Return θ of each law [S, N, *event], with weights where they are no draws.

        Raises:
            ConfigError: nothing draws from the law at another φ.
        """
        points = draws_of(self, phi, noise)
        return Nodes(points.values, unit=points.unit)

    @property
    def has_density(self) -> bool:
        """Whether `log_likelihood` is a density, of every coordinate of θ."""
        return not self.discrete

    def most_likely(self, phi: Tensor) -> Tensor | None:
        """Return the θ [N, *event] that a classifier answers; None for other laws."""
        return None

    # what its parameters are for

    def role(self, name: str) -> Role | None:
        """Return what a parameter is for; None where no single word says it."""
        return self.roles.get(name, ROLES.get(name))

    def coordinate_of_each(self) -> Tensor | None:
        """Return which coordinate of θ each entry of φ belongs to, integers [p].

        Returns:
            None where coordinates depend on each other, or share parameters.
        """
        if math.prod(self.event_shape) != 1:
            return None
        return torch.zeros(self.size, dtype=torch.int64)

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

    def complete_kl_bound(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return an upper bound [N] on `kl`; None where there is no need of one."""
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


Law = Family
"""A family is a law that is known by name; what is said of laws is said of it."""


def check_finite(phi: Tensor) -> dict[str, Tensor]:
    """Return the violation every family shares: a parameter that is not finite."""
    return {"a parameter is not finite": ~torch.isfinite(phi).all(dim=-1)}
