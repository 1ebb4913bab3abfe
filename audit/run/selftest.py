"""`robaudit selftest`: may the file be believed before it is audited?

The model is opened as a scan opens it. A closed gate is the first finding, and the
checks that need no form look at the file all the same, to tell what is wrong with it.
What cannot be opened at all is an error, unless it is refused *because* it is no
function of its inputs: a graph of a training step, or one that draws random numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from audit.config import ScanConfig
from audit.ground import watch
from audit.ground.errors import AuditError, ModelError, UnsupportedOperator
from audit.measure.preparation import Prepared, prepared_for, settings_of
from audit.models.network import Network
from audit.models.opening import OpenModel, checked, open_unchecked
from audit.models.targets import read_beside
from audit.reports.keys import check_config
from audit.reports.planned import with_plan
from audit.reports.selftested import Line, SelfTest
from audit.verify.selftest import (
    CHECKS,
    FILE,
    GATES,
    Check,
    Finding,
    Status,
    Subject,
    closed_gate,
    run_all,
)
from audit.verify.selftest.finding import not_run, passed
from audit.verify.selftest.subject import repeated

THETA = "theta"
"""The key of θ where none is named."""
OPENING = "the gates at opening"


def selftest(
    config: ScanConfig, target_key: str | None = None, network: Network | None = None
) -> SelfTest:
    """Make every check of a model on data.

    Args:
        config: everything a scan would be told.
        target_key: the key of θ in the data; None: "theta", where there is one.
        network: the model, where it is open already; None: the file of `config`.

    Raises:
        AuditError: the model or the data cannot be read, or the options are wrong.
    """
    check_config(config)
    config = with_plan(config)
    settings = replace(settings_of(config), aside=(target_key or THETA,))
    with watch.opening(config.model.path, config.open_timeout):
        try:
            model = open_unchecked(settings, config.data, network)
        except UnsupportedOperator as error:
            return _concluded(config, "", [closed_gate(error), *_not_run(CHECKS)])
        try:
            passing = checked(settings, model)
        except ModelError as error:
            found = [closed_gate(error), *_of_closed(config, model)]
            return _concluded(config, model.head.family, found)
        prepared = prepared_for(config, False, passing)
    it = _subject(config, prepared, target_key)
    found = [_gates(passing, repeated(it)), *run_all(it)]
    return _concluded(config, passing.head.family, found)


def _subject(config: ScanConfig, prepared: Prepared, key: str | None) -> Subject:
    """Return what the checks look at, with θ where the data hold it.

    Raises:
        InputError: a key was named that is not there, or does not fit.
    """
    model = prepared.model
    theta = read_beside(
        config.data, key or THETA, model.inputs.n, config.memory, key is not None
    )
    rows = prepared.rows
    targets = None if theta is None else theta[rows]
    return Subject(model, prepared.questions, rows, targets)


def _gates(model: OpenModel, note: str) -> Finding:
    """Return the finding of gates that are all open, with what they measured.

    Args:
        model: open.
        note: of its inputs; "" for none.
    """
    numbers = {k: v for k, v in model.gates.record().items() if isinstance(v, float)}
    notes = [message for _, message in model.gates.warnings]
    notes += [note] if note else []
    said = "; ".join(["every gate at opening is passed", *notes])
    return passed(GATES, said, **numbers)


def _of_closed(config: ScanConfig, model: OpenModel) -> list[Finding]:
    """Look at a file whose gates are closed, to say what is wrong with it."""
    later = {name: check for name, check in CHECKS.items() if name not in FILE}
    try:
        prepared = prepared_for(config, False, model)
    except AuditError:
        return _not_run(CHECKS)
    it = Subject(model, prepared.questions, prepared.rows)
    return [*run_all(it, FILE), *_not_run(later)]


def _not_run(checks: Mapping[str, Check]) -> list[Finding]:
    return [not_run(name, "a gate at opening is closed") for name in checks]


def _concluded(config: ScanConfig, family: str, found: Iterable[Finding]) -> SelfTest:
    """Return the findings as plain data, with the exit code.

    1 where a check failed; else 3 where one could not be made; else 0.
    """
    lines = [_line(finding) for finding in found]
    counts = {
        status.value: sum(line.status == status.value for line in lines)
        for status in Status
    }
    code = 3 if counts[Status.NOT_RUN.value] else 0
    code = 1 if counts[Status.FAILED.value] else code
    return SelfTest(config.model.path, config.data, family, lines, code, counts)


def _line(finding: Finding) -> Line:
    title = CHECKS[finding.check].title if finding.check in CHECKS else OPENING
    numbers = dict(sorted(finding.numbers.items()))
    return Line(
        finding.check,
        title,
        finding.status.value,
        finding.said,
        numbers,
        finding.todo,
    )
