"""Metrics hold the table's numbers by their keys, and nothing that is no number."""

import json
import math

import pytest
from reports.synthetic import EIGENVALUES, LIMITS, report_of

from audit.formats import format_of, rendered
from audit.reports.json import to_json


@pytest.fixture
def report():
    return report_of(EIGENVALUES, *LIMITS)


def test_the_numbers_are_those_of_the_report(report):
    found = json.loads(rendered("metrics", report))
    plain = json.loads(to_json(report))
    assert (found["verdict"], found["exit_code"]) == (report.verdict, report.exit_code)
    assert found["inputs"] == {"audited": 6, "skipped": plain["data"]["n_skipped"]}
    assert set(plain["divergences"]) <= set(found)
    for name, part in plain["divergences"].items():
        assert {"trace", "eigenvalue", "gaussian"} <= set(found[name])
        for quantity, statistics in found[name].items():
            for statistic, value in statistics.items():
                assert value == part["summary"][quantity][statistic]


def test_what_is_infinite_is_a_word_and_what_is_not_measured_is_left_out(report):
    summary = report.divergences["kl"].summary["trace"]
    summary.max, summary.p95 = math.inf, None
    text = rendered("metrics", report)
    found = json.loads(text)["kl"]["trace"]
    assert found["max"] == "Infinity"
    assert "p95" not in found
    assert "NaN" not in text
    assert "null" not in text


def test_a_file_asks_for_it_by_its_ending():
    assert format_of("out/report.metrics.json") == "metrics"
    assert format_of("out/metrics.json") == "json"
    assert format_of("report.json") == "json"
