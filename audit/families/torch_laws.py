"""What laws here share that are, or draw as, `torch.distributions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.univariate import Parameters


class OfTorch:
    """Coordinates with a law of torch's, by the same parameters in the same order."""

    torch_law: ClassVar[Callable[..., td.Distribution]]

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return torch's law of one coordinate."""
        return type(self).torch_law(*parameters, validate_args=False)


class OwnLaw(td.Distribution):
    """A law that torch does not have, without a look at its arguments."""

    arg_constraints = {}  # noqa: RUF012 (the base class's own form)

    def __init__(
        self, batch: tuple[int, ...], event: tuple[int, ...] = (), moves: bool = False
    ) -> None:
        self.has_rsample = moves
        super().__init__(torch.Size(batch), torch.Size(event), validate_args=False)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch, *event]; `how`, of a law inside: its method."""
        raise NotImplementedError

    def sample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Tensor:
        """Return draws [*sample, *batch, *event]."""
        with torch.no_grad():
            return self.drawn(torch.Size(sample_shape), "sample")

    def rsample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Tensor:
        """Return draws [*sample, *batch, *event] that follow the parameters."""
        if not self.has_rsample:
            raise NotImplementedError
        return self.drawn(torch.Size(sample_shape), "rsample")
