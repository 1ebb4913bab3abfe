"""Where a function of one number reaches τ: closed forms, jumps, and never."""

import math

import numpy as np
import pytest
import torch

from audit.verify.crossing import REACH, crossings

TAU = 1.0
CURVES = {
    "quadratic": (lambda r: r**2 / 2, math.sqrt(2)),
    "linear": (lambda r: r, 1.0),
    "of the eighth power": (lambda r: r**8, 1.0),
    "exponential": (torch.expm1, math.log(2)),
    "bounded just above": (lambda r: 1.01 * -torch.expm1(-r), math.log(101)),
    "bounded below": (lambda r: 0.9 * -torch.expm1(-r), math.inf),
    "zero": (lambda r: 0 * r, math.inf),
    "a jump to infinity": (lambda r: torch.where(r > 0.37, torch.inf, 0 * r), 0.37),
    "a jump over the level": (lambda r: torch.where(r < 3, 0.5, 7.0) + 0 * r, 3.0),
    "flat, then steep": (lambda r: (r - 0.2).clamp_min(0) * 1e6, 0.2 + 1e-6),
    "infinite at once": (lambda r: torch.full_like(r, torch.inf), 0.0),
    "huge": (lambda r: 1e9 * r, 1e-9),
    "tiny": (lambda r: 1e-5 * r**2, math.sqrt(1e5)),
    "beyond reach": (lambda r: r / (1.01 * REACH), math.inf),
    "bounded by the level": (lambda r: r.clamp_max(1.0), 1.0),
    "bounded by the level, early": (lambda r: (3 * r).clamp_max(1.0), 1 / 3),
    "a jump onto the level": (lambda r: torch.where(r < 0.7, 0.5, 1.0) + 0 * r, 0.7),
    "a jump onto it from zero": (lambda r: torch.where(r < 5, 0.0, 1.0) + 0 * r, 5.0),
}


