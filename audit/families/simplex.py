"""Laws on K classes.

Categorical with logits l, p = softmax l: F = diag p − p pᵀ = Bᵀ B for the explicit root

    B = diag(√p) (I − 1 pᵀ)

It has the null vector 1 and λ_max(F) ≤ ½ (the variance of δ under p is at most a
quarter of its range squared, and the range of a unit vector is at most √2). With a
head of probabilities that sum to one, a step that leaves their sum alone costs
Σ δ²/p; the law reads p / Σp, so F = diag 1/p − 1 1ᵀ = Bᵀ B, B = diag(1/√p)(I − p 1ᵀ).

A class of probability 0 belongs to the family. Its row of B is 1/√0 = ∞ at its own
place and 0 elsewhere: a step that leaves it at 0 costs nothing there, since the limit
of dp²/p = p (d ln p)² is 0, and any other has an infinite price.

Source: Amari, Information Geometry and Its Applications (2016), section 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.enclosures import Enclosure
from audit.families.interface import Family
from audit.families.largest_kl import of_classes
from audit.families.listed import Listed
from audit.families.parameters import Shapes, check_finite
from audit.families.softmax_root import SoftmaxRoot
from audit.ground.errors import ConfigError, NoTransport
from audit.linalg.stored import LinearOperator, Matrix
from audit.nodes.excess import log_ratio
from audit.nodes.special import edge_log

SUM_TOLERANCE = 1e-3  # of probabilities made in float32 or float16


class Classes(Family):
    """One vector of K numbers, of `least` or more: shape (K,)."""

    event_axes: ClassVar[Mapping[str, int]] = {
        "logits": 1,
        "probs": 1,
        "concentration": 1,
    }
    least: ClassVar[int] = 2

    def __init__(self, shapes: Shapes, **options: object) -> None:
        super().__init__(shapes, **options)
        (shape,) = self.shapes.values()
        if len(shape) != 1 or shape[0] < self.least:
            raise ConfigError(
                f"The family {self.name} was given {self.parameters[0]} {shape}",
                "It takes one vector for each input"
                + (", of at least two numbers" if self.least > 1 else ""),
                "Slice the outputs, or audit one position at a time",
            )

    @property
    def size(self) -> int:
        """The number of classes K."""
        return self.shapes[self.parameters[0]][0]

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the vector [N, K]."""
        return values[self.parameters[0]].to(torch.float64)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the vector [N, K]."""
        return {self.parameters[0]: phi}


class Categorical(Classes, Listed):
    """One of K classes, by `logits` or `probs`; θ is the class's index.

    Probability: P(k) = p_k, p = softmax of `logits`, or `probs` / Σ `probs`.

    Fisher information: diag p − p pᵀ in `logits`, diag(1/p) − 1 1ᵀ in `probs`.
    """

    parameterizations = (("probs",), ("logits",))
    enclosed_as: ClassVar[Mapping[str, str]] = {
        "probs": "log_probs",
        "logits": "logits",
    }
    transport_name = "none: the classes have no order"

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the smaller of the bounds of `largest_kl` [B]."""
        return of_classes(enclosure)

    def log_probs(self, phi: Tensor) -> Tensor:
        """Return log p [..., K], normalised."""
        if self.parameters == ("logits",):
            return torch.log_softmax(phi, dim=-1)
        return edge_log(phi) - phi.sum(-1, keepdim=True).log()

    def log_changes(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return log p'/p [..., K], accurate for small steps; 0 where both are 0."""
        step = other - phi
        if self.parameters == ("probs",):
            total = log_ratio(phi.sum(-1), other.sum(-1), step.sum(-1))
            return log_ratio(phi, other, step) - total.unsqueeze(-1)
        log_p = self.log_probs(phi)
        step = step.masked_fill(torch.isneginf(phi) & torch.isneginf(other), 0.0)
        step = step - (log_p.exp() * step).sum(-1, keepdim=True)
        small = step.clamp(-1, 1)
        near = torch.log1p((log_p.exp() * torch.expm1(small)).sum(-1, keepdim=True))
        close = (step == small).all(-1, keepdim=True)
        return torch.where(close, step - near, self.log_probs(other) - log_p)

    def finite(self, phi: Tensor) -> Tensor:
        """Return φ [N, K] with 0 for the logits of classes that cannot occur.

        Those are −∞, as masks write them. At least one class has to be able to.
        """
        if self.parameters == ("probs",):
            return phi
        closed = torch.isneginf(phi)
        return phi.masked_fill(closed & ~closed.all(-1, keepdim=True), 0.0)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]; probabilities are not negative and sum to 1."""
        found = check_finite(self.finite(phi))
        if self.parameters == ("probs",):
            found["probs has a negative entry"] = (phi < 0).any(-1)
            gap = (phi.sum(-1) - 1).abs()
            found["probs does not sum to one"] = gap > SUM_TOLERANCE
        return found

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Return B [N, K, K], of the given parameter."""
        if self.parameters == ("logits",):
            return SoftmaxRoot.of(self.log_probs(phi))
        total = phi.sum(-1, keepdim=True)
        share = (phi / total).sqrt()
        root = torch.diag_embed(1 / share) - share.unsqueeze(-1)
        return Matrix(root / total.unsqueeze(-1))

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: classes have no order, so no distance."""
        raise NoTransport(
            f"The family {self.name} has no quantile distance",
            "Its classes have neither an order nor a cost of mistaking one for another",
            "Audit it with -d kl",
        )


class OneHotCategorical(Categorical):
    """One of K classes, θ as a one-hot vector.

    Probability: P(e_k) = p_k, p = softmax of `logits`, or `probs` / Σ `probs`.

    Fisher information: diag p − p pᵀ in `logits`, diag(1/p) − 1 1ᵀ in `probs`.
    """

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(K,)."""
        return (self.size,)

    def most_likely(self, phi: Tensor) -> Tensor | None:
        """Return the class with the largest probability as a one-hot vector [N, K]."""
        found = self.log_probs(phi).argmax(dim=-1)
        return torch.nn.functional.one_hot(found, self.size).to(phi)

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape [K]."""
        return td.OneHotCategorical(logits=self.log_probs(phi), validate_args=False)
