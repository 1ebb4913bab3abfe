"""Where the questions are asked: φ, its Jacobian, and the roots that meet it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.families.interface import Family
from audit.geometry.divergence import Divergence
from audit.geometry.frame import Frame
from audit.geometry.pullback import pull_back
from audit.geometry.row_frame import Frames
from audit.linalg.averaged import Averaged, Sampled
from audit.linalg.decompose import split
from audit.linalg.matrix_free import Draw, MatrixFree
from audit.linalg.operators import Diagonal, Product, Selection, Unstored, rows_of
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import LinearOperator, Matrix
from audit.measure.plan import FORWARD, KRYLOV, PULLED, SWEEP
from audit.measure.questions import Questions
from audit.models.differences import EstimatedJacobian
from audit.models.maps import ReverseJacobian, RowByRow
from audit.models.opening import OpenModel
from audit.models.products import ByProducts, by_columns
from audit.nodes.noise import Noise

UNRESOLVED = 0.1  # relative error of a quadrature: more is no number
_STREAM = 23  # of the noise, and the next ones: what products are tried with
_NO_DERIVATIVE = "a draw's derivative is not finite"
_NO_GRID = "no grid resolves the density (its quadrature is off by more than 10 %)"


@dataclass(frozen=True)
class Point:
    """Where the questions are asked: φ and its Jacobian in the frame."""

    index: NDArray[np.int64]
    family: Family
    phi: Tensor  # [n, p]
    jacobian: LinearOperator  # [n, p, m]
    rounding: float  # of its entries, relative
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


def linearized(
    model: OpenModel, questions: Questions, index: NDArray[np.int64]
) -> tuple[Tensor, Matrix | Diagonal | RowByRow, Matrix | None]:
    """Return φ, the Jacobian, and the errors of its entries where it is an estimate.

    The plan says how J is taken.
    """
    rows, given = questions.plan.rows.value, model.rows(index)
    if rows == SWEEP and model.swept is not None:
        phi, whole = model.swept.linearize(*given)
        return phi, stored(whole), None
    if rows == KRYLOV and model.products is not None:
        phi, free = model.products.linearize(*given)
        return phi, by_products(free), None
    phi, jacobian = model.density.parameter_map.linearize(*given)
    if rows in (KRYLOV, PULLED, FORWARD):
        assert isinstance(jacobian, ReverseJacobian)  # else they are not planned
        return phi, _BY_GRAPH[str(rows)](jacobian), None
    return phi, stored(jacobian), errors_of(jacobian)


def in_frame(
    jacobian: Matrix | Diagonal | RowByRow, frames: Frames, noise: Noise
) -> LinearOperator:
    """Return J S, the noise being that of the inputs."""
    frame = frames.at(noise.index)
    if isinstance(jacobian, ByProducts):
        return MatrixFree(_framed(jacobian, frame), drawn_from(noise, jacobian.x))
    if isinstance(jacobian, RowByRow):
        count, _, d = jacobian.shape
        return Unstored(jacobian, Selection(frame.free, frame.unit, count, d))
    return frame.pull(jacobian)


def by_rows(jacobian: ReverseJacobian) -> RowByRow:
    """Return a Jacobian each of whose rows is pulled back when it is asked for."""
    return RowByRow(jacobian.phi, jacobian.x)


def framed_whole(
    jacobian: LinearOperator, questions: Questions, noise: Noise
) -> LinearOperator:
    """Return J S with all of J stored, or by products where these are to be enough."""
    if questions.matrix_free:
        return in_frame(by_products(jacobian), questions.frame, noise)
    return questions.frame.at(noise.index).pull(stored(jacobian))


def by_products(jacobian: LinearOperator) -> ByProducts:
    """Return a Jacobian known by its products alone, from one with a graph."""
    assert isinstance(jacobian, ReverseJacobian)  # else products are not chosen
    if isinstance(jacobian, ByProducts):
        return jacobian
    return ByProducts(jacobian.phi, jacobian.x)


_BY_GRAPH: dict[str, Callable[[ReverseJacobian], Matrix | RowByRow]] = {
    KRYLOV: by_products,
    PULLED: by_rows,
    FORWARD: by_columns,
}
"""How J is made of the graph of a forward pass, by what a plan calls it."""


def _framed(jacobian: ByProducts, frame: Frame) -> LinearOperator:
    if frame.is_identity:
        return jacobian
    count, _, d = jacobian.shape
    return Product(jacobian, Selection(frame.free, frame.unit, count, d))


def drawn_from(noise: Noise, like: Tensor) -> Draw:
    """Return normal numbers keyed by the inputs, on a tensor's device."""

    def draw(size: int, columns: int, stream: int) -> Tensor:
        drawn = noise.normals((columns, size), _STREAM + stream)
        return drawn.to(like.device).mT.contiguous()

    return draw


def stored(jacobian: LinearOperator) -> Matrix | Diagonal:
    """Return a Jacobian that is computed: one that is stored already stays as it is."""
    if isinstance(jacobian, EstimatedJacobian):
        return Matrix(jacobian.entries)
    if isinstance(jacobian, Diagonal | Matrix):
        return jacobian
    return Matrix(jacobian.dense())


def errors_of(jacobian: LinearOperator) -> Matrix | None:
    """Return the estimated errors of a Jacobian's entries; None if it is exact."""
    return Matrix(jacobian.error) if isinstance(jacobian, EstimatedJacobian) else None


@dataclass
class Roots:
    """The pulled-back roots at a point; divergences with one tensor share its draws."""

    point: Point
    noise: Noise
    known: dict[object, QuadraticForm] = field(default_factory=dict)

    def form(self, divergence: Divergence) -> QuadraticForm:
        """Return a divergence's local form."""
        tensor = divergence.root or divergence.tensor
        if tensor not in self.known:
            point = self.point
            self.known[tensor] = pull_back(
                divergence, point.family, point.phi, point.jacobian, self.noise
            )
        return replace(self.known[tensor], scale=divergence.scale)

    def broken(self) -> dict[int, str]:
        """Return the rows where an average over nodes or draws says nothing.

        Whatever is infinite at a draw of a file's own function has overflowed there.
        """
        found: dict[int, str] = {}
        for form in self.known.values():
            outer, _ = split(form.root)
            if isinstance(outer, Averaged):
                own = not self.point.family.parametric
                drawn = own and isinstance(outer, Sampled)
                if form.beyond is not None:
                    lost = form.beyond != 0 if drawn else form.beyond.isnan()
                    found |= _each(lost, _NO_DERIVATIVE)
                error = outer.checks.get("quadrature_error")
                if error is not None:
                    found |= _each(~(error <= UNRESOLVED), _NO_GRID)
        return found


def _each(rows: Tensor, reason: str) -> dict[int, str]:
    return dict.fromkeys(rows.nonzero()[:, 0].tolist(), reason)
