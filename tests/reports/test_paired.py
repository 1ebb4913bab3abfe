"""The change of a number from a baseline: paired where it can be, said where not."""

from dataclasses import replace

import numpy as np
import pytest

from audit.config import AttackConfig, ScanConfig, Threshold, override
from audit.formats.verdicts import check_line
from audit.ground.errors import ConfigError
from audit.reports.against import changes, judged_by_change
from audit.reports.baseline import with_baseline
from audit.reports.build import build_report
from audit.reports.checks import recheck
from audit.reports.compare import compare
from audit.reports.json import to_json
from audit.reports.listing import UNCHECKED
from audit.reports.paired import change_from
from audit.reports.sampling import Sample
from audit.reports.stored import stored
from audit.reports.values import Values
from reports.synthetic import CONFIG, measured_of, report_of

MANY = np.random.default_rng(0).lognormal(sigma=1.5, size=400)
KEYS = ("kl.trace.mean", "kl.gaussian.p95", "kl.trace.max", "kl.eigenvalue.p50")


def opened(report, name="r.json"):
    return stored(name, report)


def step(key, text="10", op="<="):
    return Threshold(key, op, 0.0, step=text)


def flags(**given):
    return override(ScanConfig(), "command line", **given)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("gate", ["point", "upper"])
def test_a_model_has_not_changed_from_itself(key, gate):
    one = opened(report_of(MANY))
    config = flags(max_increase=[f"{key}=0%"], max_decrease=[f"{key}=0%"], gate=gate)
    judged = judged_by_change(one, one, config)
    assert (judged.verdict, judged.exit_code) == ("pass", 0)
    for check in judged.checks:
        assert (check.change.change, check.change.ci95) == (0.0, (0.0, 0.0))
        assert "(paired, 400 inputs)" in check_line(check)


@pytest.mark.parametrize("key", ["kl.trace.mean", "kl.gaussian.p95"])
def test_twelve_percent_break_ten_and_keep_fifteen(key):
    old, new = opened(report_of(MANY)), opened(report_of(1.12 * MANY))
    for allowed, code in (("10%", 1), ("15%", 0)):
        for gate in ("point", "upper"):
            config = flags(max_increase=[f"{key}={allowed}"], gate=gate)
            judged = judged_by_change(old, new, config)
            assert judged.exit_code == code
            line = check_line(judged.checks[0])
            assert "change = 12 %" in line
            assert "95 % interval [12, 12] % (paired, 400 inputs)" in line


def test_a_change_on_some_of_the_inputs_says_of_how_many():
    """The mean of the 300 least doubles from what it was on these, not on all 400."""
    places = np.argsort(MANY)[:300]
    part = np.full(400, np.nan)
    part[places] = 2 * MANY[places]
    old, new = opened(report_of(MANY)), opened(report_of(part))
    config = flags(max_increase=["kl.trace.mean=150%"])
    judged = judged_by_change(old, new, config)
    change = judged.checks[0].change
    before = old.column("kl", "trace")[np.isin(np.arange(400), places)]
    assert change.old == pytest.approx(before.mean(), rel=1e-12)
    assert (change.change, change.n, change.n_old) == (pytest.approx(1.0), 300, 400)
    assert "(paired, 300 inputs of the baseline's 400)" in check_line(judged.checks[0])


