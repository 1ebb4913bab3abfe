"""Two reports compared, input by input."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from reports.synthetic import CONFIG, EIGENVALUES, measured_of, report_of

from audit.config import ScanConfig, override, read_config
from audit.formats import diff
from audit.formats.layout import Style
from audit.ground import means as ground
from audit.ground.errors import ConfigError
from audit.reports.against import judged_by_change
from audit.reports.baseline import with_baseline
from audit.reports.build import build_report
from audit.reports.compare import compare as compare_stored
from audit.reports.json import to_json
from audit.reports.stored import stored

NAMES = ("old.json", "new.json")
MANY = np.random.default_rng(0).lognormal(size=300)


def compare(old, new, names):
    return compare_stored(*map(stored, names, (old, new)))


def change(found, divergence, quantity):
    return next(
        c for c in found.changes if (c.divergence, c.quantity) == (divergence, quantity)
    )


def report_with(config=CONFIG, **parts):
    measured = measured_of(EIGENVALUES)
    for name, value in parts.items():
        setattr(measured, name, value)
    return build_report(measured, config)


def test_a_report_and_itself_differ_in_nothing():
    found = compare(report_of(MANY), report_of(MANY), NAMES)
    assert {c.sign for c in found.changes} == {"~"}
    assert found.moved == []
    assert diff.headline(found) == "300 inputs in both: no change is told from noise."


def test_a_smaller_sensitivity_is_told_with_its_interval():
    found = compare(report_of(MANY), report_of(0.5 * MANY), NAMES)
    trace = change(found, "kl", "trace")
    assert trace.sign == "-"
    assert trace.low < trace.difference < trace.high < 0
    assert trace.difference == pytest.approx(-0.75 * MANY.mean())
    assert change(found, "kl", "radius").sign == "+"
    assert "less sensitive" in diff.headline(found)
    assert "by 50 % on average" in diff.headline(found)


def test_pairing_finds_a_change_that_the_spread_between_inputs_hides():
    found = compare(report_of(MANY), report_of(1.02 * MANY), NAMES)
    assert change(found, "kl", "trace").sign == "+"
    old = report_of(MANY).divergences["kl"].summary["trace"].ci95.mean
    assert old[0] < change(found, "kl", "trace").new < old[1]


def test_noise_stays_within_the_intervals():
    signs = []
    for seed in range(100, 140):
        noise = np.random.default_rng(seed).normal(size=(2, 300))
        values = [MANY * np.exp(0.1 * one) for one in noise]
        signs.append(
            change(compare(*map(report_of, values), NAMES), "kl", "trace").sign
        )
    assert signs.count("~") >= 35


def test_the_interval_is_that_of_a_mean_and_reaches_beyond_a_bootstrap():
    new = MANY * np.exp(np.random.default_rng(1).normal(size=300))
    found = change(compare(report_of(MANY), report_of(new), NAMES), "kl", "eigenvalue")
    draws = np.random.default_rng(2).integers(0, 300, (4000, 300))
    means = (new - MANY)[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.low < low < high < found.high
    expected = ground.mean_interval([ground.Stratum.of(np.sort(new - MANY))])
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


def test_a_share_of_the_old_mean_has_an_interval_of_its_own():
    """Half of everything is half, without doubt, however the inputs spread."""
    found = change(compare(report_of(MANY), report_of(0.5 * MANY), NAMES), "kl", "rank")
    assert found.share == (0.0, 0.0)
    half = change(
        compare(report_of(MANY), report_of(0.5 * MANY), NAMES), "kl", "eigenvalue"
    )
    assert half.share == pytest.approx((-0.5, -0.5), abs=1e-9)
    assert half.low < half.difference < half.high
    assert diff._ends(half) == "[-50 %, -50 %]"


def fallen(n):
    """The change of long-tailed costs to about a tenth of each."""
    old = np.random.default_rng(0).lognormal(sigma=1.4, size=n)
    new = 0.1 * old * np.exp(0.6 * np.random.default_rng(1).normal(size=n))
    return change(compare(report_of(old), report_of(new), NAMES), "kl", "eigenvalue")


def test_no_percentage_is_shown_that_cannot_be():
    """The tail reaches beyond the sample's own old mean; no cost falls by more."""
    found = fallen(300)
    assert found.low < -found.old
    assert found.share is None
    assert diff._ends(found).endswith(" nat/δ²]")
    assert found.sign == "-"


