"""One divergence: its constant c, its metric tensor and its exact value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from audit.families.interface import Family
from audit.families.tensors import Estimation, Pointwise, Tensors
from audit.geometry.contract import checked_root, checked_values
from audit.linalg.averaged import Averaged, Sampled
from audit.linalg.stored import LinearOperator
from audit.nodes.noise import Noise

Exact = Callable[[Family, Tensor, Tensor], Tensor | None]


Root = Callable[[Family, Tensor, Noise], LinearOperator]


@dataclass(frozen=True)
class Divergence:
    """One row of the table.

    Args:
        name: as the user wrote it. unit: of the divergence itself.
        scale: c. tensor: which metric tensor.
        exact: (family, φ, φ') -> D(q_φ ‖ q_φ') [N], None where it is not known.
        pointwise: log t -> g(t) ≥ 0 with D = E_q[g(q'/q)], to estimate D from draws
            of both laws (`families.references`); None where D is no such mean. g has no
            linear term (E_q[q'/q − 1] = 0 is subtracted), so that its variance vanishes
            with D.
        root: (law, φ [N, p], noise) -> B [N, r, p], of a metric tensor that laws do
            not know themselves (`Tensors.OTHER`).
        formula: as `robaudit explain` shows it.
        reading: a sentence, of how to read it.
        exchanged: as `pointwise`, of a mean over the other law: log t -> g(t) with
            D = E_q'[g(q/q')]. None where draws of q tell as much.
        supremum: D ≤ this, with equality for laws without common support alone.
        slope: (family, φ, φ') -> ∂D/∂φ' [N, p] in closed form; None where it is not
            known, and derivatives of `exact` are taken.
        finite: whether D is a number for all laws of a family with the same support.
    """

    name: str
    unit: str
    scale: float
    tensor: Tensors
    exact: Exact
    pointwise: Pointwise | None = None
    root: Root | None = None
    formula: str = ""
    reading: str = ""
    exchanged: Pointwise | None = None
    supremum: float = math.inf
    slope: Exact | None = None
    finite: bool = False

    def metric_root(self, law: Family, phi: Tensor, noise: Noise) -> LinearOperator:
        """Return B [N, r, p] with BᵀB the metric tensor at φ.

        Raises:
            NoFisher, NoTransport: the law has no such tensor.
            ConfigError: nobody knows the tensor.
            BrokenPlugin: its own root is not that of N matrices with p columns.
        """
        if self.root is None:
            return law.root(self.tensor, phi, noise)
        return checked_root(self, self.root(law, phi, noise), phi)

    @property
    def is_fisher(self) -> bool:
        """Whether its metric tensor is the Fisher information."""
        return self.tensor is Tensors.FISHER

    @property
    def is_transport(self) -> bool:
        """Whether it moves draws: its tensor may be infinite, or its law linear."""
        return self.tensor in (Tensors.TRANSPORT, Tensors.WASSERSTEIN)

    def require(self, law: Family, phi: Tensor) -> None:
        """Raise where the law has no such tensor at φ [N, p].

        Raises:
            NoFisher, NoTransport: with the reason.
            BrokenPlugin: its own root or exact value is not what it has to be.
        """
        if self.root is None:
            law.require(self.tensor, phi)
        else:
            self.metric_root(law, phi, Noise(0, np.arange(len(phi)), 2))
            checked_values(self, self.exact(law, phi, phi), phi)

    def kept_rows(self, law: Family, phi: Tensor, draws: int) -> int:
        """Return the rows of a root of its own that one input's average keeps.

        Laws count those of the tensors that they know (`Family.cost`).
        """
        if self.root is None:
            return 0
        found = self.metric_root(law, phi[:1], Noise(0, np.zeros(1, np.int64), 2))
        rows = found.shape[1]
        if isinstance(found, Sampled):
            return rows * draws // 2
        return rows if isinstance(found, Averaged) else 0

    def estimation(self, law: Family, phi: Tensor, draws: int) -> Estimation:
        """Return how the tensor is found at φ [1, p], for the report."""
        if self.root is None:
            return law.estimation(self.tensor, phi, draws)
        found = self.metric_root(law, phi, Noise(0, np.zeros(1, np.int64), 2))
        if isinstance(found, Sampled):
            return Estimation("monte_carlo", draws)
        return Estimation("closed_form")
