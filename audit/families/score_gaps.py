"""How far a Fisher information over the nodes of a grid may be off.

The error of Z says nothing of that of F = E[s sᵀ] − m mᵀ: where a density has a kink
its score jumps, and the same nodes integrate a jump worse by an order of their
distance. But they hold coarser rules (`nested`), and what those change of F, cell by
cell and axis by axis, is known from the scores that F is summed of:

    Δ_{cell, a} = Σ w_k r_{a,k} [(s_k − m) (s_k − m)ᵀ − F].

The term F is what the change of Z takes back, since weights are shares. With ‖·‖ the
nuclear norm, Σ ‖Δ‖ / tr F bounds what all changes together can make of the trace, and
of any eigenvalue, as a share of the trace (|tr Δ| ≤ ‖Δ‖, and Weyl's inequality for
|δλ| ≤ ‖Δ‖₂). It is an estimate by as much as a change is one of an error.

What was not worth nodes is taken to have the largest score of all nodes. Of more than
`WIDE` parameters ‖s − m‖² alone is summed: the trace's own error, of which directions
may cancel within a cell.

What no rule sees is an end of the support that moves with x, where E‖s‖² may not exist:
nodes go as near to the end as is worth anything of Z, cells agree with one another, and
their sum is that of the last octave (`endings`).

Shapes: Q nodes, N inputs, p parameters, C cells of all inputs, c axes, T entries of a
triangle.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.endings import Endings
from audit.families.givers import Nodes
from audit.nodes.nested import Nested

WIDE = 12
_REST = 1e-14  # of E‖s‖²: a trace below is the rounding of scores that are all equal


class ScoreGaps:
    """Sums of √w [1, sᵀ] and of its square, cell by cell, as parts of nodes come in.

    Args:
        nested: the coarser rules among the nodes [Q, N].
        size: p.
    """

    def __init__(self, nested: Nested, size: int) -> None:
        cells, which = torch.unique(nested.cells, return_inverse=True)
        inputs = nested.order.shape[1]
        self.owner = torch.zeros_like(cells).scatter_(
            0, which.flatten(), torch.arange(inputs).repeat(len(which))
        )
        self.which, self.changes = which, nested.changes()
        self.wide, self.inputs, self.left_out = size > WIDE, inputs, nested.left_out
        side = 2 if self.wide else 1 + size
        self.entries = torch.triu_indices(side, side).T.tolist()
        self.side, self.center = side, torch.empty(0)
        self.sums = self.whole = self.farthest = torch.empty(0)
        self.endings = Endings(inputs)

    def add(self, part: slice, rows: Tensor) -> None:
        """Take in √w [1, sᵀ] [K, N, 1 + p] of some of the nodes, zero where w is."""
        if not len(self.sums):
            self._begin(rows)
        away = (rows[..., 1:] - rows[..., :1] * self.center).norm(dim=-1)
        sizes = (away / rows[..., 0]).nan_to_num(0.0).square()
        self.farthest = torch.maximum(self.farthest, sizes.amax(0))
        self.endings.add(sizes, rows[..., 0].square())
        if self.wide:
            rows = torch.stack([rows[..., 0], away], dim=-1)
        columns = rows.flatten(0, 1).T.contiguous()
        which = self.which[part].to(rows.device).flatten()
        changes = [r[part].to(rows.device).flatten() for r in self.changes]
        for entry, (i, j) in enumerate(self.entries):
            product = columns[i] * columns[j]
            self.whole[entry] += product.reshape(-1, self.inputs).sum(0)
            for axis, change in enumerate(changes):
                self.sums[axis, entry].index_add_(0, which, change * product)

    def _begin(self, rows: Tensor) -> None:
        """Make room, and take the center of scores from the heaviest nodes."""
        weighed = (rows[..., :1] * rows).sum(0)
        self.center = weighed[:, 1:] / weighed[:, :1]
        count = len(self.entries)
        self.sums = rows.new_zeros(len(self.changes), count, len(self.owner))
        self.whole = rows.new_zeros(count, self.inputs)
        self.farthest = rows.new_zeros(self.inputs)

    def error(self) -> Tensor:
        """Return the relative error of F [N]; 0 where F is no number, or nothing."""
        owner = self.owner.to(self.whole.device)
        whole = self._squares(self.whole / self.whole[0])
        mean = whole[:, :1, 1:] if not self.wide else torch.zeros_like(whole[:, :1, 1:])
        fisher = whole[:, 1:, 1:] - mean.mT @ mean
        trace = fisher.diagonal(dim1=-2, dim2=-1).sum(-1)
        size = whole[:, 1:, 1:].diagonal(dim1=-2, dim2=-1).sum(-1)
        known = whole.isfinite().all(-1).all(-1) & (trace > _REST * size)
        total = self.left_out.to(trace) * self.farthest
        for sums in self.sums:
            change = self._squares(sums / self.whole[0, owner])
            cross = change[:, 1:, :1] @ mean[owner]
            apart = change[:, :1, :1] * (mean.mT @ mean - fisher)[owner]
            moved = change[:, 1:, 1:] - cross - cross.mT + apart
            moved = torch.where(known[owner, None, None], moved, 0.0)
            total.index_add_(0, owner, torch.linalg.eigvalsh(moved).abs().sum(-1))
        found = torch.maximum(total / trace, self.endings.missing().to(trace))
        return torch.where(known, found, 0.0)

    def _squares(self, triangles: Tensor) -> Tensor:
        """Return symmetric matrices [M, 1 + p, 1 + p] of their triangles [T, M]."""
        found = triangles.new_zeros(self.side, self.side, triangles.shape[1])
        for entry, (i, j) in enumerate(self.entries):
            found[i, j] = found[j, i] = triangles[entry]
        return found.permute(2, 0, 1)


def judged(nodes: Nodes, gaps: ScoreGaps | None) -> dict[str, Tensor]:
    """Return the checks of nodes [N], their error the larger one of Z and of F."""
    checks = dict(nodes.checks)
    if "quadrature_error" in checks:
        of_mass = checks["normalisation_error"] = checks["quadrature_error"]
        if gaps is not None:
            of_fisher = gaps.error().to(of_mass)
            checks["quadrature_error"] = torch.maximum(of_mass, of_fisher)
    return checks
