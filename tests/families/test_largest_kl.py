"""Upper bounds on KL over enclosures: random networks, held against torch's own KL."""

import math

import mpmath
import numpy as np
import pytest
import torch
from importer.relaxed_networks import Net, dense_net
from importer.test_relaxation import POWERS, points, relaxed
from models.saved import graph as model
from torch import distributions as td
from torch.distributions import kl_divergence

from audit.families import build_family, largest_kl
from audit.families.enclosures import Expansion, growth
from audit.families.planar import directions, largest
from audit.ground.errors import NoCertificate
from audit.importer import load_graph
from audit.linalg.gains import largest_gain
from audit.models.enclosed import Enclosed


def halves(eta):
    a, b = eta.chunk(2, dim=-1)
    return a, b.exp()


def independent(law):
    return td.Independent(law, 1)


LAWS = {  # family, shapes of n coordinates, η -> torch's law, numbers in η
    "normal": (
        lambda n: {"loc": (n,), "scale": (n,)},
        lambda eta: independent(td.Normal(*halves(eta))),
        lambda n: 2 * n,
    ),
    "laplace": (
        lambda n: {"loc": (n,), "scale": (n,)},
        lambda eta: independent(td.Laplace(*halves(eta))),
        lambda n: 2 * n,
    ),
    "log_normal": (
        lambda n: {"loc": (n,), "scale": (n,)},
        lambda eta: independent(td.LogNormal(*halves(eta))),
        lambda n: 2 * n,
    ),
    "half_normal": (
        lambda n: {"scale": (n,)},
        lambda eta: independent(td.HalfNormal(eta.exp())),
        lambda n: n,
    ),
    "poisson": (
        lambda n: {"rate": (n,)},
        lambda eta: independent(td.Poisson(eta.exp())),
        lambda n: n,
    ),
    "exponential": (
        lambda n: {"rate": (n,)},
        lambda eta: independent(td.Exponential(eta.exp())),
        lambda n: n,
    ),
    "bernoulli": (
        lambda n: {"logits": (n,)},
        lambda eta: independent(td.Bernoulli(logits=eta)),
        lambda n: n,
    ),
    "categorical": (
        lambda n: {"logits": (n + 1,)},
        lambda eta: td.Categorical(logits=eta),
        lambda n: n + 1,
    ),
}


def certified(name, seed, n, reach, power, rows=3):
    shapes, law, size = LAWS[name]
    graph, shape = dense_net(seed, size(n))
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, *shape)))
    found, at = relaxed(graph, x, reach, power)
    family = build_family(name, shapes(n))
    with torch.no_grad():
        bound = family.largest_kl(Enclosed(found, at, frozenset()))
    return bound, graph, x, law


def gamma_net(seed, n, least):
    """Return x -> (α, ln β), α above `least`."""
    net = Net(np.random.default_rng(seed))
    value = net.dense(net.node("Tanh", net.dense("x", 3, 5)), 5, 2 * n)
    ends = [net.constant([k * n], np.int64) for k in range(3)]
    axis = net.constant([1], np.int64)
    shape, rate = (net.node("Slice", value, *ends[k : k + 2], axis) for k in range(2))
    shape = net.node("Add", net.node("Softplus", shape), net.constant(least))
    return net.graph((3,), net.node("Concat", shape, rate, axis=1))


@pytest.mark.parametrize("name", ["gamma", "inverse_gamma"])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("least", [0.02, 3.0, 500.0])
def test_no_gamma_law_has_a_divergence_above_the_bound(name, n, least):
    def law(eta):
        shape, rate = eta.chunk(2, dim=-1)
        return independent(td.Gamma(shape, rate.exp()))

    for seed, reach in enumerate((1e-3, 0.02, 0.1, 0.4, 1.5)):
        power, graph = POWERS[(seed + n) % 3], gamma_net(seed, n, least)
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, 3)))
        found, at = relaxed(graph, x, reach, power)
        family = build_family(name, {"concentration": (n,), "rate": (n,)})
        with torch.no_grad():
            bound = family.largest_kl(Enclosed(found, at, frozenset()))
        best = worst(graph, x, law, reach, power, seed)
        slack = 1e-13 * (1 + least)  # of torch's own KL
        assert bool((best <= bound + slack).all()), (seed, best, bound)
        if seed == 0:
            assert bool((bound <= 1.2 * best + 10 * slack).all()), (best, bound)


