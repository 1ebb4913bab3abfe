"""∂T/∂φ of a file's own map by one sweep: beside plain torch, and beside its oracle."""

import numpy as np
import pytest
import torch

from audit.importer.sweep import pointwise
from tests.models.saved import data_file, onnx_file, opened

TEXT = """
g (float[n, 3] x, float[n, 9] z) => (float[n, 9] theta) {
    both = Concat <axis = 1> (x, z)
    a = Gemm <transB = 1> (both, w, b)
    t = Tanh(a)
    theta = Gemm(t, v)
}
"""
CUT = """
g (float[n, 3] x, float[n, 9] z) => (float[n, 9] theta) {
    e = MatMul(x, u)
    h = Tanh(e)
    k = MatMul(h, m)
    s = Exp(k)
    theta = Mul(s, z)
}
"""


def weights():
    random = np.random.default_rng(2)
    shapes = {"w": (6, 12), "b": (6,), "v": (6, 9)}
    return {n: random.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def plain(x, z):
    w, b, v = (torch.from_numpy(value).double() for value in weights().values())
    return torch.tanh(w @ torch.cat([x, z]) + b) @ v


def sampler(folder, text, **stored):
    path = onnx_file(folder, text, **stored)
    return opened(
        path, data_file(folder), contract="transport", noise="z:normal", condition="x"
    )


def test_the_slopes_are_those_of_plain_torch(tmp_path):
    model = sampler(tmp_path, TEXT, **weights())
    family = model.density.family
    assert family.slopes is not None
    phi = model.density.parameter_map(*model.rows(np.arange(12)))
    z = torch.randn(5, 12, 9, generator=torch.Generator().manual_seed(3)).double()
    ours = family.jacobians(z, phi)
    slope = torch.func.jacrev(plain)
    theirs = torch.stack(
        [torch.stack([slope(p, v) for p, v in zip(phi, own, strict=True)]) for own in z]
    )
    assert ours.dtype == torch.float32  # as the file computes
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=2e-6)


def test_they_are_swept_behind_a_cut_too(tmp_path):
    random = np.random.default_rng(4)
    stored = {"u": random.normal(size=(3, 40)), "m": random.normal(size=(40, 9)) / 6}
    stored = {name: value.astype(np.float32) for name, value in stored.items()}
    model = sampler(tmp_path, CUT, **stored)
    family = model.density.family
    assert family.size != 3
    assert family.slopes is not None
    phi = model.density.parameter_map(*model.rows(np.arange(4)))
    z = torch.full((1, 4, 9), 0.5, dtype=torch.float64)
    swept = family.jacobians(z, phi)
    family.slopes = None
    known = family.jacobians(z, phi)
    torch.testing.assert_close(swept.double(), known, rtol=1e-6, atol=1e-7)


def test_a_wrong_rule_is_seen_and_said(tmp_path, monkeypatch):
    monkeypatch.setitem(pointwise.PARTIALS, "Tanh", lambda a, y, k: 1 - y)
    model = sampler(tmp_path, TEXT, **weights())
    assert model.density.family.slopes is None
    assert "sweep_differs" in dict(model.gates.warnings)


@pytest.mark.parametrize("few", [2])
def test_few_coordinates_stay_with_autograd(few, tmp_path):
    text = TEXT.replace("float[n, 9] theta", f"float[n, {few}] theta")
    stored = weights()
    stored["v"] = stored["v"][:, :few]
    model = sampler(tmp_path, text, **stored)
    assert model.density.family.slopes is None
    assert "sweep_differs" not in dict(model.gates.warnings)