UNKNOWN = {
    "on the way": ((0.3, 0.6), math.nan),
    "right below": ((0.9, math.sqrt(2)), math.nan),
    "far behind": ((4.1, 100.0), math.sqrt(2)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_on_the_way_leaves_the_radius_unknown(name):
    (low, high), expected = UNKNOWN[name]

    def curve(r):
        return torch.where((r > low) & (r < high), torch.nan, r**2 / 2)

    (found,), _ = solved([curve])
    assert found == pytest.approx(expected, rel=2e-6, nan_ok=True)


def solved(curves, guess=1.0, tau=TAU):
    counts = [0]

    def evaluate(rays, radii):
        counts[0] += radii.numel()
        return torch.stack([curves[i](radii[k]) for k, i in enumerate(rays.tolist())])

    start = torch.full((len(curves),), guess, dtype=torch.float64)
    return crossings(evaluate, start, tau).tolist(), counts[0]


@pytest.mark.parametrize("name", CURVES)
def test_the_level_is_reached_where_the_closed_form_says(name):
    curve, expected = CURVES[name]
    (found,), _ = solved([curve])
    assert found == pytest.approx(expected, rel=2e-6, abs=1e-300)


def test_rays_do_not_disturb_each_other():
    together, _ = solved([curve for curve, _ in CURVES.values()])
    alone = [solved([curve])[0][0] for curve, _ in CURVES.values()]
    np.testing.assert_array_equal(together, alone)


SMOOTH = ("quadratic", "linear", "of the eighth power", "exponential")


@pytest.mark.parametrize("off", [0.0, 1e-10, 1e-7])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_guess_that_is_the_crossing_costs_one_look_below_it(name, off):
    """Five rungs end at the guess; at a rising D no bisection is called for."""
    curve, expected = CURVES[name]
    (found,), count = solved([curve], expected * (1 + off))
    assert found == pytest.approx(expected, rel=1e-9)
    assert count <= 7


PLATEAUS = [name for name in CURVES if "level" in name and "over" not in name]


@pytest.mark.parametrize("beyond", [1e-7, 1e-4, 0.3])
@pytest.mark.parametrize("name", PLATEAUS)
def test_a_guess_on_the_level_leads_back_to_where_it_begins(name, beyond):
    curve, expected = CURVES[name]
    (found,), _ = solved([curve], expected * (1 + beyond))
    assert found == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("guess", [1e-6, 0.01, 1.0, 30.0])
def test_a_poor_guess_costs_steps_and_changes_nothing(guess):
    (found,), count = solved([CURVES["exponential"][0]], guess / 1.0)
    if guess * REACH < math.log(2):
        assert found == math.inf  # a thousand guesses do not reach it
        return
    assert found == pytest.approx(math.log(2), rel=2e-6)
    assert count < 80


def test_a_quadratic_with_its_own_radius_as_guess_takes_few_steps():
    (found,), count = solved([CURVES["quadratic"][0]], math.sqrt(2))
    assert found == pytest.approx(math.sqrt(2), rel=1e-6)
    assert count <= 12


@pytest.mark.parametrize("seed", range(5))
def test_random_monotone_curves_are_solved_to_a_millionth(seed):
    rng = np.random.default_rng(seed)
    parts = rng.lognormal(size=(20, 3)) * [1.0, 1.0, 0.3]
    powers = rng.uniform(0.5, 6, size=(20, 3))

    def curve(k):
        return lambda r: sum(a * r**p for a, p in zip(parts[k], powers[k], strict=True))

    found, _ = solved([curve(k) for k in range(20)], rng.lognormal())
    for k, r in enumerate(found):
        assert curve(k)(r) == pytest.approx(1.0, rel=1e-6)


def hump(start, beyond=math.inf):
    """Return a curve above the level on [r, 2.005 r] of a start r, and beyond."""

    def curve(r):
        above = (r >= start) & (r <= 2.005 * start) | (r >= beyond)
        return torch.where(above, 2.0, 0.5) + 0 * r

    return curve


@pytest.mark.parametrize("rung", range(-4, 10))
@pytest.mark.parametrize("share", [0.505, 0.7, 0.99])
def test_a_hump_as_wide_as_a_factor_of_two_is_never_missed(rung, share):
    """From a sixteenth of the guess to a thousand times it."""
    start = share * 2.0**rung
    (found,), _ = solved([hump(start)])
    assert found == pytest.approx(start, rel=2e-6)


@pytest.mark.parametrize("rung", range(-39, -4))
def test_below_the_ladder_factors_of_two_are_tried_down_to_a_trillionth(rung):
    """Four at a time, as long as D is above the level at all of them."""
    beyond = 2.0 ** (-4 - 4 * ((-5 - rung) // 4))
    (found,), _ = solved([hump(0.99 * 2.0**rung, beyond)])
    assert found == pytest.approx(0.99 * 2.0**rung, rel=2e-6)


@pytest.mark.parametrize("tau", [2.0**-20, 2.0**-3, 2.0**7])
def test_a_level_is_reached_as_a_multiple_of_it_by_the_multiple(tau):
    """r(c D, c τ) = r(D, τ), to the last bit and in as many steps, c a power of two."""
    for name, (curve, _) in CURVES.items():
        (one,), count = solved([curve])
        (other,), steps = solved([lambda r, curve=curve: tau * curve(r)], tau=tau)
        assert (one, count) == (other, steps), name


@pytest.mark.parametrize("name", CURVES)
def test_no_radius_is_asked_for_twice(name):
    asked = []

    def evaluate(rays, radii):
        asked.extend(radii.flatten().tolist())
        return CURVES[name][0](radii)

    crossings(evaluate, torch.tensor([1.0]).double(), TAU)
    assert len(set(asked)) == len(asked)


def test_a_level_that_is_met_on_a_rung_takes_few_steps():
    for guess in (1.0, 0.25, 4.0):
        (found,), count = solved([CURVES["linear"][0]], guess)
        assert found == pytest.approx(1.0, rel=2e-6)
        assert count <= 13


@pytest.mark.parametrize("guess", [1.0, 0.03])
def test_a_thousand_guesses_and_a_trillionth_of_one_are_the_ends(guess):
    """Beyond 1,000 the level counts as not reached, below 2⁻⁴⁰ as reached at once."""

    def jump(at):
        return lambda r: torch.where(r < at * guess, 0.5, 2.0) + 0 * r

    places = [999.0, 1001.0, 1.01 * 2.0**-40, 0.99 * 2.0**-40, 2.0**-42]
    found, _ = solved([jump(place) for place in places], guess)
    wanted = [999.0 * guess, math.inf, 1.01 * 2.0**-40 * guess, 0.0, 0.0]
    assert found == pytest.approx(wanted, rel=2e-6, abs=1e-300)


def test_a_jump_is_found_to_nine_digits():
    """Sixty steps halve the logarithm of a factor of two thirty times at least."""
    for at in (0.37, 3.0, 511.0):
        (found,), _ = solved([lambda r, at=at: torch.where(r < at, 0.5, 2.0) + 0 * r])
        assert found == pytest.approx(at, rel=1e-9)
        assert found >= at * (1 - 1e-12)  # the level is reached there


SMOOTH = {
    "as the square and more": lambda r: r**2 / 2 + r**3,
    "ever steeper": lambda r: torch.expm1(3 * r**2),
    "levelling off": lambda r: 2 * torch.tanh(r**2),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("guess", [0.7, 1.0, 1.3])
def test_between_two_rungs_a_smooth_function_takes_few_steps(name, guess):
    """Bisection from a factor of two to a millionth would take twenty."""
    curve = SMOOTH[name]
    (found,), count = solved([curve], guess)
    assert float(curve(torch.tensor(found, dtype=torch.float64))) == pytest.approx(
        TAU, rel=2e-6
    )
    ladder = 5 if found <= guess else 9
    assert count <= ladder + 6


def test_a_guess_that_is_far_beyond_the_inputs_own_size_is_left_for_it():
    """2⁻⁴⁰ of a radius of 3 counts, not of a guess of 10¹⁰⁰."""

    def jump(at):
        return lambda r: torch.where(r < at, 0.5, 2.0) + 0 * r

    places = [3.0, 1e-9, 1e-18]
    curves = [jump(place) for place in places]

    def evaluate(rays, radii):
        return torch.stack([curves[ray](radii[i]) for i, ray in enumerate(rays)])

    guess, scale = (torch.tensor([v] * 3, dtype=torch.double) for v in (1e100, 3))
    found = crossings(evaluate, guess, 1.0, scale)
    assert found.tolist() == pytest.approx([3.0, 1e-9, 0.0], rel=1e-8, abs=0)


@pytest.mark.parametrize("slope", [1e18, 1e20, 1e30])
def test_a_step_below_the_last_digit_of_an_input_is_no_sign_of_robustness(slope):
    """x = 1 plus less than 2⁻⁵³ is 1, and D of the next number is far above τ."""
    x = torch.ones(1, dtype=torch.float64)

    def evaluate(rays, radii):
        return 0.5 * (slope * ((x + radii) - x)).square()

    guess = torch.tensor([math.sqrt(2) / slope]).double()
    (found,) = crossings(evaluate, guess, 1.0, torch.ones(1).double()).tolist()
    assert found == pytest.approx(2.0**-53, rel=1e-6)
    assert math.isinf(crossings(lambda rays, radii: 0 * radii, guess, 1.0, x).item())
