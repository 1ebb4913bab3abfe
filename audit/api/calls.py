"""`scan`, `inspect`, `check` and `local_form`: the pipeline's steps for a caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike, fspath
from typing import Any

from audit import ConfigError
from audit.api.given import given_in_files
from audit.api.report import Report
from audit.api.subject import Asked, asked, limits_of
from audit.api.words import in_python, said
from audit.formats.inspection import render
from audit.reports.checks import recheck
from audit.reports.inspected import Inspection
from audit.reports.json import read_report
from audit.reports.recorded import RecordedRows
from audit.reports.report import Report as Record
from audit.reports.stored import in_memory
from audit.run.calling import QuadraticForm, form_of
from audit.run.inspection import inspect as run_inspect
from audit.run.scan import scan as run_scan


@dataclass(frozen=True, repr=False)
class Inspected(Inspection):
    """An inspection whose text is what `robaudit inspect` prints."""

    @classmethod
    def of(
        cls, found: Inspection, ready: Asked, settings: Mapping[str, Any]
    ) -> Inspected:
        """Return an inspection, with the call to make where the model is no file."""
        values = {one.name: getattr(found, one.name) for one in fields(Inspection)}
        if ready.network is not None or ready.data:
            options = "".join(f", {n}={value!r}" for n, value in settings.items())
            values["warnings"] = [said(one, {}) for one in found.warnings]
            values["scan_command"] = f"audit.scan(model, data{options})"
        return cls(**values)

    def __repr__(self) -> str:
        return render(self)


Any_ = Any  # a model or data of a library that need not be installed


def scan(model: Any_, data: Any_, **settings: Any_) -> Report:
    """Audit a model on data and judge the result.

    A live model is copied and not changed. Every number is that of the saved file to
    rounding; what a second runtime would check of a file, a second call and a fresh
    copy check of a live model.

    Args:
        model: a path, a torch module, a function or module that returns a torch
            distribution, or an estimator of zuko, nflows or sbi.
        data: a path, an array, a tensor [N, ...], or a dict of them.
        settings: options by their names in `robaudit.yaml`: divergences=["kl"],
            max={"kl.gaussian.p95": 0.05}, index=[3, 5], verify="all", seed=0. mask,
            units and bounds=(lower, upper) may be arrays, baseline a report.

    Raises:
        ConfigError: an argument makes no sense; names it.
        AuditError: another of its kinds, as the command line says it.
    """
    _require_data(data)
    with asked(model, data, settings) as ready:
        rows = RecordedRows()
        record = run_scan(ready.config, rows=rows, network=ready.network)
        return Report(ready.named(record), rows)


def inspect(model: Any_, data: Any_ = None, **settings: Any_) -> Inspected:
    """Show what a model is, how it would be read and why, without auditing it.

    Args:
        model: as in `scan`.
        data: as in `scan`; with None the gates do not run.
        settings: as in `scan`.

    Raises:
        AuditError: one of its kinds.
    """
    with asked(model, data, settings) as ready:
        found = run_inspect(ready.config, ready.network)
        return Inspected.of(found, ready, settings)


def check(report: Report | Record | str | PathLike[str], **limits: Any_) -> Report:
    """Hold a report against limits: those given, else those of its scan.

    Args:
        report: of a scan, or the path of a saved one.
        limits: max, min, baseline, max_increase, gate, ...: the options of the gate.

    Raises:
        ConfigError: a limit names a number that the report does not have.
        InputError: the file is no report.
    """
    with given_in_files(limits) as given, in_python(given.names):
        config, rows = limits_of(given.settings), None
        if isinstance(report, Report):
            record, rows = report.record, report.recorded
        elif isinstance(report, Record):
            record = report
        elif isinstance(report, (str, PathLike)):
            path = str(fspath(report))
            return Report(recheck(read_report(path), config, path))
        else:
            raise ConfigError(
                f"The report is of the type {type(report).__name__}",
                "Expected what audit.scan returns, or the path of a saved report",
                "Pass one of these",
            )
        held = in_memory(record, None if rows is None else rows.arrays)
        return Report(recheck(record, config, "report", held), rows)


def local_form(
    density: Any_, x: Any_, divergence: str = "kl", **settings: Any_
) -> QuadraticForm:
    """Return the local quadratic form of a divergence, D(q_x ‖ q_{x+δ}) ≈ c |A δ|².

    Args:
        density: as the model of `scan`; the gates are passed.
        x: the inputs [N, ...], in any form that `scan` takes data.
        divergence: for example "kl", "quantile" or "renyi:alpha=0.5".
        settings: as in `scan`: family, units, draws_per_input, seed, ...

    Returns:
        δ [N, d] -> [N], with the root A [N, r, d]; d counts the features that are free.

    Raises:
        InputError: there is no form at one of the inputs; says which, and why.
        AuditError: another of its kinds.
    """
    _require_data(x)
    if "divergences" in settings:
        raise ConfigError(
            "divergences= was given to local_form",
            "Expected one divergence, the third argument",
            'Call local_form(density, x, "kl")',
        )
    with asked(density, x, {**settings, "divergences": [divergence]}) as ready:
        return form_of(ready.config, ready.network)


def _require_data(data: object) -> None:
    if data is None:
        raise ConfigError(
            "The data are None",
            "Expected a path (.npz, .npy), an array or a tensor with one row for each "
            "input, or a dict of these",
            "Pass them as the second argument",
        )
