"""Expectations under laws on a line, as sums over the nodes of their panels.

Shapes: M laws, K nodes, q parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.nodes.lines import Line
from audit.nodes.panels import ORDER
from audit.nodes.survey import panels_of, stand_ins, survey


@dataclass(frozen=True)
class LineNodes:
    """A rule for each law: E[g] ≈ Σ_k w_k g(y_k).

    Args:
        rows: parameters [M, q] to evaluate g with; another law's where one is lost.
        points: y [M, K], in the chart of the line.
        weights: panel weight × density [M, K]; their sum is 1 up to the error.
        lost: laws that no panels resolve [M]; what is summed for them is NaN.
    """

    rows: Tensor
    points: Tensor
    weights: Tensor
    lost: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Return E[g] [M] of g at the points [M, K]; NaN for the laws that are lost."""
        return self._known(torch.einsum("mk,mk->m", self.weights, values))

    def outer(self, vectors: Tensor) -> Tensor:
        """Return E[g gᵀ] [M, q, q] of g [M, K, q]; NaN for the laws that are lost."""
        weighted = self.weights.unsqueeze(-1) * vectors
        return self._known(torch.einsum("mki,mkj->mij", weighted, vectors))

    def _known(self, found: Tensor) -> Tensor:
        lost = self.lost.reshape(-1, *(1,) * (found.dim() - 1))
        return found.masked_fill(lost, torch.nan)


def line_nodes(line: Line, rows: Tensor, moment: int = 0) -> LineNodes:
    """Return nodes at which expectations under laws on a line are sums.

    Every law has its own panels; how many K there are depends on the hardest of them,
    so that many laws are taken a few at a time (`lines.by_chunks`).

    Args:
        line: whose laws they are.
        rows: their parameters [M, q].
        moment: 0 where g is of no order beside the density; 2 where it grows like x²,
            so that the tails end where x² q does.
    """
    surveyed = survey(line, rows, moment)
    lost = surveyed.lost
    if bool(lost.all()):
        nothing = rows.new_zeros(len(rows), ORDER)
        return LineNodes(rows, nothing, nothing, lost)
    if bool(lost.any()):
        places = stand_ins(lost)
        rows, surveyed = rows[places], surveyed[places]
    panels = panels_of(surveyed)
    density = line.log_density(panels.nodes, rows.unsqueeze(1)).exp()
    return LineNodes(rows, panels.nodes, panels.weights * density, lost)
