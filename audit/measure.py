"""One block of inputs: model -> quadratic form -> spectrum -> attacks -> columns.

A block always has the same number of rows, filled up with copies. The rounding of a
matrix product or an exponential depends on the shape it is computed in, so this, and
noise keyed by the input's index, make a number independent of `--batch-size`, workers,
engine and of which neighbours were skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks import Attack
from audit.families.interface import Family
from audit.geometry.chain import factor
from audit.geometry.comparison import angle, attained
from audit.geometry.divergences import Divergence, Tensors
from audit.geometry.frame import Frame
from audit.geometry.linear_law import LinearLaw
from audit.geometry.pullback import pull_back
from audit.linalg.decompose import decompose
from audit.linalg.operators import LinearOperator, Matrix, Product
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate, Spectrum
from audit.models.differences import EstimatedJacobian
from audit.models.opening import OpenModel
from audit.noise import Noise

Floats = NDArray[np.float64]
LINEAR = "the distance is linear in the perturbation: see 'linear'"


@dataclass(frozen=True)
class Questions:
    """What is asked at every input."""

    divergences: tuple[Divergence, ...]
    attacks: Mapping[str, Attack]
    frame: Frame
    top: int
    tau: float
    draws: int
    seed: int
    keep_directions: bool


@dataclass
class Chunk:
    """Plain answers for n inputs: what a worker hands back.

    Shapes: index [n]; columns [n]; directions [n, K, d]; eigenvalues [n, K].
    """

    index: NDArray[np.int64]
    columns: dict[str, dict[str, Floats]] = field(default_factory=dict)
    directions: dict[str, Floats] = field(default_factory=dict)
    eigenvalues: dict[str, Floats] = field(default_factory=dict)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)

    def take(self, rows: NDArray[np.intp]) -> Chunk:
        """Return the answers of some rows."""
        columns = {
            name: {quantity: values[rows] for quantity, values in found.items()}
            for name, found in self.columns.items()
        }
        directions = {name: values[rows] for name, values in self.directions.items()}
        eigenvalues = {name: values[rows] for name, values in self.eigenvalues.items()}
        index = self.index[rows]
        return replace(
            self,
            index=index,
            columns=columns,
            directions=directions,
            eigenvalues=eigenvalues,
        )


@dataclass(frozen=True)
class Point:
    """Where the questions are asked: φ and its Jacobian in the frame, rows kept."""

    index: NDArray[np.int64]
    family: Family
    phi: Tensor  # [n, p]
    jacobian: LinearOperator  # [n, p, m]
    error: LinearOperator | None = None  # of its entries, where it is an estimate


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
    phi, jacobian = model.density.parameter_map.linearize(*model.rows(padded))
    rows, errors = Matrix(jacobian.dense()), errors_of(jacobian)
    skipped = skip_reasons(model, padded, phi, rows)
    kept = np.array([i not in skipped for i in index.tolist()], dtype=bool).nonzero()[0]
    chunk = Chunk(padded, skipped=sorted(skipped.items()))
    if not len(kept):
        return chunk.take(kept)
    if skipped:
        valid = [row if i not in skipped else kept[0] for row, i in enumerate(padded)]
        phi, rows = phi[valid], Matrix(rows.entries[valid])
        padded, errors = padded[valid], errors and Matrix(errors.entries[valid])
    framed = questions.frame.pull(rows)
    blur = errors and questions.frame.pull(errors)
    answer(Point(padded, model.density.family, phi, framed, blur), questions, chunk)
    return chunk.take(kept)


def errors_of(jacobian: LinearOperator) -> Matrix | None:
    """Return the estimated errors of a Jacobian's entries; None if it is exact."""
    return Matrix(jacobian.error) if isinstance(jacobian, EstimatedJacobian) else None


def skip_reasons(
    model: OpenModel, index: NDArray[np.int64], phi: Tensor, jacobian: Matrix
) -> dict[int, str]:
    """Return input index -> why it cannot be measured."""
    reasons: dict[int, str] = {}
    squares = jacobian.gram().diagonal(dim1=1, dim2=2)
    gradient = {"the gradient is not finite": ~torch.isfinite(squares).all(dim=1)}
    for reason, rows in {**model.density.family.violations(phi), **gradient}.items():
        for i in index[rows.cpu().numpy()].tolist():
            reasons.setdefault(i, reason)
    for i in index[~model.inputs.finite(index)].tolist():
        reasons[i] = model.inputs.blemish(i)
    return reasons