def test_a_shape_that_may_vanish_has_no_finite_bound():
    class Vanishing:
        centre, fixed = torch.tensor([[0.3, 0.0]]).double(), frozenset()
        reach, power = torch.ones(1).double(), 2.0

        def expand(self, weights):
            size = weights.abs().sum(-1)
            return Expansion(size, -size, weights, 0 * size)

    family = build_family("gamma", {"concentration": (1,), "rate": (1,)})
    assert float(family.largest_kl(Vanishing())) == math.inf


def worst(graph, x, law, reach, power, seed, count=300):
    """Return the largest KL over points of the balls, and on an ascent from there."""
    u = points(x, reach, power, count, seed)
    here = law(graph(x)[0].detach())

    def kl(u):
        k = u.shape[1]
        y = graph((x[:, None] + u).flatten(0, 1))[0].reshape(len(x), k, -1)
        return kl_divergence(here.expand((k, len(x))), law(y.transpose(0, 1))).T

    values = kl(u)
    best = values.amax(1)
    u = u.gather(1, values.argmax(1)[:, None, None].expand(-1, 1, u.shape[2]))
    for step in range(30):
        u = u.detach().requires_grad_(True)
        value = kl(u)[:, 0]
        best = torch.maximum(best, value.detach())
        (g,) = torch.autograd.grad(value.sum(), u)
        if power == math.inf:
            to = g.sign()
        elif power == 2.0:
            to = g / g.norm(dim=2, keepdim=True).clamp_min(1e-300)
        else:
            at = g.abs().argmax(2, keepdim=True)
            to = torch.zeros_like(g).scatter(2, at, g.gather(2, at).sign())
        share = 1 / (step + 2)
        u = (1 - share) * u + share * reach * to
    return best.detach()


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("n", [1, 2, 6])
def test_no_point_has_a_divergence_above_the_bound(name, n):
    for seed in range(5):
        power, reach = POWERS[(seed + n) % 3], (1e-3, 0.02, 0.1, 0.4, 1.5)[seed]
        bound, graph, x, law = certified(name, seed + 10 * n, n, reach, power)
        best = worst(graph, x, law, reach, power, seed)
        assert bool((best <= bound + 1e-13).all()), (seed, best, bound)
        if seed == 0:  # a small ball: nothing much is given away
            assert bool((bound <= 1.6 * best + 1e-12).all()), (best, bound)


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("normal", lambda r: (math.expm1(2 * r) - 2 * r) / 2),
        ("laplace", lambda r: math.expm1(r) - r),
    ],
)
@pytest.mark.parametrize("reach", [0.1, 0.6])
def test_scales_that_move_alone_have_the_sum_of_their_largest(name, largest, reach):
    """ln σ_i = x_i within ± r: each ends at the narrowest law, and no μ moves."""
    n = 6
    text = f"g (double[n,{n}] x) => (double[n,{2 * n}] y) {{ y = MatMul(x, w) }}"
    saved = model(text, w=np.hstack([np.zeros((n, n)), np.eye(n)]))
    x = torch.zeros(1, n, dtype=torch.float64)
    found, at = relaxed(load_graph(saved, dtype=torch.float64), x, reach, math.inf)
    family = build_family(name, LAWS[name][0](n))
    bound = family.largest_kl(Enclosed(found, at, frozenset()))
    assert 0 <= float(bound) / (n * largest(reach)) - 1 < 1e-8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_point_of_a_million_has_a_divergence_above_the_bound():
    rng, total = np.random.default_rng(0), 0
    for seed in range(1000, 1200):
        name = list(LAWS)[seed % len(LAWS)]
        n, power = int(rng.integers(1, 7)), POWERS[seed % 3]
        reach = float(10 ** rng.uniform(-3, 0.3))
        bound, graph, x, law = certified(name, seed, n, reach, power, rows=5)
        best = worst(graph, x, law, reach, power, seed, count=1000)
        assert bool((best <= bound * (1 + 1e-9) + 1e-13).all()), (seed, best, bound)
        total += 5 * 1000
    assert total == 10**6


