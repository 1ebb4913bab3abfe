"""Which candidates rest, because they lie beside a better one: by their distances."""

import torch

from audit.verify.candidates import Candidates, clusters, twins


def points(*rows):
    return torch.tensor([[rows]], dtype=torch.float64)


def test_a_twin_is_a_twentieth_of_the_longer_one_away_or_nearer():
    u = points([1.0, 0.0], [1.0, 0.04], [1.0, 0.06], [0.0, 0.5], [0.0, 0.53])
    assert twins(u).tolist() == [[[False, True, True, False, False]]]
    assert clusters(u).tolist() == [[3]]
    apart = points([1.0, 0.0], [1.0, 0.06], [-1.0, 0.0])
    assert twins(apart).tolist() == [[[False, False, False]]]


def test_candidates_that_never_left_the_input_are_twins():
    assert twins(points([0.0, 0.0], [0.0, 0.0])).tolist() == [[[False, True]]]


def test_the_best_are_kept_in_their_order_and_their_twins_rest():
    u = points([0.0, 1.0], [1.0, 0.0], [1.0, 0.01])
    value = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float64)
    origin = torch.tensor([[[0, 1, 2]]])
    found = Candidates(u, value, origin, origin < 0, value[:, :, 0]).best(3)
    assert found.value.tolist() == [[[3.0, 2.0, 1.0]]]
    assert found.origin.tolist() == [[[2, 1, 0]]]
    assert found.through.tolist() == [[[False, True, False]]]
    assert found.u[0, 0, :, 0].tolist() == [1.0, 1.0, 0.0]
