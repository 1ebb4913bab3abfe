"""What comes after the inputs are measured, for whoever asks how long it takes.

A check of one input takes between 5 and 1,000 times what it takes to measure one, by
experience with heads of 1 to 1,000 outputs, searched or not.
"""

from __future__ import annotations

from audit.config import ScanConfig
from audit.ground import stages
from audit.ground.forecast import Task
from audit.measure.preparation import Prepared
from audit.verify import checked_of

_CHECK, _APART = 70.0, 14.0
_UNDER_ATTACK = 30.0  # as many times more or less than that
_WRITE = (0.1, 2.0)  # seconds, of a report


def expect_all(config: ScanConfig, prepared: Prepared, total: int) -> None:
    """Say what a stage of measuring is made of, and what comes after it."""
    wanted = checked_of(prepared.model) if config.verify is None else config.verify
    checked = total if wanted == "all" else min(wanted, total)
    size = _CHECK * checked * len(prepared.questions.divergences)
    later = [Task(stages.VERIFY, size, _APART)] if size else []
    if config.target_key is not None:
        later.append(Task(stages.ATTACK, _CHECK * total, _UNDER_ATTACK))
    later.append(Task(stages.WRITE, seconds=_WRITE))
    stages.expect([Task(stages.MEASURE, float(max(1, total)))], later)