def test_the_bound_of_one_normal_is_near_the_truth_over_an_ellipse():
    """η = (x₁, 0.1 + x₂/2): the truth by a fine scan of the circle, in closed form."""

    class Exact:
        centre = torch.tensor([[0.3, 0.1]], dtype=torch.float64)
        fixed, power = frozenset(), 2.0
        matrix = torch.tensor([[1.0, 0.0], [0.0, 0.5]], dtype=torch.float64)

        def __init__(self, reach):
            self.reach = torch.tensor([reach], dtype=torch.float64)

        def above(self, w):
            return (w @ self.matrix).norm(dim=2) * self.reach

        def expand(self, w):
            top = self.above(w)
            return Expansion(top, -top, w @ self.matrix, torch.zeros_like(top))

    family = build_family("normal", {"loc": (1,), "scale": (1,)})
    angle = torch.linspace(0, 2 * math.pi, 100_001, dtype=torch.float64)
    for reach, ratio in ((1e-3, 1.003), (0.1, 1.005), (1.0, 1.01), (3.0, 1.15)):
        step = reach * torch.stack([angle.cos(), 0.5 * angle.sin()])
        p = td.Normal(Exact.centre[0, 0], Exact.centre[0, 1].exp())
        q = td.Normal(Exact.centre[0, 0] + step[0], (0.1 + step[1]).exp())
        truth = float(kl_divergence(p, q).max())
        bound = float(family.largest_kl(Exact(reach)))
        assert truth * (1 - 1e-9) <= bound <= ratio * truth


@pytest.mark.parametrize("logit", [20.0, 33.0, 80.0])
def test_a_class_that_is_all_but_certain_stays_below_its_bound(logit):
    """1 − p_0 has few digits or none left as a difference; the truth by mpmath."""

    class Free:
        centre = torch.tensor([[logit, 0.0, -logit]], dtype=torch.float64)
        fixed, power = frozenset(), 2.0

        def __init__(self, reach):
            self.reach = torch.tensor([reach], dtype=torch.float64)

        def above(self, w):
            return w.norm(dim=2) * self.reach

        def expand(self, w):
            top = self.above(w)
            return Expansion(top, -top, w, torch.zeros_like(top))

    def kl(z, u):
        p, q = ([mpmath.exp(v) for v in row] for row in (z, np.add(z, u)))
        terms = (
            a / sum(p) * mpmath.log(a * sum(q) / (b * sum(p)))
            for a, b in zip(p, q, strict=True)
        )
        return mpmath.fsum(terms)

    family = build_family("categorical", {"logits": (3,)})
    for reach in (0.01, 0.3):
        with mpmath.workdps(120):
            step = mpmath.mpf(reach) / mpmath.sqrt(2)
            z = [mpmath.mpf(v) for v in (logit, 0.0, -logit)]
            truth = float(kl(z, [-step, step, 0]))
        bound = float(family.largest_kl(Free(reach)))
        assert truth <= bound <= 1.1 * truth


@pytest.mark.parametrize("name", ["student_t", "cauchy", "beta"])
def test_other_families_are_refused_by_name(name):
    shapes = {
        "student_t": {"df": (1,), "loc": (1,), "scale": (1,)},
        "cauchy": {"loc": (1,), "scale": (1,)},
        "beta": {"concentration1": (1,), "concentration0": (1,)},
    }
    family = build_family(name, shapes[name])
    assert not family.enclosed_as
    with pytest.raises(NoCertificate, match=f"the family {name} has none"):
        family.largest_kl(None)


