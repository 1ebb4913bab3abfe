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


@pytest.mark.sweep(3)
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
    _, rows = made(report, "compare")
    columns = report.inputs.columns
    x, y = (columns[name]["eigenvalue"] for name in ("kl", "quantile"))
    assert [(float(r[2]), float(r[3])) for r in rows[1:]] == list(
        zip(x, y, strict=True)
    )


def test_the_worst_input_is_shown_moved_with_both_predictions(report):
    one = report.portraits[0]
    _, rows = made(report, "worst")
    delta = np.array(one.delta)
    order = np.argsort(-np.abs(delta))
    names = [report.data.feature_names[k] for k in order]
    bars = [row for row in rows if row[0] == f"input {one.index}"]
    assert [row[1].split(":")[0] for row in bars] == names
    assert [float(row[3]) for row in bars] == delta[order].tolist()
    k = order[0]
    assert bars[0][1] == f"{names[0]}: {one.x[k]:.3g} → {one.x[k] + delta[k]:.3g}"
    for name, law in (("before", one.before), ("after", one.after)):
        curve = [(float(r[2]), float(r[3])) for r in rows if r[0] == name]
        assert curve == list(zip(one.axes[0], law.density, strict=True))


def test_an_unchecked_input_is_shown_by_its_direction():
    report = scan(sample("heteroscedastic", verify=0, limit=6))
    _, rows = made(report, "worst")
    first = report.worst[0]
    v = np.array(first.directions["kl"][0])
    order = np.argsort(-np.abs(v))
    names = [report.data.feature_names[k] for k in order if abs(v[k]) >= 0.005]
    assert [row[1] for row in rows[1:]] == names
    assert float(rows[1][3]) == v[order[0]]


@pytest.fixture(scope="module")
def digits():
    return scan(sample("digits_cnn", verify=8, limit=12))


def test_a_picture_has_its_cells_and_its_classes(digits):
    one = digits.portraits[0]
    picture, rows = made(digits, "worst")
    cells = {
        name: [float(row[4]) for row in rows if row[0] == name]
        for name in ("input", "moved", "difference")
    }
    x, delta = np.array(one.x), np.array(one.delta)
    np.testing.assert_array_equal(cells["input"], x.ravel())
    np.testing.assert_array_equal(cells["moved"], (x + delta).ravel())
    np.testing.assert_array_equal(cells["difference"], delta.ravel())
    before = [float(row[3]) for row in rows if row[0] == "before"]
    assert before == one.before.density
    words = "".join(ElementTree.fromstring(picture).itertext())
    assert all(word in words for word in ("input", "moved", "difference", "class"))


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sunspots_gru", ("step", "difference", "density")),
        ("sunspots_quantiles", ("step", "probability below")),
        ("posterior_forward_kl", ("θ[0]", "θ[1]", "before", "after")),
        ("counts", ("count", "probability")),
        ("linear_gaussian", ("coordinate of θ",)),
    ],
)
def test_every_kind_of_prediction_has_its_plot(name, words):
    report = scan(sample(name, verify=4, limit=6))
    picture, _ = made(report, "worst")
    shown = "".join(ElementTree.fromstring(picture).itertext())
    assert [word for word in words if word not in shown] == []
    assert made(report, "worst")[0] == picture


def test_show_writes_one_input_as_a_figure_and_as_arrays(tmp_path, digits):
    (tmp_path / "r.json").write_text(to_json(digits))
    one = digits.portraits[1]
    files = [str(tmp_path / f"worst.{end}") for end in ("png", "npz", "svg")]
    words = ["show", str(tmp_path / "r.json"), "--index", str(one.index)]
    done = CliRunner().invoke(app, [*words, *(w for f in files for w in ("-o", f))])
    assert (done.exit_code, done.output) == (0, "")
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")
    with np.load(files[1], allow_pickle=False) as kept:
        np.testing.assert_array_equal(kept["x"], one.x)
        np.testing.assert_array_equal(kept["delta"], one.delta)
        np.testing.assert_array_equal(
            kept["before.logits"], one.before.parameters["logits"]
        )
        np.testing.assert_array_equal(kept["after.density"], one.after.density)
        assert kept["index"].item() == one.index
        assert kept["radius"].item() == one.radius
    first = (tmp_path / "worst.npz").read_bytes()
    CliRunner().invoke(app, [*words, "-o", files[1]])
    assert (tmp_path / "worst.npz").read_bytes() == first


def test_show_says_what_it_cannot_draw(tmp_path, digits):
    (tmp_path / "r.json").write_text(to_json(digits))
    words = ["show", str(tmp_path / "r.json"), "--index"]
    known = {one.index for one in digits.portraits if one.delta is not None}
    other = min(set(digits.inputs.index) - known)
    for ending in ("npz", "svg"):
        done = CliRunner().invoke(
            app, [*words, str(other), "-o", str(tmp_path / f"a.{ending}")]
        )
        assert done.exit_code == 2
        assert f"--index {other} --verify all" in " ".join(done.output.split())
    done = CliRunner().invoke(app, [*words, "0", "-o", str(tmp_path / "a.html")])
    assert done.exit_code == 2
    assert ".png, .svg, .pdf or .npz" in " ".join(done.output.split())


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
