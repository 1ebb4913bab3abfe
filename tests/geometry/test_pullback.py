"""F_x = Jᵀ F(f(x)) J: how φ is written must not matter, and draws must agree."""

import numpy as np
import pytest
import torch
from scipy import special
from torch.nn.functional import softplus

from audit.families import build_family
from audit.families.location_scale import Normal
from audit.geometry.divergences import DIVERGENCES, build_divergence
from audit.geometry.pullback import pull_back
from audit.linalg.averaged import Sampled
from audit.linalg.decompose import decompose
from audit.models.maps import AutogradMap, IdentityMap
from audit.nodes.noise import Noise

N, D = 5, 4
WEIGHT = torch.randn(2, D, generator=torch.Generator().manual_seed(0)).double()
X = torch.randn(N, D, generator=torch.Generator().manual_seed(1)).double()
NOISE = Noise(0, np.arange(N), 2048)
NORMAL = build_family("normal", {"loc": (1,), "scale": (1,)})

HEADS = {
    "scale": lambda raw: 0.2 + raw.square(),
    "log_scale": lambda raw: torch.exp(torch.log(0.2 + raw.square())),
    "softplus": lambda raw: softplus(torch.log(torch.expm1(0.2 + raw.square()))),
    "variance": lambda raw: (0.2 + raw.square()).square().sqrt(),
    "precision": lambda raw: 1 / (1 / (0.2 + raw.square())),
}


def network(head):
    def function(x, held):
        loc, raw = (torch.tanh(x) @ WEIGHT.T).chunk(2, dim=1)
        return torch.cat([loc, HEADS[head](raw)], dim=1)

    return AutogradMap(function, (D,), torch.float64)


def tensor(divergence, family, head):
    phi, jacobian = network(head).linearize(X, {})
    form = pull_back(divergence, family, phi, jacobian, NOISE)
    dense = form.root.dense()
    return (dense.mT @ dense).numpy(), form


def textbook(x):
    w = WEIGHT.numpy()
    t = np.tanh(x)
    raw, slope = w[1] @ t, 1 - t**2
    scale = 0.2 + raw**2
    loc_row, scale_row = w[0] * slope, 2 * raw * w[1] * slope
    return (np.outer(loc_row, loc_row) + 2 * np.outer(scale_row, scale_row)) / scale**2


@pytest.mark.parametrize("head", sorted(HEADS))
@pytest.mark.parametrize("name", ["kl", "quantile"])
def test_the_pulled_tensor_does_not_depend_on_how_the_scale_is_written(name, head):
    divergence = build_divergence(name)
    plain, _ = tensor(divergence, NORMAL, "scale")
    written, _ = tensor(divergence, NORMAL, head)
    np.testing.assert_allclose(written, plain, rtol=1e-9, atol=1e-12)


def test_the_pulled_fisher_information_is_the_textbooks():
    found, _ = tensor(build_divergence("kl"), NORMAL, "scale")
    expected = np.stack([textbook(x) for x in X.numpy()])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


class DrawnNormal(Normal):
    """A normal that has forgotten its closed form."""

    def fisher_root(self, phi):
        return None


def test_scores_pulled_back_agree_with_the_closed_form_within_four_errors():
    drawn = DrawnNormal({"loc": (1,), "scale": (1,)})
    _, form = tensor(build_divergence("kl"), drawn, "scale")
    expected = np.stack([np.trace(textbook(x)) for x in X.numpy()])
    spectrum = decompose(form, 1)
    assert isinstance(form.root.outer, Sampled)
    error = spectrum.trace.standard_error.numpy()
    assert (np.abs(spectrum.trace.value.numpy() - expected) < 4 * error).all()
    top = np.stack([np.linalg.eigvalsh(textbook(x))[-1] for x in X.numpy()])
    slack = 4 * spectrum.top.standard_error.numpy()
    assert (np.abs(spectrum.top.value.numpy() - top) < slack + 0.01 * top).all()


