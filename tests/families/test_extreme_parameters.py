"""No NaN from any family: root entries are numbers or +∞, divergences ≥ 0 or +∞.

Parameters go as far as a legal parameter goes. Where a quadrature or a sum cannot give
a number there, it says NaN, and `UNKNOWN` says which these are; for parameters within a
factor of a million of each other even those are numbers.
"""

from itertools import product

import mpmath as mp
import numpy as np
import pytest
import torch

from audit.families import FAMILIES, build_family
from audit.ground.errors import NoFisher, NoTransport

from . import exact
from .levels import nearly

PAIRS = 60
SCALE = [1e-300, 1e-100, 1e-8, 1.0, 1e8, 1e100, 1e300]
PLACE = [-1e300, -1e8, 0.0, 1.0, 1e300]
SHAPE = [1e-8, 1e-3, 1.0, 1e4, 1e8]
PROBS = [0.0, 1e-320, 1e-100, 1e-16, 0.3, 1 - 1e-16, 1.0]
LOGITS = [-800.0, -30.0, 0.0, 30.0, 800.0]
COUNT = [0.0, 1e-3, 1.0, 1e12]

EXTREME = {
    "bernoulli": [{"probs": PROBS}, {"logits": LOGITS}],
    "beta": [{"concentration1": SHAPE, "concentration0": SHAPE}],
    "binomial": [{"probs": PROBS}, {"logits": LOGITS}],
    "cauchy": [{"loc": PLACE, "scale": SCALE}],
    "evidential": [
        {
            "loc": [-1e300, 0.0],
            "nu": [1e-8, 1.0, 1e8],
            "alpha": [0.05, 1.0001, 3.0, 1e12],
            "beta": [1e-100, 1.0, 1e100],
        }
    ],
    "exponential": [{"rate": SCALE}],
    "gamma": [{"concentration": SHAPE, "rate": SCALE}],
    "geometric": [{"probs": PROBS}, {"logits": LOGITS}],
    "gumbel": [{"loc": PLACE, "scale": SCALE}],
    "half_normal": [{"scale": SCALE}],
    "inverse_gamma": [{"concentration": [*SHAPE, 2.0001], "rate": SCALE}],
    "laplace": [{"loc": PLACE, "scale": SCALE}],
    "log_normal": [{"loc": PLACE, "scale": SCALE}],
    "logistic": [{"loc": PLACE, "scale": SCALE}],
    "negative_binomial": [
        {"total_count": COUNT, "probs": PROBS},
        {"total_count": COUNT, "logits": LOGITS},
    ],
    "normal": [{"loc": PLACE, "scale": SCALE}],
    "pareto": [{"alpha": [*SHAPE, 2.0001]}, {"scale": SCALE, "alpha": SHAPE}],
    "poisson": [{"rate": [0.0, 1e-320, 1.0, 1e4, 1e12]}],
    "student_t": [
        {
            "df": [1e-3, 0.1, 1.0, 2.0001, 3.0, 1e12],
            "loc": [-1e300, 0.0],
            "scale": [1e-300, 1.0, 1e300],
        }
    ],
    "uniform": [{"low": [-1e300, 0.0, 1e-300], "high": [1e-299, 1.0, 1e300]}],
    "von_mises": [{"loc": [-3.0, 0.0, 100.0], "concentration": [0.0, *SHAPE, 1e300]}],
    "weibull": [{"scale": SCALE, "concentration": SHAPE}],
}
TRIALS = ("binomial", "multinomial")
VECTORS = {
    "categorical": [
        {"probs": [[1, 0, 0], [0.5, 0.5, 0], [1e-320, 0, 1], [1e-16, 1e-300, 1]]},
        {"logits": [[0, 800, -800], [1e300, 0, -1e300], [1e8, 1e8, 1e8 + 1]]},
    ],
    "discrete_hazard": [
        {"probs": list(product([0.0, 1e-320, 1e-16, 0.3, 1.0], repeat=2))},
        {"logits": list(product(LOGITS, repeat=2))},
    ],
    "ordinal": [
        {
            "loc": [-800.0, -30.0, 0.0, 30.0, 1e300],
            "cutpoints": [[-800, 0, 1e-300], [-1e-16, 0, 1e-16], [0, 1, 900]],
        }
    ],
    "dirichlet": [{"concentration": list(product([1e-8, 1.0, 1e8], repeat=3))}],
    "low_rank_multivariate_normal": [
        {
            "loc": [[0.0, 1e300], [0.0, -1.0]],
            "cov_factor": [[[0.0], [1.0]], [[1e-300], [1e140]], [[1e5], [1e5]]],
            "cov_diag": [[1e-8, 1e-8], [1.0, 1e280]],
        }
    ],
    "multivariate_normal": [
        {
            "loc": [[0.0, 1e300], [0.0, 1.0]],
            "scale_tril": [
                [[a, 0.0], [r * b, np.sqrt(1 - r * r) * b]]
                for a, b in [(1, 1), (1e-300, 1e-300), (1e300, 1e300), (1e-140, 1e140)]
                for r in (0.0, 1 - 1e-12, -(1 - 1e-12))
            ],
        }
    ],
    "multinomial": [
        {"probs": [[1, 0, 0], [0.5, 0.5, 0], [1e-320, 0, 1]]},
        {"logits": [[0, 800, -800], [30, 0, 0]]},
    ],
    "one_hot_categorical": [{"logits": [[0, 800, -800], [30, 0, 0]]}],
}
# what a quadrature, or a sum of at most two million terms, does not reach
QUADRATURES = {"cauchy", "gumbel", "laplace", "logistic", "student_t", "weibull"}
QUADRATURES |= {"evidential"}
SUMS = {"geometric", "negative_binomial", "poisson"}
UNKNOWN = {
    "transport_root": {
        "student_t",
        "inverse_gamma",
        "evidential",
    },  # close above a tail index of 2
    "wasserstein_root": {"student_t", "inverse_gamma", "evidential"},
    "linear_root": {"negative_binomial"},
    "kl": {"logistic", "student_t", "negative_binomial", "evidential"},
    "renyi": {*QUADRATURES, "negative_binomial", "multivariate_normal"},
    "jensen_shannon": {*QUADRATURES, *SUMS, "normal", "log_normal", "von_mises"},
    "transport_distance": {
        *SUMS,
        "student_t",
        "inverse_gamma",
        "weibull",
        "evidential",
    },
    "wasserstein_distance": {
        *SUMS,
        "student_t",
        "inverse_gamma",
        "weibull",
        "evidential",
    },
}
EACH = [
    pytest.param(name, grid, id=f"{name}({','.join(grid)})")
    for name, grids in {**EXTREME, **VECTORS}.items()
    for grid in grids
]


