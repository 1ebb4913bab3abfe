"""Finite differences, for files that values come out of and gradients do not.

Central differences at two steps, h and 3h, are extrapolated (Richardson): the error of
order h² cancels. How far the two part is the estimate of what is left, together with
the rounding of the file's own type. A step is a fraction of the row's root mean square,
so that the units of the data do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.stored import LinearOperator, Matrix
from audit.models.density import Values
from audit.models.maps import AutogradMap

TOLERANCE = 1e-2
"""Up to here an estimated relative error of a derivative is accepted."""
_STEPS = {torch.float64: 1e-3}
_DEFAULT_STEP = 1e-2
_WIDER = 3.0
_ROWS = 4096  # that go through the file at once


@dataclass(frozen=True)
class EstimatedJacobian(Matrix):
    """A Jacobian [N, p, d] with an estimate of its entries' errors, same shape."""

    error: Tensor

    @property
    def relative_error(self) -> Tensor:
        """Each row's error ‖E‖ / ‖J‖ [N], every parameter counting alike."""
        size = self.entries.square().mean(dim=(0, 2)).sqrt()[None, :, None]
        size = torch.where(size > 0, size, 1.0)
        error, whole = (self.error / size), (self.entries / size)
        error, whole = error.square().sum((1, 2)), whole.square().sum((1, 2))
        return (error / whole.clamp_min(1e-24)).sqrt()


@dataclass(frozen=True)
class FiniteDifferenceMap:
    """x -> φ with derivatives by extrapolated central differences."""

    forward: AutogradMap

    def __call__(self, x: Tensor, held: Values) -> Tensor:
        """Return φ [N, p]."""
        parts = [
            self.forward(
                x[i : i + _ROWS],
                {name: value[i : i + _ROWS] for name, value in held.items()},
            )
            for i in range(0, len(x), _ROWS)
        ]
        return torch.cat(parts)

    @property
    def dtype(self) -> torch.dtype:
        """The type the network takes."""
        return self.forward.dtype

    def linearize(self, x: Tensor, held: Values) -> tuple[Tensor, LinearOperator]:
        """Return φ [N, p] and its estimated Jacobian [N, p, d]."""
        phi = self(x, held)
        step = _STEPS.get(self.dtype, _DEFAULT_STEP) * row_sizes(x)
        near, rounding = self._differences(x, held, step)
        far, _ = self._differences(x, held, _WIDER * step)
        parted = near - far
        entries = near + parted / (_WIDER**2 - 1)
        return phi, EstimatedJacobian(entries, parted.abs() / 2 + rounding)

    def _differences(
        self, x: Tensor, held: Values, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return central differences [N, p, d] and the rounding in them."""
        columns = [self._column(x, held, step, j) for j in range(x.shape[1])]
        slopes, noise = zip(*columns, strict=True)
        return torch.stack(slopes, dim=2), torch.stack(noise, dim=2)

    def _column(
        self, x: Tensor, held: Values, step: Tensor, j: int
    ) -> tuple[Tensor, Tensor]:
        """Move feature j of every row both ways: [N, p] each."""
        both = x.to(self.dtype).repeat(2, 1)
        both[: len(x), j] += step.to(self.dtype)
        both[len(x) :, j] -= step.to(self.dtype)
        twice = {name: torch.cat([value, value]) for name, value in held.items()}
        above, below = self(both, twice).chunk(2)
        moved = (both[: len(x), j].double() - both[len(x) :, j].double())[:, None]
        size = torch.maximum(above.abs(), below.abs())
        return (above - below) / moved, torch.finfo(self.dtype).eps * size / moved


def row_sizes(x: Tensor) -> Tensor:
    """Return each row's root mean square [N], 1 for a row of zeros."""
    rms = x.double().square().mean(dim=1).sqrt()
    return torch.where(rms > 0, rms, 1.0)
