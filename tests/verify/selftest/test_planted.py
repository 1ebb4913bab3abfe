"""Every mistake is planted in a saved file, and caught with the words."""

import math
import re

import numpy as np
import pytest
import torch
from scans import written
from torch import nn

from audit.run.selftest import selftest
from audit.verify.selftest.members import _is_softened
from verify.selftest.planted import (
    A,
    B,
    Base,
    BatchNorm,
    Dropout,
    Leaky,
    Noisy,
    Remembers,
    drawn,
    inputs,
    onnx_head,
    onnx_text,
    script,
)
from verify.selftest.planted import (
    tested as run_tests,
)

SAME = "h = Identity(x)"


def failed(lines):
    return {name for name, line in lines.items() if line.status == "failed"}


def test_the_honest_head_passes_in_both_formats(tmp_path):
    x = inputs()
    for path in (script(tmp_path, Base()), onnx_head(tmp_path, SAME)):
        code, lines = run_tests(tmp_path, path, x=x, theta=drawn(x))
        assert code == 0, lines
        assert not failed(lines)
        assert lines["residuals"].status == "passed"
        assert lines["exact_divergence"].numbers["kl"] < 1e-6
        assert {line.status for line in lines.values()} <= {"passed", "not applicable"}


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Dropout(), "dropout in training mode"),
        (Noisy(), "random numbers drawn inside the model"),
        (Remembers(0.1), "memory of earlier calls"),
    ],
    ids=["dropout", "random", "state"],
)
def test_what_is_no_function_is_told_apart_although_its_gate_is_closed(
    tmp_path, module, said
):
    code, lines = run_tests(tmp_path, script(tmp_path, module))
    assert code == 1
    assert lines["gates"].status == "failed"
    assert "called again with the same inputs" in lines["gates"].said
    assert said in lines["runs_twice"].said
    assert "model.eval()" in lines["runs_twice"].todo
    assert lines["exact_divergence"].status == "not run"


def test_a_drift_below_the_gate_is_caught(tmp_path):
    code, lines = run_tests(tmp_path, script(tmp_path, Remembers(5e-6)))
    assert code == 1
    assert lines["gates"].status == "passed"
    assert "memory of earlier calls" in lines["runs_twice"].said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("r = RandomNormalLike(x)\n h = Add(x, r)", "draws random numbers"),
        ("h = Dropout(x, ratio, yes)", "training mode"),
        (
            "h, m, v = BatchNormalization<training_mode=1>(x, w, w, w, w)",
            "training_mode=1",
        ),
    ],
    ids=["random", "dropout", "batch norm"],
)
def test_an_onnx_graph_of_training_fails_the_gates_and_is_no_traceback(
    tmp_path, body, said
):
    weights = {
        "ratio": np.float32(0.3),
        "yes": np.array(True),
        "w": np.ones(4, np.float32),
    }
    used = {name: value for name, value in weights.items() if name in body}
    code, lines = run_tests(tmp_path, onnx_head(tmp_path, body, **used))
    assert code == 1
    assert failed(lines) == {"gates"}
    assert said in lines["gates"].said
    assert {line.status for line in lines.values()} == {"failed", "not run"}


MEAN = "m = ReduceMean<axes=[0], keepdims=1>(x)\n"


def test_batch_normalisation_in_training_mode_is_named(tmp_path):
    body = MEAN + (
        "c = Sub(x, m)\n q = Mul(c, c)\n v = ReduceMean<axes=[0], keepdims=1>(q)\n"
        "t = Sqrt(v)\n h = Div(c, t)"
    )
    for path in (script(tmp_path, BatchNorm()), onnx_head(tmp_path, body)):
        code, lines = run_tests(tmp_path, path)
        assert code == 1
        assert "The rows of a batch interact" in lines["gates"].said
        assert "batch normalisation in training mode" in lines["rows_alone"].said


