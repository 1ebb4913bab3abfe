"""The inputs under verification, with everything needed to move them.

Everything runs in float64 where the file allows, since D is a difference of nearly
equal numbers. Where D is infinite, or φ(x + δ) belongs to no member of the family (a
scale below zero), its value is ∞. Where neither a sum nor a quadrature resolves it, it
is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.families.interface import Family
from audit.families.references import Reference
from audit.geometry.divergences import Divergence
from audit.geometry.frame import Frame
from audit.ground.errors import AuditError, cause
from audit.linalg.stored import LinearOperator
from audit.measure import Point, Questions
from audit.measure.point import framed_whole
from audit.models.density import Linearized
from audit.models.opening import OpenModel
from audit.models.swept_products import with_products
from audit.nodes.noise import Noise

_MOVED_BYTES = 2**27  # of perturbed inputs, or of their φ, at the same time
_PASS = 1024  # of them in one pass of the network, and of wide ones no more than
_PASS_NUMBERS = 2**22  # numbers together
_LARGE, _LARGE_NUMBERS = 2**16, 2**19  # the same of large ones: caches hold no more
_FEW, _FEWER = 1024, 256  # nodes of the same law for all values, and anew for each
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


@dataclass(frozen=True)
class Exact:
    """Exact divergences from the laws of a site.

    Args:
        slope: (φ, φ') -> ∂D/∂φ' [C, p] in closed form; None where it is not known.
        finite: whether they are numbers wherever the supports are the same.
    """

    site: Site
    laws: Reference
    slope: Callable[[Tensor, Tensor], Tensor | None] | None = field(
        default=None, kw_only=True
    )
    finite: bool = field(default=False, kw_only=True)

    @cached_property
    def light(self) -> Exact | None:
        """The same by few nodes of q_x where that is far less, with errors."""
        return self._lighter(_FEW, fresh=False)

    def anew(self) -> Exact | None:
        """Return the same by few nodes, others for each value; None as for `light`.

        The mean over many values has no more error than their spread tells.
        """
        return self._lighter(_FEWER, fresh=True)

    def _lighter(self, points: int, fresh: bool) -> Exact | None:
        laws = self.laws.lighter(points, fresh) if self.finite else None
        return None if laws is None else Exact(self.site, laws, finite=True)

    def __call__(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_x ‖ q_{x+Su}) [k, K] and its error.

        Args:
            rows: of the site's inputs [k].
            u: perturbations [k, K, m].
        """
        k, count, _ = u.shape
        wide = max(self.site.x.shape[1], self.site.point.phi.shape[1])
        at_once = max(1, _MOVED_BYTES // (8 * max(1, k) * wide))
        parts = [
            self._part(rows, u[:, first : first + at_once])
            for first in range(0, count, at_once)
        ]
        values, errors = zip(*parts, strict=True)
        return torch.cat(values, dim=1), torch.cat(errors, dim=1)

    def _part(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.against(rows, self.site.moved(rows, u))

    def against(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_φ ‖ q_φ') [k, K] and its error, for φ' [k, K, p] of some inputs.

        A gradient that φ' requires passes, where the divergence's values carry it.
        """
        point = self.site.point
        apart = outside(point.family, others.detach())
        own = point.phi[rows].unsqueeze(1)
        others = torch.where(apart.unsqueeze(-1), own, others)
        values, errors = self.laws(rows, others)
        return values.masked_fill(apart, torch.inf), errors.masked_fill(apart, 0.0)

    def sloped(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return D(q_φ ‖ q_φ') [C] and ∂D/∂φ' [C, p] in closed form, for φ' [C, p].

        Where D is not finite the slopes are zero. None where no closed form is known.
        """
        if self.slope is None:
            return None
        with torch.no_grad():
            found = self.slope(self.site.point.phi[rows], others)
            if found is None:
                return None
            values, _ = self.against(rows, others.unsqueeze(1))
            return values.squeeze(1), torch.where(torch.isfinite(values), found, 0.0)


@dataclass(frozen=True)
class Attained(Exact):
    """Where a bounded divergence is as large as it can be: 2 τ there, else 0.

    Laws far apart are at the bound by rounding; only those without common support
    reach it, and leaving the family is no such thing.

    Args:
        bound: of the divergence. tau: what has to be reached, at least the bound.
    """

    bound: float
    tau: float

    def against(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return 2 τ at the bound itself where that is τ, else 0, without an error."""
        values, errors = super().against(rows, others)
        there = (values == self.bound) & (self.tau <= self.bound)
        return torch.where(there, 2 * self.tau, 0.0), torch.zeros_like(errors)


def exact_at(divergence: Divergence, site: Site) -> Exact | None:
    """Return exact divergences at a site.

    Returns:
        None where the divergence can be neither computed nor estimated.
    """
    point = site.point
    laws = point.family.reference(divergence, point.phi, site.noise)
    if laws is None:
        return None
    known = divergence.slope
    slope = None if known is None else partial(known, point.family)
    return Exact(site, laws, slope=slope, finite=divergence.finite)


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
    return max(1, _MOVED_BYTES // (8 * 64 * wide))


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


def outside(family: Family, others: Tensor) -> Tensor:
    """Return where φ [n, K, p] is no member; of a matrix, its symmetric part counts."""
    phi = others.flatten(0, 1)
    found = [torch.isnan(phi).any(dim=1)]
    found += family.violations(family.pack(family.unpack(phi))).values()
    return torch.stack(found).any(dim=0).reshape(others.shape[:2])
