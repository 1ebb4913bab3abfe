"""What a report says of all inputs beside its columns: features and the spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np

from audit.reports.measured import CoordinateShares, FeatureMeans, UniversalInfo
from audit.reports.streamed import percentiles
from audit.reports.values import Floats

BAND = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def features_record(found: FeatureMeans | None) -> dict[str, Any] | None:
    """Return the mean |v| of each feature as lists, to 8 decimals."""
    if found is None:
        return None
    mean = None if found.mean is None else np.round(found.mean, 8).tolist()
    return {"n": found.n, "mean_abs": mean, "reason": found.reason}


def coordinates_record(found: CoordinateShares | None) -> dict[str, Any] | None:
    """Return the mean share of each coordinate as a list, to 8 decimals."""
    if found is None:
        return None
    mean = None if found.mean is None else np.round(found.mean, 8).tolist()
    return {"n": found.n, "mean": mean}


def universal_record(found: UniversalInfo | None, most: int) -> dict[str, Any] | None:
    """Return the universal direction, to 8 decimals, and what it is worth.

    Args:
        found: None where there is no quadratic form.
        most: features of an input whose direction is printed.
    """
    if found is None:
        return None
    one, each = found.eigenvalue, found.mean_eigenvalue
    direction, printed = found.direction, None
    if direction is not None and direction.size <= most:
        printed = np.round(direction, 8).tolist()
    return {
        "n": found.n,
        "left_out": found.left_out,
        "eigenvalue": one,
        "mean_eigenvalue": each,
        "universality": min(1.0, one / each) if one is not None and each else None,
        "direction": printed,
        "signs": dict(found.signs),
        "reason": found.reason,
    }


def spectrum_record(eigenvalues: Floats | None) -> dict[str, Any] | None:
    """Return percentiles over the inputs of each of the K leading eigenvalues.

    An infinite form has one infinite eigenvalue, and the others are not measured.
    """
    if eigenvalues is None or not eigenvalues.size:
        return None
    found = [percentiles(column, list(BAND.values())) for column in eigenvalues.T]
    levels = [one for n, one in found if n]
    if not levels:
        return None
    bands = zip(BAND, map(list, zip(*levels, strict=True)), strict=True)
    return {"n": found[0][0], **dict(bands)}
