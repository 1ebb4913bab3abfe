"""The records of single inputs: what a report lists of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from audit.reports.listed import Checked, Inputs, Outcomes, WorstInput
from audit.reports.measured import Measured, Worst
from audit.reports.series import Table
from audit.reports.values import FEW, Floats, Outcome, Values

PRINTED_VALUES = 4096
"""Up to this size of an input its worst directions are in the report."""
UNCHECKED = "not among the checked inputs"


def inputs_record(measured: Measured) -> Inputs | None:
    """Return every number of every input; None of more than `FEW`: see rows files."""
    if len(measured.index) > FEW:
        return None
    columns = {
        name: {q: _numbers(column.whole().numbers) for q, column in columns.items()}
        for name, columns in measured.columns.items()
    }
    outcomes = {
        name: _outcomes(measured, columns) for name, columns in measured.columns.items()
    }
    return Inputs.model_validate(
        {"index": measured.index.tolist(), "outcomes": outcomes, **columns}
    )


def _outcomes(measured: Measured, columns: Table) -> Outcomes:
    index = measured.index
    rest = np.zeros(len(index), bool)
    missing: dict[str, dict[str, list[int]]] = {}
    for quantity, series in columns.items():
        column = series.whole()
        rest |= column.rest
        for sentence, rows in column.explained().items():
            rows = rows & column.missing
            if rows.any() and sentence != UNCHECKED:
                missing.setdefault(quantity, {})[sentence] = index[rows].tolist()
    return Outcomes(at_rest=index[rest].tolist(), not_measured=missing)


def checked_record(measured: Measured) -> Checked | None:
    """Return which inputs were checked; None where all or none were."""
    if measured.checks is None or measured.checks.sample.whole:
        return None
    sample = measured.checks.sample
    return Checked(
        index=measured.index[sample.places].tolist(),
        weights=sample.weights.tolist(),
        strata=sample.strata.tolist(),
    )


def worst_record(measured: Measured, worst: Worst) -> WorstInput:
    """Return the numbers and the worst directions of one input."""
    row = np.searchsorted(measured.index, np.array([worst.index]))
    there = {
        name: {quantity: column.take(row) for quantity, column in columns.items()}
        for name, columns in measured.columns.items()
    }
    values = {
        name: {q: plain_number(float(v.numbers[0])) for q, v in columns.items()}
        for name, columns in there.items()
    }
    outcomes = {
        name: {q: said for q, v in columns.items() if (said := _said(v))}
        for name, columns in there.items()
    }
    return WorstInput.model_validate(
        {
            "index": worst.index,
            "directions": {n: _direction(d) for n, d in worst.directions.items()},
            "eigenvalues": {n: _numbers(e) for n, e in worst.eigenvalues.items()},
            "outcomes": outcomes,
            **values,
        }
    )


def _said(values: Values) -> str:
    """Return what became of one value that is no finite number; "" of one that is."""
    outcome = values.outcome(0)
    if outcome is Outcome.FINITE:
        return ""
    reason = values.reason(0)
    return f"{outcome.value}: {reason}" if reason else outcome.value


def _direction(directions: Floats) -> list[Any] | None:
    """Return [K, *event] as lists, to 8 decimals; None when an input is too large."""
    if directions[0].size > PRINTED_VALUES or np.isnan(directions).any():
        return None
    rounded: list[Any] = np.round(np.asarray(directions, dtype=float), 8).tolist()
    return rounded


def _numbers(values: Floats) -> list[float | None]:
    return [plain_number(value) for value in np.asarray(values, dtype=float).tolist()]


def plain_number(value: float) -> float | None:
    """Return a number as a report holds it: none for NaN."""
    return None if math.isnan(value) else value