def test_rows_that_interact_below_the_gate_are_caught(tmp_path):
    body = MEAN + "e = Mul(m, small)\n h = Add(x, e)"
    small = np.array([1e-6], np.float32)
    paths = script(tmp_path, Leaky()), onnx_head(tmp_path, body, small=small)
    for path in paths:
        code, lines = run_tests(tmp_path, path)
        assert code == 1
        assert lines["gates"].status == "passed"
        assert failed(lines) == {"rows_alone"}


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_a_log_variance_read_as_a_log_standard_deviation_is_caught(tmp_path, kind):
    path = onnx_head(tmp_path, SAME) if kind == "onnx" else script(tmp_path, Base())
    x = inputs()
    code, lines = run_tests(tmp_path, path, x=x, theta=drawn(x, power=0.5))
    assert code == 1
    assert failed(lines) == {"residuals"}
    line = lines["residuals"]
    assert "a log-variance is read as a log-standard deviation" in line.said
    assert "exp(0.5*NAME)" in line.todo
    z = (drawn(x, power=0.5) - x @ A) / np.exp(log_scale(x))
    assert line.numbers["variance"] == pytest.approx(np.square(z).mean(), rel=1e-5)


def log_scale(x):
    return x @ B - 2


def test_a_misreading_that_a_factor_explains_as_well_is_said(tmp_path):
    """log σ is nearly −1 in all rows: read as a log-variance or as e^½ = 1.65 σ."""
    x, path = inputs(), onnx_head(tmp_path, SAME)
    nearly = {"loc": "loc", "scale": "exp(0.05 * log_scale - 0.9)"}
    log_sigma, z = 0.05 * log_scale(x) - 0.9, np.random.default_rng(4).normal(size=400)
    for power, said in (
        (0.5, "as if a log-variance is read as a log-standard deviation"),
        (1.0, "no usual misreading explains θ better"),
    ):
        noise = z[: len(x), None] * np.exp(power * log_sigma)
        theta = (x @ A + noise).astype(np.float32)
        code, lines = run_tests(tmp_path, path, x=x, theta=theta, parameters=nearly)
        assert code == 0, lines
        assert said in lines["residuals"].said
        factor = re.search(r"'scale' is (1\.\d) times", lines["residuals"].said)
        assert bool(factor) == (power < 1)
        if factor:  # within three standard errors of √(mean z²) e^½
            assert float(factor[1]) == pytest.approx(math.exp(0.5), rel=0.15)


SWAPPED = {
    "exp": ({"loc": "log_scale", "scale": "exp(loc)"}, np.exp),
    "softplus": (
        {"loc": "log_scale", "scale": "softplus(loc)"},
        lambda a: np.log1p(np.exp(a)),
    ),
}


@pytest.mark.parametrize("link", SWAPPED)
def test_outputs_that_were_exchanged_are_caught(tmp_path, link):
    """θ ~ N(xA, g(xB − 2)), and the file's outputs are named the wrong way round."""
    parameters, function = SWAPPED[link]
    x = inputs()
    noise = np.random.default_rng(3).normal(size=(len(x), 1))
    theta = (x @ A + function(log_scale(x)) * noise).astype(np.float32)
    path = onnx_head(tmp_path, SAME)
    code, lines = run_tests(tmp_path, path, x=x, theta=theta, parameters=parameters)
    assert code == 1
    assert failed(lines) == {"residuals"}
    assert "from the output of 'scale', and the reverse" in lines["residuals"].said
    right = {"loc": "loc", "scale": parameters["scale"].replace("loc", "log_scale")}
    code, lines = run_tests(tmp_path, path, x=x, theta=theta, parameters=right)
    assert code == 0, lines["residuals"]


def test_a_standard_deviation_read_as_a_variance_is_caught(tmp_path):
    x = inputs()
    path = onnx_head(tmp_path, SAME)
    code, lines = run_tests(tmp_path, path, x=x, theta=drawn(x, power=2.0))
    assert code == 1
    assert "a standard deviation as a variance" in lines["residuals"].said


