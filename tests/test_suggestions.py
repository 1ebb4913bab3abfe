"""What `inspect` proposes fits the outputs, and its command works as printed."""

import shlex

import numpy as np
import pytest
import torch
from models.saved import data_file, trace_file
from typer.testing import CliRunner

from audit.cli import app
from audit.config import ModelConfig, ScanConfig
from audit.models.expressions import Expression
from audit.models.suggestions import suggest
from audit.run.inspection import inspect

torch.manual_seed(0)
A, B = torch.randn(3, 4) / 2, torch.randn(3, 4) / 2


def out(x, n=4):
    return x @ A[:, :n]


HEADS = {
    "probabilities": (lambda x: out(x).softmax(-1), "categorical"),
    "logits": (lambda x: {"logits": out(x)}, "categorical"),
    "chances": (lambda x: out(x, 1).sigmoid(), "bernoulli"),
    "mean and std": (lambda x: {"mean": out(x), "std": (x @ B).exp()}, "normal"),
    "mean and log_std": (lambda x: {"mu": out(x), "log_sigma": x @ B}, "normal"),
    "two tensors": (lambda x: (out(x), x @ B), "normal"),
    "two halves": (lambda x: out(x), "normal"),
    "point prediction": (lambda x: out(x, 3), "normal"),
    "loc and scale": (lambda x: {"loc": out(x), "scale": (x @ B).exp()}, "normal"),
    "student": (
        lambda x: {"df": 3 + out(x).exp(), "loc": x @ B, "scale": out(x).exp()},
        "student_t",
    ),
    "nested student": (
        lambda x: ((3 + out(x).exp(), x @ B, out(x).exp()), x.sum(-1, keepdim=True)),
        "student_t",
    ),
    "gamma": (
        lambda x: {"concentration": out(x).exp(), "rate": (x @ B).exp()},
        "gamma",
    ),
    "counts": (lambda x: {"rate": out(x).exp()}, "poisson"),
    "mixture": (
        lambda x: {
            "logits": out(x),
            "loc": x @ B,
            "scale": (out(x) / 2).exp(),
        },
        "mixture:normal",
    ),
    "mixture by the name of its weights": (
        lambda x: {
            "pi": out(x, 3),
            "mu": out(x, 3)[..., None] + torch.ones(2),
            "sigma": out(x, 3).exp()[..., None] * torch.ones(2),
        },
        "mixture:normal",
    ),
    "mixture by shapes": (
        lambda x: (
            out(x, 3).softmax(-1),
            out(x, 3)[..., None] + torch.ones(2),
            out(x, 3).exp()[..., None] * torch.ones(2),
        ),
        "mixture:normal",
    ),
    "low rank": (
        lambda x: {
            "loc": out(x, 2),
            "cov_factor": (x @ B[:, :2])[..., None],
            "cov_diag": out(x, 2).exp(),
        },
        "low_rank_multivariate_normal",
    ),
    "von mises": (
        lambda x: {"loc": out(x), "concentration": (x @ B).exp()},
        "von_mises",
    ),
    "negative binomial": (
        lambda x: {"total_count": out(x).exp(), "logits": x @ B},
        "negative_binomial",
    ),
    "image": (lambda x: out(x, 4).reshape(-1, 2, 2), "normal"),
    "sequence": (lambda x: out(x)[:, None, :].repeat(1, 3, 1), "normal"),
    "sequence of classes": (
        lambda x: out(x)[:, None, :].repeat(1, 3, 1).softmax(-1),
        "categorical",
    ),
    "logits of a sequence": (
        lambda x: {"logits": torch.stack([out(x), x @ B], 1)},
        "categorical",
    ),
    "forecaster": (
        lambda x: {
            "loc": out(x).cumsum(-1),
            "scale": torch.nn.functional.softplus(x @ B) + 0.1,
        },
        "normal",
    ),
    "student forecaster": (
        lambda x: {
            "df": 2.5 + out(x)[:, :3].exp(),
            "loc": (x @ B)[:, :3],
            "scale": out(x, 3).exp(),
        },
        "student_t",
    ),
    "quantile forecaster": (
        lambda x: {"quantiles": out(x, 1) + out(x, 3).exp().cumsum(-1)},
        "",
    ),
    "survival": (
        lambda x: {"concentration": out(x, 1).exp(), "scale": (x @ B[:, :1]).exp()},
        "weibull",
    ),
    "discrete survival": (lambda x: {"hazard": out(x).sigmoid()}, "discrete_hazard"),
    "evidential": (
        lambda x: {
            "loc": out(x, 1),
            "nu": out(x, 1).exp(),
            "alpha": 1.5 + out(x, 2)[:, 1:].exp(),
            "beta": (x @ B[:, :1]).exp(),
        },
        "evidential",
    ),
    "zero-inflated": (
        lambda x: {"gate_logits": out(x, 1), "rate": (x @ B[:, :1]).exp()},
        "zero_inflated:poisson",
    ),
    "pose": (
        lambda x: {
            "loc": out(x, 3),
            "scale_tril": torch.diag_embed(out(x, 3).exp())
            + torch.tril((x @ B[:, :3])[:, None] * torch.ones(3, 1), -1),
        },
        "multivariate_normal",
    ),
    "poses": (
        lambda x: {
            "loc": torch.stack([out(x, 2), (x @ B)[:, :2]], 1),
            "covariance_matrix": torch.diag_embed(
                torch.stack([out(x, 2).exp(), (x @ B)[:, :2].exp()], 1)
            ),
        },
        "multivariate_normal",
    ),
    "ensemble": (
        lambda x: {
            "mean": torch.stack([out(x, 2), (x @ B)[:, :2]], 1),
            "log_std": torch.stack([out(x, 2), (x @ B)[:, :2]], 1) / 2,
        },
        "normal",
    ),
    "embedding": (
        lambda x: torch.nn.functional.normalize(out(x) + 0.5, dim=-1),
        "normal",
    ),
    "set": (
        lambda x: {"logits": (x[:, :, None] * A[None]).tanh().sum(1)},
        "categorical",
    ),
    "image of chances": (lambda x: out(x).reshape(-1, 2, 2).sigmoid(), "bernoulli"),
    "image with its spread": (
        lambda x: {
            "mean": out(x).reshape(-1, 1, 2, 2),
            "log_var": (x @ B).reshape(-1, 1, 2, 2),
        },
        "normal",
    ),
    "dirichlet": (lambda x: {"concentration": out(x).exp() + 0.5}, "dirichlet"),
    "beta": (
        lambda x: {
            "concentration1": out(x, 2).exp(),
            "concentration0": (x @ B)[:, :2].exp(),
        },
        "beta",
    ),
    "rates": (lambda x: {"rate": out(x).exp() + 0.1}, ""),
    "policy": (
        lambda x: {"mean": out(x, 2).tanh(), "std": torch.full_like(x[:, :2], 0.3)},
        "normal",
    ),
    "policy and value": (
        lambda x: {"logits": out(x), "value": x @ B[:, :1]},
        "categorical",
    ),
    "label and probabilities": (
        lambda x: (out(x).argmax(-1), out(x).softmax(-1)),
        "categorical",
    ),
    "mean and precision": (
        lambda x: {"mean": out(x), "precision": (x @ B).exp()},
        "normal",
    ),
    "a beta law of books": (
        lambda x: {"alpha": out(x).exp(), "beta": (x @ B).exp()},
        "beta",
    ),
    "mean and covariance": (
        lambda x: {
            "mean": out(x, 2),
            "covariance": torch.diag_embed(out(x, 2).exp()) + 0.2,
        },
        "multivariate_normal",
    ),
    "logarithms of probabilities": (
        lambda x: {"log_probs": out(x).log_softmax(-1)},
        "categorical",
    ),
    "log rates": (lambda x: {"log_rate": out(x)}, "poisson"),
}


