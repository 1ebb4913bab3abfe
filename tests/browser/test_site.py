"""The site of `robaudit explain` in a real browser, read from a folder.

Pictures go to pytest's temporary folder, for eyes.
"""

import pytest

from audit.formats import site
from browser import chromium, looks

if chromium.PATH is None:
    pytest.skip(
        "the site was NOT looked at: no chromium (apt-get install chromium)",
        allow_module_level=True,
    )

TOO_WIDE = """
[...document.querySelectorAll('body *')]
  .filter(e => !e.closest('pre *') && !e.closest('.skip'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
  .map(e => e.outerHTML.slice(0, 80))
"""
FOLLOWED = """
[...document.querySelectorAll('main table a')].map(a => a.href)
"""
FAINT = (
    looks.COLOURS
    + """
  return [...document.querySelectorAll('p, a, td, th, pre, h1, h2, span, code')]
    .filter(e => {
      const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map(e => e.outerHTML.slice(0, 80));
})()
"""
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.opened(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("site")
    site.write(found)
    return found


@pytest.mark.sweep(2)
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_can_be_read_and_ask_for_nothing(browser, folder, width, scheme):
    browser.emulate(width, scheme)
    for path in sorted(folder.iterdir()):
        assert browser.load(path.as_uri()) == [path.as_uri()]
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate(TOO_WIDE) == [], path.name
        assert browser.evaluate(FAINT) == [], path.name
        assert not browser.told("Log.entryAdded")
        browser.picture(folder.parent / f"{path.stem}-{width}-{scheme}.png")


@pytest.mark.parametrize("few", [3, pytest.param(9, marks=pytest.mark.slow)])
def test_a_name_of_the_index_is_shown_where_it_leads(browser, folder, few):
    browser.emulate(1280)
    browser.load((folder / "index.html").as_uri())
    targets = browser.evaluate(FOLLOWED)
    assert len(targets) > 200
    for target in targets[:: len(targets) // few]:
        browser.load("about:blank")
        browser.load(target)
        top = "document.querySelector(':target').getBoundingClientRect().top"
        assert 0 <= browser.evaluate(top) < 900
