"""From what a scan measured to the report."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from audit import __version__
from audit.config import ScanConfig
from audit.reports import report as schema
from audit.reports.gate import judge
from audit.reports.measured import DivergenceInfo, Floats, Measured, ModelRecord, Worst
from audit.reports.overall import features_record, spectrum_record
from audit.reports.quantities import describe
from audit.reports.statistics import summarise

LISTED_INPUTS = 10_000
"""Up to here every input's numbers are in the report; beyond, in the rows file."""
PRINTED_VALUES = 4096
"""Up to this size of an input its worst directions are in the report."""
RUN_OPTIONS = (
    "batch_size",
    "memory",
    "workers",
    "device",
    "run_dir",
    "resume",
    "shard",
)
"""Options that change how fast a scan is, not what it finds."""


def build_report(measured: Measured, config: ScanConfig) -> schema.Report:
    """Return the report of a scan, judged by the thresholds of `config`.

    Raises:
        ConfigError: a threshold names a number that the scan did not measure.
    """
    labels = [attack.label for attack in config.attacks]
    report = schema.Report(
        tool=schema.Tool(version=__version__),
        fingerprint=fingerprint(measured, config),
        model=_model(measured.model),
        data=_data(measured),
        config=settings(config),
        divergences={
            name: _divergence(measured, name, info, labels)
            for name, info in measured.divergences.items()
        },
        inputs=_inputs(measured),
        worst=[_worst(worst) for worst in measured.worst],
        skipped=[
            schema.Skipped(index=index, reason=reason)
            for index, reason in sorted(measured.skipped)
        ],
        warnings=[
            schema.Warned(code=code, message=message)
            for code, message in measured.warnings
        ],
        run={key: _plain(value) for key, value in measured.run.items()},
    )
    return judge(
        report, config.thresholds, config.max_skipped, config.exit_zero, config.gate
    )


def settings(config: ScanConfig) -> dict[str, schema.Setting]:
    """Return every option that can change a result, with its origin."""
    values: dict[str, Any] = {}
    for part in (config.model, config):
        values |= {f.name: getattr(part, f.name) for f in fields(part)}
    for name in ("path", "model", "thresholds", "places", "origins", *RUN_OPTIONS):
        del values[name]
    origin = {"condition_key": config.origin("condition")}
    values["model"] = config.model.path
    values["waivers"] = [asdict(waiver) for waiver in config.waivers]
    values["attacks"] = [str(attack) for attack in config.attacks]
    for option, op in (("max", "<="), ("min", ">=")):
        limits = [limit for limit in config.thresholds if limit.op == op]
        values[option] = {limit.key: limit.limit for limit in limits}
    return {
        name: schema.Setting(
            value=_plain(values[name]),
            origin=origin.get(name, config.origin(name)),
        )
        for name in sorted(values)
    }


def fingerprint(measured: Measured, config: ScanConfig) -> str:
    """Return a digest of what was measured: model, data and settings, no paths.

    Reports with equal fingerprints measured the same thing; limits do not count.
    """
    gate = ("max", "min", "baseline", "max_increase", "max_decrease", "waivers", "gate")
    ignored = ("model", "data", "max_skipped", "exit_zero", *gate)
    options = {name: s.value for name, s in settings(config).items()}
    parts = {
        "model": [file.sha256 for file in measured.model.files],
        "data": measured.data.sha256,
        "options": {n: v for n, v in options.items() if n not in ignored},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _model(model: ModelRecord) -> schema.Model:
    error = _plain(model.forward_error)
    derivative = {"method": model.derivative, "forward_error": error}
    return schema.Model.model_validate({**asdict(model), "derivative": derivative})


def _data(measured: Measured) -> schema.Data:
    counts = {"n_audited": len(measured.index), "n_skipped": len(measured.skipped)}
    found = {**asdict(measured.data), **counts}
    if len(measured.data.feature_names or ()) > PRINTED_VALUES:
        found["feature_names"] = None
    return schema.Data.model_validate(found)


def _divergence(
    measured: Measured, name: str, info: DivergenceInfo, labels: list[str]
) -> schema.Divergence:
    reasons = measured.reasons.get(name, {})
    return schema.Divergence.model_validate(
        {
            **asdict(info),
            "summary": {
                quantity: _summary(
                    column, unit(quantity, info.unit, labels), reasons.get(quantity)
                )
                for quantity, column in measured.columns[name].items()
            },
            "verification": {
                attack: {key: _number(value) for key, value in asdict(found).items()}
                for attack, found in measured.verification.get(name, {}).items()
            },
            "features": features_record(measured.features.get(name)),
            "spectrum": spectrum_record(measured.spectra.get(name)),
        }
    )


def unit(quantity: str, divergence_unit: str, labels: list[str]) -> str:
    """Return the unit of a quantity under a divergence; "" when it has none."""
    row = describe(quantity, labels)
    return row.unit.format(unit=divergence_unit) if row else ""


def _summary(column: Floats, unit: str, reason: str | None) -> dict[str, Any]:
    found = summarise(column)
    missing = len(column) - found.n
    return {
        "unit": unit,
        "n": found.n,
        **found.values,
        "ci95": found.intervals,
        "histogram": found.histogram and asdict(found.histogram),
        "reason": (reason or f"not measured on {missing} inputs") if missing else None,
    }


def _inputs(measured: Measured) -> schema.Inputs | None:
    if len(measured.index) > LISTED_INPUTS:
        return None
    columns = {
        name: {quantity: _numbers(column) for quantity, column in columns.items()}
        for name, columns in measured.columns.items()
    }
    return schema.Inputs.model_validate({"index": measured.index.tolist(), **columns})


def _worst(worst: Worst) -> schema.WorstInput:
    values = {
        name: {quantity: _number(value) for quantity, value in found.items()}
        for name, found in worst.values.items()
    }
    return schema.WorstInput.model_validate(
        {
            "index": worst.index,
            "directions": {n: _direction(d) for n, d in worst.directions.items()},
            "eigenvalues": {n: _numbers(e) for n, e in worst.eigenvalues.items()},
            **values,
        }
    )


def _direction(directions: Floats) -> list[Any] | None:
    """Return [K, *event] as lists, to 8 decimals; None when an input is too large."""
    if directions[0].size > PRINTED_VALUES:
        return None
    rounded: list[Any] = np.round(np.asarray(directions, dtype=float), 8).tolist()
    return rounded


def _numbers(values: Floats) -> list[float | None]:
    return [_number(value) for value in np.asarray(values, dtype=float).tolist()]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(value: object) -> object:
    """Return a value as JSON has it: lists, no numpy, null for what is not finite."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
