"""Figures for papers: vector text, numbers beside them, the same bytes each time."""

import csv
from xml.etree import ElementTree

import numpy as np
import pytest
from reports.synthetic import CONFIG, EIGENVALUES, limit, measured_of
from scans import sample, scan
from typer.testing import CliRunner

from audit.cli import app
from audit.formats import figure as figures
from audit.formats.figure import KINDS, check, figure
from audit.ground.errors import ConfigError
from audit.reports.build import build_report
from audit.reports.json import to_json


@pytest.fixture(scope="module")
def report():
    return scan(sample("heteroscedastic", verify=8, limit=30, sizes=(0.1, 0.3)))


def made(report, kind, suffix="svg", index=None):
    files = figure(report, f"a.{suffix}", kind, index)
    assert list(files) == [f"a.{suffix}", f"a.{suffix}.csv"]
    picture, numbers = files.values()
    return picture, list(csv.reader(numbers.decode().splitlines()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_has_its_words_as_text_and_its_bytes_twice(report, kind):
    picture, rows = made(report, kind)
    words = "".join(ElementTree.fromstring(picture).itertext())
    assert rows[0][2].split(" (")[0] in words
    assert len(rows) > 2
    assert made(report, kind)[0] == picture


@pytest.mark.parametrize(
    ("suffix", "starts"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")]
)
def test_the_ending_of_its_name_says_the_form(report, suffix, starts):
    picture, _ = made(report, "radius", suffix)
    assert picture.startswith(starts)
    assert made(report, "radius", suffix)[0] == picture


def test_the_numbers_are_those_of_the_report(report):
    two_sided = report.divergences["kl"].two_sided
    _, rows = made(report, "band")
    told = {(row[0], float(row[2])): float(row[3]) for row in rows[1:]}
    for rung in two_sided:
        assert told["witness", rung.size] == rung.witness.p50
        assert told["second order", rung.size] == rung.predicted.p50
        assert told["to certificate", rung.size] == rung.witness.p50
    tops = [float(row[4]) for row in rows[1:] if row[0] == "to certificate"]
    assert tops == [rung.certificate.p50 for rung in two_sided]
    _, rows = made(report, "worst")
    first = report.worst[0]
    v = np.array(first.directions["kl"][0])
    order = np.argsort(-np.abs(v))
    names = [report.data.feature_names[k] for k in order if abs(v[k]) >= 0.005]
    assert [row[1] for row in rows[1:]] == names
    assert float(rows[1][3]) == v[order[0]]
    _, rows = made(report, "compare")
    columns = report.inputs.columns
    x, y = (columns[name]["eigenvalue"] for name in ("kl", "quantile"))
    assert [(float(r[2]), float(r[3])) for r in rows[1:]] == list(
        zip(x, y, strict=True)
    )


def test_a_name_with_dollars_is_no_formula(report):
    named = report.model_copy(deep=True)
    named.data.feature_names = [f"$x_{k}$" for k in range(10)]
    picture, _ = made(named, "worst")
    assert "$x_8$" in "".join(ElementTree.fromstring(picture).itertext())


def test_what_a_report_does_not_hold_is_said():
    plain = build_report(measured_of(EIGENVALUES), CONFIG)
    with pytest.raises(ConfigError, match="no witnesses at two sizes") as caught:
        figure(plain, "a.svg", "band", None)
    assert "--figure" in caught.value.next_step
    alone = scan(sample("heteroscedastic", verify=0, limit=4, divergences=("kl",)))
    with pytest.raises(ConfigError, match="no second divergence"):
        figure(alone, "a.svg", "compare", None)
    with pytest.raises(ConfigError, match="of input 77 was asked for") as caught:
        figure(plain, "a.svg", "worst", 77)
    assert "--index" in caught.value.next_step


def test_a_figure_that_cannot_be_drawn_is_refused_before_any_work(monkeypatch):
    with pytest.raises(ConfigError, match="'bend' is not among the figures"):
        check("bend")
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="matplotlib is not installed") as caught:
        check("band")
    assert "robaudit[plot]" in caught.value.next_step


def test_a_saved_report_becomes_a_figure_on_the_command_line(tmp_path, report):
    (tmp_path / "r.json").write_text(to_json(report))
    path = tmp_path / "worst.svg"
    other = report.worst[2].index
    words = ["render", str(tmp_path / "r.json"), "-o", str(path)]
    words += ["--figure", "worst", "--index", str(other)]
    found = CliRunner().invoke(app, words)
    assert (found.exit_code, found.output) == (0, "")
    assert f"input {other}" in path.read_text()
    assert (tmp_path / "worst.svg.csv").read_text().startswith("series,label,")
    refused = CliRunner().invoke(app, [*words, "--force"])
    assert refused.exit_code == 2


def test_a_limit_is_marked():
    wanted = limit("kl.critical_radius.min", ">=", 0.25)
    limited = scan(sample("heteroscedastic", verify=8, limit=8, thresholds=(wanted,)))
    _, rows = made(limited, "radius")
    marks = [row[1] for row in rows if row[0] == "mark"]
    assert marks == ["p05", "median", "limit >= 0.25"]
