"""The mean over an attack: what the form is worth, how many pairs, infinite values."""

import math

import pytest
import torch

from audit.linalg.intervals.controlled import (
    PairMeans,
    axis_weights,
    best_control,
    control_weight,
    controlled_mean,
    damped,
)
from audit.linalg.intervals.means import Interval, mean_interval
from audit.linalg.intervals.pilots import LEVELS, PILOT, SHARE, WIDTH, pairs_needed


def pairs(seed, count=64, inputs=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(inputs, count, generator=generator).double().square()


def test_the_weight_is_the_slope_of_d_over_q_between_zero_and_one():
    form, noise = pairs(0, 400), pairs(1, 400)
    ones = torch.ones(3).double()
    assert control_weight(0.5 * form + 0.01 * noise, form).numpy() == pytest.approx(
        [0.5] * 3, abs=0.01
    )
    assert control_weight(2 * form, form).equal(ones)
    assert control_weight(5 - form, form).equal(0 * ones)
    assert control_weight(form, torch.ones_like(form)).equal(ones)


def test_an_infinite_pilot_has_no_weight():
    form = pairs(0)
    broken = form.clone()
    broken[1, 3] = torch.inf
    wanted = pytest.approx([1.0, 0.0, 1.0], rel=1e-12)
    assert control_weight(broken, form).tolist() == wanted
    assert control_weight(form, broken).tolist() == wanted


def test_an_exact_form_leaves_no_width():
    form = pairs(0)
    expected = torch.tensor([1.0, 2.0, 3.0]).double()
    ones = torch.ones(3, 1).double()
    found = controlled_mean(form + 0.25, form[:, None], expected[:, None], ones)
    for part in (found.value, found.lower, found.upper):
        assert part.numpy() == pytest.approx((expected + 0.25).numpy(), rel=1e-12)
    assert found.standard_error.max() < 1e-15


def test_what_the_form_does_not_explain_is_averaged():
    form, other = pairs(0), pairs(1)
    weight = torch.tensor([[1.0], [0.5], [0.0]]).double()
    expected = torch.ones(3, 1).double()
    found = controlled_mean(other, form[:, None], expected, weight)
    rest = other - weight * (form - 1)
    wanted = mean_interval(rest)
    assert found.value.equal(wanted.value)
    assert found.upper.equal(wanted.upper)
    assert found.lower.equal(wanted.lower.clamp_min(0))


def test_a_form_without_weight_may_be_infinite():
    form = torch.full((3, 1, 64), torch.inf).double()
    expected = torch.full((3, 1), torch.inf).double()
    found = controlled_mean(pairs(1), form, expected, torch.zeros(3, 1).double())
    assert torch.isfinite(found.upper).all()


def test_one_infinite_value_makes_the_mean_infinite_for_certain():
    values = pairs(0)
    values[2, 5] = torch.inf
    none = torch.zeros(3, 1).double()
    found = controlled_mean(values, values[:, None], none + 1, none)
    ends = (found.value[2], found.lower[2], found.upper[2])
    assert all(math.isinf(end) for end in ends)
    assert found.standard_error[2] == 0
    assert torch.isfinite(found.upper[:2]).all()


def saturated(forms):
    """Return what grows to one as the form grows, and what damps the form like it."""

    def means(rates):
        return ((1 - (1 + 2 * rates).rsqrt()) / rates).unsqueeze(1)

    return -torch.expm1(-forms), means


def test_a_damped_form_is_taken_where_it_leaves_less():
    """Forms z² of a normal z: E e^{−s z²} = (1 + 2 s)^{−1/2}."""
    forms = pairs(0, 200)
    values, means = saturated(forms)
    ones = torch.ones(3).double()
    found = best_control(PairMeans(values, forms[:, None], None), ones, means)
    assert found.rate.tolist() == [1.0] * 3
    assert found.weight.numpy() == pytest.approx(1.0, rel=1e-12)
    assert found.expected.numpy() == pytest.approx(1 - 3**-0.5, rel=1e-12)
    mean = found.mean(torch.arange(3), PairMeans(values, forms[:, None], None))
    assert mean.value.numpy() == pytest.approx(1 - 3**-0.5, rel=1e-12)
    assert mean.standard_error.max() < 1e-15


def test_the_form_stays_where_it_is_as_good_or_nothing_is_known():
    forms, ones = pairs(0, 200), torch.ones(3).double()
    values, means = saturated(forms)
    for given, known in ((values, None), (values, lambda _: None), (forms, means)):
        found = best_control(PairMeans(given, forms[:, None], None), ones, known)
        assert found.rate.tolist() == [0.0] * 3
        assert found.expected.equal(ones[:, None])
    broken = values.clone()
    broken[1, 4] = torch.inf
    expected = torch.tensor([1.0, 1, 0]).double()
    rates = best_control(PairMeans(broken, forms[:, None], None), expected, means).rate
    assert rates.tolist() == [1.0, 0.0, 0.0]


def test_a_damped_form_is_the_form_where_that_is_small():
    forms = torch.tensor([0.0, 1e-9, 2.0, torch.inf]).double()
    found = damped(forms, torch.full((4,), 0.5).double())
    wanted = [0.0, 1e-9, 2 * (1 - math.exp(-1)), 2.0]
    assert found.tolist() == pytest.approx(wanted, rel=1e-9)
    assert damped(forms, torch.zeros(4).double()).equal(forms)


def steep_and_flat(inputs):
    """Return D, forms and means for a D that saturates in z₁ alone, Q = 10⁴ z₁² + z₂².

    D = ½ (1 − e^{−z₁²}) + ½ z₂², which neither Q follows nor a damped Q.
    """
    z = torch.stack([pairs(seed, 400, inputs) for seed in (0, 1)], dim=1)
    axes = z * torch.tensor([1e4, 1.0]).double()[:, None]
    forms = torch.cat([axes.sum(dim=1, keepdim=True), axes], dim=1)
    values = -torch.expm1(-z[:, 0]) / 2 + z[:, 1] / 2

    def means(rates):
        rate = rates.unsqueeze(1)
        first, second = ((1 + 2 * s * rate).rsqrt() for s in (1e4, 1.0))
        return (1 - torch.cat([first * second, first, second], dim=1)) / rate

    return values, forms, means


def test_axes_are_damped_one_by_one_where_that_leaves_clearly_less():
    """E ½ (1 − e^{−z²}) = ½ (1 − 3^{−1/2}), and E ½ z² = ½."""
    values, forms, means = steep_and_flat(200)
    expected = torch.full((200,), 1e4 + 1).double()
    pilot, rest = slice(0, PILOT), slice(PILOT, None)
    given = PairMeans(values[:, pilot], forms[:, :, pilot], None)
    whole = PairMeans(given.values, given.forms[:, :1], None)
    found = best_control(given, expected, means)
    alone = best_control(whole, expected, lambda rates: means(rates)[:, :1])
    assert (found.weight[:, 0] == 0).all()
    assert (found.weight[:, 1:] > 0).all(dim=1).double().mean() > 0.95
    assert not found.bound.any()
    rows = torch.arange(200)
    narrow = found.mean(rows, PairMeans(values[:, rest], forms[:, :, rest], None))
    wide = alone.mean(rows, PairMeans(values[:, rest], forms[:, :1, rest], None))
    truth = 1 - 3**-0.5 / 2
    for one in (narrow, wide):
        share = ((one.lower <= truth) & (truth <= one.upper)).double().mean()
        assert share >= 0.92
    error, other = narrow.standard_error.median(), wide.standard_error.median()
    assert error < 0.3 * other


def test_weights_of_several_forms_are_those_of_least_squares():
    forms = torch.stack([pairs(seed, 4000) for seed in (0, 1, 2)], dim=1)
    forms[:, 2] = 0.0
    values = 0.5 * forms[:, 0] + 0.25 * forms[:, 1]
    wanted = pytest.approx([0.5, 0.25, 0.0], rel=1e-3)
    for one in axis_weights(values, forms).tolist():
        assert one == wanted
    for sign, edge in ((-1, 0.0), (3, 1.0)):
        assert axis_weights(sign * values, forms)[:, 0].tolist() == [edge] * 3


def needed(value, half, predicted, own=None, shared=False):
    parts = (value, value - half, value + half, half / 2)
    pilot = Interval(*(torch.tensor([part]).double() for part in parts))
    own = None if own is None else torch.tensor([own]).double()
    predicted = torch.tensor([predicted]).double()
    return pairs_needed(pilot, predicted, 0.1, own, shared).item()


def test_a_wide_pilot_asks_for_as_many_pairs_as_narrow_it():
    wide = WIDTH * math.sqrt(LEVELS[0] / PILOT)
    assert needed(5.0, 0.99 * wide * 5, 2.0) == LEVELS[0]
    assert needed(5.0, 1.01 * wide * 5, 2.0) == LEVELS[1]
    assert needed(5.0, 2.1 * wide * 5, 2.0) == 128  # 24 · 2.1² = 106
    assert needed(5.0, 90 * wide * 5, 2.0) == LEVELS[-1]


def test_a_mean_beside_the_tolerance_asks_for_more_pairs():
    assert needed(1.0, 0.01, 1.0) == LEVELS[0]
    assert needed(1.095, 0.0099, 1.0) == 128
    assert needed(0.9, 0.01, 1.0) == LEVELS[-1]


def test_a_mean_without_doubt_asks_for_no_more_than_the_fewest():
    assert needed(0.0, 0.0, 0.0) == LEVELS[0]
    assert needed(1.1, 0.0, 1.0) == LEVELS[0]
    assert needed(math.inf, 0.0, 1.0) == LEVELS[0]


def test_an_error_that_all_pairs_share_is_not_undercut():
    """Its half width is 1.96 · 0.5, and a `SHARE` of it is narrow enough."""
    half = 1.96 * 0.5
    assert needed(5.0, 2.0, 2.0) == LEVELS[-1]
    assert needed(5.0, 2.0, 2.0, 0.5) == 768  # 32 · (2 / 0.49)² = 533
    assert needed(5.0, 0.999 * SHARE * half, 2.0, 0.5) == 48  # one pilot: 32
    assert needed(5.0, 2.0, 2.0, 1e-9) == LEVELS[-1]
    assert needed(5.0, 2.0, 2.0, math.inf) == LEVELS[-1]


def test_only_an_error_of_the_prediction_too_leaves_the_margin_to_be_resolved():
    """An own error of 0.5 blurs whether 1.095 is below 1.1, unless both have it."""
    assert needed(1.095, 0.0099, 1.0, 0.5) == LEVELS[0]
    assert needed(1.095, 0.0099, 1.0, 0.5, shared=True) == 128
