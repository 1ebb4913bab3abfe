"""The interval of a mean: its parts by independent mathematics, and how often it holds.

The simulations draw laws whose means are known in closed form, and count how often each
end misses. `robaudit` promises 2.5 of 100; a sample without interval claims nothing.
"""

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from audit.ground.means import (
    HEAVIEST,
    Stratum,
    Tail,
    joined,
    mean_interval,
    tail_size,
)
from audit.reports.quantities import FEWEST_VALUES


def unseen(values):
    """Return what a Pareto tail's mean has more than the sample's, and its index."""
    x = [mpmath.mpf(v) for v in sorted(values)]
    n = len(x)
    k = min(n // 4, int(2 * mpmath.sqrt(n)))
    first, third = x[n // 4], x[n - 1 - n // 4]
    begin = max(x[0], first - 3 * (third - first) / 2)
    start, top = x[n - k - 1] - begin, [v - begin for v in x[n - k :]]
    index = sum(mpmath.log(v / start) for v in top) / k
    index *= 1 + 1 / (2 * mpmath.sqrt(k))
    more = mpmath.mpf(k) / n * (start / (1 - index) - sum(top) / k)
    return max(more, 0), index


def expected(groups, shares, level=0.975):
    """Return the ends, Hall's cubic solved for each in 30 digits."""
    with mpmath.workdps(30):
        variance = cumulant = weight = mean = 0
        for values, share in zip(groups, shares, strict=True):
            x, n = [mpmath.mpf(v) for v in values], len(values)
            middle = sum(x) / n
            m2, m3, m4 = (sum((v - middle) ** j for v in x) / n for j in (2, 3, 4))
            square = share**2 * m2 / (n - 1)
            c = (
                m3
                / m2**1.5
                * mpmath.sqrt(n - 1)
                / (n - 2)
                * (1 + mpmath.mpf(17) / 2 / n)
            )
            mean += share * middle
            variance += square
            cumulant += c * square**1.5
            weight += square**2 / min(2 * n / (m4 / m2**2 - 1), n - 1)
        c = cumulant / variance**1.5
        t = mpmath.mpf(stats.t.ppf(level, float(variance**2 / weight)))
        c = max(min(c, mpmath.mpf(11) / 10 / t), -mpmath.mpf(11) / 10 / t)

        def transformed(y, side):
            return y + c * y**2 / 3 + c**2 * y**3 / 27 + c / 6 - side

        roots = [
            mpmath.findroot(
                lambda y, side=side: transformed(y, side), (-60, 60), solver="anderson"
            )
            for side in (t, -t)
        ]
        low, high = (mean - mpmath.sqrt(variance) * root for root in roots)
        for values, share in zip(groups, shares, strict=True):
            low -= share * unseen([-v for v in values])[0]
            high += share * unseen(values)[0]
        return float(low), float(high)


def of(values, **given):
    return Stratum.of(np.sort(np.asarray(values, float)), **given)


def interval(values, level=0.975):
    return mean_interval([of(values)], level)


@pytest.mark.parametrize("level", [0.975, 0.995])
@pytest.mark.parametrize("n", [FEWEST_VALUES, 50, 300])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_ends_are_halls_and_the_tails_pareto_mean(n, level, sign):
    values = sign * np.random.default_rng(n).exponential(size=n) ** 0.9
    found = interval(values, level)
    assert found == pytest.approx(expected([values], [1], level), rel=1e-9)


def test_strata_add_their_cumulants_and_their_tails():
    rng = np.random.default_rng(1)
    groups, shares = [rng.normal(3, 1, 40), rng.random(90)], [0.25, 0.75]
    parts = [of(v, share=w) for v, w in zip(groups, shares, strict=True)]
    assert mean_interval(parts) == pytest.approx(expected(groups, shares), rel=1e-9)
    assert parts[0].share + parts[1].share == 1


def test_a_tail_of_a_stratum_is_counted_from_the_bulk_of_all():
    values = np.linspace(5, 6, 40)
    near, far = of(values).tails, of(values, ends=(0.0, 9.0)).tails
    k = tail_size(40)
    assert near[1].start == pytest.approx(values[39 - k] - 5)
    assert far[1].start == pytest.approx(values[39 - k])
    assert far[0].start == pytest.approx(9 - values[k])
    assert of(values, ends=(5.5, 5.6)).tails == near
    assert far[1].logs == pytest.approx(np.log(values[40 - k :] / values[39 - k]).sum())


@pytest.mark.parametrize("size", [1e-60, 1.0, 1e60])
def test_an_interval_follows_units_places_and_mirrors(size):
    values = np.random.default_rng(3).gamma(2.0, size=64)
    low, high = interval(values)
    assert interval(size * values) == pytest.approx((size * low, size * high))
    assert interval(values + 7) == pytest.approx((low + 7, high + 7))
    assert interval(-values) == pytest.approx((-high, -low))


def test_equal_values_have_no_width_and_few_unlike_ones_no_tail():
    assert interval([3.5] * 40) == (3.5, 3.5)
    same, unlike = of([2.0] * 40, share=0.5), of(range(40), share=0.5)
    low, high = mean_interval([same, unlike])
    alone = interval(range(40))
    assert (low, high) == pytest.approx((1 + alone[0] / 2, 1 + alone[1] / 2))


def test_values_that_stand_out_from_equal_ones_leave_the_mean_open():
    """28 of 32 are the least: whatever the four are, they begin nowhere."""
    assert interval([0.0] * 28 + [1.0] * 4) is None
    assert interval([0.0] * 20 + [1.0] * 12) is not None


@pytest.mark.parametrize(("off", "known"), [(-0.01, True), (0.01, False)])
def test_a_tail_heavier_than_the_heaviest_leaves_the_mean_open(off, known):
    """Quantiles of a Pareto law from the least value, a = 0, with a chosen index."""
    n, k = 64, tail_size(64)
    index = (HEAVIEST + off) / (1 + 1 / (2 * math.sqrt(k)))
    body = np.linspace(0, 1, n - k)
    values = np.r_[body, [math.exp(index)] * k]
    assert (interval(values) is not None) is known
    assert (interval(-values) is not None) is known


def test_a_tail_in_parts_is_the_tail_ties_and_all():
    values = np.sort(np.random.default_rng(4).integers(0, 12, 400) ** 2.0)
    k = tail_size(400)
    threshold = float(values[399 - k])
    whole = of(values).tails[1]
    parts = [
        Tail.of(part[part > threshold], threshold, 0.0) for part in np.split(values, 8)
    ]
    assert joined(parts).start == whole.start == threshold
    assert joined(parts).excess == pytest.approx(whole.excess, rel=1e-14)
    assert joined(parts).logs == pytest.approx(whole.logs, rel=1e-14)
    top = values[400 - k :]
    assert whole.logs == pytest.approx(np.log(top / threshold).sum())
    assert whole.excess == pytest.approx(top.sum() - k * threshold)


LAWS = {
    "normal": (lambda rng, size: rng.standard_normal(size), 0.0),
    "uniform": (lambda rng, size: rng.random(size), 0.5),
    "student": (lambda rng, size: rng.standard_t(3, size), 0.0),
    "multiplied": (
        lambda rng, size: (
            rng.lognormal(sigma=1.5, size=size) * rng.normal(0.06, 0.2, size)
        ),
        0.06 * math.exp(1.125),
    ),
    "exponential": (lambda rng, size: rng.exponential(size=size), 1.0),
    "square": (lambda rng, size: rng.standard_normal(size) ** 2, 1.0),
    "weibull": (lambda rng, size: rng.weibull(0.6, size), math.gamma(1 + 1 / 0.6)),
    "mirrored": (lambda rng, size: -rng.lognormal(size=size), -math.exp(0.5)),
} | {
    f"lognormal {s}": (
        lambda rng, size, s=s: rng.lognormal(sigma=s, size=size),
        math.exp(s * s / 2),
    )
    for s in (0.5, 1.0, 1.5, 2.0, 2.5)
}
LAWS |= {
    f"pareto {a}": (lambda rng, size, a=a: 1 + rng.pareto(a, size), a / (a - 1))
    for a in (2.1, 2.5, 3.5)
}


def mixture(share, rng, size):
    """Draw a few inputs that cost twenty times as much as the others."""
    return np.where(rng.random(size) < share, 20.0, 1.0) * rng.lognormal(0, 0.7, size)


def misses(draw, truth, n, samples):
    """Return the shares of samples that miss, above and below, and that have ends."""
    drawn = np.sort(draw(np.random.default_rng(n), (samples, n)), axis=1)
    found = [mean_interval([Stratum.of(row)]) for row in drawn]
    known = [ends for ends in found if ends is not None]
    above = sum(high < truth for _, high in known) / samples
    below = sum(low > truth for low, _ in known) / samples
    return above, below, len(known) / samples


def allowed(samples):
    """Return 2.5 % and three standard errors of the simulation."""
    return 0.025 + 3 * math.sqrt(0.025 * 0.975 / samples)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("n", [FEWEST_VALUES, 64, 256])
@pytest.mark.parametrize("law", LAWS)
def test_each_end_misses_the_mean_as_seldom_as_it_says(law, n):
    above, below, _ = misses(*LAWS[law], n, 1500)
    assert max(above, below) <= allowed(1500)


@pytest.mark.slow
@pytest.mark.parametrize("n", [FEWEST_VALUES, 64, 128, 256, 1000, 4000, 10_000])
@pytest.mark.parametrize("law", LAWS)
def test_each_end_misses_the_mean_as_seldom_as_it_says_in_many_samples(law, n):
    samples = max(1000, min(6000, 4_000_000 // n))
    above, below, _ = misses(*LAWS[law], n, samples)
    assert max(above, below) <= allowed(samples)


@pytest.mark.parametrize(("share", "n"), [(0.1, 64), (0.1, 256), (0.03, 256)])
def test_a_group_that_is_seldom_missed_altogether_is_covered(share, n):
    assert (1 - share) ** n < 0.0013
    truth = (20 * share + 1 - share) * math.exp(0.245)
    draw = lambda rng, size: mixture(share, rng, size)  # noqa: E731
    above, below, _ = misses(draw, truth, n, 800)
    assert max(above, below) <= allowed(800)


def test_a_group_that_most_samples_miss_is_what_no_interval_can_cover():
    """Bahadur & Savage: such samples are those of the law without the group."""
    share, n = 0.005, 64

    def draw(rng, size):
        return np.where(rng.random(size) < share, 1000.0, 1 + rng.random(size))

    above, _, _ = misses(draw, 1000 * share + 1.5 * (1 - share), n, 300)
    assert above == pytest.approx((1 - share) ** n, abs=0.08)


@pytest.mark.parametrize(
    ("law", "n", "least"),
    [
        ("normal", FEWEST_VALUES, 0.95),
        ("exponential", 64, 0.8),
        ("exponential", 256, 0.99),
        ("lognormal 1.0", 256, 0.85),
        ("lognormal 1.5", 10_000, 0.95),
        ("pareto 2.5", 1000, 0.9),
    ],
)
def test_there_is_an_interval_where_the_mean_can_be_told(law, n, least):
    assert misses(*LAWS[law], n, 200)[2] >= least


@pytest.mark.parametrize("law", ["lognormal 2.0", "lognormal 2.5"])
def test_there_is_hardly_one_where_it_cannot(law):
    assert misses(*LAWS[law], 64, 300)[2] <= 0.03


def test_what_an_exponential_tail_adds_falls_as_the_sample_grows():
    rng, added = np.random.default_rng(6), []
    for n in (64, 4000):
        rows = np.sort(rng.exponential(size=(60, n)), axis=1)
        parts = [Stratum.of(row) for row in rows]
        more = [part.tails[1].unseen(n) for part in parts]
        half = [1.96 * part.error for part in parts]
        added.append(np.median(np.array(more) / np.array(half)))
    assert added[0] == pytest.approx(0.5, abs=0.2)
    assert added[1] < 0.15
