"""What the checks look at: a model, what is asked of it, and a few of its inputs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.families.interface import Family
from audit.geometry.divergence import Divergence
from audit.ground.distinct import distinct
from audit.linalg.quadratic_form import QuadraticForm
from audit.measure import Point, Questions, linear_law
from audit.measure.point import Roots, in_frame, linearized
from audit.models.opening import OpenModel
from audit.nodes.noise import Noise
from audit.verify.sites import Notes, precise

INPUTS = 3
"""How many inputs the checks of a form look at."""
_CANDIDATES = 32  # rows, of which these are the first that can be measured
_DRAWS = 256  # where each costs a pass of the file
_MOST, _NUMBERS, _PART = 2000, 2**23, 64  # rows and numbers compared; rows at once


@dataclass(frozen=True)
class Subject:
    """A model under test.

    Args:
        model: open, as a scan runs it.
        questions: what a scan would ask.
        index: of the inputs that a scan would audit, ascending.
        targets: the data's own θ at `index` [n, ...], where there are any.
    """

    model: OpenModel
    questions: Questions
    index: NDArray[np.int64]
    targets: NDArray[np.generic] | None = None

    @property
    def family(self) -> Family:
        """The law of the outputs, with the model as it is."""
        return self.model.density.family

    @cached_property
    def in_double(self) -> tuple[OpenModel, Notes]:
        """The model in float64; as it is, and why, where it does not run so."""
        return precise(self.model)

    @property
    def is_double(self) -> bool:
        """Whether the checks of a form run in float64."""
        return self.in_double[0].network.dtype == torch.float64

    @cached_property
    def inputs(self) -> NDArray[np.int64]:
        """Up to three inputs [n] that can be measured, spread over those audited."""
        rows = self.spread(_CANDIDATES)
        rows = rows[self.model.inputs.finite(rows)]
        if not len(rows):
            return rows
        still = self.questions.frame.at(rows).still().cpu().numpy()
        rows = np.asarray(rows[~np.broadcast_to(still, len(rows))])
        if not len(rows):
            return rows
        phi = self.model.density.parameter_map(*self.model.rows(rows))
        kept = rows[~outside(self.family, phi).cpu().numpy()]
        chosen = np.linspace(0, len(kept) - 1, min(len(kept), INPUTS))
        return np.asarray(kept[chosen.round().astype(np.int64)])

    def spread(self, most: int) -> NDArray[np.int64]:
        """Return at most so many of the indices, evenly spread."""
        places = np.linspace(0, len(self.index) - 1, min(len(self.index), most))
        return np.asarray(self.index[distinct(places.round().astype(np.int64))])

    def noise(self) -> Noise:
        """Return the randomness of the inputs, of few draws where these are dear."""
        return self._asked.noise(self.inputs)

    @property
    def _asked(self) -> Questions:
        draws = self.questions.draws
        few = draws if self.family.parametric else min(draws, _DRAWS)
        return replace(self.questions, draws=few, rel_error=None)

    def point(self, model: OpenModel) -> Point:
        """Return φ and its Jacobian in the frame, at the inputs, by a model."""
        phi, rows, _ = linearized(model, self._asked, self.inputs)
        noise = self.questions.noise(self.inputs)
        framed = in_frame(rows, self.questions.frame, noise)
        family = model.density.family
        return Point(self.inputs, family, phi, framed, model.rounding)

    def forms(self, model: OpenModel) -> dict[Divergence, QuadraticForm]:
        """Return the local forms at the inputs, without the linear laws."""
        point = self.point(model)
        roots = Roots(point, self.noise())
        return {
            divergence: roots.form(divergence)
            for divergence in self.questions.divergences
            if linear_law(divergence, point) is None
        }

    def outputs(self) -> Tensor:
        """Return φ [n, p] of up to 32 of the rows that the gates looked at."""
        return self.model.subject.parameters(self.model.subject.outputs)


def repeated(it: Subject) -> str:
    """Return how many of the inputs are repeated ones; "" where none is.

    A model gives equal rows equal numbers, so that is no mistake of the file. It is one
    of intervals over inputs, which take N of them for N draws.
    """
    arrays = it.model.inputs.arrays
    width = sum(math.prod(array.shape[1:]) for array in arrays.values())
    index = it.spread(min(_MOST, max(_NUMBERS // max(width, 1), 1)))
    digests: set[bytes] = set()
    for part in np.split(index, range(_PART, len(index), _PART)):
        taken = [it.model.inputs.take(name, part) for name in arrays]
        for row in zip(*taken, strict=True):
            joined = b"".join(np.ascontiguousarray(one).tobytes() for one in row)
            digests.add(hashlib.sha256(joined).digest())
    if len(digests) == len(index):
        return ""
    looked = "" if len(index) == len(it.index) else " that were looked at"
    return (
        f"only {len(digests)} of {len(index)} inputs{looked} are distinct: intervals "
        "over inputs take all of them for independent ones"
    )


def outside(family: Family, phi: Tensor) -> Tensor:
    """Return where φ [n, p] is no member of the family [n]."""
    lost = torch.isnan(phi).any(dim=1)
    for wrong in family.violations(phi).values():
        lost = lost | wrong
    return lost


def largest(errors: Mapping[str, float]) -> tuple[str, float]:
    """Return the name and the value of the largest error; NaN is the largest of all."""
    worst = max(errors, key=lambda name: (errors[name] != errors[name], errors[name]))
    return worst, errors[worst]


def with_unit_image(root: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return w [n, K, p] scaled so that |B w| = 1, and where it can be [n, K]."""
    lengths = (root @ w.mT).norm(dim=1)
    usable = torch.isfinite(lengths) & (lengths > 0)
    return w / torch.where(usable, lengths, 1.0).unsqueeze(-1), usable
