"""Intervals for the mean of skewed numbers: Hall's, and what a long tail takes.

Squares, divergences and their sums have long upper tails. A sample that has missed the
tail has a small mean and, at once, a small standard deviation s, so that mean ± t s/√n
misses above far more often than it says. Three corrections follow what is seen:

1. Skewness. Hall's monotone cubic of the studentised mean T = √n (mean − μ) / s,

       g(T) = T + c T²/3 + c² T³/27 + c/6,       c = γ/√n,

   has no skewness to second order: g(T) is as symmetric as a normal law's T, and
   μ lies between mean − s/√n g⁻¹(±t), g⁻¹(y) = 3 (cbrt(1 + c (y − c/6)) − 1) / c.
   Johnson's T + c (1/6 + T²/3) is its beginning, and not monotone.
2. The sample's own skewness is too small: by √(n (n−1)) / (n−2) at a normal law, and by
   Hazen's 1 + 8.5/n at skewed ones. The reach of g⁻¹ is longest near c t = 1.1; larger
   c, which shorten it again, count as that.
3. A standard deviation from long tails has fewer than n − 1 degrees of freedom: its
   relative variance is (κ − 1) / 4n for kurtosis κ, that of χ²_ν/ν with ν = 2n/(κ − 1)
   (Satterthwaite). t is Student's quantile at that ν, at most n − 1.

What is not seen, no moment of the sample tells, and moments of the samples that missed
the tail look best. Its order statistics tell more. Of the k = min(n/4, 2√n) largest
values x above the next, u, counted from a, where the bulk begins, Hill's

    H = 1/k Σ log((x − a) / (u − a))

is the index ξ of a Pareto law that continues them: P(X − a > y) ∝ y^{−1/ξ}, with a mean
of (u − a) / (1 − ξ) beyond u. It is taken half a standard error higher, at
ξ = H (1 + 1/(2√k)). What that law's mean has more than the sample's own k values is
added to the upper end; where ξ exceeds `HEAVIEST` the mean may well not exist, and no
interval is given. A lighter tail than Pareto's has an H that falls as n grows, and with
it what is added: for exponential values half of the half width at n = 64, a tenth at
4000. The lower tail is that of the mirrored values. The bulk begins at the least value,
or at Tukey's fence, 1.5 quartile distances below the first quartile: a long lower tail
would hide that the upper one is long.

Strata h of shares W_h are independent: their cumulants W_h² s²/n, W_h³ γ s³/n² add up,
Σ (W_h s_h/√n_h)⁴/ν_h gives ν, and their tails add up, from one bulk.
Where the N inputs that were parted into strata are a sample themselves, there is also
what is between them, with b_h = mean_h − mean, Σ W_h b_h²/N and
Σ W_h (3 s_h² b_h + b_h³)/N²: what is within is in the first terms (Cochran).

How often it holds. Each end misses in at most 2.5 to 3 of 100 samples of 32 to
10⁴ values, where a sample without interval counts as none, for normal, Student (3),
gamma, Weibull, lognormal (σ ≤ 2.5) and Pareto laws of a finite variance, and for
mixtures of two groups; a Pareto law of the exponent 1.5 is missed by up to 4
(tests/ground/test_means.py). No interval for a mean holds for every law (Bahadur &
Savage): a group of fewer than 3.7/n of the inputs is missed by more than 2.5 of 100
samples, e^{−3.7}, which cannot tell how large its values are. Nor does it see that
inputs depend on each other: what comes in clusters is less than its number.

References:
    Cochran, Sampling Techniques (1977), section 12.2, for two phases.
    Bahadur & Savage, The nonexistence of certain statistical procedures in
    nonparametric problems, Annals of Mathematical Statistics 27 (1956).
    Johnson, Modified t tests and confidence intervals for asymmetrical populations,
    JASA 73 (1978).
    Hall, On the removal of skewness by transformation, J. R. Statist. Soc. B 54 (1992).
    Bobée & Robitaille, Correction of bias in the estimation of the coefficient of
    skewness, Water Resources Research 11 (1975), for Hazen's factor.
    Satterthwaite, An approximate distribution of estimates of variance components,
    Biometrics Bulletin 2 (1946).
    Tukey, Exploratory Data Analysis (1977), chapter 2, for the fences.
    Hill, A simple general approach to inference about the tail of a distribution,
    Annals of Statistics 3 (1975); Peng, Estimating the mean of a heavy tailed
    distribution, Statistics & Probability Letters 52 (2001), for the tail's mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.ground.student import interpolated_quantiles

Floats = NDArray[np.float64]
Ends = tuple[float, float]

HEAVIEST = 0.7
_LEVEL = 0.975
_HAZEN = 8.5
_LONGEST = 1.1  # c t at which g⁻¹ reaches farthest


@dataclass(frozen=True)
class Tail:
    """The k largest of n values.

    Args:
        start: u − a, from where the bulk begins to the largest value not in the tail.
        excess: Σ (x − u).
        logs: Σ log((x − a) / (u − a)); ∞ where u is a and some x are not.
    """

    start: float
    excess: float
    logs: float

    @classmethod
    def of(cls, values: Floats, threshold: float, begin: float) -> Tail:
        """Return the tail of the values above a threshold, of a bulk from `begin`."""
        beyond = values[values > threshold]
        start = threshold - begin
        if not len(beyond):
            return cls(start, 0.0, 0.0)
        if start <= 0:
            return cls(0.0, math.inf, math.inf)
        excess = beyond - threshold
        with np.errstate(over="ignore"):
            logs = float(np.log1p(excess / start).sum())
        return cls(start, float(excess.sum()), logs)

    def unseen(self, n: int) -> float:
        """Return what the mean of a Pareto tail has more than this one's; ∞: no mean.

        Args:
            n: values, of which k are in the tail.
        """
        k = tail_size(n)
        index = self.logs / k * (1 + 0.5 / math.sqrt(k))
        if index > HEAVIEST:
            return math.inf
        return max(0.0, (k * self.start * index / (1 - index) - self.excess) / n)


@dataclass(frozen=True)
class Stratum:
    """What n independent values say of their mean.

    Args:
        n: at least 32, to be believed.
        mean: of them.
        powers: the means of (x − mean)², (x − mean)³ and (x − mean)⁴.
        tails: the lower one, of the mirrored values, and the upper one.
        share: of all inputs that they stand for.
    """

    n: int
    mean: float
    powers: tuple[float, float, float]
    tails: tuple[Tail, Tail]
    share: float = 1.0

    @classmethod
    def of(
        cls, values: Floats, ends: Ends | None = None, share: float = 1.0
    ) -> Stratum:
        """Return what values [n] say, ascending, whose fourth powers are finite.

        Args:
            values: [n].
            ends: of the bulk of all strata, where that reaches farther.
            share: of all inputs that they stand for.
        """
        n, k = len(values), tail_size(len(values))
        mean = float(values.mean())
        apart = values - mean
        squares = apart * apart
        powers = (squares, squares * apart, squares * squares)
        own = bulk(values[list(bulk_ranks(n))])
        low, high = min((ends or own)[0], own[0]), max((ends or own)[1], own[1])
        tails = (
            Tail.of(-values[:k], -float(values[k]), -high),
            Tail.of(values[n - k :], float(values[n - k - 1]), low),
        )
        second, third, fourth = (float(power.mean()) for power in powers)
        return cls(n, mean, (second, third, fourth), tails, share)

    @property
    def error(self) -> float:
        """The standard error of the share's mean."""
        return self.share * math.sqrt(self.powers[0] / (self.n - 1))

    @property
    def skewness(self) -> float:
        """That of the mean, c, without its bias."""
        second, third, _ = self.powers
        return third / (second * math.sqrt(second)) * skewness_factor(self.n)

    @property
    def freedom(self) -> float:
        """The degrees of freedom of the error."""
        second, _, fourth = self.powers
        spread = max(fourth / second**2 - 1, 1e-300)
        return min(max(2 * self.n / spread, 1.0), self.n - 1.0)


