"""Which candidates rest, because they lie beside a better one: by their distances."""

from types import SimpleNamespace

import torch

from audit.verify.candidates import SHARED, Candidates, Climbers, clusters, twins
from audit.verify.witness import _taken_anew


def points(*rows):
    return torch.tensor([[rows]], dtype=torch.float64)


def test_a_twin_is_a_twentieth_of_the_longer_one_away_or_nearer():
    u = points([1.0, 0.0], [1.0, 0.04], [1.0, 0.06], [0.0, 0.5], [0.0, 0.53])
    assert twins(u).tolist() == [[[False, True, True, False, False]]]
    assert clusters(u).tolist() == [[3]]
    apart = points([1.0, 0.0], [1.0, 0.06], [-1.0, 0.0])
    assert twins(apart).tolist() == [[[False, False, False]]]
    exactly = points([20.0, 0.0], [19.0, 0.0], [-19.0, 0.0], [-20.0, 0.0])
    assert twins(exactly).tolist() == [[[False, True, False, True]]]


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


def test_a_larger_ball_takes_a_smaller_ones_witness_where_its_own_is_lower():
    """It says so, and does not where its own is as high, or the smaller one's none."""
    value = torch.tensor([[1.0, 0.5, 2.0], [torch.nan, 3.0, 3.0]]).double()
    u = torch.arange(6.0).reshape(2, 3, 1, 1).double()
    given = torch.tensor([[[0], [1], [0]], [[1], [1], [0]]])
    start = torch.tensor([[0.5, 0.5, 2.0], [1.0, 1.0, 3.0]]).double()
    one = Candidates(u, value.unsqueeze(2), given, given < 0, start)
    search = SimpleNamespace(
        asked=torch.arange(2),
        exact=lambda rows, moved: (value, moved[:, :, 0] / 10),
        origins=("v1", "v2", SHARED),
        by="ascent",
        blur=0.0,
        sizes=torch.tensor([[0.1, 0.2, 0.3]] * 2).double(),
        p=2.0,
    )
    found = _taken_anew(search, search.exact, one)
    assert found.origin.tolist() == [[0, 2, 0], [1, 1, 0]]
    assert found.value[0].tolist() == [1.0, 1.0, 2.0]
    assert found.value[1, 0].isnan()
    assert found.value[1, 1:].tolist() == [3.0, 3.0]
    assert found.u[:, :, 0].tolist() == [[0.0, 0.0, 2.0], [3.0, 4.0, 5.0]]
    torch.testing.assert_close(found.error, found.u[:, :, 0] / 10)
    assert found.improved.tolist() == [[True, True, False], [False, True, False]]


def test_candidates_rest_that_gain_less_than_three_thousandths_of_what_they_have():
    """Not where they have nothing: that may be a saddle."""
    value = torch.tensor([[[1.0, 1.0, -1.0, 0.0, 0.0]]], dtype=torch.float64)
    gain = torch.tensor([[[2.9e-3, 3.1e-3, 0.0, 0.0, 1.0]]], dtype=torch.float64)
    u, none = torch.zeros(1, 1, 5, 2).double(), torch.zeros(1, 1, 5).long()
    through = torch.zeros(1, 1, 5).bool()
    before = Candidates(u, value, none, through, value[:, :, 0])
    after = Candidates(u, value + gain, none, through, value[:, :, 0])
    climbers = SimpleNamespace(searched=lambda sets, steps: (after, None))
    found = Climbers.on(climbers, before, 7)
    assert found.through.tolist() == [[[True, False, False, False, False]]]