@pytest.mark.parametrize("name", sorted(set(DIVERGENCES) - {"renyi"}))
def test_the_form_predicts_the_exact_value_of_a_small_step_of_the_input(name):
    divergence, parameter_map = build_divergence(name), network("log_scale")
    step = 1e-4 * torch.randn(N, D, generator=torch.Generator().manual_seed(2)).double()
    phi = parameter_map(X, {})
    around = [
        divergence.exact(NORMAL, phi, parameter_map(X + s, {})) for s in (step, -step)
    ]
    _, form = tensor(divergence, NORMAL, "log_scale")
    np.testing.assert_allclose(form(step), sum(around) / 2, rtol=1e-5)


def test_in_parameter_space_the_tensor_is_the_familys_own():
    phi = torch.tensor([[0.0, 2.0]]).double()
    _, jacobian = IdentityMap().linearize(phi, {})
    form = pull_back(build_divergence("kl"), NORMAL, phi, jacobian, NOISE)
    np.testing.assert_allclose(
        form.root.dense()[0].T @ form.root.dense()[0], np.diag([0.25, 0.5]), rtol=1e-12
    )


def test_a_softplus_head_has_the_two_opposite_laws_of_the_scale():
    s = torch.linspace(0.1, 3.0, 7).double().unsqueeze(1)

    def function(x, held):
        return torch.cat([torch.zeros_like(x), softplus(x)], dim=1)

    raw = torch.log(torch.expm1(s))
    phi, jacobian = AutogradMap(function, (1,), torch.float64).linearize(raw, {})
    noise = Noise(0, np.arange(7), 2)
    traces = {}
    for name in ("kl", "quantile"):
        form = pull_back(build_divergence(name), NORMAL, phi, jacobian, noise)
        traces[name] = decompose(form, 1).trace.value.numpy()
    slope = 1 - np.exp(-s.numpy().ravel())
    np.testing.assert_allclose(
        traces["kl"], 2 * slope**2 / s.numpy().ravel() ** 2, rtol=1e-10
    )
    np.testing.assert_allclose(traces["quantile"], slope**2, rtol=1e-10)
    assert (np.diff(traces["kl"]) < 0).all()
    assert (np.diff(traces["quantile"]) > 0).all()


def test_softmax_logits_never_exceed_a_half():
    family = build_family("categorical", {"logits": (5,)})
    logits = 3 * torch.randn(200, 5, generator=torch.Generator().manual_seed(3))
    logits = torch.cat([logits, torch.tensor([[9.0, 9.0, -30, -30, -30]])]).double()
    _, jacobian = IdentityMap().linearize(logits, {})
    noise = Noise(0, np.arange(len(logits)), 2)
    form = pull_back(build_divergence("kl"), family, logits, jacobian, noise)
    spectrum = decompose(form, 1)
    p = special.softmax(logits.numpy(), axis=1)
    np.testing.assert_allclose(spectrum.trace.value, (p * (1 - p)).sum(1), atol=1e-12)
    assert (spectrum.top.value <= 0.5 + 1e-12).all()
    assert spectrum.top.value[-1].item() == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize(("name", "expected"), [("cauchy", 0.5), ("student_t", 1.6)])
def test_a_heavy_tailed_head_in_log_scale_has_information_two_nu_over_nu_plus_three(
    name, expected
):
    names = ("df", "loc", "scale")[name == "cauchy" :]
    family = build_family(name, dict.fromkeys(names, (1,)))

    def function(x, held):
        columns = {"df": torch.full_like(x, 12.0), "loc": torch.zeros_like(x)}
        columns["scale"] = torch.exp(x)
        return torch.cat([columns[key] for key in names], dim=1)

    x = torch.tensor([[-1.0], [0.0], [2.0]]).double()
    phi, jacobian = AutogradMap(function, (1,), torch.float64).linearize(x, {})
    noise = Noise(0, np.arange(3), 2)
    form = pull_back(build_divergence("kl"), family, phi, jacobian, noise)
    np.testing.assert_allclose(decompose(form, 1).trace.value, expected, rtol=1e-10)
