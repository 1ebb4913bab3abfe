"""E[D] of a random attack: its coverage, its pairs, and that each row is by itself."""

import math

import numpy as np
import pytest
import torch
from linalg.intervals.laws import LogLinear, held

from audit.attacks.laws import Gaussian, Moments, RandomDirection
from audit.linalg.decompose import decompose
from audit.linalg.intervals.pilots import FIRST, LEVELS, PILOT, SHARE, SURE
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import Matrix
from audit.nodes.noise import Noise
from audit.verify.far import FARTHER, PROBES
from audit.verify.local import LocalLaw
from audit.verify.paired_values import Evaluated
from audit.verify.pairs import CHOICES, EVEN, Choice
from audit.verify.parted import FEW
from audit.verify.random_attacks import Beside, attack_mean


@pytest.mark.parametrize("sigma", [0.05, 0.2])
@pytest.mark.parametrize("d", [3, 10, 50])
def test_the_interval_holds_the_closed_form(d, sigma):
    """The whole table is printed by tests/benchmarks/bench_coverage.py."""
    law = LogLinear(d, sigma, 400)
    found = law.realised()
    interval = found.interval
    share = held((interval.lower, interval.upper), law.truth)
    assert share >= 0.93
    assert found.apart.upper.equal(interval.upper)


@pytest.mark.parametrize("sigma", [0.05, 0.2])
@pytest.mark.parametrize("d", [3, 10, 50])
def test_the_interval_of_chosen_pairs_holds_the_closed_form(d, sigma):
    law = LogLinear(d, sigma, 400)
    plain, found = law.realised(), law.realised(chosen=True)
    interval = found.interval
    assert held((interval.lower, interval.upper), law.truth) >= 0.93
    assert found.pairs.double().mean() <= 1.01 * plain.pairs.double().mean()


def test_few_pairs_that_miss_the_tail_still_hold_the_mean():
    """D = (1 − e^{−q/50}) 50 of q = z², z normal, has the mean 50 (1 − 1.04^{−1/2}).

    The form is nearly exact, so 24 pairs seem to do; most of them miss that D falls
    behind where q is large, and unchosen pairs with their own kurtosis hold 84 %.
    """
    count, truth = 2000, 50 * (1 - 1.04**-0.5)

    def form(rows, delta):
        return delta.square().sum(dim=2)

    def evaluate(rows, delta):
        q = form(rows, delta)
        return Evaluated(-50 * torch.expm1(-q / 50), 0 * q, q)

    given = Noise(5, np.arange(count), 8), 1, estimate(1.0, count), 0.5, evaluate
    found = attack_mean(Gaussian(1.0), *given, Beside(form=form))
    few = found.pairs == LEVELS[0]
    assert few.sum() > 1500
    ends = (found.interval.lower[few], found.interval.upper[few])
    assert held(ends, truth) >= 0.94


@pytest.mark.parametrize("center", [[0.0, 0.0, 0.0], [1.0, -0.5, 2.0]])
def test_a_choice_by_the_form_has_no_bias(center):
    """Uniform numbers on a grid of K take each pair in its share, to within 1/K."""
    rng, grid = np.random.default_rng(3), 4000
    one, mean = rng.standard_normal((CHOICES, 3)), np.array(center)
    half = torch.from_numpy(one).expand(1, grid, CHOICES, 3)

    def form(rows, delta):
        return delta.square().sum(dim=2) * torch.tensor([2.0]).double()[rows, None]

    choose = Choice(form, torch.tensor([6.0]).double())
    at = (torch.arange(grid).double()[None] + 0.5) / grid
    chosen, weights = choose(torch.tensor([0]), half, torch.from_numpy(mean), at)
    for value in (lambda x: x[..., 0].exp(), lambda x: x.square().sum(axis=-1)):
        found = (weights * value(chosen)).mean()
        assert found.item() == pytest.approx(value(half[0, 0]).mean().item(), rel=2e-3)
    q = one**2 + (2 * mean - one) ** 2  # 2 |δ|² of both ends, halved
    share = q.sum(axis=1) + EVEN * 6
    taken = [(chosen[0] == half[0, :, c]).all(dim=1) for c in range(CHOICES)]
    counted = [one.double().mean().item() for one in taken]
    assert counted == pytest.approx(share / share.sum(), abs=1 / grid)


