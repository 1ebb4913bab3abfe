"""What CI servers read: JUnit for the test view, SARIF for the code view."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from reports.published import SARIF, junit_errors
from reports.synthetic import CONFIG, EIGENVALUES, LIMITS, limit, measured_of, report_of

from audit.formats import junit, sarif
from audit.reports.build import build_report
from audit.reports.judged import Change

URI = r"""[^\s\\\[\]<>"{}|^`]+"""
"""Characters of a URI reference; the schema's `format` is not checked without help."""
IN_FILE = replace(LIMITS[0], source="ci/my robaudit.yaml:12")


def cases(report):
    suite = ElementTree.fromstring(junit.render(report))[0]
    return suite, {case.get("name"): case for case in suite}


def test_junit_has_a_case_for_each_limit(gated):
    suite, found = cases(gated)
    assert suite.get("name") == "models/[old]/net.onnx"
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        "4",
        "1",
        "0",
    )
    failure = found["kl.gaussian.p95 <= 0.05"].find("failure")
    assert (
        failure.get("message")
        == "kl.gaussian.p95 = 0.24 > 0.05 by 380 %; 2 beyond it: 6, 5"
    )
    assert "(set by --kl.gaussian.p95)" in failure.text
    assert found["kl.radius.min >= 0.1"].find("failure") is None
    warned = found["quantile.trace.mean <= 2.5"].find("system-out").text
    assert warned.startswith("warning: quantile.trace.mean = 2.77 > 2.5")


def test_junit_of_an_incomplete_audit_is_red():
    suite, found = cases(report_of(EIGENVALUES, max_skipped=0))
    error = found["audit is complete"].find("error")
    assert error.get("message") == "6 inputs audited, 1 skipped"
    assert error.text == "input 'x' holds nan at [2]"
    assert suite.get("errors") == "1"
    _, found = cases(report_of(np.array([]), limit("kl.trace.max", "<=", 1.0)))
    assert found["audit is complete"].find("error") is not None
    assert found["kl.trace.max <= 1"].find("error").get("type") == "unmeasured"


def test_junit_is_red_where_the_exit_code_is_and_nowhere_else():
    """A limit that decides nothing exits 0 at the level warn, 4 at the level error."""
    for level, code in (("warn", 0), ("error", 4)):
        undecided = limit("kl.critical_radius.p05", "<=", 1.0, level=level)
        report = report_of(EIGENVALUES, undecided, gate="upper")
        assert report.exit_code == code
        suite, found = cases(report)
        assert int(suite.get("errors")) == (code != 0)
        case = found["kl.critical_radius.p05 <= 1"]
        assert (case.find("error") is not None) is (level == "error")
        if level == "warn":
            assert "decides nothing" in case.find("system-out").text


def test_junit_says_why_an_audit_leaves_no_verdict():
    measured = measured_of(EIGENVALUES)
    measured.warnings.append(("monte_carlo_error", "kl: the standard error is above"))
    report = build_report(measured, replace(CONFIG, max_skipped=1))
    assert report.exit_code == 4
    _, found = cases(report)
    assert (
        "the standard error is above" in found["audit is complete"].find("error").text
    )


def test_two_limits_of_one_key_are_two_results():
    """One on the number, and one on its change from a baseline."""
    change = Change(
        old=1.0, change=9.0, ci95=None, allowed=0.1, relative=True, n=6, unpaired=""
    )
    report = report_of(EIGENVALUES, LIMITS[0])
    both = [*report.checks, report.checks[0].model_copy(update={"change": change})]
    report = report.model_copy(update={"checks": both})
    results = json.loads(sarif.render(report))["runs"][0]["results"]
    assert len({one["partialFingerprints"]["limit/v1"] for one in results}) == 2


def test_junit_without_limits_still_has_a_case(report):
    suite, found = cases(report)
    assert list(found) == ["audit is complete"]
    assert suite.get("failures") == "0"


