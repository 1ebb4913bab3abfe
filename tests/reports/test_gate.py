"""The gate: both sides of a limit, the interval, and which exit code wins."""

from dataclasses import replace

import numpy as np
import pytest

from audit.config import AttackConfig, Threshold
from audit.formats.verdicts import check_line
from audit.ground.errors import ConfigError
from audit.reports.build import build_report
from audit.reports.checks import recheck, worst_code
from audit.reports.gate import Rules, judge
from audit.reports.keys import check_config, split_key
from audit.reports.subjects import of_value
from audit.reports.summaries import Summary
from audit.reports.values import Values
from reports.synthetic import CONFIG, EIGENVALUES, limit, measured_of, report_of

P95 = 0.24  # of kl.gaussian in the synthetic scan
MANY = np.random.default_rng(0).lognormal(size=500)


@pytest.mark.parametrize(
    ("op", "value", "code"),
    [("<=", 0.2401, 0), ("<=", 0.2399, 1), (">=", 0.2399, 0), (">=", 0.2401, 1)],
)
def test_a_limit_decides_on_both_sides_of_the_value(op, value, code):
    report = report_of(EIGENVALUES, limit("kl.gaussian.p95", op, value))
    assert report.exit_code == code
    assert report.verdict == ("fail" if code else "pass")
    assert report.checks[0].value == pytest.approx(P95)
    assert report.checks[0].holds is (code == 0)


@pytest.mark.parametrize("op", ["<=", ">="])
def test_a_limit_equal_to_the_value_holds(op):
    value = report_of(EIGENVALUES).divergences["kl"].summary["trace"].max
    assert report_of(EIGENVALUES, limit("kl.trace.max", op, value)).exit_code == 0


def test_no_limit_gives_no_verdict(report):
    assert (report.verdict, report.exit_code, report.checks) == ("none", 0, [])


def test_a_value_whose_interval_straddles_the_limit_is_borderline():
    low, high = report_of(MANY).divergences["kl"].summary["trace"].ci95.p95
    value = report_of(MANY).divergences["kl"].summary["trace"].p95
    cases = [
        (low * 0.9, "fail", False),
        ((low + value) / 2, "borderline", False),
        ((value + high) / 2, "borderline", True),
        (high * 1.1, "pass", True),
    ]
    for position, status, holds in cases:
        report = report_of(MANY, limit("kl.trace.p95", "<=", position))
        check = report.checks[0]
        assert (check.status, check.holds) == (status, holds)
        assert report.exit_code == (0 if holds else 1)


def test_the_upper_gate_asks_for_the_end_of_the_interval():
    value = report_of(MANY).divergences["kl"].summary
    ends = value["trace"].ci95.p95
    inside = limit("kl.trace.p95", "<=", (value["trace"].p95 + ends[1]) / 2)
    assert report_of(MANY, inside).exit_code == 0
    judged = report_of(MANY, inside, gate="upper")
    assert judged.exit_code == 1
    assert "] does not keep it; " in check_line(judged.checks[0])
    assert " <= " in check_line(judged.checks[0])
    beyond = limit("kl.trace.p95", "<=", 1.01 * ends[1])
    assert report_of(MANY, beyond, gate="upper").exit_code == 0
    low = limit("kl.radius.p05", ">=", 1.01 * value["radius"].ci95.p05[0])
    assert report_of(MANY, low).exit_code == 0
    assert report_of(MANY, low, gate="upper").exit_code == 1


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("kl.gaussian.p95", "p95 needs 72 inputs, there are 6"),
        ("kl.trace.p99", "p99 needs 368 inputs, there are 6"),
        ("kl.trace.max", "max has none, however many inputs"),
    ],
)
def test_the_upper_gate_cannot_pass_without_an_interval(key, words):
    report = report_of(EIGENVALUES, limit(key, "<=", 1e9), gate="upper")
    assert (report.verdict, report.exit_code) == ("none", 4)
    assert words in check_line(report.checks[0])
    broken = report_of(EIGENVALUES, limit(key, "<=", 1e-9), gate="upper")
    assert (broken.verdict, broken.exit_code) == ("fail", 1)