@pytest.mark.parametrize("broken", [0.0, math.inf, math.nan])
def test_where_the_form_does_not_choose_each_pair_counts_the_same(broken):
    half, mean = torch.randn(2, 50, CHOICES, 3).double(), torch.zeros(3).double()
    expected = torch.tensor([1.0, broken]).double()

    def form(rows, delta):
        return delta.square().sum(dim=2) * expected[rows, None]

    given = torch.arange(2), half, mean, torch.rand(2, 50)
    chosen, weights = Choice(form, expected)(*given)
    assert weights[0].std() > 0
    assert (weights[1] == 1).all()
    assert torch.isfinite(chosen).all()


def test_pairs_are_drawn_where_they_are_needed():
    easy, hard = (LogLinear(d, 0.2, 50).realised().pairs for d in (3, 50))
    assert set(easy.tolist()) <= set(LEVELS)
    assert easy.double().mean() < 100
    assert hard.double().mean() > 900


def quartic(scale):
    """Return what |δ|² plus a share of |δ|⁴ does, by input."""

    def evaluate(rows, delta):
        form = delta.square().sum(dim=2)
        values = form + scale[rows, None] * form.square()
        return Evaluated(values, 0.1 * torch.ones_like(values), form)

    return evaluate


def estimate(value, count, error=None):
    value = torch.full((count,), value).double()
    return Estimate(value, None if error is None else torch.full_like(value, error))


def mean_of(attack, scale, index, predicted, error=None):
    noise, predicted = Noise(5, index, 8), estimate(predicted, len(index), error)
    return attack_mean(attack, noise, 4, predicted, 0.1, quartic(scale))


@pytest.mark.parametrize("attack", [Gaussian(0.3), RandomDirection(1.0)])
def test_a_row_does_not_depend_on_its_neighbours(attack):
    scale = torch.tensor([0.0, 40.0, 0.5, 200.0]).double()
    predicted = 4 * 0.3**2
    whole = mean_of(attack, scale, np.arange(4), predicted)
    assert len(set(whole.pairs.tolist())) > 1
    for row in range(4):
        index = np.array([row])
        alone = mean_of(attack, scale[[row]], index, predicted)
        for name in ("value", "lower", "upper", "standard_error"):
            one, other = getattr(alone.apart, name), getattr(whole.apart, name)
            assert one.item() == pytest.approx(other[row].item(), rel=1e-12, abs=1e-15)


