"""Bounds of multiply-adds: closed forms, and counts of the graphs of the same nets."""

import math

import pytest
import torch
from scans import sample
from torch import nn

from audit.measure.preparation import prepare
from audit.models.torch_work import _EACH, bound_of
from audit.run.scan import scan

NET = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
X, IMAGE = torch.ones(1, 3), torch.ones(1, 2, 6, 6)


@pytest.mark.parametrize("net", [NET, torch.jit.trace(NET, X)], ids=["eager", "script"])
def test_products_cost_their_multiply_adds_and_other_numbers_a_fixed_share(net):
    """tanh reads five numbers and writes five."""
    assert bound_of(lambda: net(X)) == 3 * 5 + 5 * 2 + _EACH * (5 + 5)


def test_convolutions_cost_their_kernel_for_each_number():
    """Written ones, 4 × 4 of three channels; a transposed one for each that is read."""
    plain, turned = nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(2, 3, 3)
    assert bound_of(lambda: plain(IMAGE)) == 3 * 4 * 4 * (2 * 3 * 3)
    assert bound_of(lambda: turned(IMAGE)) == 2 * 6 * 6 * (3 * 3 * 3)


@pytest.mark.parametrize("hidden", [torch.linalg.inv, torch.sort, torch.fft.fft])
def test_what_may_hide_a_product_or_a_loop_has_no_bound(hidden):
    assert bound_of(lambda: hidden(torch.eye(3))) == math.inf


@pytest.mark.parametrize(
    "name",
    ["counts", "mixture", "digits_cnn", "sunspots_gru", "posterior_forward_kl"],
)
def test_the_bound_is_not_below_the_count_of_the_same_net_as_a_graph(name):
    program = prepare(sample(name, ".pt", limit=2), False).model
    graph = prepare(sample(name, limit=2), False).model
    row = program.subject.first(1)
    assert bound_of(lambda: program.subject.call(row)) >= graph.work > 0


def test_a_small_program_of_torch_is_not_exported_to_be_scanned(monkeypatch):
    def exported(*_):
        raise AssertionError

    monkeypatch.setattr("audit.models.exported.graph_of_module", exported)
    scan(sample("counts", ".pt2", limit=2, verify=2))
    large = prepare(sample("digits_cnn", ".pt2", limit=2), False).model
    with pytest.raises(AssertionError):
        large.takes(2**15)
