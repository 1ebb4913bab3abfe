"""The honest sample models pass, and the short form is silent on them."""

from dataclasses import replace

import numpy as np
import pytest
from scans import FORMATS, SAMPLES, sample

from audit.config import ModelConfig, ScanConfig
from audit.measure.preparation import prepare
from audit.run.selftest import selftest
from audit.verify.selftest import short_selftest
from verify.selftest.planted import Base, Remembers, config, script

QUICK = (
    *("linear_gaussian", "heteroscedastic", "heteroscedastic_fisher"),
    *("heteroscedastic_jacobian", "digits_cnn", "counts", "mixture"),
    *("posterior_forward_kl", "posterior_reverse_kl"),
)
SLOW = ("sunspots_gru", "sunspots_quantiles")
COMPUTED = (
    *("two_moons", "choice_likelihood", "decoder"),
    *("linear_posterior", "zuko_nsf"),
)


def computed(name):
    """Return the scan of a density or sampler."""
    model = ModelConfig(str(SAMPLES / f"{name}.onnx"))
    return ScanConfig(model=model, data=str(SAMPLES / f"{name}.npz"))


def passes(settings):
    found = selftest(settings)
    wrong = [x for x in found.lines if x.status not in ("passed", "not applicable")]
    assert found.exit_code == 0, wrong
    assert not wrong
    return {line.check: line for line in found.lines}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", QUICK)
def test_an_honest_sample_passes(name):
    lines = passes(sample(name))
    assert lines["fisher_against_scores"].status == "passed"
    assert lines["exact_divergence"].status == "passed"
    assert lines["residuals"].status == "passed"
    assert lines["residuals"].numbers["rows"] >= 150


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_an_honest_sample_passes_in_every_format(name, suffix):
    passes(sample(name, suffix))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_an_honest_sample_passes_with_other_draws(name, seed):
    passes(sample(name, seed=seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPUTED)
def test_an_honest_density_or_sampler_passes(name):
    lines = passes(computed(name))
    assert lines["exact_divergence"].status == "passed"
    assert lines["rotation_and_scaling"].status == "passed"


def test_the_wrong_reading_of_a_sample_is_caught():
    read = {"family": "normal", "parameters": {"loc": "loc"}}
    read["parameters"]["scale"] = "exp(2*log_scale)"
    found = selftest(sample("heteroscedastic", model=read))
    assert found.exit_code == 1
    line = next(line for line in found.lines if line.status == "failed")
    assert line.check == "residuals"
    assert "a log-variance is read as a log-standard deviation" in line.said


def short(settings):
    prepared = prepare(settings, False)
    return short_selftest(prepared.model, prepared.questions, prepared.rows)


@pytest.mark.parametrize("name", QUICK)
def test_the_short_form_is_silent_on_an_honest_sample(name):
    assert short(sample(name)) == []


def test_the_short_form_warns_by_code_and_words(tmp_path):
    assert short(config(tmp_path, script(tmp_path, Base()))) == []
    found = dict(short(config(tmp_path, script(tmp_path, Remembers(5e-6)))))
    assert set(found) == {"selftest_runs_twice"}
    assert "memory of earlier calls" in found["selftest_runs_twice"]
    assert "model.eval()" in found["selftest_runs_twice"]


def test_the_short_form_of_no_input_says_nothing(tmp_path):
    settings = config(tmp_path, script(tmp_path, Base()))
    prepared = prepare(settings, False)
    none = np.zeros(0, np.int64)
    assert short_selftest(prepared.model, prepared.questions, none) == []


def test_equal_seeds_give_equal_findings():
    first, again = (selftest(sample("heteroscedastic", seed=3)) for _ in range(2))
    assert first == again
    other = selftest(replace(sample("heteroscedastic"), seed=4))
    assert other != first


def test_trace_and_top_eigenvalue_are_held_against_float64():
    found = selftest(sample("heteroscedastic", divergences=("kl",)))
    line = next(one for one in found.lines if one.check == "float32_against_float64")
    assert line.status == "passed"
    assert set(line.numbers) == {"kl.trace", "kl.eigenvalue"}
    assert 0 < max(line.numbers.values()) < 1e-4