ATTACKS = {
    "gaussian": (Gaussian(0.3), 4 * 0.09, 24 * 0.0081),
    # E ε² = m²/3 and E ε⁴ = m⁴/5
    "random_direction": (RandomDirection(0.8), 0.64 / 3, 0.4096 / 5),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_form_is_subtracted_with_its_own_mean(name):
    attack, second, fourth = ATTACKS[name]
    scale, index = torch.full((300,), 0.7).double(), np.arange(300)
    found = mean_of(attack, scale, index, second, error=1.0)
    truth = second + 0.7 * fourth
    assert held((found.apart.lower, found.apart.upper), truth) >= 0.92


def test_the_values_own_errors_part_only_what_does_not_share_them():
    """At a scale where margins are above 0.1, so that both take the same pairs."""
    scale, index = torch.full((5,), 0.9).double(), np.arange(5)
    attack, second, _ = ATTACKS["gaussian"]
    shared = mean_of(attack, scale, index, second, error=1.0)
    alone = mean_of(attack, scale, index, second)
    wide = shared.apart.widened(0.1 * torch.ones(5).double())
    for name in ("value", "lower", "upper", "standard_error"):
        wanted = getattr(wide, name).tolist()
        for interval in (shared.interval, alone.interval, alone.apart):
            assert getattr(interval, name).tolist() == pytest.approx(wanted, rel=1e-12)
    assert (shared.apart.standard_error < 0.05).all()


def test_no_pairs_are_taken_that_the_values_own_errors_drown():
    """E D = E|δ|² + 2 E|δ|⁴ is held; a known common error e leaves √(h² + e²)."""
    scale, index = torch.full((200,), 2.0).double(), np.arange(200)
    attack, second, fourth = ATTACKS["gaussian"]
    form = quartic(scale)

    def evaluate(rows, delta):
        found = form(rows, delta)
        return Evaluated(found.values, 2 * torch.ones_like(found.values), found.form)

    given = Noise(5, index, 8), 4, estimate(second, 200, 1.0), 0.1
    narrow = attack_mean(attack, *given, form)
    found = attack_mean(attack, *given, evaluate)
    assert found.pairs.double().mean() < narrow.pairs.double().mean() / 4
    own = 1.96 * 2
    total, alone = (
        (one.upper - one.lower).median() / 2 for one in (found.interval, found.apart)
    )
    assert total < math.hypot(1, SHARE) * own
    assert total.item() == pytest.approx(math.hypot(alone, own), rel=0.02)
    truth = second + 2 * fourth
    assert held((found.apart.lower, found.apart.upper), truth) >= 0.93


@pytest.mark.parametrize("probed", [True, False])
def test_the_error_of_a_probed_prediction_is_in_the_mean(probed):
    """The control variate brings it in; D, which shares no draws, does not lose it."""
    attack, second, fourth = ATTACKS["gaussian"]
    scale, n, error = torch.full((300,), 0.7).double(), 300, 0.05 * second
    off = torch.from_numpy(np.random.default_rng(8).normal(size=n)) * error
    predicted = Estimate(second + off, torch.full((n,), error).double())

    def evaluate(rows, delta):
        form = delta.square().sum(dim=2)
        return Evaluated(form + scale[rows, None] * form.square(), 0 * form, form)

    given = Noise(5, np.arange(n), 8), 4, predicted, 0.1, evaluate
    found = attack_mean(attack, *given, Beside(probed=probed)).interval
    share = held((found.lower, found.upper), second + 0.7 * fourth)
    assert (share >= 0.93) if probed else (share < 0.9)


def test_what_of_a_probed_error_is_not_in_the_mean_parts_it_from_the_prediction():
    """β of the error is in the mean and 1 − β beside it; here D is half of the form."""
    n, (attack, second, _) = 5, ATTACKS["gaussian"]

    def evaluate(rows, delta):
        form = delta.square().sum(dim=2)
        return Evaluated(0.5 * form, 0 * form, form)

    given = Noise(5, np.arange(n), 8), 4
    exact, probed = (
        attack_mean(
            attack, *given, estimate(second, n, e), 0.1, evaluate, Beside(e > 0)
        )
        for e in (0.0, 0.3)
    )
    own = exact.interval.standard_error.square()
    beta, rest = (
        (found.standard_error.square() - own).sqrt() / 0.3
        for found in (probed.interval, probed.apart)
    )
    assert beta.tolist() == pytest.approx([0.5] * n, rel=0.02)
    assert (beta + rest).tolist() == pytest.approx([1.0] * n, rel=1e-9)


def test_a_law_with_a_mean_is_mirrored_there():
    """E|δ|² = |μ|² + tr Σ; in a pair odd powers of δ − μ cancel, so D is exact."""
    attack = Moments(np.array([1.0, -2.0]), np.diag([0.5, 0.25]))

    def evaluate(rows, delta):
        apart = delta - torch.tensor([1.0, -2.0]).double()
        form = delta.square().sum(dim=2)
        return Evaluated(form + apart.pow(3).sum(dim=2), 0 * form, form)

    noise, predicted = Noise(0, np.arange(3), 8), estimate(5.3125, 3)
    found = attack_mean(attack, noise, 2, predicted, 0.1, evaluate)
    assert found.interval.value.tolist() == pytest.approx([5.3125] * 3, rel=1e-10)
    assert found.interval.standard_error.max() < 1e-12


def saturating(attack, count, damped):
    """Return E D of D = 1 − e^{−|B δ|²/8} for δ ~ N(0, σ² I), and what is found.

    It is the squared Hellinger distance of normal laws whose means move by B δ, and
    has the form |B δ|²/8; E D = 1 − det(I + σ² BᵀB/4)^{−1/2}.
    """
    b = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 4))) * 8
    form = QuadraticForm(0.125, Matrix(b.expand(count, 2, 4)))

    def evaluate(rows, delta):
        found = form.take(rows)(delta.mT)
        return Evaluated(-torch.expm1(-found), 0 * found, found)

    def means(rows, rates):
        return attack.damped(form.take(rows), rates).unsqueeze(1)

    predicted = attack.expected(form, decompose(form, 1))
    truth = 1 - torch.linalg.det(torch.eye(4) + attack.sigma**2 * b.T @ b / 4) ** -0.5
    given = Noise(5, np.arange(count), 8), 4, predicted, 0.1, evaluate
    return truth.item(), attack_mean(
        attack, *given, Beside(damped=means if damped else None)
    )


def test_a_saturating_divergence_takes_fewer_pairs_and_is_covered():
    truth, plain = saturating(Gaussian(0.3), 400, False)
    _, found = saturating(Gaussian(0.3), 400, True)
    for one in (plain, found):
        assert held((one.interval.lower, one.interval.upper), truth) >= 0.93
    assert found.pairs.double().mean() < plain.pairs.double().mean() / 2
    half = (found.interval.upper - found.interval.lower) / 2
    assert half.median() < 0.05 * truth


