"""What `inspect` proposes fits the outputs, and its command works as printed."""

import shlex

import numpy as np
import pytest
import torch
from models.saved import data_file, trace_file
from typer.testing import CliRunner

from audit.cli import app
from audit.config import ModelConfig, ScanConfig
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
    "counts": (lambda x: {"rate": out(x).exp()}, ""),
    "mixture": (
        lambda x: {
            "logits": out(x),
            "loc": x @ B,
            "scale": (out(x) / 2).exp(),
        },
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
    "label and probabilities": (
        lambda x: (out(x).argmax(-1), out(x).softmax(-1)),
        "categorical",
    ),
}


@pytest.mark.parametrize("name", HEADS)
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
    done = CliRunner().invoke(app, [*words, "--verify", "4"])
    assert done.exit_code == 0, done.stdout + done.stderr


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