ALWAYS = ("sequence of classes", "poses", "evidential", "zero-inflated")
FEW = 9  # heads of every day; the others are slow


def heads():
    for place, name in enumerate(HEADS):
        marks = [] if place < FEW or name in ALWAYS else [pytest.mark.slow]
        yield pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", list(heads()))
def test_the_printed_command_works_as_printed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    make, family = HEADS[name]
    path = trace_file(tmp_path, make, torch.ones(4, 3))
    config = ScanConfig(model=ModelConfig(str(path)), data=data_file(tmp_path))
    found = inspect(config)
    assert found.inputs
    assert found.outputs
    assert set(found.ranges) >= {name for name, _, _ in found.outputs}
    items = {item: value for item, value, _ in found.items}
    assert items["family"] == family or not family
    words = shlex.split(found.scan_command)[1:]
    done = CliRunner().invoke(app, [*words, "--verify", "1"])
    assert done.exit_code == 0, done.stdout + done.stderr


def test_there_are_forty_heads():
    assert len(HEADS) >= 40


def test_a_scan_that_does_not_know_the_family_says_what_would_fit(tmp_path):
    path = trace_file(tmp_path, HEADS["probabilities"][0], torch.ones(4, 3))
    done = CliRunner().invoke(app, ["scan", str(path), data_file(tmp_path)])
    text = " ".join(done.stderr.split())
    assert done.exit_code == 2
    assert "Pass --family categorical --param probs=output" in text
    assert "the rows of 'output' add up to one" in text


def test_a_label_is_not_a_probability_and_nothing_fits_nothing():
    assert suggest({"label": torch.tensor([0, 1, 1])}) is None
    rows = torch.from_numpy(np.full((3, 2), np.nan))
    assert suggest({"out": rows}) is None


def test_a_precision_is_read_as_one_and_not_left_beside_a_scale_of_one():
    """scale = precision^(−1/2): of precisions 4 and 0.25 it is 1/2 and 2."""
    loc, precision = torch.tensor([[3.0], [-1.0]]), torch.tensor([[4.0], [0.25]])
    for given in ({"precision": precision}, {"log_precision": precision.log()}):
        found = suggest({"y": loc, **given})
        scale = Expression(found.parameters["scale"])(given)
        torch.testing.assert_close(scale, torch.tensor([[0.5], [2.0]]))
        assert (found.family, found.parameters["loc"]) == ("normal", "y")


def test_a_point_prediction_says_what_it_would_leave_unread():
    found = suggest({"y": torch.randn(4, 1) * 9, "hidden": torch.randn(4, 5) * 9})
    assert found.parameters == {"loc": "y", "scale": "1.0"}
    assert found.why.endswith("'hidden' would not be read")


def test_several_inputs_are_told_apart_by_the_data(tmp_path):
    data = data_file(tmp_path, gain=np.ones((12, 1), np.float32))
    module = torch.jit.trace(
        lambda series, gain: (series * gain, (series * gain).exp()),
        (torch.ones(4, 3), torch.ones(4, 1)),
    )
    module.save(str(tmp_path / "two.pt"))
    arrays = dict(np.load(data))
    np.savez(tmp_path / "two.npz", series=arrays["x"], gain=arrays["gain"])
    found = inspect(
        ScanConfig(
            model=ModelConfig(str(tmp_path / "two.pt")),
            data=str(tmp_path / "two.npz"),
        )
    )
    assert "--condition series" in found.scan_command
    assert ("held gain", "gain", "key of the data") in found.items
    words = shlex.split(found.scan_command)[1:]
    assert CliRunner().invoke(app, words).exit_code == 0