DEAR = "negative_binomial(total_count,logits)"
"""Sums of millions of terms; the law is here by its `probs` too."""
FEW = {"beta": 4, "evidential": 3, "gamma": 3}
"""Quadratures of quantiles that take seconds: each n-th of their pairs by default."""


def but_dear(case):
    """Leave a case to the slow suite, all or most of it, if it takes seconds."""
    name, grid = case.values
    dear = case.id == DEAR or name in FEW
    marks = [pytest.mark.slow] if dear else []
    yield pytest.param(name, grid, 1, id=case.id, marks=marks)
    if name in FEW:
        yield pytest.param(name, grid, FEW[name], id=f"{name}(few)")


def test_every_family_is_here():
    unscaled = {"quantile", "samples"}  # no parameter of theirs has a scale
    assert {*EXTREME, *VECTORS, *unscaled} == set(FAMILIES)


def laws(name, grid):
    """The family, and every combination that is one of its laws."""
    options = {"total_count": 7} if name in TRIALS else {}
    shapes = {n: np.shape(values[0]) for n, values in grid.items()}
    family = build_family(name, shapes, **options)
    rows = zip(*product(*grid.values()), strict=True)
    tensors = [torch.tensor(np.array(values, dtype=float)) for values in rows]
    phi = family.pack(dict(zip(grid, tensors, strict=True)))
    wrong = torch.stack(list(family.violations(phi).values())).any(0)
    return family, phi[~wrong]


def pairs_of(family, phi, every=1):
    """Some pairs of different laws, of equal ones, and of close ones; or each n-th."""
    generator = torch.Generator().manual_seed(0)
    many = torch.cartesian_prod(torch.arange(len(phi)), torch.arange(len(phi)))
    some = torch.randperm(len(many), generator=generator)[:PAIRS]
    first, second = phi[many[some]].unbind(1)
    noise = torch.randn(phi.shape, generator=generator, dtype=phi.dtype)
    close = phi * (1 + 1e-7 * noise)
    first, second = torch.cat([first, phi, phi]), torch.cat([second, phi, close])
    wrong = torch.stack(list(family.violations(second).values())).any(0)
    return first[~wrong][::every], second[~wrong][::every]


