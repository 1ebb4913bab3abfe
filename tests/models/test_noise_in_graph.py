"""Random operators of a graph that draw from an input: --noise-in-graph.

Expected values are closed forms in the base noise, and for masks a mixture written in
plain torch, its masks from NumPy's Philox with the key (seed, 0) that is documented.
"""

from dataclasses import replace

import numpy as np
import onnx
import onnx.checker
import onnxruntime
import pytest
import torch
from scipy.special import erf

from audit.config import ModelConfig, ScanConfig
from audit.families.tensors import Tensors
from audit.ground.errors import AuditError, ConfigError
from audit.importer import ExposedFile
from audit.nodes.noise import Noise
from audit.run.scan import scan

from .saved import data_file, graph, jacobian, onnx_file, opened, script_file

RNG = np.random.default_rng(5)
A, B = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2)) / 4
WEIGHTS = {"a": A.astype(np.float32), "b": B.astype(np.float32)}
X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
SCALED = "g (float[n,3] x) => (float[n,2] sample) {{ m = MatMul(x,a) s = MatMul(x,b)"
SCALED += " e = Exp(s) r = {draw} p = Mul(e,r) sample = Add(m,p) }}"
DRAWS = {  # operator -> mean and mean square of what it draws
    "RandomNormalLike<mean=0.5,scale=2.0>(m)": (0.5, 4.25),
    "RandomUniformLike<low=-1.0,high=3.0>(m)": (1.0, 16 / 12 + 1),
    "Bernoulli(q)": (0.3, 0.3),
}


def sampler(folder, draw, **more):
    return onnx_file(folder, SCALED.format(draw=draw), **WEIGHTS, **more)


def transport_form(model, draws=4096):
    """Jᵀ B Bᵀ J of the transport tensor on the probe rows [N, d, d]."""
    index = model.probe_index()
    phi, jacobian_of = jacobian(model)
    noise = Noise(0, index, draws, "auto")
    root = model.density.family.root(Tensors.TRANSPORT, phi, noise).dense()
    pulled = root @ jacobian_of
    return (pulled.mT @ pulled).numpy()


def expected_form(mean, square):
    """Σ_k E[(a_k + b_k e_k r)(a_k + b_k e_k r)ᵀ], r with these moments."""
    found = []
    for x in X.astype(np.float64):
        slopes = [(A[:, k], B[:, k] * np.exp(x @ B[:, k])) for k in range(2)]
        found.append(
            sum(
                np.outer(a, a)
                + mean * (np.outer(a, b) + np.outer(b, a))
                + square * np.outer(b, b)
                for a, b in slopes
            )
        )
    return np.array(found)


@pytest.mark.parametrize("draw", DRAWS)
def test_a_sampler_with_its_noise_inside_is_the_transport_it_computes(tmp_path, draw):
    path = sampler(tmp_path, draw, q=np.full((1, 2), 0.3, np.float32))
    if draw.startswith("Bernoulli"):
        text = SCALED.format(draw="Bernoulli(w)").replace(
            "r =", "w = Expand(q, size) r ="
        )
        text = text.replace("s = MatMul", "size = Shape(m) s = MatMul")
        path = onnx_file(tmp_path, text, **WEIGHTS, q=np.float32([[0.3, 0.3]]))
    model = opened(path, data_file(tmp_path, x=X), noise_in_graph=7)
    assert (model.head.contract, model.roles.noise) == ("transport", "noise")
    steps = draw.startswith("Bernoulli")  # no grid resolves a step
    close = {"rtol": 0.02, "atol": 0.02} if steps else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(
        transport_form(model), expected_form(*DRAWS[draw]), **close
    )


def test_the_referee_is_onnxruntime_on_the_rewritten_file(tmp_path):
    """It computes m + e (0.5 + 2 z) for a z that is given, as closed form says."""
    path = sampler(tmp_path, "RandomNormalLike<mean=0.5,scale=2.0>(m)")
    file = ExposedFile(path)
    proto = file.message()
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    z = RNG.normal(size=(12, 2)).astype(np.float32)
    (found,) = session.run(None, {"x": X, "noise": z})
    wanted = X @ A + np.exp(X @ B) * (0.5 + 2 * z)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    model = opened(path, data_file(tmp_path, x=X), noise_in_graph=7)
    assert model.forward_error < 1e-6
    assert model.gates.derivative_error < 1e-3
    plain = opened(
        onnx_file(tmp_path, "g (float[n,3] x) => (float[n,2] loc) "
                  "{ loc = MatMul(x, a) }", a=WEIGHTS["a"]),
        data_file(tmp_path, x=X), family="normal",
        parameters={"loc": "loc", "scale": "1.0"},
    )  # fmt: skip
    assert plain.network.weights_sha256 != model.network.weights_sha256


