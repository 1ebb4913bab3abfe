"""Randomness keyed by (seed, index): what each way of sampling promises."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from audit.ground.errors import ConfigError
from audit.nodes.noise import COPIES, Noise

KINDS = ("random", "antithetic", "sobol")
ROWS = np.arange(400)


def noise(draws=256, sampling="random", seed=0, index=ROWS):
    return Noise(seed, np.asarray(index), draws, sampling)


def points(count=2, **options):
    return noise(**options).points(count)


def smooth(u):
    """A function of mean one on the cube."""
    return (1 + (u - 0.5) + 0.5 * (u**2 - 1 / 3)).prod(-1)


@pytest.mark.parametrize("sampling", KINDS)
def test_points_are_uniform_at_every_place_of_every_unit(sampling):
    found = points(sampling=sampling).values  # [S, N, 2]: independent over N
    pvalues = [
        stats.kstest(found[place, :, column], "uniform").pvalue
        for place in (0, 1, 7, 8, 100, 255)
        for column in (0, 1)
    ]
    assert min(pvalues) > 1e-3
    assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize("sampling", KINDS)
def test_units_are_independent_of_each_other(sampling):
    found = points(sampling=sampling, draws=512)
    means = smooth(found.values).reshape(-1, found.unit, len(ROWS)).mean(1)
    one, other = means[0], means[1]
    assert abs(stats.spearmanr(one, other).statistic) < 4 / np.sqrt(len(ROWS))


@pytest.mark.parametrize("sampling", KINDS)
def test_the_spread_of_units_tells_the_error_of_their_mean(sampling):
    found = points(sampling=sampling, draws=512)
    means = smooth(found.values).reshape(-1, found.unit, len(ROWS)).mean(1)
    scores = (means.mean(0) - 1) / (means.std(0) / np.sqrt(len(means)))
    assert 0.85 < scores.square().mean().sqrt() < 1.2


@pytest.mark.parametrize("sampling", KINDS)
def test_an_inputs_points_do_not_depend_on_its_batch(sampling):
    together = points(sampling=sampling, index=[3, 5, 9]).values
    alone = points(sampling=sampling, index=[5]).values
    assert torch.equal(together[:, 1:2], alone)


@pytest.mark.parametrize("sampling", KINDS)
@pytest.mark.parametrize("other", [{"seed": 1}, {"index": ROWS + 1000}])
def test_another_seed_or_index_gives_other_points(sampling, other):
    one = points(sampling=sampling).values
    two = points(sampling=sampling, **other).values
    correlation = np.corrcoef(one[0].flatten(), two[0].flatten())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(one[0].numel())
    assert not torch.isin(two, one).any()


def test_streams_do_not_overlap():
    drawn = noise(draws=4096, index=[0])
    assert not torch.isin(drawn.uniforms(2), drawn.uniforms(2, stream=1)).any()


def test_the_mean_of_a_smooth_function_is_far_closer_by_a_net():
    error = {
        kind: (smooth(points(2, sampling=kind, draws=1024).values).mean(0) - 1).std()
        for kind in KINDS
    }
    assert error["sobol"] < error["random"] / 5
    assert error["antithetic"] < error["random"] / 2


def test_antithetic_points_are_mirrored_pairs():
    found = points(3, sampling="antithetic", draws=64)
    one, other = found.values[0::2], found.values[1::2]
    torch.testing.assert_close(one + other, torch.ones_like(one), atol=0, rtol=1e-15)
    assert found.unit == 2


def test_a_unit_of_a_net_has_one_point_in_every_slice():
    found = points(2, sampling="sobol", draws=32 * 16)
    slices = (found.values[:16] * 16).floor().sort(dim=0).values
    expected = torch.arange(16.0, dtype=torch.float64)[:, None, None]
    assert torch.equal(slices, expected.expand_as(slices))
    assert found.unit == 16


def test_auto_takes_a_net_where_the_draws_fill_one():
    assert noise(1024, "auto").kind(2) == "sobol"
    for draws in (8, 20, 128, 1000, 1056):
        assert noise(draws, "auto").kind(2) == "random"
    assert noise(1024, "auto").kind(21202) == "random"


def test_what_does_not_fill_a_net_is_refused_by_the_number_that_would():
    with pytest.raises(ConfigError, match=f"100 draws(.|\n)*{COPIES} copies"):
        noise(100, "sobol").points(2)
    with pytest.raises(ConfigError, match="21201"):
        noise(1024, "sobol").points(30000)


def test_pairs_need_an_even_number():
    with pytest.raises(ConfigError, match="come in pairs"):
        noise(9, "antithetic").points(2)


def test_no_point_maps_to_infinity():
    found = noise(2**14, index=[0]).uniforms(64)
    assert torch.special.ndtri(found).isfinite().all()
    assert torch.logit(found).isfinite().all()


class Fixed(Noise):
    """Noise whose generators draw one and the same number: 0 or the largest one."""

    least = True

    def generator(self, row, stream):
        low = self.least
        return SimpleNamespace(
            random=lambda size: np.full(size, 0.0 if low else 1 - 2.0**-53),
            integers=lambda end, size: np.full(size, 0 if low else end - 1),
        )


class Largest(Fixed):
    least = False


@pytest.mark.parametrize("sampling", KINDS)
@pytest.mark.parametrize("kind", [Fixed, Largest])
def test_the_rarest_draws_are_inside_the_cube_too(kind, sampling):
    """Between 2⁻⁶⁰ and the last float64 below one: quantiles of both are finite."""
    found = kind(0, np.arange(2), 512, sampling).points(3).values
    assert found.min() >= 2.0**-60
    assert found.max() <= np.nextafter(1, 0)
    assert torch.special.ndtri(found).isfinite().all()
    if sampling == "random":
        expected = 2.0**-60 if kind is Fixed else np.nextafter(1, 0)
        assert (found == expected).all()


def test_an_unshifted_net_lies_in_the_middle_of_cells_of_its_own_corners():
    """k/2³⁰ + ½/2⁵³, with the k of the scrambled net: exact where k/2³⁰ is below ½."""
    found = Fixed(3, np.arange(2), 512, "sobol").points(2)
    net = torch.quasirandom.SobolEngine(2, scramble=True, seed=3)
    corners = net.draw(16, dtype=torch.float64).repeat(COPIES, 1)
    apart = found.values - corners.unsqueeze(1)
    below = found.values < 0.5
    assert below.any()
    assert (apart[below] == 2.0**-54).all()
    assert (apart.abs() <= 2.0**-53).all()


def test_a_digital_shift_is_one_number_of_53_bits_for_a_whole_copy():
    """Below ½ a point is (k + ½)/2⁵³; two points of a copy differ by the net's bits."""
    found = points(2, sampling="sobol", draws=COPIES * 16, index=range(40)).values
    cells = found * 2.0**53
    below = found < 0.5
    assert (cells[below] - 0.5 == cells[below].floor()).all()
    whole = (found * 2.0**30).floor().long().reshape(COPIES, 16, 40, 2)
    between = whole[:, 1:] ^ whole[:, :1]
    assert (between == between[:1, :, :1]).all()  # every copy of every input


@pytest.mark.parametrize("sampling", KINDS)
def test_seeds_are_numbers_of_64_bits(sampling):
    """Any whole number is a seed; those that differ by 2⁶⁴ are one."""
    for seed in (-1, 2**63, 2**64 - 1):
        one, other = (
            points(sampling=sampling, seed=s, index=[4]).values
            for s in (seed, seed + 2**64)
        )
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("draws", "count", "kind"),
    [
        (COPIES * 8, 21201, "sobol"),  # the least net, the most dimensions
        (COPIES * 8, 21202, "random"),
        (COPIES * 4, 2, "random"),
        (COPIES * 24, 2, "random"),  # 24 is no power of two
        (COPIES * 8 + 1, 2, "random"),
    ],
)
def test_a_net_has_eight_points_at_least_and_a_power_of_two(draws, count, kind):
    assert COPIES == 32
    assert noise(draws, "auto").kind(count) == kind
    for asked in ("random", "antithetic"):
        assert noise(2 * draws, asked).kind(count) == asked
    if kind == "random":
        with pytest.raises(ConfigError, match="--draws-per-input 1024"):
            noise(draws, "sobol").kind(count)
    else:
        assert noise(draws, "sobol").kind(count) == "sobol"
