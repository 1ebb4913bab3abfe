"""Outputs that shift and stretch the draws of a head, against the law they make."""

import math

import numpy as np
import pytest
import torch

from audit.families.tensors import Tensors
from audit.ground.errors import ConfigError
from audit.nodes.noise import Noise

from .saved import data_file, jacobian, opened, trace_file

X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def forecaster(x):
    """A head in units of its own input's level, as DeepAR has it."""
    level = 1 + x.square().mean(1, keepdim=True)
    return {
        "loc": torch.tanh(x / level),
        "scale": torch.exp(x / 3),
        "target_loc": x[:, :1],
        "target_scale": level,
    }


def own(folder, **said):
    path = trace_file(folder, forecaster, torch.rand(2, 3))
    return opened(path, data_file(folder, x=X), **said)


def form_of(model, tensor):
    phi, slopes = jacobian(model)
    root = model.density.family.root(tensor, phi, Noise(0, model.probe_index(), 64))
    pulled = root.dense() @ slopes
    return (pulled.mT @ pulled).numpy()


def slopes_of(function):
    x = torch.from_numpy(X).double()
    return torch.stack(
        [torch.func.jacfwd(lambda r: function(r[None])[0])(r) for r in x]
    )


def moved(x):
    out = forecaster(x)
    level = out["target_scale"]
    return out["target_loc"] + level * out["loc"], level * out["scale"]


def test_levels_found_by_their_names_make_a_moved_normal(tmp_path):
    """F = Σ (∂μ∂μᵀ + 2 ∂σ∂σᵀ)/σ², G = Σ ∂μ∂μᵀ + ∂σ∂σᵀ with μ = a + b loc, σ = b s."""
    model = own(tmp_path, family="transformed:normal")
    assert set(model.head.parameters) == {"loc", "scale", "target_loc", "target_scale"}
    loc, scale = (slopes_of(lambda x, i=i: moved(x)[i]) for i in range(2))
    sigma = moved(torch.from_numpy(X).double())[1].unsqueeze(-1)
    of = torch.einsum
    fisher = of("nki,nkj->nij", loc / sigma, loc / sigma)
    fisher = fisher + 2 * of("nki,nkj->nij", scale / sigma, scale / sigma)
    transport = of("nki,nkj->nij", loc, loc) + of("nki,nkj->nij", scale, scale)
    for tensor, exact in ((Tensors.FISHER, fisher), (Tensors.TRANSPORT, transport)):
        found = form_of(model, tensor)
        np.testing.assert_allclose(found, exact.numpy(), rtol=1e-4, atol=1e-5)


def test_the_law_of_the_log_of_a_moved_normal(tmp_path):
    """G = Σ E e^{2y} (∂μ + z ∂σ)²: e^{2μ+2σ²} [[1, 2σ], [·, 1 + 4σ²]]."""
    model = own(tmp_path, family="transformed:normal", options={"of": "log"})
    loc, scale = (slopes_of(lambda x, i=i: moved(x)[i]) for i in range(2))
    mu, sigma = (part.unsqueeze(-1) for part in moved(torch.from_numpy(X).double()))
    size = torch.exp(2 * mu + 2 * sigma**2)
    first, cross = size * loc, 2 * sigma * size
    second = (1 + 4 * sigma**2) * size
    of = torch.einsum
    exact = of("nki,nkj->nij", first, loc) + of("nki,nkj->nij", second * scale, scale)
    mixed = of("nki,nkj->nij", cross * loc, scale)
    exact = (exact + mixed + mixed.mT).numpy()
    found = form_of(model, Tensors.TRANSPORT)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())
    assert "e^y" in model.density.family.transport_name


def test_a_level_that_is_not_read_is_told(tmp_path):
    model = own(tmp_path, family="normal")
    said = [text for code, text in model.gates.warnings if code == "not_read"]
    assert len(said) == 2
    assert all("--family transformed:normal" in text for text in said)
    other = own(tmp_path, family="transformed:normal")
    assert "not_read" not in dict(other.gates.warnings)


def test_an_option_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="of=log or of=logit"):
        own(tmp_path, family="transformed:normal", options={"of": "exp"})


def test_a_level_may_be_an_input(tmp_path):
    """The scale is data, held: it moves with nothing, and tr F is that of the head."""

    class Given(torch.nn.Module):
        def forward(self, x, level):
            return {"loc": torch.tanh(x), "scale": torch.exp(x) + 0 * level}

    path = tmp_path / "given.pt"
    example = torch.rand(2, 3), torch.rand(2, 1)
    torch.jit.trace(Given(), example, strict=False).save(str(path))
    level = np.logspace(0, 6, 7)[:, None].astype(np.float32)
    np.savez(tmp_path / "given.npz", x=X, level=level)
    model = opened(
        path,
        tmp_path / "given.npz",
        family="transformed:normal",
        condition="x",
        parameters={"loc": "loc", "scale": "scale", "target_scale": "level"},
    )
    x = torch.from_numpy(X).double()
    slope = (1 - x.tanh() ** 2) / x.exp()
    exact = torch.diag_embed(slope**2 + 2).numpy()
    found = form_of(model, Tensors.FISHER)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)
    scale = torch.diag_embed((1 - x.tanh() ** 2) ** 2 + x.exp() ** 2).numpy()
    exact = level[..., None].astype(float) ** 2 * scale
    found = form_of(model, Tensors.TRANSPORT)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5 * exact.max())
    assert math.isfinite(found.max())