@pytest.mark.parametrize(("name", "grid"), EACH)
def test_every_entry_of_a_root_is_a_number_or_infinite(name, grid):
    family, phi = laws(name, grid)
    assert len(phi) > 1
    known = 0
    for kind in ("fisher_root", "transport_root", "wasserstein_root", "linear_root"):
        try:
            root = getattr(family, kind)(phi)
        except (NoFisher, NoTransport):
            continue
        if root is not None:
            missing = bool(root.dense().isnan().any())
            assert missing == (name in UNKNOWN.get(kind, ())), kind
            known += 1
    assert known


@pytest.mark.parametrize(
    ("name", "grid", "every"), [one for case in EACH for one in but_dear(case)]
)
def test_every_exact_divergence_is_at_least_zero_or_infinite(name, grid, every):
    family, phi = laws(name, grid)
    first, second = pairs_of(family, phi, every)
    values = {
        "kl": [family.kl(first, second)],
        "renyi": [family.renyi(first, second, alpha) for alpha in (0.5, 1.7)],
        **{
            kind: [getattr(family, kind)(first, second)]
            for kind in ("jensen_shannon", "transport_distance", "wasserstein_distance")
        },
    }
    for kind, found in values.items():
        known = [value for value in found if value is not None]
        assert not any((value < 0).any() for value in known), kind
        missing = any(value.isnan().any() for value in known)
        assert missing == (name in UNKNOWN.get(kind, ())), kind


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("cauchy", {"loc": [-1e3, 0.0], "scale": [1e-3, 1.0, 1e3]}),
        ("gumbel", {"loc": [-1e3, 0.0], "scale": [1e-3, 1.0, 1e3]}),
        ("laplace", {"loc": [-1e3, 0.0], "scale": [1e-3, 1.0, 1e3]}),
        ("log_normal", {"loc": [-1e3, 0.0], "scale": [1e-3, 1.0, 1e2]}),
        ("logistic", {"loc": [-1e3, 0.0], "scale": [1e-3, 1.0, 1e3]}),
        ("normal", {"loc": [-1e3, 0.0], "scale": [1e-3, 1.0, 1e3]}),
        (
            "student_t",
            {"df": [0.01, 2.5, 1e6], "loc": [0.0, 9.0], "scale": [1e-3, 1.0]},
        ),
        ("von_mises", {"loc": [0.0, 2.0], "concentration": [0.0, 1.0, 1e6]}),
        ("weibull", {"scale": [1e-3, 1e3], "concentration": [0.05, 1.0, 1e2]}),
        ("geometric", {"probs": [1e-3, 0.3, 1 - 1e-9]}),
        ("poisson", {"rate": [0.0, 1e-9, 1e4]}),
        ("negative_binomial", {"total_count": [0.1, 9.0], "probs": [0.0, 0.2, 0.9]}),
        ("inverse_gamma", {"concentration": [2.2, 9.0, 1e4], "rate": [1e-3, 1.0, 1e3]}),
    ],
)
def test_within_reason_quadratures_and_sums_are_numbers(name, grid):
    assert any(name in families for families in UNKNOWN.values())
    family, phi = laws(name, grid)
    first, second = pairs_of(family, phi)
    for value in (
        family.kl(first, second),
        family.renyi(first, second, 0.5),
        family.renyi(first, second, 1.7),
        family.jensen_shannon(first, second),
        family.transport_distance(first, second),
    ):
        assert not value.isnan().any()
        assert (value >= 0).all()


