"""Every family: no honest law fails a check, and a law with a wrong formula does."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from families.examples import EXAMPLES
from scans import written

from audit.families.location_scale import Normal
from audit.families.poisson import Poisson
from audit.ground.errors import AuditError
from audit.linalg.stored import Matrix
from audit.measure.preparation import prepare
from audit.run.selftest import selftest
from audit.verify.selftest import short_selftest

NO_FORM = {"uniform", "pareto"}  # infinite: their support moves


def output(name):
    return "p" + name.replace(".", "_")


def head_of(example):
    """Return x [N, d] and the function that makes the parameters of its columns."""
    tensors = example.tensors
    x = torch.cat([value.reshape(len(value), -1) for value in tensors.values()], dim=1)
    shapes = {name: tuple(value.shape[1:]) for name, value in tensors.items()}

    def head(x):
        found, start = {}, 0
        for name, shape in shapes.items():
            size = math.prod(shape)
            part = x[:, start : start + size]
            found[output(name)] = part.reshape(-1, *shape)
            start += size
        return found

    return x.numpy(), head


def findings(folder, example, seed=0):
    x, head = head_of(example)
    model = {
        "family": example.family_name,
        "parameters": {name: output(name) for name in example.values},
        "options": example.options,
    }
    config = replace(written(folder, head, x, model), seed=seed)
    return selftest(config)


def by_kind():
    """By default one member of each kind of family that takes no ten seconds."""
    seen = {"censored", "truncated"}
    for example in EXAMPLES:
        kind = example.family_name.partition(":")[0]
        marks = [pytest.mark.slow] if kind in seen else []
        yield pytest.param(example, id=example.label, marks=marks)
        seen.add(kind)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("example", by_kind())
def test_no_honest_law_fails(tmp_path, example):
    try:
        found = findings(tmp_path, example)
    except AuditError:
        assert example.family_name in NO_FORM
        return
    assert found.exit_code == 0, [
        (line.check, line.said, line.numbers)
        for line in found.lines
        if line.status in ("failed", "not run")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 13))
def test_no_honest_law_fails_by_another_seed(tmp_path, seed):
    for example in EXAMPLES:
        if example.family_name in NO_FORM:
            continue
        found = findings(tmp_path, example, seed)
        assert found.exit_code == 0, (example.label, found.lines)


def line_of(found, name):
    return next(line for line in found.lines if line.check == name)


NORMAL = next(one for one in EXAMPLES if one.family_name == "normal")
POISSON = next(one for one in EXAMPLES if one.family_name == "poisson")


def stretched(monkeypatch, family, method, factor):
    """Plant a root that is `factor` times too long."""
    own = getattr(family, method)
    monkeypatch.setattr(
        family, method, lambda self, phi: Matrix(factor * own(self, phi).dense())
    )


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_wrong_fisher_root_is_found_by_scores_and_by_the_divergence(
    tmp_path, monkeypatch, factor
):
    stretched(monkeypatch, Normal, "fisher_root", factor)
    found = findings(tmp_path, NORMAL)
    assert found.exit_code == 1
    scores = line_of(found, "fisher_against_scores")
    assert scores.status == "failed"
    assert scores.numbers["ratio"] == pytest.approx(factor**-2, rel=0.05)
    exact = line_of(found, "exact_divergence")
    assert exact.status == "failed"
    assert exact.numbers["kl"] == pytest.approx(abs(factor**-2 - 1), rel=1e-2)


def test_a_wrong_root_of_a_discrete_law_is_found_to_a_millionth(tmp_path, monkeypatch):
    stretched(monkeypatch, Poisson, "fisher_root", 1 + 1e-5)
    found = findings(tmp_path, POISSON)
    scores = line_of(found, "fisher_against_scores")
    assert scores.status == "failed"
    assert scores.numbers["ratio"] == pytest.approx(1 - 2e-5, abs=1e-6)


def test_a_wrong_transport_root_is_found_by_quantiles(tmp_path, monkeypatch):
    stretched(monkeypatch, Normal, "transport_root", 1.1)
    found = findings(tmp_path, NORMAL)
    moved = line_of(found, "transport_against_quantiles")
    assert moved.status == "failed"
    assert moved.numbers["ratio"] == pytest.approx(1.1**-2, rel=1e-2)


def test_a_rare_class_is_summed_and_raises_no_alarm(tmp_path):
    probs = np.array([[1 - 2e-9, 1e-9, 1e-9], [0.5, 0.5 - 1e-12, 1e-12]])
    written_logits = np.log(probs)
    rare = replace(
        next(one for one in EXAMPLES if one.label == "categorical(logits)"),
        values={"logits": written_logits.tolist()},
    )
    found = findings(tmp_path, rare)
    assert found.exit_code == 0
    ratio = line_of(found, "fisher_against_scores").numbers["ratio"]
    assert ratio == pytest.approx(1, abs=1e-6)


def test_a_transport_that_nobody_asks_for_is_not_checked(tmp_path, monkeypatch):
    stretched(monkeypatch, Normal, "transport_root", 1.1)
    x, head = head_of(NORMAL)
    parameters = {name: output(name) for name in NORMAL.values}
    model = {"family": "normal", "parameters": parameters}
    config = written(tmp_path, head, x, model, divergences=("kl",))
    moved = line_of(selftest(config), "transport_against_quantiles")
    assert moved.status == "not applicable"
    assert "no closed form of a transport tensor is in use" in moved.said


def test_every_scan_holds_a_laws_formula_against_its_divergence(tmp_path, monkeypatch):
    stretched(monkeypatch, Normal, "fisher_root", 1.1)
    x, head = head_of(NORMAL)
    parameters = {name: output(name) for name in NORMAL.values}
    model = {"family": "normal", "parameters": parameters}
    config = written(tmp_path, head, x, model, divergences=("kl",))
    prepared = prepare(config, False)
    found = dict(short_selftest(prepared.model, prepared.questions, prepared.rows))
    assert set(found) == {"selftest_exact_divergence"}
