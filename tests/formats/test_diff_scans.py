"""Differences between real scans: none, a penalty's worth, the luck of a seed."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scans import sample, scan, written

from audit.formats import diff
from audit.ground.means import Stratum, mean_interval
from audit.reports.compare import compare as compare_stored
from audit.reports.stored import stored

NAMES = ("old.json", "new.json")


def compare(old, new, names):
    return compare_stored(*map(stored, names, (old, new)))


def planes(x):
    """Return a mixture of two normals in the plane: no closed form, so it is drawn."""
    loc = torch.stack([x, 2 * x.flip(1)], dim=1)
    scale = torch.stack([torch.exp(x / 3), torch.exp(-x / 3)], dim=1)
    return {"logits": x / 2, "loc": loc, "scale": scale}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Return a scan by the seed of its draws; in nothing else do they differ."""
    x = np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32)
    config = written(
        tmp_path_factory.mktemp("seeds"),
        planes,
        x,
        {"family": "mixture:normal"},
        divergences=("kl",),
        draws_per_input=128,
        verify=0,
    )
    return cache(lambda seed: scan(replace(config, seed=seed)))


@pytest.mark.slow  # noise within intervals, without scans: tests/formats/test_diff.py
def test_seeds_stay_within_the_intervals(seeds):
    assert seeds(0).divergences["kl"].estimator == "monte_carlo"
    kept = ("trace", "eigenvalue", "radius", "alignment")
    found = [
        change
        for seed in range(0, 20, 2)
        for change in compare(seeds(seed), seeds(seed + 1), NAMES).changes
        if change.quantity in kept
    ]
    assert len(found) == 40
    assert all(change.low < change.high for change in found)
    # Two in forty are due; those of one pair of seeds come together.
    assert sum(change.sign != "~" for change in found) <= 6


def test_swapped_seeds_mirror_the_change_and_its_interval(seeds):
    pairs = itertools.permutations((seeds(0), seeds(1)))
    there, back = (compare(*pair, NAMES) for pair in pairs)
    for a, b in zip(there.changes, back.changes, strict=True):
        assert (a.divergence, a.quantity) == (b.divergence, b.quantity)
        assert [a.difference, a.low, a.high] == pytest.approx(
            [-b.difference, -b.high, -b.low], rel=1e-4, abs=1e-12
        )
    assert "--seed was 0, is 1" in there.notes
    assert any("sampled with other random numbers" in note for note in there.notes)


def test_a_common_seed_sharpens_a_change_and_is_noted(seeds, tmp_path):
    """The same model but for a scale of 2 %: the noise is common, or it is not."""
    x = np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32)

    def wider(x):
        return {**planes(x), "scale": 1.02 * planes(x)["scale"]}

    config = written(
        tmp_path,
        wider,
        x,
        {"family": "mixture:normal"},
        divergences=("kl",),
        draws_per_input=128,
        verify=0,
    )
    other = scan(config)
    widths = []
    for old, words in ((seeds(0), "the same seed and draws"), (seeds(1), "other")):
        found = compare(old, other, NAMES)
        assert any(words in note for note in found.notes)
        trace = next(c for c in found.changes if c.quantity == "trace")
        widths.append(trace.high - trace.low)
    assert 3 * widths[0] < widths[1]


def test_a_scan_and_its_repetition_show_all_tildes(seeds):
    found = compare(seeds(0), seeds(0).model_copy(deep=True), NAMES)
    assert {change.sign for change in found.changes} == {"~"}
    assert {change.difference for change in found.changes} == {0.0}


def test_the_penalty_is_told_with_its_interval():
    plain, penalised = (
        scan(sample(name)) for name in ("heteroscedastic", "heteroscedastic_fisher")
    )
    found = compare(plain, penalised, NAMES)
    change = next(c for c in found.changes if c.quantity == "eigenvalue")
    assert change.difference == pytest.approx(-0.745, abs=0.01)
    columns = (one.inputs.columns["kl"]["eigenvalue"] for one in (penalised, plain))
    apart = np.subtract(*map(np.array, columns))
    ends = mean_interval([Stratum.of(np.sort(apart))])
    assert (change.low, change.high) == pytest.approx(ends, rel=1e-9)
    assert change.high < 0
    assert found.moved[0].index == 115
    assert "less sensitive" in diff.headline(found)
