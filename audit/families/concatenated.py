"""The law of independent draws side by side, as `torch.distributions` would have it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import constraints

from audit.families.observed import supported
from audit.families.torch_laws import OwnLaw


class Concatenated(OwnLaw):
    """Independent draws side by side: batch shape [*batch], event shape [n]."""

    def __init__(self, laws: Sequence[td.Distribution]) -> None:
        self.laws = laws
        self.widths = [math.prod(law.event_shape) for law in laws]
        moves = all(law.has_rsample for law in laws)
        super().__init__(laws[0].batch_shape, (sum(self.widths),), moves)

    @property
    def support(self) -> constraints.Constraint:
        """The parts' own."""
        return _Parts(self)

    def pieces(self, value: Tensor) -> list[tuple[td.Distribution, Tensor]]:
        """Return each part with its θ [*sample, *batch, *event] among [..., n]."""
        found, start = [], 0
        for law, width in zip(self.laws, self.widths, strict=True):
            piece = value[..., start : start + width]
            shape = (*piece.shape[:-1], *law.event_shape)
            found.append((law, piece.reshape(shape)))
            start += width
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the sum of the parts' log densities."""
        total = torch.zeros_like(value[..., 0])
        for law, piece in self.pieces(value):
            total = total + law.log_prob(piece)
        return total

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch, n]."""
        draws = [getattr(law, how)(shape) for law in self.laws]
        flat = [
            draw.reshape(*draw.shape[: draw.dim() - len(law.event_shape)], -1)
            for draw, law in zip(draws, self.laws, strict=True)
        ]
        return torch.cat([part.to(torch.float64) for part in flat], dim=-1)


class _Parts(constraints.Constraint):
    """Every part is in its own support; one that tells none is asked by its density."""

    event_dim = 1

    def __init__(self, law: Concatenated) -> None:
        self.law = law

    def check(self, value: Tensor) -> Tensor:
        """Return where all parts are [*sample, *batch]."""
        found = [supported(law, piece) for law, piece in self.law.pieces(value)]
        return torch.stack(found).all(dim=0)


class Folded(OwnLaw):
    """A law of N T events read as N laws: batch [N], event [*places, *event].

    Args:
        law: batch shape [N T], the places of one input after the other.
        places: axes whose product is T.
    """

    def __init__(self, law: td.Distribution, places: tuple[int, ...]) -> None:
        self.law, self.places = law, places
        rows = law.batch_shape[0] // math.prod(places)
        super().__init__((rows,), (*places, *law.event_shape), law.has_rsample)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the sum of log densities over the places [..., N]."""
        found = self.law.log_prob(self._flat(value))
        return found.reshape(*found.shape[:-1], *self.batch_shape, -1).sum(-1)

    def icdf(self, value: Tensor) -> Tensor:
        """Return quantiles of each number [..., N, *event]."""
        return self._folded(self.law.icdf(self._flat(value)))

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, N, *event]."""
        return self._folded(getattr(self.law, how)(shape))

    def _flat(self, value: Tensor) -> Tensor:
        before = value.dim() - 1 - len(self.event_shape)
        return value.reshape(
            *value.shape[:before], *self.law.batch_shape, *self.law.event_shape
        )

    def _folded(self, value: Tensor) -> Tensor:
        before = value.dim() - 1 - len(self.law.event_shape)
        return value.reshape(
            *value.shape[:before], *self.batch_shape, *self.event_shape
        )
