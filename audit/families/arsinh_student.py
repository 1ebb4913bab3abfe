"""Student-t laws in y = arsinh x, of which only logarithms are needed.

A tail x^−(ν+1) is e^−ν|y| there: it ends within numbers that exist even where e^46/ν
does not. sinh y itself is formed only as far as it exists.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.nodes.lines import Chart
from audit.nodes.special import digamma_step, lgamma_step

FURTHEST = 700.0  # sinh y is a number up to here


def _log_cosh(y: Tensor) -> Tensor:
    return y.abs() + torch.log1p(torch.exp(-2 * y.abs())) - math.log(2.0)


class ArsinhStudent:
    """A line of laws by (df, loc, scale), each in units of the same coordinate x."""

    chart = Chart(torch.sinh, _log_cosh, lambda step, width: step.abs())
    limit = math.inf

    def bulk(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return where μ and μ ± σ are, as centre and width [M, 1]."""
        _, loc, scale = rows.unbind(-1)
        reach = (torch.asinh(loc + scale) - torch.asinh(loc - scale)) / 2
        narrow = scale / torch.hypot(loc, torch.ones_like(loc))
        width = torch.where(narrow < 0.1, narrow, reach)
        return torch.asinh(loc).unsqueeze(-1), width.unsqueeze(-1)

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the log density of y."""
        df, _, scale = rows.unbind(-1)
        constant = lgamma_step(df) - math.log(2 * math.pi) / 2 - scale.log()
        return constant - (df + 1) / 2 * self._log1p_w(y, rows) + _log_cosh(y)

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the score of (df, loc, scale); beyond sinh y, of df alone."""
        rows = rows.unsqueeze(1)
        df, loc, scale = rows.unbind(-1)
        growth = self._log1p_w(y, rows)
        share = -torch.expm1(-growth)
        shape = digamma_step(df) - growth + share + share / df
        z = (torch.sinh(y.clamp(-FURTHEST, FURTHEST)) - loc) / scale
        stretch = (df + 1) * share - 1  # z times the pull
        pull = torch.where(z == 0, 0.0, (stretch + 1) / z)
        return torch.stack([shape / 2, pull / scale, stretch / scale], dim=-1)

    def _log1p_w(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ln(1 + (sinh y − μ)²/νσ²)."""
        df, loc, scale = rows.unbind(-1)
        near = (torch.sinh(y.clamp(-FURTHEST, FURTHEST)) - loc).abs().log()
        log_size = torch.where(y.abs() < FURTHEST, near, _log_cosh(y)) - scale.log()
        return torch.logaddexp(torch.zeros_like(log_size), 2 * log_size - df.log())
