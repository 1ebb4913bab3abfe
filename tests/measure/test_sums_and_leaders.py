"""What is kept of many inputs: sums of forms, the leaders' directions, and notes."""

import numpy as np
import pytest
import torch
from scans import answers, written

from audit.measure import mean_form
from audit.measure.preparation import prepare
from audit.measure.records import divergence_infos

NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}


def bent(x):
    """A Gaussian whose mean is Σ xᵢ²/2: its form is x xᵀ, its eigenvalue ‖x‖²."""
    return {
        "loc": x.square().sum(dim=1, keepdim=True) / 2,
        "scale": torch.ones_like(x[:, :1]),
    }


@pytest.mark.parametrize(("features", "kept"), [(3, 3), (4, 0)])
def test_forms_are_summed_up_to_a_number_of_features(
    features, kept, tmp_path, monkeypatch
):
    monkeypatch.setattr(mean_form, "MOST_FEATURES", 3)
    x = np.random.default_rng(0).normal(size=(5, features))
    config = written(tmp_path, bent, x, NORMAL, divergences=("kl",), verify=0)
    mean = answers(config).means["kl"]
    assert mean.matrix.shape == (2, kept, kept)
    np.testing.assert_allclose(mean.top.sum(), np.square(x).sum(), rtol=1e-9)
    if kept:
        np.testing.assert_allclose(mean.matrix.sum(axis=0), x.T @ x, rtol=1e-9)


def test_the_ten_most_sensitive_inputs_lead(tmp_path):
    x = np.random.default_rng(1).normal(size=(13, 2))
    config = written(tmp_path, bent, x, NORMAL, divergences=("kl",), verify=0)
    leading = answers(config).leading()
    largest = np.argsort(-np.square(x).sum(axis=1))[:10]
    assert leading.index.tolist() == sorted(largest.tolist())
    cosines = np.einsum("nd,nd->n", leading.directions["kl"][:, 0], x[leading.index])
    lengths = np.linalg.norm(x[leading.index], axis=1)
    np.testing.assert_allclose(np.abs(cosines), lengths, rtol=1e-6)


@pytest.mark.parametrize(("features", "said"), [(1, []), (2, []), (3, ["2 of 3"])])
def test_a_rank_is_said_where_parameters_are_fewer_than_features(
    features, said, tmp_path
):
    x = np.random.default_rng(2).normal(size=(4, features))
    config = written(tmp_path, bent, x, NORMAL, divergences=("kl",), verify=0)
    notes = divergence_infos(prepare(config, False))["kl"].notes
    ranks = [note for note in notes if note.startswith("rank at most")]
    assert [note.removeprefix("rank at most ")[:6] for note in ranks] == said