FAR = [
    ("normal", (0.3, 1e-30), (0.5, 2.0)),
    ("normal", (0.3, 1e80), (0.5, 2.0)),
    ("log_normal", (0.3, 1e-30), (0.5, 2.0)),
    ("half_normal", (1e-200,), (1.0,)),
    ("laplace", (1e5, 1e-30), (0.5, 2.0)),
    ("gumbel", (0.3, 1e-30), (0.5, 2.0)),
    ("cauchy", (0.3, 1e-200), (0.5, 1e100)),
    ("exponential", (1e-250,), (1e-3,)),
    ("exponential", (1e250,), (1e-3,)),
    ("pareto", (1e-30,), (4.0,)),
    ("weibull", (1e-100, 3.0), (2.0, 0.5)),
    ("gamma", (1e-8, 1e-200), (1e-3, 2.0)),
    ("gamma", (1e8, 1e-2), (1e8 * 1.001, 1.001e-2)),
    ("inverse_gamma", (40.0, 1e200), (1e-6, 3.0)),
    ("beta", (1e-8, 3.0), (1e8, 2.0)),
    ("beta", (1e8, 1e8), (1.001e8, 1.001e8)),
    ("dirichlet", (1e-8, 3.0, 1e6), (1e3, 2.0, 1.0)),
    ("von_mises", (0.1, 1e-3), (2.0, 1e5)),
    ("poisson", (1e-200,), (3.0,)),
    ("bernoulli", (1e-200,), (0.3,)),
    ("binomial", (1e-200,), (0.3,)),
    ("geometric", (1e-12,), (0.3,)),
    ("negative_binomial", (1e9, 0.2), (1e9, 0.3)),
    ("categorical", (1e-200, 0.4, 0.6), (0.3, 0.3, 0.4)),
    ("multinomial", (1e-200, 0.4, 0.6), (0.3, 0.3, 0.4)),
    ("one_hot_categorical", (1e-200, 0.4, 0.6), (0.3, 0.3, 0.4)),
]


def test_every_closed_divergence_has_a_far_law():
    assert {name for name, *_ in FAR} == set(exact.KL)


@pytest.mark.parametrize(("name", "phi", "other"), FAR)
def test_kl_of_very_different_laws(name, phi, other):
    known = FAMILIES[name].parameterizations[0]
    vector = name in {"dirichlet", "categorical", "multinomial", "one_hot_categorical"}
    options = {"total_count": 7} if name in TRIALS else {}
    shapes = dict.fromkeys(known, (len(phi),) if vector else ())
    family = build_family(name, shapes, **options)
    pair = (torch.tensor([law], dtype=torch.float64) for law in (phi, other))
    with mp.workdps(400):
        expected = exact.KL[name](exact.precise(phi), exact.precise(other))
    assert family.kl(*pair).item() == nearly(float(expected), 1e-11)


def test_heavy_tails_of_a_student_law_are_not_cut():
    """A tail x^−0.01 holds a twentieth of its mass beyond 1e150: by y = arsinh x."""
    family = build_family("student_t", {"df": (), "loc": (), "scale": ()})
    phi, other = (0.01, 0.0, 1.0), (3.0, 0.0, 1.0)

    def log_density(nu, y):
        nu = mp.mpf(nu)
        constant = (
            mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2) - mp.log(nu * mp.pi) / 2
        )
        return constant - (nu + 1) / 2 * mp.log1p(mp.sinh(y) ** 2 / nu)

    def loss(y):
        log_p = log_density(phi[0], y)
        density = mp.exp(log_p) * mp.cosh(y)
        return 2 * density * (log_p - log_density(other[0], y))

    with mp.workdps(30):
        expected = mp.quad(loss, [0, 1, 3, 10, 100, 400, 1000, 2000, 4000, 9000])
    pair = (torch.tensor([law], dtype=torch.float64) for law in (phi, other))
    assert family.kl(*pair).item() == nearly(float(expected), 1e-9)


@pytest.mark.parametrize("df", [0.001, 0.02])
def test_a_mixture_of_tails_that_no_panels_reach_is_not_a_number(df):
    shapes = {"logits": (2,), "df": (2,), "loc": (2,), "scale": (2,)}
    family = build_family("mixture:student_t", shapes)
    values = {"logits": [0, 0], "df": [df, 3], "loc": [0, 1], "scale": [1, 1]}
    tensors = {n: torch.tensor([v], dtype=torch.float64) for n, v in values.items()}
    phi = family.pack(tensors)
    tensors["df"] = torch.tensor([[4.0, 3.0]], dtype=torch.float64)
    both = torch.cat([phi, family.pack(tensors)])
    root, kl = family.fisher_root(both).dense(), family.kl(both, both.flip(0))
    assert root.isnan().any(-1).any(-1).tolist() == [True, False]
    assert torch.isnan(kl[0])


