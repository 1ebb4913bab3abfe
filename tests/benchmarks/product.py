"""The product from a saved file: the bare question, and every column of a scan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.linalg.decompose import decompose
from audit.measure import measure
from audit.measure.point import Point, Roots, in_frame, linearized
from audit.measure.preparation import Prepared


def blocks(prepared: Prepared) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each block."""
    rows = prepared.rows
    yield from np.split(rows, range(prepared.block, len(rows), prepared.block))


def bare(prepared: Prepared) -> Tensor:
    """Return the eigenvalues [n, K]; directions and trace are computed beside them."""
    model, questions, found = prepared.model, prepared.questions, []
    divergence = questions.divergences[0]
    for rows in blocks(prepared):
        padded = np.resize(rows, prepared.block)
        noise = questions.noise(padded)
        phi, jacobian, _ = linearized(model, questions, padded)
        framed = in_frame(jacobian, questions.frame, noise)
        point = Point(padded, model.density.family, phi, framed, model.rounding)
        form = Roots(point, noise).form(divergence)
        spectrum = decompose(form, questions.top, model.rounding)
        found.append(spectrum.eigenvalues[: len(rows), : questions.top])
    return torch.cat(found).double().cpu()


def whole(prepared: Prepared) -> Tensor:
    """Return the eigenvalues [n, K] of a measurement with every column of a scan."""
    model, questions, found = prepared.model, prepared.questions, []
    name = questions.divergences[0].name
    for rows in blocks(prepared):
        answers = measure(model, questions, rows, prepared.block)
        found.append(torch.from_numpy(answers.eigenvalues[name]))
    return torch.cat(found)
