"""A live model gives the numbers of its saved file: on every sample model."""

import json
import tempfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
import yaml
from scans import DATA, SAMPLES
from torch import nn

import audit

SETTINGS = {"limit": 4, "verify": 1, "dtype": "float64"}
FEW = {"mixture": {"limit": 2, "verify": 0}}  # quadrature takes its time
NARROW = {("sunspots_quantiles", ".pt")}  # its trace holds a float32 state
LIVE = {".pt": torch.jit.load, ".pt2": lambda path: torch.export.load(path).module()}
EAGER = {  # sample -> where its class is, and how one is made
    "heteroscedastic": ("train_heteroscedastic", lambda m: m.Heteroscedastic(10)),
    "heteroscedastic_jacobian": (
        "train_heteroscedastic",
        lambda m: m.Heteroscedastic(10),
    ),
    "heteroscedastic_fisher": (
        "train_heteroscedastic",
        lambda m: m.Heteroscedastic(10),
    ),
    "digits_cnn": ("train_digits", lambda m: m.DigitsNet()),
    "sunspots_gru": ("train_sunspots", lambda m: m.StudentForecast()),
    "sunspots_quantiles": ("train_sunspots", lambda m: m.QuantileForecast()),
    "posterior_forward_kl": ("train_posteriors", lambda m: m.AmortizedPosterior()),
    "posterior_reverse_kl": ("train_posteriors", lambda m: m.AmortizedPosterior()),
    "mixture": ("train_mixture", lambda m: m.TupleMixture(m.Mixture())),
    "counts": ("train_counts", lambda m: m.Counts(9)),
}


def contract_of(path):
    """Return the family and its parameters that a file's metadata state."""
    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("extra/robaudit"))
        found = yaml.safe_load(archive.read(name))
    known = {"family", "parameters"}
    options = {name: value for name, value in found.items() if name not in known}
    return {key: found[key] for key in known} | (
        {"options": options} if options else {}
    )


def columns(report):
    return {
        (name, quantity): np.array(values, float)
        for name, found in report.record.inputs.columns.items()
        for quantity, values in found.items()
    }


def apart(ours, theirs):
    """Return the largest difference, relative to the size of a column."""
    assert ours.keys() == theirs.keys()
    worst = 0.0
    for key, values in ours.items():
        others = theirs[key]
        same = (values == others) | (np.isnan(values) & np.isnan(others))
        size = np.abs(others[np.isfinite(others)]).max(initial=1e-12)
        size = 1.0 if key[1] == "skew" else size  # a difference, as a share
        gap = np.abs(values[~same] - others[~same]).max(initial=0.0) / size
        worst = max(worst, float(gap))
    return worst


QUICK = {"heteroscedastic", "sunspots_quantiles"}
SCRIPTS = QUICK | {"counts", "mixture"}
PAIRS = [
    pytest.param(
        name,
        suffix,
        marks=[]
        if name in (SCRIPTS if suffix == ".pt" else QUICK)
        else pytest.mark.slow,
    )
    for suffix in LIVE
    for name in DATA
]


@pytest.mark.parametrize(("name", "suffix"), PAIRS)
def test_a_loaded_module_scans_as_its_file(name, suffix):
    path, data = SAMPLES / f"{name}{suffix}", SAMPLES / f"{DATA[name]}.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = LIVE[suffix](path)
    narrow = {"dtype": "auto"} if (name, suffix) in NARROW else {}
    settings = SETTINGS | FEW.get(name, {}) | narrow
    live = audit.scan(module, data, **contract_of(path), **settings)
    saved = audit.scan(path, data, **settings)
    assert apart(columns(live), columns(saved)) <= 1e-6
    assert live.record.model.format == "live"
    assert live.record.model.files == []


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", EAGER)
def test_a_module_of_python_scans_as_the_graph_that_was_exported(name, samples):
    script, make = EAGER[name]
    module = make(samples(script))
    path, data = SAMPLES / f"{name}.pt", SAMPLES / f"{DATA[name]}.npz"
    module.load_state_dict(torch.jit.load(path).state_dict())
    arrays = dict(np.load(data))
    settings = SETTINGS | FEW.get(name, {})
    live = audit.scan(module, arrays, **contract_of(path), **settings)
    saved = audit.scan(path.with_suffix(".onnx"), data, **settings)
    assert apart(columns(live), columns(saved)) <= 1e-6


def test_a_module_is_not_changed_by_a_scan():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.lin = nn.BatchNorm1d(3), nn.Linear(3, 1)

        def forward(self, x):
            return {"mean": self.lin(self.norm(x)), "log_std": 0 * x[:, :1]}

    module = Net().train()
    before = {n: v.clone() for n, v in module.state_dict().items()}
    x = torch.randn(9, 3, requires_grad=True)
    audit.scan(module, x, verify=2)
    assert module.training
    assert module.norm.training
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(v, before[n]) for n, v in module.state_dict().items())
    assert x.grad is None


def test_array_tensor_dict_and_file_are_the_same_data(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    x = np.random.default_rng(3).normal(size=(7, 2)).astype("float32")
    np.savez(tmp_path / "d.npz", x=x)
    np.save(tmp_path / "d.npy", x)

    def model(x):
        return torch.distributions.Poisson(torch.exp(x @ torch.tensor([[1.0], [0.5]])))

    kinds = [x, torch.from_numpy(x), {"x": x}, tmp_path / "d.npz", tmp_path / "d.npy"]
    reports = [audit.scan(model, data, verify=0) for data in kinds]
    first, *others = map(columns, reports)
    assert all(apart(first, other) == 0 for other in others)
    assert not list((tmp_path / "temporary").glob("robaudit-*"))
    sources = [report.record.data.source for report in reports]
    assert sources[:3] == [
        "array (7, 2) float32",
        "tensor (7, 2) float32",
        "x: array (7, 2) float32",
    ]
    for report in reports[:3]:
        assert "robaudit-" not in report.record.model_dump_json()
        assert json.loads(report.record.model_dump_json())["config"]["data"]["value"]
