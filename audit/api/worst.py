"""The inputs that move a prediction most, with the way that moves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import ConfigError
from audit.reports.recorded import RecordedRows
from audit.reports.report import Report as Record
from audit.reports.roles import ALONG, named

Array = NDArray[Any]


@dataclass(frozen=True)
class Worst:
    """One input x, its worst direction v, and how far along v it has to move.

    Args:
        index: the input's row in the data.
        x: the input [*event].
        direction: v [*event], of norm one in the units of the scan.
        radius: r, which moves the prediction by τ; ∞ where no step along v does.
        exact: whether r was found on the divergence itself (`critical_radius_along`, or
            `critical_radius` where only v was searched); else it is what the local
            quadratic says (`radius`).
        above, below: x + r v and x − r v [*event], v in the units of the data.
        eigenvalue: by which inputs are ranked.
    """

    index: int
    x: Array
    direction: Array
    radius: float
    exact: bool
    above: Array
    below: Array
    eigenvalue: float


def worst_of(record: Record, rows: RecordedRows, k: int) -> list[Worst]:
    """Return the k inputs with the largest eigenvalues, or as many as there are.

    Raises:
        ConfigError: k is no number of inputs.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ConfigError(
            f"worst() was asked for {k!r} inputs",
            "Expected a whole number, at least 1",
            "Call report.worst(10)",
        )
    name, columns = record.ranked[0], rows.arrays
    ranks = columns.get(f"{name}.eigenvalue", columns.get(f"{name}.linear"))
    assert ranks is not None
    ranked = np.nan_to_num(ranks, nan=-np.inf, posinf=np.inf)
    order = np.argsort(-ranked, kind="stable")[:k]
    return [_worst(rows, name, int(row), float(ranks[row])) for row in order]


def _worst(rows: RecordedRows, name: str, row: int, eigenvalue: float) -> Worst:
    columns, x = rows.arrays, rows.inputs[row]
    direction = columns[f"{name}.directions"][row, 0]
    critical = columns.get(f"{name}.critical_radius")
    critical = columns.get(f"{name}.{named('critical_radius', ALONG)}", critical)
    exact = critical is not None and not np.isnan(critical[row])
    radii = critical if exact else columns.get(f"{name}.radius")
    radius = float("nan") if radii is None else float(radii[row])
    with np.errstate(invalid="ignore"):
        unit = rows.unit if rows.unit.ndim == direction.ndim else rows.unit[row]
        step = np.where(direction == 0, 0.0, radius * unit * direction)
    return Worst(
        int(columns["index"][row]),
        x,
        direction,
        radius,
        exact,
        x + step,
        x - step,
        eigenvalue,
    )
