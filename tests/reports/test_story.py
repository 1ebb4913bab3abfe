"""Table, JSON, rows, gate, diff and page tell one story, whatever the outcomes.

A law over random reports with every mixture of finite, infinite, resting and unmeasured
inputs: what each of them says of a quantity is counted from the values themselves.
"""

import csv
import io
import json
import math
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.formats import FORMATS
from audit.formats.layout import Style
from audit.formats.table import render
from audit.reports.against import judged_by_change
from audit.reports.build import build_report
from audit.reports.compare import compare
from audit.reports.json import read_report, to_json
from audit.reports.rows import RowsWriter
from audit.reports.stored import stored
from audit.reports.text import number
from audit.reports.values import Outcome, Values
from reports.synthetic import CONFIG, limit, measured_of

REASONS = ("too hot", "too cold")
FINITE = st.floats(1e-3, 1e3).map(lambda value: ("finite", value))
OTHERS = st.sampled_from(
    [("infinite", math.inf), ("rest", 0.0), *((why, math.nan) for why in REASONS)]
)
ROWS = st.lists(FINITE | OTHERS, min_size=1, max_size=12)


def values_of(rows):
    kinds = np.array([kind for kind, _ in rows])
    reasons = {why: kinds == why for why in REASONS} | {"too much": kinds == "infinite"}
    return Values.of(np.array([v for _, v in rows]), kinds == "rest", reasons)


def report_of(rows, **options):
    """Build a report whose KL trace has these outcomes, and the others of one kind."""
    measured = measured_of(np.linspace(1, 2, len(rows)))
    measured.columns["kl"]["trace"] = values_of(rows)
    config = replace(CONFIG, max_skipped=1, **options)
    return build_report(measured, config), measured


def counts(rows):
    kinds = [kind for kind, _ in rows]
    missing = sum(kind in REASONS for kind in kinds)
    return len(rows) - missing, kinds.count("infinite"), kinds.count("rest"), missing


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_every_format_counts_alike(rows):
    report, measured = report_of(rows)
    n, infinite, rest, missing = counts(rows)
    summary = report.divergences["kl"].summary["trace"]
    assert (summary.n, summary.n_infinite) == (n, infinite)
    assert (summary.n_at_rest, summary.n_not_measured) == (rest, missing)
    assert summary.n + summary.n_not_measured == report.data.n_audited == len(rows)
    text = " ".join(render(report, Style(100)).split())
    page = FORMATS["html"](report)
    markdown = FORMATS["md"](report)
    for kind, count in (
        ("at rest", rest),
        ("infinite", infinite),
        ("not measured", missing),
    ):
        said = f"{kind} on {count} of {len(rows)} input"
        for shown in (text, page, markdown):
            assert (said in shown) == bool(count), (said, count)
    _json_tells_the_same(report, rows)
    _rows_tell_the_same(measured, rows)


def _json_tells_the_same(report, rows):
    data = json.loads(to_json(report), parse_constant=_refuse)
    column, outcomes = data["inputs"]["kl"]["trace"], data["inputs"]["outcomes"]["kl"]
    missing = outcomes["not_measured"].get("trace", {})
    for place, (kind, value) in enumerate(rows):
        index = data["inputs"]["index"][place]
        if kind in REASONS:
            assert column[place] is None
            assert index in missing[kind]
        elif kind == "infinite":
            assert column[place] == "Infinity"
        else:
            assert column[place] == value
        assert (index in outcomes["at_rest"]) == (kind == "rest")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.json"
        path.write_text(to_json(report))
        assert read_report(str(path)) == report


def _refuse(name):
    raise AssertionError(name)


def _rows_tell_the_same(measured, rows):
    values = measured.columns["kl"]["trace"]
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("r.npz", "r.csv")]
        with RowsWriter(*paths) as writer:
            writer.append({"index": measured.index, "kl.trace": values})
        found = dict(np.load(paths[0]))
        (header, *lines) = csv.reader(io.StringIO(Path(paths[1]).read_text()))
    np.testing.assert_array_equal(found["kl.trace"], values.numbers)
    explained = any(kind in REASONS or kind == "infinite" for kind, _ in rows)
    assert ("kl.trace.reason" in found) == ("kl.trace.reason" in header) == explained
    for place, (kind, _) in enumerate(rows):
        expected = {"infinite": "too much"}.get(kind, kind if kind in REASONS else "")
        if explained:
            assert found["reasons"][found["kl.trace.reason"][place]] == expected
            assert lines[place][header.index("kl.trace.reason")] == expected
        assert (lines[place][1] == "") == (kind in REASONS)
        outcome = values.outcome(place)
        assert (outcome is Outcome.NOT_MEASURED) == (kind in REASONS)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(["max", "p95", "p50", "mean"]), st.booleans())
def test_the_gate_judges_what_the_table_shows(rows, statistic, allow):
    _, infinite, _, missing = counts(rows)
    key = f"kl.trace.{statistic}"
    skipped = {"max_skipped": 1 + len(rows) if allow else 1}
    measured = measured_of(np.linspace(1, 2, len(rows)))
    measured.columns["kl"]["trace"] = values_of(rows)
    config = replace(CONFIG, thresholds=(limit(key, "<=", 1e6),), **skipped)
    report = build_report(measured, config)
    (check,) = report.checks
    value = getattr(report.divergences["kl"].summary["trace"], statistic)
    assert check.value == value
    if (missing and not allow) or value is None:
        assert (check.holds, report.exit_code) == (None, 4)
    else:
        assert check.holds is (value <= 1e6)
        assert report.exit_code == (0 if value <= 1e6 else 1)
        assert f"{key} = {number(value)}" in " ".join(render(report).split())
    if statistic == "max" and infinite and (allow or not missing):
        assert report.exit_code == 1  # ∞ breaks any maximum
    assert (str(number(value)) in FORMATS["junit"](report)) or value is None


@settings(max_examples=40, deadline=None)
@given(ROWS, st.data())
def test_a_comparison_takes_every_input_that_has_a_value_in_both(rows, data):
    same = st.lists(FINITE | OTHERS, min_size=len(rows), max_size=len(rows))
    others = data.draw(same)
    old, new = (stored("r", report_of(one)[0]) for one in (rows, others))
    pairs = [
        (a, b)
        for (_, a), (_, b) in zip(rows, others, strict=True)
        if not (math.isnan(a) or math.isnan(b))
    ]
    changes = {c.quantity: c for c in compare(old, new).changes if c.divergence == "kl"}
    if not pairs:
        assert "trace" not in changes
        return
    moved = [0.0 if a == b else b - a for a, b in pairs]
    if {math.inf, -math.inf} <= set(moved):
        assert "trace" not in changes  # ∞ − ∞ has no mean
        return
    found = changes["trace"]
    assert found.n == len(pairs)
    expected = sum(moved) / len(moved)
    assert math.isclose(found.difference, expected, rel_tol=1e-9, abs_tol=1e-9)
    assert found.low <= found.high
    itself = compare(old, old).changes
    assert {c.difference for c in itself} == {0.0}
    config = replace(CONFIG, max_increase={"kl.trace.mean": "0%"})
    assert judged_by_change(old, old, config).exit_code in (0, 4)


def test_a_page_of_infinite_numbers_draws_no_infinity():
    rows = [("infinite", math.inf)] * 4 + [("finite", float(k)) for k in range(1, 9)]
    page = FORMATS["html"](report_of(rows)[0])
    for path in re.findall(r' d="([^"]*)"', page):
        assert "inf" not in path
        assert "nan" not in path
