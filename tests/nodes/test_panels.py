import numpy as np
import pytest
import torch
from families.levels import nearly
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.families.quadrature import fisher_information, transport_tensor
from audit.families.roots import coordinate_root, semidefinite_root, symmetric
from audit.nodes.lines import REAL
from audit.nodes.panels import Panels, gauss_legendre


def edges(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_weights_integrate_polynomials_of_degree_31():
    panels = Panels(edges(-1.0, 0.5, 2.0))
    total = (panels.weights * panels.nodes**31).sum().item()
    assert total == nearly((2.0**32 - 1) / 32, 1e-13)


def test_cumulative_integrals_are_antiderivatives():
    panels = Panels(edges(-1.0, 0.5, 2.0))
    below, above = panels.cumulative(panels.nodes.cos().unsqueeze(-1))
    exact = panels.nodes.sin()
    torch.testing.assert_close(below[..., 0], exact + np.sin(1.0))
    torch.testing.assert_close(above[..., 0], np.sin(2.0) - exact)


def test_a_scaled_cumulative_integral_reaches_where_doubles_do_not():
    panels = Panels(torch.arange(0.0, 2001.0, 5.0, dtype=torch.float64)[None])
    scale = -panels.edges[:, :-1]
    inside = torch.exp(-(panels.nodes + scale.repeat_interleave(16, -1)))
    _, above = panels.scaled_cumulative(inside.unsqueeze(-1), scale, scale)
    tail = above[0, :-160, 0] / inside[0, :-160]
    torch.testing.assert_close(tail, torch.ones_like(tail), rtol=1e-9, atol=0.0)


def test_a_row_that_is_no_number_leaves_its_neighbours_alone():
    rows = torch.tensor([[0.0, 2.0], [torch.nan, 1.0]], dtype=torch.float64)
    tensor = fisher_information(Normal(), rows)
    assert tensor[0].diagonal().tolist() == pytest.approx([0.25, 0.5])
    assert torch.isnan(tensor[1]).any()


def test_the_rule_is_made_once():
    assert gauss_legendre() is gauss_legendre()


class Normal:
    """A line that shares nothing with the families."""

    chart, limit = REAL, np.inf

    def bulk(self, rows):
        return rows[:, :1], rows[:, 1:]

    def log_density(self, y, rows):
        loc, scale = rows.unbind(-1)
        return -(((y - loc) / scale) ** 2) / 2 - scale.log() - np.log(2 * np.pi) / 2

    def score(self, y, rows):
        loc, scale = rows.unsqueeze(1).unbind(-1)
        z = (y - loc) / scale
        return torch.stack([z / scale, (z**2 - 1) / scale], dim=-1)


@given(loc=st.floats(-1e6, 1e6), exponent=st.floats(-3, 3))
@settings(max_examples=30, deadline=None)
def test_the_engine_knows_the_normal_law_at_any_place_and_scale(loc, exponent):
    scale = 10.0**exponent
    rows = torch.tensor([[loc, scale]], dtype=torch.float64)
    unit = torch.tensor([1.0, 2.0], dtype=torch.float64)
    noise = 1e-12 + 1e-15 * abs(loc) / scale
    fisher = fisher_information(Normal(), rows)[0] * scale**2
    torch.testing.assert_close(fisher, torch.diag(unit), rtol=0, atol=1e3 * noise)
    eye = torch.eye(2, dtype=torch.float64)
    tensor = transport_tensor(Normal(), rows)[0]
    torch.testing.assert_close(tensor, eye, rtol=0, atol=1e3 * noise)


@given(
    size=st.integers(1, 5),
    rank=st.integers(0, 5),
    exponents=st.lists(st.floats(-6, 6), min_size=5, max_size=5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_a_root_squares_to_its_matrix_even_if_singular(size, rank, exponents, seed):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(rank, size, generator=generator, dtype=torch.float64)
    unit = 10.0 ** torch.tensor(exponents[:size], dtype=torch.float64)
    matrix = factor.mT @ factor * unit[:, None] * unit
    root = semidefinite_root(matrix)
    scaled = (root.mT @ root - matrix) / unit[:, None] / unit
    assert scaled.abs().max() < 1e-12 * max(1.0, factor.square().sum().item())


@pytest.mark.parametrize("size", [2, 5])
def test_a_root_of_something_infinite_is_infinite_for_that_parameter_only(size):
    matrix = torch.eye(size).repeat(3, 1, 1)
    matrix[0, 1, 1], matrix[0, 0, 1], matrix[0, 1, 0] = torch.inf, 3.0, 3.0
    matrix[1, 0, 1] = matrix[1, 1, 0] = torch.nan
    root = semidefinite_root(matrix)
    assert root[0, :, 1].isinf().sum() == 1
    rest = root[0].nan_to_num(posinf=0.0)
    assert (rest[:, 0] ** 2).sum() == 1
    assert torch.isnan(root[1]).all()
    assert root[2].abs().tolist() == torch.eye(size).tolist()


def test_entries_are_placed_symmetrically():
    one = torch.ones(3)
    blocks = symmetric({(0, 0): 4 * one, (0, 1): 2 * one, (1, 1): 5 * one})
    assert blocks[0].tolist() == [[4.0, 2.0], [2.0, 5.0]]
    root = coordinate_root(semidefinite_root(blocks)[None])
    assert root.shape == (1, 6, 6)
    square = torch.zeros(6, 6)
    for i in range(3):  # parameter by parameter: the same coordinate is three apart
        square[i, i], square[i + 3, i + 3] = 4.0, 5.0
        square[i, i + 3] = square[i + 3, i] = 2.0
    torch.testing.assert_close(root.dense()[0].mT @ root.dense()[0], square)
