"""Certificates of the sample models: above every witness, near it, exact where linear.

Witnesses are ascents written here with torch alone, on the TorchScript or pt2 twins of
the ONNX files that the certificates are about.
"""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scans import DATA, SAMPLES, sample, written
from torch import distributions as td
from torch.distributions import kl_divergence

from audit.geometry.divergences import build_divergence, kl
from audit.ground.errors import ConfigError
from audit.importer.relaxation.ball import dual_of
from audit.measure.preparation import prepare
from audit.models import enclosing, torch_to_graph
from audit.models.enclosing import centred
from audit.verify import certificate
from audit.verify.certificate import certified_radius, certify
from audit.verify.sites import precise, site_of

SIZES = (0.003, 0.01, 0.03, 0.1, 0.3)
POWERS = (1.0, 2.0, math.inf)
BEFORE = Path(__file__).with_name("certified_before.npz")


def wide(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def site(config, n=None):
    prepared = prepare(replace(config, divergences=("kl",)), False)
    model, _ = precise(prepared.model)
    return site_of(model, prepared.questions, prepared.rows[:n])


def normal(out):
    return td.Independent(td.Normal(out["loc"], out["log_scale"].exp()), 1)


LAWS = {
    "heteroscedastic": normal,
    "heteroscedastic_jacobian": normal,
    "heteroscedastic_fisher": normal,
    "counts": lambda out: td.Independent(td.Poisson(out["rate"]), 1),
    "digits_cnn": lambda out: td.Categorical(logits=out["logits"]),
    "linear_gaussian": lambda out: td.MultivariateNormal(
        out["loc"], scale_tril=out["scale_tril"]
    ),
}


def twin(name):
    """Return x -> law, by torch alone, in float64, and the data."""
    module = torch.jit.load(str(SAMPLES / f"{name}.pt")).double().eval()
    with np.load(SAMPLES / f"{DATA[name]}.npz") as found:
        x = torch.from_numpy(found["x"].astype(np.float64))

    def law(x):
        out = module(x)
        if not isinstance(out, dict):
            names = {"counts": "rate", "digits_cnn": "logits"}
            out = {names[name]: out[0] if isinstance(out, tuple) else out}
        return LAWS[name](out)

    return law, x


def projected(u, size, p):
    if p == math.inf:
        return u.clamp(-size, size)
    flat = u.flatten(1)
    if p == 2:
        far = (flat.norm(dim=1, keepdim=True) / size).clamp_min(1)
        return (flat / far).reshape(u.shape)
    far = (flat.abs().sum(1, keepdim=True) / size).clamp_min(1)
    return (flat / far).reshape(u.shape)  # inside the ball, if not the nearest point


def witness(law, x, size, p=2.0, starts=6, steps=60, seed=0):
    """Return the largest KL [n] found by ascents from random starts."""
    rng = torch.Generator().manual_seed(seed)
    best = torch.zeros(len(x)).double()
    with torch.no_grad():
        here = law(x)
    for _ in range(starts):
        u = torch.randn(x.shape, generator=rng, dtype=torch.float64)
        u = projected(u * size, size, p)
        for step in range(steps):
            u.requires_grad_(True)
            value = kl_divergence(here, law(x + u))
            best = torch.maximum(best, value.detach())
            (g,) = torch.autograd.grad(value.sum(), u)
            g = g.flatten(1)
            if p == 1:
                at = g.abs().argmax(1, keepdim=True)
                to = torch.zeros_like(g).scatter(1, at, g.gather(1, at).sign())
            else:
                to = g.sign() if p == math.inf else g / g.norm(dim=1, keepdim=True)
            rate = size * (1 - step / steps)
            u = projected(u.detach() + rate * to.reshape(u.shape), size, p)
    return best


@pytest.mark.parametrize("p", POWERS)
def test_a_linear_gaussian_has_the_exact_maximum_as_its_certificate(p):
    with np.load(SAMPLES / "linear_gaussian_truth.npz") as truth:
        kept = {name: truth[name] for name in truth.files}
    law, x = twin("linear_gaussian")
    found = law(x[:1])
    jacobian = torch.autograd.functional.jacobian(lambda v: law(v[None]).loc[0], x[0])
    a = torch.linalg.solve_triangular(found.scale_tril[0], jacobian, upper=False)
    if p == 2:
        gain = float(torch.linalg.matrix_norm(a, ord=2))
    elif p == 1:
        gain = float(a.norm(dim=0).max())
    else:  # every corner of the cube
        corners = torch.cartesian_prod(*[wide(-1, 1)] * a.shape[1])
        gain = float((corners @ a.T).norm(dim=1).max())
    bound = certify(kl(), site(sample("linear_gaussian"), 20), wide(*SIZES), p).bound
    expected = (wide(*SIZES) * gain).square() / 2
    np.testing.assert_allclose(bound, expected.expand(20, -1), rtol=1e-5)
    assert bool((bound >= expected * (1 - 1e-12)).all())
    assert kept


@pytest.mark.parametrize("p", POWERS)
def test_the_certified_radius_of_a_linear_gaussian_is_its_critical_radius(p):
    place = site(sample("linear_gaussian"), 5)
    one = certify(kl(), place, wide(1.0), p).bound[:, 0]
    found = certified_radius(kl(), place, 2.0, p).bound
    exact = (2.0 / one).sqrt()
    assert bool((found <= exact * (1 + 1e-9)).all())
    assert bool((found >= exact * (1 - 2e-3)).all())


def test_the_heteroscedastic_sample_is_certified_near_its_witnesses():
    law, x = twin("heteroscedastic")
    place = site(sample("heteroscedastic"), 150)
    certify(kl(), place, wide(*SIZES), 2.0)
    start = time.process_time()  # which a busy machine hardly changes
    bound = certify(kl(), place, wide(*SIZES), 2.0).bound
    seconds = time.process_time() - start
    assert seconds / 150 / len(SIZES) < 1e-3
    limits = (1.02, 1.06, 1.16, 1.30, 1.70)
    for k, (size, limit) in enumerate(zip(SIZES, limits, strict=True)):
        best = witness(law, x[:150], size, starts=3, steps=40)
        ratio = bound[:, k] / best
        assert float(ratio.min()) >= 1 - 1e-9
        assert float(ratio.median()) <= limit, (size, float(ratio.median()))
    print(f"{1e3 * seconds / 150 / len(SIZES):.2f} ms for a ball")


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("name", ["heteroscedastic_fisher", "counts"])
def test_no_witness_of_a_sample_model_is_above_its_certificate(name, p):
    law, x = twin(name)
    sizes = (0.01, 0.1, 0.5)
    bound = certify(kl(), site(sample(name), 40), wide(*sizes), p).bound
    assert bool(torch.isfinite(bound).all())
    for k, size in enumerate(sizes):
        best = witness(law, x[:40], size, p, starts=2, steps=30)
        assert bool((best <= bound[:, k] * (1 + 1e-9)).all())


def test_the_digits_network_is_certified_at_small_sizes():
    law, x = twin("digits_cnn")
    sizes = (0.003, 0.01, 0.03)
    bound = certify(kl(), site(sample("digits_cnn"), 6), wide(*sizes), 2.0).bound
    for k, size in enumerate(sizes):
        best = witness(law, x[:6], size, starts=3, steps=40)
        ratio = bound[:, k] / best
        print(f"digits, {size:g}: certificate / witness {ratio.median():.3g}")
        assert float(ratio.min()) >= 1 - 1e-9
        assert float(ratio.median()) <= 6


@pytest.mark.parametrize("name", ["digits_cnn", "heteroscedastic"])
def test_no_bound_is_looser_than_it_was(name):
    """By more than rounding: of 64 inputs at five sizes, kept of an older version.

    The older one carried functionals of all elements at once, so that these are held
    against another way to the same bound.
    """
    with np.load(BEFORE) as kept:
        before = torch.from_numpy(kept[name])
    place = site(sample(name), len(before))
    alone = [certify(kl(), place, wide(size), 2.0).bound for size in SIZES]
    assert bool((torch.cat(alone, 1) <= before * (1 + 1e-9)).all())


@pytest.mark.sweep(2)
@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_another_format_has_the_certificate_of_its_onnx_twin(suffix):
    own, other = (
        certify(kl(), site(sample("heteroscedastic", kind), 5), wide(0.05), 2.0).bound
        for kind in (".onnx", suffix)
    )
    torch.testing.assert_close(own, other, rtol=1e-6, atol=0)


@pytest.mark.slow
def test_a_batch_norm_of_an_exported_program_is_not_folded_in_float32():
    """TorchScript's graph keeps it too; the ONNX file has it folded, to 1e-7."""
    exported, scripted, folded = (
        certify(kl(), site(sample("digits_cnn", kind), 3), wide(0.01), 2.0).bound
        for kind in (".pt2", ".pt", ".onnx")
    )
    torch.testing.assert_close(exported, scripted, rtol=1e-7, atol=0)
    torch.testing.assert_close(exported, folded, rtol=1e-3, atol=0)


def test_a_graph_that_an_exporter_rounded_is_not_the_file(monkeypatch):
    """torch's optimiser folds a batch norm into its weights, in float32."""
    monkeypatch.setattr(torch_to_graph, "_normalises", lambda program: False)
    found = certify(kl(), site(sample("digits_cnn", ".pt2"), 3), wide(0.01), 2.0)
    assert found.bound is None
    assert "gives other parameters" in found.why


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sunspots_gru", "the family student_t has none"),
        ("mixture", "the family mixture:normal has none"),
        ("posterior_forward_kl", "the scale_tril of multivariate_normal moves"),
    ],
)
def test_what_has_no_certificate_is_refused_in_words(name, words):
    found = certify(kl(), site(sample(name), 3), wide(0.1), 2.0)
    assert found.bound is None
    assert found.why.startswith(f"no certificate: {words}")
    assert certified_radius(kl(), site(sample(name), 3), 1.0, 2.0).why == found.why


