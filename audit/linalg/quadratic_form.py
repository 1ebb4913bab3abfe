"""The noun in the middle: a local quadratic form δ -> c · |A δ|².

To second order every divergence with a minimum at δ = 0 is such a form, with
G = AᵀA its metric tensor and c = f''(1)/2 the constant of the divergence. A form known
by its root can never be negative. For some inputs it may be infinite, or not known:
what is added to the root's own values then is ∞ or NaN (see `bounded`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.linalg.averaged import Sampled
from audit.linalg.operators import Product, rows_of
from audit.linalg.sampled import sum_of_squares
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import LinearOperator


@dataclass(frozen=True)
class QuadraticForm:
    """δ -> scale · |root δ|² for a batch of N inputs."""

    scale: float  # c
    root: LinearOperator  # A [N, r, d]
    beyond: Tensor | None = None  # [N], 0, ∞ or NaN; None: 0

    def __call__(self, delta: Tensor) -> Tensor:
        """Return the form at δ: [N, d] -> [N], or [N, d, K] -> [N, K].

        Raises:
            ConfigError: δ has another shape, or holds no numbers.
        """
        delta = self._checked(delta)
        columns = delta if delta.dim() == 3 else delta.unsqueeze(-1)
        values = self.scale * self.root.matmat(columns).square().sum(dim=1)
        if self.beyond is not None:
            values = values + self.beyond.unsqueeze(-1)
        return values if delta.dim() == 3 else values.squeeze(-1)

    def _checked(self, delta: object) -> Tensor:
        """Return δ in float64: a caller's may be an array, and in float32."""
        n, _, d = self.root.shape
        try:
            found = torch.as_tensor(delta, dtype=torch.float64)
            given = f"of shape {list(found.shape)}"
        except (TypeError, ValueError, RuntimeError):
            given = f"as a {type(delta).__name__} that holds no such numbers"
        else:
            if found.dim() in (2, 3) and tuple(found.shape[:2]) == (n, d):
                return found
        raise ConfigError(
            f"The form was given δ {given}",
            f"Expected [{n}, {d}], or [{n}, {d}, K]: {n} inputs, {d} free features",
            "Give one δ, or K of them, for each input",
        )

    def take(self, rows: Tensor) -> QuadraticForm:
        """Return the forms of some inputs."""
        beyond = None if self.beyond is None else self.beyond[rows]
        return QuadraticForm(self.scale, rows_of(self.root, rows), beyond)

    def total(self, columns: Tensor) -> Estimate:
        """Return the sum [N] of the form over columns [N, d, K]."""
        images = self.scale * self.root.matmat(columns).square().sum(dim=2)
        outer = self.root.outer if isinstance(self.root, Product) else self.root
        if isinstance(outer, Sampled):
            found = sum_of_squares(images, outer.group)
        else:
            found = Estimate(images.sum(dim=1))
        return found if self.beyond is None else found.extended(self.beyond)
