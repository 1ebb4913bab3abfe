"""One block of inputs: model -> quadratic form -> spectrum -> attacks -> columns.

A block always has the same number of rows, filled up with copies. The rounding of a
matrix product or an exponential depends on the shape it is computed in, so this, and
noise keyed by the input's index, make a number independent of `--batch-size`, workers,
engine and of which neighbours were skipped.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.families.implicit import ImplicitFamily
from audit.geometry.divergences import Divergence, Tensors
from audit.linalg.decompose import decompose
from audit.linalg.operators import (
    Diagonal,
    Matrix,
)
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Spectrum
from audit.measure.columns import (
    chain,
    compare,
    complete_data_bound,
    linear_columns,
    linear_law,
    missing_reasons,
    plain,
    quadratic_columns,
    relative_blur,
)
from audit.measure.point import Point, Roots, in_frame, linearized
from audit.measure.questions import Chunk, Questions
from audit.models.maps import RowByRow
from audit.models.opening import OpenModel


def measure(
    model: OpenModel, questions: Questions, index: NDArray[np.int64], block: int
) -> Chunk:
    """Answer the questions at some inputs, in one block.

    Args:
        model: the open model.
        questions: what is asked.
        index: at most `block` input indices.
        block: the rows that are computed. What is missing, or cannot be measured, is
            filled with copies of other rows, and left out of the answers.
    """
    padded = np.resize(index, block)
    padded[len(index) :] = index[-1]
    phi, rows, errors = linearized(model, questions, padded)
    skipped = skip_reasons(model, padded, phi, rows)
    kept = np.array([i not in skipped for i in index.tolist()], dtype=bool).nonzero()[0]
    chunk = Chunk(padded, skipped=sorted(skipped.items()))
    if not len(kept):
        return chunk.take(kept)
    if skipped:
        valid = [row if i not in skipped else kept[0] for row, i in enumerate(padded)]
        padded = padded[valid]
        if isinstance(rows, RowByRow):
            phi, rows, _ = linearized(model, questions, padded)
        else:
            phi, rows = phi[valid], replace(rows, entries=rows.entries[valid])
            errors = errors and Matrix(errors.entries[valid])
    framed = in_frame(rows, questions.frame)
    blur = errors and questions.frame.pull(errors)
    point = Point(padded, model.density.family, phi, framed, blur)
    for row, reason in sorted(answer_all(point, questions, chunk).items()):
        if row in kept:
            chunk.skipped.append((int(padded[row]), reason))
            kept = kept[kept != row]
    return chunk.take(kept)


def skip_reasons(
    model: OpenModel,
    index: NDArray[np.int64],
    phi: Tensor,
    jacobian: Matrix | Diagonal | RowByRow,
) -> dict[int, str]:
    """Return input index -> why it cannot be measured.

    A Jacobian that is not stored is asked for Jᵀ 1: any NaN or infinity in J is there.
    """
    reasons: dict[int, str] = {}
    entries = (
        jacobian.rmatmat(torch.ones_like(jacobian.phi).unsqueeze(-1))
        if isinstance(jacobian, RowByRow)
        else jacobian.entries
    )
    finite = torch.isfinite(entries).flatten(1).all(dim=1)
    gradient = {"the gradient is not finite": ~finite}
    for reason, rows in {**model.density.family.violations(phi), **gradient}.items():
        for i in index[rows.cpu().numpy()].tolist():
            reasons.setdefault(i, reason)
    for i in index[~model.inputs.finite(index)].tolist():
        reasons[i] = model.inputs.blemish(i)
    return reasons


def answer_all(point: Point, questions: Questions, chunk: Chunk) -> dict[int, str]:
    """Ask everything at a point; return row -> why it cannot be measured after all.

    With `rel_error` the draws are doubled for the rows that are not known well enough,
    until they are, or `max_draws` is reached. A row's numbers come from its last round
    alone, so they do not depend on how its neighbours fare.
    """
    broken = answer(point, questions, chunk)
    fixed = isinstance(point.family, ImplicitFamily) and point.family.fixed
    if questions.rel_error is None or fixed:
        return broken
    asked = questions
    while asked.draws * 2 <= questions.max_draws:
        rows = _unsettled(chunk, questions.rel_error)
        if not len(rows):
            break
        asked = replace(asked, draws=asked.draws * 2)
        again = Chunk(point.index)
        found = answer(point.refilled(rows), asked, again)
        broken |= {int(rows[i]): why for i, why in found.items() if i < len(rows)}
        chunk.put(rows, again)
    return broken


def _unsettled(chunk: Chunk, rel_error: float) -> NDArray[np.intp]:
    """Return the rows with a standard error above the tolerance."""
    over = np.zeros(len(chunk.index), dtype=bool)
    for columns in chunk.columns.values():
        for name in ("trace", "eigenvalue"):
            if f"{name}_se" in columns:
                over |= columns[f"{name}_se"] > rel_error * columns[name]
    return over.nonzero()[0]


def answer(point: Point, questions: Questions, chunk: Chunk) -> dict[int, str]:
    """Ask everything at a point and write the answers into the chunk.

    Returns:
        Row -> why it has no answer.
    """
    roots = Roots(point, questions.noise(point.index))
    known: dict[str, tuple[QuadraticForm, Spectrum]] = {}
    for divergence in questions.divergences:
        law = linear_law(divergence, point)
        if law is not None:
            columns = linear_columns(law, questions)
            chunk.reasons[divergence.name] = missing_reasons(columns, questions)
            _keep_directions(
                divergence.name, law.direction[..., None], questions, chunk
            )
        else:
            form = roots.form(divergence)
            spectrum = decompose(form, questions.top)
            known[divergence.name] = form, spectrum
            columns = quadratic_columns(form, spectrum, questions)
            columns |= chain(point, form, spectrum)
            if divergence.tensor is Tensors.FISHER:
                columns |= complete_data_bound(point)
            if point.error is not None:
                blurred = Roots(replace(point, jacobian=point.error), roots.noise)
                columns["derivative_error"] = relative_blur(
                    blurred.form(divergence), spectrum
                )
            _keep_directions(divergence.name, spectrum.directions, questions, chunk)
            if questions.keep_directions:
                leading = spectrum.eigenvalues[:, : questions.top]
                chunk.eigenvalues[divergence.name] = plain(leading)
        chunk.columns[divergence.name] = {n: plain(v) for n, v in columns.items()}
        _note_infinite(divergence, point, chunk)
    if {"kl", "quantile"} <= set(known):
        for one, other in (("kl", "quantile"), ("quantile", "kl")):
            columns = compare(known[one], known[other][1])
            chunk.columns[one] |= {n: plain(v) for n, v in columns.items()}
    return roots.broken()


def _keep_directions(
    name: str, directions: Tensor, questions: Questions, chunk: Chunk
) -> None:
    if questions.keep_directions:
        chunk.directions[name] = plain(questions.frame.place(directions))


def _note_infinite(divergence: Divergence, point: Point, chunk: Chunk) -> None:
    """Say why a transport tensor is infinite on some rows: no second moment."""
    if divergence.tensor is Tensors.FISHER:
        return
    for reason, rows in point.family.transport_caveat(point.phi).items():
        if bool(rows.any()):
            names = chunk.columns[divergence.name]
            chunk.reasons.setdefault(divergence.name, dict.fromkeys(names, reason))
