"""One block of inputs: model -> quadratic form -> spectrum -> attacks -> columns.

A block always has the same number of rows, filled up with copies. The rounding of a
matrix product or an exponential depends on the shape it is computed in, so this, and
noise keyed by the input's index, make a number independent of `--batch-size`, workers,
engine and of which neighbours were skipped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks import Attack
from audit.families.implicit import ImplicitFamily
from audit.families.interface import Family
from audit.geometry.chain import factor
from audit.geometry.comparison import angle, attained
from audit.geometry.divergences import Divergence, Tensors
from audit.geometry.frame import Frame
from audit.geometry.linear_law import LinearLaw
from audit.geometry.pullback import pull_back
from audit.geometry.trust import averaging_checks
from audit.linalg.decompose import decompose, split
from audit.linalg.operators import (
    Averaged,
    Diagonal,
    LinearOperator,
    Matrix,
    Product,
    Selection,
    Unstored,
)
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate, Spectrum
from audit.models.differences import EstimatedJacobian
from audit.models.maps import ReverseJacobian, RowByRow
from audit.models.opening import OpenModel
from audit.noise import Noise

Floats = NDArray[np.float64]
UNRESOLVED = 0.1  # relative error of a quadrature: more is no number
_NO_GRID = "no grid resolves the density (its quadrature is off by more than 10 %)"
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
    sampling: str = "auto"
    rel_error: float | None = None
    max_draws: int = 0

    def noise(self, index: NDArray[np.int64]) -> Noise:
        """Return the randomness of some inputs."""
        return Noise(self.seed, index, self.draws, self.sampling)


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

    def put(self, rows: NDArray[np.intp], newer: Chunk) -> None:
        """Replace the answers of some rows by the first ones of another chunk."""
        count = len(rows)
        for name, columns in newer.columns.items():
            for quantity, values in columns.items():
                self.columns[name][quantity][rows] = values[:count]
        for name, values in newer.directions.items():
            self.directions[name][rows] = values[:count]
        for name, values in newer.eigenvalues.items():
            self.eigenvalues[name][rows] = values[:count]


def rows_of(operator: LinearOperator, rows: Tensor) -> LinearOperator:
    """Return some matrices of a batch; those of a selection are all alike."""
    if isinstance(operator, Matrix | Diagonal):
        return replace(operator, entries=operator.entries[rows])
    assert isinstance(operator, Selection)
    return operator


@dataclass(frozen=True)
class Point:
    """Where the questions are asked: φ and its Jacobian in the frame."""

    index: NDArray[np.int64]
    family: Family
    phi: Tensor  # [n, p]
    jacobian: LinearOperator  # [n, p, m]
    error: LinearOperator | None = None  # of its entries, where it is an estimate

    def refilled(self, rows: NDArray[np.intp]) -> Point:
        """Return some rows, filled up with copies of the first to as many as before."""
        places = np.full(len(self.index), rows[0])
        places[: len(rows)] = rows
        taken = torch.from_numpy(places).to(self.phi.device)
        return replace(
            self,
            index=self.index[places],
            phi=self.phi[taken],
            jacobian=rows_of(self.jacobian, taken),
        )


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


def linearized(
    model: OpenModel, questions: Questions, index: NDArray[np.int64]
) -> tuple[Tensor, Matrix | Diagonal | RowByRow, Matrix | None]:
    """Return φ, the Jacobian, and the errors of its entries where it is an estimate.

    It is stored, by a backward pass for each of its p rows, unless fewer rows of roots
    will meet it: then each of them is pulled back by a pass of its own.
    """
    phi, jacobian = model.density.parameter_map.linearize(*model.rows(index))
    few = meeting(model.density.family, questions) < jacobian.shape[1]
    if few and isinstance(jacobian, ReverseJacobian):
        return phi, RowByRow(jacobian.phi, jacobian.x), None
    return phi, stored(jacobian), errors_of(jacobian)


def meeting(family: Family, questions: Questions) -> float:
    """Return how many rows will be pulled back, ∞ where none is on its own.

    A closed-form root is not, and with `rel_error` the draws have no fixed number. The
    mean score is a row too, and one is spent on looking for a NaN.
    """
    if not isinstance(family, ImplicitFamily) or questions.rel_error is not None:
        return math.inf
    rows, tensors = 1, {divergence.tensor for divergence in questions.divergences}
    if Tensors.FISHER in tensors and family.source is not None:
        rows += family.source.count(questions.draws) + 1
    if Tensors.TRANSPORT in tensors:
        rows += questions.draws * family.n
    return rows


def in_frame(jacobian: Matrix | Diagonal | RowByRow, frame: Frame) -> LinearOperator:
    """Return J S."""
    if isinstance(jacobian, RowByRow):
        count, _, d = jacobian.shape
        return Unstored(jacobian, Selection(frame.free, frame.unit, count, d))
    return frame.pull(jacobian)


def stored(jacobian: LinearOperator) -> Matrix | Diagonal:
    """Return a Jacobian that is computed: diagonal ones stay so."""
    return jacobian if isinstance(jacobian, Diagonal) else Matrix(jacobian.dense())


def errors_of(jacobian: LinearOperator) -> Matrix | None:
    """Return the estimated errors of a Jacobian's entries; None if it is exact."""
    return Matrix(jacobian.error) if isinstance(jacobian, EstimatedJacobian) else None


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
    if questions.rel_error is None:
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
            chunk.reasons[divergence.name] = _missing(columns, questions)
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
                chunk.eigenvalues[divergence.name] = _plain(leading)
        chunk.columns[divergence.name] = {n: _plain(v) for n, v in columns.items()}
        _note_infinite(divergence, point, chunk)
    if {"kl", "quantile"} <= set(known):
        for one, other in (("kl", "quantile"), ("quantile", "kl")):
            columns = compare(known[one], known[other][1])
            chunk.columns[one] |= {n: _plain(v) for n, v in columns.items()}
    return roots.broken()


