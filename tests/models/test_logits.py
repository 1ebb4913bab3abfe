"""Heads of probabilities are read by their logits; the law and its numbers stay."""

import numpy as np
import onnx
import pytest
import torch
from scipy import special

from audit.families import build_family
from audit.importer import OnnxFile
from audit.models import parametric
from audit.models.expressions import Expression
from audit.models.onnx_links import behind
from audit.verify.exact import outside

from .saved import HEADER, onnx_file, opened, trace_file

SOFTMAX = "g (float[n,3] x) => (float[n,3] probs) { t = MatMul(x, w)  "
SIGMOID = SOFTMAX + "probs = Sigmoid(t) }"
PLAIN = SOFTMAX + "probs = Softmax <axis = -1> (t) }"
WEIGHTS = np.array([[2.0, -1, 0], [0.5, 1, -3], [1, 0, 1]], np.float32)
CLASSES = {"family": "categorical", "parameters": {"probs": "probs"}}


def rows(folder, scale):
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32) * scale
    np.savez(folder / "data.npz", x=x)
    return str(folder / "data.npz")


def model(folder, text, scale=1.0, **said):
    path = onnx_file(folder, text, w=WEIGHTS.astype(np.float32))
    return opened(path, rows(folder, scale), **said)


def forms(found):
    """φ and the metric tensor in x, of twelve rows."""
    x, held = found.rows(np.arange(12))
    phi, jacobian = found.density.parameter_map.linearize(x, held)
    root = found.density.family.fisher_root(phi).matmat(jacobian.dense())
    return phi, root.mT @ root


@pytest.mark.parametrize(
    ("ending", "family"),
    [
        ("s = Sigmoid(t) probs = Log(s) }", "bernoulli"),
        ("s = Softmax(t) probs = Log(s) }", "categorical"),
    ],
)
def test_probabilities_of_logarithms_keep_their_digits(tmp_path, ending, family):
    said = {"family": family, "parameters": {"probs": "exp(probs)"}}
    found = model(tmp_path, SOFTMAX + ending, scale=16.0, **said)
    assert list(found.density.family.shapes) == ["logits"]
    x, _ = found.rows(np.arange(12))
    _, form = forms(found)
    w = torch.from_numpy(WEIGHTS).double()
    t = x.double() @ w
    if family == "categorical":
        p = torch.softmax(t, -1)
        gaps = torch.eye(3)[:, None] - torch.eye(3)[None]  # Σ p_i p_j (e_i − e_j)² / 2
        fisher = torch.einsum("ni,nj,ijk,ijl->nkl", p, p, gaps.double(), gaps.double())
        fisher = fisher / 2
    else:
        fisher = torch.diag_embed(torch.sigmoid(t) * torch.sigmoid(-t))
    expected = w @ fisher @ w.T
    assert float(expected.diagonal(dim1=1, dim2=2).sum(-1).min()) < 1e-9  # saturated
    size, error = (t.abs().amax((1, 2)) for t in (expected, form - expected))
    assert float((error / size).max()) < 1e-4


@pytest.mark.parametrize(
    ("text", "family"),
    [
        (PLAIN, "categorical"),
        (PLAIN, "one_hot_categorical"),
        (SIGMOID, "bernoulli"),
        (SIGMOID, "geometric"),
    ],
)
def test_logits_give_the_metric_of_the_probabilities(
    tmp_path, monkeypatch, text, family
):
    said = {"family": family, "parameters": {"probs": "probs"}}
    found = model(tmp_path, text, **said)
    assert {n: str(e) for n, e in found.head.parameters.items()} == {"logits": "@t"}
    assert list(found.density.family.shapes) == ["logits"]
    monkeypatch.setattr(parametric, "read_logits", lambda _, head, probe: (head, probe))
    direct = model(tmp_path, text, **said)
    assert list(direct.density.family.shapes) == ["probs"]
    (_, ours), (_, theirs) = forms(found), forms(direct)
    torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=1e-6)


def test_the_origin_says_what_was_read_and_through_what(tmp_path):
    found = model(tmp_path, PLAIN, **CLASSES)
    (item,) = [item for item in found.items if item.name.startswith("param")]
    assert (item.name, item.value) == ("param logits", "@t")
    assert item.origin.endswith("probs=probs, read through its softmax")


def test_classes_that_float32_loses_keep_their_divergence(tmp_path):
    found = model(tmp_path, PLAIN, scale=60.0, **CLASSES)
    phi, _ = forms(found)
    x = np.load(tmp_path / "data.npz")["x"]
    with np.errstate(under="ignore"):
        assert (special.softmax(x @ WEIGHTS, axis=-1) == 0).any()
    logs = special.log_softmax(x.astype(float) @ WEIGHTS.astype(float), axis=-1)
    p, q = logs[:-1], logs[1:]
    exact = (np.exp(p) * (p - q)).sum(-1)
    ours = found.density.family.kl(phi[:-1], phi[1:]).numpy()
    np.testing.assert_allclose(ours, exact, rtol=1e-4)
    assert not any(
        wrong.any() for wrong in found.density.family.violations(phi).values()
    )


