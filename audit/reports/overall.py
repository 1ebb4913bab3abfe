"""What a report says of all inputs beside its columns: features and the spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np

from audit.reports.measured import FeatureMeans, Floats

BAND = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def features_record(found: FeatureMeans | None) -> dict[str, Any] | None:
    """Return the mean |v| of each feature as lists, to 8 decimals."""
    if found is None:
        return None
    mean = None if found.mean is None else np.round(found.mean, 8).tolist()
    return {"n": found.n, "mean_abs": mean, "reason": found.reason}


def spectrum_record(eigenvalues: Floats | None) -> dict[str, Any] | None:
    """Return percentiles over the inputs of each of the K leading eigenvalues."""
    if eigenvalues is None or not eigenvalues.size:
        return None
    finite = eigenvalues[np.isfinite(eigenvalues).all(axis=1)]
    if not len(finite):
        return None
    levels = np.quantile(finite, list(BAND.values()), axis=0).tolist()
    return {"n": len(finite), **dict(zip(BAND, levels, strict=True))}
