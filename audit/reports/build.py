"""From what a scan measured to the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from audit.config import ScanConfig
from audit.ground.version import __version__
from audit.reports import report as schema
from audit.reports.against import changes
from audit.reports.doubts import ALONE, along_alone
from audit.reports.found import Verification
from audit.reports.gate import Rules, judge, lacks
from audit.reports.identity import fingerprint, plain, settings
from audit.reports.measured import DivergenceInfo, Measured, Worst
from audit.reports.overall import (
    coordinates_record,
    features_record,
    spectrum_record,
    universal_record,
)
from audit.reports.portrayed import portrait
from audit.reports.quantities import describe
from audit.reports.sampling import Sample, estimate
from audit.reports.series import Series, Table
from audit.reports.shares import is_share, share_intervals
from audit.reports.stored import Stored
from audit.reports.streamed import summarise
from audit.reports.two_sided import Asked, two_sided
from audit.reports.values import FEW, Floats, Outcome, Values

LISTED_INPUTS = FEW
"""Up to here every input's numbers are in the report; beyond, in the rows file."""
PRINTED_VALUES = 4096
"""Up to this size of an input its worst directions are in the report."""
_UNDER_ATTACK = TypeAdapter(schema.UnderAttack)
UNCHECKED = "not among the checked inputs"


def build_report(measured: Measured, config: ScanConfig) -> schema.Report:
    """Return the report of a scan, judged by the thresholds of `config`.

    Raises:
        ConfigError: the baseline cannot be compared.
    """
    model = measured.model
    files = [file.sha256 for file in model.files] or [str(model.weights_sha256)]
    report = schema.Report(
        tool=schema.Tool(version=__version__),
        fingerprint=fingerprint(files, measured.data.sha256, config),
        model=model,
        data=_data(measured),
        config=settings(config),
        divergences={
            name: _divergence(measured, name, info, config)
            for name, info in measured.divergences.items()
        },
        inputs=_inputs(measured),
        checked=_checked(measured),
        under_attack=_under_attack(measured),
        worst=[_worst(measured, worst) for worst in measured.worst],
        portraits=[portrait(one, PRINTED_VALUES) for one in measured.portraits],
        skipped=[
            schema.Skipped(index=index, reason=reason)
            for index, reason in sorted(measured.skipped)
        ],
        warnings=[
            schema.Warned(code=code, message=message)
            for code, message in measured.warnings
        ],
        run={key: plain(value) for key, value in measured.run.items()},
    )
    there = [limit for limit in config.thresholds if not lacks(report, limit.key)]
    found = changes(there, config.baseline, _numbers_of(measured, report))
    return judge(report, Rules.of(config, found, own=True))


def _numbers_of(measured: Measured, report: schema.Report) -> Stored:
    """Return the report with the numbers of its inputs, listed in it or not."""
    columns = measured.columns
    return Stored(
        "this scan",
        report,
        measured.index,
        lambda name, quantity: columns[name][quantity].whole().numbers,
    )


def _data(measured: Measured) -> schema.Data:
    counts = {"n_audited": len(measured.index), "n_skipped": len(measured.skipped)}
    found = {**asdict(measured.data), **counts}
    del found["n_free"]
    if len(measured.data.feature_names or ()) > PRINTED_VALUES:
        found["feature_names"] = None
    return schema.Data.model_validate(found)


def _divergence(
    measured: Measured, name: str, info: DivergenceInfo, config: ScanConfig
) -> schema.Divergence:
    verification = measured.checks.verification if measured.checks else {}
    labels = [attack.label for attack in config.attacks]
    columns = measured.columns[name]
    summary = {
        quantity: _summary(
            column,
            unit(quantity, info.unit, labels),
            _sample(measured, name, quantity),
            is_share(quantity),
        )
        for quantity, column in columns.items()
    }
    medians = {quantity: found["p50"] for quantity, found in summary.items()}
    found = schema.Divergence.model_validate(
        {
            **asdict(info),
            "summary": summary,
            "two_sided": _two_sided(measured, columns, medians, config),
            "verification": {
                label: _verification(found)
                for label, found in verification.get(name, {}).items()
            },
            "features": features_record(measured.features.get(name)),
            "spectrum": spectrum_record(measured.spectra.get(name)),
            "coordinates": coordinates_record(measured.coordinates.get(name)),
            "universal": universal_record(measured.universal.get(name), PRINTED_VALUES),
        }
    )
    data = measured.data
    free = math.prod(data.event_shape) if data.n_free is None else data.n_free
    alone = along_alone(found.summary, free)
    return found.model_copy(update={"notes": [*found.notes, ALONE]}) if alone else found


def _two_sided(
    measured: Measured,
    columns: Table,
    medians: Mapping[str, float | None],
    config: ScanConfig,
) -> list[schema.Rung]:
    if measured.checks is None:
        return []
    asked = Asked(config.norm, config.tau)
    return two_sided(columns, medians, measured.checks.sample, asked)


