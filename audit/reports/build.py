"""From what a scan measured to the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from audit.config import ScanConfig
from audit.ground.version import __version__
from audit.reports.against import changes
from audit.reports.audited import Data
from audit.reports.doubts import ALONE, along_alone
from audit.reports.found import UnderAttack, Verification
from audit.reports.gate import Rules, judge, lacks
from audit.reports.identity import fingerprint, plain, settings
from audit.reports.listing import (
    PRINTED_VALUES,
    UNCHECKED,
    checked_record,
    inputs_record,
    plain_number,
    worst_record,
)
from audit.reports.measured import DivergenceInfo, Measured
from audit.reports.overall import (
    coordinates_record,
    features_record,
    spectrum_record,
    universal_record,
)
from audit.reports.portrayed import portrait
from audit.reports.quantities import describe
from audit.reports.report import Report, Skipped, Tool, Warned
from audit.reports.sampling import Sample, estimate
from audit.reports.series import Series, Table
from audit.reports.shares import is_share, share_intervals
from audit.reports.stored import Stored
from audit.reports.streamed import summarise
from audit.reports.summaries import Divergence, Rung
from audit.reports.two_sided import Asked, two_sided

_UNDER_ATTACK = TypeAdapter(UnderAttack)


def build_report(measured: Measured, config: ScanConfig) -> Report:
    """Return the report of a scan, judged by the thresholds of `config`.

    Raises:
        ConfigError: the baseline cannot be compared.
    """
    model = measured.model
    files = [file.sha256 for file in model.files] or [str(model.weights_sha256)]
    report = Report(
        tool=Tool(version=__version__),
        fingerprint=fingerprint(files, measured.data.sha256, config),
        model=model,
        data=_data(measured),
        config=settings(config),
        divergences={
            name: _divergence(measured, name, info, config)
            for name, info in measured.divergences.items()
        },
        inputs=inputs_record(measured),
        checked=checked_record(measured),
        under_attack=_under_attack(measured),
        worst=[worst_record(measured, worst) for worst in measured.worst],
        portraits=[portrait(one, PRINTED_VALUES) for one in measured.portraits],
        skipped=[
            Skipped(index=index, reason=reason)
            for index, reason in sorted(measured.skipped)
        ],
        warnings=[
            Warned(code=code, message=message) for code, message in measured.warnings
        ],
        run={key: plain(value) for key, value in measured.run.items()},
    )
    there = [limit for limit in config.thresholds if not lacks(report, limit.key)]
    found = changes(there, config.baseline, _numbers_of(measured, report))
    return judge(report, Rules.of(config, found, own=True))


def _numbers_of(measured: Measured, report: Report) -> Stored:
    """Return the report with the numbers of its inputs, listed in it or not."""
    columns = measured.columns
    return Stored(
        "this scan",
        report,
        measured.index,
        lambda name, quantity: columns[name][quantity].whole().numbers,
    )


def _data(measured: Measured) -> Data:
    counts = {"n_audited": len(measured.index), "n_skipped": len(measured.skipped)}
    found = {**asdict(measured.data), **counts}
    del found["n_free"]
    if len(measured.data.feature_names or ()) > PRINTED_VALUES:
        found["feature_names"] = None
    return Data.model_validate(found)


def _divergence(
    measured: Measured, name: str, info: DivergenceInfo, config: ScanConfig
) -> Divergence:
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
    found = Divergence.model_validate(
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
) -> list[Rung]:
    if measured.checks is None:
        return []
    asked = Asked(config.norm, config.tau)
    return two_sided(columns, medians, measured.checks.sample, asked)


def _verification(found: Verification) -> dict[str, Any]:
    return {
        key: plain_number(value) if isinstance(value, float) else value
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


def _under_attack(measured: Measured) -> UnderAttack | None:
    found = measured.under_attack
    return None if found is None else _UNDER_ATTACK.validate_python(asdict(found))