def test_a_graph_is_read_once_for_as_many_inputs(monkeypatch):
    read, reads = enclosing.read, []

    def counted(*given):
        reads.append(given)
        return read(*given)

    monkeypatch.setattr(enclosing, "read", counted)
    place, sizes = site(sample("counts"), 12), wide(0.03, 0.3)
    whole = certify(kl(), place, sizes, 2.0).bound
    first, last = (place.x[rows] for rows in (slice(6), slice(6, 12)))
    parts = [
        centred(place.model, x, {}, place.frame.free, place.frame.unit.double())
        for x in (first, last, first)
    ]
    assert len(reads) == 4  # of twelve, which are kept, and of six each time
    for part, x in zip(parts, (first, last, first), strict=True):
        assert torch.equal(part.tape.x, x.double())
    monkeypatch.setattr("audit.verify.certificate._ROWS", 6)
    place.model.written.clear()
    torch.testing.assert_close(
        certify(kl(), place, sizes, 2.0).bound, whole, rtol=1e-9, atol=0
    )
    assert len(reads) == 5  # for two blocks of six


def test_an_operator_without_a_rule_is_named(tmp_path):
    model = {"family": "normal", "parameters": {"loc": "out", "scale": "1"}}
    x = np.random.default_rng(1).normal(size=(3, 2))
    config = written(tmp_path, lambda v: {"out": v.sin()}, x, model)
    found = certify(kl(), site(config), wide(0.1), 2.0)
    assert found.why == "no certificate: Sin"