def test_normal_and_uniform_draws_share_one_normal_input(tmp_path):
    text = "g (float[n,3] x) => (float[n,2] sample) { m = MatMul(x,a)"
    text += " u = RandomUniformLike<low=2.0,high=5.0>(m) z = RandomNormalLike(m)"
    text += " k = Constant<value=float {0.4}>() t = Constant<value=bool {1}>()"
    text += " d = Dropout(u, k, t) p = Mul(m, d) sample = Add(p, z) }"
    file = ExposedFile(onnx_file(tmp_path, text, a=WEIGHTS["a"]))
    made = file.exposure
    assert (made.law, made.count, made.one_row) == ("normal", 6, False)
    session = onnxruntime.InferenceSession(file.message().SerializeToString())
    z = RNG.normal(size=(12, 6)).astype(np.float32)
    (found,) = session.run(None, {"x": X, "noise": z})
    u = (1 + erf(z.astype(np.float64) / np.sqrt(2))) / 2
    drawn, normal, mask = 2 + 3 * u[:, :2], z[:, 2:4], u[:, 4:] >= 0.4
    wanted = (X @ A) * drawn * mask / 0.6 + normal
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_weights_that_are_drawn_are_drawn_for_each_input(tmp_path):
    """θ = x (w + 0.1 z): E[J Jᵀ] = Σ_k w_k w_kᵀ + 0.01 · 2 · I, whatever the batch."""
    text = "g (float[n,3] x) => (float[n,2] sample) {"
    text += " z = RandomNormalLike<scale=0.1>(a) w = Add(a, z) sample = MatMul(x, w) }"
    path = onnx_file(tmp_path, text, a=WEIGHTS["a"])
    made = ExposedFile(path).exposure
    assert (made.count, made.one_row) == (6, True)
    model = opened(path, data_file(tmp_path, x=X), noise_in_graph=7)
    wanted = np.broadcast_to(A @ A.T + 0.02 * np.eye(3), (12, 3, 3))
    found = transport_form(model, 2048)
    np.testing.assert_allclose(found, wanted, rtol=0.01, atol=0.01)


DROPPED = "g (float[n,3] x) => (float[n,2] out) {{ h = MatMul(x,v) t = Tanh(h)"
DROPPED += " d = Dropout(t, ratio, training) {more} out = MatMul(d,w) }}"
V, W = RNG.normal(size=(3, 6)), RNG.normal(size=(6, 2)) / 2


def dropped(folder, more="", **changed):
    tensors = {
        "v": V.astype(np.float32),
        "w": W.astype(np.float32),
        "ratio": np.array(0.4, np.float32),
        "training": np.array(True),
    }
    return onnx_file(folder, DROPPED.format(more=more), **(tensors | changed))


def outputs_of_masks(x, seed=7, count=16):
    """Outputs [S, 2] at one x, in plain torch."""
    key = np.array([seed, 0], np.uint64)
    philox = np.random.Philox(key=key, counter=np.zeros(4, np.uint64))
    u = np.random.Generator(philox).random((count, 6))
    keep = torch.from_numpy((u.astype(np.float32) >= np.float32(0.4)) / 0.6)
    return (torch.tanh(x @ torch.from_numpy(V)) * keep) @ torch.from_numpy(W)


def fisher_of_root(model):
    phi, jacobian_of = jacobian(model)
    noise = Noise(0, model.probe_index(), 1024)
    root = model.density.family.root(Tensors.FISHER, phi, noise).dense()
    pulled = root @ jacobian_of
    return (pulled.mT @ pulled).numpy()


