"""Witness ≤ truth ≤ certificate, as a scan reports them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from audit.formats.sides import notes
from audit.ground.errors import ConfigError
from audit.run.replay import replay_file
from audit.run.scan import scan
from tests.scans import SAMPLES, attacks, sample

SIDES = ("predicted", "along", "witness", "certificate")
KL = {"divergences": ("kl",)}


def columns(report, size, divergence="kl"):
    found = report.inputs.columns[divergence]
    return {side: np.array(found[f"{side}@{size:g}"], float) for side in SIDES}


@pytest.mark.parametrize("inputs", [8, pytest.param(24, marks=pytest.mark.slow)])
@pytest.mark.parametrize("norm", ["2", "inf", "1"])
def test_where_the_divergence_is_a_form_all_four_are_one(norm, inputs):
    sizes = (0.03, 0.3, 3.0)
    asked = {"sizes": sizes, "norm": norm, "verify": inputs}
    report = scan(sample("linear_gaussian", **KL, **asked))
    for size in sizes:
        found = columns(report, size)
        checked = ~np.isnan(found["witness"])
        assert checked.sum() == inputs
        for side in SIDES[1:]:
            np.testing.assert_allclose(
                found[side][checked], found["predicted"][checked], rtol=1e-5
            )
    assert [rung.size for rung in report.divergences["kl"].two_sided] == [*sizes]


def test_the_certificate_of_an_attack_stands_beside_the_size_that_it_has():
    asked = {"attacks": attacks(certified={"norm": "0.1"}), "verify": 8}
    report = scan(sample("linear_gaussian", **KL, **asked))
    found = columns(report, 0.1)
    checked = ~np.isnan(found["witness"])
    np.testing.assert_allclose(
        found["certificate"][checked], found["predicted"][checked], rtol=1e-5
    )
    assert np.isnan(columns(report, 0.3)["certificate"]).all()


@pytest.mark.parametrize("norm", ["2", "inf", "1"])
def test_of_both_directions_of_kl_all_are_one_and_only_kl_is_certified(norm):
    """KL of normals that differ in place alone is the same both ways."""
    asked = {"sizes": (0.03, 3.0), "norm": norm, "verify": 12}
    both = ("kl", "reverse_kl")
    report = scan(sample("linear_gaussian", divergences=both, **asked))
    for size in asked["sizes"]:
        for name in both:
            found = columns(report, size, name)
            checked = ~np.isnan(found["witness"])
            assert checked.sum() == 12
            for side in ("along", "witness"):
                np.testing.assert_allclose(
                    found[side][checked], found["predicted"][checked], rtol=1e-5
                )
        assert np.isnan(columns(report, size, "reverse_kl")["certificate"]).all()
    for rung in report.divergences["reverse_kl"].two_sided:
        assert rung.certificate.n == 0
        assert "the divergence reverse_kl has none" in rung.certificate.reason


def test_a_certificate_is_never_below_a_witness_nor_a_witness_below_a_step():
    report = scan(sample("heteroscedastic", **KL, sizes=(0.03, 0.3), verify="all"))
    for size in (0.03, 0.3):
        found = columns(report, size)
        assert (found["along"] <= found["witness"] * (1 + 1e-12)).all()
        assert (found["witness"] <= found["certificate"]).all()
    values = report.inputs.columns["kl"]
    certified = np.array(values["certified_radius"], float)
    assert (certified <= np.array(values["critical_radius"], float)).all()


def test_the_attack_certified_has_its_bound_beside_its_prediction():
    asked = attacks(
        certified={"norm": "0.1"}, tight=("certified", {"norm": "0.01", "p": "inf"})
    )
    report = scan(sample("heteroscedastic", **KL, attacks=asked, verify="all"))
    summary = report.divergences["kl"]
    assert summary.summary["certificate"].p50 > summary.summary["certified"].p50
    assert summary.summary["tight_certificate"].p50 > summary.summary["tight"].p50


def test_what_has_no_certificate_says_why():
    report = scan(sample("sunspots_gru", **KL, sizes=(0.1,), verify=4))
    (rung,) = report.divergences["kl"].two_sided
    assert rung.certificate.n == 0
    assert "student_t" in rung.certificate.reason
    *_, said = notes(report, "kl")
    assert said == rung.certificate.reason
    assert said.count("no certificate") == 1
    assert rung.witness.p50 > 0


def test_sizes_that_nobody_asked_for_are_not_certified_and_say_so():
    report = scan(sample("heteroscedastic", **KL, verify=4))
    rungs = report.divergences["kl"].two_sided
    assert [rung.size for rung in rungs] == [0.01, 0.03, 0.1, 0.3, 1.0]
    assert all("--sizes" in rung.certificate.reason for rung in rungs)
    off = scan(sample("heteroscedastic", **KL, verify=4, sizes=()))
    assert off.divergences["kl"].two_sided == []


def test_nothing_leaves_the_valid_range():
    x = np.load(SAMPLES / "linear_gaussian.npz")["x"]
    low, high = math.floor(x.min()), math.ceil(x.max())
    asked = {**KL, "sizes": (30.0,), "verify": "all"}
    free = columns(scan(sample("linear_gaussian", **asked)), 30.0)
    within = sample("linear_gaussian", bounds=f"{low},{high}", **asked)
    bounded = columns(scan(within), 30.0)
    for side in ("along", "witness"):
        assert (bounded[side] <= free[side] * (1 + 1e-9)).all()
        assert (bounded[side] < free[side] * 0.99).any()
    assert (bounded["along"] <= bounded["witness"] * (1 + 1e-9)).all()


def test_bounds_that_exclude_an_input_name_it():
    with pytest.raises(ConfigError, match="exclude input"):
        scan(sample("linear_gaussian", bounds="-0.01,0.01", verify=8))


def test_the_witnesses_of_a_scan_are_kept_and_hold(tmp_path):
    path = str(tmp_path / "w.npz")
    config = sample("heteroscedastic", **KL, sizes=(0.1,), witness=path, verify=8)
    scan(config)
    assert replay_file(path, config.model.path).holds


def test_a_missing_folder_is_said_before_anything_is_measured(tmp_path):
    path = str(tmp_path / "none" / "w.npz")
    with pytest.raises(ConfigError, match="whose folder does not exist"):
        scan(sample("heteroscedastic", witness=path))


def test_witnesses_are_not_kept_in_what_a_scan_reads(tmp_path):
    """From Python too, where no command line looks at the outputs."""
    data = tmp_path / "data.npz"
    data.write_bytes((SAMPLES / "heteroscedastic.npz").read_bytes())
    before = data.read_bytes()
    config = replace(sample("heteroscedastic", verify=4), data=str(data))
    with pytest.raises(ConfigError, match="is the scan's own input, data"):
        scan(replace(config, witness=str(data)))
    assert data.read_bytes() == before
