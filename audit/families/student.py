"""Student's t.

θ = μ + σ Q_ν(u). Location and scale separate from the shape:

    F   μμ (ν+1)/((ν+3)σ²),  σσ 2ν/((ν+3)σ²),  νσ −2/(σ(ν+1)(ν+3)),
        νν ¼[ψ'(ν/2) − ψ'((ν+1)/2)] − (ν+5)/(2ν(ν+1)(ν+3))
    G   μμ 1,  σσ ν/(ν−2),  νσ −σ/(ν−2)²,  νν σ² g(ν) by quadrature          (ν > 2)

νν is of order ν⁻⁴, a difference of terms of order ν⁻². The leading ones are subtracted
by hand: (ν+1)/2ν³ − (ν+5)/(2ν(ν+1)(ν+3)) = (7ν+3)/(2ν³(ν+1)(ν+3)). For the same reason
log density and score are written in w = z²/ν.

Close above ν = 2 the second moment hangs on tails beyond any floating-point number, so
g(ν) is integrated in y = arsinh z, of which only logarithms are needed; nearer than
`least_index` even that would take thousands of panels, and the tensor is given up.

Source: Lange, Little & Taylor, Journal of the American Statistical Association 84
(1989), appendix B, for F.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributions as td

from audit.families import quadrature
from audit.families.continuous import Continuous
from audit.families.lines import Chart
from audit.families.roots import symmetric
from audit.families.special import digamma_step, lgamma_step, trigamma_step
from audit.families.univariate import Parameters


class StudentT(Continuous):
    """Student-t coordinates; `loc` and `scale` in units of θ, `df` without."""

    parameterizations = (("df", "loc", "scale"),)
    positive = ("df", "scale")
    least_index = 2.04

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Student-t law."""
        df, loc, scale = parameters
        return td.StudentT(df, loc, scale, validate_args=False)

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

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return the Fisher information of (df, loc, scale)."""
        df, _, scale = parameters
        polynomial = (7 * df + 3) / (2 * df**3 * (df + 1) * (df + 3))
        return symmetric(
            {
                (0, 0): polynomial + trigamma_step(df),
                (0, 2): -2 / (scale * (df + 1) * (df + 3)),
                (1, 1): (df + 1) / (df + 3) / scale.square(),
                (2, 2): 2 * df / (df + 3) / scale.square(),
            }
        )

    def transport(self, parameters: Parameters) -> Tensor:
        """Return the transport tensor; infinite for df ≤ `least_index`."""
        df, _, scale = parameters
        tensor = symmetric(
            {
                (0, 0): _shape_transport(self.resolvable(parameters)[0])
                * scale.square(),
                (0, 2): -scale / (df - 2).square(),
                (1, 1): torch.ones_like(df),
                (2, 2): df / (df - 2),
            }
        )
        return self.unless_infinite(parameters, tensor)

    def tail_index(self, parameters: Parameters) -> Tensor:
        """Return df."""
        return parameters[0]


class StandardShape:
    """The line of the standard law (loc 0, scale 1) in y = arsinh z, by df alone."""

    chart = Chart(torch.sinh, lambda y: _log_cosh(y), lambda step, width: step.abs())
    limit = math.inf

    def bulk(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return 0 and 1."""
        return torch.zeros_like(rows), torch.ones_like(rows)

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the log density of y; sinh y itself is never formed."""
        df = rows[..., 0]
        constant = lgamma_step(df) - math.log(2 * math.pi) / 2
        return constant - (df + 1) / 2 * _log1p_w(y, df) + _log_cosh(y)

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the score of df, as of `StudentT`."""
        df = rows
        log_growth = _log1p_w(y, df)
        share = -torch.expm1(-log_growth)
        return ((digamma_step(df) - log_growth + share + share / df) / 2).unsqueeze(-1)


def _shape_transport(df: Tensor) -> Tensor:
    """Return g(ν) [...] = E[(∂_ν Q_ν)²]."""
    tensor = quadrature.transport_tensor(StandardShape(), df.reshape(-1, 1))
    return tensor.reshape(df.shape)


def _log_cosh(y: Tensor) -> Tensor:
    return y.abs() + torch.log1p(torch.exp(-2 * y.abs())) - math.log(2.0)


def _log1p_w(y: Tensor, df: Tensor) -> Tensor:
    """Return ln(1 + sinh² y / ν), by logarithms where sinh² y would overflow."""
    near = torch.log1p(torch.sinh(y.clamp(-300, 300)).square() / df)
    far = 2 * _log_cosh(y) - df.log()
    return torch.where(y.abs() < 300, near, far)
