"""The page: one file, no network, no script, small, and every picture in words too."""

import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from reports.synthetic import CONFIG, EIGENVALUES, LIMITS, measured_of, report_of

from audit.config import Waiver
from audit.config.lists import condition
from audit.formats.html import command, directions, render
from audit.formats.html.svg import Axis, Drawing, axis
from audit.reports.build import build_report
from audit.reports.measured import Worst

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Collects tags and checks that they close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def pictures(text):
    return [
        ElementTree.fromstring(found)
        for found in re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    ]


def with_directions(*shape):
    measured = measured_of(EIGENVALUES)
    values = np.random.default_rng(0).normal(size=(2, *shape))
    measured.worst = [
        Worst(6, {"kl": values}, one.eigenvalues) for one in measured.worst
    ]
    return build_report(measured, CONFIG)


def test_the_page_closes_its_tags_and_asks_for_nothing(gated):
    text = render(gated)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "onclick", "onload"} & {n for n, _ in page.attributes}
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_every_picture_has_a_title_and_words(gated):
    found = pictures(render(gated))
    assert len(found) >= 8
    for picture in found:
        assert picture.find("title").text
        assert picture.find("desc").text
        assert picture.get("role") == "img"
        unit = picture.get("data-unit")
        assert unit
        assert f", in {unit}. " in picture.get("aria-label")


def test_units_stand_where_they_are_seen(gated):
    text = render(gated)
    figures = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)
    assert len(figures) == len(pictures(text))
    for figure in figures:
        seen = re.sub(r"<title>.*?</title>|<desc>.*?</desc>", "", figure)
        unit = re.search(r'data-unit="([^"]*)"', figure)[1]
        for part in unit.removeprefix("inputs for each step of ").split(" and "):
            words = ">".join(re.split(r"<[^>]*>", seen))
            assert part in words, (unit, words)


def test_no_picture_draws_outside_its_frame(gated):
    for picture in pictures(render(gated)):
        _, _, width, height = map(float, picture.get("viewBox").split())
        for part in picture.iter("rect"):
            x, y, w, h = (float(part.get(n)) for n in ("x", "y", "width", "height"))
            assert 0 <= x <= x + w <= width + 0.6
            assert 0 <= y <= y + h <= height + 0.6
        for text in picture.iter("text"):
            assert 0 <= float(text.get("x")) <= width
            assert 0 <= float(text.get("y")) <= height


def test_it_says_verdict_reading_limits_and_how_to_do_it_again(gated):
    text = render(gated)
    assert "FAIL: 1 of 3 limits broken · exit 1" in text
    assert "A perturbation of norm 0.689 along the worst direction" in text
    assert '<td data-name="beyond it">2: 6, 5</td>' in text
    assert (
        "robaudit scan &#39;models/[old]/net.onnx&#39; data.npz --family normal" in text
    )
    assert gated.fingerprint in text


def test_names_cannot_become_markup():
    measured = measured_of(EIGENVALUES)
    evil = "<script>alert(1)</script>"
    measured.skipped = [(0, evil)]
    measured.divergences = {evil: measured.divergences["kl"]}
    measured.columns = {evil: measured.columns["kl"]}
    model = measured.model.model_copy(update={"family": evil})
    report = build_report(replace(measured, model=model), CONFIG)
    text = render(report)
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


@pytest.mark.slow  # a page of a hundred thousand: tests/browser/test_page.py
def test_a_million_inputs_stay_small():
    values = np.random.default_rng(0).lognormal(size=1_000_000)
    assert len(render(report_of(values)).encode()) < 500_000


def test_a_million_inputs_keep_the_plots_of_the_worst():
    values = np.random.default_rng(0).lognormal(size=20_000)
    text = render(report_of(values))
    assert "kl against quantile" in text
    assert "Top eigenvalue of each on 3 inputs" in text


