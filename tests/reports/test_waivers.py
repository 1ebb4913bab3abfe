"""Waivers hide a broken limit until their day, and never longer."""

from dataclasses import replace
from datetime import date

import pytest

from audit.config import ScanConfig, Waiver, read_config, with_waivers
from audit.formats import FORMATS
from audit.formats.verdicts import check_line
from audit.ground.errors import ConfigError
from audit.reports.build import build_report
from audit.reports.checks import recheck
from reports.synthetic import CONFIG, EIGENVALUES, LIMITS, measured_of

WAIVER = Waiver("kl.gaussian.p95", "2030-06-30", "retraining", "robaudit.yaml:9")


def report_on(day, limits=LIMITS[:1]):
    config = replace(CONFIG, thresholds=limits, max_skipped=1, waivers=(WAIVER,))
    waived = with_waivers(config, date.fromisoformat(day))
    return build_report(measured_of(EIGENVALUES), waived)


@pytest.mark.parametrize(
    ("day", "code", "said"),
    [
        ("2030-06-29", 0, "; waived until 2030-06-30: retraining"),
        ("2030-06-30", 0, "; waived until 2030-06-30: retraining"),
        ("2030-07-01", 1, "; waiver expired on 2030-06-30: retraining"),
    ],
)
def test_the_day_decides(day, code, said):
    report = report_on(day)
    assert report.exit_code == code
    assert check_line(report.checks[0]).endswith(said)
    assert report.checks[0].source == LIMITS[0].source


def test_a_waived_limit_does_not_speak_for_the_others():
    assert report_on("2030-06-01", LIMITS[:2]).verdict == "pass"


def test_a_saved_report_fails_once_its_waiver_has_expired():
    expired = replace(WAIVER, until="2001-01-01")
    config = replace(CONFIG, thresholds=LIMITS[:1], max_skipped=1, waivers=(expired,))
    then = with_waivers(config, date(2000, 1, 1))
    report = build_report(measured_of(EIGENVALUES), then)
    assert report.exit_code == 0
    assert recheck(report, ScanConfig()).exit_code == 1


def test_a_limit_that_only_warns_does_so_again_when_its_waiver_has_expired():
    limits = (replace(LIMITS[0], level="warn"),)
    report = report_on("2030-07-01", limits)
    assert (report.exit_code, report.checks[0].level) == (0, "warn")
    again = recheck(report, ScanConfig())
    assert (again.exit_code, again.checks[0].level) == (0, "warn")


def test_a_limit_that_only_warns_is_none_that_fails_after_a_waiver_that_held():
    expired = replace(WAIVER, until="2001-01-01")
    limits = (replace(LIMITS[0], level="warn"),)
    config = replace(CONFIG, thresholds=limits, max_skipped=1, waivers=(expired,))
    report = build_report(
        measured_of(EIGENVALUES), with_waivers(config, date(2000, 1, 1))
    )
    again = recheck(report, ScanConfig())
    assert [(one.exit_code, one.checks[0].level) for one in (report, again)] == [
        (0, "warn"),
        (0, "warn"),
    ]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("day", "code", "said"),
    [
        ("2029-12-31", 0, "waived until 2030-06-30: retraining"),
        ("2030-03-01", 0, "waived until 2030-06-30: retraining"),
        ("2030-07-01", 1, "waiver expired on 2030-06-30: retraining"),
    ],
)
def test_of_several_waivers_the_last_day_decides(turned, day, code, said):
    """In any order in the file; what is said is of the waiver that decides."""
    waivers = (WAIVER, replace(WAIVER, until="2030-01-01", reason="an older one"))
    config = replace(CONFIG, thresholds=LIMITS[:1], max_skipped=1)
    config = replace(config, waivers=waivers[::-1] if turned else waivers)
    then = with_waivers(config, date.fromisoformat(day))
    report = build_report(measured_of(EIGENVALUES), then)
    assert (report.exit_code, report.checks[0].waiver) == (code, said)


