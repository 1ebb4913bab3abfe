"""From the answers of all blocks to the report: join, check, build, judge.

Answers come block by block and are joined while the next is measured. Then a few inputs
are checked against exact values and the file against itself, and what was measured and
checked becomes one record, which the gate judges.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

from audit.config import ScanConfig
from audit.ground import stages
from audit.measure import Answers
from audit.measure.preparation import Prepared, settings_of
from audit.measure.records import (
    data_record,
    divergence_infos,
    model_record,
    run_record,
)
from audit.reports.build import build_report
from audit.reports.gate import PARTIAL
from audit.reports.measured import Checks, Columns, Measured, UniversalInfo
from audit.reports.report import Report
from audit.reports.rows import RowsWriter
from audit.reports.spill import Spill
from audit.reports.values import FEW
from audit.run.collection import Collection, sample_of, with_checks
from audit.run.opened import Opened
from audit.run.plan import Job, spans
from audit.run.still import still_notes
from audit.run.targets import held_against
from audit.run.to_come import expect_all
from audit.run.universal import universal
from audit.run.work import crew, threads_asked, threads_of
from audit.verify import portraits, said_of, save_witness, verify
from audit.verify.portraits import Reached
from audit.verify.selftest import short_selftest
from audit.verify.trust import trust_warnings

Tick = Callable[[int, int], None]
"""(inputs done, inputs in all)."""


def silent(done: int, total: int) -> None:
    """Show no progress."""


def report_of(
    opened: Opened,
    parts: Generator[Answers, None, None],
    rows: RowsWriter | None,
    progress: Tick,
    missing: Sequence[Job] = (),
) -> Report:
    """Join the answers, check predictions and file, and build and judge the report.

    Args:
        opened: the scan.
        parts: the answers of its blocks, as they come.
        rows: gets every column of every input.
        progress: is told (inputs done, inputs in all).
        missing: jobs that were not measured, where a report may be of a part.

    Raises:
        AuditError: one of its kinds.
    """
    with Spill() if opened.total > FEW else nullcontext() as spill:
        collection = Collection(opened.prepared.model.event, rows, spill)
        stages.stage(stages.MEASURE, opened.total, "inputs")
        expect_all(opened.config, opened.prepared, opened.total)
        progress(0, opened.total)
        with closing(parts) as arriving:
            for part in arriving:
                collection.add(part)
                stages.reach(collection.done)
                progress(collection.done, opened.total)
        return _judged(opened, collection, rows, missing)


@dataclass(frozen=True)
class _Checked:
    """The answers of all inputs, with what exact values at a few of them say.

    Args:
        columns: of every input, those of the checked ones beside them.
        checks: what they compare; None where no input was checked.
        universal: divergence -> the worst direction of all inputs at once.
        reached: where the first divergence's critical radii were found.
        warnings: (code, message).
    """

    columns: Columns
    checks: Checks | None
    universal: dict[str, UniversalInfo]
    reached: tuple[Reached, ...]
    warnings: list[tuple[str, str]]


def _judged(
    opened: Opened,
    collection: Collection,
    rows: RowsWriter | None,
    missing: Sequence[Job],
) -> Report:
    """Check what was collected, and build and judge the report."""
    answers = collection.close()
    checked = _checked(opened, collection, answers, rows)
    found = _measured(opened, collection, answers, checked)
    found.warnings.extend(_lacking(missing, opened.total))
    if rows is not None and rows.paths:
        found.run["rows"] = rows.paths
    stages.stage(stages.WRITE)
    if rows is not None:
        model, frame = opened.prepared.model, opened.prepared.questions.frame
        rows.beside("x", lambda: model.perturbed(answers.index))
        rows.beside("unit", lambda: frame.at(answers.index).units(model.event))
    return build_report(found, opened.config)


def _checked(
    opened: Opened, collection: Collection, answers: Answers, rows: RowsWriter | None
) -> _Checked:
    """Hold predictions at a few inputs against exact values, and the file to itself."""
    config, prepared = opened.config, opened.prepared
    model, questions = prepared.model, prepared.questions
    notes = still_notes(config, answers.columns)
    sample = sample_of(config, model, answers)
    index = answers.index[sample.places]
    if config.verify is None:
        notes += said_of(model, len(index), len(answers.index))
    verified = verify(model, questions, index, opened.ladder)
    if config.witness is not None:
        save_witness(config.witness, verified.witnesses, model, settings_of(config))
    directions, verified = universal(
        prepared, collection.tally.forms(), sample, verified
    )
    columns, checks = with_checks(answers, verified, sample, rows)
    tested = short_selftest(model, questions, answers.index)
    warnings = [*notes, *prepared.notes, *tested, *verified.notes]
    for name, found in columns.items():
        warnings += trust_warnings(name, found, *prepared.trust)
    known = checks if len(index) else None
    return _Checked(columns, known, directions, verified.reached, warnings)


def _measured(
    opened: Opened, collection: Collection, answers: Answers, checked: _Checked
) -> Measured:
    """Return everything that was measured, for the report."""
    config, prepared = opened.config, opened.prepared
    model, divergences = prepared.model, prepared.questions.divergences
    data = data_record(model, config, prepared.sampling)
    free = len(prepared.questions.frame.free)
    drawn = [one.index for one in collection.worst] if checked.checks else []
    run = run_record(config, prepared, opened.started, crew(config, prepared))
    told, misread = held_against(config, prepared, answers, opened.ladder)
    return Measured(
        index=answers.index,
        columns=checked.columns,
        divergences=divergence_infos(prepared),
        model=model_record(model),
        data=replace(data, feature_names=opened.names, n_free=free),
        worst=collection.worst,
        checks=checked.checks,
        skipped=list(answers.skipped),
        warnings=[*checked.warnings, *misread],
        run=run | _shared(config, prepared),
        features=collection.tally.features([d.name for d in divergences]),
        spectra=collection.tally.spectra(),
        coordinates=collection.tally.coordinates(),
        universal=checked.universal,
        portraits=portraits(divergences[0].name, checked.reached, drawn, model.event),
        under_attack=told,
    )


def _shared(config: ScanConfig, prepared: Prepared) -> dict[str, int]:
    """Record how many threads shared the blocks, where somebody asked for some."""
    asked = threads_asked(config) is not None
    return {"threads": threads_of(config, prepared)} if asked else {}


def _lacking(missing: Sequence[Job], total: int) -> list[tuple[str, str]]:
    """Warn that a report is not of all rows; the gate then trusts no verdict."""
    if not missing:
        return []
    rows = sum(job.rows for job in missing)
    said = f"{rows} of {total} rows were not measured: {spans(missing)}"
    return [(PARTIAL, f"partial report: {said}")]
