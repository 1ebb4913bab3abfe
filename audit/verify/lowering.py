"""The critical radius lowered by witnesses: an upper bound on r* over all directions.

r*(x) = inf{‖δ‖ : D(q_x ‖ q_{x+δ}) ≥ τ}. Any u with D ≥ τ says r* ≤ ‖u‖. A search that
starts with a radius at which D ≥ τ is known alternates two moves:

1.  Ascend at several sizes below the radius. The smallest size with a witness of at
    least τ is the new radius.
2.  Shrink along that witness's ray, to the first crossing of τ on it (`crossing`).

Witnesses that are there already begin the search: those of at least τ are shrunk first,
and all of them are directions to start along, which saves it the others.

It ends where a round lowers the radius by less than half a percent, and never raises
it. Where no radius is known (τ is not reached along ±v) the ladder of the first round
goes up to the input's own norms instead, and finds one or not. At the end D at u is τ
up to a millionth, or above it where D jumps; the radius is ‖u‖. It is a bound, found by
somebody: smaller ones may exist.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.ground import stages
from audit.verify.bounds import Bounds
from audit.verify.critical import Critical
from audit.verify.crossing import crossings
from audit.verify.local import LocalLaw
from audit.verify.sites import Exact
from audit.verify.witness import Effort, Witness, ascend

_LADDER = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)  # of a radius, in the first round
_WHERE_NONE = (0.01, 0.03, 0.1, 0.3, 1.0, 10.0)  # of an input's norm
_CLOSER = (0.85, 1.0)  # in later rounds
_ROUNDS = 3
_ENOUGH = 0.005
_EFFORTS = (Effort(1, 2, 4, 12, 1), Effort(1, 2, 3, 8, 1))  # first, later
_REACHED = 1 - 2e-6  # of τ, as exact as a crossing is


def lowered(
    critical: Critical, exact: Exact, local: LocalLaw, tau: float, known: Witness | None
) -> Critical:
    """Return critical radii with those that witnesses of all directions reach τ at.

    Values that are means over draws stay as they are: an ascent would climb their
    noise. A valid range of the inputs does not count, as it does not along ±v.

    Args:
        critical: the radii along ±v.
        exact: the divergence.
        local: its local law.
        tau: what has to be reached.
        known: witnesses of all inputs in the ℓ₂ norm, if there are any.
    """
    if critical.sampled:
        return critical
    found = lowered_radius(exact, local, tau, critical.value, known=known)
    return critical.lowered_to(*found)


def lowered_radius(
    exact: Exact,
    local: LocalLaw,
    tau: float,
    start: Tensor,
    p: float = 2.0,
    bounds: Bounds | None = None,
    known: Witness | None = None,
) -> tuple[Tensor, Tensor]:
    """Return radii [n] that no start is below, and the perturbations u [n, m].

    Args:
        exact: the divergence.
        local: its local law.
        tau: what has to be reached, positive.
        start: radii at which D ≥ τ is known along ±v [n]; ∞ or NaN where none is, 0
            where it is reached at once.
        p: of the norm of the radii, which those of `start` are in.
        bounds: the valid range of the inputs.
        known: witnesses of all inputs, in this norm and within the bounds.

    Returns:
        ∞, and zeros, where τ was not reached anywhere; u is zeros, too, where the
        radius is the start's own and no witness lowered it.
    """
    state = _Lowering(exact, local, tau, start, p, bounds, known)
    for turn in range(_ROUNDS):
        with stages.part(1 / _ROUNDS):
            lower = state.round(turn)
        if not lower:
            break
    return state.radius, state.u


class _Lowering:
    """The radii so far, and who is still being lowered."""

    def __init__(
        self,
        exact: Exact,
        local: LocalLaw,
        tau: float,
        start: Tensor,
        p: float,
        bounds: Bounds | None,
        known: Witness | None,
    ) -> None:
        self.exact, self.local, self.tau, self.p = exact, local, tau, p
        self.bounds, self.known = bounds, known
        self.radius = torch.where(start.isnan(), torch.inf, start.double())
        self.u = torch.zeros_like(local.worst)
        if known is not None:
            self._take(torch.arange(len(self.u), device=self.u.device), known)
        self.live = self.radius > 0

    def round(self, turn: int) -> bool:
        """Lower the radii once; tell whether any went down by enough."""
        rows = self.live.nonzero()[:, 0]
        if not len(rows):
            return False
        before = self.radius.clone()
        self._take(rows, self._ascended(rows, turn))
        lower = self.radius < (1 - _ENOUGH) * before
        self.live = lower & (self.radius > 0)
        return bool(self.live.any())

    def _take(self, rows: Tensor, found: Witness) -> None:
        """Shrink the smallest witness of at least τ of each of some inputs."""
        reached = found.value >= self.tau * _REACHED
        which = reached.any(dim=1).nonzero()[:, 0]
        first = reached.to(torch.int8).argmax(dim=1)[which]
        if len(which):
            self._shrink(rows[which], found.u[which, first])

    def _ascended(self, rows: Tensor, turn: int) -> Witness:
        """Return witnesses of some inputs at sizes below their radii."""
        known = torch.isfinite(self.radius[rows])
        wide = turn == 0 and self.known is None
        ladder = self.radius.new_tensor(_LADDER if wide else _CLOSER)
        sizes = torch.where(known, self.radius[rows], 0.0).unsqueeze(1) * ladder
        if not bool(known.all()):
            size = self.exact.site.lengths()[rows] / self._two_norm_share()
            none = size.unsqueeze(1) * self.radius.new_tensor(_WHERE_NONE)
            none = none[:, -len(ladder) :]
            sizes = torch.where(known.unsqueeze(1), sizes, none)
        given = self.u[rows].unsqueeze(1)
        effort, alone = _EFFORTS[min(turn, 1)], turn > 0 or self.known is not None
        if turn == 0 and self.known is not None:
            given = torch.cat([given, self.known.u[rows].flip(1)], dim=1)
        return ascend(
            self.exact,
            self.local,
            sizes,
            self.p,
            self.bounds,
            effort,
            given,
            rows,
            alone,
        )

    def _two_norm_share(self) -> float:
        """Return ‖u‖₂ / ‖u‖_p of a u whose entries are all alike."""
        ones = torch.ones(self.exact.site.free, dtype=torch.float64)
        return float(ones.norm() / Ball(self.p).norm(ones))

    def _shrink(self, rows: Tensor, u: Tensor) -> None:
        """Go back along rays to where τ is crossed first, and keep what is nearer."""
        length = Ball(self.p).norm(u)
        direction = u / length.unsqueeze(1)

        def evaluate(rays: Tensor, radii: Tensor) -> Tensor:
            moved = direction[rays].unsqueeze(1) * radii.unsqueeze(2)
            return self.exact(rows[rays], moved)[0].clamp_min(0)

        known = self.radius[rows]  # a witness may be far beyond it
        scale = torch.where(torch.isfinite(known) & (known > 0), known, length)
        radius = crossings(evaluate, length, self.tau, scale)
        radius = torch.where(radius <= length, radius, length)  # NaN and ∞: as found
        nearer = radius < self.radius[rows]
        self.radius[rows] = torch.where(nearer, radius, self.radius[rows])
        moved = direction * radius.unsqueeze(1)
        self.u[rows] = torch.where(nearer.unsqueeze(1), moved, self.u[rows])
