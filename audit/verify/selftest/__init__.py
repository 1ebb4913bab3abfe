"""Metamorphic checks of a user's file: what has to hold for any honest model.

Nobody knows what the right numbers of a model are; but the same inputs have to give
the same outputs, turned coordinates the same eigenvalues, and small steps of the exact
divergence the form. Each check is a function of a `Subject` that returns a `Finding`
(passed, failed, not applicable); none of them knows another.

`CHECKS` are made of a model that is open; those of `FILE` can look at one whose gates
are closed, too, to say why.

Reference:
    Chen, Cheung & Yiu, Metamorphic testing (1998, arXiv:2002.12543).
"""

from audit.verify.selftest.finding import Finding, Status
from audit.verify.selftest.registry import CHECKS, FILE, GATES, Check
from audit.verify.selftest.running import (
    closed_gate,
    misread_targets,
    run_all,
    short_selftest,
)
from audit.verify.selftest.subject import Subject

__all__ = [
    "CHECKS",
    "FILE",
    "GATES",
    "Check",
    "Finding",
    "Status",
    "Subject",
    "closed_gate",
    "misread_targets",
    "run_all",
    "short_selftest",
]
