"""The mean and covariance of a law of δ, read from an npz file.

The file holds `mean` [d] and `covariance` [d, d], or a `factor` L [d, k] with Σ = L Lᵀ;
a missing mean is zero. A factor is what an attack needs, and what a covariance is
turned into.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.ground.errors import ConfigError, InputError, boundary
from audit.ground.storage.arrays import read_arrays

Floats = NDArray[np.float64]
_KEYS = "It needs 'covariance' [d, d] or 'factor' [d, k], and perhaps 'mean' [d]"
_STEP = "Save them with np.savez, or correct --attack moments:file=…"


def read_moments(path: Path) -> tuple[Floats, Floats]:
    """Return the mean [d] and the factor of the covariance [d, k].

    Raises:
        ConfigError: the file is missing or has no covariance, or it is not a
            covariance (symmetric, no negative eigenvalue), or the mean does not fit.
    """
    said = f"The moments in '{path}' cannot be read"
    with boundary(said, _KEYS, _STEP, ConfigError):
        return _moments(path)


def _moments(path: Path) -> tuple[Floats, Floats]:
    stored = _stored_moments(path)
    if "factor" in stored:
        factor = stored["factor"]
    elif "covariance" in stored:
        factor = _covariance_factor(stored["covariance"], path)
    else:
        said = f"'{path}' holds {', '.join(stored) or 'nothing'}"
        raise ConfigError(said, _KEYS, _STEP)
    mean = stored.get("mean", np.zeros(len(factor))).ravel()
    if factor.ndim != 2 or len(factor) != mean.size:
        raise ConfigError(
            f"In '{path}' the mean has {mean.size} features and the covariance or its "
            f"factor has the shape {list(factor.shape)}",
            _KEYS,
            _STEP,
        )
    if not (np.isfinite(mean).all() and np.isfinite(factor).all()):
        said = f"The moments in '{path}' hold NaN or infinity"
        raise ConfigError(said, _KEYS, _STEP)
    return mean, factor


def _stored_moments(path: Path) -> dict[str, Floats]:
    try:
        found = read_arrays(str(path))
    except InputError as error:
        said = f"The moments in '{path}' cannot be read ({error.given})"
        raise ConfigError(said, _KEYS, _STEP) from None
    if "" in found:
        said = f"'{path}' holds one array without a key"
        raise ConfigError(said, _KEYS, _STEP)
    for name, array in found.items():
        if array.dtype.kind not in "biuf":
            said = (
                f"The moments in '{path}' cannot be read ('{name}' holds {array.dtype})"
            )
            raise ConfigError(said, _KEYS, _STEP)
    return {name: array.astype(np.float64) for name, array in found.items()}


def _covariance_factor(covariance: Floats, path: Path) -> Floats:
    square = covariance.ndim == 2 and covariance.shape[0] == covariance.shape[1]
    if square and covariance.size and np.allclose(covariance, covariance.T):
        values, vectors = np.linalg.eigh(covariance)
        if values[0] >= -1e-10 * max(values[-1], 0.0):
            return np.asarray(vectors * np.sqrt(values.clip(min=0)))
    raise ConfigError(
        f"The covariance in '{path}' has shape {covariance.shape} and is not one",
        "Expected a symmetric positive semi-definite matrix",
        "Store its factor L with Σ = L Lᵀ under the key 'factor' instead",
    )
