"""Two reports of the same inputs, compared input by input.

The change of a quantity is the mean of its differences, new minus old, over the inputs
both reports measured. Pairing takes the spread between inputs out of it. Its 95 %
interval is a percentile bootstrap over inputs (999 resamples, fixed seed); a change
whose interval holds zero is not told from noise, and printed as `~`.

Reference:
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import float64
from numpy.typing import NDArray

from audit.errors import ConfigError
from audit.reports.report import Report

Floats = NDArray[float64]
RESAMPLES = 999
MOVED = 10
_SEED = 20_011


@dataclass(frozen=True)
class Change:
    """How one quantity changed."""

    divergence: str
    quantity: str
    unit: str
    n: int
    """Inputs that both reports measured."""
    old: float
    new: float
    """Means over those inputs."""
    low: float
    high: float
    """95 % interval of `new - old`."""

    @property
    def difference(self) -> float:
        """Return new minus old."""
        return self.new - self.old

    @property
    def sign(self) -> str:
        """Return "+" or "-" where the interval excludes zero, else "~"."""
        if self.low > 0:
            return "+"
        return "-" if self.high < 0 else "~"


@dataclass(frozen=True)
class Moved:
    """An input whose sensitivity changed a lot."""

    index: int
    old: float
    new: float


@dataclass(frozen=True)
class Comparison:
    """Everything that changed between two reports."""

    old: str
    new: str
    n: int
    """Inputs in both."""
    notes: list[str]
    changes: list[Change]
    moved: list[Moved]
    """By the ratio of the first divergence's eigenvalue, the largest first."""
    measure: str
    """What `moved` is measured by, e.g. "kl.eigenvalue"."""


def compare(old: Report, new: Report, names: tuple[str, str]) -> Comparison:
    """Compare two reports.

    Args:
        old: the report to compare with.
        new: the report to judge.
        names: what to call them, e.g. their paths.

    Raises:
        ConfigError: they cannot be compared; says why.
    """
    rows = _common_rows(old, new, names)
    shared = [name for name in new.ranked if name in old.divergences]
    _refuse_if(not shared, names, "they measured no divergence in common")
    pairs = [
        (name, quantity)
        for name in shared
        for quantity in new.divergences[name].summary
        if quantity in old.divergences[name].summary
    ]
    before, after = (
        _matrix(report, pairs, rows[k]) for k, report in enumerate((old, new))
    )
    measure = (shared[0], "eigenvalue")
    return Comparison(
        *names,
        n=len(rows[0]),
        notes=_notes(old, new),
        changes=_changes(new, pairs, before, after),
        moved=_moved(new, rows[1], pairs, measure, before, after),
        measure=".".join(measure),
    )


def _common_rows(
    old: Report, new: Report, names: tuple[str, str]
) -> tuple[list[int], list[int]]:
    """Return the rows, in each report, of the inputs that both list."""
    _refuse_if(
        old.data.sha256 != new.data.sha256, names, "they audited different data files"
    )
    for field in ("units", "event_shape"):
        values = [getattr(report.data, field) for report in (old, new)]
        words = f"their {field.replace('_', ' ')} differ: {values[0]} and {values[1]}"
        _refuse_if(values[0] != values[1], names, words)
    for option in ("tau", "space", "mask"):
        settings = [report.config.get(option) for report in (old, new)]
        given = [setting and setting.value for setting in settings]
        words = f"--{option} differs: {given[0]} and {given[1]}"
        _refuse_if(given[0] != given[1], names, words)
    if old.inputs is None or new.inputs is None:
        raise ConfigError(
            f"'{names[0]}' and '{names[1]}' cannot be paired: one lists no inputs "
            "(more than 10,000 audited)",
            next_step="Audit the same --sample 10000 with both models",
        )
    where = {index: row for row, index in enumerate(old.inputs.index)}
    pairs = [
        (where[index], row)
        for row, index in enumerate(new.inputs.index)
        if index in where
    ]
    _refuse_if(not pairs, names, "they have no input in common")
    return [a for a, _ in pairs], [b for _, b in pairs]


