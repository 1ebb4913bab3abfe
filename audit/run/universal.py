"""The direction that is worst for all inputs at once, from the sum of their forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from audit.measure import MeanForm
from audit.measure.mean_form import MOST_FEATURES
from audit.measure.preparation import Prepared
from audit.reports.measured import UniversalInfo
from audit.reports.sampling import Sample
from audit.reports.values import Floats
from audit.verify import Verified
from audit.verify.universal import universal_costs

AT_REST = "at rest: the form is zero at every input"
NO_FORM = "no input has a finite form"
BY_PRODUCTS = "the mean form adds up matrices, and none is stored (--method krylov)"
OWN_UNITS = (
    "every input has its own units (--units row, or a file of all rows), and no single "
    "perturbation is worst in all of them"
)
TOO_MANY = (
    "the mean form is kept up to {} features, and more are free: fewer with --mask"
)


def universal(
    prepared: Prepared, means: Mapping[str, MeanForm], sample: Sample, checked: Verified
) -> tuple[dict[str, UniversalInfo], Verified]:
    """Return each divergence's universal direction, and what it really costs.

    Args:
        prepared: the open model.
        means: divergence -> the sum of the forms of all inputs.
        sample: the checked inputs, and how many each of them stands for.
        checked: exact values at these.

    Returns:
        What is known of each direction; and the exact values with a column more for
        each attack along a direction, `LABEL_universal`.
    """
    free = prepared.questions.matrix_free
    why = BY_PRODUCTS if free else TOO_MANY.format(MOST_FEATURES)
    own = not prepared.questions.frame.alike
    found = {name: _direction(mean, why, own) for name, mean in means.items()}
    along = {name: v for name, (_, v) in found.items() if v is not None}
    columns = {name: dict(own) for name, own in checked.columns.items()}
    signs: dict[str, Mapping[str, int]] = {}
    if along and len(checked.index):
        weights = torch.from_numpy(sample.weights)
        costs = universal_costs(checked.sites, along, weights)
        for name, (paid, chosen) in costs.items():
            columns[name] |= paid
            signs[name] = chosen
    infos = {
        name: replace(
            info, direction=_placed(prepared, v), signs=dict(signs.get(name, {}))
        )
        for name, (info, v) in found.items()
    }
    return infos, replace(checked, columns=columns)


def _direction(
    mean: MeanForm, unstored: str, own: bool
) -> tuple[UniversalInfo, Floats | None]:
    """Return what the sum of forms says, and the direction [m] if there is one.

    Args:
        mean: the sum.
        unstored: why there is no sum where it is not kept.
        own: whether every input has its own units.
    """
    info = UniversalInfo(mean.n, mean.left_out)
    if not mean.n:
        return replace(info, reason=NO_FORM), None
    if own:
        return replace(info, reason=OWN_UNITS), None
    if not mean.kept:
        return replace(info, reason=unstored), None
    if not np.isfinite(mean.matrix).all():
        return replace(info, reason="the sum of the forms overflows"), None
    v, top, each = mean.universal()
    if top == 0:
        return replace(info, reason=AT_REST), None
    return replace(info, eigenvalue=top, mean_eigenvalue=each), v


def _placed(prepared: Prepared, v: Floats | None) -> Floats | None:
    """Return a direction at its features [*event]."""
    if v is None:
        return None
    frame = prepared.questions.frame
    placed = frame.place(torch.from_numpy(v)[None, :, None].to(frame.free.device))
    found: Floats = placed.reshape(prepared.model.event).cpu().numpy()
    return found
