import numpy as np
import pytest
import torch

from audit.families import build_family
from audit.ground.errors import ConfigError, NoFisher
from audit.linalg.stored import Matrix

from .levels import nearly

LEVELS = (0.1, 0.3, 0.35, 0.8)


def family_of(interpolation):
    return build_family(
        "quantile", {"quantiles": (4,)}, levels=LEVELS, interpolation=interpolation
    )


def linear(u, quantiles):
    return np.interp(u, LEVELS, quantiles)


def step(u, quantiles):
    return np.array(quantiles)[np.abs(u[:, None] - np.array(LEVELS)).argmin(-1)]


@pytest.mark.parametrize(
    ("interpolation", "curve"), [("linear", linear), ("step", step)]
)
def test_the_distance_is_that_of_the_interpolated_quantile_functions(
    interpolation, curve
):
    first, second = (0.0, 1.0, 1.5, 4.0), (0.3, 0.6, 1.6, 2.0)
    u = (np.arange(1_000_000) + 0.5) / 1_000_000
    exact = ((curve(u, first) - curve(u, second)) ** 2).mean()
    family = family_of(interpolation)
    phi, other = (torch.tensor([q], dtype=torch.float64) for q in (first, second))
    assert family.transport_distance(phi, other).item() == nearly(exact, 1e-5)
    form = family.transport_root(phi).matmat((other - phi).unsqueeze(-1))
    assert form.square().sum().item() == nearly(exact, 1e-5)


@pytest.mark.parametrize("interpolation", ["linear", "step"])
def test_a_common_shift_costs_its_square(interpolation):
    family = family_of(interpolation)
    phi = torch.zeros(1, 4, dtype=torch.float64)
    assert family.transport_distance(phi, phi + 0.5).item() == pytest.approx(0.25)


def test_fisher_is_refused():
    with pytest.raises(NoFisher, match="a few levels, not a density"):
        family_of("linear").fisher_root(torch.zeros(1, 4, dtype=torch.float64))


def test_a_single_quantile_is_a_shift():
    family = build_family("quantile", {"quantiles": (1,)}, levels=0.5)
    phi = torch.zeros(1, 1, dtype=torch.float64)
    assert family.transport_root(phi).dense().item() == pytest.approx(1.0)
    assert family.distribution(phi).sample((3,)).shape == (3, 1)


@pytest.mark.parametrize(
    ("interpolation", "curve"), [("linear", linear), ("step", step)]
)
def test_the_tail_share_is_that_of_the_levels_beyond_the_outer_ones(
    interpolation, curve
):
    """ΔT² summed over input features and averaged over levels, in and beyond them."""
    rng = np.random.default_rng(2)
    jacobian = rng.normal(size=(4, 3))
    u = (np.arange(1_000_000) + 0.5) / 1_000_000
    squares = sum(curve(u, column) ** 2 for column in jacobian.T)
    beyond = (u < LEVELS[0]) | (u > LEVELS[-1])
    exact = squares[beyond].sum() / squares.sum()
    phi = torch.zeros(2, 4, dtype=torch.float64)
    stacked = np.stack([jacobian, 3 * jacobian])
    share = family_of(interpolation).tail_share(phi, Matrix(torch.tensor(stacked)))
    assert share.tolist() == pytest.approx([exact, exact], rel=1e-5)


def test_a_head_at_rest_has_no_tail_share():
    still = Matrix(torch.zeros(1, 4, 3, dtype=torch.float64))
    share = family_of("linear").tail_share(torch.zeros(1, 4).double(), still)
    assert torch.isnan(share).all()


def test_of_a_product_only_the_quantile_head_assumes_a_tail():
    shapes = {"0.quantiles": (2, 3), "1.loc": (2,), "1.scale": (2,)}
    levels = {"0.levels": (0.2, 0.5, 0.6)}
    family = build_family("quantile,normal", shapes, **levels)
    phi = torch.ones(1, family.size, dtype=torch.float64)
    moved = torch.tensor([[1.0, 2, 0, 0, 0, 3, 1.0, 0, 0, 2]]).double()
    share = family.tail_share(phi, Matrix(moved.unsqueeze(-1)))
    whole = family.transport_root(phi).matmat(moved.unsqueeze(-1)).square().sum()
    assert share.item() == pytest.approx((0.2 * (1 + 4) + 0.4 * 9) / whole.item())
    alone = build_family("normal", {"loc": (), "scale": ()})
    rows = torch.ones(1, 2, dtype=torch.float64)
    assert alone.tail_share(rows, Matrix(rows.unsqueeze(-1))) is None


def test_levels_that_are_missing_or_of_another_axis_are_asked_for_by_name():
    with pytest.raises(ConfigError, match=r"not given its levels.*--option levels="):
        build_family("quantile", {"quantiles": (3,)})
    with pytest.raises(ConfigError, match=r"last axis.*transpose\(OUTPUT\)"):
        build_family("quantile", {"quantiles": (3, 6)}, levels=[0.1, 0.5, 0.9])


@pytest.mark.parametrize(
    "levels", [(0.0, 0.5), (-0.1, 0.5), (0.5, 1.0), (0.5, 1.2), (0.6, 0.4), (0.5, 0.5)]
)
def test_levels_lie_between_nought_and_one_and_increase(levels):
    """At 0 and 1 a law with a density has the quantiles -∞ and ∞."""
    with pytest.raises(ConfigError, match="increase strictly, between 0 and 1"):
        build_family("quantile", {"quantiles": (2,)}, levels=levels)