def test_a_saturated_head_that_is_read_as_it_stands_has_its_metric(tmp_path):
    clipped = SOFTMAX + "s = Softmax <axis = -1> (t)  probs = Clip(s, low) }"
    path = onnx_file(tmp_path, clipped, w=WEIGHTS, low=np.float32(0))
    found = opened(path, rows(tmp_path, 60.0), **CLASSES)
    phi, jacobian = found.density.parameter_map.linearize(*found.rows(np.arange(12)))
    assert (phi == 0).any()
    root = found.density.family.fisher_root(phi).dense()
    moves = jacobian.dense()
    assert torch.isinf(root).any()
    assert not torch.isnan(root).any()
    products = torch.where(
        moves.unsqueeze(1) == 0, 0.0, root.unsqueeze(-1) * moves[:, None]
    )
    image = products.sum(2)
    x = np.load(tmp_path / "data.npz")["x"].astype(float)
    p = special.softmax(x @ WEIGHTS.astype(float), axis=-1)
    information = p[:, :, None] * np.eye(3) - p[:, :, None] * p[:, None, :]
    exact = WEIGHTS @ information @ WEIGHTS.T
    np.testing.assert_allclose(image.mT @ image, exact, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        ("probs = Softmax(t)", "t"),
        ("s = Softmax <axis = 1> (t)  probs = Identity(s)", "t"),
        ("s = Softmax(t)  probs = Cast <to = 1> (s)", "t"),
        ("s = Softmax(t)  d = Cast <to = 11> (s)  probs = Cast <to = 1> (d)", "t"),
        ("probs = Softmax <axis = 0> (t)", None),
        ("s = Softmax(t)  probs = Relu(s)", None),
        ("s = Softmax(t)  i = Cast <to = 7> (s)  probs = Cast <to = 1> (i)", None),
        ("probs = Softmax(x)", None),  # an input is not inside the graph
        ("probs = Sigmoid(t)", None),
    ],
)
def test_what_stands_between_a_softmax_and_its_output(tmp_path, nodes, found):
    path = onnx_file(tmp_path, f"{SOFTMAX}{nodes} }}", w=WEIGHTS)
    assert behind(OnnxFile(path), "probs", "softmax", 2) == found


@pytest.mark.parametrize(("axis", "found"), [("", None), ("<axis = 2>", "t")])
def test_before_opset_13_a_softmax_begins_at_axis_1(tmp_path, axis, found):
    text = "g (float[n,3,4] x) => (float[n,3,4] probs) { t = Relu(x)  probs = Softmax "
    header = HEADER.replace("17", "12")
    parsed = onnx.parser.parse_model(f"{header} {text} {axis} (t) }}")
    onnx.save(parsed, tmp_path / "old.onnx")
    assert behind(OnnxFile(tmp_path / "old.onnx"), "probs", "softmax", 3) == found


def test_a_slice_of_a_sigmoid_is_one_of_its_logits_and_of_a_softmax_is_not(tmp_path):
    said = {"family": "bernoulli", "parameters": {"probs": "probs[:, 1:]"}}
    found = model(tmp_path, SIGMOID, **said)
    assert str(found.head.parameters["logits"]) == "@t[:, 1:]"
    direct = model(tmp_path, PLAIN, **said)
    assert str(direct.head.parameters["probs"]) == "probs[:, 1:]"


def test_perturbed_probabilities_stay_probabilities(tmp_path):
    found = model(tmp_path, PLAIN, **CLASSES, space="parameters")
    assert str(found.head.parameters["probs"]) == "probs"


def test_a_link_in_the_expression_is_read_through_in_any_format(tmp_path):
    path = trace_file(tmp_path, lambda x: {"out": 50 * x}, torch.ones(4, 3))
    said = {"family": "categorical", "parameters": {"probs": "softmax(out)"}}
    found = opened(path, rows(tmp_path, 60.0), **said)
    assert str(found.head.parameters["logits"]) == "out"
    assert not (found.density.family.fisher_root(forms(found)[0]).dense().isnan()).any()


def test_weights_and_components_of_a_mixture_each_have_their_link(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] probs, float[n,3] own) "
    text += "{ t = MatMul(x, w)  probs = Softmax(t)  s = Neg(t)  own = Sigmoid(s) }"
    said = {"probs": "probs", "component.probs": "own"}
    found = model(tmp_path, text, family="mixture:bernoulli", parameters=said)
    read = {name: str(text) for name, text in found.head.parameters.items()}
    assert read == {"logits": "@t", "component.logits": "@s"}


@pytest.mark.parametrize(
    ("text", "name", "reading"),
    [
        ("probs", "t6", "@t6"),
        ("probs[:, :3][:, 1]", "a/b:0", "@a/b:0[:, :3][:, 1]"),
        ('"p q"[:, 0]', "a b", '"@a b"[:, 0]'),
    ],
)
def test_an_expression_of_a_tensor_inside_the_graph(text, name, reading):
    found = Expression(text).reading(name)
    assert str(found) == reading
    assert found.names == {f"@{name}"}


