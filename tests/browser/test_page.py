"""The page in a real browser: what it shows, and that it asks for nothing.

Nothing here looks at a picture; it measures what the browser has laid out. Pictures and
the PDF go to pytest's temporary folder, for eyes.
"""

from dataclasses import replace

import numpy as np
import pytest
from reports.synthetic import CONFIG, EIGENVALUES, LIMITS, measured_of, report_of
from scans import sample, scan

from audit.formats.html import render
from audit.reports.build import build_report
from browser import chromium
from browser.looks import CUT, TOO_WIDE, TOUCHING

if chromium.PATH is None:
    pytest.skip(
        "the page was NOT looked at: no chromium (apt-get install chromium)",
        allow_module_level=True,
    )

SIZES = (1280, 390)
SCHEMES = ("light", "dark")

SMALLEST_TEXT = """
Math.min(...[...document.querySelectorAll('svg.large')].map(svg => {
  const style = getComputedStyle(svg.querySelector('text'));
  return svg.getScreenCTM().a * parseFloat(style.fontSize);
}))
"""
COLOURS = """
[document.body, document.querySelector('h1')].map(e => {
  const style = getComputedStyle(e);
  return e === document.body ? style.backgroundColor : style.color;
}).map(text => text.match(/[0-9]+/g).slice(0, 3).reduce((a, b) => a + +b, 0))
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.opened(tmp_path_factory.mktemp("profile")) as found:
        yield found


def named():
    """A scan whose features have names, wide ones and one that wants to be a script."""
    measured = measured_of(EIGENVALUES)
    names = ["WIDE_CAPITALS_" * 5, "<script>document.title='hit'</script>", "é", "m²"]
    measured.data = replace(measured.data, feature_names=names)
    return measured


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of scans of a vector, a picture and a series, and of planted ones."""
    folder = tmp_path_factory.mktemp("pages")
    options = {"thresholds": LIMITS[:2], "verify": 16}
    reports = {
        "vector": scan(sample("heteroscedastic", **options)),
        "picture": scan(sample("digits_cnn", limit=60, **options)),
        "series": scan(sample("sunspots_gru", limit=40, **options)),
        "planted": build_report(measured_of(EIGENVALUES), CONFIG),
        "named": build_report(named(), CONFIG),
        "many": report_of(np.random.default_rng(0).lognormal(size=100_000)),
    }
    for name, report in reports.items():
        (folder / f"{name} [1].html").write_text(render(report), encoding="utf-8")
    return {name: folder / f"{name} [1].html" for name in reports}


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "name", ["vector", "picture", "series", "planted", "named", "many"]
)
@pytest.mark.parametrize("width", SIZES)
def test_nothing_overlaps_or_is_cut_off(browser, pages, tmp_path, name, width):
    fits(browser, pages[name], width, tmp_path / f"{name}-{width}.png")


@pytest.mark.slow
@pytest.mark.parametrize("width", SIZES)
def test_nor_does_it_with_a_million_inputs(browser, tmp_path, width):
    report = report_of(np.random.default_rng(0).lognormal(size=1_000_000))
    path = tmp_path / "page.html"
    path.write_text(render(report), encoding="utf-8")
    fits(browser, path, width, tmp_path / "page.png")


def fits(browser, path, width, picture):
    """Assert that a page fits a width with nothing over another or cut off."""
    browser.emulate(width)
    browser.load(path.as_uri())
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(TOO_WIDE) == []
    assert browser.evaluate(TOUCHING) == []
    assert browser.evaluate(CUT) == []
    assert browser.evaluate("document.title").startswith("robaudit: ")
    assert browser.evaluate(SMALLEST_TEXT) >= 10
    assert path.stat().st_size < 500_000
    browser.picture(picture)


ANSWERED = "document.querySelector('.answers').getBoundingClientRect().bottom"
TOP_OF = "document.querySelector('{}')?.getBoundingClientRect().top ?? null"


@pytest.mark.parametrize("name", ["vector", "picture", "series"])
def test_the_answer_comes_first_and_the_rest_is_folded(browser, pages, name):
    browser.emulate(1280)
    browser.load(pages[name].as_uri())
    order = (".verdict", ".reading", ".warnings", ".answers", ".limits", ".figures")
    order = (*order, ".cards", "details")
    tops = {one: browser.evaluate(TOP_OF.format(one)) for one in order}
    if tops[".warnings"] is None:  # the series has none
        assert name == "series"
        del tops[".warnings"]
    assert list(tops.values()) == sorted(tops.values())
    assert browser.evaluate(ANSWERED) <= 800  # on the first screen of 1280 by 800
    assert tops[".limits"] < 780
    assert tops[".figures"] < 900  # the first pictures begin on the first screen
    assert browser.evaluate("document.documentElement.scrollHeight") <= 3 * 900
    folded = browser.evaluate("[...document.querySelectorAll('details')].length")
    assert folded >= 4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_follows_the_taste_of_its_reader(browser, pages, tmp_path, scheme):
    browser.emulate(1280, scheme)
    browser.load(pages["vector"].as_uri())
    paper, ink = browser.evaluate(COLOURS)
    assert (paper > ink) == (scheme == "light")
    assert abs(paper - ink) > 400
    browser.picture(tmp_path / f"{scheme}.png")


@pytest.mark.parametrize("scripts", [True, False])
def test_no_request_leaves_the_file(browser, pages, scripts):
    browser.emulate(1280, scripts=scripts)
    for page in pages.values():
        assert browser.load(page.as_uri()) == [page.as_uri()]
        assert browser.told("Log.entryAdded") == []
        assert browser.told("Runtime.exceptionThrown") == []


def test_without_scripts_it_looks_the_same(browser, pages, tmp_path):
    seen = []
    for scripts in (True, False):
        browser.emulate(1280, scripts=scripts)
        browser.load(pages["vector"].as_uri())
        browser.picture(tmp_path / f"scripts-{scripts}.png")
        seen.append((tmp_path / f"scripts-{scripts}.png").read_bytes())
    assert seen[0] == seen[1]


@pytest.mark.slow
def test_it_prints_dark_on_white_and_in_full(browser, pages, tmp_path):
    browser.emulate(720, "dark", media="print")
    browser.load(pages["vector"].as_uri())
    paper, ink = browser.evaluate(COLOURS)
    assert paper > ink + 400
    assert browser.evaluate("document.documentElement.scrollWidth") <= 720
    hidden = "[...document.querySelectorAll('.wide')].some(e => e.scrollWidth > 720)"
    assert browser.evaluate(hidden) is False
    tables = "[...document.querySelectorAll('details table')]"
    shown = f"{tables}.every(e => e.getBoundingClientRect().height > 50)"
    assert browser.evaluate(shown) is True
    browser.print(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    browser.emulate(1280)
