"""Two devices side by side: how far numbers are apart, and how far they may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from audit.config import ScanConfig

DOUBLE = 1e-6  # of a column's largest number, both in double precision
SINGLE = 2e-3  # of the largest eigenvalue, both in single precision


def on(config: ScanConfig, device: str) -> ScanConfig:
    return replace(config, model=replace(config.model, device=device))


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference, of the largest number; ∞ where NaNs differ."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    known = np.isfinite(ours)
    same = np.array_equal(known, np.isfinite(theirs))
    if not same or not np.array_equal(ours[~known], theirs[~known], equal_nan=True):
        return np.inf
    if not known.any():
        return 0.0
    size = max(np.abs(ours[known]).max(), np.finfo(float).tiny)
    return float(np.abs(ours - theirs)[known].max() / size)


def limit(device: str, allowed: float) -> float:
    """Return how far a device may be from the CPU: that itself, not at all."""
    return 0.0 if device == "cpu" else allowed
