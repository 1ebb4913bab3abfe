"""Which conditional an estimator of sbi holds: told, asked, and written as such.

Classes with the names that sbi's have stand for them. The likelihood is a Gaussian,
x ~ N(w θ, σ²), whose Fisher information in θ is w wᵀ / σ².
"""

import importlib.util
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, Uniform
from typer.testing import CliRunner

import audit
from audit.cli import app
from audit.export import export_posterior
from audit.export.checking import in_float64, require_slopes
from audit.ground.errors import ConfigError, ModelError

SBI = pytest.mark.skipif(importlib.util.find_spec("sbi") is None, reason="needs sbi")
SIGMA, SLOPE = 0.5, torch.tensor([[0.6, -0.8, 0.3]])
QUIET = pytest.mark.filterwarnings("ignore:.*holds log_prob and no sampler")


class Law(nn.Module):
    """N(w c, σ²) of a condition c, in whatever role."""

    def forward(self, x):
        return Independent(Normal(x @ SLOPE.mT.to(x), SIGMA), 1)


class Trainer:
    def __init__(self, estimator, prior=None):
        self._neural_net, self._prior = estimator, prior


class PosteriorEstimatorTrainer(Trainer):
    pass


class LikelihoodEstimatorTrainer(Trainer):
    pass


class DirectPosterior:
    prior = None

    def __init__(self, estimator):
        self.posterior_estimator = estimator


def of_sbi(over, given):
    """A bare estimator of sbi of some shapes, which nothing else tells."""
    kind = type("NFlowsFlow", (nn.Module,), {"__module__": "sbi.neural_nets"})
    estimator = kind()
    estimator.input_shape, estimator.condition_shape = over, given
    return estimator


def conditions(rows=8):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(3))


@QUIET
@pytest.mark.sweep(2)
@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".pt"])
def test_a_likelihood_is_written_with_its_parameters_as_the_condition(suffix, tmp_path):
    theta = conditions()
    trainer = LikelihoodEstimatorTrainer(Law())
    path = export_posterior(trainer, tmp_path / f"q{suffix}", x=theta)
    data, out = tmp_path / "d.npz", tmp_path / "r.json"
    np.savez(data, theta=theta.numpy(), x=np.zeros((8, 1), "float32"))
    words = ["scan", path, data, "-d", "kl", "--verify", 0, "-q", "-o", out]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    trace = report["divergences"]["kl"]["summary"]["trace"]
    expected = float(SLOPE.square().sum()) / SIGMA**2
    np.testing.assert_allclose([trace["min"], trace["max"]], expected, rtol=1e-4)


def test_a_trainer_of_posteriors_brings_its_prior(tmp_path):
    prior = Independent(Uniform(-torch.ones(1), torch.ones(1)), 1)
    with pytest.warns(UserWarning, match="inside the prior's bounds"):
        export_posterior(
            PosteriorEstimatorTrainer(Law(), prior), tmp_path / "q.onnx", x=conditions()
        )


@pytest.mark.parametrize("rows", [None, torch.zeros(5, 2)])
def test_an_estimator_that_may_be_either_is_asked_about(rows, tmp_path):
    with pytest.raises(
        ConfigError, match=r"\(NPE\) or a likelihood .* \(NLE\)"
    ) as told:
        export_posterior(of_sbi((2,), (2,)), tmp_path / "q.onnx", x=rows)
    assert "role='likelihood'" in told.value.next_step
    assert "trainer" in told.value.next_step
    with pytest.raises(ConfigError, match=r"both of its arguments have shape \(2,\)"):
        audit.scan(of_sbi((2,), (2,)), np.zeros((5, 2), "float32"))


def test_observations_passed_to_a_likelihood_are_told_from_parameters(tmp_path):
    """θ of 2, x of 5: a density over rows of 5 is no posterior given rows of 5."""
    with pytest.raises(ConfigError, match=r"is a density over such rows") as told:
        export_posterior(of_sbi((5,), (2,)), tmp_path / "q.onnx", x=torch.zeros(4, 5))
    assert "role='likelihood'" in told.value.next_step


