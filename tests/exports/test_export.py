"""Estimators of zuko and sbi, saved by `export_posterior` and read back.

The file is run by onnxruntime. What it must say comes from the estimator's own log_prob
and transform, from the change of variables, and from a mixture summed by hand. Those of
sbi need sbi, which the main environment does not have.
"""

import importlib
import importlib.util
import math
import re
import time

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
import zuko
from torch import nn
from torch.distributions import Independent, Normal, Transform, constraints

from audit.export import export_posterior, export_sampler, writing
from audit.export.densities import Distributional
from audit.export.splines import spline
from audit.ground.errors import ConfigError, ModelError

N, CONTEXT = 2, 3
SBI = pytest.mark.skipif(importlib.util.find_spec("sbi") is None, reason="needs sbi")
SMALL = {"transforms": 2, "hidden_features": (8,)}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def flow(kind, **options):
    return getattr(zuko.flows, kind)(N, CONTEXT, **SMALL, **options)


def conditions(rows=9):
    return 2 * torch.randn(rows, CONTEXT) - 1


def run(path, **inputs):
    session = onnxruntime.InferenceSession(path)
    feeds = {name: value.detach().numpy() for name, value in inputs.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def metadata(path):
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "robaudit"
    return yaml.safe_load(entry.value)


def close(a, b, limit=1e-4):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=limit, atol=limit)


@pytest.fixture(
    scope="module", params=["MAF", pytest.param("NSF", marks=pytest.mark.slow)]
)
def saved(request, tmp_path_factory):
    torch.manual_seed(1)
    options = {"bins": 4} if request.param == "NSF" else {}
    model = flow(request.param, **options)
    path = tmp_path_factory.mktemp("flow") / "q.onnx"
    assert export_posterior(model, path, condition_shape=(CONTEXT,)) == path
    return request.param, model, path


@pytest.mark.parametrize("rows", [1, 9])
def test_the_file_of_a_flow_says_what_the_flow_says(saved, rows):
    _, model, path = saved
    x, theta, z = conditions(rows), torch.randn(rows, N), torch.randn(rows, N)
    found = run(path, x=x, theta=theta, z=z)
    with torch.no_grad():
        close(found["log_prob"], model(x).log_prob(theta))
        back = model(x).transform(torch.from_numpy(found["sample"]))
    close(back, z, 1e-3)


def test_density_and_sampler_of_a_file_fit_by_the_change_of_variables(saved):
    """log q(T(x, z)) = log N(z) - log |det dT/dz|, with T's slopes by differences."""
    _, _, path = saved
    x, z, step = conditions(), torch.randn(9, N), 1e-2
    sides = [
        run(path, x=x, theta=z, z=z + sign * step * torch.eye(N)[i])["sample"]
        for i in range(N)
        for sign in (1, -1)
    ]
    slopes = [(sides[2 * i] - sides[2 * i + 1]) / (2 * step) for i in range(N)]
    _, volume = np.linalg.slogdet(np.stack(slopes, -1).astype(float))
    base = -(z**2).sum(1) / 2 - N * math.log(2 * math.pi) / 2
    theta = torch.from_numpy(run(path, x=x, theta=z, z=z)["sample"])
    found = run(path, x=x, theta=theta, z=z)["log_prob"]
    assert np.median(np.abs(found - (base.numpy() - volume))) < 1e-3


def test_the_contract_travels_in_the_file(saved):
    kind, _, path = saved
    assert metadata(path) == {
        "contract": "density",
        "condition": "x",
        "target": "theta",
        "noise": {"z": "normal"},
        "outputs": {"log_prob": "log_prob", "sample": "sample"},
        "transport": f"zuko {kind}, 2 transforms",
    }


def test_the_file_does_not_tell_where_it_was_made(saved):
    blob = saved[2].read_bytes()
    for text in (zuko.__file__, __file__, torch.__file__):
        assert text.rsplit("/", 2)[0].encode() not in blob