def test_a_law_that_no_panels_resolve_leaves_its_neighbours_alone():
    family = build_family("logistic", {"loc": (), "scale": ()})
    phi = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    other = torch.tensor([[1e15, 1.0], [0.5, 1.1]], dtype=torch.float64)
    found = family.jensen_shannon(phi, other)
    assert found.isnan().tolist() == [True, False]
    alone = family.jensen_shannon(phi[1:], other[1:])
    assert found[1].item() == nearly(alone.item(), 1e-13)
    far = family.kl(phi, other)[0].item()  # E |θ − 1e15| − 2 + …
    assert far == nearly(1e15, 1e-13)


@pytest.mark.parametrize("gap", [8.0, 16.0, 24.0, 30.0, 50.0])
def test_the_transport_tensor_between_components_that_do_not_overlap(gap):
    """∂C² / f is huge where f is nothing: ∫ by a trapezoid of its logarithm."""
    shapes = {"logits": (2,), "loc": (2,), "scale": (2,)}
    family = build_family("mixture:normal", shapes)
    phi = torch.tensor([[0.0, 0.0, 0.0, 1.0, gap, 1.0]], dtype=torch.float64)
    root = family.transport_root(phi).dense()[0]
    x = torch.linspace(-9, gap + 9, 400_001, dtype=torch.float64)
    steps = torch.stack([torch.special.ndtr(x), torch.special.ndtr(x - gap)])
    slope = (steps[0] - steps[1]) / 4
    logs = torch.stack([-(x**2), -((x - gap) ** 2)]) / 2 - np.log(2 * np.pi) / 2
    density = logs.logsumexp(0) - np.log(2)
    expected = torch.trapezoid((2 * slope.abs().log() - density).exp(), x).item()
    assert root[:, 0].square().sum().item() == nearly(expected, 1e-5)


@pytest.mark.parametrize(
    ("name", "phi"),
    [("student_t", (0.0, 0.3, 2.0)), ("inverse_gamma", (0.0, 2.0))],
)
@pytest.mark.parametrize(
    ("index", "value"), [(1.5, "inf"), (2.0, "inf"), (2.02, "nan")]
)
def test_a_tensor_without_variance_is_infinite_and_close_to_that_unknown(
    name, phi, index, value
):
    names = FAMILIES[name].parameterizations[0]
    family = build_family(name, dict.fromkeys(names, ()))
    law = torch.tensor([[index, *phi[1:]]], dtype=torch.float64)
    root = family.transport_root(law).dense()[0]
    for parameter, column in zip(names, root.T, strict=True):
        entry = column[column != 0]
        assert [str(v) for v in entry.tolist()] == [
            "1.0" if parameter == "loc" else value
        ]
    (unknown,) = family.transport_caveat(law).values()
    assert unknown.tolist() == [True]


def test_a_shift_costs_its_square_whatever_the_tails():
    family = build_family("student_t", {"df": (), "loc": (), "scale": ()})
    phi = torch.tensor([[1.3, 0.0, 2.0]], dtype=torch.float64)
    shifted, stretched = phi.clone(), phi.clone()
    shifted[0, 1], stretched[0, 2] = 0.5, 2.1
    assert family.transport_distance(phi, shifted).item() == pytest.approx(0.25)
    assert family.transport_distance(phi, stretched).item() == np.inf
    image = family.transport_root(phi).dense()[0, :, 1] * 0.5
    assert image.square().sum().item() == pytest.approx(0.25)


@pytest.mark.parametrize(("df", "value"), [(1.9, np.inf), (2.05, np.nan)])
def test_one_heavy_component_makes_a_mixture_infinite_or_unknown(df, value):
    shapes = {"logits": (2,), "df": (2,), "loc": (2,), "scale": (2,)}
    family = build_family("mixture:student_t", shapes)
    values = {"logits": [0, 0], "df": [df, 9], "loc": [0, 1], "scale": [1, 1]}
    phi = family.pack({n: torch.tensor([v]).double() for n, v in values.items()})
    root = family.transport_root(phi).dense()[0]
    np.testing.assert_equal(root.diagonal().numpy(), value)
    np.testing.assert_equal(family.transport_distance(phi, 1.1 * phi).item(), value)
    assert family.transport_distance(phi, phi).item() == 0
