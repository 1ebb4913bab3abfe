"""What comes back from the blocks, joined: columns, reasons, the worst, warnings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.config import ScanConfig
from audit.errors import NotDifferentiable, NothingAudited
from audit.geometry.comparison import ISOTROPIC
from audit.measure import Chunk, Floats, measure
from audit.models.differences import TOLERANCE
from audit.preparation import Prepared
from audit.reports.measured import Worst
from audit.reports.rows import RowsWriter
from audit.tally import Tally
from audit.trust import trust_warnings
from audit.verification import Verified

WORST = 10
VERIFIED = 32  # of the worst, and as many at random
_STILL = "infinite where the distribution does not move to second order"
_AT_REST = ("radius", "gap", "effective_rank", "alignment", "trace_share")
_OPEN = "no single worst direction where the two largest eigenvalues are equal"
_SAMPLE = "measured on the verified inputs only"


class Collection:
    """Grows by chunks in the order of the inputs.

    Args:
        event: the shape of one input.
        rows: gets every column, directions included; None if nobody asked.
    """

    def __init__(self, event: tuple[int, ...], rows: RowsWriter | None) -> None:
        self._event, self._rows = event, rows
        self._chunks: list[Chunk] = []
        self.tally = Tally(event)
        self.skipped: list[tuple[int, str]] = []
        self.reasons: dict[str, dict[str, str]] = {}
        self.index: NDArray[np.int64] = np.zeros(0, np.int64)
        self.columns: dict[str, dict[str, Floats]] = {}
        self.done = 0

    def add(self, chunk: Chunk) -> None:
        """Take a chunk's answers; its directions go to the tally and the rows file."""
        self.done += len(chunk.index) + len(chunk.skipped)
        self.skipped += chunk.skipped
        for name, reasons in chunk.reasons.items():
            self.reasons.setdefault(name, {}).update(reasons)
        if not len(chunk.index):
            return
        self.tally.add(chunk)
        if self._rows is not None:
            self._rows.append(_flat(chunk, self._event))
        self._chunks.append(replace(chunk, directions={}, eigenvalues={}))

    def close(self) -> None:
        """Join the chunks.

        Raises:
            NothingAudited: every input was skipped.
            NotDifferentiable: the gradient is zero at every input.
        """
        if not self._chunks:
            index, reason = self.skipped[0]
            raise NothingAudited(
                f"Every one of the {len(self.skipped)} inputs was skipped (input "
                f"{index}: {reason})",
                "Expected at least one that can be measured",
                "Check the data, and the expressions of --param",
            )
        self.index = np.concatenate([chunk.index for chunk in self._chunks])
        self.columns = {
            name: {
                quantity: np.concatenate(
                    [c.columns[name][quantity] for c in self._chunks]
                )
                for quantity in columns
            }
            for name, columns in self._chunks[0].columns.items()
        }
        self._chunks.clear()
        self._refuse_zero_gradient()
        self._explain()

    def _joined(self, name: str, quantity: str) -> Floats:
        return np.concatenate([c.columns[name][quantity] for c in self._chunks])

    def key(self) -> Floats:
        """Return the first divergence's worst case, by which inputs are ranked."""
        columns = next(iter(self.columns.values()))
        return columns["eigenvalue"] if "eigenvalue" in columns else columns["linear"]

    def ranked(self) -> NDArray[np.intp]:
        """Return positions of the inputs, the most sensitive first; ties by index."""
        return np.argsort(-np.nan_to_num(self.key(), nan=-np.inf), kind="stable")

    def to_verify(self, config: ScanConfig) -> NDArray[np.int64]:
        """Return the inputs whose predictions are checked: worst and random ones."""
        total = len(self.index)
        count = 2 * VERIFIED if config.verify is None else config.verify
        worst = self.ranked()[: -(-count // 2)]
        rng = np.random.Generator(np.random.Philox(key=config.seed % 2**64))
        rest = np.setdiff1d(np.arange(total), worst)
        random = rng.permutation(rest)[: count - len(worst)]
        return np.sort(self.index[np.concatenate([worst, random])])

    def note(self, verified: Verified) -> None:
        """Put realised values beside the predicted ones, NaN where not verified."""
        place = np.searchsorted(self.index, verified.index)
        for name, columns in verified.columns.items():
            for quantity, values in columns.items():
                column = np.full(len(self.index), np.nan)
                column[place] = values
                self.columns[name][quantity] = column
                self.reasons.setdefault(name, {})[quantity] = _SAMPLE
        for name, reasons in verified.reasons.items():
            self.reasons.setdefault(name, {}).update(reasons)
        if self._rows is not None:
            self._rows.extend(
                {
                    f"{name}.{quantity}": self.columns[name][quantity]
                    for name, columns in verified.columns.items()
                    for quantity in columns
                }
            )

    def worst(self, prepared: Prepared) -> list[Worst]:
        """Return the most sensitive inputs with their directions, measured again."""
        places = self.ranked()[:WORST]
        questions = replace(prepared.questions, keep_directions=True)
        order = np.sort(self.index[places])
        chunk = measure(prepared.model, questions, order, max(prepared.block, WORST))
        rows = np.searchsorted(order, self.index[places])
        return [
            Worst(
                int(self.index[place]),
                {
                    name: {q: float(values[place]) for q, values in columns.items()}
                    for name, columns in self.columns.items()
                },
                {
                    name: values[row].reshape(-1, *self._event)
                    for name, values in chunk.directions.items()
                },
                {name: values[row] for name, values in chunk.eigenvalues.items()},
            )
            for place, row in zip(places, rows, strict=True)
        ]

    def warnings(self, prepared: Prepared, verified: Verified) -> list[tuple[str, str]]:
        """Return (code, message) of what a reader has to know."""
        found = [*prepared.notes, *verified.notes]
        for name, columns in self.columns.items():
            if "gap" in columns:
                found += _isotropy(name, columns["gap"], columns["rank"])
            found += trust_warnings(name, columns, *prepared.trust)
            if "derivative_error" in columns:
                found += _blur(name, columns["derivative_error"])
        return found

    def _refuse_zero_gradient(self) -> None:
        for columns in self.columns.values():
            norms = columns.get("jacobian_norm", columns.get("trace"))
            if norms is not None and not np.any(norms > 0):
                raise NotDifferentiable(
                    "The gradient of the distribution's parameters is zero at every "
                    "audited input",
                    "Expected a model that responds to its condition",
                    "robaudit inspect names the operators that stop the gradient "
                    "(rounding, argmax, comparisons); a constant model has nothing to "
                    "audit",
                )

    def _explain(self) -> None:
        for name, columns in self.columns.items():
            reasons = self.reasons.setdefault(name, {})
            for quantity in _AT_REST:
                if quantity in columns:
                    reasons.setdefault(quantity, _STILL)
            for quantity in ("angle", "attained"):
                if quantity in columns:
                    reasons.setdefault(quantity, _OPEN)


def _isotropy(name: str, gap: Floats, rank: Floats) -> list[tuple[str, str]]:
    open_rows = int(((gap < ISOTROPIC) & (rank > 1)).sum())
    if not open_rows:
        return []
    where = (
        "every input" if open_rows == len(gap) else f"{open_rows} of {len(gap)} inputs"
    )
    return [
        (
            f"isotropic_{name}",
            f"{name}: on {where} no direction is worse than another (the two largest "
            "eigenvalues are equal); the worst direction shown is one of many",
        )
    ]


def _blur(name: str, error: Floats) -> list[tuple[str, str]]:
    """Warn where finite differences are estimated to be off by too much."""
    typical = float(np.nanmedian(error))
    if typical <= TOLERANCE:
        return []
    return [
        (
            "finite_difference_error",
            f"{name}: the eigenvalues are estimated to be off by {typical:.1%} on half "
            f"the inputs (finite differences; {TOLERANCE:.0%} is accepted)",
        )
    ]


def _flat(chunk: Chunk, event: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """Return a chunk as the columns of a rows file."""
    flat: dict[str, NDArray[np.generic]] = {"index": chunk.index}
    for name, columns in chunk.columns.items():
        flat |= {f"{name}.{quantity}": values for quantity, values in columns.items()}
    for name, values in chunk.eigenvalues.items():
        flat[f"{name}.eigenvalues"] = values
    for name, placed in chunk.directions.items():
        flat[f"{name}.directions"] = placed.reshape(*placed.shape[:2], *event)
    return flat