RATES = torch.tensor([3e3, 0.5, 2.0]).double()  # at which each axis saturates
STEEP = torch.tensor([4e3, 6.0, 1.5]).double()  # Q = Σ STEEP δ²


def by_axes(attack, count, axes):
    """Return E D and what is found of it, for D that saturates axis by axis.

    D = Σ_k (1 − e^{−r_k q_k})/r_k + ½ (1 − e^{−q_2}) (1 − e^{−q_3}), q_k = λ_k δ_k²,
    has the form Σ q_k, and E e^{−r q_k} = (1 + 2 r λ_k σ²)^{−1/2}.
    """
    law = QuadraticForm(1.0, Matrix(STEEP.sqrt().diag().expand(count, 3, 3)))
    local = LocalLaw(law, None, torch.zeros(count, 3), torch.zeros(count))

    def evaluate(rows, delta):
        q = STEEP * delta.square()
        bent = (-torch.expm1(-RATES * q) / RATES).sum(dim=2)
        both = torch.expm1(-q[..., 1]) * torch.expm1(-q[..., 2]) / 2
        parts = local.along_axes(rows, delta) if axes else ()
        return Evaluated(bent + both, 0 * both, local.at(rows, delta), parts)

    def means(rows, rates):
        return local.damped(attack, rows, rates)[:, : 4 if axes else 1]

    def mean(rate):
        return (1 + 2 * rate * STEEP * attack.sigma**2).rsqrt()

    both = (1 - mean(1.0))[1:].prod() / 2
    truth = ((1 - mean(RATES)) / RATES).sum() + both
    predicted = attack.expected(law, decompose(law, 1))
    given = Noise(5, np.arange(count), 8), 3, predicted, 0.1, evaluate
    return truth.item(), attack_mean(attack, *given, Beside(damped=means))


def test_what_saturates_axis_by_axis_takes_fewer_pairs_and_is_covered():
    truth, whole = by_axes(Gaussian(0.5), 400, False)
    _, found = by_axes(Gaussian(0.5), 400, True)
    for one in (whole, found):
        assert held((one.interval.lower, one.interval.upper), truth) >= 0.93
    assert found.pairs.double().mean() < whole.pairs.double().mean() / 2
    assert (found.pairs >= SURE).double().mean() > 0.9


@pytest.mark.parametrize("where", ["pilot", "sample"])
def test_one_infinite_value_anywhere_is_an_infinite_mean(where):
    sizes = []

    def evaluate(rows, delta):
        sizes.append(delta.shape[1])
        form = delta.square().sum(dim=2)
        values = form.clone()
        if len(sizes) == ("pilot", "far", "sample").index(where) + 1:
            values[-1, 0] = torch.inf
        return Evaluated(values, 0 * form, form)

    noise, predicted = Noise(0, np.arange(2), 8), estimate(0.02, 2)
    found = attack_mean(Gaussian(0.1), noise, 2, predicted, 0.1, evaluate)
    assert sizes == [2 * FIRST, 2 * PROBES, 2 * LEVELS[0]]
    assert math.isfinite(found.interval.value[0])
    assert math.isinf(found.interval.value[1])
    assert math.isinf(found.interval.lower[1])
    assert found.interval.standard_error[1] == 0


