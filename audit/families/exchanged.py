"""Divergences that are carried by the law that is moved to, D = E_q'[g(q/q')].

Draws of q do not see what q' has beyond them: for KL(q' ‖ q) the mean over them is near
1 nat where q' lies apart, whatever the truth, with a small error. So nodes of every q'
are looked at, from the same noise as those of q, and both laws change their roles. The
noise is common to all q', so that D is as smooth in φ' as the draws are, and vanishes
with φ' − φ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from audit.nodes.noise import Noise


class Law(Protocol):
    """Laws at some φ', ready to be compared with others."""

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return E_q'[g(q/q')] and its standard error [k, M], for φ [k, M, p]."""


@dataclass(frozen=True)
class Exchanged:
    """Laws q_φ of N inputs, which are compared with each q_φ' at the latter's nodes.

    Args:
        at: (φ' [k, p], noise) -> these laws, with their nodes.
        phi: φ [N, p].
        noise: of the N inputs.
        sampled: whether values come from draws, with an error.
    """

    at: Callable[[Tensor, Noise], Law]
    phi: Tensor
    noise: Noise
    sampled: bool

    def __call__(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(q_φ ‖ q_φ') and its standard error, both [k, M].

        Args:
            rows: which of the N inputs [k].
            others: φ' [k, M, p].
        """
        own = self.phi[rows].unsqueeze(1)
        noise = replace(self.noise, index=self.noise.index[rows.cpu().numpy()])
        every = torch.arange(len(rows), device=rows.device)
        columns = [self.at(other, noise)(every, own) for other in others.unbind(dim=1)]
        values, errors = (torch.cat(parts, 1) for parts in zip(*columns, strict=True))
        return values, errors.masked_fill(torch.isinf(values), 0.0)
