"""The conditions at which a file is compared with its estimator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audit.export.attempts import ROWS
from audit.export.densities import Foreign
from audit.ground.errors import ConfigError, ModelError, cause


def conditions(
    estimator: Foreign, shape: Sequence[int] | None, x: Tensor | None, seed: int
) -> Tensor:
    """Return a few conditions to compare at."""
    if x is not None:
        rows = torch.as_tensor(x)[torch.arange(ROWS) % len(x)].detach().clone()
        return _of_its_type(rows, estimator)
    known = shape or getattr(estimator, "condition_shape", None)
    if known is None:
        raise ConfigError(
            f"A {type(estimator).__name__} does not say what its conditions look like",
            "Expected condition_shape=(d,), the shape of one condition",
            "Pass it, or better x=, a tensor of typical conditions [N, ...]",
        )
    return torch.randn(ROWS, *known, generator=torch.Generator().manual_seed(seed))


def _of_its_type(x: Tensor, estimator: Foreign) -> Tensor:
    """Return real numbers in the type that an estimator's weights have."""
    if not (isinstance(estimator, nn.Module) and x.is_floating_point()):
        return x
    tensors = (*estimator.parameters(), *estimator.buffers())
    own = (tensor.dtype for tensor in tensors if tensor.is_floating_point())
    return x.to(next(own, x.dtype))


def misfit(x: Tensor, error: Exception) -> ConfigError:
    """Return the error about conditions that the estimator cannot take."""
    return ConfigError(
        f"The estimator does not run on conditions of shape {tuple(x.shape[1:])} and "
        f"type {x.dtype} ({cause(error)})",
        "Expected the shape and the type it was trained on",
        "Correct condition_shape= or x=",
    )


def require_finite(values: Tensor, x: Tensor) -> None:
    """Raise if the estimator itself gives no finite numbers."""
    wrong = int((~values.isfinite()).sum())
    if wrong:
        raise ModelError(
            f"The estimator's own log_prob is not finite on {wrong} of {len(x)} rows",
            "A file can only be compared with finite numbers",
            "Pass typical conditions as x=",
        )
