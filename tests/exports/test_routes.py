"""Priors with bounds, and routes for what cannot be written: with known answers.

The class `DirectPosterior` stands for sbi's, which is known by its name.
"""

import json
import re

import numpy as np
import onnx
import pytest
import torch
import yaml
from scipy.stats import norm, truncnorm
from torch import nn
from torch.distributions import Gamma, Independent, Normal, Uniform
from typer.testing import CliRunner

import audit
from audit.cli import app
from audit.export import export_posterior
from audit.export.routes import ROUTES
from audit.ground.errors import ConfigError, ModelError

SIGMA, SLOPE = 0.5, torch.tensor([[0.6, -0.8, 0.3]])


class Law(nn.Module):
    """θ ~ N(w x, σ²), as an estimator."""

    def forward(self, x):
        return Independent(Normal(x @ SLOPE.mT, SIGMA), 1)


class DirectPosterior:
    def __init__(self, estimator, prior):
        self.posterior_estimator, self.prior = estimator, prior


def box(size=1, low=-1.0, high=1.0):
    return Independent(Uniform(low * torch.ones(size), high * torch.ones(size)), 1)


def conditions(rows=8):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(3))


def scan(path, x, folder, *words):
    data = folder / "x.npz"
    np.savez(data, x=x.numpy())
    out = folder / "report.json"
    words = ["scan", path, data, "-d", "kl", "--verify", 0, "-q", "-o", out, *words]
    done = CliRunner().invoke(app, list(map(str, words)))
    return done, json.loads(out.read_text()) if out.exists() else None


def test_a_density_that_leaks_is_written_with_a_warning(tmp_path):
    x = conditions()
    posterior = DirectPosterior(Law(), box())
    with pytest.warns(UserWarning, match=r"inside the prior's bounds") as caught:
        export_posterior(posterior, tmp_path / "q.onnx", x=x)
    said = next(str(w.message) for w in caught if "bounds" in str(w.message))
    centre = (x @ SLOPE.mT).numpy()[:, 0]
    ends = (-1 - centre) / SIGMA, (1 - centre) / SIGMA
    shares = norm.cdf(ends[1]) - norm.cdf(ends[0])
    told = [float(share) / 100 for share in re.findall(r"(\d+) %", said)]
    np.testing.assert_allclose(told, [shares.min(), shares.max()], atol=0.1)
    assert "truncated=True" in said
    assert "--unnormalised" in said


@pytest.mark.parametrize("prior", [box(high=60.0), None])
def test_a_density_within_the_bounds_is_written_without_a_word(
    prior, tmp_path, recwarn
):
    wide = (
        None if prior is None else Independent(Uniform(-60.0, 60.0 * torch.ones(1)), 1)
    )
    export_posterior(DirectPosterior(Law(), wide), tmp_path / "q.pt", x=conditions())
    assert not [w for w in recwarn if "bounds" in str(w.message)]


def test_the_truncated_posterior_has_the_information_of_the_truncated_normal(tmp_path):
    """F_x = w wᵀ Var(θ | θ in B) / σ⁴, since ∇ₓ log q = w (θ − w x)/σ²."""
    x = conditions()
    posterior = DirectPosterior(Law(), box())
    with pytest.warns(UserWarning, match="would leave the prior's bounds"):
        path = export_posterior(posterior, tmp_path / "q.onnx", x=x, truncated=True)
    (entry,) = onnx.load(path).metadata_props
    space = yaml.safe_load(entry.value)["target_space"]
    assert space == "theta0:interval(-1.0,1.0)"
    done, report = scan(path, x, tmp_path, "--unnormalised")
    assert done.exit_code == 0, done.output
    centre = (x @ SLOPE.mT).double().numpy()[:, 0]
    law = truncnorm((-1 - centre) / SIGMA, (1 - centre) / SIGMA, centre, SIGMA)
    expected = float(SLOPE.square().sum()) * law.var() / SIGMA**4
    found = report["inputs"]["kl"]["trace"]
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    whole = float(SLOPE.square().sum()) / SIGMA**2
    assert (expected < 0.9 * whole).all()  # of the density as it was trained


def test_the_truncated_file_gives_no_verdict_without_the_flag(tmp_path):
    x = conditions()
    with pytest.warns(UserWarning, match="bounds"):
        path = export_posterior(
            DirectPosterior(Law(), box()), tmp_path / "q.onnx", x=x, truncated=True
        )
    done, _ = scan(path, x, tmp_path, "--max", "kl.trace.max=100")
    assert done.exit_code == 4


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        (None, "the prior is not there"),
        (Independent(Normal(torch.zeros(1), 1.0), 1), "Normal|Independent"),
        (Independent(Gamma(torch.ones(1), 1.0), 1), "without bounds"),
        (box(2), "has 2 coordinates, and the density 1"),
    ],
)
def test_a_prior_that_is_no_box_is_refused_in_three_parts(prior, said, tmp_path):
    posterior = DirectPosterior(Law(), prior)
    with pytest.raises(ConfigError, match=said) as caught:
        export_posterior(posterior, tmp_path / "q.pt", x=conditions(), truncated=True)
    assert caught.value.expected
    assert caught.value.next_step