@pytest.mark.parametrize("statistic", ["mean", "p95"])
def test_a_sample_without_an_interval_says_what_would_give_one(statistic):
    summary = Summary(unit="nat", n=2, n_checked=2, **{statistic: 1.0})
    key = f"kl.gaussian_realised.{statistic}"
    value, words = of_value(summary, limit(key, "<=", 2.0)).judged("upper")
    assert value is None
    assert f"2 checked inputs do not resolve {statistic}" in words
    assert "--verify all" in words
    assert of_value(summary, limit(key, "<=", 0.5)).judged("upper") == (1.0, "")


@pytest.mark.parametrize(
    ("op", "limit_", "said"),
    [
        ("<=", 20.0, "40 > 20 by 100 %"),
        ("<=", 39.9, "40 > 39.9 by 0.25 %"),
        ("<=", 0.0, "40 > 0 by 40"),
        (">=", 50.0, "40 < 50 by 20 %"),
        (">=", 40.0, "40 >= 40, "),
    ],
)
def test_it_says_by_how_much_a_limit_is_broken(op, limit_, said):
    report = report_of(EIGENVALUES, limit("kl.eigenvalue.max", op, limit_))
    assert said in check_line(report.checks[0]) + ", "


def test_offenders_are_named_farthest_first():
    upper = report_of(EIGENVALUES, limit("kl.gaussian.p95", "<=", 0.02)).checks[0]
    assert (upper.offenders, upper.n_offending) == ([6, 5, 4], 3)
    lower = report_of(EIGENVALUES, limit("kl.radius.min", ">=", 0.8)).checks[0]
    assert (lower.offenders, lower.n_offending) == ([6, 5, 4], 3)


def test_of_many_offenders_ten_are_named_and_all_are_counted():
    values = np.arange(1.0, 13.0)
    report = report_of(values, limit("kl.eigenvalue.max", "<=", 0.5))
    (check,) = report.checks
    farthest = [report.inputs.index[place] for place in range(11, 1, -1)]
    assert (check.offenders, check.n_offending) == (farthest, 12)


@pytest.mark.parametrize(
    ("key", "op", "value", "offenders"),
    [
        ("kl.eigenvalue.max", "<=", 40.0, []),
        ("kl.eigenvalue.max", "<=", 8.0, [6]),
        ("kl.eigenvalue.min", ">=", 0.5, []),
        ("kl.eigenvalue.min", ">=", 1.0, [1]),
    ],
)
def test_an_input_exactly_at_the_limit_is_no_offender(key, op, value, offenders):
    check = report_of(EIGENVALUES, limit(key, op, value)).checks[0]
    named = [check.offenders, check.n_offending]
    place = report_of(EIGENVALUES).inputs.index
    assert named == [[place[k - 1] for k in offenders], len(offenders)]


def test_offenders_of_a_large_report_come_from_the_worst():
    values = np.random.default_rng(0).lognormal(size=10_001)
    report = report_of(values, limit("kl.eigenvalue.max", "<=", 0.01))
    check = report.checks[0]
    assert check.n_offending is None
    assert check.offenders == [worst.index for worst in report.worst]


def test_a_warning_never_decides():
    report = report_of(EIGENVALUES, limit("kl.gaussian.p95", "<=", 0.01, "warn"))
    assert (report.verdict, report.exit_code) == ("none", 0)
    assert report.checks[0].holds is False


def test_exit_zero_keeps_the_verdict():
    bad = limit("kl.gaussian.p95", "<=", 0.01)
    report = report_of(EIGENVALUES, bad, exit_zero=True)
    assert (report.verdict, report.exit_code) == ("fail", 0)


def test_too_many_skipped_inputs_exit_4_even_beside_a_failure():
    bad = limit("kl.gaussian.p95", "<=", 0.01)
    report = report_of(EIGENVALUES, bad, max_skipped=0, exit_zero=True)
    assert (report.verdict, report.exit_code) == ("fail", 4)
    assert report_of(EIGENVALUES, max_skipped=0).exit_code == 4
    assert report_of(EIGENVALUES, max_skipped=1).exit_code == 0


