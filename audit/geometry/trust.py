"""What an average over draws says about itself.

draws            S, how many there were
units            how many of them, or groups of them, are independent of each other
trace_share      the largest draw's share of the sum behind the trace: near 1/S for
tame draws; where it is large the mean rests on a few of them
trace_median     the median draw's |a_s|², whose mean is the trace: what is left to
report where heavy tails make the mean useless
score_mean       ‖E_q[∇_x log q]‖, zero if the draws belong to the density and it is
normalised; its standard error is its size by sampling alone
direction_angle  between the worst directions of two halves of the draws
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.averaged import Averaged, Sampled
from audit.linalg.sampled import draw_squares, mean_of, squared_rows
from audit.linalg.spectrum import Spectrum
from audit.linalg.stored import LinearOperator


def averaging_checks(
    root: Averaged, inner: LinearOperator | None, spectrum: Spectrum
) -> dict[str, Tensor]:
    """Return the checks [N] of a form whose root is `root` times `inner` (None: 1)."""
    found = dict(root.checks)
    if isinstance(root, Sampled):
        found |= _of_draws(root, inner)
        assert spectrum.stability is not None
        found["direction_angle"] = spectrum.stability
        if root.center is not None:
            mean = mean_of(root, inner)
            assert mean.standard_error is not None
            found |= {"score_mean": mean.value, "score_mean_se": mean.standard_error}
    elif root.center is not None:
        squares = squared_rows(root.center.unsqueeze(1), inner)
        found["score_mean"] = squares.sum(dim=1).sqrt()
    return found


def _of_draws(root: Sampled, inner: LinearOperator | None) -> dict[str, Tensor]:
    each = draw_squares(root, inner)
    total = each.sum(dim=1)
    return {
        "draws": torch.full_like(total, root.draws),
        "units": torch.full_like(total, root.draws // root.unit),
        "trace_share": each.amax(dim=1) / total,
        "trace_median": each.median(dim=1).values * root.draws,
    }