def test_pareto_makes_no_use_of_what_holds_for_its_base():
    assert build_family("pareto", {"scale": (1,), "alpha": (1,)}).enclosed_as == {}


def test_the_growth_of_the_exponential_excess():
    t = torch.tensor([-30.0, -1.0, -1e-5, 0.0, 1e-9, 1e-3, 2.0, 50.0]).double()
    with mpmath.workdps(40):
        expected = [
            float(2 * (mpmath.exp(v) - 1 - v) / v**2) if v else 1.0
            for v in map(mpmath.mpf, t.tolist())
        ]
    np.testing.assert_allclose(growth(t), expected, rtol=1e-11)


def test_a_polygon_holds_what_its_support_values_hold():
    """A function convex in each coordinate over discs and squares, loose sides too."""
    rng = np.random.default_rng(2)
    w = directions(16, torch.zeros(1).double())
    for _ in range(50):
        corners = torch.from_numpy(rng.normal(size=(6, 2)))
        inside = torch.cat([corners, torch.zeros(1, 2).double()])
        h = (w @ inside.T).amax(1)
        h = h * torch.from_numpy(1 + rng.uniform(0, 0.5, 16) * (rng.random(16) < 0.3))
        share = torch.from_numpy(rng.dirichlet(np.ones(7), size=2000))
        x, y = (share @ inside).T

        def function(a, b):  # convex in each, not jointly
            return (-2 * b).exp() * a.square()

        top = largest(function, h[None], 0.0)
        assert float(function(x, y).max()) <= float(top)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("columns", [1, 3, 9, 20])
def test_no_vector_is_stretched_beyond_the_gain(power, columns):
    rng = np.random.default_rng(columns)
    matrix = torch.from_numpy(rng.normal(size=(6, 4, columns)))
    gain = largest_gain(matrix, power)
    u = torch.from_numpy(rng.normal(size=(6, columns, 4000)))
    u = u.sign() if power == math.inf else u
    u = u / torch.linalg.vector_norm(u, ord=power, dim=1, keepdim=True)
    seen = (matrix @ u).norm(dim=1).amax(1)
    assert bool((seen <= gain * (1 + 1e-12)).all())
    if power == 2:
        exact = torch.linalg.matrix_norm(matrix, ord=2)
        torch.testing.assert_close(gain, exact, rtol=1e-9, atol=0)
    if power == 1:
        torch.testing.assert_close(gain, matrix.norm(dim=1).amax(1), rtol=1e-9, atol=0)
    if power == math.inf and columns <= 9:
        torch.testing.assert_close(gain, seen, rtol=1e-9, atol=0)


@pytest.mark.parametrize("count", [2, 3, 10, 60])
def test_the_bound_of_classes_by_their_ends_is_the_best_of_all(count):
    """A convex function of straight pieces: its least value is at one of the knots."""
    rng = np.random.default_rng(count)
    for size in (1e-4, 0.1, 3.0):
        p = rng.dirichlet(np.ones(count), size=8)
        top = rng.uniform(0, size, (8, count))
        bottom = -rng.uniform(0, size, (8, count))
        top[0], bottom[0], bottom[1] = 0, 0, 0
        ends = (torch.from_numpy(v) for v in (top, bottom))
        found = Expansion(*ends, torch.zeros(8, count, 1), torch.zeros(8, count))
        ours = largest_kl._by_ends(torch.from_numpy(p), found)
        for row in range(8):
            u, low, w = top[row], bottom[row], p[row]
            wide = u > low
            knots = (np.expm1(u) - np.expm1(low))[wide] / (u - low)[wide]
            grid = np.concatenate(
                [knots, np.linspace(np.exp(-size), np.exp(size), 301)]
            )
            sums = [
                (w * np.maximum(np.expm1(u) - v * u, np.expm1(low) - v * low)).sum()
                for v in (*grid, 1.0)
            ]
            expected = math.log1p(min(sums))
            np.testing.assert_allclose(ours[row], expected, rtol=1e-9, atol=1e-15)