@pytest.mark.parametrize(
    "suffix", [pytest.param(".pt2", marks=pytest.mark.slow), ".pt"]
)
def test_torch_formats_hold_the_same(suffix, tmp_path):
    model = flow("MAF")
    path = export_posterior(model, tmp_path / f"q{suffix}", x=conditions())
    extra = {"robaudit": ""}
    if suffix == ".pt2":
        module = torch.export.load(path, extra_files=extra).module()
    else:
        module = torch.jit.load(path, _extra_files=extra)
    x, theta, z = conditions(5), torch.randn(5, N), torch.randn(5, N)
    found = module(x, theta, z)
    with torch.no_grad():
        close(found["log_prob"], model(x).log_prob(theta))
        close(model(x).transform(found["sample"]), z, 1e-3)
    assert yaml.safe_load(extra["robaudit"])["noise"] == {"z": "normal"}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_a_mixture_is_written_as_its_components(kind, tmp_path):
    model = zuko.mixtures.GMM(N, CONTEXT, components=3, covariance_type=kind)
    path = export_posterior(model, tmp_path / "q.onnx", condition_shape=(CONTEXT,))
    x, theta = conditions(), torch.randn(9, N)
    found = {name: value.astype(float) for name, value in run(path, x=x).items()}
    scale = "scale_tril" if kind == "full" else "scale"
    assert {name: value.shape[1:] for name, value in found.items()} == {
        "logits": (3,),
        "loc": (3, N),
        scale: (3, N, N) if kind == "full" else (3, N),
    }
    with torch.no_grad():
        close(by_hand(found, scale, theta.numpy()), model(x).log_prob(theta))
    family = "multivariate_normal" if kind == "full" else "normal"
    assert metadata(path) == {
        "family": f"mixture:{family}",
        "parameters": {"logits": "logits", "loc": "loc", scale: scale},
        "condition": "x",
    }


def by_hand(found, scale, theta):
    """Log of a weighted sum of Gaussian densities, straight from the formula."""
    weights = np.exp(found["logits"])
    weights /= weights.sum(1, keepdims=True)
    offset = theta[:, None] - found["loc"]
    if scale == "scale_tril":
        covariance = found[scale] @ found[scale].swapaxes(-1, -2)
    elif scale == "precision_matrix":
        covariance = np.linalg.inv(found[scale])
    else:
        covariance = found[scale][..., None] ** 2 * np.eye(N)
    form = np.einsum("nki,nkij,nkj->nk", offset, np.linalg.inv(covariance), offset)
    size = np.linalg.det(2 * np.pi * covariance)
    return np.log((weights * np.exp(-form / 2) / np.sqrt(size)).sum(1))


class Bisected(Transform):
    """Y = s x, whose inverse is looked for by bisection."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def _call(self, x):
        return self.scale * x

    def _inverse(self, y):
        low, high = torch.full_like(y, -50.0), torch.full_like(y, 50.0)
        for _ in range(30):
            middle = (low + high) / 2
            above = self.scale * middle > y
            low, high = (
                torch.where(above, low, middle),
                torch.where(above, middle, high),
            )
        return (low + high) / 2

    def log_abs_det_jacobian(self, x, y):
        return self.scale.log().sum(-1).expand(x.shape[:-1])

    def call_and_ladj(self, x):
        return self(x), self.log_abs_det_jacobian(x, None)


class Own(nn.Module):
    """A module of one's own whose forward returns a distribution."""

    def __init__(self, transform=Bisected):
        super().__init__()
        self.layer, self.transform = nn.Linear(CONTEXT, N), transform

    def forward(self, x):
        scale = self.layer(x).exp()
        base = Normal(torch.zeros_like(scale), torch.ones_like(scale))
        transform = self.transform(scale)
        return zuko.distributions.NormalizingFlow(transform, Independent(base, 1))


