"""A limit decides only on a number that the same report believes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from audit.config import AttackConfig
from audit.formats.evidence import estimation
from audit.formats.reading import headline
from audit.formats.starter import starter
from audit.formats.verdicts import check_line
from audit.reports.build import build_report
from audit.reports.doubts import _ends, exact_of
from audit.reports.found import Verification
from audit.reports.gate import UNTRUSTED, Rules, judge
from audit.reports.sampling import Sample
from audit.reports.values import Values
from reports.synthetic import CONFIG, EIGENVALUES, limit, measured_of, values_of

GOOD = Verification(64, 2, 0.98, 1.0, 1.02, 1, 1.0, (0.99, 1.01))


def judged(found, key, label, accept=False, limit_=1e9, **changes):
    """Judge a limit when exact over predicted of `label` is `found`."""
    measured = measured_of(EIGENVALUES)
    verification = {"kl": {**measured.checks.verification["kl"], label: found}}
    if found is None:
        del verification["kl"][label]
    measured.checks = replace(measured.checks, verification=verification)
    for name, value in changes.items():
        setattr(measured, name, value)
    thresholds = (limit(key, "<=", limit_),)
    config = replace(CONFIG, max_skipped=1, thresholds=thresholds)
    return build_report(measured, replace(config, accept_unverified=accept))


DOUBTS = {
    "apart on most": (replace(GOOD, parted=33), "apart on 33 of 64 checked inputs"),
    "apart in the mean": (replace(GOOD, pooled=1.4), "realised is 1.4 times predicted"),
    "apart below": (replace(GOOD, pooled=0.7), "realised is 0.7 times predicted"),
    "noise on most": (replace(GOOD, noisy=40), "by no more than noise on 40"),
    "not checked": (None, "that was not checked"),
    "nothing to compare": (replace(GOOD, n=0), "that was not checked"),
}


@pytest.mark.parametrize("name", DOUBTS)
@pytest.mark.parametrize("bound", [1e9, 1e-9])
def test_a_prediction_that_is_not_believed_decides_nothing(name, bound):
    found, words = DOUBTS[name]
    report = judged(found, "kl.gaussian.p95", "gaussian", limit_=bound)
    (check,) = report.checks
    assert (report.verdict, report.exit_code, check.holds) == ("none", 4, None)
    assert check.status == "undecided"
    line = check_line(check)
    assert words in line
    assert "it decides nothing" in line
    if "checked inputs" in words or "times" in words:
        assert "limit kl.gaussian_realised" in line


@pytest.mark.parametrize("name", DOUBTS)
def test_the_user_may_accept_it_and_the_report_says_so(name):
    found, words = DOUBTS[name]
    for bound, code in ((1e9, 0), (1e-9, 1)):
        report = judged(found, "kl.gaussian.p95", "gaussian", True, bound)
        assert report.exit_code == code
        assert report.checks[0].accepted
        assert "decided by --accept-unverified although" in check_line(report.checks[0])
        assert words in check_line(report.checks[0])
    assert report.config["accept_unverified"].value is True


def test_a_prediction_that_holds_decides():
    report = judged(GOOD, "kl.gaussian.p95", "gaussian")
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert (report.checks[0].doubt, report.checks[0].accepted) == ("", False)


@pytest.mark.parametrize(("ratio", "code"), [(0.95, 0), (1.09, 0), (0.7, 4), (1.2, 4)])
def test_a_second_order_radius_needs_an_exact_one_beside_it(ratio, code):
    found = replace(GOOD, ratio_p50=ratio)
    report = judged(found, "kl.radius.p05", "radius")
    assert report.exit_code == code
    if code:
        line = check_line(report.checks[0])
        assert f"{ratio:g} times the second-order one in the median" in line
        assert "limit kl.critical_radius" in line


def test_an_attack_is_told_by_its_label_or_by_its_kind_alone():
    for attacks, quantity, exact in (
        ({"mine": {}}, "mine", "mine_realised"),
        ({}, "gaussian", "gaussian_realised"),
        ({"mine": {}}, "trace", ""),
    ):
        assert exact_of(SimpleNamespace(attacks=attacks), quantity) == exact


def test_sums_that_few_draws_carry_decide_nothing():
    heavy = [("heavy_tails_kl", "kl: on 3 of 6 inputs a single draw carries …")]
    for key in ("kl.trace.mean", "kl.eigenvalue.max", "kl.gaussian.p95"):
        report = judged(GOOD, key, "gaussian", warnings=heavy)
        assert report.exit_code == 4
        assert "limit kl.trace_median" in check_line(report.checks[0])
    assert (
        judged(GOOD, "quantile.trace.mean", "gaussian", warnings=heavy).exit_code == 0
    )


def test_a_mean_that_single_perturbations_carry_decides_nothing():
    carried = [("carried_kl_gaussian", "kl gaussian: on 3 of 6 checked inputs one …")]
    for key in ("kl.gaussian_realised.mean", "kl.gaussian.p95"):
        report = judged(GOOD, key, "gaussian", warnings=carried)
        assert report.exit_code == 4
        assert "single perturbations carry" in check_line(report.checks[0])
    for key in ("kl.trace.mean", "quantile.trace.mean"):
        assert judged(GOOD, key, "gaussian", warnings=carried).exit_code == 0


@pytest.mark.parametrize("code", sorted(UNTRUSTED))
def test_some_warnings_leave_no_verdict_at_all(code):
    report = judged(GOOD, "kl.trace.mean", "gaussian", warnings=[(code, "why")])
    assert report.exit_code == 4


def test_local_numbers_need_no_exact_ones():
    report = judged(None, "kl.trace.p95", "gaussian")
    assert (report.verdict, report.exit_code) == ("pass", 0)


@pytest.mark.parametrize(
    ("witness", "code", "said"),
    [
        (1.05, 0, ""),
        (0.95, 0, ""),
        (1.2, 4, "its mean is 0.462, and witnesses reach 0.555; limit kl.witness@0.3"),
        (None, 4, "that no witness of all its inputs bears out"),
        ("few", 4, "that no witness of all its inputs bears out"),
    ],
)
def test_a_prediction_at_a_size_needs_witnesses_beside_it(witness, code, said):
    measured = measured_of(EIGENVALUES)
    predicted = 0.05 * EIGENVALUES
    columns = {"predicted@0.3": Values.of(predicted)}
    if witness is not None:
        reached = predicted * (1.0 if witness == "few" else witness)
        missing = [0] if witness == "few" else []
        reached[missing] = np.nan
        columns["witness@0.3"] = Values.of(reached)
    measured.columns["kl"].update(columns)
    thresholds = (limit("kl.predicted@0.3.p95", "<=", 1e9),)
    report = build_report(
        measured, replace(CONFIG, max_skipped=1, thresholds=thresholds)
    )
    assert report.exit_code == code
    assert said in check_line(report.checks[0])


def hidden(n=200):
    """Of 200 inputs 12 are at a kink: there all exact values are far off."""
    measured = measured_of(np.full(n, 2.0))
    bad = np.arange(n) < 12
    kl = measured.columns["kl"]
    exact = {
        "gaussian_realised": kl["gaussian"].numbers * np.where(bad, 2.0, 1.0),
        "critical_radius": kl["radius"].numbers * np.where(bad, 0.01, 1.0),
        "predicted@0.1": 0.01 * kl["eigenvalue"].numbers,
        "witness@0.1": 0.01 * kl["eigenvalue"].numbers * np.where(bad, 2.0, 1.0),
    }
    kl.update({name: Values.of(numbers) for name, numbers in exact.items()})
    checks = replace(measured.checks, quantities={"kl": frozenset()})
    verification = {
        "radius": replace(GOOD, ratio_p50=1.0),
        "gaussian": replace(GOOD, n=n, parted=12, pooled=1.06),
    }
    measured.checks = replace(checks, verification={"kl": verification})
    return measured


@pytest.mark.parametrize(
    ("key", "op", "between", "exact"),
    [
        ("kl.gaussian.p95", "<=", 0.02, "kl.gaussian_realised"),
        ("kl.gaussian.max", "<=", 0.02, "kl.gaussian_realised"),
        ("kl.radius.p05", ">=", 0.1, "kl.critical_radius"),
        ("kl.radius.min", ">=", 0.1, "kl.critical_radius"),
        ("kl.predicted@0.1.p95", "<=", 0.03, "kl.witness@0.1"),
    ],
)
def test_a_prediction_does_not_pass_where_its_exact_values_do_not(
    key, op, between, exact
):
    def judged_at(bound, accept=False):
        config = replace(CONFIG, max_skipped=1, thresholds=(limit(key, op, bound),))
        return build_report(hidden(), replace(config, accept_unverified=accept))

    report = judged_at(between)
    (check,) = report.checks
    assert (report.exit_code, check.holds) == (4, None)
    line = check_line(check)
    assert "which decides otherwise" in line
    assert f"limit {exact}" in line
    accepted = judged_at(between, accept=True)
    assert (accepted.exit_code, accepted.checks[0].accepted) == (0, True)
    for bound in (1e-9, 1e9):  # both agree
        held = judged_at(bound).checks[0].holds
        assert held is (bound == (1e9 if op == "<=" else 1e-9))


@pytest.mark.parametrize(("n", "code"), [(64, 4), (16, 0)])
def test_a_few_exact_values_of_many_stop_a_pass_if_they_can_see_the_percentile(n, code):
    """One of eight is far off: of 64 checked ones three lie beyond p05, of 16 none."""
    measured = measured_of(np.full(1000, 2.0))
    radius = measured.columns["kl"]["radius"].numbers
    places = np.arange(n) * (1000 // n)
    exact = np.full(1000, np.nan)
    exact[places] = np.where(np.arange(n) % 8, 1.0, 0.01) * radius[places]
    measured.columns["kl"]["critical_radius"] = Values.of(exact)
    sample = Sample(places, np.full(n, 1000 / n), np.ones(n, int))
    checks = replace(measured.checks, sample=sample)
    good = {"kl": {"radius": replace(GOOD, ratio_p50=1.0)}}
    measured.checks = replace(checks, verification=good)
    for bound, expected in ((0.1, code), (10.0, 1)):
        limits = (limit("kl.radius.p05", ">=", bound),)
        config = replace(CONFIG, max_skipped=1, thresholds=limits)
        assert build_report(measured, config).exit_code == expected


MINIMUM = limit("kl.critical_radius.p05", ">=", 0.1)


def said_of(limits, shape=(4,), free=None, **more):
    measured = measured_of(EIGENVALUES)
    measured.data = replace(measured.data, event_shape=shape, n_free=free)
    checked = {**measured.columns["kl"], **values_of(more)}
    measured = replace(measured, columns={**measured.columns, "kl": checked})
    report = build_report(measured, replace(CONFIG, thresholds=limits))
    return report, [w.message for w in report.warnings if w.code == "along_kl"]


def test_a_minimum_of_a_radius_along_one_direction_is_decided_with_a_caution():
    report, said = said_of((MINIMUM, MINIMUM))
    assert report.checks[0].status == "pass"
    (message,) = said
    assert "along the worst direction alone" in message
    assert "--sizes" in message
    assert judge(report, Rules((MINIMUM,))).warnings == report.warnings  # said once


def test_a_mean_over_draws_is_not_said_to_be_searched_with_sizes():
    _, (message,) = said_of((MINIMUM,), critical_radius_lower=1 / np.sqrt(EIGENVALUES))
    assert "means over draws" in message
    assert "--sizes" not in message


@pytest.mark.parametrize("searched", [False, True])
def test_a_report_says_that_one_direction_alone_was_tried(searched):
    """With a limit or without one, in the record and in what is printed of it."""
    more = {"critical_radius_along": 2 / np.sqrt(EIGENVALUES)} if searched else {}
    report, _ = said_of((), **more)
    said = [note for note in report.divergences["kl"].notes if "v alone" in note]
    assert len(said) == (0 if searched else 1)
    assert ("an upper bound" in " ".join(estimation(report))) is not searched


@pytest.mark.parametrize(
    "sizes", [{"shape": (1,)}, {"free": 1}, {"shape": (2, 2), "free": 1}]
)
def test_the_two_signs_are_all_directions_of_a_single_feature(sizes):
    """A mask that frees one feature leaves one, whatever the shape of an input."""
    report, said = said_of((MINIMUM,), **sizes)
    assert said == []
    assert not [n for n in report.divergences["kl"].notes if "v alone" in n]


@pytest.mark.parametrize(
    ("limits", "more"),
    [
        ((), {}),
        ((limit("kl.critical_radius.max", "<=", 9.0),), {}),
        ((limit("kl.trace.min", ">=", 0.1),), {}),
        ((MINIMUM,), {"critical_radius_along": 2 / np.sqrt(EIGENVALUES)}),
    ],
)
def test_no_caution_without_a_minimum_or_where_all_directions_were_searched(
    limits, more
):
    assert said_of(limits, **more)[1] == []


@pytest.mark.parametrize(("shape", "cautions"), [((1,), 0), ((1, 1), 0), ((2,), 1)])
def test_a_single_feature_has_no_other_direction(shape, cautions):
    assert len(said_of((MINIMUM,), shape)[1]) == cautions


def test_a_first_configuration_limits_what_decides():
    config = replace(CONFIG, max_skipped=1)
    report = build_report(hidden(), config)
    text = starter(report, 0.1)
    assert "kl.gaussian_realised.p95:" in text
    assert "kl.gaussian.p95:" not in text


def test_the_headline_says_what_is_realised_where_the_tail_parts():
    """The mean is 6 % off, and the 95th percentile twice what is predicted."""
    said = headline(build_report(hidden(), replace(CONFIG, max_skipped=1)))
    assert "0.03 at the 95th percentile (realised; second order says 0.015)" in said


@pytest.mark.parametrize(
    ("key", "op"),
    [("kl.gaussian_realised.max", "<="), ("kl.critical_radius.min", ">=")],
)
def test_the_extreme_of_a_sample_breaks_a_limit_and_keeps_none(key, op):
    """Three of six inputs were checked; the other three may have anything."""
    for bound in (1e9, 1e-9):
        config = replace(CONFIG, max_skipped=1, thresholds=(limit(key, op, bound),))
        keeps = (op == "<=") == (bound == 1e9)
        report = build_report(measured_of(EIGENVALUES), config)
        assert report.exit_code == (4 if keeps else 1)
        if keeps:
            assert "the others may have any value" in check_line(report.checks[0])
        accepted = replace(config, accept_unverified=True)
        judged = build_report(measured_of(EIGENVALUES), accepted)
        assert judged.exit_code == (0 if keeps else 1)
    whole = measured_of(EIGENVALUES)
    whole.checks = replace(whole.checks, quantities={"kl": frozenset()})
    kl = whole.columns["kl"]
    kl["gaussian_realised"], kl["critical_radius"] = kl["gaussian"], kl["radius"]
    bound = 1e9 if op == "<=" else 1e-9
    config = replace(CONFIG, max_skipped=1, thresholds=(limit(key, op, bound),))
    assert build_report(whole, config).exit_code == 0


@pytest.mark.parametrize(
    ("statistic", "least"), [("p05", 20), ("p95", 20), ("p50", 2), ("p99", 100)]
)
def test_a_percentile_decides_where_one_checked_input_lies_beyond_it(statistic, least):
    """A failure takes its interval, whatever the number."""
    for n in (least - 1, least, least + 1):
        summary = SimpleNamespace(
            n_checked=n, ci95=SimpleNamespace(**{statistic: (1.0, 2.0)})
        )
        assert _ends(summary, statistic, True) == (1.0, 2.0)
        assert _ends(summary, statistic, False) == (() if n >= least else (1.0, 2.0))
    whole = SimpleNamespace(n_checked=None)
    assert _ends(whole, statistic, True) == ()


def test_a_limit_on_the_attack_certified_is_led_to_what_is_proven():
    """The column of its name is what the quadratic says, which bounds nothing."""
    found = measured_of(EIGENVALUES)
    kl = found.columns["kl"]
    kl["certified"] = kl["mine"] = kl["gaussian"]
    kl["certificate"] = kl["mine_certificate"] = kl["gaussian"]
    attacks = tuple(AttackConfig(x, "certified") for x in ("certified", "mine"))
    keys = ("kl.certified.max", "kl.mine.max")
    limits = tuple(limit(key, "<=", 1e9) for key in keys)
    config = replace(CONFIG, max_skipped=1, attacks=attacks, thresholds=limits)
    report = build_report(found, config)
    assert report.exit_code == 4
    for check, column in zip(
        report.checks, ("certificate", "mine_certificate"), strict=True
    ):
        assert f"the proven one is kl.{column}: limit that" in check_line(check)