def answer(point: Point, questions: Questions, chunk: Chunk) -> None:
    """Ask everything at a point and write the answers into the chunk."""
    noise = Noise(questions.seed, point.index, questions.draws)
    known: dict[str, tuple[QuadraticForm, Spectrum]] = {}
    for divergence in questions.divergences:
        law = linear_law(divergence, point)
        if law is not None:
            columns = linear_columns(law, questions)
            chunk.reasons[divergence.name] = _missing(columns, questions)
            _keep_directions(
                divergence.name, law.direction[..., None], questions, chunk
            )
        else:
            form = pull_back(divergence, point.family, point.phi, point.jacobian, noise)
            spectrum = decompose(form, questions.top)
            known[divergence.name] = form, spectrum
            columns = quadratic_columns(form, spectrum, questions)
            if divergence.tensor is Tensors.FISHER:
                columns |= complete_data_bound(point)
            if point.error is not None:
                blurred = pull_back(
                    divergence, point.family, point.phi, point.error, noise
                )
                columns["derivative_error"] = relative_blur(blurred, spectrum)
            _keep_directions(divergence.name, spectrum.directions, questions, chunk)
            if questions.keep_directions:
                leading = spectrum.eigenvalues[:, : questions.top]
                chunk.eigenvalues[divergence.name] = _plain(leading)
        chunk.columns[divergence.name] = {n: _plain(v) for n, v in columns.items()}
        _note_infinite(divergence, point, chunk)
    if {"kl", "quantile"} <= set(known):
        for one, other in (("kl", "quantile"), ("quantile", "kl")):
            columns = compare(known[one], known[other][1])
            chunk.columns[one] |= {n: _plain(v) for n, v in columns.items()}


def quadratic_columns(
    form: QuadraticForm, spectrum: Spectrum, questions: Questions
) -> dict[str, Tensor]:
    """Return the quantities of a quadratic form, each [n]."""
    columns = _with_error("trace", spectrum.trace) | _with_error(
        "eigenvalue", spectrum.top
    )
    if spectrum.bracket is not None:
        columns["eigenvalue_lower"], columns["eigenvalue_upper"] = spectrum.bracket
    columns |= {
        "gap": spectrum.gap,
        "rank": spectrum.rank,
        "effective_rank": spectrum.effective_rank,
        "radius": (questions.tau / (form.scale * spectrum.top.value)).sqrt(),
    }
    assert isinstance(form.root, Product)
    columns |= factor(form.root, spectrum.trace.value)
    for label, attack in questions.attacks.items():
        columns |= _with_error(label, attack.expected(form, spectrum))
    return columns


def relative_blur(blurred: QuadraticForm, spectrum: Spectrum) -> Tensor:
    """Return the relative error [n] of the top eigenvalue, from that of the Jacobian.

    A root A known up to E has σ_max within ‖E‖ of the truth, so λ = σ² within
    2‖E‖ / σ of itself; the trace within no more.
    """
    squared = blurred.root.gram().diagonal(dim1=1, dim2=2).sum(dim=1)
    return 2 * (squared / spectrum.top.value).sqrt()


def compare(one: tuple[QuadraticForm, Spectrum], other: Spectrum) -> dict[str, Tensor]:
    """Return how one divergence's worst direction stands to the other's, each [n]."""
    form, spectrum = one
    return {
        "angle": angle(spectrum, other),
        "attained": attained(form, spectrum, other),
    }


def complete_data_bound(point: Point) -> dict[str, Tensor]:
    """Return the certified bounds of a mixture: its labels known, F can only grow."""
    root = point.family.complete_fisher_root(point.phi)
    if root is None:
        return {}
    bound = decompose(QuadraticForm(1.0, Product(root, point.jacobian)), 1)
    return {"trace_bound": bound.trace.value, "eigenvalue_bound": bound.top.value}


def linear_law(divergence: Divergence, point: Point) -> LinearLaw | None:
    """Return the linear law of a discrete family; None where the form is quadratic."""
    if divergence.tensor is Tensors.FISHER:
        return None
    root = point.family.linear_root(point.phi)
    if root is None:
        return None
    return LinearLaw(Product(root, point.jacobian).dense())


def linear_columns(law: LinearLaw, questions: Questions) -> dict[str, Tensor]:
    """Return the quantities of a linear law, each [n]."""
    columns = {"linear": law.coefficient, "radius": questions.tau / law.coefficient}
    for label, attack in questions.attacks.items():
        expected = law.expected(attack)
        value = torch.full_like(law.coefficient, torch.nan)
        columns[label] = value if expected is None else expected.value
    return columns


def _missing(columns: dict[str, Tensor], questions: Questions) -> dict[str, str]:
    """Say what a linear law leaves open."""
    reasons = {"trace": LINEAR, "eigenvalue": LINEAR}
    for label in questions.attacks:
        if bool(columns[label].isnan().all()):
            reasons[label] = "two moments of δ do not give the mean of |aᵀδ|"
    return reasons


def _keep_directions(
    name: str, directions: Tensor, questions: Questions, chunk: Chunk
) -> None:
    if questions.keep_directions:
        chunk.directions[name] = _plain(questions.frame.place(directions))


def _note_infinite(divergence: Divergence, point: Point, chunk: Chunk) -> None:
    """Say why a transport tensor is infinite on some rows: no second moment."""
    if divergence.tensor is Tensors.FISHER:
        return
    for reason, rows in point.family.transport_caveat(point.phi).items():
        if bool(rows.any()):
            names = chunk.columns[divergence.name]
            chunk.reasons.setdefault(divergence.name, dict.fromkeys(names, reason))


def _with_error(name: str, estimate: Estimate) -> dict[str, Tensor]:
    if estimate.standard_error is None:
        return {name: estimate.value}
    return {name: estimate.value, f"{name}_se": estimate.standard_error}


def _plain(values: Tensor) -> Floats:
    """Return numbers as float64, NaN where they are not finite."""
    array: Floats = values.detach().double().cpu().numpy()
    return np.where(np.isfinite(array), array, np.nan)