@pytest.mark.parametrize("factor", [0.3, 0.6, 1.7, 3.0])
def test_a_constant_over_or_under_confidence_is_no_misreading(tmp_path, factor):
    path = onnx_head(tmp_path, SAME)
    for seed in range(5):
        x = inputs(seed=seed)
        theta = x @ A + factor * (drawn(x, seed=seed + 50) - x @ A)
        code, lines = run_tests(tmp_path, path, x=x, theta=theta.astype(np.float32))
        assert code == 0, lines["residuals"]


CLASSES = """head (float[n, 4] x) => (float[n, 3] y, float[n, 3] l) {
    l = MatMul(x, w)
    y = Softmax(l)
}"""
W = np.random.default_rng(9).normal(size=(4, 3)).astype(np.float32)


class Classifier(nn.Module):
    def forward(self, x):
        logits = x @ torch.from_numpy(W)
        return {"y": torch.softmax(logits, -1), "l": logits}


def script_of(folder, module):
    path = folder / "twice.pt"
    torch.jit.trace(module, torch.zeros(2, 4), strict=False).save(str(path))
    return path


def classifiers(folder):
    path = folder / "classes.pt"
    torch.jit.trace(Classifier(), torch.zeros(2, 4), strict=False).save(str(path))
    return onnx_text(folder, CLASSES, w=W), path


def test_probabilities_read_as_logits_are_caught(tmp_path):
    for path in classifiers(tmp_path):
        code, lines = run_tests(tmp_path, path, "categorical", {"logits": "y"})
        assert code == 1
        assert failed(lines) == {"probabilities_as_logits"}
        line = lines["probabilities_as_logits"]
        assert "probabilities are read as logits" in line.said
        assert "probs=NAME" in line.todo
        assert run_tests(tmp_path, path, "categorical", {"probs": "y"})[0] == 0
        assert run_tests(tmp_path, path, "categorical", {"logits": "l"})[0] == 0


SIGMOIDS = """head (float[n, 4] x) => (float[n, 3] y) {
    l = MatMul(x, w)  m = Sigmoid(l)  y = Identity(m)
}"""


def test_moderate_sigmoids_read_as_logits_are_caught_by_the_graph(tmp_path):
    """They fill no [0, 1], as logits of an honest model need not; the graph tells."""
    path = onnx_text(tmp_path, SIGMOIDS, w=W / 10)
    for logits in ("y", "y[:, :2]"):
        code, lines = run_tests(tmp_path, path, "bernoulli", {"logits": logits})
        assert (code, failed(lines)) == (1, {"probabilities_as_logits"})
        assert "probs=NAME" in lines["probabilities_as_logits"].todo
    assert run_tests(tmp_path, path, "bernoulli", {"probs": "y"})[0] == 0
    for honest in ("logit(y)", "2*y - 1"):
        assert run_tests(tmp_path, path, "bernoulli", {"logits": honest})[0] == 0


TWICE = """head (float[n, 4] x) => (float[n, 3] y) {
    l = MatMul(x, w)  p = Softmax<axis=-1>(l)  y = Softmax<axis=-1>(p)
}"""


class Twice(nn.Module):
    """A softmax of a softmax of 4 x W."""

    def __init__(self):
        super().__init__()
        self.register_buffer("w", torch.from_numpy(4 * W))

    def forward(self, x):
        inner = torch.softmax(x @ self.w, -1)
        return {"y": torch.softmax(inner, -1), "p": inner}


def test_a_softmax_of_probabilities_is_caught(tmp_path):
    """With a look inside (ONNX) the tensor before it is named; else log y tells it."""
    path = onnx_text(tmp_path, TWICE, w=4 * W)
    code, lines = run_tests(tmp_path, path, "categorical", {"probs": "y"})
    assert code == 1
    assert failed(lines) == {"probabilities_as_logits"}
    assert "--param probs=@p" in lines["probabilities_as_logits"].todo
    path = script_of(tmp_path, Twice())
    code, lines = run_tests(tmp_path, path, "categorical", {"probs": "y"})
    assert failed(lines) == {"probabilities_as_logits"}
    assert "applied twice" in lines["probabilities_as_logits"].said
    assert run_tests(tmp_path, path, "categorical", {"probs": "p"})[0] == 0


