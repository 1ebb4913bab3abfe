"""A form is covariant: for δ = s R u, with R orthogonal, G becomes s² Rᵀ G R.

The trace and the eigenvalues are those of G times s², and the worst direction turns
with R. The new coordinates are put *before the file*: x(u) = x + S s R u at u = 0, so
that the backward passes go through them and the file sees exactly the bits of x. (At
y = Rᵀ x instead, R y would differ from x in the last digit, which decides about ties:
a maximum of equal pixels has another derivative then, and no mistake is made.)

R is a product of two Householder reflections I − 2 w wᵀ, the w random and the same in
every run: a rotation that mixes all m features and costs 4 m products a row.

Reference:
    Golub & Van Loan, Matrix Computations (2013), section 5.1, for the reflections.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.geometry.divergence import Divergence
from audit.geometry.pullback import pull_back
from audit.linalg.decompose import decompose
from audit.linalg.stored import LinearOperator, Matrix
from audit.models.maps import AutogradMap, ReverseJacobian
from audit.models.opening import OpenModel
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.subject import Subject, largest

NAME = "rotation_and_scaling"
_SCALE = 0.5
_DOUBLE, _SINGLE = 1e-6, 1e-3
_SEED = 7


def rotation_and_scaling(it: Subject) -> Finding:
    """Compare every form with the same one in turned, stretched coordinates."""
    model, frame = it.in_double[0], it.questions.frame.at(it.inputs)
    if model.by_differences:
        return inapplicable(NAME, "derivatives are differences along the axes")
    forms = it.forms(model)
    if not forms or not len(it.inputs):
        return inapplicable(NAME, "there is no quadratic form to turn")
    turn = _rotation(len(frame.free), frame.unit.device)
    phi, jacobian = _turned(it, model, turn)
    law = model.density.family
    errors: dict[str, float] = {}
    for divergence, form in forms.items():
        other = pull_back(divergence, law, phi, jacobian, it.noise())
        if form.beyond is not None and bool(form.beyond.any()):
            continue
        before, after = (decompose(f, 1, model.rounding) for f in (form, other))
        errors |= _errors(divergence, before.trace.value, after.trace.value, "trace")
        errors |= _errors(
            divergence, before.eigenvalues[:, 0], after.eigenvalues[:, 0], "eigenvalue"
        )
        v = after.directions[:, :, 0]
        errors |= _errors(divergence, form(turn(v)), other(v), "form")
    if not errors:
        return inapplicable(NAME, "every form is infinite")
    name, worst = largest(errors)
    if worst <= (_DOUBLE if it.is_double else _SINGLE):
        return passed(
            NAME,
            f"turned coordinates give the same eigenvalues within {worst:.0e}",
            **errors,
        )
    return failed(
        NAME,
        f"{name} is {worst:.1e} off in turned and stretched coordinates: the "
        "derivative of the file is not linear",
        "audit with --method finite-difference, and report the operators (robaudit "
        "inspect lists them)",
        **errors,
    )


def _errors(
    divergence: Divergence, before: Tensor, after: Tensor, what: str
) -> dict[str, float]:
    """Return by how much a number is not s² times what it was, relatively."""
    expected = _SCALE**2 * before
    error = ((after - expected) / expected).abs().masked_fill(after == expected, 0.0)
    return {
        f"{divergence.name}.{what}": float(error.nan_to_num(torch.inf, torch.inf).max())
    }


@dataclass(frozen=True)
class _Rotation:
    """R = H₁ H₂ for reflections by unit vectors, the rows of `mirrors` [2, m]."""

    mirrors: Tensor

    def __call__(self, v: Tensor) -> Tensor:
        """Return R v for v [..., m]."""
        for w in self.mirrors.flip(0):
            v = v - 2 * (v @ w).unsqueeze(-1) * w
        return v

    def back(self, v: Tensor) -> Tensor:
        """Return Rᵀ v for v [..., m]."""
        return _Rotation(self.mirrors.flip(0))(v)


def _rotation(m: int, device: torch.device) -> _Rotation:
    """Return R; the identity in one dimension."""
    generator = torch.Generator().manual_seed(_SEED)
    w = torch.randn(2, m, generator=generator, dtype=torch.float64)
    return _Rotation((w / w.norm(dim=1, keepdim=True)).to(device))


def _turned(
    it: Subject, model: OpenModel, turn: _Rotation
) -> tuple[Tensor, LinearOperator]:
    """Return φ [n, p] and ∂φ/∂u [n, p, m] at u = 0."""
    x, held = model.rows(it.inputs)
    inner = model.density.parameter_map
    frame = it.questions.frame.at(it.inputs)
    if not isinstance(inner, AutogradMap):
        phi, jacobian = inner.linearize(x, held)
        entries = frame.pull(Matrix(jacobian.dense())).dense().double()
        return phi, Matrix(_SCALE * turn.back(entries))
    zero = x.new_zeros(len(x), len(frame.free), dtype=torch.float64)
    u = zero.requires_grad_()
    moved = x.double() + frame.push(_SCALE * turn(u))  # u -> x + S s R u
    moved = moved.to(inner.dtype).reshape(-1, *inner.event)
    phi = inner.function(moved, held)
    return phi.detach(), Matrix(ReverseJacobian(phi, u).dense())
