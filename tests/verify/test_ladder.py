"""Which sizes are searched by default; the answer does not depend on the day."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import scan, written

from audit.families.student_shapes import filled

X = np.random.default_rng(3).normal(size=(3, 2))


def searched(tmp_path, head, model, divergence, **settings):
    config = written(tmp_path, head, X, model)
    report = scan(replace(config, divergences=(divergence,), verify=3, **settings))
    names = report.divergences[divergence].summary
    return {name for name in names if name.startswith("witness@")}


def normal(x):
    return {"loc": x[:, :1], "scale": torch.exp(x[:, 1:])}


def mixture(x):
    return {"logits": x, "loc": x * 2, "scale": torch.exp(x / 4)}


def student(x):
    return {"df": 4 + x[:, :1].abs(), "loc": x[:, :1], "scale": torch.exp(x[:, 1:])}


def of(family, head):
    names = head(torch.zeros(1, 2))
    return {"family": family, "parameters": {name: name for name in names}}


@pytest.mark.slow
def test_formulas_are_searched_and_quadratures_only_where_asked(tmp_path):
    assert len(searched(tmp_path, normal, of("normal", normal), "quantile")) == 5
    laws = of("mixture:normal", mixture)
    for divergence in ("kl", "quantile"):
        assert not searched(tmp_path, mixture, laws, divergence)
    assert searched(tmp_path, mixture, laws, "kl", sizes=(0.2,)) == {"witness@0.2"}
    assert not searched(tmp_path, student, of("student_t", student), "kl")


def test_a_table_that_is_filled_already_changes_nothing(tmp_path):
    laws = of("student_t", student)
    filled.cache_clear()
    first = searched(tmp_path, student, laws, "quantile")
    assert searched(tmp_path, student, laws, "quantile") == first
    assert len(first) == 5