def test_dropout_is_the_mixture_over_its_masks(tmp_path):
    """F = ∫ s sᵀ q dθ, s = ∂ log q/∂x, by the trapezoid rule on a wide grid."""
    said = {"loc": "out[:, :1]", "scale": "exp(out[:, 1:])"}
    model = opened(
        dropped(tmp_path),
        data_file(tmp_path, x=X),
        noise_in_graph=7,
        family="normal",
        parameters=said,
    )
    assert model.density.family.name == "mixture:normal"
    assert model.forward_error < 1e-5
    found = fisher_of_root(model)
    theta = torch.linspace(-60, 60, 24001, dtype=torch.float64)
    for row in range(4):

        def log_q(x):
            out = outputs_of_masks(x)
            parts = torch.distributions.Normal(out[:, 0], out[:, 1].exp())
            each = parts.log_prob(theta[:, None])
            return torch.logsumexp(each, 1) - np.log(16)

        x = torch.from_numpy(X[row]).double()
        scores = torch.func.jacfwd(log_q)(x)
        mass = log_q(x).exp() * (theta[1] - theta[0])
        assert abs(float(mass.sum()) - 1) < 1e-8
        wanted = (scores * mass[:, None]).mT @ scores
        np.testing.assert_allclose(found[row], wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("said", ["logits=out", "probs=softmax(out)"])
def test_dropout_of_a_classifier_is_the_mean_of_its_probabilities(tmp_path, said):
    name, _, text = said.partition("=")
    model = opened(
        dropped(tmp_path),
        data_file(tmp_path, x=X),
        noise_in_graph=7,
        family="categorical",
        parameters={name: text},
    )
    assert model.density.family.name == "categorical"
    found = fisher_of_root(model)
    for row in range(12):

        def mean(x):
            return outputs_of_masks(x).softmax(-1).mean(0)

        x = torch.from_numpy(X[row]).double()
        slopes, p = torch.func.jacfwd(mean)(x), mean(x)
        wanted = slopes.mT @ (slopes / p[:, None])
        np.testing.assert_allclose(found[row], wanted, rtol=2e-4, atol=1e-6)


def test_the_report_says_how_many_masks_there_are(tmp_path):
    model = opened(
        dropped(tmp_path),
        data_file(tmp_path, x=X),
        noise_in_graph=7,
        family="poisson",
        parameters={"rate": "exp(out)"},
    )
    notes = dict(model.gates.warnings)
    assert "S = 16" in notes["noise_in_graph"]
    assert "Dropout (node" in notes["noise_in_graph"]
    assert ("mixture", "16 masks of equal weight") in [
        (item.name, item.value) for item in model.items
    ]


def test_samples_with_their_noise_inside_have_it_fixed(tmp_path):
    """θ_s = x A + exp(x B) z_s, one z for all: mean over s of J_sᵀ J_s."""
    text = "g (float[n,3] x) => (float[n,40,2] draws) { m = MatMul(x,a) s = MatMul(x,b)"
    text += " e = Exp(s) m1 = Unsqueeze(m, one) e1 = Unsqueeze(e, one)"
    text += " zero = Expand(m1, size) z = RandomNormalLike(zero) p = Mul(e1, z)"
    text += " draws = Add(m1, p) }"
    shape = {"one": np.array([1]), "size": np.array([1, 40, 2])}
    path = onnx_file(tmp_path, text, **WEIGHTS, **shape)
    data = data_file(tmp_path, x=X)
    model = opened(path, data, noise_in_graph=3, contract="samples")
    key = np.array([3, 0], np.uint64)
    philox = np.random.Philox(key=key, counter=np.zeros(4, np.uint64))
    u = torch.from_numpy(np.random.Generator(philox).random((1, 80)))
    z = torch.special.ndtri(u).reshape(40, 2).numpy()
    found = transport_form(model)
    for row, x in enumerate(X.astype(np.float64)):
        slopes = A.T + (B * np.exp(x @ B)).T * z[..., None]  # [S, 2, d]
        wanted = np.einsum("ski,skj->ij", slopes, slopes) / 40
        np.testing.assert_allclose(found[row], wanted, rtol=1e-4, atol=1e-5)


def numbers(config, **options):
    report = scan(replace(config, **options))
    return report.inputs.model_dump()


@pytest.mark.parametrize(
    ("contract", "workers"),
    [
        ("transport", 1),
        ("parameters", 1),
        pytest.param("transport", 2, marks=pytest.mark.slow),
        pytest.param("parameters", 2, marks=pytest.mark.slow),
    ],
)
def test_batches_and_workers_change_no_number_and_seeds_do(tmp_path, contract, workers):
    if contract == "transport":
        text = SCALED.format(draw="RandomNormalLike(m)").replace("n,2", "n,3")
        wide = {n: np.tile(w, (1, 2))[:, :3] for n, w in WEIGHTS.items()}
        path, model = onnx_file(tmp_path, text, **wide), {}
    else:
        path = dropped(tmp_path)
        model = {"family": "categorical", "parameters": {"logits": "out"}}
    model = ModelConfig(str(path), noise_in_graph=7, **model)
    config = ScanConfig(
        model=model,
        data=data_file(tmp_path, x=X),
        verify=0,
        draws_per_input=64,
        batch_size=5,
    )
    alone = numbers(config)
    assert alone
    assert numbers(config, batch_size=12) == alone
    assert numbers(config, workers=workers) == alone
    assert numbers(config, model=replace(model, noise_in_graph=8)) != alone
    if contract == "parameters":
        assert numbers(config, seed=4) == alone  # of the masks, not of the scan


def refusal(path, data, **options):
    with pytest.raises(AuditError) as caught:
        opened(path, data, **({"noise_in_graph": 7} | options))
    return caught.value


def test_without_the_option_the_next_step_names_it(tmp_path):
    data = data_file(tmp_path, x=X)
    error = refusal(sampler(tmp_path, "RandomNormalLike(m)"), data, noise_in_graph=None)
    assert "--noise-in-graph SEED" in error.next_step
    error = refusal(dropped(tmp_path), data, noise_in_graph=None, family="normal")
    assert "--noise-in-graph SEED" in error.next_step


def test_a_step_in_what_depends_on_the_condition_is_refused(tmp_path):
    data = data_file(tmp_path, x=X)
    text = SCALED.format(draw="Bernoulli(c)").replace("r =", "c = Sigmoid(s) r =")
    error = refusal(onnx_file(tmp_path, text, **WEIGHTS), data)
    assert "probability 'c' depends on an input" in error.given
    assert "@c" in error.next_step
    written = "u = RandomUniformLike(s) c = Sigmoid(s) l = Less(u, c)"
    written += " r = CastLike(l, u)"
    text = SCALED.replace("r = {draw}", written).format()
    error = refusal(onnx_file(tmp_path, text, **WEIGHTS), data)
    assert "Less (node 'l'): it compares noise" in error.given
    text = "g (float[n,3] x) => (int32[n,1] sample) { h = MatMul(x, a)"
    text += " sample = Multinomial<sample_size = 1>(h) }"
    error = refusal(onnx_file(tmp_path, text, a=WEIGHTS["a"]), data)
    assert "no output" in error.given
    error = refusal(
        onnx_file(tmp_path, text, a=WEIGHTS["a"]), data, noise_in_graph=None
    )
    assert "--noise-in-graph" not in str(error)
    assert "--family categorical" in error.next_step


def test_a_choice_by_noise_and_condition_is_told(tmp_path):
    written = "u = RandomUniformLike(s) c = Sigmoid(s) l = Less(u, c)"
    text = SCALED.replace("r = {draw}", f"{written} r = Where(l, u, s)").format()
    path, data = onnx_file(tmp_path, text, **WEIGHTS), data_file(tmp_path, x=X)
    notes = dict(opened(path, data, noise_in_graph=7).gates.warnings)
    assert "Where (node 'r') chooses by comparing noise" in notes["noise_in_graph"]
    other = opened(
        sampler(tmp_path, "RandomNormalLike(m)"), data, noise_in_graph=7
    ).gates
    assert "chooses" not in dict(other.warnings)["noise_in_graph"]


def test_noise_without_an_axis_for_the_rows_is_refused_or_drawn_for_each(tmp_path):
    data = data_file(tmp_path, x=X)
    fixed = "RandomNormal<shape=[12, 2]>()"  # the exporter's batch
    error = refusal(sampler(tmp_path, fixed), data)
    assert "with no axis for the rows" in error.given
    one = "RandomNormal<shape=[1, 2], mean=0.5, scale=2.0>()"
    model = opened(sampler(tmp_path, one), data, noise_in_graph=7)
    np.testing.assert_allclose(
        transport_form(model), expected_form(0.5, 4.25), rtol=1e-4, atol=1e-5
    )


def test_draws_repeated_within_a_row_are_no_row_s_noise(tmp_path):
    """[n, 3] reshaped to [3 n, 1]: one number for each row would be shared."""
    text = "g (float[n,3] x) => (float[n,3] sample) { r = Reshape(x, tall)"
    text += " z = RandomNormalLike(r) p = Mul(r, z) sample = Reshape(p, wide) }"
    shapes = {"tall": np.array([-1, 1]), "wide": np.array([-1, 3])}
    path = onnx_file(tmp_path, text, **shapes)
    error = refusal(path, data_file(tmp_path, x=X))
    assert "is invalid for input of size 12" in error.given


OTHERS = {
    "no random operator": ({"text": "loc"}, "no output of"),
    "density": ({"contract": "density"}, "density"),
    "two noises": ({"noise": "z:normal"}, "--noise z:normal"),
    "quantiles": ({"family": "quantile"}, "the family quantile"),
    "a product": ({"family": "normal,poisson"}, "the family normal,poisson"),
    "parameters": ({"family": "normal", "space": "parameters"}, "--space parameters"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_it_does_not_go_with_is_refused(tmp_path, case):
    options, given = OTHERS[case]
    options, path = dict(options), dropped(tmp_path)
    if options.pop("text", None):
        text = "g (float[n,3] x) => (float[n,2] loc) { loc = MatMul(x, a) }"
        path = onnx_file(tmp_path, text, a=WEIGHTS["a"])
    if "family" in options:
        options["parameters"] = {"loc": "out", "scale": "1.0"}
    error = refusal(path, data_file(tmp_path, x=X), **options)
    assert given in error.given


def test_only_onnx_graphs_can_be_rewritten(tmp_path):
    class Scaled(torch.nn.Module):
        def forward(self, x):
            return {"loc": x, "scale": x.exp()}

    error = refusal(script_file(tmp_path, Scaled()), data_file(tmp_path, x=X))
    assert isinstance(error, ConfigError)
    assert "ONNX" in error.expected


def test_an_output_that_could_be_a_draw_or_a_parameter_is_asked_for(tmp_path):
    error = refusal(dropped(tmp_path), data_file(tmp_path, x=X))
    assert "does not say its family" in error.given
    assert "--contract transport" in error.next_step


def test_masks_are_the_same_in_double(tmp_path):
    said = {"family": "categorical", "parameters": {"logits": "out"}}
    path, data = dropped(tmp_path), data_file(tmp_path, x=X)
    single, double = (
        fisher_of_root(opened(path, data, noise_in_graph=7, dtype=kind, **said))
        for kind in ("auto", "float64")
    )
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-6)
    assert not np.array_equal(single, double)


def test_random_operators_that_nobody_reads_stay_where_they_are(tmp_path):
    text = "g (float[n,3] x) => (float[n,2] sample) { m = MatMul(x,a)"
    text += " q = Sigmoid(m) c = Bernoulli(q) z = RandomNormalLike(m)"
    text += " sample = Add(m, z) }"
    path = onnx_file(tmp_path, text, a=WEIGHTS["a"])
    made = ExposedFile(path).exposure
    assert made.count == 2
    assert len(made.operators) == 1


def test_a_body_that_draws_is_refused(tmp_path):
    body = "then_branch = t () => (float[n,2] u) { u = RandomNormalLike(m) }"
    text = "g (float[n,3] x, bool c) => (float[n,2] sample) { m = MatMul(x,a) r = "
    text += f"If (c) <{body}, else_branch = e () => (float[n,2] w) "
    text += "{ w = Identity(m) }> sample = Add(m, r) }"
    proto = graph(text, a=WEIGHTS["a"])
    onnx.save(proto, tmp_path / "model.onnx")
    error = refusal(tmp_path / "model.onnx", data_file(tmp_path, x=X))
    assert "inside the body" in error.given


def test_what_exporters_write_for_torch_noise_and_dropout(tmp_path):
    class Sampler(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lay = torch.nn.Linear(3, 6)
            self.drop = torch.nn.Dropout(0.25)

        def forward(self, x):
            h = self.drop(self.lay(x))
            return h[:, :3] + h[:, 3:].exp() * torch.randn(x.shape[0], 3)

    path = tmp_path / "exported.onnx"
    torch.onnx.export(
        Sampler().train(),
        (torch.randn(5, 3),),
        str(path),
        input_names=["x"],
        output_names=["sample"],
        dynamic_shapes={"x": {0: torch.export.Dim("n")}},
        dynamo=True,
        verbose=False,
    )
    made = ExposedFile(path).exposure
    assert (made.law, made.count, made.one_row) == ("normal", 9, False)
    model = opened(path, data_file(tmp_path, x=X), noise_in_graph=7)
    assert model.head.contract == "transport"
    assert model.forward_error < 1e-5
