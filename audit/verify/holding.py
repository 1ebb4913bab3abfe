"""When does a replayed witness hold?

Where D and the length of δ are what the file says, as far as anybody could tell:

    |D − D_file| ≤ 10⁻⁵ D_file + r        and        ‖u‖_p ≤ ε (1 + 10⁻⁵)

with δ = S u. r is what rounding of φ and φ' alone can do to D: both by four units in
the last place of the type that the referee computes in,

    r = Σ_j 4 ε |∂D/∂φ'_j| (|φ_j| + |φ'_j|),

since to first order D changes with φ as it does with φ', and the other way. Where D is
near zero that is more than 10⁻⁵ of it, and no runtime in that type could tell. ∞ holds
where the referee finds ∞.

Of a saturated probability the last digits are all that D rests on: in float32 1 − p is
0 or 6·10⁻⁸, and log(1 − p) no function that goes straight from one to the other. There
the numbers themselves decide. Each that the file says, and that is the referee's within
four units in the last place, is put in the referee's place; if D is then what the file
says, the referee does not contradict it, and cannot confirm it either. Such a witness
holds, and is counted as one that holds only to the last digits.

What the file says of φ and φ' has to be what the referee
finds, too, within the tolerance of the gate that compares the two runs of a model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.families.interface import Family
from audit.geometry.divergence import Divergence
from audit.nodes.noise import Noise
from audit.verify.witness_file import WitnessFile, value_of

TOLERANCE = 1e-5
"""How far D may be off, of itself."""
_ULPS = 4.0
_STEP = 1e-5  # of a parameter, or of 1 where it is smaller


@dataclass(frozen=True)
class Again:
    """The predictions of a referee at W witnesses of one divergence.

    Args:
        divergence: it.
        family: of the laws.
        phi: φ(x) [W, p].
        moved: φ(x + δ) [W, p].
        noise: of the rows.
        dtype: the type in which the referee computes.
        tolerance: up to which two runs of a model agree, of a parameter's size.
    """

    divergence: Divergence
    family: Family
    phi: Tensor
    moved: Tensor
    noise: Noise
    dtype: torch.dtype
    tolerance: float

    def value(self, moved: Tensor) -> Tensor:
        """Return D [W] from φ(x) to other parameters [W, p]."""
        found = value_of(self.divergence, self.family, self.phi, moved, self.noise)
        return found[0]

    def rounding(self) -> Tensor:
        """Return what the last digits of φ and φ' can do to D [W]; 0 where it is ∞."""
        total = torch.zeros(len(self.phi)).to(self.phi)
        size = (self.phi.abs() + self.moved.abs()).nan_to_num(0.0, 0.0, 0.0)
        for j in range(self.phi.shape[1]):
            step = torch.zeros_like(self.moved)
            step[:, j] = _STEP * self.moved[:, j].abs().clamp_min(1.0)
            rise = self.value(self.moved + step) - self.value(self.moved - step)
            slope = rise.abs() / (2 * step[:, j])
            total += slope.nan_to_num(0.0, 0.0, 0.0) * size[:, j]
        return _ULPS * torch.finfo(self.dtype).eps * total

    def as_said(self, phi: Tensor, moved: Tensor) -> Again:
        """Return the same with what the file says [W, p], where that is rounding."""

        def nearest(ours: Tensor, said: Tensor) -> Tensor:
            limit = _ULPS * torch.finfo(self.dtype).eps * ours.abs()
            return torch.where((ours - said).abs() <= limit, said.to(ours), ours)

        return replace(
            self, phi=nearest(self.phi, phi), moved=nearest(self.moved, moved)
        )

    def differs(self, ours: Tensor, said: Tensor) -> Tensor:
        """Tell which predictions [W] are not what the file says [W, p]."""
        said = said.to(ours)
        finite = said[torch.isfinite(said).all(dim=1)]
        usual = finite.square().mean(dim=0).sqrt() if len(finite) else 1.0
        limit = self.tolerance * said.abs().clamp_min(usual)
        limit = limit.masked_fill(said.isinf(), 0.0)  # ∞ is equal or another
        both = ours.isnan() & said.isnan()
        return ~((ours == said) | both | ((ours - said).abs() <= limit)).all(dim=1)


@dataclass(frozen=True)
class Held:
    """What became of W witnesses: how far D is off, of itself, and what is wrong.

    Shapes: off [W]; wrong: reason -> where [W]; blurred: which hold only to the last
    digits of the predictions [W].
    """

    off: Tensor
    wrong: dict[str, Tensor]
    blurred: Tensor


def held(file: WitnessFile, again: Again, rows: Tensor) -> Held:
    """Return what became of some rows of a file.

    Args:
        file: the witnesses.
        again: what the referee finds at these rows.
        rows: which [W].
    """

    def said(name: str) -> Tensor:
        return torch.from_numpy(file.columns[name])[rows].to(again.phi.device)

    wanted = said("value")
    off, near = _compared(again, wanted)
    blurred = torch.zeros_like(near)
    if not bool(near.all()):
        least, blurred = _compared(
            again.as_said(said("phi"), said("phi_moved")), wanted
        )
        blurred &= ~near
        off = torch.where(blurred, least, off)
    wrong = {
        "D is another": ~(near | blurred),
        "φ(x) is another": again.differs(again.phi, said("phi")),
        "φ(x + δ) is another": again.differs(again.moved, said("phi_moved")),
        "δ is longer than its size": ~(
            file.lengths(rows)
            <= (1 + TOLERANCE) * torch.from_numpy(file.columns["size"])[rows]
        ),
    }
    relative = torch.where(off == 0, 0.0, off / wanted.abs().clamp_min(1e-300))
    where = {why: at.to(off.device) for why, at in wrong.items()}
    return Held(relative.nan_to_num(torch.inf), where, blurred)


def _compared(again: Again, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far D is off [W], and where it is what was wanted [W]."""
    value = again.value(again.moved)
    off = torch.where(value == wanted, 0.0, (value - wanted).abs())
    limit = TOLERANCE * wanted.abs() + again.rounding()
    return off, (value == wanted) | (off <= limit) & wanted.isfinite()