def test_a_sampler_that_lost_its_derivative_is_left_out(tmp_path):
    with pytest.warns(UserWarning, match=r"no sampler.*off by.*grid.*--draws.*NUTS"):
        path = export_posterior(Own(), tmp_path / "q.onnx", x=conditions())
    assert metadata(path) == {
        "contract": "density",
        "condition": "x",
        "target": "theta",
        "outputs": {"log_prob": "log_prob"},
    }
    assert [i.name for i in onnx.load(path).graph.input] == ["x", "theta"]


@pytest.mark.parametrize("kind", ["BPF", "GF"])
def test_a_draw_by_bisection_is_as_exact_as_its_type(kind):
    """zuko stops at 1e-6, over which neither T(T⁻¹(z)) nor differences say much."""
    shapes = {"BPF": {"degree": 8}, "GF": {"components": 3}}[kind]
    x = conditions(4).double()
    density = Distributional(flow(kind, **shapes).double(), x, "")
    z = 0.3 * torch.randn(4, N, dtype=torch.float64)  # within zuko's bounds
    close(density.module(x).transform(density.sample(x, z)).detach(), z, 1e-13)
    slope, step = torch.autograd.functional.jacobian, 1e-5 * torch.eye(CONTEXT)
    for row, noise in zip(x, z, strict=True):
        exact = slope(lambda v, n=noise: density.sample(v[None], n[None])[0], row)
        with torch.no_grad():
            several = noise.expand(CONTEXT, N)
            moved = density.sample(row + step, several)
            moved -= density.sample(row - step, several)
        close(exact.T, moved / 2e-5, 1e-7)


def test_what_no_exporter_wrote_is_said_by_the_deepest_cause(tmp_path, monkeypatch):
    def failing(*given):
        try:
            raise NotImplementedError("no function for matrix_exp")
        except NotImplementedError as error:
            raise RuntimeError("Failed. \x1b[96mThis is step 3/3\x1b[0m") from error

    monkeypatch.setitem(writing.TRACED, ".onnx", (failing,))
    with pytest.raises(ModelError) as error:
        export_posterior(flow("MAF"), tmp_path / "q.onnx", x=conditions())
    assert "log_prob to 'q.onnx' (NotImplementedError: no function" in str(error.value)
    assert "This is step" not in str(error.value)
    assert "audit.scan(estimator, data); or try the suffix .pt2" in str(error.value)


def test_a_distribution_without_a_map_gives_a_density(tmp_path):
    class Plain(Own):
        def forward(self, x):
            return Independent(Normal(self.layer(x), 1.0), 1)

    with pytest.warns(UserWarning, match="Independent brings no map from noise"):
        path = export_posterior(
            Plain(), tmp_path / "q.pt", x=conditions(), target_space="theta:real"
        )
    assert path.exists()


def test_the_estimator_is_left_as_it_was(tmp_path):
    model = flow("MAF").train()
    export_posterior(model, tmp_path / "q.pt", x=conditions())
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())


class CoupledRows(Own):
    """A density that depends on the other rows: right at no other batch size."""

    def forward(self, x):
        return Independent(Normal(self.layer(x - x.mean(0)), 1.0), 1)


def test_a_file_that_differs_is_refused_and_the_old_one_kept(tmp_path):
    path = tmp_path / "q.pt"
    path.write_text("before")
    with pytest.raises(ModelError, match=r"log_prob differs from the estimator's by"):
        export_posterior(CoupledRows(), path, x=conditions())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("estimator", "name", "options", "error", "text"),
    [
        (Own(), "q.h5", {"x": conditions()}, ConfigError, r"'\.h5'.*\.onnx, \.pt2"),
        (Own(), "q.onnx", {}, ConfigError, r"condition_shape=.*Pass it, or better x="),
        (Own(), "no/q.onnx", {"x": conditions()}, ConfigError, "no folder.*Make it"),
        (Own(), "q.pt", {"x": torch.zeros(3, 7)}, ConfigError, r"not run.*\(7,\)"),
        (Own(), "q.pt", {"x": conditions() / 0}, ModelError, "not finite on 32 of 32"),
        (object(), "q.pt", {"x": conditions()}, ModelError, r"builtins\.object.*zuko"),
        (nn.Linear(3, 2), "q.pt", {"x": conditions()}, ModelError, "returns a Tensor"),
    ],
)
def test_errors_say_what_was_given_and_what_to_do(
    estimator, name, options, error, text, tmp_path
):
    with pytest.raises(error, match=text) as caught:
        export_posterior(estimator, tmp_path / name, **options)
    assert caught.value.given
    assert caught.value.expected
    assert caught.value.next_step