@dataclass
class Roots:
    """The pulled-back roots at a point; divergences with one tensor share its draws."""

    point: Point
    noise: Noise
    known: dict[Tensors, LinearOperator] = field(default_factory=dict)

    def form(self, divergence: Divergence) -> QuadraticForm:
        """Return a divergence's local form."""
        if divergence.tensor not in self.known:
            point = self.point
            form = pull_back(
                divergence, point.family, point.phi, point.jacobian, self.noise
            )
            self.known[divergence.tensor] = form.root
        return QuadraticForm(divergence.scale, self.known[divergence.tensor])

    def broken(self) -> dict[int, str]:
        """Return the rows where an average over draws is not finite."""
        found: dict[int, str] = {}
        for root in self.known.values():
            outer, _ = split(root)
            if isinstance(outer, Averaged):
                bad = ~torch.isfinite(outer.entries).flatten(1).all(dim=1)
                found |= _each(bad, "a draw's derivative is not finite")
                error = outer.checks.get("quadrature_error")
                if error is not None:
                    found |= _each(~(error <= UNRESOLVED), _NO_GRID)
        return found


def _each(rows: Tensor, reason: str) -> dict[int, str]:
    return dict.fromkeys(rows.nonzero()[:, 0].tolist(), reason)


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
    outer, inner = split(form.root)
    if isinstance(outer, Averaged):
        columns |= averaging_checks(outer, inner, spectrum)
    for label, attack in questions.attacks.items():
        columns |= _with_error(label, attack.expected(form, spectrum))
    return columns


def chain(point: Point, form: QuadraticForm, spectrum: Spectrum) -> dict[str, Tensor]:
    """Return what map and family contribute; nothing where φ is not the model's own."""
    if isinstance(point.family, ImplicitFamily):
        return {}
    assert isinstance(form.root, Product)
    return factor(form.root, spectrum.trace.value)


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
