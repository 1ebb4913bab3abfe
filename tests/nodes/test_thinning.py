"""One node of each stratum: no bias, and an error that is told."""

import numpy as np
import torch

from audit.nodes.thinning import Curve, stratified_error

POINTS, TIMES = 64, 4000


def rule(count=900):
    """Nodes in the plane, and some without weight beside them."""
    rng = np.random.default_rng(5)
    targets = torch.from_numpy(rng.standard_normal((count, 2)))
    weights = torch.from_numpy(rng.random(count) ** 3)
    weights[::7] = 0
    return targets, weights / weights.sum()


def places(curve, times=TIMES, points=POINTS):
    uniforms = np.random.default_rng(9).random((points, times))
    return curve.drawn(torch.from_numpy(uniforms))


def test_each_node_is_taken_as_often_as_it_weighs():
    targets, weights = rule()
    taken = torch.bincount(places(Curve.of(targets, weights)).flatten(), minlength=900)
    expected = weights * POINTS * TIMES
    off = (taken - expected) / expected.clamp_min(1).sqrt()
    assert (taken[weights == 0] == 0).all()
    assert float(off.abs().max()) < 5  # of binomial counts, at most


def test_means_have_no_bias_and_the_error_that_is_told():
    targets, weights = rule()
    g = torch.exp(targets[:, 0] / 2) * torch.sin(targets[:, 1])
    drawn = g[places(Curve.of(targets, weights))]
    means, told = drawn.mean(0), stratified_error(drawn)
    true = float((weights * g).sum())
    spread = float(means.std())
    assert abs(float(means.mean()) - true) < 5 * spread / TIMES**0.5
    mean_square = float(told.square().mean().sqrt())
    assert spread * 0.97 < mean_square < spread * 1.5


def test_strata_leave_far_less_than_draws_do():
    """Of a smooth function in the plane: 1/K, where draws leave K^(−1/2)."""
    unit = (torch.arange(128, dtype=torch.float64) + 0.5) / 128
    targets = torch.cartesian_prod(unit, unit)
    weights = torch.full((len(targets),), 1 / len(targets), dtype=torch.float64)
    g = targets[:, 0] + targets[:, 1] ** 2
    curve = Curve.of(targets, weights)
    few, many = (g[places(curve, 300, count)].mean(0).std() for count in (64, 1024))
    alone = float(g.std()) / 1024**0.5
    assert float(many) < alone / 8
    assert 8 < float(few / many) < 32


def test_nodes_without_weight_change_nothing():
    targets, weights = rule()
    live = weights > 0
    all_, some = Curve.of(targets, weights), Curve.of(targets[live], weights[live])
    assert torch.equal(targets[places(all_)], targets[live][places(some)])
