"""KL against the quantile distance: do they fear the same direction?

KL keeps density ratios near one, the quantile distance keeps samples near each other,
and the two can disagree completely: with mean Σ^{1/4} φ and covariance Σ the metric
tensors are Σ^{-1/2} and Σ^{1/2}. For two forms with worst directions v and w:

    angle      arccos |vᵀw|, in degrees (a direction has no sign), computed as
               2 atan(‖v − w‖ / ‖v + w‖), which keeps its digits near zero
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
    v, w = one.directions[:, :, 0], other.directions[:, :, 0]
    w = torch.where((v * w).sum(dim=1, keepdim=True) < 0, -w, w)
    known = _has_worst(one) & _has_worst(other)
    apart, along = ((v + sign * w).square().sum(dim=1).sqrt() for sign in (-1, 1))
    degrees = torch.rad2deg(2 * torch.atan2(apart, along))
    return torch.where(known, degrees, torch.nan)


def attained(form: QuadraticForm, spectrum: Spectrum, other: Spectrum) -> Tensor:
    """Return the share of λ_max that the other's worst direction attains [N]."""
    value = form(other.directions[:, :, 0]) / form.scale
    share = value / spectrum.eigenvalues[:, 0]
    return torch.where(_has_worst(other), share, torch.nan)


def _has_worst(spectrum: Spectrum) -> Tensor:
    return spectrum.gap > ISOTROPIC
