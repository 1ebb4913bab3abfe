"""One block of inputs: model -> quadratic form -> spectrum -> attacks -> columns.

A block always has the same number of rows, filled up with copies. The rounding of a
matrix product or an exponential depends on the shape it is computed in, so this, and
noise keyed by the input's index, make a number independent of `--batch-size`, workers,
engine and of which neighbours were skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.geometry.divergence import Divergence
from audit.geometry.frame import Frame
from audit.ground import stages
from audit.linalg.decompose import decompose
from audit.linalg.operators import Diagonal, rows_of
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Spectrum
from audit.linalg.stored import Matrix
from audit.measure.answers import Answers
from audit.measure.columns import (
    Found,
    beside_form,
    compare,
    complete_data_bound,
    linear_columns,
    linear_law,
    of_form,
    plain,
    relative_blur,
)
from audit.measure.mean_form import means_of
from audit.measure.point import Point, Roots, in_frame, linearized
from audit.measure.questions import Questions
from audit.measure.shares import coordinate_shares, manifold_share, role_shares
from audit.models.maps import RowByRow
from audit.models.opening import OpenModel
from audit.reports.roles import ERROR, named
from audit.reports.values import Values

NO_UNIT = "its own level is zero, so that no perturbation is in proportion to it"


def measure(
    model: OpenModel, questions: Questions, index: NDArray[np.int64], block: int
) -> Answers:
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
    frame = questions.frame.at(padded)
    skipped = skip_reasons(model, padded, phi, rows) | unmoved(frame, padded)
    kept = np.array([i not in skipped for i in index.tolist()], dtype=bool).nonzero()[0]
    if not len(kept):
        return Answers(index[kept], skipped=tuple(sorted(skipped.items())))
    if questions.bounds is not None:
        questions.bounds.require(model.rows(index[kept])[0], index[kept])
    if skipped:
        valid = [row if i not in skipped else kept[0] for row, i in enumerate(padded)]
        padded = padded[valid]
        if isinstance(rows, RowByRow):
            phi, rows, _ = linearized(model, questions, padded)
        else:
            phi, rows = phi[valid], _taken(rows, valid)
            errors = errors and Matrix(errors.entries[valid])
    framed = in_frame(rows, questions.frame, questions.noise(padded))
    blur = errors and questions.frame.at(padded).pull(errors)
    point = Point(padded, model.density.family, phi, framed, model.rounding, blur)
    answers, broken, found = answer_all(point, questions)
    for row, reason in sorted(broken.items()):
        if row in kept:
            skipped[int(padded[row])] = reason
            kept = kept[kept != row]
    means = means_of(found, kept, questions.matrix_free)
    skips = tuple(sorted(skipped.items()))
    if len(kept) < len(answers.index):
        answers = answers.take(kept)
    return replace(answers, skipped=skips, means=means)


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
    gradient = {"the gradient is not finite": ~_finite(jacobian)}
    for reason, rows in {**model.density.family.violations(phi), **gradient}.items():
        for i in index[rows.cpu().numpy()].tolist():
            reasons.setdefault(i, reason)
    for i in index[~model.inputs.finite(index)].tolist():
        reasons[i] = model.inputs.blemish(i)
    return reasons


def unmoved(frame: Frame, index: NDArray[np.int64]) -> dict[int, str]:
    """Return input index -> why it cannot be perturbed: its own units are all zero."""
    still = frame.still().cpu().numpy()
    return dict.fromkeys(index[np.broadcast_to(still, len(index))].tolist(), NO_UNIT)


def _finite(jacobian: Matrix | Diagonal | RowByRow) -> Tensor:
    """Return where all entries are finite [n]."""
    if isinstance(jacobian, Matrix):
        return jacobian.finite()
    entries = (
        jacobian.rmatmat(torch.ones_like(jacobian.phi).unsqueeze(-1))
        if isinstance(jacobian, RowByRow)
        else jacobian.entries
    )
    return torch.isfinite(entries).flatten(1).all(dim=1)


def _taken(
    jacobian: Matrix | Diagonal, places: NDArray[np.intp] | list[int]
) -> Matrix | Diagonal:
    """Return some of the matrices."""
    taken = rows_of(jacobian, torch.as_tensor(places).to(jacobian.entries.device))
    assert isinstance(taken, Matrix | Diagonal)
    return taken


def answer_all(
    point: Point, questions: Questions
) -> tuple[Answers, dict[int, str], dict[str, Found]]:
    """Ask everything at a point; return the answers, and row -> why it has none.

    The forms that are returned with them are those of the first round of draws.

    With `rel_error` the draws are doubled for the rows that are not known well enough,
    until they are, or `max_draws` is reached. A row's numbers come from its last round
    alone, so they do not depend on how its neighbours fare.
    """
    answers, broken, first = answer(point, questions)
    tensors = {divergence.tensor for divergence in questions.divergences}
    fixed = questions.matrix_free or point.family.cost(tensors, questions.draws).fixed
    if questions.rel_error is None or fixed:
        return answers, broken, first
    asked = questions
    while asked.draws * 2 <= questions.max_draws:
        rows = _unsettled(answers, questions.rel_error)
        if not len(rows):
            break
        asked = replace(asked, draws=asked.draws * 2)
        again, found, _ = answer(point.refilled(rows), asked)
        broken |= {int(rows[i]): why for i, why in found.items() if i < len(rows)}
        answers = answers.placed(rows, again)
    return answers, broken, first


def _unsettled(answers: Answers, rel_error: float) -> NDArray[np.intp]:
    """Return the rows with a standard error above the tolerance."""
    over = np.zeros(len(answers.index), dtype=bool)
    for columns in answers.columns.values():
        for name in ("trace", "eigenvalue"):
            error = columns.get(named(name, ERROR))
            if error is not None:
                over |= error.numbers > rel_error * columns[name].numbers
    return over.nonzero()[0]


def answer(
    point: Point, questions: Questions
) -> tuple[Answers, dict[int, str], dict[str, Found]]:
    """Ask everything once; return the answers, row -> why it has none, and forms."""
    roots = Roots(point, questions.noise(point.index))
    found: dict[str, Found] = {}
    columns: dict[str, dict[str, Values]] = {}
    directions: dict[str, Tensor] = {}
    eigenvalues: dict[str, Tensor] = {}
    parts: dict[str, Tensor | None] = {}
    for divergence in questions.divergences:
        stages.step(0.9 / len(questions.divergences))
        name, law = divergence.name, linear_law(divergence, point)
        if law is not None:
            columns[name] = linear_columns(law, questions)
            directions[name] = law.direction[..., None]
            columns[name] |= manifold_share(questions, law.direction)
            continue
        form = roots.form(divergence)
        one = Found(form, _spectrum(form, point, questions))
        found[name], columns[name] = one, _columns(divergence, one, roots, questions)
        directions[name] = one.spectrum.directions
        eigenvalues[name] = one.spectrum.eigenvalues[:, : questions.top]
        parts[name] = coordinate_shares(one, point)
    for name, other in (("kl", "quantile"), ("quantile", "kl")):
        if {name, other} <= set(found):
            columns[name] |= compare(found[name], found[other])
    answers = Answers(point.index, columns)
    if questions.keep_directions:
        place = questions.frame.place
        answers = replace(
            answers,
            directions={name: plain(place(v)) for name, v in directions.items()},
            eigenvalues={name: plain(values) for name, values in eigenvalues.items()},
            coordinates={n: plain(v) for n, v in parts.items() if v is not None},
        )
    return answers, roots.broken(), found


def _spectrum(form: QuadraticForm, point: Point, questions: Questions) -> Spectrum:
    return decompose(form, questions.top, point.rounding, questions.plan.decomposed)


def _columns(
    divergence: Divergence, found: Found, roots: Roots, questions: Questions
) -> dict[str, Values]:
    """Return all quantities of one divergence's form."""
    point = roots.point
    caveats = _caveats(divergence, point)
    columns = of_form(found, questions, caveats) | beside_form(
        divergence, found, point, caveats
    )
    columns |= role_shares(found, point)
    columns |= manifold_share(questions, found.spectrum.directions[:, :, 0], found)
    if divergence.is_fisher:
        columns |= complete_data_bound(point)
    if point.error is not None:
        blurred = Roots(replace(point, jacobian=point.error), roots.noise)
        form = blurred.form(divergence)
        columns["derivative_error"] = relative_blur(form, found.spectrum)
    return columns


def _caveats(divergence: Divergence, point: Point) -> Mapping[str, Tensor]:
    """Return why a transport tensor is infinite -> where: no second moment."""
    if not divergence.is_transport:
        return {}
    return point.family.transport_caveat(point.phi)