@pytest.mark.slow
def test_the_recurrent_sample_is_certified_near_its_witnesses():
    """With its location and a scale of one: KL is half the square of a move."""
    model = {"family": "normal", "parameters": {"loc": "loc", "scale": "1"}}
    place, sizes = site(sample("sunspots_gru", model=model), 3), (0.01, 0.1)
    bound = certify(kl(), place, wide(*sizes), 2.0).bound
    module = torch.jit.load(str(SAMPLES / "sunspots_gru.pt")).double().eval()

    def law(x):
        return td.Independent(td.Normal(module(x)["loc"], 1.0), 1)

    with np.load(SAMPLES / "sunspots.npz") as found:
        x = torch.from_numpy(found["x"][:3].astype(np.float64))
    for k, (size, loose) in enumerate(zip(sizes, (1.1, 5.0), strict=True)):
        best = witness(law, x, size, starts=2, steps=30)
        ratio = bound[:, k] / best
        assert float(ratio.min()) >= 1 - 1e-9
        assert float(ratio.max()) <= loose


@pytest.mark.parametrize("name", ["hellinger", "reverse_kl"])
def test_only_kl_has_a_certificate(name):
    """Bounds of KL(q_η ‖ q_η') say nothing of the other direction."""
    place, other = site(sample("linear_gaussian"), 2), build_divergence(name)
    for found in (
        certify(other, place, wide(0.1), 2.0),
        certified_radius(other, place, 1.0, 2.0),
    ):
        assert found.bound is None
        assert found.why == f"no certificate: the divergence {name} has none"