@pytest.mark.parametrize("size", [0.05, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("outer", [0.0, 0.9, 1.1, 3.0])
def test_an_honest_law_is_no_softmax_of_probabilities(size, outer):
    """Flat laws, such that end at another ratio than e, and such that end nowhere."""
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    logits = size * x @ torch.from_numpy(W)
    if outer:
        logits = outer * torch.softmax(4 * logits, -1)
    assert not _is_softened(torch.softmax(logits, -1))


def test_inputs_that_repeat_are_counted(tmp_path):
    """Five rows, eighty times each; rows of integers are as good as any."""
    x = np.repeat(inputs(5), 80, axis=0)
    _, lines = run_tests(tmp_path, script(tmp_path, Base()), x=x)
    assert "only 5 of 400 inputs are distinct" in lines["gates"].said
    assert lines["gates"].status == "passed"
    _, lines = run_tests(tmp_path, script(tmp_path, Base()), x=inputs(400))
    assert "distinct" not in lines["gates"].said


def test_logits_read_as_probabilities_are_caught(tmp_path):
    for path in classifiers(tmp_path):
        code, lines = run_tests(tmp_path, path, "categorical", {"probs": "l"})
        assert code == 1
        assert "members" in failed(lines)
        assert "logits are probably read as probabilities" in lines["members"].todo


def test_cancellation_in_float32_is_caught(tmp_path):
    body = "u = Add(x, big)\n d = Sub(u, big)\n h = Mul(d, d)"
    path = onnx_head(tmp_path, body, big=np.array([3e4], np.float32))
    code, lines = run_tests(tmp_path, path, x=inputs() * 0.05 - 12)
    said = {name: line.said for name, line in lines.items()}
    assert code == 1, said
    assert failed(lines) == {"float32_against_float64"}, said
    assert "--dtype float64" in lines["float32_against_float64"].todo


def test_theta_that_is_impossible_says_so(tmp_path):
    x = inputs()
    path = onnx_head(tmp_path, SAME)
    head = {"rate": "exp(log_scale)"}
    code, lines = run_tests(tmp_path, path, "poisson", head, x=x, theta=drawn(x) - 5)
    assert code == 1
    assert "impossible under poisson" in lines["residuals"].said


def with_weights(a, b):
    """Return the honest head with weights of its own."""
    network = Base()
    network.a = nn.Parameter(torch.from_numpy(a).float())
    network.b = nn.Parameter(torch.from_numpy(b).float())
    return network


def learned(n=200, seed=3):
    """Inputs of other units than the head's, which are standardised, and θ of these."""
    raw = np.random.default_rng(seed).normal(size=(n, 4))
    raw = raw * np.array([30.0, 0.2, 7.0, 100.0]) + np.array([500.0, 3.0, -40.0, 0.0])
    apart = (raw - raw.mean(0)) / raw.std(0)
    return raw.astype(np.float32), apart.astype(np.float32)


def test_inputs_that_were_not_standardised_are_caught(tmp_path):
    raw, x = learned()
    path, theta = onnx_head(tmp_path, "h = Tanh(x)"), drawn(np.tanh(x))
    code, lines = run_tests(tmp_path, path, x=x, theta=theta)
    assert code == 0, lines
    code, lines = run_tests(tmp_path, path, x=raw, theta=theta)
    assert code == 1
    assert "the inputs are not standardised" in lines["residuals"].said
    then = np.square((theta - np.tanh(x) @ A) / np.exp(np.tanh(x) @ B - 2)).mean()
    assert f"the variance {then:.3g} instead of" in lines["residuals"].said


def test_theta_that_was_not_standardised_is_caught(tmp_path):
    """The head's weights are such that θ has the deviation one, and the mean zero."""
    x, apart = inputs(200), np.random.default_rng(4).normal(size=(200, 1))
    apart -= x @ np.linalg.lstsq(x, apart, rcond=None)[0]  # so that both add up
    apart *= np.exp(x @ B / 4 - 2)
    a = A * np.sqrt(1 - apart.var()) / (x @ A).std()
    network = with_weights(a, B / 4)
    theta = ((x @ a + apart) * 50 + 1000).astype(np.float32)
    code, lines = run_tests(tmp_path, script(tmp_path, network), x=x, theta=theta)
    assert code == 1
    assert "the θ of the data are not standardised" in lines["residuals"].said


@pytest.mark.parametrize("n", [200, 1000])
def test_theta_of_other_rows_are_caught(tmp_path, n):
    x = inputs(n)
    theta = drawn(x)
    path = onnx_head(tmp_path, SAME)
    assert run_tests(tmp_path, path, x=x, theta=theta)[0] == 0
    other = np.random.default_rng(8).permutation(n)
    code, lines = run_tests(tmp_path, path, x=x, theta=theta[other])
    assert code == 1
    assert failed(lines) == {"residuals"}
    assert "nothing to do with the x of their own rows" in lines["residuals"].said
    share = lines["residuals"].numbers["own_share"]
    assert abs(share - 0.5) <= 3 * 0.5 / np.sqrt(n)


def test_a_model_that_has_learned_nothing_is_not_said_to_be_shuffled(tmp_path):
    """Its law is the same at all inputs, so no order of θ is another one."""
    network = with_weights(0 * A, 0 * B)
    theta = (np.exp(-2) * np.random.default_rng(1).normal(size=(200, 1))).astype("f4")
    path = script(tmp_path, network)
    _, lines = run_tests(tmp_path, path, x=inputs(200), theta=theta)
    assert lines["residuals"].status == "passed", lines["residuals"]


@pytest.mark.parametrize("wrong", [False, True])
def test_classes_in_another_order_are_caught(tmp_path, wrong):
    """Labels 0 to 4, drawn from the model's own law, or renamed by a cycle."""
    rng = np.random.default_rng(6)
    w = (3 * rng.normal(size=(4, 5))).astype(np.float32)
    path = onnx_text(
        tmp_path,
        "head (float[n, 4] x) => (float[n, 5] logits) { logits = MatMul(x, w) }",
        w=w,
    )
    x = inputs(400)
    label = (x @ w + rng.gumbel(size=(400, 5))).argmax(1)
    label = (label + 1) % 5 if wrong else label
    code, lines = run_tests(
        tmp_path, path, "categorical", {"logits": "logits"}, x=x, theta=label
    )
    assert code == int(wrong), lines["residuals"]
    if wrong:
        assert (
            "the classes of the model are in another order" in lines["residuals"].said
        )


def test_of_steps_no_other_method_is_advised_once_it_is_in_use(tmp_path):
    def stairs(x):
        return torch.floor(8 * x) / 8

    model = {"family": "normal", "parameters": {"loc": "output", "scale": "1"}}
    said = written(tmp_path, stairs, inputs(), model, method="finite-difference")
    (line,) = (a for a in selftest(said).lines if a.check == "exact_divergence")
    assert line.status == "failed"
    assert line.todo.endswith("goes in steps: read the realised columns")


class Sure(nn.Module):
    def __init__(self, offset):
        super().__init__()
        self.linear = nn.Linear(3, 1)
        nn.init.constant_(self.linear.weight, 0.5)
        nn.init.constant_(self.linear.bias, offset)

    def forward(self, x):
        return torch.sigmoid(self.linear(x))


@pytest.mark.parametrize(
    ("offset", "judged"), [(0.0, True), (12.0, True), (34.0, False)]
)
def test_what_only_last_digits_tell_is_not_judged(tmp_path, offset, judged):
    """1 − p is e^{−34} = 1.7e-15, and a double next to one has steps of 1.1e-16."""
    x = 0.5 * np.random.default_rng(0).normal(size=(20, 3))
    path = script(tmp_path, Sure(offset).double())
    said = ("bernoulli", {"probs": "output"})
    code, lines = run_tests(tmp_path, path, *said, x=x)
    assert code == 0, lines
    line = lines["exact_divergence"]
    assert line.status == ("passed" if judged else "not applicable")
    if judged:
        assert line.numbers["quantile"] < 1e-3
