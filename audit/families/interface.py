"""What a parametric family q_φ tells the audit.

`Parameterised` says what φ is and `ClosedForms` what is known of the law as formulas of
φ; what else a scan asks follows from those two and from the distribution, by draws
where there is no formula.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Set

import numpy as np
from torch import Tensor
from torch.distributions import Distribution

from audit.families.closed_forms import ClosedForms
from audit.families.draws import draws_of, sampled_fisher_root
from audit.families.givers import Nodes
from audit.families.observed import log_likelihood
from audit.families.parameters import Shapes
from audit.families.parameters import check_finite as check_finite
from audit.families.references import Reference, reference_of
from audit.families.tensors import Comparable, Estimation, RowCost, Tensors
from audit.linalg.averaged import Sampled
from audit.linalg.operators import Product
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import LinearOperator
from audit.nodes.noise import Noise


class Family(ClosedForms):
    """A law that is known by name, its parameter shapes fixed: see `Parameterised`.

    It is made of shapes and options, and answers for parameters φ [N, p] of N inputs.
    """

    made_of: tuple[str, ...] = ()
    """The name of the component, where it is a law of laws."""
    places: tuple[int, ...] = ()
    """Axes of places with a law each, where it is one law for each place."""
    follows: bool = True
    """Whether draws are those of the φ that is asked about, not of the inputs' own."""
    discrete: bool = False
    parametric: bool = True
    """Whether φ are parameters of a known law, whose own tensor tells something."""
    unnormalised: bool = False
    """Whether the density is known up to a number that may depend on x."""

    def reshaped(self, shapes: Shapes) -> Family:
        """Return the same family with other shapes of its parameters."""
        made: Callable[..., Family] = type(self)
        return made(*self.made_of, shapes, **self.settings)

    # the law

    @abstractmethod
    def distribution(self, phi: Tensor) -> Distribution:
        """Return q_φ: batch shape [N], event shape `event_shape`.

        Argument validation is off: `violations` has already looked.
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


Law = Family
"""A family is a law that is known by name; what is said of laws is said of it."""