def test_a_share_may_be_known_where_the_difference_is_not():
    found = fallen(100)
    assert (found.low, found.high) == (-math.inf, math.inf)
    low, high = found.share
    assert -1 < low < found.new / found.old - 1 < high < 0
    assert found.sign == "-"
    assert diff._ends(found).endswith(" %]")


def test_inputs_are_paired_by_index_not_by_row():
    part = report_with(index=np.array([1, 3, 4, 5, 6, 9]))
    found = compare(report_with(), part, NAMES)
    assert found.n == 5
    moved = {one.index: (one.old, one.new) for one in found.moved}
    assert moved == {3: (2.0, 1.0), 4: (4.0, 2.0), 5: (8.0, 4.0), 6: (40.0, 8.0)}
    assert found.moved[0].index == 6


def test_values_measured_once_only_do_not_count():
    found = compare(report_with(), report_with(), NAMES)
    assert change(found, "kl", "gaussian_realised").n == 3


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (lambda: report_with(data=_data(sha256="00")), "they audited different data"),
        (
            lambda: report_with(data=_data(units="std")),
            "--units differs: input and std",
        ),
        (lambda: report_with(data=_data(event_shape=(2, 2))), "event shapes differ"),
        (lambda: report_with(replace(CONFIG, tau=2.0)), "--tau differs: 1.0 and 2.0"),
        (lambda: report_with(index=np.arange(6) + 50), "no input in common"),
        (lambda: report_of(np.ones(10_001)), "lists none of its 10001 inputs"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(other, why):
    with pytest.raises(ConfigError, match=why):
        compare(report_with(), other(), NAMES)


def _data(**changes):
    return replace(measured_of(EIGENVALUES).data, **changes)


def test_what_should_be_known_is_noted():
    other = report_with(replace(CONFIG, seed=7))
    notes = compare(report_with(), other, NAMES).notes
    assert "both audited the same model file" in notes
    assert "--seed was 0, is 7" in notes


def limits(**flags):
    return override(ScanConfig(), "command line", **flags)


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ({"max_increase": ["kl.trace.p95=9%"]}, 1),
        ({"max_increase": ["kl.trace.p95=11%"]}, 0),
        ({"max_increase": ["kl.trace.max=5.9"]}, 1),
        ({"max_increase": ["kl.trace.max=6.1"]}, 0),
        ({"max_decrease": ["kl.radius.p05=4%"]}, 1),
        ({"max_decrease": ["kl.radius.p05=5%"]}, 0),
        ({"max_decrease": ["kl.trace.p95=0%"]}, 0),
    ],
)
def test_limits_on_a_change_decide_on_both_sides(flags, code):
    old, new = report_of(EIGENVALUES), report_of(1.1 * EIGENVALUES)
    before, after = stored("old.json", old), stored("new.json", new)
    assert judged_by_change(before, after, limits(**flags)).exit_code == code


def test_a_baseline_joins_the_other_limits(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(to_json(report_of(EIGENVALUES)))
    flags = {"max": ["kl.trace.p95=9"], "max_increase": ["kl.gaussian.p95=5%"]}
    first, second = with_baseline(limits(baseline=str(path), **flags)).thresholds
    assert first.limit == 9.0
    assert (second.op, second.limit) == ("<=", pytest.approx(0.252))
    assert second.source == "--max-increase kl.gaussian.p95=5% from 0.24"
    (tmp_path / "r.yaml").write_text("max_increase:\n  kl.gaussian.p95: 5%\n")
    from_file = read_config(tmp_path / "r.yaml")
    (third,) = with_baseline(replace(from_file, baseline=str(path))).thresholds
    assert third.source == f"{tmp_path / 'r.yaml'}:2 5% from 0.24"
    with pytest.raises(ConfigError, match=r"nothing to compare with.*Add --baseline"):
        with_baseline(limits(**flags))


def test_the_text_marks_what_is_not_told_from_noise():
    old, new = report_of(MANY), report_of(0.5 * MANY)
    found, style = compare(old, new, ("a[b].json", "new.json")), Style(verbose=True)
    text = diff.render(found, new, style)
    rows = {line.split()[0]: line.split()[-1] for line in text.splitlines() if line}
    assert "old  a[b].json" in text
    assert (rows["eigenvalue"], rows["rank"]) == ("-", "~")
    assert "moved most" in text
    assert "×0.5" in text


def test_json_holds_it_all():
    old, new = report_of(MANY), report_of(0.5 * MANY)
    data = json.loads(diff.to_json(compare(old, new, NAMES), new))
    assert data["n"] == 300
    assert {"sign", "difference", "low", "high"} <= set(data["changes"][0])
    assert data["exit_code"] == 0
