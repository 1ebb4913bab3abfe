"""Student's t.

θ = μ + σ Q_ν(u). Location and scale separate from the shape:

    F   μμ (ν+1)/((ν+3)σ²),  σσ 2ν/((ν+3)σ²),  νσ −2/(σ(ν+1)(ν+3)),
        νν ¼[ψ'(ν/2) − ψ'((ν+1)/2)] − (ν+5)/(2ν(ν+1)(ν+3))
    G   μμ 1,  σσ ν/(ν−2),  νσ −σ/(ν−2)²,  νν σ² g(ν) by quadrature          (ν > 2)

νν is of order ν⁻⁴ and a difference of terms of order ν⁻²: for large ν its asymptotic
series is used. It comes from ψ'(x) ~ 1/x + 1/2x² + Σ B_2k / x^{2k+1}.

Sources: Lange, Little & Taylor, JASA 84 (1989), appendix B, for F.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.continuous import Continuous
from audit.families.roots import symmetric
from audit.families.special import trigamma
from audit.families.univariate import Parameters


class StudentT(Continuous):
    """Student-t coordinates; `loc` and `scale` in units of θ, `df` without."""

    parameterizations = (("df", "loc", "scale"),)
    positive = ("df", "scale")

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Student-t law."""
        df, loc, scale = parameters
        return td.StudentT(df, loc, scale, validate_args=False)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return location and scale."""
        _, loc, scale = parameters
        return loc, scale

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return the Fisher information of (df, loc, scale)."""
        df, _, scale = parameters
        return symmetric(
            {
                (0, 0): _shape_information(df),
                (0, 2): -2 / (scale * (df + 1) * (df + 3)),
                (1, 1): (df + 1) / (df + 3) / scale.square(),
                (2, 2): 2 * df / (df + 3) / scale.square(),
            }
        )

    def transport(self, parameters: Parameters) -> Tensor:
        """Return the transport tensor; infinite for df ≤ 2."""
        df, _, scale = parameters
        zero, one = torch.zeros_like(df), torch.ones_like(df)
        tensor = symmetric(
            {
                (0, 0): super().transport((df, zero, one))[..., 0, 0] * scale.square(),
                (0, 2): -scale / (df - 2).square(),
                (1, 1): one,
                (2, 2): df / (df - 2),
            }
        )
        return self.unless_infinite(parameters, tensor)

    def infinite_variance(self, parameters: Parameters) -> Tensor:
        """Return where df ≤ 2."""
        return parameters[0] <= 2


def _shape_information(df: Tensor) -> Tensor:
    """Return the information [...] about df alone."""
    gap = trigamma(df / 2) - trigamma((df + 1) / 2)
    return gap / 4 - (df + 5) / (2 * df * (df + 1) * (df + 3))