def test_a_limit_on_a_number_and_one_on_its_change_are_two(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(to_json(report_of(MANY)))
    keys = dict.fromkeys(("kl.trace.mean", "kl.eigenvalue.p50"))
    config = with_baseline(
        flags(
            baseline=str(path),
            max=dict.fromkeys(keys, 1e-09),
            min=dict.fromkeys(keys, 1000000000.0),
            max_increase=dict.fromkeys(keys, "5%"),
            max_decrease=dict.fromkeys(keys, "5"),
        )
    )
    limits = {"thresholds": config.thresholds, "baseline": config.baseline}
    report = build_report(measured_of(MANY), replace(CONFIG, max_skipped=1, **limits))
    again = recheck(report, ScanConfig())
    for judged in (report, again, recheck(report_of(MANY), config, str(path))):
        found = [(check.change is not None, check.holds) for check in judged.checks]
        assert found == [(False, False)] * 4 + [(True, True)] * 4
        assert judged.exit_code == 1
    assert again.checks == report.checks


@pytest.mark.parametrize("step", ["5%", "0.001"])
def test_a_number_of_more_inputs_than_the_baseline_has_stands_beside_that_of_both(step):
    """That of all 400 is no growth over the mean of the 300 least, all 1 % more."""
    places = np.argsort(MANY)[:300]
    part = np.full(400, np.nan)
    part[places] = 1.01 * MANY[places]
    reports = opened(report_of(part)), opened(report_of(MANY))
    config = flags(max_increase=[f"kl.trace.mean={step}"])
    (check,) = judged_by_change(*reports, config).checks
    shared = 1.5 * MANY[places].mean()
    assert check.value == pytest.approx(1.5 * MANY.mean(), rel=1e-12)
    said = (
        f"kl.trace.mean = {check.value:.3g} ({shared:.3g} on the inputs in both), was "
    )
    assert check_line(check).startswith(f"{said}{1.01 * shared:.3g}: change = -")
    same = judged_by_change(reports[1], reports[1], config).checks[0]
    assert "in both" not in check_line(same)


@pytest.mark.parametrize(("n", "known"), [(31, False), (32, True)])
def test_few_pairs_do_not_tell_a_change_from_chance(n, known):
    old = np.linspace(1.0, 2.0, n)
    new = old * np.linspace(1.1, 1.2, n)
    reports = opened(report_of(old)), opened(report_of(new))
    config = flags(max_decrease=["kl.trace.mean=0"], gate="upper")
    judged = judged_by_change(*reports, config)
    (check,) = judged.checks
    assert (check.change.ci95 is not None, check.holds is True) == (known, known)
    if not known:
        assert (check.status, judged.exit_code) == ("unmeasured", 4)
        assert "a mean needs 32 inputs, there are 31" in check_line(check)
    (by_value,) = judged_by_change(*reports, replace(config, gate="point")).checks
    assert (by_value.holds, by_value.status) == (True, "pass")
    changes = compare(*reports).changes
    (sign,) = (c.sign for c in changes if (c.divergence, c.quantity) == ("kl", "trace"))
    assert sign == ("+" if known else "~")


@pytest.mark.parametrize(("gate", "holds"), [("upper", None), ("point", True)])
def test_a_change_of_a_few_checked_inputs_is_not_told(gate, holds):
    reports = opened(report_of(MANY)), opened(report_of(MANY + 0.1 * MANY**2))
    config = flags(max_decrease=["kl.gaussian_realised.mean=0"], gate=gate)
    config = replace(config, accept_unverified=True)
    (check,) = judged_by_change(*reports, config).checks
    assert (check.change.ci95, check.holds) == (None, holds)
    if holds is None:
        assert "checked inputs do not resolve mean" in check_line(check)


@pytest.mark.parametrize("statistic", ["max", "min"])
@pytest.mark.parametrize("option", ["max_increase", "max_decrease"])
def test_the_extreme_of_a_sample_keeps_no_limit_on_its_change(statistic, option):
    """At the checked inputs it changes by a tenth; at the others by anything."""
    allowed, broken = f"kl.gaussian_realised.{statistic}=20%", (0.7, 1.4)
    for factor in (0.9, 1.1):
        reports = opened(report_of(MANY)), opened(report_of(factor * MANY))
        config = flags(**{option: [allowed]})
        judged = judged_by_change(*reports, config)
        (check,) = judged.checks
        assert (check.status, judged.exit_code) == ("undecided", 4)
        assert f"the change of the {statistic} of" in check_line(check)
        accepted = replace(config, accept_unverified=True)
        assert judged_by_change(*reports, accepted).exit_code == 0
        assert judged_by_change(reports[0], reports[0], config).exit_code == 0
    factor = broken[option == "max_increase"]
    reports = opened(report_of(MANY)), opened(report_of(factor * MANY))
    assert judged_by_change(*reports, flags(**{option: [allowed]})).exit_code == 1


def test_marginal_intervals_would_not_have_told_the_two_apart():
    old, new = (report_of(f * MANY).divergences["kl"] for f in (1, 1.12))
    low, high = old.summary["gaussian"].ci95.p95
    assert low < new.summary["gaussian"].p95 < high


def test_the_interval_of_a_paired_change_covers_it():
    rng, inside, truth = np.random.default_rng(5), [], 1.06
    for _ in range(60):
        base = rng.lognormal(size=300)
        gains = truth * np.exp(0.2 * rng.normal(size=300) - 0.02)
        old, new = opened(report_of(base)), opened(report_of(base * gains))
        found = change_from(old, new, step("kl.trace.mean"))
        expected = 1.5 * np.exp(0.5) * (truth - 1)
        inside.append(found.ci95[0] <= expected <= found.ci95[1])
    assert np.mean(inside) >= 0.88


def with_trace(numbers):
    measured = measured_of(MANY[: len(numbers)])
    measured.columns["kl"]["trace"] = Values.of(np.array(numbers, float))
    return opened(build_report(measured, CONFIG))


def test_what_is_infinite_in_both_has_not_changed():
    old, new = with_trace([1, 2, np.inf]), with_trace([2, 2, np.inf])
    found = change_from(old, new, step("kl.trace.mean"))
    assert (found.old, found.change) == (np.inf, pytest.approx(1 / 3))
    assert change_from(old, new, step("kl.trace.max")).change == 0.0
    worse = change_from(old, with_trace([1, np.inf, np.inf]), step("kl.trace.p50"))
    assert worse.change == np.inf


def test_values_in_one_report_only_leave_the_pairs():
    old = with_trace([1, np.nan, 3, 4])
    new = with_trace([2, 9, np.nan, 5])
    found = change_from(old, new, step("kl.trace.mean"))
    assert (found.n, found.old, found.change) == (2, 2.5, 1.0)


def of_data(sha, values=MANY):
    measured = measured_of(values)
    measured.data = replace(measured.data, sha256=sha)
    return opened(build_report(measured, CONFIG))


@pytest.mark.parametrize(
    ("old", "words"),
    [
        (lambda: of_data("00"), "the baseline audited other data"),
        (lambda: elsewhere(), "no input is in both reports"),
        (lambda: opened_large(), "a report lists no inputs"),
    ],
)
def test_other_inputs_are_said_and_compared_by_their_own_intervals(old, words):
    new = opened(report_of(1.12 * MANY))
    found = change_from(old(), new, step("kl.trace.mean"))
    assert found.unpaired.startswith(words)
    low, high = found.ci95
    assert low < found.change < high
    assert low < 0  # marginal intervals tell nothing of 12 %


def elsewhere():
    measured = measured_of(MANY)
    measured.index = measured.index + 1000
    return opened(build_report(measured, CONFIG))


def opened_large():
    report = report_of(MANY)
    return replace(opened(report), index=np.zeros(0, int))


def test_ends_of_independent_intervals_are_put_together():
    old, new = report_of(MANY), report_of(1.5 * MANY)
    found = change_from(of_data("00"), opened(new), step("kl.trace.mean"))
    (a, b), (c, d) = (
        r.divergences["kl"].summary["trace"].ci95.mean for r in (old, new)
    )
    x, y = (r.divergences["kl"].summary["trace"].mean for r in (old, new))
    expected = (y - x) - np.hypot(y - c, b - x), (y - x) + np.hypot(d - y, x - a)
    assert found.ci95 == pytest.approx(expected)
    share = change_from(of_data("00"), opened(new), step("kl.trace.mean", "10%"))
    a, b, c, d, x, y = np.log([a, b, c, d, x, y])
    below, above = np.hypot(y - c, b - x), np.hypot(d - y, x - a)
    expected = np.expm1(y - x - below), np.expm1(y - x + above)
    assert share.ci95 == pytest.approx(expected)


def test_checked_values_are_paired_only_at_the_same_inputs():
    old, same = opened(report_of(MANY)), opened(report_of(1.1 * MANY))
    key = "kl.gaussian_realised.mean"
    found = change_from(old, same, step(key))
    assert (found.unpaired, found.n) == ("", len(old.report.checked.index))
    assert found.change == pytest.approx(0.1 * found.old)
    measured = measured_of(MANY)
    sample = measured.checks.sample
    moved = replace(sample, places=sample.places - 1)
    measured.checks = replace(measured.checks, sample=moved)
    other = opened(build_report(measured, CONFIG))
    assert "--verify all" in change_from(old, other, step(key)).unpaired
    for new, said in ((same, False), (other, True)):
        found = compare(old, new)
        assert any("--verify all" in note for note in found.notes) is said
        compared = {(one.divergence, one.quantity) for one in found.changes}
        assert (("kl", "gaussian_realised") not in compared) is said


def test_a_percentile_of_checked_inputs_counts_those_that_they_stand_for():
    """Value i of those in order lies at the level of the middle of its weight."""
    rng = np.random.default_rng(5)
    old, new = rng.lognormal(sigma=1.5, size=(2, 1000))
    places = np.sort(rng.permutation(1000)[:100])
    heavy = old[places] > 1
    weights = np.where(heavy, 16.0, 4.0)
    sample = Sample(places, weights, 1 * heavy)

    def median(values):
        order = np.argsort(values[places])
        w = weights[order]
        level = np.cumsum(w) - w / 2
        level = (level - level[0]) / (level[-1] - level[0])
        return 0.008 * np.interp(0.5, level, values[places][order])

    reports = [opened(build_report(checked(v, sample), CONFIG)) for v in (old, new)]
    found = change_from(*reports, step("kl.gaussian_realised.p50"))
    assert found.unpaired == ""
    assert found.old == pytest.approx(median(old), rel=1e-9)
    assert found.change == pytest.approx(median(new) - median(old), rel=1e-9)


@pytest.mark.parametrize(("random", "told"), [(64, False), (800, True)])
def test_a_percentile_that_the_checked_inputs_may_miss_has_no_interval_of_its_change(
    random, told
):
    """Of 1000 inputs the 64 worst of the new model and some of 936 others.

    The 50 largest values of the new model are all checked, those of the old one but for
    6, which 64 random inputs all miss in (1 - 6/936)^64 of the draws, 800 in less than
    2.5 %. An interval of 64 and 64 would miss with its lower end in 29 of 100 samples.
    """
    rng = np.random.default_rng(11)
    z, apart = rng.normal(size=(2, 1000))
    old, new = np.exp(z), np.exp(1.5 * z + 0.5 * apart)
    order = np.argsort(-new)
    places = np.sort(np.append(order[:64], rng.permutation(order[64:])[:random]))
    worst = np.isin(places, order[:64])
    sample = Sample(places, np.where(worst, 1.0, 936 / random), 1 - 1 * worst)
    missed = np.setdiff1d(np.argsort(-old)[:50], order[:64])
    assert ((1 - len(missed) / 936) ** random < 0.025) == told
    reports = [opened(build_report(checked(v, sample), CONFIG)) for v in (old, new)]
    found = change_from(*reports, step("kl.gaussian_realised.p95"))
    assert found.unpaired == ""
    assert (found.ci95 is not None) == told
    assert change_from(*reports, step("kl.gaussian_realised.p50")).ci95 is not None


def checked(values, sample):
    """Return a scan whose realised values, 0.008 times these, are known at a sample."""
    measured = measured_of(values)
    known = Values.unmeasured(len(values), UNCHECKED)
    for quantity in ("gaussian_realised", "critical_radius"):
        measured.columns["kl"][quantity] = known.placed(
            sample.places, Values.of(0.008 * values[sample.places])
        )
    measured.checks = replace(measured.checks, sample=sample)
    return measured


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"units": "std"}, "--units differs: input and std"),
        ({"tau": 2.0}, "--tau differs: 1.0 and 2.0"),
        ({"mask": "0:2"}, "--mask differs: None and 0:2"),
    ],
)
def test_other_questions_are_refused(change, words):
    measured = measured_of(MANY)
    if "units" in change:
        measured.data = replace(measured.data, **change)
    new = opened(build_report(measured, replace(CONFIG, **change)))
    config = flags(max_increase=["kl.trace.mean=5%"])
    with pytest.raises(ConfigError, match=words) as caught:
        judged_by_change(opened(report_of(MANY)), new, config)
    assert caught.value.exit_code == 2


