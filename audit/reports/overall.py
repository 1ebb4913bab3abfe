"""What a report says of all inputs beside its columns: features and the spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np

from audit.reports.measured import Means, UniversalInfo
from audit.reports.streamed import percentiles
from audit.reports.values import Floats

BAND = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def features_record(found: Means | None) -> dict[str, Any] | None:
    """Return the mean |v| of each feature as lists, to 8 decimals."""
    if found is None:
        return None
    return {"n": found.n, "mean_abs": _listed(found.mean), "reason": found.reason}


def coordinates_record(found: Means | None) -> dict[str, Any] | None:
    """Return the mean share of each coordinate as a list, to 8 decimals."""
    return None if found is None else {"n": found.n, "mean": _listed(found.mean)}


def _listed(values: Floats | None) -> Any:  # noqa: ANN401 (nested lists)
    return None if values is None else np.round(values, 8).tolist()


def universal_record(found: UniversalInfo | None, most: int) -> dict[str, Any] | None:
    """Return the universal direction, to 8 decimals, and what it is worth.

    Args:
        found: None where there is no quadratic form.
        most: features of an input whose direction is printed.
    """
    if found is None:
        return None
    one, each = found.eigenvalue, found.mean_eigenvalue
    direction = found.direction
    printed = direction is not None and direction.size <= most
    return {
        "n": found.n,
        "left_out": found.left_out,
        "eigenvalue": one,
        "mean_eigenvalue": each,
        "universality": min(1.0, one / each) if one is not None and each else None,
        "direction": _listed(direction if printed else None),
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
