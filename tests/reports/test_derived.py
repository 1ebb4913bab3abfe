"""A saved report whose statistics are not those of the inputs that it lists."""

import json
from dataclasses import replace

import numpy as np
import pytest

from audit.config import ScanConfig
from audit.ground.errors import ConfigError, InputError
from audit.reports.build import build_report
from audit.reports.checks import recheck
from audit.reports.derived import refuse_edited
from audit.reports.json import to_json
from audit.reports.listing import UNCHECKED
from audit.reports.quantities import STATISTICS
from audit.reports.report import Report
from audit.reports.sampling import Sample
from audit.reports.stored import stored
from audit.reports.values import Values
from reports.synthetic import CONFIG, limit, measured_of

RNG = np.random.default_rng(7)
SETS = {
    "one": np.array([3.0]),
    "two": np.array([0.0, 2.0]),
    "ties": np.repeat([1.0, 2.0, 5.0], [7, 1, 12]),
    "skewed": np.exp(2 * RNG.normal(size=157)),
    "infinite": np.append(RNG.exponential(size=30), [np.inf, np.inf]),
    "signed": np.append(RNG.normal(size=41), [-np.inf, np.nan]),
    "cancels": np.append(np.linspace(-1, 1, 101), np.nan),
    "huge": 1e300 * RNG.exponential(size=50),
    "tiny": 1e-300 * RNG.exponential(size=50),
    "zeros": np.zeros(12),
    "no values": np.full(5, np.nan),
}


def report_with(values, sample=None):
    """Return a report, written and read, whose exact values are these [n]."""
    measured = measured_of(np.linspace(1, 2, len(values)))
    sample = sample or Sample(
        np.arange(len(values)), np.ones(len(values)), np.zeros(len(values), int)
    )
    known = Values.unmeasured(len(values), UNCHECKED)
    for quantity in ("gaussian_realised", "critical_radius"):
        given = Values.of(values[sample.places])
        measured.columns["kl"][quantity] = known.placed(sample.places, given)
    measured.checks = replace(measured.checks, sample=sample)
    return Report.model_validate_json(to_json(build_report(measured, CONFIG)))


def keys(quantity="critical_radius"):
    return [f"kl.{quantity}.{statistic}" for statistic in STATISTICS]


@pytest.mark.parametrize("name", SETS)
def test_what_a_scan_wrote_follows_from_its_inputs(name):
    refuse_edited(report_with(SETS[name]), "r.json", keys())


@pytest.mark.parametrize("seed", range(20))
def test_what_was_estimated_from_a_sample_follows_from_it(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 400))
    worst, drawn = rng.integers(1, 8, 2)
    places = np.sort(rng.permutation(n)[: worst + drawn])
    strata = rng.permutation(np.repeat([0, 1], [worst, drawn]))
    weights = np.where(strata == 0, 1.0, (n - worst) / drawn)
    values = np.round(np.exp(rng.normal(size=n)), int(rng.integers(0, 6)))
    values[rng.random(n) < 0.1] = np.nan
    values[rng.random(n) < 0.05] = np.inf
    report = report_with(values, Sample(places, weights, strata))
    refuse_edited(report, "r.json", keys())


def edited(report, *place, value):
    """Return a report with one of its numbers replaced."""
    whole = json.loads(to_json(report))
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return Report.model_validate_json(json.dumps(whole))


def summary(quantity, statistic):
    return ("divergences", "kl", "summary", quantity, statistic)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_an_edited_statistic_decides_nothing(statistic):
    report = report_with(SETS["skewed"])
    said = getattr(report.divergences["kl"].summary["trace"], statistic)
    told = limit(f"kl.trace.{statistic}", "<=", said)
    config = ScanConfig(thresholds=(told,), max_skipped=1)
    recheck(report, config, "r.json")
    less = edited(report, *summary("trace", statistic), value=0.99 * said)
    with pytest.raises(ConfigError, match=r"contradicts itself: kl\.trace") as error:
        recheck(less, config, "r.json")
    assert "r.json" in str(error.value)
    assert "by the inputs that it lists" in str(error.value)