@pytest.mark.sweep(3)
@pytest.mark.parametrize("law", ["normal", "uniform", "logistic"])
def test_a_sampler_without_a_density(law, tmp_path):
    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(CONTEXT + 1, 4)

        def forward(self, x, z):
            return torch.tanh(self.layer(torch.cat([x, z], 1)))

    model, x = Generator(), conditions()
    path = export_sampler(model, tmp_path / "t.onnx", x=x, noise=1, law=law)
    z = torch.randn(9, 1)
    with torch.no_grad():
        close(run(path, x=x, z=z)["sample"], model(x, z), 1e-5)
    assert metadata(path) == {
        "contract": "transport",
        "condition": "x",
        "noise": {"z": law},
        "outputs": {"sample": "sample"},
        "transport": "Generator",
    }


def test_the_spline_is_the_one_of_the_paper():
    """Through its knots with the slopes given there; straight outside; invertible."""
    generator = torch.Generator().manual_seed(0)
    raw = [torch.randn(1, k, generator=generator).double() for k in (5, 5, 4)]
    options = {"tail_bound": 3.0, "min_bin_width": 1e-3, "min_bin_height": 1e-3}

    def at(points, inverse=False):
        wide = [values.expand(len(points), -1) for values in raw]
        return spline(points, *wide, inverse=inverse, **options)

    knots = [
        -3 + 6 * np.cumsum(1e-3 + (1 - 5e-3) * values.softmax(-1).numpy()[0])[:-1]
        for values in raw[:2]
    ]
    values, log_slopes = at(torch.from_numpy(knots[0]))
    close(values, knots[1], 1e-9)
    close(log_slopes.exp(), 1e-3 + np.log1p(np.exp(raw[2].numpy()[0])), 1e-9)
    points = torch.linspace(-4, 4, 50).double().requires_grad_()
    values, log_slopes = at(points)
    (slopes,) = torch.autograd.grad(values.sum(), points)
    close(log_slopes.detach().exp(), slopes, 1e-9)
    outside = points.detach().abs() > 3
    close(values.detach()[outside], points.detach()[outside], 0)
    back, inverse_log_slopes = at(values.detach(), inverse=True)
    close(back, points.detach(), 1e-9)
    close(inverse_log_slopes, -log_slopes.detach(), 1e-8)


def sbi_estimator(kind):
    """What sbi trains, with its standardising steps, for data off the origin."""
    from sbi.neural_nets import posterior_nn

    theta, x = 2 * torch.randn(200, N) + 1, 3 * torch.randn(200, CONTEXT) - 1
    blocks = {} if kind.startswith("zuko") else {"num_blocks": 1}
    build = posterior_nn(kind, hidden_features=8, num_transforms=2, **blocks)
    estimator = build(theta, x)
    with torch.no_grad():
        for weight in estimator.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return estimator.eval(), theta, x


@SBI
@pytest.mark.parametrize("kind", ["maf", "nsf", "zuko_maf"])
def test_flows_of_sbi(kind, tmp_path):
    estimator, theta, x = sbi_estimator(kind)
    path = export_posterior(estimator, tmp_path / "q.onnx", x=x)
    z = torch.randn(20, N)
    found = run(path, x=x[:20], theta=theta[:20], z=z)
    with torch.no_grad():
        close(found["log_prob"], estimator.log_prob(theta[None, :20], x[:20])[0])
        close(noise(estimator, torch.from_numpy(found["sample"]), x[:20]), z, 1e-3)
    assert metadata(path)["transport"].startswith("sbi, ")


