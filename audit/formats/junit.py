"""JUnit XML: one test case for each limit, and one for the audit being complete."""

from __future__ import annotations

from xml.etree import ElementTree

from audit.formats import verdicts
from audit.ground.printable import printable
from audit.reports.gate import INCOMPLETE, NOTHING, UNTRUSTED
from audit.reports.judged import Check
from audit.reports.report import Report
from audit.reports.text import count

Element = ElementTree.Element


def render(report: Report) -> str:
    """Return the checks as JUnit XML.

    A broken limit is a failure; a limit that could not be measured, and an incomplete
    audit, are errors; a limit of level `warn` that does not hold passes and says so.
    """
    cases = [_complete(report), *(_case(check) for check in report.checks)]
    path = report.model.files[0].path if report.model.files else "model"
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
    }
    attributes = {name: str(number) for name, number in counts.items()}
    root = Element("testsuites", {"name": "robaudit", **attributes})
    suite = _child(root, "testsuite", {"name": printable(path), **attributes})
    suite.extend(cases)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _complete(report: Report) -> Element:
    case = Element("testcase", {"classname": "robaudit", "name": "audit is complete"})
    said = (
        f"{count(report.data.n_audited, 'input')} audited, "
        f"{report.data.n_skipped} skipped"
    )
    # Code 4 stands for skipped inputs, or for limits without a value (errors below).
    unmeasured = any(c.holds is None and c.level == "error" for c in report.checks)
    if report.exit_code == NOTHING or (
        report.exit_code == INCOMPLETE and not unmeasured
    ):
        reasons = sorted({skipped.reason for skipped in report.skipped})[:5]
        reasons += [w.message for w in report.warnings if w.code in UNTRUSTED]
        error = _child(case, "error", {"type": "incomplete", "message": said})
        error.text = printable("; ".join(reasons))
    else:
        _child(case, "system-out", {}).text = said
    return case


def _case(check: Check) -> Element:
    owner, _, _ = check.key.rpartition(".")
    name = f"{check.key} {check.op} {check.limit:g}"
    case = Element(
        "testcase",
        {"classname": printable(f"robaudit.{owner}"), "name": printable(name)},
    )
    said = printable(verdicts.check_line(check))
    tag = "failure" if check.holds is False else "error"
    if check.holds or check.level == "warn":
        tag = "system-out"
    attributes = {} if tag == "system-out" else {"type": check.status, "message": said}
    source = f" (set by {printable(check.source)})" if check.source else ""
    warned = "warning: " if not check.holds and tag == "system-out" else ""
    _child(case, tag, attributes).text = warned + said + source
    return case


def _child(parent: Element, tag: str, attributes: dict[str, str]) -> Element:
    return ElementTree.SubElement(parent, tag, attributes)
