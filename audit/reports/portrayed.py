"""From the worst inputs as a scan saw them to what a report keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit.reports.portraits import Kind, Portrait, Prediction
from audit.reports.values import Floats

Line = Sequence[tuple[float, float]]
DIGITS, PLACES = 6, 12
"""Significant ones of densities, and of θ; x, δ and parameters are whole."""


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
    return Portrait(
        index=found.index,
        divergence=found.divergence,
        radius=found.radius,
        cost=found.cost,
        reason=found.reason or why,
        x=None if large else _whole(found.x),
        delta=None if large else _whole(found.delta),
        unit=None if large else _whole(found.unit),
        kind=found.kind,
        levels=list(found.levels),
        axes=[_rounded(axis, PLACES) for axis in found.axes],
        how=found.how,
        before=_prediction(found.before, most),
        after=_prediction(found.after, most),
        unpictured=found.unpictured,
    )


def _prediction(found: PredictionInfo | None, most: int) -> Prediction | None:
    if found is None:
        return None
    kept = sum(values.size for values in found.parameters.values()) <= most
    return Prediction(
        parameters={n: _whole(v) for n, v in found.parameters.items()} if kept else {},
        quantiles=_rounded(found.quantiles, PLACES),
        density=_rounded(found.density, DIGITS),
        regions={
            level: [[(_short(a), _short(b)) for a, b in line] for line in lines]
            for level, lines in found.regions.items()
        },
    )


def _whole(values: Floats | None) -> Any:  # noqa: ANN401 (nested lists)
    return None if values is None else values.tolist()


def _rounded(values: Floats | None, digits: int) -> Any:  # noqa: ANN401 (nested lists)
    """Return numbers to a few significant digits, in nested lists."""
    if values is None:
        return None
    flat = [_significant(value, digits) for value in values.ravel().tolist()]
    return np.array(flat, dtype=object).reshape(values.shape).tolist()


def _significant(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else float(f"{value:.{digits}g}")


def _short(value: float) -> float:
    return float(f"{value:.{PLACES}g}")
