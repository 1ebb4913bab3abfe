"""The space in which the data vary: their leading principal components.

With x in units of the perturbation (its free features m), centred, and variances
s₁² ≥ s₂² ≥ … along the principal axes, the space is spanned by the fewest leading axes
that hold 95 % of Σ s_i². A worst direction v with a small share ‖Qv‖² in it leaves the
data's own manifold: the model is sensitive where it has seen nothing.

The covariance [m, m] is added up over chunks of the audited rows, at most 4,096 of them
evenly spread, about the mean of the first chunk: memory does not grow with N.

Source: Jolliffe, Principal Component Analysis (2002), section 6.1.1, for the share of
variance as a rule.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.geometry.frame import Frame
from audit.geometry.row_frame import Frames
from audit.ground.distinct import distinct
from audit.measure.questions import Principal
from audit.measure.selection import Selected, rows_at
from audit.models.opening import OpenModel

HELD = 0.95
"""Of the variance, by the leading components."""
MOST_FEATURES = 1024
MOST_ROWS = 4096
_CHUNK = 512


def principal_space(
    model: OpenModel, frame: Frames, rows: Selected
) -> Principal | None:
    """Return the principal space of the audited rows.

    Args:
        model: open.
        frame: which features move, in which units.
        rows: the audited rows, ascending.

    Returns:
        None where φ is perturbed and not the data, or there is a single feature.
    """
    m = len(frame.free)
    if model.space != "input" or m < 2:
        return None
    if not isinstance(frame, Frame):
        return Principal(
            None,
            0,
            "units differ from row to row, and the data have no principal space in "
            "them",
        )
    if m > MOST_FEATURES:
        return Principal(
            None,
            0,
            f"the data's principal space is taken up to {MOST_FEATURES} features, and "
            f"{m} are free",
        )
    places = distinct(np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.int64))
    spread = rows_at(rows, places)
    count, covariance = _covariance(_chunks(model, frame, spread), m)
    if count < 2 or not bool(torch.isfinite(covariance).all()):
        return Principal(None, count, "fewer than two inputs have a finite variance")
    return _leading(count, covariance)


def _leading(count: int, covariance: Tensor) -> Principal:
    values, vectors = torch.linalg.eigh(covariance)
    held = values.flip(0).clamp_min(0.0).cumsum(0)
    if not bool(held[-1] > 0):
        return Principal(None, count, "the audited inputs are all alike")
    dimension = int((held < HELD * held[-1]).sum()) + 1
    return Principal(vectors.flip(1)[:, :dimension].contiguous(), count)


def _covariance(chunks: Iterator[Tensor], m: int) -> tuple[int, Tensor]:
    """Return the number of rows, and their covariance [m, m]."""
    count, shift = 0, torch.zeros(m, dtype=torch.float64)
    sums, squares = torch.zeros_like(shift), torch.zeros(m, m, dtype=torch.float64)
    for chunk in chunks:
        shift = shift if count else chunk.mean(dim=0)
        moved = chunk - shift
        count += len(chunk)
        sums += moved.sum(dim=0)
        squares += moved.mT @ moved
    mean = sums / max(count, 1)
    return count, squares / max(count, 1) - torch.outer(mean, mean)


def _chunks(
    model: OpenModel, frame: Frame, rows: NDArray[np.int64]
) -> Iterator[Tensor]:
    """Yield finite rows [n, m], in units of the perturbation, on the CPU."""
    free, unit = frame.free.cpu(), frame.unit.cpu().double()
    for part in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
        part = part[model.inputs.finite(part)]
        if len(part):
            x = torch.from_numpy(model.perturbed(part)).reshape(len(part), -1)
            yield x.double()[:, free] / unit
