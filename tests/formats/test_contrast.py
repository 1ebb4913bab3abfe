"""The page in both lights: contrast as WCAG 2.2 counts it, and reach by keyboard.

Texts take a ratio of 4.5 (success criterion 1.4.3), what a figure is read from one of 3
(1.4.11): relative luminance of sRGB, (lighter + .05) / (darker + .05).
"""

import re
from importlib.resources import files

import pytest

PAGE = files("audit.formats.html").joinpath("page.html.jinja").read_text("utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--(\w+): (#\w{6})", rule))
    for rule in re.findall(r":root \{([^}]*--ink[^}]*)\}", PAGE)
)
GROUNDS = ("paper", "panel")
TEXTS = ("ink", "soft", "good", "bad", "warn", "plus", "minus", "accent")


def channels(colour):
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def luminance(values):
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values
    ]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def ratio(one, other):
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def over(colour, ground, share):
    pairs = zip(channels(colour), channels(ground), strict=True)
    return [share * c + (1 - share) * g for c, g in pairs]


def test_the_ratio_is_that_of_the_guideline():
    """Black on white has 21, and #777777 just misses 4.5."""
    assert ratio([0] * 3, [1] * 3) == pytest.approx(21)
    assert 4.4 < ratio(channels("#777777"), [1] * 3) < 4.5


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("light", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_and_marks_stand_out(light, ground):
    behind = channels(light[ground])
    for name in TEXTS:
        assert ratio(channels(light[name]), behind) >= 4.5, name
    dot = float(re.search(r"\.dot \{ [^}]*stroke-opacity: ([.\d]+)", PAGE)[1])
    assert ratio(over(light["accent"], light[ground], dot), behind) >= 3


def test_what_scrolls_is_reached_by_keyboard():
    for tag in re.findall(r'<pre[^>]*>|<div class="wide"[^>]*>', PAGE):
        assert 'tabindex="0"' in tag
