"""Cards of the worst inputs: what they show, and that they stay small."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from reports.synthetic import CONFIG, EIGENVALUES, measured_of
from scipy import stats

from audit.formats.html import moved, predicted, render
from audit.formats.html.cards import cards
from audit.reports.build import build_report
from audit.reports.portrayed import LINES, PortraitInfo, PredictionInfo, _placed

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
RNG = np.random.default_rng(5)


def gaussian(mean, grid, wide=1):
    quantiles = np.tile(stats.norm(mean).ppf(LEVELS)[:, None], wide)
    return PredictionInfo({}, quantiles, stats.norm(mean).pdf(grid))


def portrait(kind="density", shape=(4,), index=6, **more):
    grid = np.linspace(-3, 4, 40)
    laws = {
        "density": lambda mean: gaussian(mean, grid),
        "masses": lambda mean: PredictionInfo(
            {}, None, stats.binom(9, 0.3 + 0.3 * mean).pmf(np.arange(10))
        ),
        "quantiles": lambda mean: replace(gaussian(mean, grid, 12), density=None),
        "contour": lambda mean: replace(
            gaussian(mean, grid, 2),
            density=None,
            regions={"0.5": [[(mean, 0.0), (1.0, mean), (0.0, 1.0), (mean, 0.0)]]},
        ),
    }
    axes = {"density": (grid,), "masses": (np.arange(10.0),)}.get(kind, ())
    return PortraitInfo(
        index,
        "kl",
        x=RNG.normal(size=shape),
        delta=RNG.normal(size=shape) / 10,
        radius=0.2,
        cost=1.0,
        kind=kind,
        levels=LEVELS,
        axes=axes,
        before=laws[kind](0.0),
        after=laws[kind](1.0),
        **more,
    )


def reported(*portraits):
    measured = measured_of(EIGENVALUES)
    measured.portraits = list(portraits)
    return build_report(measured, CONFIG)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4,), ("4 of 4 features", "→")),
        ((60,), ("values of the input", "difference")),
        ((30, 2), ("step 0", "difference")),
        ((8, 8), ("Grey values of 8 by 8", "moved", "difference")),
        ((3, 36, 36), ("Grey values of 36 by 36", "input")),
    ],
)
def test_an_input_is_drawn_as_what_it_is(shape, words):
    report = reported(portrait(shape=shape))
    drawing = moved.drawn(report, report.portraits[0])
    text = drawing.markup() + drawing.caption
    assert [word for word in words if word not in text] == []
    assert drawing.description.startswith("Input 6")
    ElementTree.fromstring(drawing.markup())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("density", "Median 0 → 1; 5 % to 95 %: [-1.64, 1.64] → [-0.645, 2.64]"),
        ("masses", "class 2: 27 % → 2 %; class 6: 2 % → 25 %; class 3: 27 % → 7 %"),
        ("quantiles", "θ[0]: Median 0 → 1"),
        ("contour", "Highest-density regions of 50 %. θ[0]: Median 0 → 1"),
    ],
)
def test_a_prediction_says_how_it_moves(kind, words):
    found = reported(portrait(kind)).portraits[0]
    drawing = predicted.drawn(found)
    assert words in drawing.caption
    assert words in drawing.description
    assert "dashed or hollow" in drawing.description
    classes = {part.get("class") for part in drawing.parts}
    if kind == "masses":
        assert {"hollow", "bar"} <= classes
    else:
        assert {"before", "after"} <= classes


def test_the_median_stands_where_the_axis_has_it():
    drawing = predicted.drawn(reported(portrait()).portraits[0])
    dots = [part for part in drawing.parts if "dot" in (part.get("class") or "")]
    first, second = (float(re.match(r"M([\d.]+)", p.get("d"))[1]) for p in dots)
    ticks = {
        part.text: float(part.get("x"))
        for part in drawing.parts
        if part.get("class") == "tick middle"
    }
    step = (ticks["2"] - ticks["-2"]) / 4 if {"2", "-2"} <= set(ticks) else None
    unit = step or (ticks["2"] - ticks["0"]) / 2
    assert second - first == pytest.approx(unit, abs=0.3)
    assert first == pytest.approx(ticks["0"], abs=0.3)


def test_a_card_without_a_portrait_shows_the_direction_and_says_why():
    unknown = PortraitInfo(6, "kl", "<b>critical_radius ∞</b>: 1 is not reached")
    found = next(cards(reported(unknown)))
    (drawing,) = found.figures
    assert drawing.title == "Worst direction of kl at input 6"
    assert found.missing == unknown.reason
    text = render(reported(unknown))
    assert "&lt;b&gt;critical_radius ∞&lt;/b&gt;: 1 is not reached" in text
    lost = replace(portrait(), kind=None, before=None, after=None)
    lost = replace(lost, unpictured="no prediction is drawn: x + δ has no law")
    found = next(cards(reported(lost)))
    assert [drawing.title for drawing in found.figures] == ["Input, before and after"]
    assert found.missing == lost.unpictured


def test_a_page_of_noisy_pictures_stays_small():
    shown = [portrait(shape=(64, 64), index=index) for index in (6, 5, 4)]
    assert len(render(reported(*shown)).encode()) < 300_000


def test_an_axis_of_tiny_steps_keeps_its_digits():
    grid = 1e6 + np.linspace(0, 1e-4, 20)
    narrow = replace(portrait(), axes=(grid,))
    (axis,) = reported(narrow).portraits[0].axes
    np.testing.assert_allclose(np.diff(axis), np.diff(grid), atol=1e-9)


def test_a_large_picture_is_shown_by_means_over_blocks():
    picture = RNG.normal(size=(3, 70, 64))
    found = moved.as_grey(picture)
    assert found.shape == (24, 32)
    assert found[0, 0] == pytest.approx(picture[:, :3, :2].mean())
    assert found[-1, -1] == pytest.approx(picture[:, 69:, 62:].mean())
    last = picture.transpose(1, 2, 0)
    np.testing.assert_allclose(moved.as_grey(last), found)


@pytest.mark.parametrize("power", [2, 0, -200, -284, -285, -286, -300])
def test_places_of_a_line_keep_five_digits_as_far_as_numpy_rounds(power):
    """Powers of ten beyond 290 overflow there: such a line is kept whole."""
    points = np.array([[0.0, 1.23456789], [0.123456789, 0.0]]) * 10.0**power
    found = np.array(_placed(points, LINES))
    assert (found == points).all() is np.bool_(LINES - power >= 290)
    np.testing.assert_allclose(found, points, rtol=0, atol=0.51e-5 * 10.0**power)


def test_a_line_that_is_one_point_keeps_it_to_as_many_digits():
    assert _placed(np.full((3, 2), 7.123456), LINES) == [[7.12346, 7.12346]] * 3
