"""Student's t.

θ = μ + σ Q_ν(u). Location and scale separate from the shape:

    F   μμ (ν+1)/((ν+3)σ²),  σσ 2ν/((ν+3)σ²),  νσ −2/(σ(ν+1)(ν+3)),
        νν ¼[ψ'(ν/2) − ψ'((ν+1)/2)] − (ν+5)/(2ν(ν+1)(ν+3))
    G   μμ 1,  σσ ν/(ν−2),  νσ −σ/(ν−2)²,  νν σ² g(ν) by quadrature          (ν > 2)

So does E(T − T')², which needs the distance of two standard laws (`student_shapes`).

νν is of order ν⁻⁴, a difference of terms of order ν⁻². The leading ones are subtracted
by hand: (ν+1)/2ν³ − (ν+5)/(2ν(ν+1)(ν+3)) = (7ν+3)/(2ν³(ν+1)(ν+3)). For the same reason
log density and score are written in w = z²/ν.

Close above ν = 2 the second moment hangs on tails beyond any floating-point number, as
the whole mass does for a small ν. So g(ν) and divergences are integrated in
y = arsinh z (`arsinh_student`). Nearer to 2 than `least_index` even that would take
thousands of panels, and the transport tensor is NaN.

Source: Lange, Little & Taylor, Journal of the American Statistical Association 84
(1989), appendix B, for F.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families import quadrature
from audit.families.affine import Affine
from audit.families.arsinh_student import ArsinhStudent
from audit.families.continuous import HEAVY, STAND_IN, Continuous
from audit.families.integrands import Integrand
from audit.families.location_scale import standardised
from audit.families.quantile_distance import quantile_distance
from audit.families.roots import semidefinite_root, symmetric
from audit.families.student_shapes import shape_distance
from audit.families.student_trapezoid import trapezoidal
from audit.families.torch_laws import OfTorch
from audit.families.univariate import Parameters
from audit.nodes.lines import Line
from audit.nodes.special import digamma_step, lgamma_step, trigamma, trigamma_step


class StudentT(OfTorch, Continuous):
    """Student-t coordinates; `loc` and `scale` in units of θ, `df` without.

    Density: Γ((ν+1)/2) / (Γ(ν/2) √(νπ) σ) · (1 + z²/ν)^(−(ν+1)/2), z = (θ − loc)/σ, ν =
    `df`, σ = `scale`.

    Fisher information: loc loc (ν+1)/((ν+3)σ²), σσ 2ν/((ν+3)σ²), νσ −2/(σ(ν+1)(ν+3)),
    νν ¼[ψ'(ν/2) − ψ'((ν+1)/2)] − (ν+5)/(2ν(ν+1)(ν+3)), else 0.
    """

    torch_law = td.StudentT
    parameterizations = (("df", "loc", "scale"),)
    positive = ("df", "scale")
    location = "loc"
    under_affine: ClassVar[Mapping[str, Affine]] = {
        "loc": Affine.SHIFTS,
        "scale": Affine.STRETCHES,
    }
    least_index = 2.04

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return location and scale."""
        _, loc, scale = parameters
        return loc, scale

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return −½(ν+1) ln(1+w) − ln σ and the constant, without cancellation."""
        df, loc, scale = rows.unbind(-1)
        w = ((y - loc) / scale).square() / df
        constant = lgamma_step(df) - math.log(2 * math.pi) / 2 - scale.log()
        return constant - (df + 1) / 2 * torch.log1p(w)

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the score of (df, loc, scale) in closed form."""
        df, loc, scale = rows.unsqueeze(1).unbind(-1)
        z = (y - loc) / scale
        w = z.square() / df
        share = w / (1 + w)
        shape = digamma_step(df) - torch.log1p(w) + share + share / df
        pull = (df + 1) / df * z / (1 + w)
        return torch.stack([shape / 2, pull / scale, (z * pull - 1) / scale], dim=-1)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of the Fisher information of (df, loc, scale)."""
        df, _, scale = parameters
        tensor = symmetric(
            {
                (0, 0): df_information(df),
                (0, 2): -2 / ((df + 1) * (df + 3)),
                (1, 1): (df + 1) / (df + 3),
                (2, 2): 2 * df / (df + 3),
            }
        )
        units = torch.stack([torch.ones_like(df), 1 / scale, 1 / scale], dim=-1)
        return semidefinite_root(tensor) * units.unsqueeze(-2)

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root of the transport tensor; infinite for df ≤ 2."""
        df, _, scale = parameters
        tensor = symmetric(
            {
                (0, 0): _shape_transport(self.resolvable(parameters)[0]),
                (0, 2): -1 / (df - 2).square(),
                (1, 1): torch.ones_like(df),
                (2, 2): df / (df - 2),
            }
        )
        units = torch.stack([scale, torch.ones_like(df), torch.ones_like(df)], dim=-1)
        block = semidefinite_root(tensor) * units.unsqueeze(-2)
        return self.unless_infinite(parameters, block)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return Δμ² + Δσ(Δσ m + σ' Δm) + σσ' D(ν, ν'), m = ν/(ν − 2).

        D is `shape_distance`; σ is the unit of all but Δμ. NaN as for other laws, where
        the shapes differ and a tail is too heavy.
        """
        (df, loc, scale), (other_df, other_loc, other) = left, right
        stretch, ratio = (other - scale) / scale, other / scale
        square = df / (df - 2)
        growth = 2 * (df - other_df) / ((df - 2) * (other_df - 2))
        apart = stretch * (stretch * square + ratio * growth)
        apart = apart + ratio * self._shapes_apart(df, other_df)
        return (other_loc - loc).square() + scale.square() * apart

    def _shapes_apart(self, df: Tensor, other: Tensor) -> Tensor:
        """Return D(ν, ν') [...]; NaN where a tail is too heavy, unless both are one."""
        heavy = torch.minimum(df, other) < 2 + HEAVY
        ours, theirs = (value.masked_fill(heavy, STAND_IN) for value in (df, other))
        flat = shape_distance(ours.flatten(), theirs.flatten(), _by_quadrature)
        lost = heavy & (df != other)
        return flat.reshape(df.shape).masked_fill(lost, torch.nan)

    def comparable(
        self, left: Parameters, right: Parameters
    ) -> tuple[Line, Parameters, Parameters]:
        """Return the laws in y = arsinh (θ − μ₁)/σ₁: their tails end there."""
        ours, theirs = standardised(left[1:], right[1:])
        return ArsinhStudent(), (left[0], *ours), (right[0], *theirs)

    def _divergence(
        self, left: Parameters, right: Parameters, integrand: Integrand
    ) -> Tensor:
        """Return a divergence [...] by the trapezoidal rule, where that is enough."""
        if integrand.tilt > 1:  # tails may not end
            return super()._divergence(left, right, integrand)
        flat = trapezoidal(left, right, integrand)
        rest = flat.isnan().nonzero()[:, 0]
        if len(rest):
            left_rest, right_rest = (
                tuple(part.flatten()[rest] for part in law) for law in (left, right)
            )
            flat[rest] = super()._divergence(left_rest, right_rest, integrand)
        return flat.reshape(left[0].shape)

    def tail_index(self, parameters: Parameters) -> Tensor:
        """Return df."""
        return parameters[0]

    def exponential_index(self, parameters: Parameters) -> Tensor:
        """Return 0: no power of e^θ has a mean."""
        return torch.zeros_like(parameters[0])


def df_information(df: Tensor) -> Tensor:
    """Return the Fisher information [...] about ν."""
    small = (trigamma(df / 2) - trigamma((df + 1) / 2)) / 4
    small = small - (df + 5) / (2 * df * (df + 1) * (df + 3))
    polynomial = (7 * df + 3) / (2 * df**3 * (df + 1) * (df + 3))
    return torch.where(df < 1, small, polynomial + trigamma_step(df))


def _shape_transport(df: Tensor) -> Tensor:
    """Return g(ν) [...] = E[(∂_ν Q_ν)²]."""
    flat = df.reshape(-1)
    rows = torch.stack([flat, torch.zeros_like(flat), torch.ones_like(flat)], dim=-1)
    return quadrature.transport_tensor(ArsinhStudent(), rows)[:, 0, 0].reshape(df.shape)


def _by_quadrature(heavy: Tensor, light: Tensor) -> Tensor:
    """Return D(ν, ν') [M] over the levels of the heavier law."""
    line = StudentT(dict.fromkeys(("df", "loc", "scale"), ()))
    zero, one = torch.zeros_like(heavy), torch.ones_like(heavy)
    left, right = (torch.stack([df, zero, one], dim=-1) for df in (heavy, light))
    return quantile_distance(line, left, right)