def test_junit_stays_xml_whatever_the_names():
    hostile = limit("kl.gaussian.p95", "<=", 0.05)
    report = report_of(EIGENVALUES, replace(hostile, source='<&"\x00>.yaml:1'))
    assert '<&"�>.yaml:1' in "".join(cases(report)[0].itertext())


def test_sarif_points_at_the_line_of_the_limit():
    run = json.loads(sarif.render(report_of(EIGENVALUES, IN_FILE, *LIMITS[1:])))[
        "runs"
    ][0]
    failed, warned = run["results"]
    where = failed["locations"][0]["physicalLocation"]
    assert where["artifactLocation"]["uri"] == "ci/my%20robaudit.yaml"
    assert where["region"]["startLine"] == 12
    assert failed["level"] == "error"
    assert failed["message"]["text"].startswith("fail: kl.gaussian.p95 = 0.24 > 0.05")
    assert warned["level"] == "warning"
    assert warned["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == (
        "models/%5Bold%5D/net.onnx"
    )
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        "kl.gaussian.p95",
        "quantile.trace.mean",
    ]


@pytest.mark.parametrize(
    ("source", "uri", "line"),
    [
        ("robaudit.yaml:7 5% from 0.24", "robaudit.yaml", 7),
        ("a: b/pyproject.toml:3", "a%3A%20b/pyproject.toml", 3),
        ("--max kl.x=1:2", "models/%5Bold%5D/net.onnx", 1),
        ("ROBAUDIT_MAX kl.x=1", "models/%5Bold%5D/net.onnx", 1),
    ],
)
def test_sarif_reads_where_a_limit_was_written(source, uri, line):
    report = report_of(EIGENVALUES, replace(LIMITS[0], source=source))
    (found,) = json.loads(sarif.render(report))["runs"][0]["results"]
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == uri
    assert place["region"]["startLine"] == line


def test_sarif_tells_skipped_inputs_and_the_exit_code(report):
    run = json.loads(sarif.render(report))["runs"][0]
    (invocation,) = run["invocations"]
    assert invocation["exitCode"] == 0
    note = invocation["toolExecutionNotifications"][0]["message"]["text"]
    assert note == "input 0: input 'x' holds nan at [2]"
    assert run["results"] == []


REPORTS = {
    "no limits": lambda: report_of(EIGENVALUES),
    "every status": lambda: report_of(EIGENVALUES, IN_FILE, *LIMITS[1:]),
    "incomplete": lambda: report_of(EIGENVALUES, *LIMITS, max_skipped=0),
    "nothing": lambda: report_of(np.array([]), limit("kl.trace.max", "<=", 1.0)),
    "hostile": lambda: report_of(
        EIGENVALUES, replace(LIMITS[0], source='<&"\x00> [é] {|}.yaml:1')
    ),
}


@pytest.mark.parametrize("name", REPORTS)
def test_sarif_keeps_the_published_schema(name):
    found = json.loads(sarif.render(REPORTS[name]()))
    assert found["$schema"] == SARIF["id"]
    checker = jsonschema.validators.validator_for(SARIF)(SARIF)
    assert [error.message for error in checker.iter_errors(found)] == []
    (run,) = found["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert {result["ruleId"] for result in run["results"]} <= set(ids)
    assert len(ids) == len(set(ids))
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert re.fullmatch(URI, place["uri"])
    run["results"].append({"level": "bad", "novelty": 1})
    assert len(list(checker.iter_errors(found))) == 3


@pytest.mark.parametrize("name", REPORTS)
def test_junit_keeps_the_schema_of_jenkins(name):
    root = ElementTree.fromstring(junit.render(REPORTS[name]()))
    assert root.tag == "testsuites"
    assert junit_errors(root) == []
    counted = {tag: len(root.findall(f".//{tag}")) for tag in ("testcase", "failure")}
    assert [root[0].get(n) for n in ("tests", "failures")] == [
        *map(str, counted.values())
    ]
    root[0][0].set("assertions", "1")
    root[0].attrib.pop("name")
    assert junit_errors(root) == ["testsuite: no name", "testcase: unknown assertions"]