def noise(estimator, theta, x):
    """Z of θ. (NFlowsFlow.inverse_transform of sbi 0.27 leaves the embedding out.)"""
    if hasattr(estimator.net, "transform_to_noise"):
        return estimator.net.transform_to_noise(theta, context=x)
    return estimator.inverse_transform(theta, x)


@SBI
def test_the_posterior_of_sbi_is_unwrapped(tmp_path):
    from sbi.inference.posteriors import DirectPosterior

    estimator, theta, x = sbi_estimator("maf")
    prior = Independent(Normal(torch.zeros(N), torch.ones(N)), 1)
    posterior = DirectPosterior(estimator, prior)
    path = export_posterior(posterior, tmp_path / "q.pt2")
    found = torch.export.load(path).module()(x[:4], theta[:4], theta[:4])
    with torch.no_grad():
        close(found["log_prob"], estimator.log_prob(theta[None, :4], x[:4])[0])


@SBI
@pytest.mark.parametrize(
    ("build", "said"),
    [
        ("posterior_flow_nn", r"FMPE.*Train a flow \(NPE\)"),
        ("posterior_score_nn", r"NPSE.*Train a flow \(NPE\)"),
        ("classifier_nn", r"NRE.*log_ratio \+ prior\.log_prob.*--unnormalised"),
    ],
)
def test_estimators_without_a_density_are_told_the_route(build, said, tmp_path):
    nets = importlib.import_module("sbi.neural_nets")
    kind = ("resnet",) if build == "classifier_nn" else ()
    theta, x = torch.randn(50, N), torch.randn(50, CONTEXT)
    estimator = getattr(nets, build)(*kind)(theta, x)
    with pytest.raises(ModelError, match=said):
        export_posterior(estimator, tmp_path / "q.onnx", x=x)


@SBI
def test_the_share_inside_the_prior_is_that_of_sbi(tmp_path):
    from sbi.inference.posteriors import DirectPosterior
    from sbi.utils import BoxUniform

    estimator, _, x = sbi_estimator("maf")
    prior = BoxUniform(-torch.ones(N), 2 * torch.ones(N))
    posterior = DirectPosterior(estimator, prior)
    with pytest.warns(UserWarning, match="inside the prior's bounds") as caught:
        export_posterior(posterior, tmp_path / "q.pt", x=x[:8])
    words = next(str(w.message) for w in caught if "bounds" in str(w.message)).split()
    told = [float(share) / 100 for share in re.findall(r"(\d+) %", " ".join(words))]
    shares = [
        float(posterior.leakage_correction(x=one[None], num_rejection_samples=4000))
        for one in x[:8]
    ]
    np.testing.assert_allclose(told, [min(shares), max(shares)], atol=0.12)


@SBI
def test_a_spline_flow_of_sbi_takes_less_than_ten_seconds(tmp_path):
    from sbi.neural_nets import posterior_nn

    theta, x = torch.rand(200, 3), torch.randn(200, 6)
    estimator = posterior_nn("nsf")(theta, x)
    began = time.process_time()
    export_posterior(estimator, tmp_path / "q.onnx", x=x)
    assert time.process_time() - began < 10


@SBI
def test_the_mixture_network_of_sbi(tmp_path):
    estimator, theta, x = sbi_estimator("mdn")
    path = export_posterior(estimator, tmp_path / "q.onnx", x=x)
    found = {name: value.astype(float) for name, value in run(path, x=x[:9]).items()}
    with torch.no_grad():
        expected = estimator.log_prob(theta[None, :9], x[:9])[0]
    # sbi leaves 1e-4 out of its determinants
    close(by_hand(found, "precision_matrix", theta[:9].numpy()), expected, 2e-3)
    assert metadata(path)["family"] == "mixture:multivariate_normal"