@pytest.mark.parametrize("chunk", [1, 48, 100, 4096])
def test_how_many_pairs_are_evaluated_at_a_time_changes_nothing(chunk, monkeypatch):
    scale = torch.tensor([0.0, 40.0, 0.5]).double()
    whole = mean_of(Gaussian(0.3), scale, np.arange(3), 0.36)
    monkeypatch.setattr("audit.verify.random_attacks.CHUNK", chunk)
    other = mean_of(Gaussian(0.3), scale, np.arange(3), 0.36)
    assert torch.equal(whole.pairs, other.pairs)
    for name in ("value", "lower", "upper", "standard_error"):
        one, two = getattr(whole.apart, name), getattr(other.apart, name)
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_a_pilot_grows_where_it_tells_too_little():
    """Its pairs are of stream 1, those of the mean of stream 2, each from its start."""
    asked = []

    def evaluate(rows, delta):
        asked.append((rows.tolist(), delta[-1, : delta.shape[1] // 2]))
        form = delta.square().sum(dim=2)
        bent = torch.tensor([0.0, 40.0]).double()[rows, None]
        return Evaluated(form + bent * form.square(), 0 * form, form)

    noise = Noise(5, np.array([3, 8]), 8)
    found = attack_mean(Gaussian(0.3), noise, 4, estimate(0.36, 2), 0.1, evaluate)
    rows, drawn = ([one[part] for one in asked] for part in (0, 1))
    assert rows.pop(2) == [0, 1]  # far out
    assert len(drawn.pop(2)) == PROBES
    assert rows[:4] == [[0, 1], [1], [0, 1], [1]]
    assert found.pairs.tolist() == [LEVELS[0], LEVELS[-1]]
    for parts, stream, count in ((drawn[:2], 1, PILOT), (drawn[2:], 2, LEVELS[-1])):
        wanted = 0.3 * noise.generator(1, stream).standard_normal((count, 4))
        np.testing.assert_allclose(torch.cat(parts), wanted, rtol=1e-14)


def test_a_pilot_that_had_to_grow_is_not_trusted_with_the_fewest():
    pairs = LogLinear(20, 0.05, 300).realised().pairs
    assert set(pairs.tolist()) <= set(LEVELS) - {48}
    assert (pairs == LEVELS[0]).any()
    assert (pairs == SURE).any()


@pytest.mark.parametrize("chunk", [48, 4096])
def test_shares_of_one_inputs_pairs_add_up_to_the_whole(chunk, monkeypatch):
    """To one for its pilots, and to one for what its sample needs."""
    told = []
    monkeypatch.setattr("audit.verify.random_attacks.CHUNK", chunk)
    monkeypatch.setattr("audit.ground.stages.step", told.append)
    found = mean_of(Gaussian(0.3), torch.tensor([40.0]).double(), np.arange(1), 0.36)
    assert found.pairs.item() > PILOT
    assert sum(told) == pytest.approx(2)


def test_perturbations_are_those_of_philox_and_may_be_drawn_again():
    """Key (seed, input); the last word of the counter is 1 for the pilot, 3 far out."""
    asked = []

    def evaluate(rows, delta):
        asked.append(delta.clone())
        form = delta.square().sum(dim=2)
        return Evaluated(form, 0 * form, form)

    seed, index, size = 5, np.array([3, 8]), 4
    noise, predicted = Noise(seed, index, 8), estimate(0.36, 2)
    attack_mean(Gaussian(0.3), noise, size, predicted, 0.1, evaluate)
    sizes = [2 * FIRST, 2 * PROBES, 2 * LEVELS[0]]
    assert [one.shape[1] for one in asked] == sizes
    scaled = zip(asked, (1, 3, 2), (0.3, 0.3 * FARTHER, 0.3), strict=True)
    for delta, stream, sigma in scaled:
        for row, key in enumerate(index):
            bits = np.random.Philox(
                key=np.array([seed, key], np.uint64),
                counter=np.array([0, 0, 0, stream], np.uint64),
            )
            half = delta.shape[1] // 2
            drawn = sigma * np.random.Generator(bits).standard_normal((half, size))
            expected = np.concatenate([drawn, -drawn])
            np.testing.assert_allclose(delta[row], expected, rtol=1e-14)


def squared(scale):
    """Return D = e^{s |δ|²} − 1, χ² of normal laws whose means move by √s δ."""

    def evaluate(rows, delta):
        form = scale * delta.square().sum(dim=2)
        return Evaluated(torch.expm1(form), 0 * form, form)

    return evaluate


@pytest.mark.parametrize(
    ("sigma", "carried"), [(0.3, False), (0.69, True), (0.8, True)]
)
def test_a_mean_that_lies_in_an_unseen_tail_is_carried_by_single_pairs(sigma, carried):
    """E χ² = 1/√(1 − 2σ²) − 1 for one number, and ∞ from σ² = 1/2 on."""
    noise = Noise(3, np.arange(100), 8)
    predicted = estimate(sigma**2, 100)
    found = attack_mean(Gaussian(sigma), noise, 1, predicted, 0.1, squared(1.0))
    share = found.carried.double().mean()
    truth = 1 / math.sqrt(1 - 2 * sigma**2) - 1 if 2 * sigma**2 < 1 else math.inf
    assert (share > FEW) == carried
    missed = (found.interval.upper < truth).double().mean()
    assert (missed > 0.2) == carried


@pytest.mark.parametrize("scale", [1.0, 40.0, 1e6])
def test_a_mean_of_fourth_powers_is_carried_by_all(scale):
    """δ⁴ has a long tail, and 1024 pairs see it."""
    index = np.arange(100)
    scales = torch.full((100,), scale, dtype=torch.float64)
    found = mean_of(Gaussian(0.3), scales, index, 4 * 0.3**2)
    assert found.carried.double().mean() <= FEW
