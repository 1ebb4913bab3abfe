"""One of the worst inputs as arrays: x, δ and both predictions, in an npz.

index, radius, cost     of the input; ‖δ‖ in units of the perturbation, and D at δ
x, delta                in the shape of one input, in its own units
before.NAME, after.NAME     the parameters of the laws at x and x + δ
levels, before.quantiles, after.quantiles    quantiles of θ, a row for each level
theta, before.density, after.density    where there is a curve, or masses
class_names             of a classifier whose classes are named: entry k is class k
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np

from audit.formats.figure.portraits import portrait_of
from audit.ground.storage.arrays import Array
from audit.ground.storage.npz import pack
from audit.reports.portraits import Portrait, Prediction
from audit.reports.report import Report

SUFFIX = ".npz"


def arrays(report: Report, index: int) -> bytes:
    """Return the npz of one input.

    Raises:
        ConfigError: the report does not have its perturbation.
    """
    found = portrait_of(report, index)
    file = io.BytesIO()
    pack(file, dict(_columns(found, report.model.class_names)))
    return file.getvalue()


def _columns(
    found: Portrait, names: Sequence[str] | None
) -> Iterator[tuple[str, Array]]:
    yield "index", np.array(found.index)
    if names is not None and found.kind == "masses":
        yield "class_names", np.array(names)
    for name in ("radius", "cost", "x", "delta"):
        yield name, np.asarray(getattr(found, name), dtype=np.float64)
    if found.levels:
        yield "levels", np.array(found.levels)
    if found.axes:
        yield "theta", np.array(found.axes[0], dtype=np.float64)
    for side, law in (("before", found.before), ("after", found.after)):
        if law is not None:
            yield from _of_law(side, law)


def _of_law(side: str, law: Prediction) -> Iterator[tuple[str, Array]]:
    for name, values in law.parameters.items():
        yield f"{side}.{name}", np.asarray(values, dtype=np.float64)
    for name in ("quantiles", "density"):
        values = getattr(law, name)
        if values is not None:
            yield f"{side}.{name}", np.asarray(values, dtype=np.float64)
