"""The page of every sample model in a real browser, on three screens, in both tastes.

Pictures go to pytest's temporary folder, for eyes.
"""

import pytest
from golden.hashes import DATA, SLOW
from scans import SAMPLES

from audit.config import ModelConfig, ScanConfig
from audit.formats.html import render
from audit.run.scan import scan
from browser import chromium
from browser.looks import LAID_OUT

if chromium.PATH is None:
    pytest.skip(
        "the page was NOT looked at: no chromium (apt-get install chromium)",
        allow_module_level=True,
    )

SCREENS = (390, 1280, 2560)
DESKTOP = 900
"""The height of a screen; a page is at most three of them there."""
TWINS = {
    "heteroscedastic_jacobian",
    "heteroscedastic_fisher",
    "heteroscedastic_legacy",
    "sunspots_gru_batch1",
    "decoder_batch8",
}
"""Files whose page has the same pictures as another's."""
NAMES = sorted({path.stem for path in SAMPLES.glob("*.onnx")} - TWINS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.opened(tmp_path_factory.mktemp("profile")) as found:
        yield found


def page_of(name, folder):
    """The page of a scan of a few inputs."""
    slow = name in SLOW
    model = ModelConfig(str(SAMPLES / f"{name}.onnx"))
    data = str(SAMPLES / f"{DATA.get(name, name)}.npz")
    few = {"limit": 4 if slow else 16, "verify": 2 if slow else 8}
    report = scan(ScanConfig(model=model, data=data, **few))
    path = folder / f"{name}.html"
    path.write_text(render(report), encoding="utf-8")
    return report, path


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NAMES],
)
def test_a_sample_is_shown_well_on_every_screen(browser, tmp_path, name):
    report, path = page_of(name, tmp_path)
    assert path.stat().st_size <= 150_000
    for width in SCREENS:
        for scheme in ("light", "dark"):
            browser.emulate(width, scheme)
            assert browser.load(path.as_uri()) == [path.as_uri()]
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            for what, question in LAID_OUT.items():
                found = browser.evaluate(question)
                assert found == [], (what, width, scheme)
            browser.picture(tmp_path / f"{name}-{width}-{scheme}.png")
        if width > 600:
            height = browser.evaluate("document.documentElement.scrollHeight")
            assert height <= 3 * DESKTOP
    cards = browser.evaluate("document.querySelectorAll('.card').length")
    assert cards == min(4, len(report.worst))
    shown = browser.evaluate("document.querySelectorAll('.card svg').length")
    moved = [one for one in report.portraits[:4] if one.delta is not None]
    assert moved
    assert shown >= cards + len([one for one in moved if one.kind])


def test_what_is_measured_can_be_wrong(browser, tmp_path):
    """Each measure finds a page that is wrong in its way."""
    bad = {
        "too wide": "<p style='width: 3000px'>wide</p>",
        "touching": "<svg aria-label='x'><text y='20'>aa</text>"
        "<text y='20' x='4'>bb</text></svg>",
        "cut off": "<svg aria-label='x' width='20' height='20'>"
        "<text y='10'>a long text</text></svg>",
        "out of order": "<p class='reading'>a</p><p class='verdict'>b</p>",
        "overlapping": "<p style='margin-bottom: -1.5rem'>a</p><p>b</p>",
        "faint": "<p style='color: #bbb'>faint</p>",
        "without words": "<svg aria-label='x'></svg>",
    }
    assert list(bad) == list(LAID_OUT)
    browser.emulate(1280)
    for what, body in bad.items():
        path = tmp_path / "bad.html"
        path.write_text(f"<meta charset=utf-8><body style='background: #fff'>{body}")
        browser.load(path.as_uri())
        assert browser.evaluate(LAID_OUT[what]) != [], what