def test_a_branch_of_ones_own_is_not_traced(tmp_path):
    class Branched(Law):
        def forward(self, x):
            return Law.forward(self, x if x.sum() > 0 else -x)

    with pytest.raises(ModelError, match=r"A trace would keep a branch of test_routes"):
        export_posterior(Branched(), tmp_path / "q.onnx", x=conditions())
    assert not (tmp_path / "q.onnx").exists()


def test_what_is_being_done_is_told(tmp_path):
    said = []
    with pytest.warns(UserWarning, match="no sampler"):
        export_posterior(
            Law(), tmp_path / "q.onnx", x=conditions(), progress=said.append
        )
    assert said == ["q.onnx: write traced onnx", "q.onnx: read back and compare"]
    with pytest.raises(ConfigError, match="exporter='jit'"):
        export_posterior(Law(), tmp_path / "q.onnx", x=conditions(), exporter="jit")


@pytest.mark.parametrize("name", ROUTES)
def test_what_cannot_be_written_is_told_the_route_that_works(name, tmp_path):
    kind = type(f"My{name}", (type(name, (), {}),), {})
    with pytest.raises(ModelError) as caught:
        export_posterior(kind(), tmp_path / "q.onnx", x=conditions())
    what, route = ROUTES[name]
    assert what in caught.value.given
    assert caught.value.next_step == route
    with pytest.raises(ModelError) as live:
        audit.scan(kind(), conditions().numpy())
    assert what in live.value.given


def test_a_distribution_that_is_no_event_is_told_to_be_wrapped(tmp_path):
    class Apart(nn.Module):
        def forward(self, x):
            return Normal(x, 1.0)

    with pytest.raises(ModelError, match=r"Independent\(Normal\(…\), 1\)"):
        export_posterior(Apart(), tmp_path / "q.onnx", x=conditions())


def test_the_route_of_a_ratio_estimator_gives_the_information_of_the_posterior(
    tmp_path,
):
    """x = θ + s e, θ ~ N(0, 1): the posterior has F_x = 1/(s² (1 + s²)) at every x."""
    s = 0.4

    class Ratio(nn.Module):
        def forward(self, theta, x):
            likelihood = Normal(theta, s).log_prob(x)
            evidence = Normal(0.0, (1 + s * s) ** 0.5).log_prob(x)
            log_ratio = (likelihood - evidence)[:, 0] + torch.sin(3 * x)[:, 0]
            return log_ratio + Normal(0.0, 1.0).log_prob(theta)[:, 0]

    x = conditions()[:, :1].clone()
    path = tmp_path / "ratio.onnx"
    torch.onnx.export(
        Ratio(), (x[:3], x[:3]), path, dynamo=False, input_names=["theta", "x"],
        output_names=["log_prob"],
        dynamic_axes={name: {0: "n"} for name in ("theta", "x", "log_prob")},
    )  # fmt: skip
    words = ("--contract", "density", "--target", "theta", "--unnormalised")
    done, report = scan(path, x, tmp_path, *words, "--target-space", "theta:real")
    assert done.exit_code == 0, done.output
    trace = report["divergences"]["kl"]["summary"]["trace"]
    expected = 1 / (s * s * (1 + s * s))
    np.testing.assert_allclose([trace["min"], trace["max"]], expected, rtol=1e-4)


class Windowed(nn.Module):
    """A series through a convolution, and a law that is as wide as what that made."""

    def __init__(self):
        super().__init__()
        self.windows = nn.Sequential(
            *(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.Flatten())
        )

    def forward(self, x):
        made = self.windows(x)
        base = Normal(torch.zeros(()), 1.0).expand(made.shape[:-1])
        mean = made.sum(dim=-1) + base.loc
        return Independent(Normal(mean.unsqueeze(-1), SIGMA), 1)


def test_a_trace_keeps_the_rows_of_what_is_unflattened_open(tmp_path):
    """The exporter had it that there are always as many as in its example."""
    said, x = [], conditions()
    model, path = Windowed().eval().requires_grad_(False), tmp_path / "q.onnx"
    with pytest.warns(UserWarning, match="no sampler"):
        export_posterior(model, path, x=x, progress=said.append)
    assert said == ["q.onnx: write traced onnx", "q.onnx: read back and compare"]
    done, report = scan(path, x, tmp_path)
    assert done.exit_code == 0
    weight = model.windows[1].weight.double()  # [2, 1, 2]
    first, second = weight.sum(dim=(0, 1))  # of both windows
    gradient = torch.stack([first, first + second, second])
    expected = float(gradient.square().sum()) / SIGMA**2
    np.testing.assert_allclose(report["inputs"]["kl"]["trace"], expected, rtol=1e-4)
