"""What comes back from the blocks, joined; and which inputs stand out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from audit.config import ScanConfig
from audit.ground.errors import NothingAudited
from audit.measure import Answers, joined
from audit.models.opening import OpenModel
from audit.reports.listing import UNCHECKED
from audit.reports.measured import Checks, Columns, Worst
from audit.reports.rows import RowsWriter
from audit.reports.sampling import Sample
from audit.reports.series import Series, Sparse
from audit.reports.spill import Spill
from audit.reports.values import FEW, Values
from audit.run.tally import Tally
from audit.verify import Verified, checked_of, draw_sample


@dataclass
class Collection:
    """Grows by answers in the order of the inputs.

    Args:
        event: the shape of one input.
        rows: gets every column, directions included; None if nobody asked.
        spill: keeps the columns of many inputs on the disk; None: in memory.
    """

    event: tuple[int, ...]
    rows: RowsWriter | None
    spill: Spill | None = None
    tally: Tally = field(init=False)
    done: int = 0
    _parts: list[Answers] = field(default_factory=list)
    _leaders: Answers | None = None
    _skipped: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tally = Tally(self.event, self.spill)

    def add(self, answers: Answers) -> None:
        """Take some answers; their directions go to the tally and the rows file."""
        self.done += len(answers.index) + len(answers.skipped)
        self._skipped += answers.skipped
        if not len(answers.index):
            return
        self.tally.add(answers)
        if self.rows is not None:
            self.rows.append(_flat(answers, self.event))
        first = [] if self._leaders is None else [self._leaders]
        self._leaders = joined([*first, answers.leaders or answers.leading()]).leading()
        kept = Answers(answers.index, answers.columns)
        if self.spill is not None:
            self.spill.append(_flat(kept, self.event))
            kept = Answers(answers.index[:0], kept.columns)
        self._parts = [kept] if self.spill else [*self._parts, kept]

    def close(self) -> Answers:
        """Return all answers as one.

        Raises:
            NothingAudited: every input was skipped.
        """
        if not self._parts:
            index, reason = self._skipped[0]
            raise NothingAudited(
                f"Every one of the {len(self._skipped)} inputs was skipped (input "
                f"{index}: {reason})",
                "Expected at least one that can be measured",
                "Check the data, and the expressions of --param",
            )
        whole = self._mapped(self.spill) if self.spill else joined(self._parts)
        whole = replace(whole, skipped=tuple(self._skipped))
        self._parts.clear()
        return whole

    def _mapped(self, spill: Spill) -> Answers:
        """Return the columns as they lie on the disk."""
        names, index = self._parts[0].columns, spill.array("index")
        found = Answers(
            index,
            {
                name: {q: spill.values(f"{name}.{q}") for q in quantities}
                for name, quantities in names.items()
            },
        )
        for quantities in found.columns.values():
            for quantity, values in quantities.items():
                if len(values) != len(index):
                    raise ValueError(f"{quantity} was not given by every block")
        return found

    @property
    def worst(self) -> list[Worst]:
        """The most sensitive inputs with their directions, the worst first."""
        return [] if self._leaders is None else _ranked(self._leaders, self.event)


def sample_of(config: ScanConfig, model: OpenModel, answers: Answers) -> Sample:
    """Return which inputs are checked against exact values."""
    values = answers.sensitivity
    count = checked_of(model) if config.verify is None else config.verify
    return draw_sample(values, len(values) if count == "all" else count, config.seed)


def with_checks(
    answers: Answers, verified: Verified, sample: Sample, rows: RowsWriter | None
) -> tuple[Columns, Checks]:
    """Return the columns with those of the checked inputs beside the others.

    The rows files, if there are any, get them too.
    """
    columns: dict[str, dict[str, Series]] = {
        name: dict(found) for name, found in answers.columns.items()
    }
    n = len(answers.index)
    placed: dict[str, Series] = {}
    quantities = {}
    for name, found in verified.columns.items():
        for quantity, values in found.items():
            sparse = Sparse(n, sample.places, values, UNCHECKED)
            columns[name][quantity] = sparse if n > FEW else sparse.whole()
            placed[f"{name}.{quantity}"] = columns[name][quantity]
        quantities[name] = frozenset(found)
    if rows is not None and placed:
        rows.extend(placed)
    return columns, Checks(sample, quantities, verified.summary)


def _ranked(leaders: Answers, event: tuple[int, ...]) -> list[Worst]:
    ranked = np.nan_to_num(leaders.sensitivity, nan=-np.inf, posinf=np.inf)
    return [
        Worst(
            int(leaders.index[row]),
            {n: v[row].reshape(-1, *event) for n, v in leaders.directions.items()},
            {n: v[row] for n, v in leaders.eigenvalues.items()},
        )
        for row in np.argsort(-ranked, kind="stable")
    ]


def _flat(
    answers: Answers, event: tuple[int, ...]
) -> Mapping[str, NDArray[np.generic] | Values]:
    """Return answers as the columns of a rows file."""
    flat: dict[str, NDArray[np.generic] | Values] = {"index": answers.index}
    for name, columns in answers.columns.items():
        flat |= {f"{name}.{quantity}": values for quantity, values in columns.items()}
    for name, values in answers.eigenvalues.items():
        flat[f"{name}.eigenvalues"] = values
    for name, values in answers.coordinates.items():
        flat[f"{name}.coordinate_shares"] = values
    for name, placed in answers.directions.items():
        flat[f"{name}.directions"] = placed.reshape(*placed.shape[:2], *event)
    return flat
