"""Special functions that `torch` lacks or rounds too early."""

from __future__ import annotations

import torch
from torch import Tensor


def trigamma(x: Tensor) -> Tensor:
    """Return ψ'(x) = ζ(2, x) for x > 0.

    `torch.polygamma(1, x)` is a short asymptotic series, wrong by up to 1e-9.
    """
    value: Tensor = torch.special.zeta(torch.full_like(x, 2.0), x)
    return value