@pytest.mark.parametrize("size", [0.0, -1.0, math.inf, math.nan])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ConfigError, match="positive finite"):
        certify(kl(), site(sample("linear_gaussian"), 2), wide(0.1, size), 2.0)
    with pytest.raises(ConfigError, match="float64"):
        certify(kl(), site(sample("linear_gaussian"), 2), torch.tensor([0.1]), 2.0)


def test_masks_and_units_shape_the_ball():
    law, x = twin("counts")
    config = replace(sample("counts"), units="std", mask="0:3")
    place = site(config, 10)
    bound = certify(kl(), place, wide(0.2), 2.0).bound[:, 0]
    unit = place.questions.frame.unit.double()
    matrix = torch.zeros(3, x.shape[1]).double()
    matrix[:, :3] = torch.diag(unit)
    best = witness(lambda u: law(x[:10] + u @ matrix), torch.zeros(10, 3).double(), 0.2)
    assert bool((best <= bound).all())
    assert bool((bound <= 1.5 * best).all())


def test_bounds_never_fall_as_balls_grow_whatever_the_order_of_sizes():
    place = site(sample("heteroscedastic"), 20)
    sizes = wide(0.5, 0.01, 1.0, 0.1)
    bound = certify(kl(), place, sizes, math.inf).bound
    rising = bound[:, torch.argsort(sizes)]
    assert bool((rising.diff(dim=1) >= 0).all())


def test_the_radius_holds_for_the_certificate_and_no_witness_reaches_tau_within():
    law, x = twin("heteroscedastic")
    place = site(sample("heteroscedastic"), 10)
    radius = certified_radius(kl(), place, 0.1, 2.0).bound
    assert bool((radius > 0).all())
    for row in range(3):
        size = float(radius[row])
        best = witness(law, x[row : row + 1], size, starts=3, steps=40)
        assert float(best) <= 0.1
        over = certify(kl(), place, wide(1.01 * size), 2.0).bound[row, 0]
        assert float(over) > 0.1


LINKS = {
    "softplus": (
        {"family": "normal", "parameters": {"loc": "a", "scale": "softplus(b) + 0.1"}},
        lambda a, b: td.Normal(a, torch.nn.functional.softplus(b) + 0.1),
    ),
    "variance": (
        {"family": "normal", "parameters": {"loc": "2 * a", "scale": "sqrt(exp(b))"}},
        lambda a, b: td.Normal(2 * a, (b / 2).exp()),
    ),
    "probs": (
        {"family": "bernoulli", "parameters": {"probs": "sigmoid(a - b)"}},
        lambda a, b: td.Bernoulli(logits=a - b),
    ),
    "classes": (
        {"family": "categorical", "parameters": {"probs": "softmax(cat(a, b))"}},
        lambda a, b: td.Categorical(logits=torch.cat([a, b], 1)),
    ),
    "rate": (
        {"family": "exponential", "parameters": {"rate": "exp(a) * 3"}},
        lambda a, b: td.Exponential(3 * a.exp()),
    ),
    "constant": (
        {"family": "normal", "parameters": {"loc": "cat(a, b)", "scale": "0.5"}},
        lambda a, b: td.Normal(torch.cat([a, b], 1), 0.5),
    ),
    "partly": (  # a copy of exp beside a constant: its logarithm is no copy
        {
            "family": "normal",
            "parameters": {
                "loc": "a",
                "scale": "cat(exp(b), pad(exp(b), 0, 1, value=2))",
            },
        },
        lambda a, b: td.Normal(
            a.expand(-1, 3), torch.cat([b.exp(), b.exp(), 0 * b + 2], 1)
        ),
    ),
    "laplace": (
        {"family": "laplace", "parameters": {"loc": "a[:, :1]", "scale": "exp(-b)"}},
        lambda a, b: td.Laplace(a, (-b).exp()),
    ),
    "numbers": (  # each row of a parameter is a number, without an axis
        {"family": "normal", "parameters": {"loc": "a[:, 0]", "scale": "exp(b[:, 0])"}},
        lambda a, b: td.Normal(a[:, 0], b[:, 0].exp()),
    ),
    "a number with a curve": (
        {"family": "bernoulli", "parameters": {"logits": "exp(a[:, 0]) - b[:, 0]"}},
        lambda a, b: td.Bernoulli(logits=a[:, 0].exp() - b[:, 0]),
    ),
}


