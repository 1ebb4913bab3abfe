"""Reports of schema 1.0, which dropped every value that was not finite.

They did not say whether a dropped value was infinite, at rest or not measured, and did
not count it. So all of them count as not measured now: a limit on such a number decides
nothing, where it used to pass.
"""

from __future__ import annotations

from audit.reports.report import Report, Summary

DROPPED = "dropped by schema 1.0, which kept finite values only"
_OF_A_SAMPLE = "measured on the verified inputs only"


def upgraded(report: Report) -> Report:
    """Return a report with the counts that its schema lacked."""
    if report.schema_version != "1.0":
        return report
    divergences = {
        name: divergence.model_copy(
            update={
                "summary": {
                    quantity: _counted(summary, report.data.n_audited)
                    for quantity, summary in divergence.summary.items()
                }
            }
        )
        for name, divergence in report.divergences.items()
    }
    return report.model_copy(update={"divergences": divergences})


def _counted(summary: Summary, audited: int) -> Summary:
    missing = audited - summary.n
    if not missing:
        return summary
    checked = (summary.reason or "").startswith(_OF_A_SAMPLE)
    changes = {
        "n_not_measured": missing,
        "n_checked": summary.n if checked else None,
        "reason": summary.reason or DROPPED,
    }
    return summary.model_copy(update=changes)