def test_a_limit_on_what_was_not_measured_exits_4():
    measured = measured_of(EIGENVALUES)
    measured.columns["kl"]["linear"] = Values.unmeasured(6, "too dark")
    config = replace(
        CONFIG, max_skipped=1, thresholds=(limit("kl.linear.max", "<=", 1.0),)
    )
    report = build_report(measured, config)
    assert report.checks[0].status == "unmeasured"
    assert report.checks[0].doubt == "it has no value (too dark (6))"
    assert (report.verdict, report.exit_code) == ("none", 4)


def test_nothing_audited_exits_5():
    report = report_of(np.array([]), limit("kl.linear.max", "<=", 1.0))
    assert report.exit_code == 5
    assert report.checks[0].status == "unmeasured"


def test_several_reports_exit_with_the_worst_code():
    assert worst_code([0, 1, 0]) == 1
    assert worst_code([1, 4]) == 4
    assert worst_code([5, 4, 1]) == 5
    assert worst_code([]) == 0


def test_recheck_takes_the_reports_own_limits_unless_others_are_given(gated):
    assert recheck(gated, CONFIG).checks == gated.checks
    looser = replace(CONFIG, thresholds=(limit("kl.gaussian.p95", "<=", 9.0),))
    again = recheck(gated, looser)
    assert ([c.limit for c in again.checks], again.exit_code) == ([9.0], 0)


def test_recheck_keeps_the_reports_own_max_skipped():
    report = report_of(EIGENVALUES, max_skipped=1)
    assert recheck(report, CONFIG).exit_code == 0
    strict = replace(CONFIG, max_skipped=0, origins={"max_skipped": "command line"})
    assert recheck(report, strict).exit_code == 4


def test_keys_are_split_from_the_right():
    assert split_key("kl.trace.p95") == ("kl", "trace", "p95")
    assert split_key("renyi:alpha=0.5.trace.mean") == (
        "renyi:alpha=0.5",
        "trace",
        "mean",
    )


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("kl", "does not have three parts"),
        ("kl..p95", "does not have three parts"),
        ("kl.trace.p96", "'p96' is not among the statistics.*Did you mean 'p99'"),
        ("kl.trace.median", "'median' is not among the statistics.*Did you mean 'p50'"),
        ("kl.trce.p95", "'trce' is not among the quantities.*Did you mean 'trace'"),
        ("k1.trace.p95", "'k1' is not among the divergences.*Did you mean 'kl'"),
        ("hellinger.trace.p95", "'hellinger' is not among .* Measure it too, -d helli"),
        ("kl.moments.p95", "'moments' is not among the quantities"),
        ("kl.moments_se.p95", "'moments_se' is not among the quantities"),
        ("kl.moments_ratio.p95", "'moments_ratio' is not among the quantities"),
        ("kl.gap_ratio.p95", "'gap_ratio' is not among the quantities"),
        ("kl.radius_realised.min", "'radius_realised' is not among the quantities"),
        ("kl.trace_universal.max", "'trace_universal' is not among the quantities"),
        ("kl.radius_along.min", "'radius_along' is not among the quantities"),
        ("kl.gap_certificate.max", "'gap_certificate' is not among the quantities"),
        ("kl.certified_certificate.max", "Did you mean 'certificate'"),
        ("kl.witness.max", r"of no size .* Write kl.witness@0.1.max, with --sizes"),
        ("kl.certificate.max", r"Write kl.certificate@0.1.max, with --sizes 0.1"),
        ("kl.witness@.10.max", r"'witness@.10' is of no .* Write kl.witness@0.1.max"),
    ],
)
def test_unknown_keys_are_refused_before_anything_is_measured(key, words):
    config = replace(CONFIG, thresholds=(Threshold(key, "<=", 1.0),))
    with pytest.raises(ConfigError, match=words):
        check_config(config)


