"""The inputs under verification, with everything needed to move them.

Everything runs in float64 where the file allows, since D is a difference of nearly
equal numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.geometry.frame import Frame
from audit.ground.errors import AuditError, cause
from audit.linalg.stored import LinearOperator
from audit.measure import Point, Questions
from audit.measure.point import framed_whole
from audit.models.density import Linearized
from audit.models.opening import OpenModel
from audit.models.swept_products import with_products
from audit.nodes.noise import Noise

MOVED_BYTES = 2**27  # of perturbed inputs, or of their φ, at the same time
_PASS = 1024  # of them in one pass of the network, and of wide ones no more than
_PASS_NUMBERS = 2**22  # numbers together
_LARGE, _LARGE_NUMBERS = 2**16, 2**19  # the same of large ones: caches hold no more
Notes = tuple[tuple[str, str], ...]  # (code, message)


@dataclass(frozen=True)
class Site:
    """Some inputs, and how to move them.

    Args:
        model: the open model. questions: with the frame of perturbations.
        point: φ and its Jacobian in the frame.
        x: [n, d]. held: what is not perturbed. noise: of the inputs.
        coarse: the same model in the file's own precision, which may guide a search
            where it is faster, or stand for it in means that are corrected (`rough`);
            None where there is none.
    """

    model: OpenModel
    questions: Questions
    point: Point
    x: Tensor
    held: Mapping[str, Tensor]
    noise: Noise
    coarse: OpenModel | None = None

    @cached_property
    def frame(self) -> Frame:
        """That of the inputs."""
        return self.questions.frame.at(self.point.index)

    @property
    def free(self) -> int:
        """The number m of features that move."""
        return len(self.questions.frame.free)

    def with_draws(self, draws: int) -> Site:
        """Return the site with another number of draws of θ."""
        return replace(self, noise=self.noise.with_draws(draws))

    def lengths(self) -> Tensor:
        """Return the inputs' own norms [n] in units of the perturbation; 1 for 0."""
        return lengths_of(self.frame, self.x)

    def linearized(self, rows: Tensor, u: Tensor) -> tuple[Tensor, LinearOperator]:
        """Return φ(x + S u) [C, p] of some inputs [C], for u [C, m], and J [C, p, d].

        J is with respect to x, before the frame. All C are in one pass of the network.
        """
        x = self.x[rows].double() + self.frame.taken(rows).push(u)
        held = {name: values[rows] for name, values in self.held.items()}
        return self.model.density.parameter_map.linearize(x, held)

    def moved(self, rows: Tensor, u: Tensor) -> Tensor:
        """Return φ(x + S u) [k, K, p] of some inputs [k], for u [k, K, m]."""
        delta = self.frame.taken(rows).push(u)
        k, count, d = delta.shape
        x = (self.x[rows].double().unsqueeze(1) + delta).reshape(k * count, d)
        held = {
            name: values[rows].repeat_interleave(count, dim=0)
            for name, values in self.held.items()
        }
        size = pass_rows(d)
        parts = [
            self.model.density.parameter_map(
                x[i : i + size], {name: v[i : i + size] for name, v in held.items()}
            )
            for i in range(0, k * count, size)
        ]
        return torch.cat(parts).reshape(k, count, -1)


def lengths_of(frame: Frame, x: Tensor) -> Tensor:
    """Return the norms [n] of inputs in units of the perturbation; 1 for 0."""
    norms = frame.in_units(x.double()).norm(dim=1)
    return torch.where(norms > 0, norms, 1.0)


def site_of(
    model: OpenModel,
    questions: Questions,
    index: NDArray[np.int64],
    coarse: OpenModel | None = None,
) -> Site:
    """Return the inputs `index` of a model, ready to be moved.

    Exact values may cost a pass of the file for each draw, so they are taken with fewer
    draws than the form where the law asks for that.

    Args:
        model: as it is verified.
        questions: what was asked of it.
        index: of the inputs.
        coarse: the model in the file's own precision, if that is another.
    """
    return site_at(model, questions, index, *model.rows(index), coarse)


def site_at(
    model: OpenModel,
    questions: Questions,
    index: NDArray[np.int64],
    x: Tensor,
    held: Mapping[str, Tensor],
    coarse: OpenModel | None = None,
) -> Site:
    """Return the inputs `index` at x [n, d], which may be beside their own."""
    noise = questions.noise(index)
    phi, jacobian = derivative_of(model, questions).linearize(x, held)
    framed = framed_whole(jacobian, questions, noise)
    point = Point(index, model.density.family, phi, framed, model.rounding)
    noise = model.density.family.few(noise)
    return Site(model, questions, point, x, held, noise, coarse)


def derivative_of(model: OpenModel, questions: Questions) -> Linearized:
    """Return what gives φ and J: by the sweep's products where these are to do."""
    if questions.matrix_free and model.products is not None:
        return model.products
    return model.density.parameter_map


def pass_rows(d: int) -> int:
    """Return how many inputs of d features go through the network at once."""
    numbers = _PASS_NUMBERS if d <= _LARGE else _LARGE_NUMBERS
    return max(1, min(_PASS, numbers // d))


def rows_at_once(model: OpenModel) -> int:
    """Return how many inputs make a site, so that a few moves of each fit."""
    wide = max(model.density.d, model.density.family.size)
    return max(1, MOVED_BYTES // (8 * 64 * wide))


def precise(model: OpenModel) -> tuple[OpenModel, Notes]:
    """Return the model in float64; as it is, with a note, where it cannot run so."""
    try:
        double = model.in_float64()
        swept = model.products is not None and double.products is None
        return with_products(double) if swept else double, ()
    except (AuditError, RuntimeError) as error:
        reason = cause(error).rstrip(".")
        own = str(model.network.dtype).removeprefix("torch.")
        note = (
            f"exact values were taken in {own}: the file does not run in float64 "
            f"({reason}); those of small perturbations are blurred by rounding"
        )
        return model, (("verified_in_own_precision", note),)