SEARCHED = ("kl.predicted@0.1.mean", "kl.worst_case.mean", "kl.deep.max")


@pytest.mark.parametrize("key", [*SEARCHED, "kl.trace.mean"])
@pytest.mark.parametrize("change", [{"norm": "inf"}, {"bounds": "0,1"}])
def test_worst_cases_of_other_balls_are_refused(key, change):
    measured = measured_of(MANY)
    trace = measured.columns["kl"]["trace"]
    names = ("predicted@0.1", "worst_case", "deep")
    measured.columns["kl"].update(dict.fromkeys(names, trace))
    attacks = tuple(
        AttackConfig(name, "worst_case", {"norm": "0.1"}) for name in names[1:]
    )
    config = replace(CONFIG, attacks=attacks)
    old, new = (
        opened(build_report(measured, one))
        for one in (config, replace(config, **change))
    )
    limits = flags(max_increase=[f"{key}=5%"], accept_unverified=True)
    found = compare(old, new)
    cut = key in SEARCHED and ("bounds" in change or "@" in key)
    assert (
        key.rpartition(".")[0] not in {f"kl.{c.quantity}" for c in found.changes}
    ) is cut
    assert any("worst cases are not compared" in note for note in found.notes)
    if not cut:
        assert judged_by_change(old, new, limits).exit_code == 0
        return
    with pytest.raises(ConfigError, match=r"--(norm|bounds) differs: "):
        judged_by_change(old, new, limits)