@pytest.mark.parametrize(
    "key",
    [
        "kl.trace.p95",
        "quantile.weak.mean",
        "kl.weak_realised.max",
        "kl.weak_se.p50",
        "renyi:alpha=0.5.radius.min",
    ],
)
def test_keys_of_what_will_be_measured_pass(key):
    config = replace(
        CONFIG,
        divergences=("kl", "quantile", "renyi:alpha=0.5"),
        attacks=(AttackConfig("weak", "gaussian", {"sigma": "0.1"}),),
        thresholds=(Threshold(key, "<=", 1.0),),
    )
    check_config(config)


@pytest.mark.parametrize(
    ("sizes", "known"),
    [((0.1, 0.3), ("0.1", "0.3")), ((), ()), (None, ("0.1", "0.2", "0.3"))],
)
def test_a_size_that_is_not_looked_at_is_refused_before_anything_is_measured(
    sizes, known
):
    """--sizes 0.1,0.3, --sizes off, and those that are chosen later."""
    for size in ("0.1", "0.2", "0.3"):
        for column in ("witness", "certificate", "predicted", "along"):
            limit = Threshold(f"kl.{column}@{size}.max", "<=", 1.0)
            config = replace(CONFIG, sizes=sizes, thresholds=(limit,))
            if size in known:
                check_config(config)
                continue
            with pytest.raises(ConfigError, match=f"of no size.*--sizes {size}"):
                check_config(config)


def test_the_certificate_of_an_attack_has_its_own_name():
    attacks = tuple(AttackConfig(x, "certified") for x in ("certified", "mine"))
    for key in ("kl.certificate.max", "kl.mine_certificate.max"):
        check_config(
            replace(CONFIG, attacks=attacks, thresholds=(Threshold(key, "<=", 1.0),))
        )


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("kl.tail_share.mean", "this scan did not measure kl.tail_share"),
        ("hellinger.trace.mean", "this scan did not measure hellinger"),
    ],
)
def test_a_number_that_a_scan_did_not_measure_decides_nothing_and_the_report_is_kept(
    key, said
):
    """Hours of measuring end with 4 and a report, whose own limits are judged alike."""
    held = limit("kl.gaussian.p95", "<=", 1.0)
    report = report_of(EIGENVALUES, held, limit(key, "<=", 1.0))
    assert (report.verdict, report.exit_code) == ("none", 4)
    assert [check.status for check in report.checks] == ["pass", "unmeasured"]
    assert said in check_line(report.checks[1])
    again = recheck(report, CONFIG)
    assert again.checks == report.checks
    asked = replace(CONFIG, thresholds=(limit(key, "<=", 1.0),))
    with pytest.raises(ConfigError, match="The report has no"):
        recheck(report, asked)


def test_a_key_in_a_file_is_found_by_its_line():
    limit = Threshold("kl.trce.p95", "<=", 1.0, "robaudit.yaml:4")
    with pytest.raises(ConfigError, match=r"^robaudit.yaml:4: In the threshold key"):
        check_config(replace(CONFIG, thresholds=(limit,)))


def test_an_attack_cannot_be_called_like_a_quantity():
    weak = AttackConfig("weak", "gaussian")
    for label in ("trace", "radius", "gaussian_se", "fixed_norm", "weak_realised"):
        config = replace(CONFIG, attacks=(weak, AttackConfig(label, "gaussian")))
        with pytest.raises(ConfigError, match=f"label '{label}' is the name of a quan"):
            check_config(config)


def test_a_key_the_report_lacks_is_refused_with_a_neighbour(report):
    words = "has no 'kl.gausian.p95'.*Did you mean 'gaussian'"
    with pytest.raises(ConfigError, match=words):
        judge(report, Rules([Threshold("kl.gausian.p95", "<=", 1.0)]))
    with pytest.raises(ConfigError, match=r"not among the divergences.*'quantile'"):
        judge(report, Rules([Threshold("quantiles.trace.p95", "<=", 1.0)]))


def test_a_derivative_estimated_too_coarsely_exits_4_before_any_verdict():
    measured = measured_of(EIGENVALUES)
    measured.warnings.append(("finite_difference_error", "kl: off by 3 %"))
    config = replace(
        CONFIG, max_skipped=1, thresholds=(limit("kl.trace.mean", "<=", 0),)
    )
    assert build_report(measured, config).exit_code == 4
