"""Counts of K classes in n independent choices, n = `total_count`, an option.

The counts are sufficient for the choices: given them, all orders are equally likely,
whatever p. So whatever adds up over independent choices is n times that of one:

    F = n (diag p − p pᵀ) for logits,     KL = n KL_1,     D_α = n D_α,1

The Jensen-Shannon divergence does not add up, and is estimated from draws.

Source: Cover & Thomas, Elements of Information Theory (2006), sections 2.5 and 2.9.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor
from torch import distributions as td
from torch.distributions import constraints

from audit.families.enclosures import Enclosure
from audit.families.options import read_positive
from audit.families.parameters import Shapes
from audit.families.simplex import Categorical
from audit.linalg.stored import LinearOperator, Matrix


class Multinomial(Categorical):
    """Counts [K] that add up to `total_count`, by `logits` or `probs`.

    Probability: n! Π_k p_k^θ_k / θ_k!, n = `total_count`.

    Fisher information: n (diag p − p pᵀ) in `logits`, n (diag(1/p) − 1 1ᵀ) in `probs`.
    """

    options: ClassVar[tuple[str, ...]] = ("total_count",)

    def __init__(self, shapes: Shapes, **options: object) -> None:
        super().__init__(shapes, **options)
        count = self.settings["total_count"]
        self.trials = int(read_positive("total_count", count, whole=True))

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(K,)."""
        return (self.size,)

    def most_likely(self, phi: Tensor) -> Tensor | None:
        """Return None: it is no answer of a classifier."""
        return None

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape [K]."""
        return Counts(self.trials, logits=self.log_probs(phi), validate_args=False)

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Return √n times the root of one choice [N, K, K]."""
        return Matrix(math.sqrt(self.trials) * super().fisher_root(phi).dense())

    def kl(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return n times that of one choice [N]."""
        return self.trials * super().kl(phi, other)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor:
        """Return n times that of one choice [N]."""
        return self.trials * super().renyi(phi, other, alpha)

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> None:
        """Return None: it is no sum over choices."""

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return n times the bound of one choice [B]."""
        return self.trials * super().largest_kl(enclosure)


class _Whole(constraints.Constraint):
    """Whole numbers, not negative, that add up to n."""

    is_discrete = True
    event_dim = 1

    def __init__(self, total: int) -> None:
        self.total = total
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return where value [..., K] is one of them [...]."""
        whole = (value >= 0) & (value == value.floor())
        return whole.all(-1) & (value.sum(-1) == self.total)


class Counts(td.Multinomial):
    """The multinomial law; torch's own support holds vectors with another sum."""

    @property
    def support(self) -> constraints.Constraint:
        """Vectors of whole numbers with the sum n."""
        return _Whole(self.total_count)
