"""From the worst inputs as a scan saw them to what a report keeps of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit.reports.portraits import Kind, Portrait, Prediction
from audit.reports.values import Floats

Line = Sequence[tuple[float, float]]
DIGITS = 6
"""Significant ones of densities; x, δ, parameters and quantiles are whole."""
GRID, LINES = 9, 5
"""Digits of the length of a grid, or of a line, that its points are kept to."""
_MOST = 290  # decimals that numpy rounds to; beyond them powers of ten overflow


@dataclass(frozen=True)
class PredictionInfo:
    """One law: its parameters by name, quantiles [L, C], density on the grid [G].

    `regions` has the lines around the highest-density region of each level.
    """

    parameters: Mapping[str, Floats] = field(default_factory=dict)
    quantiles: Floats | None = None
    density: Floats | None = None
    regions: Mapping[str, Sequence[Line]] = field(default_factory=dict)


@dataclass(frozen=True)
class PortraitInfo:
    """One input, moved; see `Portrait`. Arrays have the shape of one input."""

    index: int
    divergence: str
    reason: str = ""
    x: Floats | None = None
    delta: Floats | None = None
    unit: Floats | None = None
    radius: float | None = None
    cost: float | None = None
    kind: Kind | None = None
    levels: tuple[float, ...] = ()
    axes: tuple[Floats, ...] = ()
    how: str = ""
    before: PredictionInfo | None = None
    after: PredictionInfo | None = None
    unpictured: str = ""


def portrait(found: PortraitInfo, most: int) -> Portrait:
    """Return what a report keeps of a portrait.

    Args:
        found: it.
        most: numbers of an input, and of the parameters of a law, that are printed.
    """
    size = 0 if found.x is None else found.x.size
    large = size > most
    why = f"an input has {size} features, and up to {most} are kept" if large else ""
    kept = {
        "reason": found.reason or why,
        "axes": [_placed(axis, GRID) for axis in found.axes],
        "before": _prediction(found.before, most),
        "after": _prediction(found.after, most),
    }
    for name in ("x", "delta", "unit"):
        kept[name] = None if large else _whole(getattr(found, name))
    return Portrait.model_validate(vars(found) | kept)


def _prediction(found: PredictionInfo | None, most: int) -> Prediction | None:
    if found is None:
        return None
    kept = sum(values.size for values in found.parameters.values()) <= most
    return Prediction(
        parameters={n: _whole(v) for n, v in found.parameters.items()} if kept else {},
        quantiles=_whole(found.quantiles),
        density=_significant(found.density),
        regions={
            level: [_placed(np.array(line), LINES) for line in lines]
            for level, lines in found.regions.items()
        },
    )


def _whole(values: Floats | None) -> Any:  # noqa: ANN401 (nested lists)
    return None if values is None else values.tolist()


def _placed(points: Floats, digits: int) -> Any:  # noqa: ANN401 (nested lists)
    """Return places [G], or [G, 2], to so many digits of what they reach over."""
    reach = float(np.ptp(points, axis=0).max()) or 1.0
    decimals = digits - math.floor(math.log10(reach))
    return (np.round(points, decimals) if decimals < _MOST else points).tolist()


def _significant(values: Floats | None) -> list[float | None] | None:
    """Return numbers to a few significant digits, None for one that is not known."""
    if values is None:
        return None
    return [
        None if math.isnan(value) else float(f"{value:.{DIGITS}g}")
        for value in values.tolist()
    ]
