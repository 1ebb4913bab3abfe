"""KL of every family that has a closed form, by mpmath with as many digits as it takes.

The formulas are the textbook's (`FAMILIES.md` lists them), not those of the code.
"""

import mpmath as mp

DIGITS = 60


def normal(p, q):
    (m, s), (n, t) = p, q
    return mp.log(t / s) + (s * s + (m - n) ** 2) / (2 * t * t) - mp.mpf(1) / 2


def laplace(p, q):
    (m, s), (n, t) = p, q
    gap = abs(m - n)
    return mp.log(t / s) + gap / t + s / t * mp.exp(-gap / s) - 1


def gumbel(p, q):
    (m, s), (n, t) = p, q
    tail = mp.exp((n - m) / t + mp.loggamma(1 + s / t))
    return mp.log(t / s) + mp.euler * (s / t - 1) + tail - 1 + (m - n) / t


def cauchy(p, q):
    (m, s), (n, t) = p, q
    return mp.log(((s + t) ** 2 + (m - n) ** 2) / (4 * s * t))


def exponential(p, q):
    return mp.log(p[0] / q[0]) + q[0] / p[0] - 1


def weibull(p, q):
    (a, k), (b, j) = p, q
    tail = mp.exp(j * mp.log(a / b) + mp.loggamma(j / k + 1))
    logs = mp.log(k) - k * mp.log(a) - mp.log(j) + j * mp.log(b)
    return logs + (k - j) * (mp.log(a) - mp.euler / k) + tail - 1


def gamma(p, q):
    (a, b), (c, d) = p, q
    shape = (a - c) * mp.psi(0, a) - mp.loggamma(a) + mp.loggamma(c)
    return shape + c * mp.log(b / d) + a * (d - b) / b


def dirichlet(p, q):
    def partition(concentration):
        return sum(map(mp.loggamma, concentration)) - mp.loggamma(sum(concentration))

    steps = [a - b for a, b in zip(p, q, strict=True)]
    mean = sum(mp.psi(0, a) * step for a, step in zip(p, steps, strict=True))
    mean -= mp.psi(0, sum(p)) * sum(steps)
    return partition(q) - partition(p) + mean


def von_mises(p, q):
    (m, k), (n, j) = p, q
    mean = mp.besseli(1, k) / mp.besseli(0, k)
    ratio = mp.log(mp.besseli(0, j) / mp.besseli(0, k))
    return ratio + mean * (k - j * mp.cos(m - n))


def poisson(p, q):
    return p[0] * mp.log(p[0] / q[0]) - p[0] + q[0]


def bernoulli(p, q):
    pairs = ((p[0], q[0]), (1 - p[0], 1 - q[0]))
    return sum(a * mp.log(a / b) for a, b in pairs if a)


def binomial(p, q):
    return 7 * bernoulli(p, q)


def geometric(p, q):
    return bernoulli(p, q) / p[0]


def negative_binomial(p, q):
    """For the same r."""
    return p[0] / (1 - p[1]) * bernoulli(p[1:], q[1:])


def categorical(p, q):
    p, q = ([v / sum(law) for v in law] for law in (p, q))
    return sum(a * mp.log(a / b) for a, b in zip(p, q, strict=True) if a)


def multinomial(p, q):
    """Of seven choices."""
    return 7 * categorical(p, q)


KL = {
    "normal": normal,
    "log_normal": normal,
    "half_normal": lambda p, q: normal((0, p[0]), (0, q[0])),
    "laplace": laplace,
    "gumbel": gumbel,
    "cauchy": cauchy,
    "exponential": exponential,
    "pareto": exponential,
    "weibull": weibull,
    "gamma": gamma,
    "inverse_gamma": gamma,
    "beta": dirichlet,
    "dirichlet": dirichlet,
    "von_mises": von_mises,
    "poisson": poisson,
    "bernoulli": bernoulli,
    "binomial": binomial,
    "geometric": geometric,
    "negative_binomial": negative_binomial,
    "categorical": categorical,
    "multinomial": multinomial,
    "one_hot_categorical": categorical,
}


def precise(values):
    """Return floats as the numbers that they are."""
    return [mp.mpf(float(value)) for value in values]


def kl(name, phi, other):
    """Return KL between the laws of these floats."""
    with mp.workdps(DIGITS):
        return KL[name](precise(phi), precise(other))
