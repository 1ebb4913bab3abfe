"""Is there a witness just beneath a radius? A search from all starts, until it fails.

A radius that was lowered along one hill is right for that hill. Others may reach τ
nearer, and a start that looks poor after a step may lead to one. So at the end all
starts climb in a ball a little smaller than the radius. What they find is shrunk, and
they climb again beneath it; where they find nothing the radius stands.

Where no radius is known, or only one far beyond the input's own length, the largest
ball has many hills, most of them far from the nearest: there smaller ones are searched
too, with more effort.

On small random networks (tanh, ReLU, sine; 2 to 5 features; 24 of them, 504 radii) an
independent ascent of 200 starts found 49 radii to be more than 2 % too large without
this, some of them ∞, and 8 with it, six of these beyond 3 of the input's lengths.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from audit.verify.exact import Exact
from audit.verify.local import LocalLaw
from audit.verify.witness import Effort, Witness, ascend

TRIES = 3
_BENEATH = 0.985  # of a radius
_FAR = 3.0  # times an input's length, or 1: what is so far may not be the first
_SIZES = (1.0, 3.0, 10.0)  # of an input's length, or of 1, where it is
_NEAR_EFFORT, _FAR_EFFORT = Effort(4, 4, 8, 8, 1), Effort(6, 6, 10, 12, 2)


def beneath(
    exact: Exact, local: LocalLaw, radius: Tensor, u: Tensor, asked: Tensor
) -> Iterator[tuple[Tensor, Witness]]:
    """Return witnesses beneath radii, and of which inputs they are.

    Args:
        exact: the divergence.
        local: its local law.
        radius: known so far [n]; ∞ where none is.
        u: where it was found [n, m]; zeros where it was along ±v.
        asked: which inputs are asked about [n].
    """
    length = exact.site.lengths().clamp_min(1.0)
    far = radius > _FAR * length
    for there, effort in ((asked & ~far, _NEAR_EFFORT), (asked & far, _FAR_EFFORT)):
        rows = there.nonzero()[:, 0]
        if not len(rows):
            continue
        sizes = _BENEATH * radius[rows].unsqueeze(1)
        if effort is _FAR_EFFORT:
            own = length[rows].unsqueeze(1) * radius.new_tensor(_SIZES)
            sizes = torch.minimum(own, sizes)
        given = u[rows].unsqueeze(1)
        yield rows, ascend(exact, local, sizes, effort=effort, given=given, rows=rows)