KEYED = [
    ("data.npz::a", {}, "data.npz::b", {}, True),
    ("data.npz::a", {}, "data.npz", {}, True),
    ("data.npz", {"condition_key": "a"}, "data.npz", {"condition_key": "b"}, True),
    ("data.npz::a", {}, "data.npz", {"condition_key": "a"}, False),
    ("data.npz::x", {}, "data.npz", {"condition": "x"}, False),
    ("data.npz::x", {}, "data.npz", {}, False),
]


@pytest.mark.parametrize(("first", "one", "second", "two", "other"), KEYED)
def test_arrays_of_one_file_are_paired_only_with_themselves(
    first, one, second, two, other
):
    reports = []
    for source, model in ((first, one), (second, two)):
        measured = measured_of(MANY)
        measured.data = replace(measured.data, source=source)
        config = replace(CONFIG, data=source, model=replace(CONFIG.model, **model))
        reports.append(opened(build_report(measured, config)))
    found = change_from(*reports, step("kl.trace.mean"))
    assert (found.unpaired == "the baseline audited other data") is other
    if other:
        assert reports[0].report.fingerprint != reports[1].report.fingerprint
        with pytest.raises(ConfigError, match="different arrays of the data"):
            compare(*reports)
    else:
        assert compare(*reports).n == len(MANY)