@pytest.mark.parametrize("p", POWERS)
def test_a_number_that_is_linear_has_the_exact_maximum(tmp_path, p):
    w = torch.tensor([[0.5, 2.0], [-1.5, 0.0], [1.0, 1.0]], dtype=torch.float64)
    model = {"family": "normal", "parameters": {"loc": "out[:, 0]", "scale": "0.5"}}
    x = np.random.default_rng(1).normal(size=(5, 3))
    config = written(tmp_path, lambda v: {"out": v @ w}, x, model)
    gain = float(torch.linalg.vector_norm(w[:, 0], dual_of(p)))
    expected = (wide(0.01, 0.3) * gain / 0.5).square() / 2
    bound = certify(kl(), site(config), wide(0.01, 0.3), p).bound
    np.testing.assert_allclose(bound, expected.expand(5, -1), rtol=1e-6)
    assert bool((bound >= expected * (1 - 1e-12)).all())


@pytest.mark.parametrize("link", LINKS)
def test_links_of_a_head_are_carried_through(link, tmp_path):
    model, law = LINKS[link]
    rng = np.random.default_rng(4)
    first, second = (torch.from_numpy(rng.normal(size=s)) for s in ((4, 8), (8, 2)))
    x = rng.normal(size=(6, 4))

    def head(v):
        hidden = torch.tanh(v @ first) @ second
        return {"a": hidden[:, :1], "b": hidden[:, 1:]}

    config = written(tmp_path, head, x, model=model)
    place = site(config)
    sizes = (0.01, 0.1)
    certified = certify(kl(), place, wide(*sizes), 2.0)
    assert certified.bound is not None, certified.why

    def twin_law(v):
        made = law(**head(v))
        return td.Independent(made, len(made.batch_shape) - 1)

    for k, size in enumerate(sizes):
        best = witness(twin_law, torch.from_numpy(x), size, starts=3, steps=40)
        ratio = certified.bound[:, k] / best
        assert float(ratio.min()) >= 1 - 1e-9
        assert float(ratio.median()) <= 1.5


def test_probabilities_that_float64_blurs_are_certified(tmp_path):
    model = {"family": "bernoulli", "parameters": {"probs": "p"}}
    x = np.stack([np.linspace(-2.2, 2.2, 30), np.linspace(0, 0.3, 30)], 1)

    def head(v):
        return {"p": torch.sigmoid(10 * v[:, :1] + v[:, 1:])}

    config = written(tmp_path, head, x, model=model)
    found = certify(kl(), site(config), wide(0.1), 2.0)
    assert found.bound is not None, found.why
    logit, step = torch.from_numpy(x) @ wide(10.0, 1.0), 0.1 * math.sqrt(101)
    best = torch.stack(
        [
            kl_divergence(td.Bernoulli(logits=-logit.abs()), td.Bernoulli(logits=moved))
            for moved in (-logit.abs() - step, -logit.abs() + step)
        ]
    ).amax(0)
    np.testing.assert_allclose(found.bound[:, 0], best, rtol=2e-5)


def test_a_radius_is_looked_for_from_a_thousandth_of_the_input_on(monkeypatch):
    seen, original = [], certificate.Bracket

    def recorded(size, tau):
        seen.append(size)
        return original(size, tau)

    monkeypatch.setattr(certificate, "Bracket", recorded)
    place = site(sample("linear_gaussian"), 3)
    certified_radius(kl(), place, 2.0, 2.0)
    torch.testing.assert_close(seen[0], 1e-3 * place.x.double().norm(dim=1))
