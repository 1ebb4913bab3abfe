"""The exact divergence of many candidates, with its gradient.

A candidate is an input's row and a perturbation u of it. With φ' = φ(x + S u) the
gradient of D(q_x ‖ q_{x+Su}) is Sᵀ Jᵀ ∂D/∂φ': one forward and one backward pass of the
network for all candidates together. ∂D/∂φ' is a closed form where the law states one;
it comes from autograd where the divergence's formula or quadrature carries it, else
from central differences in φ', 2 p values of D, which cost no pass of the network.
Where φ' has too many numbers for that and u has few, differences are taken in u. Which
of them, the first candidates tell: along that gradient D has to rise as fast as it
says, for most of them.

A file whose derivatives are differences of its own values (`finite-difference`) has no
gradient here: trees and quantised networks go in steps, and a slope says nothing.

A gradient only guides: what a witness is worth is computed anew, without any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.linalg.cotangents import pulled_back
from audit.models.maps import ReverseJacobian, RowByRow, seldom_alike
from audit.nodes.lines import watched
from audit.verify.exact import Exact
from audit.verify.sites import pass_rows

Slope = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""rows [C], u [C, m] -> D [C] and its gradient [C, m], 0 where it is no number."""
ROWS = 1024  # candidates in one pass
_PROBED = 64  # candidates that tell whether autograd can be believed
_PARAMETERS, _FEATURES = 24, 16  # whose differences are taken
_STEP = 1e-4  # of a number, or of 1 where it is smaller
_OFF = 0.02  # of a slope: more is another function's


def slope_of(exact: Exact, rows: Tensor, u: Tensor) -> Slope | None:
    """Return D with its gradient, as it proves right at some candidates.

    Args:
        exact: the divergence at a site.
        rows: each candidate's input [C].
        u: its perturbation [C, m].

    Returns:
        None where only values tell.
    """
    if exact.site.model.by_differences:
        return None
    few = min(_PROBED, pass_rows(exact.site.x.shape[1]))
    rows, u = rows[:few], u[:few]
    try:
        phi, jacobian = exact.site.linearized(rows, u)
    except (AuditError, RuntimeError):
        return None
    free = jacobian.shape[1]  # the rest of φ is context, and does not move
    if _autograd_is_right(exact, rows, phi):
        return Pulled(exact, _by_autograd)
    if free <= _PARAMETERS:
        return Pulled(exact, _by_differences)
    in_double = exact.site.model.network.dtype == torch.float64
    return _InFeatures(exact) if u.shape[1] <= _FEATURES and in_double else None


def cheap(exact: Exact, guide: Exact, rows: Tensor, u: Tensor) -> bool:
    """Tell whether a gradient takes about as much as a value, or is a few sums.

    Differences in φ' take 2 p values: too many where each is a quadrature, or a sum
    over many nodes. Whether it is, a value tells.

    Args:
        exact: the divergence at a site.
        guide: about the same, whose gradient is asked about.
        rows: some inputs [k].
        u: a perturbation of each [k, m].
    """
    slope = slope_of(guide, rows, u)
    if not isinstance(slope, Pulled):
        return False
    if slope.by_autograd:
        return True
    resolved: list[object] = []
    with watched(resolved):
        exact(rows[:1], u[:1].unsqueeze(1))
    return exact.light is None and not resolved