@pytest.mark.parametrize(
    ("given", "role", "said"),
    [
        (Law(), "prior", "role='prior' was given"),
        (LikelihoodEstimatorTrainer(Law()), "posterior", "given for a likelihood"),
        (DirectPosterior(Law()), "likelihood", "given for a posterior"),
        (PosteriorEstimatorTrainer(None), None, "has not trained"),
    ],
)
def test_a_role_that_cannot_be_is_refused(given, role, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        export_posterior(given, tmp_path / "q.onnx", x=conditions(), role=role)


class Weighted(Law):
    """The same law with its weight inside, of one type."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False)

    def forward(self, x):
        return Independent(Normal(self.layer(x), SIGMA), 1)


@QUIET
@pytest.mark.parametrize("rows", [conditions().numpy(), conditions().double()])
def test_conditions_may_be_of_numpy_and_of_another_type(rows, tmp_path):
    estimator = Weighted()
    path = export_posterior(estimator, tmp_path / "q.pt", x=rows)
    with torch.no_grad():
        found = torch.jit.load(path)(conditions(), torch.zeros(8, 1))["log_prob"]
        expected = Normal(estimator.layer(conditions())[:, 0], SIGMA)
    torch.testing.assert_close(found, expected.log_prob(torch.zeros(8)))


@QUIET
def test_a_stated_role_names_the_inputs(tmp_path):
    path = export_posterior(
        Law(), tmp_path / "q.onnx", x=conditions(), role="likelihood"
    )
    done = CliRunner().invoke(app, ["inspect", str(path)])
    assert "theta" in done.output.split("condition", 1)[1].splitlines()[0]


def test_a_live_likelihood_takes_data_that_are_called_theta():
    """Under the name x they may be observations, of which it has no law."""
    trainer, theta = LikelihoodEstimatorTrainer(Law()), conditions().numpy()
    with pytest.raises(ConfigError, match="likelihood q") as told:
        audit.scan(trainer, theta)
    assert "{'theta': θ}" in told.value.next_step
    report = audit.scan(trainer, {"theta": theta}, divergences=["kl"], verify=0)
    expected = float(SLOPE.square().sum()) / SIGMA**2
    assert report.summary("kl", "trace").mean == pytest.approx(expected, rel=1e-4)


class Faint(nn.Module):
    """A log-density of 4000 that x moves by 1e-3: lost in the rounding of float32."""

    def __init__(self, detached):
        super().__init__()
        self.detached = detached

    def forward(self, x):
        moved = torch.sin(x).sum(1)
        return {
            "log_prob": 4000.0 + 1e-4 * (moved.detach() if self.detached else moved)
        }


@pytest.mark.parametrize("detached", [False, True])
def test_slopes_are_held_to_differences_that_do_not_drown(detached):
    x, faint = conditions(32), Faint(detached)
    exact = in_float64(faint, {"x": x})
    assert exact is not None

    def run(inputs):
        return faint(*inputs.values())

    if detached:  # of values in float32 neither moves, and they would agree
        with pytest.raises(ModelError, match=r"off by (99|100) %"):
            require_slopes(exact, run, {"x": x}, ["log_prob"], "x")
    else:
        require_slopes(exact, run, {"x": x}, ["log_prob"], "x")
        with pytest.raises(ModelError, match="is off by"):
            require_slopes(run, run, {"x": x}, ["log_prob"], "x")


def test_a_module_that_stays_in_float32_has_no_exact_values():
    class Held(nn.Module):
        def forward(self, x):
            return {"log_prob": (x.float() * torch.ones(3)).sum(1)}

    assert in_float64(Held(), {"x": conditions()}) is None


@SBI
def test_trainers_of_sbi_tell_what_their_estimators_do_not(tmp_path, monkeypatch):
    from sbi.inference import NLE, NPE

    monkeypatch.chdir(tmp_path)  # where they keep their logs
    prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    theta = prior.sample((100,))
    x = theta + 0.3 * torch.randn(100, 2)
    for kind, condition, rows in ((NPE, "x", x), (NLE, "theta", theta)):
        trainer = kind(prior, density_estimator="maf", show_progress_bars=False)
        bare = trainer.append_simulations(theta, x).train(max_num_epochs=1)
        with pytest.raises(ConfigError, match="NLE"):
            export_posterior(bare, tmp_path / "q.onnx", x=rows)
        path = export_posterior(trainer, tmp_path / "q.onnx", x=rows)
        done = CliRunner().invoke(app, ["inspect", str(path)])
        told = done.output.split("condition", 1)[1].splitlines()[0]
        assert condition in told