def test_ten_thousand_inputs_with_pictures_stay_small():
    measured = measured_of(np.random.default_rng(0).lognormal(size=10_000))
    picture = np.random.default_rng(1).normal(size=(3, 3, 36, 36))
    measured.worst = [
        Worst(one.index, {"kl": picture, "quantile": picture})
        for one in measured.worst * 4
    ]
    assert len(render(build_report(measured, CONFIG)).encode()) < 500_000


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((8, 8), "A picture of 8 by 8"),
        ((3, 36, 37), "A picture of 18 by 19"),
        ((16, 16, 3), "A picture of 16 by 16"),
        ((60,), "60 entries; strongest at"),
        ((5,), "["),
        ((), "["),
    ],
)
def test_directions_are_drawn_as_what_they_are(shape, words):
    report = with_directions(*shape)
    drawing = directions.draw(report, report.worst[0], "kl")
    assert words in drawing.description


def test_blocks_keep_the_strongest_entry():
    values = np.zeros((1, 64, 64))
    values[0, 41, 3] = -5.0
    found = directions.as_picture(values)
    assert found.shape == (32, 32)
    assert found[20, 1] == -5.0


def test_nothing_audited_still_gives_a_page():
    assert "No input was audited." in render(report_of(np.array([])))


def test_limits_are_drawn_over_the_histogram():
    limit = replace(LIMITS[0], limit=0.05)
    text = render(report_of(EIGENVALUES, limit))
    assert "limit &lt;= 0.05" in text
    assert 'class="limit broken"' in text


def test_the_command_repeats_the_scan():
    model = replace(CONFIG.model, parameters={"loc": "out[:, :2]"}, trust_model=True)
    names = ("parameters", "trust_model", "attacks", "max", "seed")
    config = replace(
        CONFIG,
        model=model,
        seed=3,
        thresholds=LIMITS[:1],
        origins={**CONFIG.origins, **dict.fromkeys(names, "robaudit.yaml")},
    )
    text = command(build_report(measured_of(EIGENVALUES), config))
    for part in (
        "--param 'loc=out[:, :2]'",
        "--trust-model",
        "--seed 3",
        "--attack gaussian:sigma=0.1 --attack uniform_norm:max_norm=0.1",
        "--max kl.gaussian.p95=0.05",
    ):
        assert part in text


def test_the_command_names_the_key_of_the_data_and_no_option_of_files():
    model = replace(CONFIG.model, condition="x", condition_key="features")
    origins = dict.fromkeys(("condition", "waivers"), "robaudit.yaml")
    waiver = Waiver("kl.gaussian.p95", "2126-12-31", "known")
    config = replace(CONFIG, model=model, waivers=(waiver,), origins=origins)
    words = shlex.split(command(build_report(measured_of(EIGENVALUES), config)))
    assert condition(words[words.index("--condition") + 1]) == ("x", "features")
    assert "--waivers" not in words


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0.0, 10.0, False, [0, 2, 4, 6, 8, 10]),
        (0.31, 0.52, False, [0.35, 0.4, 0.45, 0.5]),
        (0.0, 0.0, False, [0]),  # of a law with one count
        (1.0, 1000.0, True, [1, 10, 100, 1000]),
        (0.02, 0.4, True, [0.03, 0.1, 0.3]),
        (1e-8, 1e8, True, [1e-8, 1e-4, 1, 1e4, 1e8]),
        (2e-6, 3e-2, True, [1e-5, 1e-4, 1e-3, 1e-2]),
    ],
)
def test_ticks_are_round(low, high, log, ticks):
    assert Axis(low, high, 0, 100, log).ticks() == pytest.approx(ticks)


def test_an_axis_makes_room_around_a_single_value():
    assert axis([3.0], 0, 100)(3.0) == 50.0
    assert axis([3.0], 0, 100, log=True)(3.0) == pytest.approx(50.0)
    assert axis([0.0], 0, 100)(0.0) == 50.0


def test_control_characters_do_not_break_a_picture():
    drawing = Drawing("a\x00b", "c\x1bd")
    drawing.label((1, 2), "e\x07f")
    ElementTree.fromstring(drawing.markup())