def test_files_of_one_name_count_by_their_bytes(tmp_path):
    mask, reports = tmp_path / "mask.npy", []
    for count in (2, 3):
        np.save(mask, np.arange(4) < count)
        config = replace(CONFIG, mask=str(mask))
        reports.append(build_report(measured_of(MANY), config))
    assert reports[0].fingerprint != reports[1].fingerprint
    config = flags(max_increase=["kl.trace.mean=5%"])
    with pytest.raises(ConfigError, match="the files of --mask differ"):
        judged_by_change(*map(opened, reports), config)


def test_an_attack_of_the_same_label_has_to_be_the_same():
    other = replace(CONFIG.attacks[0], arguments={"sigma": "0.2"})
    config = replace(CONFIG, attacks=(other, *CONFIG.attacks[1:]))
    new = opened(build_report(measured_of(MANY), config))
    words = "compares gaussian:sigma=0.1 of the baseline with gaussian:sigma=0.2"
    limits = flags(max_increase=["kl.gaussian.p95=5%"])
    with pytest.raises(ConfigError, match=words):
        judged_by_change(opened(report_of(MANY)), new, limits)
    unconcerned = flags(max_increase=["kl.trace.p95=5%"])
    assert judged_by_change(opened(report_of(MANY)), new, unconcerned).exit_code == 0
    old = opened(build_report(measured_of(MANY), CONFIG))
    found = compare(old, new)
    quantities = {change.quantity for change in found.changes}
    told = {change.quantity for change in compare(old, old).changes} - quantities
    assert told == {"gaussian", "gaussian_realised"}
    (note,) = [note for note in found.notes if "not compared" in note]
    said = words.replace("compares", "compare")
    assert note == f"gaussian is not compared: that would {said}"


def test_the_scan_the_check_and_the_diff_judge_alike(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(to_json(report_of(MANY)))
    limits = {"max_increase": ["kl.gaussian.p95=10%"]}
    given = override(CONFIG, "command line", baseline=str(path), **limits)
    config = replace(with_baseline(given), max_skipped=1)
    scanned = build_report(measured_of(1.12 * MANY), config)
    checked = recheck(report_of(1.12 * MANY), config)
    diffed = judged_by_change(
        opened(report_of(MANY)), opened(report_of(1.12 * MANY)), flags(**limits)
    )
    lines = {check_line(r.checks[-1]) for r in (scanned, checked, diffed)}
    assert len(lines) == 1
    assert {r.exit_code for r in (scanned, checked, diffed)} == {1}
    assert recheck(scanned, ScanConfig()).checks == scanned.checks


def test_without_steps_no_baseline_is_opened():
    assert changes((Threshold("kl.trace.max", "<=", 1.0),), "no.json", None) == {}