def test_a_report_whose_inputs_were_taken_out_decides_nothing():
    """Without them nothing speaks against a statistic that was edited."""
    report = edited(report_with(SETS["skewed"]), "inputs", value=None)
    config = ScanConfig(thresholds=(limit("kl.trace.p95", "<=", 1e9),), max_skipped=1)
    with pytest.raises(ConfigError, match=r"'r\.json' lists none of its .* inputs"):
        recheck(report, config, "r.json")


@pytest.mark.parametrize("statistic", ["mean", "p50", "p95"])
def test_a_number_beyond_its_own_interval_decides_nothing(statistic):
    """An interval made shorter by hand would let `--gate upper` pass."""
    place = ("divergences", "kl", "summary", "critical_radius", "ci95", statistic)
    report = report_with(SETS["skewed"])
    said = getattr(report.divergences["kl"].summary["critical_radius"], statistic)
    refuse_edited(report, "r.json", keys())
    for ends in ([0.0, said * 0.99], [said * 1.01, said * 2]):
        wrong = edited(report, *place, value=ends)
        with pytest.raises(ConfigError, match="own interval goes from"):
            refuse_edited(wrong, "r.json", keys())


def test_an_edited_input_and_an_edited_exact_value_are_found_too():
    report = report_with(SETS["skewed"])
    row = int(np.argmax(SETS["skewed"]))
    place = ("inputs", "kl", "critical_radius", row)
    with pytest.raises(ConfigError, match=r"kl\.critical_radius\.max"):
        refuse_edited(edited(report, *place, value=0.1), "r", ["kl.radius.max"])
    with pytest.raises(ConfigError, match=r"n of kl\.critical_radius is 157"):
        refuse_edited(edited(report, *place, value=None), "r", ["kl.radius.p50"])
    place = summary("gaussian_realised", "p95")
    with pytest.raises(ConfigError, match="gaussian_realised"):
        refuse_edited(edited(report, *place, value=0.0), "r", ["kl.gaussian.p95"])


def test_a_report_of_too_many_inputs_to_list_cannot_be_held_against_them():
    report = report_with(SETS["skewed"])
    report = edited(report, *summary("trace", "p95"), value=0.0)
    many = report.data.model_copy(update={"n_audited": 10_001})
    bare = report.model_copy(update={"inputs": None, "data": many})
    refuse_edited(bare, "r.json", ["kl.trace.p95", "kl.nothing.p95", "w1.trace.p95"])


def of_a_sample():
    """Return a report of 40 inputs, of which 12 were checked."""
    places = np.arange(0, 36, 3)
    strata = (places > 5).astype(int)
    weights = np.where(strata, 3.8, 1.0)
    values = np.linspace(1, 2, 40)
    return report_with(values, Sample(places, weights, strata))


def test_a_report_whose_checked_inputs_were_taken_out_decides_nothing():
    report = of_a_sample()
    refuse_edited(report, "r.json", keys())
    bare = edited(report, "checked", value=None)
    for key in ("kl.critical_radius.p50", "kl.radius.p50"):
        with pytest.raises(ConfigError, match=r"12 checked inputs, and it lists 0"):
            refuse_edited(bare, "r.json", [key])
    refuse_edited(bare, "r.json", ["kl.trace.p95"])  # of all inputs


def test_an_input_that_is_listed_twice_decides_nothing():
    report = of_a_sample()
    for part, index in (("inputs", 4), ("checked", 3)):
        twice = edited(report, part, "index", 1, value=index)
        if part == "inputs":
            twice = edited(twice, part, "index", 4, value=index)
        else:
            twice = edited(twice, part, "index", 0, value=index)
        with pytest.raises(ConfigError, match=f"lists input {index} more than once"):
            refuse_edited(twice, "r.json", ["kl.trace.p95"])


def test_a_rows_file_with_an_input_twice_is_refused(tmp_path):
    report = of_a_sample()
    index = np.arange(40)
    index[7] = 6
    np.savez(tmp_path / "r.npz", index=index)
    with pytest.raises(InputError, match="has input 6 more than once"):
        stored("r.json", report, str(tmp_path / "r.npz"))
