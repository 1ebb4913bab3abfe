"""Nets whose Jacobian nobody could store, audited with defaults in little memory."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

pytestmark = pytest.mark.slow
GIB = 2**30
SCAN = ("-m", "audit", "scan", "model.onnx", "data.npz", "-o", "report.json")


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1)
        self.second = nn.Conv2d(after, after, 3, 1, 1)
        self.beside = nn.Conv2d(before, after, 1, stride)

    def forward(self, x):
        inside = self.second(torch.relu(self.first(x)))
        return torch.relu(inside + self.beside(x))


def thousand_classes():
    return nn.Sequential(
        nn.Conv2d(3, 32, 7, 2, 3),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Residual(32, 32, 1),
        Residual(32, 64, 2),
        Residual(64, 128, 2),
        Residual(128, 256, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, 1000),
    )


def wide():
    return nn.Sequential(nn.Linear(10_000, 256), nn.Tanh(), nn.Linear(256, 20_000))


def saved(folder, net, shape):
    torch.manual_seed(0)
    net = net().eval()
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    torch.onnx.export(
        net,
        (x[:2],),
        str(folder / "model.onnx"),
        input_names=["x"],
        output_names=["logits"],
        dynamic_axes={"x": {0: "n"}, "logits": {0: "n"}},
        dynamo=False,
    )
    np.savez(folder / "data.npz", x=x.numpy())
    return net, x


def scanned(folder, *options):
    """Return the report, and the largest memory of the process in bytes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    command = [sys.executable, *SCAN, "--param", "logits=logits", *options]
    root = str(os.path.abspath(os.path.join(os.path.dirname(__file__), "../..")))
    subprocess.run(
        command, cwd=folder, check=True, env=os.environ | {"PYTHONPATH": root}
    )
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert most >= before
    return json.loads((folder / "report.json").read_text()), most * 1024


@pytest.mark.timeout(900)
def test_a_thousand_classes_of_an_image(tmp_path):
    net, x = saved(tmp_path, thousand_classes, (3, 224, 224))
    report, memory = scanned(tmp_path, "--family", "categorical", "--top", "5")
    assert memory < 4 * GIB
    assert report["run"]["method"] == "krylov"
    found = report["inputs"]["kl"]
    for row in range(1):  # 256 backward passes of the network
        gram = fisher_gram(net, x[row : row + 1])
        values = torch.linalg.eigvalsh(gram)
        assert found["eigenvalue"][row] == pytest.approx(float(values[-1]), rel=1e-4)
        apart = abs(found["trace"][row] - float(gram.trace()))
        assert apart <= 4.5 * found["trace_se"][row]


def fisher_gram(net, x):
    """Return the K x K Gram matrix of B J through the last hidden layer, in float64."""
    body, head = net[:-1], net[-1]
    leaf = x.clone().requires_grad_()
    hidden = body(leaf)
    rows = [
        torch.autograd.grad(hidden[0, j], leaf, retain_graph=True)[0].flatten()
        for j in range(hidden.shape[1])
    ]
    inner = torch.stack(rows).double()
    p = torch.softmax(head(hidden).detach().double()[0], 0)
    root = torch.diag(p.sqrt()) @ (torch.eye(len(p)).double() - p.expand(len(p), -1))
    outer = root @ head.weight.detach().double()
    return outer @ (inner @ inner.T) @ outer.T


def test_twenty_thousand_outputs_of_ten_thousand_features(tmp_path):
    net, x = saved(tmp_path, wide, (10_000,))
    report, memory = scanned(tmp_path, "--family", "bernoulli")
    assert memory < 4 * GIB
    assert report["run"]["method"] == "krylov"
    found = report["inputs"]["kl"]
    first, last = (layer.weight.detach().double() for layer in (net[0], net[2]))
    for row in range(4):
        hidden = net[:2](x[row]).detach().double()
        p = torch.sigmoid(net[2](hidden.float()).detach().double())
        outer = (p * (1 - p)).sqrt().unsqueeze(1) * last
        inner = (1 - hidden.square()).unsqueeze(1) * first
        product = (outer.T @ outer) @ (inner @ inner.T)  # the same eigenvalues
        largest = torch.linalg.eigvals(product).real.max()
        assert found["eigenvalue"][row] == pytest.approx(float(largest), rel=1e-4)
        apart = abs(found["trace"][row] - float(product.trace()))
        assert apart <= 4.5 * found["trace_se"][row]
