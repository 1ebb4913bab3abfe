"""Markdown: safe on GitHub and below its size."""

import numpy as np
from reports.synthetic import CONFIG, EIGENVALUES, measured_of, report_of

from audit.formats.markdown import LIMIT, render
from audit.reports.build import build_report


def test_the_summary_starts_with_model_verdict_and_reading(gated):
    lines = render(gated).splitlines()
    assert lines[0] == r"## robaudit: models/\[old\]/net.onnx"
    assert lines[2] == "**FAIL: 1 of 3 limits broken · exit 1**"
    assert lines[4].startswith("A perturbation of norm 0.689")


def test_checks_are_a_table_with_offenders(gated):
    row = next(line for line in render(gated).splitlines() if "❌" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "`kl.gaussian.p95` <= 0.05"
    assert cells[2].startswith(r"kl.gaussian.p95 = 0.24 \> 0.05 by 380 %")
    assert cells[3] == "2 inputs (6, 5)"


def test_every_table_row_has_the_cells_of_its_header(gated):
    width = 0
    for line in render(gated).splitlines():
        cells = line.count("|") - line.count(r"\|")
        if line.startswith("|"):
            assert width in (0, cells)
        width = cells if line.startswith("|") else 0


def test_hostile_reasons_stay_text():
    measured = measured_of(EIGENVALUES)
    measured.skipped = [(9, "<script>alert(1)</script> | *x*\n# y")]
    text = render(build_report(measured, CONFIG))
    assert r"\<script\>alert(1)\</script\> \| \*x\*�\# y" in text


def test_a_long_report_is_cut_below_64_kb():
    measured = measured_of(EIGENVALUES)
    measured.warnings = [("w", "long " * 1000) for _ in range(30)]
    text = render(build_report(measured, CONFIG))
    assert len(text.encode()) <= LIMIT
    assert text.endswith("*Cut at 64 KB; the JSON report has it all.*\n")


def test_a_large_scan_gives_a_small_summary():
    text = render(report_of(np.random.default_rng(0).lognormal(size=20_000)))
    assert len(text) < 10_000