def _verification(found: Verification) -> dict[str, Any]:
    return {
        key: _number(value) if isinstance(value, float) else value
        for key, value in asdict(found).items()
    }


def unit(quantity: str, divergence_unit: str, labels: list[str]) -> str:
    """Return the unit of a quantity under a divergence; "" when it has none."""
    row = describe(quantity, labels)
    return row.unit.format(unit=divergence_unit) if row else ""


def _sample(measured: Measured, name: str, quantity: str) -> Sample | None:
    """Return the sample that a quantity was measured on; None for all inputs."""
    checks = measured.checks
    if checks is None or quantity not in checks.quantities.get(name, ()):
        return None
    return None if checks.sample.whole else checks.sample


def _summary(
    column: Series, unit: str, sample: Sample | None, share: bool
) -> dict[str, Any]:
    why, why_infinite = _reasons(column)
    found = summarise(column) if sample is None else estimate(column, sample)
    intervals = share_intervals(found, sample is None) if share else found.intervals
    return {
        "unit": unit,
        "n": found.n,
        "n_infinite": found.n_infinite,
        "n_at_rest": found.n_at_rest,
        "n_not_measured": found.n_not_measured,
        "n_checked": None if sample is None else len(sample.places),
        **found.values,
        "ci95": intervals,
        "histogram": found.histogram and vars(found.histogram),
        "reason": why,
        "infinite_reason": why_infinite,
    }


def _reasons(column: Series) -> tuple[str | None, str | None]:
    """Return why some values are missing, and why infinite, with how many."""
    missing, infinite = Counter[str](), Counter[str]()
    for part in column.looked():
        for sentence, rows in part.explained().items():
            if sentence != UNCHECKED:
                missing[sentence] += int((rows & part.missing).sum())
                infinite[sentence] += int((rows & part.infinite).sum())
    return _counted(missing), _counted(infinite)


def _counted(sentences: Counter[str]) -> str | None:
    return "; ".join(f"{why} ({n})" for why, n in sentences.items() if n) or None


def _inputs(measured: Measured) -> schema.Inputs | None:
    if len(measured.index) > LISTED_INPUTS:
        return None
    columns = {
        name: {q: _numbers(column.whole().numbers) for q, column in columns.items()}
        for name, columns in measured.columns.items()
    }
    outcomes = {
        name: _outcomes(measured, columns) for name, columns in measured.columns.items()
    }
    return schema.Inputs.model_validate(
        {"index": measured.index.tolist(), "outcomes": outcomes, **columns}
    )


def _outcomes(measured: Measured, columns: Table) -> schema.Outcomes:
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
    return schema.Outcomes(at_rest=index[rest].tolist(), not_measured=missing)


def _checked(measured: Measured) -> schema.Checked | None:
    if measured.checks is None or measured.checks.sample.whole:
        return None
    sample = measured.checks.sample
    return schema.Checked(
        index=measured.index[sample.places].tolist(),
        weights=sample.weights.tolist(),
        strata=sample.strata.tolist(),
    )


def _under_attack(measured: Measured) -> schema.UnderAttack | None:
    found = measured.under_attack
    return None if found is None else _UNDER_ATTACK.validate_python(asdict(found))


def _worst(measured: Measured, worst: Worst) -> schema.WorstInput:
    row = np.searchsorted(measured.index, np.array([worst.index]))
    there = {
        name: {quantity: column.take(row) for quantity, column in columns.items()}
        for name, columns in measured.columns.items()
    }
    values = {
        name: {q: _number(float(v.numbers[0])) for q, v in columns.items()}
        for name, columns in there.items()
    }
    outcomes = {
        name: {q: _said(v, 0) for q, v in columns.items() if _said(v, 0)}
        for name, columns in there.items()
    }
    return schema.WorstInput.model_validate(
        {
            "index": worst.index,
            "directions": {n: _direction(d) for n, d in worst.directions.items()},
            "eigenvalues": {n: _numbers(e) for n, e in worst.eigenvalues.items()},
            "outcomes": outcomes,
            **values,
        }
    )


def _said(values: Values, row: int) -> str:
    """Return what became of a value that is no finite number; "" for one."""
    outcome = values.outcome(row)
    if outcome is Outcome.FINITE:
        return ""
    reason = values.reason(row)
    return f"{outcome.value}: {reason}" if reason else outcome.value


def _direction(directions: Floats) -> list[Any] | None:
    """Return [K, *event] as lists, to 8 decimals; None when an input is too large."""
    if directions[0].size > PRINTED_VALUES or np.isnan(directions).any():
        return None
    rounded: list[Any] = np.round(np.asarray(directions, dtype=float), 8).tolist()
    return rounded


def _numbers(values: Floats) -> list[float | None]:
    return [_number(value) for value in np.asarray(values, dtype=float).tolist()]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