def test_a_waiver_of_nothing_is_refused():
    config = replace(CONFIG, thresholds=LIMITS[1:], waivers=(WAIVER,))
    words = r"robaudit.yaml:9: 'kl.gaussian.p95' is waived, and no limit has that key"
    with pytest.raises(ConfigError, match=words):
        with_waivers(config)
    assert with_waivers(replace(config, thresholds=())).waivers == (WAIVER,)


CHANGE = replace(LIMITS[0], step="10%", limit=1e-9)


@pytest.mark.parametrize(
    ("limits", "named", "waived"),
    [
        ((LIMITS[0], CHANGE), "", [True, False]),
        ((LIMITS[0], CHANGE), "max_increase", [False, True]),
        ((LIMITS[0], CHANGE), "max", [True, False]),
        ((CHANGE,), "", [True]),
    ],
)
def test_a_waiver_hides_the_limit_or_that_of_its_change(limits, named, waived):
    waiver = replace(WAIVER, limit=named)
    config = replace(CONFIG, thresholds=limits, waivers=(waiver,))
    found = with_waivers(config, date(2030, 6, 1)).thresholds
    assert [bool(limit.waiver) for limit in found] == waived
    assert [limit.level == "warn" for limit in found] == waived


FLOOR = replace(LIMITS[0], op=">=", limit=1e9)
SHRINKS = replace(CHANGE, op=">=")


@pytest.mark.parametrize(
    ("limits", "kinds"),
    [
        ((LIMITS[0], FLOOR), ("max", "min")),
        ((CHANGE, SHRINKS), ("max_increase", "max_decrease")),
    ],
)
def test_a_waiver_lifts_one_end_of_a_number_and_names_which(limits, kinds):
    """What breaks the other end is another failure, which nobody has waived."""
    config = replace(CONFIG, thresholds=limits, waivers=(WAIVER,))
    with pytest.raises(ConfigError, match=f"waived, and has limits {min(kinds)} and "):
        with_waivers(config)
    for named, waived in zip(kinds, ([True, False], [False, True]), strict=True):
        one = replace(config, waivers=(replace(WAIVER, limit=named),))
        found = with_waivers(one, date(2030, 6, 1)).thresholds
        assert [bool(limit.waiver) for limit in found] == waived


def test_a_waiver_of_a_change_that_has_no_limit_is_refused():
    waiver = replace(WAIVER, limit="max_increase")
    config = replace(CONFIG, thresholds=LIMITS[:1], waivers=(waiver,))
    with pytest.raises(ConfigError, match="and no max_increase limit has that key"):
        with_waivers(config)


def test_a_waiver_is_read_with_the_limit_that_it_is_of(tmp_path):
    text = "max_increase: {kl.trace.p95: 5%}\nwaivers: [{key: kl.trace.p95, "
    text += "until: 2030-01-31, reason: known"
    (found,) = read(tmp_path, text + ", limit: max_increase}]\n")
    assert found.limit == "max_increase"
    assert read(tmp_path, text + "}]\n")[0].limit == ""
    with pytest.raises(ConfigError, match="max_decrease"):
        read(tmp_path, text + ", limit: increase}]\n")


def read(tmp_path, text):
    path = tmp_path / "robaudit.yaml"
    path.write_text(text)
    return read_config(path).waivers


def test_waivers_are_read_from_a_file(tmp_path):
    text = "waivers:\n  - {key: kl.trace.max, until: 2030-01-31, reason: known}\n"
    (found,) = read(tmp_path, text)
    assert (found.key, found.until, found.reason) == (
        "kl.trace.max",
        "2030-01-31",
        "known",
    )
    assert found.source.endswith("robaudit.yaml:1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("waivers: kl.trace.max", "Expected a list of key, until and reason"),
        ("waivers: [{key: a.b.max}]", "Expected a list of key, until and reason"),
        ("waivers: [{key: k, until: soon, reason: r}]", "Expected until as a day"),
        ("waivers: [{key: k, until: 2030-01-01, reason: }]", "Expected a reason"),
    ],
)
def test_bad_waivers(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize("page", ["md", "html"])
def test_a_waiver_is_shown_beside_its_limit(page):
    text = FORMATS[page](report_on("2030-06-01"))
    assert "waived until 2030-06-30: retraining" in text