def _refuse_if(condition: bool, names: tuple[str, str], why: str) -> None:
    if condition:
        raise ConfigError(
            f"'{names[0]}' and '{names[1]}' cannot be compared: {why}",
            next_step="Audit both models on the same data with the same settings",
        )


def _matrix(
    report: Report, pairs: Sequence[tuple[str, str]], rows: list[int]
) -> Floats:
    """Return the values [inputs, pairs]; NaN where they were not measured."""
    columns = report.inputs.columns if report.inputs else {}
    found = [np.array(columns[name][quantity], dtype=float) for name, quantity in pairs]
    return np.stack(found, axis=1)[rows]


def _resamples(n: int) -> NDArray[np.uint16]:
    """Return how often each input is drawn in each resample [RESAMPLES, n]."""
    generator = np.random.default_rng(_SEED)
    weights = np.empty((RESAMPLES, n), np.uint16)
    for row in weights:
        row[:] = np.bincount(generator.integers(0, n, n), minlength=n)
    return weights


def _changes(
    report: Report, pairs: Sequence[tuple[str, str]], before: Floats, after: Floats
) -> list[Change]:
    weights = _resamples(len(before))
    found = [
        _change(report, pair, before[:, k], after[:, k], weights)
        for k, pair in enumerate(pairs)
    ]
    return [change for change in found if change is not None]


def _change(
    report: Report,
    pair: tuple[str, str],
    before: Floats,
    after: Floats,
    weights: NDArray[np.uint16],
) -> Change | None:
    """Return the change of one quantity, None where no input measured it twice."""
    both = np.isfinite(before) & np.isfinite(after)
    if not both.any():
        return None
    drawn = weights[:, both].astype(np.float32)
    difference = (after - before)[both]
    with np.errstate(invalid="ignore"):
        means = (drawn @ difference) / drawn.sum(axis=1)
    low, high = np.nanquantile(means, [0.025, 0.975])
    name, quantity = pair
    return Change(
        name,
        quantity,
        report.divergences[name].summary[quantity].unit,
        int(both.sum()),
        float(before[both].mean()),
        float(after[both].mean()),
        float(low),
        float(high),
    )


def _moved(
    report: Report,
    rows: list[int],
    pairs: Sequence[tuple[str, str]],
    measure: tuple[str, str],
    before: Floats,
    after: Floats,
) -> list[Moved]:
    """Return the inputs whose value changed by the largest factor."""
    if measure not in pairs:
        return []
    column = pairs.index(measure)
    before, after = before[:, column], after[:, column]
    usable = np.flatnonzero((before > 0) & (after > 0) & (before != after))
    size = np.abs(np.log(after[usable] / before[usable]))
    order = usable[np.argsort(-size, kind="stable")][:MOVED]
    index = report.inputs.index if report.inputs else []
    return [Moved(index[rows[k]], float(before[k]), float(after[k])) for k in order]


def _notes(old: Report, new: Report) -> list[str]:
    """Return what the reader should know before believing the comparison."""
    notes = []
    hashes = [[file.sha256 for file in report.model.files] for report in (old, new)]
    if hashes[0] == hashes[1]:
        notes.append("both audited the same model file")
    for option in ("attacks", "seed", "draws_per_input", "dtype"):
        given = [report.config.get(option) for report in (old, new)]
        values = [setting and setting.value for setting in given]
        if values[0] != values[1]:
            notes.append(
                f"--{option.replace('_', '-')} was {values[0]}, is {values[1]}"
            )
    if (old.data.n_audited, new.data.n_audited) != (new.data.n_audited,) * 2:
        notes.append(
            f"{old.data.n_audited} inputs were audited before, {new.data.n_audited} now"
        )
    if old.model.parameters != new.model.parameters:
        notes.append("the parameters are read differently: compare no norms of φ")
    return notes