def in_passes(
    exact: Exact,
    part: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    rows: Tensor,
    u: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return D [C] and its gradient [C, m], of as many candidates at a time as fit."""
    size = min(ROWS, pass_rows(exact.site.x.shape[1]))
    with seldom_alike():
        parts = [
            part(rows[first : first + size], u[first : first + size])
            for first in range(0, len(rows), size)
        ]
    values, gradients = zip(*parts, strict=True)
    return torch.cat(values), torch.cat(gradients)


@dataclass(frozen=True)
class Pulled:
    """∂D/∂φ' by a function (exact, rows, φ' [C, P], p), pulled back to u."""

    exact: Exact
    of: Callable[[Exact, Tensor, Tensor, int], tuple[Tensor, Tensor]]

    def __call__(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return D [C] and its gradient [C, m]."""
        return in_passes(self.exact, self._part, rows, u)

    @property
    def by_autograd(self) -> bool:
        """Whether ∂D/∂φ' is autograd's."""
        return self.of is _by_autograd

    def _part(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        phi, jacobian = self.exact.site.linearized(rows, u)
        recorded = isinstance(jacobian, ReverseJacobian) and jacobian.shape[1]
        if self.of is _by_autograd and recorded == phi.shape[1]:
            value, pulled = at_once(self.exact, rows, jacobian)  # type: ignore[arg-type]
        else:
            value, gradient = self.of(self.exact, rows, phi, jacobian.shape[1])
            if isinstance(jacobian, ReverseJacobian):  # one pass, and not p of them
                jacobian = RowByRow(jacobian.phi, jacobian.x)
            pulled = jacobian.rmatmat(gradient.unsqueeze(2)).squeeze(2)
        frame = self.exact.site.frame.taken(rows)
        return value, numbers(frame.pulled_back(pulled))


@dataclass(frozen=True)
class _InFeatures:
    """Central differences in u, for few features of a law with many parameters."""

    exact: Exact

    def __call__(self, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return D [C] and its gradient [C, m]."""
        m = u.shape[1]
        step = _STEP * self.exact.site.lengths()[rows] / m**0.5
        moves = torch.eye(m).to(u) * step[:, None, None]
        here = u.unsqueeze(1)
        both = torch.cat([here, here + moves, here - moves], dim=1)
        values, _ = self.exact(rows, both)
        rise = values[:, 1 : m + 1] - values[:, m + 1 :]
        return values[:, 0], numbers(rise / (2 * step.unsqueeze(1)))


def at_once(
    exact: Exact, rows: Tensor, jacobian: ReverseJacobian, shift: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return D [C] and its gradient by x [C, d], in one backward pass for both maps.

    Args:
        exact: the divergence.
        rows: each candidate's input [C].
        jacobian: of φ' by x, with the graph.
        shift: what is added to φ' [C, p]; None: nothing.
    """
    here = jacobian.phi.detach() if shift is None else jacobian.phi.detach() + shift
    known = exact.sloped(rows, here)
    if known is not None:
        pulled = pulled_back(jacobian.phi, jacobian.x, known[1])
        found = torch.zeros_like(jacobian.x) if pulled is None else pulled
        return known[0], found.double()
    with torch.enable_grad():
        phi = jacobian.phi if shift is None else jacobian.phi + shift
    values, found = _backward(exact, rows, jacobian.x, phi)
    return values, found.double()


def numbers(gradient: Tensor) -> Tensor:
    """Return a gradient [C, m], 0 on every row that holds ∞ or NaN."""
    whole = torch.isfinite(gradient).all(dim=1, keepdim=True)
    return torch.where(whole, gradient, 0.0)


def _by_autograd(
    exact: Exact, rows: Tensor, phi: Tensor, moving: int
) -> tuple[Tensor, Tensor]:
    """Return D [C] and ∂D/∂φ' [C, p]; rows do not interact."""
    known = exact.sloped(rows, phi)
    if known is not None:
        return known[0], numbers(known[1][:, :moving])
    leaf = phi.detach().clone().requires_grad_()
    values, found = _backward(exact, rows, leaf, leaf)
    return values, numbers(found[:, :moving])


def _backward(
    exact: Exact, rows: Tensor, leaf: Tensor, phi: Tensor
) -> tuple[Tensor, Tensor]:
    """Return D at φ' [C, p], and its gradient by a leaf [C, …] that φ' is made of."""
    with torch.enable_grad():
        values, _ = exact.against(rows, phi.unsqueeze(1))
        finite = torch.where(torch.isfinite(values), values, 0.0)
        (gradient,) = torch.autograd.grad(finite.sum(), leaf, allow_unused=True)
    found = torch.zeros_like(leaf) if gradient is None else gradient
    return values.detach().squeeze(1), found


def _by_differences(
    exact: Exact, rows: Tensor, phi: Tensor, moving: int
) -> tuple[Tensor, Tensor]:
    """Return D [C] and ∂D/∂φ' [C, p] by central differences."""
    step = _STEP * phi[:, :moving].abs().clamp_min(1.0)
    moves = torch.nn.functional.pad(torch.diag_embed(step), (0, phi.shape[1] - moving))
    here = phi.unsqueeze(1)
    values, _ = exact.against(rows, torch.cat([here, here + moves, here - moves], 1))
    rise = values[:, 1 : moving + 1] - values[:, moving + 1 :]
    return values[:, 0], numbers(rise / (2 * step))


def _autograd_is_right(exact: Exact, rows: Tensor, phi: Tensor) -> bool:
    """Tell whether D rises along its own gradient as fast as that says."""
    moving = phi.shape[1]
    try:
        _, gradient = _by_autograd(exact, rows, phi, moving)
    except (AuditError, RuntimeError, NotImplementedError):
        return False  # no graph: the values are computed without one
    length = gradient.norm(dim=1, keepdim=True)
    step = _STEP * phi.abs().amax(dim=1, keepdim=True).clamp_min(1.0)
    move = gradient / length.clamp_min(1e-300) * step
    both = torch.stack([phi + move, phi - move], dim=1)
    values, _ = exact.against(rows, both)
    rise = (values[:, 0] - values[:, 1]) / (2 * step.squeeze(1))
    off = (rise / length.squeeze(1) - 1).abs()
    judged = off[torch.isfinite(off)]
    return len(judged) > 0 and float(judged.median()) <= _OFF
