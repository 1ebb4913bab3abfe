"""The moves by which radii come down: what a search for the nearest crossing does.

Each looks or climbs somewhere, and keeps where τ is crossed first if that is nearer
than what is known; `lowering` says which follow one another, and why.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.verify.anchored import crossed
from audit.verify.beneath import TRIES, beneath
from audit.verify.exact import Exact
from audit.verify.local import LocalLaw
from audit.verify.nearing import neared, nearest_of
from audit.verify.slopes import cheap
from audit.verify.surveying import (
    CLOSER,
    REACHED,
    Looked,
    beside,
    everywhere,
    followed,
    near,
    rays_of,
)
from audit.verify.witness import Effort, Witness, ascend

_LADDER = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)  # of a radius, in the first round
_WHERE_NONE = (0.01, 0.03, 0.1, 0.3, 1.0, 10.0)  # of an input's norm
_CLOSER = (0.85, 1.0)  # in later rounds
_BETWEEN = 5  # sizes between the largest known and a radius far beyond it
_ENOUGH = 0.005
_BEYOND = 2.0  # of the local law's radii: what is as far is not the first for certain
_EFFORTS = (Effort(1, 2, 4, 12, 1), Effort(1, 2, 3, 8, 1))  # first, later


class Lowering:
    """The radii so far, and who is still being lowered."""

    def __init__(
        self,
        exact: Exact,
        local: LocalLaw,
        tau: float,
        start: Tensor,
        known: Witness | None,
        where: Tensor | None = None,
    ) -> None:
        self.exact, self.local, self.tau, self.known = exact, local, tau, known
        self.guide = exact.light or exact
        self.radius = torch.where(start.isnan(), torch.inf, start.double())
        self.u = torch.zeros_like(local.worst) if where is None else where.clone()
        if known is not None:
            self._take(torch.arange(len(self.u), device=self.u.device), known)
        self.live = self.radius > 0

    def round(self, turn: int) -> bool:
        """Lower the radii once; tell whether any went down by enough."""
        rows = self.live.nonzero()[:, 0]
        if not len(rows):
            return False
        before = self.radius.clone()
        if turn == 0 and self.known is not None:
            self._reach_out(rows, self.known)
        if self.known is not None:
            rows = self._neared(rows, turn, self.known)
        if len(rows):
            self._take(rows, self._ascended(rows, turn))
        lower = self.radius < (1 - _ENOUGH) * before
        self.live = lower & (self.radius > 0)
        return bool(self.live.any())

    def confirm(self) -> None:
        """Lower the radii as long as there are witnesses beneath them (`beneath`)."""
        lower = self.radius > 0
        for _ in range(TRIES):
            before = self.radius.clone()
            for rows, found in beneath(self.exact, self.local, before, self.u, lower):
                self._take(rows, found)
            lower = (self.radius < before) & (self.radius > 0)
            if not bool(lower.any()):
                break

    def _neared(self, rows: Tensor, turn: int, known: Witness) -> Tensor:
        """Lower the radii of some inputs by one climb; return those that it is not of.

        These have no radius yet, or nothing says which way is up.
        """
        there = self._known[rows] & (self.u[rows].abs().amax(dim=1) > 0)
        at = rows[there]
        if not len(at):
            return rows
        along = self.u[at].unsqueeze(1)
        if turn == 0:
            along = torch.cat([along, known.u[at].flip(1)], dim=1)
        found = neared(self.exact.guide, at, along, self.radius[at], self.tau)
        if found is None:
            return rows
        self._cross(*found, reached=False)
        return rows[~there]

    def start_anywhere(self) -> None:
        """Ascend along all starts where no radius is known."""
        rows = self.radius.isinf().nonzero()[:, 0]
        if len(rows):
            self._take(rows, self._ascended(rows, 0))

    def _reach_out(self, rows: Tensor, known: Witness) -> None:
        """Ascend at sizes between the largest searched and a radius far beyond.

        Each goes on from the witnesses that are there. Where no radius is known, sizes
        go as far as the first round's own.
        """
        reach = known.size.expand(len(self.u), -1)[rows].amax(dim=1)
        most = self.exact.site.lengths()[rows] * _WHERE_NONE[-1]
        goal = torch.where(self.radius[rows].isfinite(), self.radius[rows], most)
        far = goal > _BEYOND * reach
        if not bool(far.any()):
            return
        rows, reach, goal = rows[far], reach[far].unsqueeze(1), goal[far].unsqueeze(1)
        shares = torch.arange(1, _BETWEEN + 1, device=goal.device) / (_BETWEEN + 1)
        sizes = reach * (goal / reach) ** shares
        asked = (self.exact, self.local, sizes)
        given = known.u[rows].flip(1)
        self._take(rows, ascend(*asked, effort=_EFFORTS[0], given=given, rows=rows))

    def look(self) -> None:
        """Look near the radii, along other rays."""
        rows = self._known.nonzero()[:, 0]
        if len(rows):
            along = rays_of(self.exact, self.local)[rows]
            self._shrink(*followed(self._near(rows, along), self.tau))

    def look_everywhere(self) -> None:
        """Look all along rays where no radius is known, or one far beyond the law's."""
        guess = self.local.radius(self.tau)
        far = self.radius.isinf() | (self.radius > _BEYOND * guess)
        rows = far.nonzero()[:, 0]
        if len(rows):
            along = rays_of(self.exact, self.local)[rows]
            looked = everywhere(self.guide, rows, along, guess[rows], self.radius[rows])
            self._shrink(*followed(looked, self.tau, CLOSER))

    def look_beside(self, turn: int) -> None:
        """Look at the radii in directions beside those that they were found in."""
        rows = (self._known & (self.u.abs().amax(dim=1) > 0)).nonzero()[:, 0]
        if len(rows) and self.exact.site.free > 1:
            along = beside(self.exact, rows, self.u[rows], turn)
            self._shrink(*followed(self._near(rows, along), self.tau))

    @property
    def _known(self) -> Tensor:
        return (self.radius > 0) & self.radius.isfinite()

    def _near(self, rows: Tensor, along: Tensor) -> Looked:
        return near(self.guide, rows, along, self.radius[rows])

    def gradients_are_cheap(self) -> bool:
        """Tell whether a gradient takes about as much as a value, or is a few sums."""
        rows = self.live.nonzero()[:, 0]
        return bool(len(rows)) and cheap(self.exact, self.guide, rows, self.u[rows])

    def _take(self, rows: Tensor, found: Witness) -> None:
        """Shrink the smallest witness of at least τ of each of some inputs."""
        reached = found.value >= self.tau * REACHED
        which = reached.any(dim=1).nonzero()[:, 0]
        first = reached.to(torch.int8).argmax(dim=1)[which]
        self._shrink(rows[which], found.u[which, first])

    def _ascended(self, rows: Tensor, turn: int) -> Witness:
        """Return witnesses of some inputs at sizes below their radii."""
        known = torch.isfinite(self.radius[rows])
        wide = turn == 0 and self.known is None
        ladder = self.radius.new_tensor(_LADDER if wide else _CLOSER)
        sizes = torch.where(known, self.radius[rows], 0.0).unsqueeze(1) * ladder
        if not bool(known.all()):
            none = self.exact.site.lengths()[rows].unsqueeze(1)
            none = none * self.radius.new_tensor(_WHERE_NONE)
            none = none[:, -len(ladder) :]
            sizes = torch.where(known.unsqueeze(1), sizes, none)
        given = self.u[rows].unsqueeze(1)
        effort, alone = _EFFORTS[min(turn, 1)], turn > 0 or self.known is not None
        if turn == 0 and self.known is not None:
            given = torch.cat([given, self.known.u[rows].flip(1)], dim=1)
        asked = (self.exact, self.local, sizes)
        return ascend(*asked, effort=effort, given=given, rows=rows, alone=alone)

    def _shrink(self, rows: Tensor, u: Tensor) -> None:
        """Go back along rays to where τ is crossed first, and keep what is nearer."""
        if not len(rows):
            return
        length = u.norm(dim=1)
        self._cross(rows, u / length.unsqueeze(1), length, True)

    def _cross(
        self, rows: Tensor, direction: Tensor, length: Tensor, reached: bool
    ) -> None:
        """Keep where τ is crossed first on rays [k, m], about a length [k], if nearer.

        Reached: whether D ≥ τ is known at that length.
        """
        known = self.radius[rows]  # a witness may be far beyond it
        scale = torch.where(torch.isfinite(known) & (known > 0), known, length)
        radius = crossed(self.exact, rows, direction, length, self.tau, scale, known)
        if reached and self.exact.light is None:
            radius = torch.where(radius <= length, radius, length)  # NaN, ∞: as found
        at = nearest_of(rows, radius, len(self.radius))
        at = at[radius[at] < self.radius[rows[at]]]
        self.radius[rows[at]] = radius[at]
        self.u[rows[at]] = direction[at] * radius[at].unsqueeze(1)