MASKED = "g (float[n,3] x) => (float[n,3] out) { t = MatMul(x, w)  out = Where(m, t, c)"


@pytest.mark.parametrize(
    ("text", "parameter"),
    [(MASKED + " }", "logits"), (MASKED.replace("out", "t2") + "  ", "probs")],
)
def test_a_class_that_a_mask_closes_is_left_out(tmp_path, text, parameter):
    # its logit is −∞: p = 0 before and after, so the law is that of the other classes
    if parameter == "probs":
        text = (
            text.replace("[n,3] t2)", "[n,3] out)") + "out = Softmax <axis = -1> (t2) }"
        )
    mask = {"m": np.array([True, False, True]), "c": np.array([-np.inf], np.float32)}
    path = onnx_file(tmp_path, text, w=WEIGHTS, **mask)
    said = {"family": "categorical", "parameters": {parameter: "out"}}
    found = opened(path, rows(tmp_path, 1.0), **said)
    assert [code for code, _ in found.gates.warnings] == []
    phi, tensors = forms(found)
    x = np.load(tmp_path / "data.npz")["x"].astype(float)
    open_, step = WEIGHTS[:, [0, 2]].astype(float), np.array([0.3, -0.2, 0.5])
    p = special.softmax(x @ open_, axis=1)
    spread = np.stack([open_ @ (np.diag(q) - np.outer(q, q)) @ open_.T for q in p])
    np.testing.assert_allclose(tensors.detach().numpy(), spread, rtol=1e-5, atol=1e-7)
    q = special.softmax((x + step) @ open_, axis=1)
    moved, held = found.rows(np.arange(12))
    other = found.density.parameter_map(
        moved + torch.tensor(step, dtype=moved.dtype), held
    )
    family = found.density.family
    kl = (p * np.log(p / q)).sum(1)
    np.testing.assert_allclose(family.kl(phi, other).detach().numpy(), kl, rtol=1e-4)
    assert not outside(family, torch.stack([phi, other], dim=1)).any()


def test_a_class_that_a_mask_opens_or_closes_between_two_laws():
    family = build_family("categorical", {"logits": (3,)})
    some, all_ = torch.tensor([[[1.0, -torch.inf, 0.0]], [[1.0, 0.5, 0.0]]]).double()
    p, q = (each[0].numpy() for each in (some.softmax(-1), all_.softmax(-1)))
    kl = special.rel_entr(p, q).sum()
    assert family.kl(some, all_).item() == pytest.approx(kl, rel=1e-12)
    assert family.kl(all_, some).item() == np.inf
    none = torch.full((1, 3), -torch.inf, dtype=torch.float64)
    assert family.violations(none)["a parameter is not finite"].all()
    assert family.violations(-some)["a parameter is not finite"].all()


def test_probabilities_of_a_gate_stay_beside_the_logits_of_its_component(tmp_path):
    """P(0) = 1 − π + π r, P(k) = π r s^k of r = σ(b), s = 1 − r; summed to k = 400."""
    said = {
        "family": "zero_inflated:geometric",
        "parameters": {"probs": "sigmoid(probs[:, 0])", "logits": "probs[:, 1]"},
    }
    found = model(tmp_path, SOFTMAX + "probs = Identity(t) }", **said)
    assert set(found.density.family.shapes) == {"probs", "logits"}
    x, _ = found.rows(np.arange(12))
    _, form = forms(found)
    w, k = torch.from_numpy(WEIGHTS).double(), torch.arange(401).double()

    def masses(a):
        gate, r = torch.sigmoid(a[0]), torch.sigmoid(a[1])
        return gate * r * (1 - r) ** k + (1 - gate) * (k == 0)

    for own, row in zip(form, x.double(), strict=True):
        a = row @ w[:, :2]
        slopes = torch.autograd.functional.jacobian(masses, a) @ w[:, :2].T
        expected = slopes.T @ (slopes / masses(a).clamp_min(1e-300)[:, None])
        torch.testing.assert_close(own.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("condition", ["a,b", "b,a", "all"])
def test_the_logits_of_inputs_that_are_perturbed_together(tmp_path, condition):
    """One input for each column, as scikit-learn's exports have: G = Wᵀ(P − ppᵀ)W."""
    text = """g (float[n,1] a, float[n,2] b) => (float[n,3] probs) {
        x = Concat <axis = 1> (a, b)  t = MatMul(x, w)  probs = Softmax <axis = -1> (t)
    }"""
    path = onnx_file(tmp_path, text, w=WEIGHTS)
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", a=x[:, :1], b=x[:, 1:])
    found = opened(path, str(tmp_path / "data.npz"), condition=condition, **CLASSES)
    _, form = forms(found)
    p = special.softmax(x.astype(np.float64) @ WEIGHTS, axis=1)
    spread = np.einsum("ni,ij->nij", p, np.eye(3)) - p[:, :, None] * p[:, None]
    expected = WEIGHTS @ spread @ WEIGHTS.T
    order = [1, 2, 0] if condition == "b,a" else [0, 1, 2]
    expected = expected[:, order][:, :, order]
    assert np.allclose(form.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert list(found.density.family.shapes) == ["logits"]