def joined(parts: Sequence[Tail]) -> Tail:
    """Return one tail of its parts, beyond one threshold."""
    excess, logs = (
        math.fsum(getattr(part, name) for part in parts) for name in ("excess", "logs")
    )
    return Tail(parts[0].start, excess, logs)


def bulk_ranks(n: int) -> tuple[int, int, int, int]:
    """Return the ranks of the ends and of the quartiles of n values."""
    return 0, n // 4, n - 1 - n // 4, n - 1


def bulk(values: Floats) -> Ends:
    """Return where the bulk begins and ends, by the values of its ranks [4]."""
    least, first, third, most = values.tolist()
    reach = 1.5 * (third - first)
    return max(least, first - reach), min(most, third + reach)


def tail_size(n: int) -> int:
    """Return how many of n values are a tail."""
    return min(n // 4, math.isqrt(4 * n))


def mean_interval(
    strata: Sequence[Stratum], level: float = _LEVEL, inputs: float = math.inf
) -> Ends | None:
    """Return the interval of a mean; None where the values know of none.

    Args:
        strata: their shares sum to one; one alone of at least 32 values.
        inputs: N, that were parted into strata.
        level: of each end, above 0.5; 0.975 for an interval of 95 %.
    """
    mean = math.fsum(one.share * one.mean for one in strata)
    between, third = _between(strata, mean, inputs)
    spread = [one for one in strata if one.powers[0] > 0]
    error = math.hypot(*(one.error for one in spread), math.sqrt(between))
    if error == 0:
        return mean, mean
    down, up = (
        math.fsum(one.share * one.tails[side].unseen(one.n) for one in spread)
        for side in (0, 1)
    )
    if not (math.isfinite(down) and math.isfinite(up)):
        return None
    parts = [(one, one.error / error) for one in spread]
    c = math.fsum(one.skewness * part**3 for one, part in parts) + third / error**3
    apart = math.fsum(part**4 / one.freedom for one, part in parts)
    freedom = 1 / (apart + (between / error**2) ** 2 / inputs)
    t = interpolated_quantiles(np.array([max(freedom, 1.0)]), level)
    low, high = hall_ends(np.array([mean]), np.array([error]), t, np.array([c]))
    return float(low[0]) - down, float(high[0]) + up


def _between(
    strata: Sequence[Stratum], mean: float, inputs: float
) -> tuple[float, float]:
    """Return the second and third cumulant of the mean by what parts the strata."""
    apart = [(one, one.mean - mean) for one in strata]
    second = math.fsum(one.share * b**2 for one, b in apart)
    third = math.fsum(one.share * (3 * one.powers[0] * b + b**3) for one, b in apart)
    return second / inputs, third / inputs**2


def hall_ends(
    mean: Floats, error: Floats, t: Floats, c: Floats
) -> tuple[Floats, Floats]:
    """Return the ends of Hall's intervals [...].

    Args:
        mean: [...].
        error: its standard error [...].
        t: Student's quantile for the error [...].
        c: the skewness of the mean [...].
    """
    with np.errstate(invalid="ignore"):
        c = np.clip(c, -_LONGEST / t, _LONGEST / t)
        return mean - error * _inverse_cubic(t, c), mean - error * _inverse_cubic(-t, c)


def skewness_factor(n: int) -> float:
    """Return what makes of a sample's skewness γ that of its mean, c.

    It is zero for two values.
    """
    unbiased = math.sqrt(n * (n - 1)) / max(n - 2, 1) * (1 + _HAZEN / n)
    return unbiased / math.sqrt(n)


def _inverse_cubic(y: Floats, c: Floats) -> Floats:
    """Return g⁻¹(y) = 3 (r − 1) / c = 3 (y − c/6) / (1 + r + r²), r³ = 1 + c (y − c/6).

    The second form needs no division by c.
    """
    apart = y - c / 6
    r = np.cbrt(1 + c * apart)
    found: Floats = 3 * apart / (1 + r + r * r)
    return found
