"""KL against the quantile distance: do they fear the same direction?

KL keeps density ratios near one, the quantile distance keeps samples near each other,
and the two can disagree completely: with mean Σ^{1/4} φ and covariance Σ the metric
tensors are Σ^{-1/2} and Σ^{1/2}. For two forms with worst directions v and w:

    angle      arccos |vᵀw|, in degrees (a direction has no sign)
    attained   wᵀ G w / λ_max(G), the share of the first's worst case that the second's
               worst direction attains
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Spectrum

ISOTROPIC = 1e-6  # a relative gap below this leaves the worst direction open


def angle(one: Spectrum, other: Spectrum) -> Tensor:
    """Return the angle between the worst directions [N]; NaN where one is open."""
    cosine = (one.directions[:, :, 0] * other.directions[:, :, 0]).sum(dim=1).abs()
    known = _has_worst(one) & _has_worst(other)
    degrees = torch.rad2deg(torch.arccos(cosine.clamp_max(1.0)))
    return torch.where(known, degrees, torch.nan)


def attained(form: QuadraticForm, spectrum: Spectrum, other: Spectrum) -> Tensor:
    """Return the share of λ_max that the other's worst direction attains [N]."""
    value = form(other.directions[:, :, 0]) / form.scale
    share = value / spectrum.eigenvalues[:, 0]
    return torch.where(_has_worst(other), share, torch.nan)


def _has_worst(spectrum: Spectrum) -> Tensor:
    return spectrum.gap > ISOTROPIC
