"""Means over all inputs and the features' names, in every format; hostile names too."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from audit.formats import markdown, single, table
from audit.formats.html import directions, render, spectrum
from audit.reports.build import build_report
from audit.reports.json import read_report, report_schema, to_json
from audit.reports.listing import PRINTED_VALUES
from audit.reports.measured import Means, UniversalInfo
from audit.reports.overall import universal_record
from reports.synthetic import CONFIG, EIGENVALUES, measured_of

HOSTILE = ["<script>", "[red]a|b", "&amp;\x1b[31m", "x" * 80]


def report_with(shape=(4,), names=None, features=None, **parts):
    measured = measured_of(EIGENVALUES)
    data = replace(measured.data, event_shape=shape, feature_names=names)
    measured = replace(measured, data=data, **parts)
    if features is not None:
        measured.features = {"kl": features}
    return build_report(measured, CONFIG)


def mean_of(*shape):
    values = np.abs(np.random.default_rng(0).normal(size=shape))
    return Means(6, values)


def test_a_report_survives_json_with_its_means(tmp_path):
    report = report_with(names=list("abcd"))
    path = tmp_path / "r.json"
    path.write_text(to_json(report))
    assert read_report(str(path)) == report
    found = report.divergences["kl"].features
    assert (found.n, found.mean_abs) == (6, [0.9, 0.3, 0.05, 0.0])
    assert report.data.feature_names == list("abcd")
    assert "FeatureMeans" in report_schema()["$defs"]


def test_a_report_without_them_is_read(tmp_path):
    report = report_with(features=None, spectra={})
    report.divergences["kl"].features = None
    path = tmp_path / "r.json"
    path.write_text(to_json(report))
    read = read_report(str(path))
    assert directions.share_of_features(read, "kl") is None
    assert spectrum.band(read, "kl") is None
    assert "Mean |v|" not in render(read)


def test_names_of_very_many_features_are_left_out():
    names = ["a"] * (PRINTED_VALUES + 1)
    assert report_with((PRINTED_VALUES + 1,), names).data.feature_names is None


def test_the_band_holds_percentiles_of_inputs_that_have_a_spectrum():
    values = np.random.default_rng(0).lognormal(size=(101, 3))
    with_nan = np.vstack([values, np.full((1, 3), np.nan)])
    band = report_with(spectra={"kl": with_nan}).divergences["kl"].spectrum
    assert band.n == 101
    assert band.p50 == pytest.approx(np.sort(values, axis=0)[50])
    assert band.p05 == pytest.approx(np.sort(values, axis=0)[5])
    assert report_with(spectra={"kl": with_nan[-1:]}).divergences["kl"].spectrum is None


def test_the_band_is_drawn_between_its_percentiles():
    drawing = spectrum.band(report_with(), "kl")
    assert drawing.description.startswith("Leading 3 eigenvalues of 6 inputs: ")
    band = next(p for p in drawing.parts if p.get("class") == "band")
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", band.get("d")), float)
    assert len(points) == 6
    high, low = points[:3], points[3:][::-1]
    np.testing.assert_array_equal(high[:, 0], low[:, 0])
    assert (high[:, 1] < low[:, 1]).all()  # upwards is down in pixels
    decade = (points[2, 1] - points[0, 1]) / 1  # from λ to λ/10
    assert high[1, 1] - high[0, 1] == pytest.approx(np.log10(2) * decade, abs=0.2)


def test_eigenvalues_that_vanish_have_no_place_on_a_log_scale():
    values = EIGENVALUES[:, None] * np.array([1.0, 0.5, 0.0])
    values[0, 1] = 0.0
    drawing = spectrum.band(report_with(spectra={"kl": values}), "kl")
    assert "Leading 2 eigenvalues" in drawing.description
    ElementTree.fromstring(drawing.markup())
    alone = {"kl": EIGENVALUES[:, None]}
    assert spectrum.band(report_with(spectra=alone), "kl") is None


def test_a_sampled_spectrum_says_that_it_is_biased():
    measured = measured_of(EIGENVALUES)
    info = replace(measured.divergences["kl"], estimator="monte_carlo", draws=64)
    report = report_with(divergences={**measured.divergences, "kl": info})
    assert "sampled" in spectrum.band(report, "kl").description


def test_the_mean_is_over_all_inputs_and_not_the_worst():
    drawing = directions.share_of_features(report_with(), "kl")
    assert drawing.title == "Mean |v| of each feature over 6 inputs, kl"
    assert drawing.description.startswith("[0] 0.90; [1] 0.30; [2] 0.05")


def test_a_mean_that_is_missing_says_why():
    reason = "an input has 150528 features"
    report = report_with(features=Means(0, None, reason))
    assert f"kl: no mean |v| of each feature: {reason}." in render(report)
    assert reason in markdown.render(report)


def test_names_stand_beside_the_bars():
    report = report_with(names=["age", "income", "tax", "zip"])
    drawing = directions.share_of_features(report, "kl")
    assert drawing.description.startswith("age 0.90; income 0.30; tax 0.05")
    labels = [part.text for part in drawing.parts if part.tag == "text"]
    assert labels[::2] == ["age", "income", "tax", "zip"]
    worst = directions.draw(report, report.worst[0], "kl")
    assert worst.description.startswith("age +1.00")
    assert "age +1.00" in table.render(report)
    assert "age +1.00" in single.render(report, 6)
    assert "moves most age 0.90, income 0.30" in markdown.render(report)


@pytest.mark.parametrize("shape", [(4, 8), (100,), (8, 8)])
def test_pictures_and_series_name_their_strongest_feature(shape):
    names = [f"f{k}" for k in range(int(np.prod(shape)))]
    means = mean_of(*shape)
    report = report_with(shape, names, means)
    drawing = directions.share_of_features(report, "kl")
    assert f"strongest at f{means.mean.argmax()}: " in drawing.description
    place = ",".join(map(str, np.unravel_index(means.mean.argmax(), shape)))
    unnamed = directions.share_of_features(report_with(shape, None, means), "kl")
    assert f"strongest at [{place}]: " in unnamed.description


def test_names_of_other_features_are_not_used():
    report = report_with((3,), ["a", "b", "c"])  # φ was perturbed, not the input
    assert "[0] +1.00" in table.render(report)


def test_hostile_names_cannot_become_markup():
    report = report_with(names=HOSTILE)
    page = render(report)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    text = markdown.render(report)
    assert r"\<script\> 0.90" in text
    assert r"\[red\]a\|b 0.30" in text
    for line in (table.render(report), single.render(report, 6)):
        assert "<script> +1.00" in line
        assert "\x1b" not in line
    report.divergences["kl"].features.mean_abs = [0.0, 0.1, 0.9, 0.2]
    assert "\x1b" not in markdown.render(report) + render(report)
    for found in re.findall(r"<svg.*?</svg>", render(report), re.DOTALL):
        ElementTree.fromstring(found)


def test_rich_markup_in_a_name_is_shown_as_it_is():
    report = report_with(names=["[red]hot[/red]", "b", "c", "d"])
    for text in (table.render(report), single.render(report, 6)):
        assert "[red]hot[/red] +1.00" in text


@pytest.mark.parametrize("n", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_large_means_and_long_names_keep_the_page_small(n):
    names = [f"{k:080}" for k in range(PRINTED_VALUES)]
    values = np.random.default_rng(0).lognormal(size=n)
    for shape in ((64, 64), (PRINTED_VALUES,)):
        measured = measured_of(values)
        measured.features = dict.fromkeys(("kl", "quantile"), mean_of(*shape))
        measured.data = replace(measured.data, event_shape=shape, feature_names=names)
        assert len(render(build_report(measured, CONFIG)).encode()) < 500_000


def test_a_universal_direction_is_printed_if_it_is_short_enough():
    found = UniversalInfo(6, 1, 2.0, 4.0, np.array([0.6, 0.8, 1e-9]))
    assert universal_record(found, 3)["direction"] == [0.6, 0.8, 0.0]
    long, none = universal_record(found, 2), universal_record(UniversalInfo(0), 3)
    assert (long["direction"], long["universality"]) == (None, 0.5)
    assert (none["direction"], none["universality"]) == (None, None)
