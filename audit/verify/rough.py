"""The exact divergence of many perturbations, and its gradient, in the file's float32.

A gradient only guides, and a mean over many values is corrected by a few
(`paired_values`); half the digits cost a third to half of the time where the network
does most of the work. The law stays in float64, and so does q_x: with φ₃₂ for the
network in float32,

    φ' ≈ φ₃₂(x + S u) + (φ(x) − φ₃₂(x)),

whose error is that of the difference φ₃₂(x + S u) − φ₃₂(x), about 10⁻⁷ of φ. It is 0 at
u = 0, as D is. A gradient that is off by an angle a loses a² of D. What a witness is
worth is computed in float64 (`witness`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.models.maps import ReverseJacobian
from audit.models.opening import OpenModel
from audit.verify.exact import Exact
from audit.verify.sites import Site
from audit.verify.slopes import at_once, in_passes, numbers

Values = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # rows, u -> D, error
_WORK = 2**15  # multiply-adds of an input; where there are fewer the law costs more
_ALIKE, _COMPILED = 16, 2**23
"""Candidates are a multiple of the next power of two over so many, the first one again
where they are not: kernels for float32 are compiled for each number that is seen, in
the time of so many multiply-adds at least, which the copies are not to exceed."""
_EQUAL = 256  # perturbed inputs: many are a multiple of about as many
_NEAR = 1e-3  # of φ, or of 1 where it is smaller: further off is not rounding


@dataclass(frozen=True)
class Rough:
    """D and its gradient by one forward and one backward pass in float32.

    Args:
        exact: the divergence. model: the file in float32.
        shift: φ(x) − φ₃₂(x) [n, p].
    """

    exact: Exact
    model: OpenModel
    shift: Tensor

    def __call__(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return D [C] and its gradient [C, m]."""
        count = len(rows)
        more = -count % max(1, 2 ** count.bit_length() // _ALIKE)
        more = more if more * self.model.work <= _COMPILED else 0
        rows = torch.cat([rows, rows[:1].expand(more)])
        u = torch.cat([u, u[:1].expand(more, -1)])
        value, gradient = in_passes(self.exact, self._part, rows, u)
        return value[:count], gradient[:count]

    def values(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return D [k, K] and its own error at some inputs [k], for u [k, K, m].

        Inputs are repeated as candidates are, for the same reason.
        """
        k, count, _ = u.shape
        more = -k % -(-_EQUAL // count)
        more = more if more * count * self.model.work <= _COMPILED else 0
        wide = torch.cat([rows, rows[:1].expand(more)])
        u = torch.cat([u, u[:1].expand(more, -1, -1)])
        others = self.site.moved(wide, u)[:k] + self.shift[rows].unsqueeze(1)
        return self.exact.against(rows, others)

    @cached_property
    def site(self) -> Site:
        """The site with the file in float32."""
        return replace(self.exact.site, model=self.model)

    def _part(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        site, frame = self.exact.site, self.exact.site.frame.taken(rows)
        x = site.x[rows].double() + frame.push(u)
        held = {name: values[rows] for name, values in site.held.items()}
        _, jacobian = self.model.density.parameter_map.linearize(x, held)
        assert isinstance(jacobian, ReverseJacobian)  # as `rough` has seen
        value, pulled = at_once(self.exact, rows, jacobian, self.shift[rows])
        return value, numbers(frame.pulled_back(pulled))


def rough(exact: Exact) -> Rough | None:
    """Return D and its gradient in float32; None where the file has no such thing.

    Args:
        exact: the divergence at a site whose model runs in float64.
    """
    site = exact.site
    model = site.coarse
    if model is None or model.network.dtype != torch.float32:
        return None
    if not model.takes(_WORK):
        return None
    try:
        phi, jacobian = model.density.parameter_map.linearize(site.x, site.held)
    except (AuditError, RuntimeError):
        return None
    shift = site.point.phi - phi
    near = shift.abs() <= _NEAR * site.point.phi.abs().clamp_min(1.0)
    recorded = isinstance(jacobian, ReverseJacobian) and jacobian.shape[1]
    whole = recorded == phi.shape[1] and bool(near.all())
    return Rough(exact, model, shift) if whole else None
