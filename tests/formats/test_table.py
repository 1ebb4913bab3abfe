"""The terminal table: a golden one, and what must not happen to it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reports.synthetic import CONFIG, EIGENVALUES, LIMITS, limit, measured_of, report_of

from audit.formats import FORMATS, single
from audit.formats.layout import Style
from audit.formats.table import render
from audit.ground.printable import printable
from audit.reports.build import build_report
from audit.reports.found import File
from audit.reports.gate import Rules, judge
from audit.reports.measured import Worst
from audit.reports.text import count, number, percent, shorten, sparkline
from audit.reports.values import Values

GOLDEN = Path(__file__).parent / "golden_table.txt"


def test_the_table_at_80_columns_is_the_golden_one(gated):
    assert render(gated, Style(80)) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_line_is_wider_than_the_terminal(gated, width, verbose):
    lines = render(gated, Style(width, verbose=verbose)).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [60, 80])
def test_narrow_tables_keep_their_numbers(gated, width):
    text = render(gated, Style(width))
    for value in ("0.0225", "0.24", "0.0533", "kl.gaussian.p95 = 0.24 > 0.05"):
        assert value in text


def test_plain_text_holds_no_escape_and_colour_does(gated):
    assert "\x1b" not in render(gated)
    assert "\x1b[32m✓" in render(gated, Style(80, colour=True))


def test_brackets_are_printed_as_they_are(report):
    assert "models/[old]/net.onnx" in render(report)


def test_a_name_cannot_steer_the_terminal():
    measured = measured_of(EIGENVALUES)
    file = File("evil\x1b[2J\n[bold]net", 1, "00")
    model = measured.model.model_copy(update={"files": [file], "family": "n\x07ormal"})
    text = render(build_report(replace(measured, model=model), CONFIG))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "evil�[2J�[bold]net · n�ormal" in text


def test_the_first_sentences_read_the_numbers(report):
    assert (
        "A perturbation of norm 0.689 along the worst direction moves the prediction "
        "by 1 nat on half of the inputs, 0.218 on the most sensitive one (exact "
        "values, 3 of 6 inputs checked; second order says 0.854 and 0.224); "
        "gaussian:sigma=0.1 costs 0.0694 nat on average, 0.24 at the 95th percentile."
    ) in " ".join(render(report).split())


def test_standard_deviations_are_named():
    measured = measured_of(EIGENVALUES)
    measured.data = replace(measured.data, units="std")
    text = render(build_report(measured, CONFIG))
    assert "norm 0.689 standard deviations along the worst" in " ".join(text.split())


def test_details_are_shown_on_demand(report):
    plain, verbose = (render(report, Style(80, verbose=v)) for v in (False, True))
    assert "gaussian_realised" not in plain
    assert "gaussian_realised" in verbose
    assert "jacobian_norm" in verbose


def test_the_worst_directions_of_pictures_have_places():
    measured = measured_of(EIGENVALUES)
    picture = np.zeros((1, 3, 8, 8))
    picture[0, 2, 7, 1], picture[0, 0, 0, 0] = -0.8, 0.6
    measured.worst = [Worst(6, {"kl": picture})]
    text = render(build_report(measured, CONFIG))
    assert "[2,7,1] -0.80  [0,0,0] +0.60" in text


def test_skipped_inputs_are_grouped_by_reason():
    measured = measured_of(EIGENVALUES)
    measured.skipped = [(i, "too hot") for i in range(20, 28)] + [(3, "too cold")]
    text = render(build_report(measured, CONFIG))
    assert "8 inputs (20, 21, 22, 23, 24, …): too hot" in text
    assert "1 input (3): too cold" in text


def test_nothing_audited_is_said():
    text = render(report_of(np.array([])))
    assert "No input was audited." in text
    assert "exit 5 (nothing audited)" in text


def test_verdicts():
    assert "PASS: 1 limit held · exit 0" in render(report_of(EIGENVALUES, LIMITS[1]))
    assert "FAIL: 1 of 1 limit broken · exit 1" in render(
        report_of(EIGENVALUES, LIMITS[0])
    )
    assert "· exit 4 (incomplete)" in render(report_of(EIGENVALUES, max_skipped=0))
    warned = render(report_of(EIGENVALUES, LIMITS[2]))
    assert "! borderline quantile.trace.mean = 2.77 > 2.5" in warned


@pytest.mark.parametrize("upper", [False, True])
def test_a_borderline_check_that_decided_says_which_way(upper):
    value = limit("quantile.trace.mean", "<=", 3.0)
    gate = "upper" if upper else "point"
    rules = Rules([value], max_skipped=1, gate=gate)
    report = judge(report_of(EIGENVALUES), rules)
    assert report.verdict == ("fail" if upper else "pass")
    sign = "✗" if upper else "≈"
    assert f"{sign} borderline quantile.trace.mean" in render(report)
    page = FORMATS["html"](report)
    assert ("fail, borderline" in page) == upper
    assert ("❌" in FORMATS["md"](report)) == upper


def test_a_value_that_rounds_to_its_limit_is_printed_longer():
    limit = replace(LIMITS[0], limit=0.2399999)
    text = render(report_of(EIGENVALUES, limit))
    assert "kl.gaussian.p95 = 0.24 > 0.2399999"[:24] in text
    limit = replace(LIMITS[0], limit=0.23999)
    assert "= 0.24 > 0.23999" in render(report_of(EIGENVALUES, limit))


def test_monte_carlo_errors_are_told():
    measured = measured_of(EIGENVALUES)
    kl = measured.columns["kl"]
    kl["trace_se"] = Values.of(0.05 * kl["trace"].numbers)
    measured.divergences["kl"] = replace(
        measured.divergences["kl"], estimator="monte_carlo", draws=256
    )
    text = render(build_report(measured, CONFIG))
    assert (
        "kl: monte carlo, 256 draws an input, standard error of the trace 5 %" in text
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.02251, "0.0225"),
        (4.5, "4.5"),
        (999.4, "999"),
        (1234.0, "1 230"),
        (12345.0, "12 300"),
        (-56789.0, "-56 800"),
        (1.234e6, "1.23e+06"),
        (1e-7, "1e-07"),
        (float("inf"), "∞"),
        (-float("inf"), "−∞"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_words():
    assert count(1, "input") == "1 input"
    assert count(12345, "input") == "12 345 inputs"
    assert printable("a\nb") == "a�b"
    assert shorten("a" * 10 + "b" * 10, 9) == "aaaa…bbbb"


def test_sparklines(report):
    bins = report.divergences["kl"].summary["trace"].histogram
    assert len(sparkline(bins)) == 12
    assert sparkline(None) == ""


def test_one_input_is_shown_beside_the_others(report):
    text = single.render(report, 6)
    assert "Input 6 of data.npz" in text
    row = next(line for line in text.splitlines() if line.startswith("eigenvalue"))
    assert row.split() == ["eigenvalue", "40", "3", "83", "%", "nat/δ²"]
    assert "worst direction  [0] +1.00" in text


def test_a_share_is_a_percentage_without_decimals():
    assert [percent(share) for share in (0.0, 0.504, 1.0)] == ["0 %", "50 %", "100 %"]
    assert percent(None) == "–"
