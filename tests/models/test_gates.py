"""The four gates: what each refuses, in its own words, and what all record."""

import re
import time

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from scans import DATA, FORMATS, SAMPLES, columns, sample, scan
from torch import nn

import audit
from audit.config import ModelConfig, ScanConfig
from audit.ground.errors import ModelError, NotDifferentiable
from audit.importer import registry
from models.saved import (
    data_file,
    jacobian,
    onnx_file,
    opened,
    pt2_file,
    script_file,
    trace_file,
)
from models.test_planted import wrong

NORMAL = {"family": "normal"}
TEXT = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "


def refused(kind, path, data, *words, **options):
    with pytest.raises(kind) as error:
        opened(path, data, **({"family": "normal"} | options))
    for each in words:
        assert each in str(error.value), str(error.value)
    return error.value


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", sorted(DATA))
def test_every_sample_model_passes_and_is_far_from_the_limits(name):
    for suffix in FORMATS:
        model = opened(SAMPLES / f"{name}{suffix}", str(SAMPLES / f"{DATA[name]}.npz"))
        found = model.gates
        assert found.forward_error < 1e-5
        assert found.row_interaction < 1e-5
        assert found.warnings == ()
        if (name, suffix) == ("sunspots_quantiles", ".pt"):  # cannot run in float64
            assert found.derivative_error < 5e-3
        else:
            assert found.derivative_error_float64 < 1e-7
        if suffix == ".onnx":
            assert found.derivative_error < 3e-2 or found.derivative_floor > 1e-2


def test_gates_are_cheap():
    sample_of = {"data": str(SAMPLES / "digits_cnn.npz")}
    opened(SAMPLES / "digits_cnn.onnx", **sample_of)
    for suffix in FORMATS:
        start = time.process_time()
        opened(SAMPLES / f"digits_cnn{suffix}", **sample_of)
        assert time.process_time() - start < 0.5


def test_the_report_records_every_gate():
    model = scan(sample("heteroscedastic")).model
    assert set(model.gates) == {
        "forward_error",
        "derivative_error",
        "derivative_floor",
        "derivative_error_float64",
        "derivative_evidence",
        "row_interaction",
    }
    assert model.gates["derivative_evidence"] == (
        "central differences through its float64 run and onnxruntime"
    )
    assert model.derivative.method == "batched reverse mode"


# (a) parity


def test_a_wrong_operator_is_named(tmp_path, monkeypatch):
    text = TEXT + "{ a = Tanh(x)  b = Softplus(a)  mean = Add(b, x)  std = Exp(b) }"
    path, data = onnx_file(tmp_path, text), data_file(tmp_path)
    opened(path, data)
    for entry in registry._OPERATORS[("", "Softplus")]:
        monkeypatch.setitem(entry.__dict__, "run", lambda x: torch.relu(x))
    error = refused(ModelError, path, data, "differs from onnxruntime's by")
    assert "first at Softplus (node" in str(error)
    assert "--method finite-difference needs onnxruntime alone" in str(error)


def test_a_value_that_is_infinite_in_one_run_alone_is_infinitely_off(
    tmp_path, monkeypatch
):
    text = "g (float[n,3] x) => (float[n,3] mean) { s = Relu(x)  mean = Log(s) }"
    path, data = onnx_file(tmp_path, text), data_file(tmp_path)
    for entry in registry._OPERATORS[("", "Log")]:
        monkeypatch.setitem(entry.__dict__, "run", lambda x: (x + 1e-9).log())
    parameters = {"loc": "mean", "scale": "1"}
    words = "by inf of its size, first at Log (node"
    refused(ModelError, path, data, words, parameters=parameters)


SATURATING = "g (float[n,3] x) => (float[n,3] mean) { s = Sigmoid(x)  mean = Log(s) }"
TAIL = np.linspace(-25, 0, 36, dtype=np.float32).reshape(12, 3)
AT_LOG = {"family": "normal", "parameters": {"loc": "mean", "scale": "1"}}


def test_what_onnxruntime_loses_to_rounding_is_a_warning(tmp_path):
    # its Sigmoid is 0 below −18, where the logarithm of the true one is x
    path, data = onnx_file(tmp_path, SATURATING), data_file(tmp_path, x=TAIL)
    model = opened(path, data, **AT_LOG)
    ((code, words),) = model.gates.warnings
    assert code == "rounding"
    assert "infinite there" in words
    assert model.gates.forward_error == np.inf
    _, found = jacobian(model)
    x, _ = model.rows(model.probe_index())
    slope = torch.diag_embed(1 / (1 + x.double().exp()))  # of log σ
    torch.testing.assert_close(found[:, :3], slope, rtol=1e-6, atol=0)


@pytest.mark.parametrize("op", ["Sigmoid", "Log"])
def test_a_wrong_operator_is_named_where_rounding_is_lost_too(
    tmp_path, monkeypatch, op
):
    path, data = onnx_file(tmp_path, SATURATING), data_file(tmp_path, x=TAIL)
    for entry in registry._OPERATORS[("", op)]:
        run = entry.run
        monkeypatch.setitem(
            entry.__dict__, "run", lambda x, run=run: run(x * (1 + 1e-3))
        )
    refused(ModelError, path, data, f"by inf of its size, first at {op}", **AT_LOG)


def test_rounding_that_we_amplify_too_is_not_excused_by_the_operators(tmp_path):
    # sin(1e7 y) in float32 is noise: each operator is right, and no number is
    text = "g (float[n,3] x) => (float[n,3] mean) { t = Mul(x, k)  y = Sin(t) "
    text += "u = Mul(y, k)  mean = Sin(u) }"
    path = onnx_file(tmp_path, text, k=np.full((1, 3), 1e7, np.float32))
    refused(ModelError, path, data_file(tmp_path), "differs from onnx", **AT_LOG)
    refused(ModelError, path, data_file(tmp_path), "rounding is most of it", **AT_LOG)


def test_the_tail_of_a_sigmoid_is_a_warning(tmp_path):
    text = (
        "g (float[n,3] x) => (float[n,3] probs) { t = Sub(x, c)  probs = Sigmoid(t) }"
    )
    path = onnx_file(tmp_path, text, c=np.full((1, 3), 60, np.float32))
    read = {"parameters": {"probs": "1 * probs"}}  # not by its logit, which is exact
    found = opened(path, data_file(tmp_path), family="bernoulli", **read).gates
    assert [code for code, _ in found.warnings][:1] == ["rounding"]


def test_rounding_that_the_model_amplifies_is_a_warning(tmp_path):
    text = "g (float[n,64] x) => (float[n,2] mean, float[n,2] std) "
    text += "{ y = MatMul(x, w)  t = Mul(y, k)  mean = Sin(t)  std = Exp(mean) }"
    w = np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)
    path = onnx_file(tmp_path, text, k=np.full((1, 2), 3000, np.float32), w=w)
    found = opened(path, data_file(tmp_path, d=64, n=32)).gates
    assert found.forward_error > 1e-4
    assert found.warnings[0][0] == "rounding"
    assert "--dtype float64 is safer" in found.warnings[0][1]


def test_random_files_are_refused(tmp_path):
    path = trace_file(
        tmp_path,
        lambda x: {"mean": x + torch.randn_like(x), "std": x.exp()},
        torch.ones(4, 3),
    )
    refused(ModelError, path, data_file(tmp_path), "'mean' changes by", "model.eval()")


def test_dropout_left_on_is_refused(tmp_path):
    class Net(nn.Module):
        def forward(self, x):
            return {"mean": torch.dropout(x, 0.5, True), "std": x.exp()}

    path = pt2_file(tmp_path, Net(), torch.ones(4, 3))
    refused(ModelError, path, data_file(tmp_path), "no random numbers")


class Head(nn.Module):
    """A layer behind a part of a training step: 0.7 x in the evaluation mode."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        h = 0.7 * self.part(x)
        return {"mean": h, "std": torch.exp(0.1 * x)}


TRAINED = {
    nn.Dropout(0.5): ("'mean' changes by", "model.eval()"),
    nn.BatchNorm1d(3, affine=False, eps=1e-9): ("when training", "model.eval()"),
}


@pytest.mark.parametrize("part", TRAINED, ids=["dropout", "batch norm"])
def test_a_script_is_run_in_the_mode_it_was_saved_in(tmp_path, part):
    data = data_file(tmp_path)
    path = script_file(tmp_path, Head(part).train())
    refused(ModelError, path, data, *TRAINED[part])
    path = script_file(tmp_path, Head(part).eval(), "still.pt")
    _, j = jacobian(opened(path, data, family="normal"))
    np.testing.assert_allclose(j[0, :3], 0.7 * np.eye(3), atol=1e-6)


class Insists(nn.Module):
    """Takes so many rows, of numbers up to a size."""

    def __init__(self, least: int, most: int, size: float):
        super().__init__()
        self.least, self.most, self.size = least, most, size

    def forward(self, x):
        assert self.least <= x.shape[0] <= self.most, "not that many"
        assert bool((x.abs() <= self.size).all()), "out of range"
        return {"mean": 0.7 * x, "std": torch.exp(0.1 * x)}


def test_a_script_that_takes_so_many_rows_gets_blocks_of_them(tmp_path):
    path = script_file(tmp_path, Insists(12, 12, 1e9))
    model = opened(path, data_file(tmp_path), family="normal")  # 12 rows
    _, j = jacobian(model)
    np.testing.assert_allclose(j[5, :3], 0.7 * np.eye(3), atol=1e-6)


@pytest.mark.parametrize(
    ("least", "most", "beyond", "said"),
    [(2, 12, 1e9, "not that many"), (1, 9999, 1e-6, "out of range")],
    ids=["rows alone", "moved inputs"],
)
def test_a_script_that_raises_on_other_inputs_is_refused_with_its_words(
    tmp_path, least, most, beyond, said
):
    data = data_file(tmp_path)
    size = float(np.abs(np.load(data)["x"]).max()) + beyond
    path = script_file(tmp_path, Insists(least, most, size))
    words = (f"raises an error of its own (RuntimeError: AssertionError: {said})",)
    refused(ModelError, path, data, *words, "without such a check")


def test_an_exported_program_that_raises_on_moved_inputs_is_refused_with_its_words(
    tmp_path,
):
    class Net(nn.Module):
        def forward(self, x):
            torch.ops.aten._assert_async.msg(x.abs().max() <= size, "out of range")
            return {"mean": 0.7 * x, "std": torch.exp(0.1 * x)}

    data = data_file(tmp_path)
    example = torch.from_numpy(np.load(data)["x"])
    size = float(example.abs().max()) + 1e-6
    path = pt2_file(tmp_path, Net(), example)
    words = "raises an error of its own (out of range)", "It was given x ["
    refused(ModelError, path, data, *words, "without such a check")


class Remembers(nn.Module):
    """Keeps the first rows it sees and adds their mean to all later ones."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x):
        if float(self.seen.abs().sum()) == 0.0:
            self.seen.copy_(x[0])
        return {"mean": x + self.seen, "std": x.exp()}


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return {"mean": x * self.calls, "std": x.exp()}


@pytest.mark.parametrize(
    ("module", "words"),
    [(Counts(), ("is called again",)), (Remembers(), ("is loaded again",))],
)
def test_files_with_a_memory_are_refused(tmp_path, module, words):
    path = script_file(tmp_path, module)
    refused(ModelError, path, data_file(tmp_path), "model.eval()", *words)


class Shivers(nn.Module):
    """Adds random numbers below any tolerance for rounding."""

    def forward(self, x):
        return {"mean": x + 1e-6 * torch.randn_like(x), "std": x.exp()}


@pytest.mark.parametrize("format_", ["script", "pt2"])
def test_random_numbers_below_the_tolerance_are_refused_too(tmp_path, format_):
    if format_ == "script":
        path = script_file(tmp_path, Shivers())
    else:
        path = pt2_file(tmp_path, Shivers(), torch.randn(2, 3))
    refused(ModelError, path, data_file(tmp_path), "is called again")


class Short(nn.Module):
    """N(w x, 1) in bfloat16: tr F is |w|², of weights that it can hold."""

    def __init__(self):
        super().__init__()
        weights = torch.tensor([1.0, -2.0, 0.5])
        self.w = nn.Parameter(weights.to(torch.bfloat16))

    def forward(self, x):
        return {"mean": x * self.w, "std": torch.ones_like(x)}


def test_a_network_in_bfloat16_is_scanned(tmp_path):
    path = script_file(tmp_path, Short())
    model = {"path": str(path), "family": "normal"}
    model["parameters"] = {"loc": "mean", "scale": "std"}
    config = ScanConfig(
        model=ModelConfig(**model), data=data_file(tmp_path), divergences=("kl",)
    )
    trace = columns(scan(config))["trace"]
    np.testing.assert_allclose(trace, 1 + 4 + 0.25, rtol=1e-6)


def test_an_onnx_file_in_bfloat16_is_held_against_the_reference(tmp_path):
    text = "g (bfloat16[n,3] x) => (bfloat16[n,1] mean, bfloat16[n,1] std) "
    text += "{ mean = MatMul(x, w)  zero = Sub(mean, mean)  std = Exp(zero) }"
    w = np.array([[1], [-2], [0.5]], ml_dtypes.bfloat16)
    path = onnx_file(tmp_path, text, w=w)
    said = ModelConfig(path=str(path), family="normal")
    config = ScanConfig(model=said, data=data_file(tmp_path), divergences=("kl",))
    trace = columns(scan(config))["trace"]
    np.testing.assert_allclose(trace, 1 + 4 + 0.25, rtol=1e-6)  # |w|², σ = 1


def test_random_operators_of_onnx_are_refused(tmp_path):
    text = TEXT + "{ r = RandomNormalLike(x)  mean = Add(r, x)  std = Exp(x) }"
    path = onnx_file(tmp_path, text)
    refused(ModelError, path, data_file(tmp_path), "RandomNormalLike", "random numbers")


# (b) the derivative


def bisected(x):
    """Solve t + t³ = x by bisection: right values, no gradient."""
    low, high = torch.full_like(x, -9), torch.full_like(x, 9)
    for _ in range(25):
        middle = (low + high) / 2
        above = middle + middle**3 > x
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return {"loc": (low + high) / 2, "scale": torch.ones_like(x)}


class Bisected(nn.Module):
    def forward(self, x):
        return bisected(x)


def sampler(tmp_path, suffix):
    x = torch.ones(4, 3)
    if suffix == ".pt":
        return trace_file(tmp_path, bisected, x)
    if suffix == ".pt2":
        return pt2_file(tmp_path, Bisected(), x)
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        Bisected(),
        (x,),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        output_names=["loc", "scale"],
        dynamic_axes={"x": {0: "n"}},
    )
    return path


@pytest.mark.sweep(3)
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.filterwarnings("ignore")
def test_a_bisection_sampler_has_no_gradient_and_does_have_differences(
    tmp_path, suffix
):
    path, data = sampler(tmp_path, suffix), data_file(tmp_path)
    error = refused(NotDifferentiable, path, data, "--method finite-difference")
    assert "No gradient connects" in str(error)
    if suffix != ".pt":
        assert re.search(r"it stops at (Greater|gt) \(node", str(error))
    model = opened(path, data, "finite-difference", family="normal")
    phi, found = jacobian(model)
    slope = torch.diag_embed(1 / (1 + 3 * phi[:, :3] ** 2))
    torch.testing.assert_close(found[:, :3], slope, rtol=2e-3, atol=2e-3)


class Root(torch.autograd.Function):
    """y with y + y³ = x to 1e-6, in steps of it; its derivative is the implicit one."""

    @staticmethod
    def forward(ctx, x, factor):
        low, high = torch.full_like(x, -9), torch.full_like(x, 9)
        while float((high - low).max()) > 1e-6:
            middle = (low + high) / 2
            above = middle + middle**3 > x
            low = torch.where(above, low, middle)
            high = torch.where(above, middle, high)
        ctx.save_for_backward((low + high) / 2)
        ctx.factor = factor
        return (low + high) / 2

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return ctx.factor * gradient / (1 + 3 * y**2), None


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_root_found_to_a_tolerance_is_held_to_its_slope_over_many_of_its_steps(
    factor,
):
    def model(x):
        return {"loc": Root.apply(x, factor), "scale": torch.ones_like(x)}

    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    settings = {"family": "normal", "verify": 0, "divergences": ["kl"]}
    if factor != 1:
        with pytest.raises(ModelError, match="The derivative differs from central"):
            audit.scan(model, x, **settings)
        return
    y = bisected(torch.from_numpy(x).double())["loc"].numpy()
    trace = ((1 + 3 * y**2) ** -2).sum(axis=1)
    found = audit.scan(model, x, **settings)
    np.testing.assert_allclose(found.rows["kl.trace"], trace, rtol=1e-5)


def test_a_gradient_of_zero_where_the_function_moves_is_refused(tmp_path):
    def hidden(x):  # a gradient arrives, and is zero
        return {"loc": (x - x.detach()) * 0 + torch.exp(x.detach()), "scale": x * 0 + 1}

    path = trace_file(tmp_path, hidden, torch.ones(4, 3))
    error = refused(
        NotDifferentiable, path, data_file(tmp_path), "The gradient is zero"
    )
    assert "the outputs move" in str(error)


def test_a_wrong_derivative_is_refused_without_float64_too(tmp_path, monkeypatch):
    text = TEXT + "{ a = Tanh(x)  b = Softplus(a)  mean = Add(b, x)  std = Exp(b) }"
    path, data = onnx_file(tmp_path, text), data_file(tmp_path)
    for entry in registry._OPERATORS[("", "Softplus")]:
        run = entry.run
        monkeypatch.setitem(entry.__dict__, "run", lambda x, run=run: wrong(run(x)))
    refused(ModelError, path, data, "The derivative differs", "first at Softplus (node")
    monkeypatch.setattr("audit.models.gates.referee.precise_of", lambda subject: None)
    error = refused(ModelError, path, data, "first at Softplus (node")
    assert "through onnxruntime" in str(error)


def test_kinks_are_no_error(tmp_path):
    text = TEXT + "{ a = Relu(x)  mean = Abs(x)  std = Exp(a) }"
    assert (
        opened(onnx_file(tmp_path, text), data_file(tmp_path, n=32)).gates.warnings
        == ()
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_that_rest_and_features_without_effect_are_no_error(tmp_path, suffix):
    """Most rows are saturated, most features do nothing."""
    x = np.random.default_rng(0).normal(size=(32, 40)).astype(np.float32)
    x[4:, 0] += 60
    data = data_file(tmp_path, x=x)
    if suffix == ".onnx":
        text = "g (float[n,40] x) => (float[n,1] mean, float[n,1] std) "
        text += (
            "{ a = MatMul(x, w)  mean = Tanh(a)  b = Mul(mean, mean)  std = Exp(b) }"
        )
        w = np.full((40, 1), 1e-12, np.float32)
        w[0] = 0.5
        path = onnx_file(tmp_path, text, w=w)
    else:
        module = Resting()
        path = (
            script_file(tmp_path, module)
            if suffix == ".pt"
            else pt2_file(tmp_path, module, torch.ones(4, 40))
        )
    assert opened(path, data, family="normal").gates.warnings == ()


class Resting(nn.Module):
    def forward(self, x):
        mean = torch.tanh(x[:, :1] / 2 + 1e-12 * x.sum(1, keepdim=True))
        return {"mean": mean, "std": torch.exp(mean**2)}


# (c) rows


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        h = self.norm(x)
        return {"mean": h, "std": h.exp()}


class Mixing(nn.Module):
    """Attention over the batch."""

    def forward(self, x):
        h = torch.softmax(x @ x.T, dim=1) @ x
        return {"mean": h, "std": h.exp()}


@pytest.mark.parametrize("module", [Norm().train(), Mixing()])
def test_rows_that_interact_are_refused(tmp_path, module):
    path = trace_file(tmp_path, module, torch.randn(4, 3))
    error = refused(ModelError, path, data_file(tmp_path), "rows of a batch interact")
    assert "Export the model in evaluation mode" in str(error)
    assert "save the data with an axis of one" in str(error)


def test_rows_that_interact_a_little_show_in_the_gradient(tmp_path):
    def faint(x):  # the values agree to the tolerance, the gradients do not
        other = torch.sin(1e6 * x.roll(1, 0)) * 2e-6
        return {"mean": x + other, "std": x.exp()}

    path = trace_file(tmp_path, faint, torch.randn(4, 3))
    refused(ModelError, path, data_file(tmp_path), "another row moves (its gradient)")


def test_rows_that_interact_by_design_are_audited_one_at_a_time(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "
    text += (
        "{ t = Transpose<perm = [1, 0]>(x)  s = MatMul(x, t)  w = Softmax<axis = 1>(s) "
    )
    text += " m = MatMul(w, x)  mean = Sin(m)  std = Exp(m) }"
    path, data = onnx_file(tmp_path, text), data_file(tmp_path)
    refused(ModelError, path, data, "interact", "x[:, None]")
    x = np.load(data)["x"]
    said = {
        "family": "normal",
        "parameters": {"loc": "mean[:, 0]", "scale": "std[:, 0]"},
    }
    alone = opened(path, data_file(tmp_path, x=x[:, None]), **said)
    phi, found = jacobian(alone)
    np.testing.assert_allclose(phi[:, :3], np.sin(x), rtol=1e-5, atol=1e-6)
    slope = torch.diag_embed(torch.cos(torch.from_numpy(x).double()))
    torch.testing.assert_close(found[:, :3], slope, rtol=1e-4, atol=1e-5)


def test_time_major_sequences_are_inputs_of_their_own(tmp_path):
    text = "g (float[t,2] x) => (float[1,2] mean, float[1,2] std) "
    text += "{ mean = ReduceMean<axes = [0]>(x)  std = Exp(mean) }"
    path = onnx_file(tmp_path, text)
    data = data_file(tmp_path, x=np.ones((6, 5, 2), np.float32))
    said = {
        "family": "normal",
        "parameters": {"loc": "mean[:, 0]", "scale": "std[:, 0]"},
    }
    _, found = jacobian(opened(path, data, **said))
    assert found.shape == (6, 4, 10)
    torch.testing.assert_close(found[:, 0, ::2], torch.full((6, 5), 0.2).double())


# (d) the gradient and what stops it


@pytest.mark.parametrize(
    ("body", "op"),
    [
        ("r = Round(x)  mean = Add(r, r)  std = Exp(r)", "Round"),
        ("i = Cast<to: int = 7>(x)  mean = Cast<to: int = 1>(i)  std = Exp(mean)",
         "Cast"),
        ("mean = Sign(x)  std = Exp(mean)", "Sign"),
        ("a = ArgMax<axis: int = 1>(x)  f = Cast<to: int = 1>(a)  mean = Add(f, z)"
         "  std = Exp(mean)", "ArgMax"),
    ],
)  # fmt: skip
def test_a_path_that_is_rounded_is_refused_and_the_operator_named(tmp_path, body, op):
    path = onnx_file(tmp_path, f"{TEXT} {{ {body} }}", z=np.zeros((1, 3), np.float32))
    error = refused(
        NotDifferentiable, path, data_file(tmp_path), "No gradient connects"
    )
    assert f"it stops at {op} (node" in str(error)


class Rounded(nn.Module):
    def __init__(self, beside):
        super().__init__()
        self.beside = beside

    def forward(self, x):
        mean = torch.round(x) + (x if self.beside else 0)
        return {"mean": mean, "std": torch.round(x).exp()}


def test_a_rounded_path_of_pt2_is_named(tmp_path):
    path = pt2_file(tmp_path, Rounded(False), torch.ones(4, 3))
    refused(NotDifferentiable, path, data_file(tmp_path), "it stops at round (node")
    found = opened(
        pt2_file(tmp_path, Rounded(True), torch.ones(4, 3)),
        data_file(tmp_path),
        family="normal",
    )
    assert [code for code, _ in found.gates.warnings] == ["zero_derivative"]


def test_rounding_beside_a_differentiable_path_is_a_warning(tmp_path):
    text = TEXT + "{ r = Round(x)  mean = Add(x, r)  std = Exp(x) }"
    found = opened(onnx_file(tmp_path, text), data_file(tmp_path)).gates
    assert [code for code, _ in found.warnings] == ["zero_derivative"]
    assert "Round (node" in found.warnings[0][1]
    assert "Round" in found.record()["zero_derivative_operators"]


def test_masks_and_shapes_are_no_warning(tmp_path):
    text = TEXT + "{ s = Shape(x)  z = ConstantOfShape(s)  m = Greater(x, z) "
    text += " mean = Where(m, x, z)  std = Exp(x) }"
    found = opened(onnx_file(tmp_path, text), data_file(tmp_path)).gates
    assert found.warnings == ()
    assert [stop.partition(" ")[0] for stop in found.stops] == ["Greater"]


def attention(x):
    """The last key is masked for all, and one row has every key masked."""
    mask = torch.ones(3, 3, dtype=torch.bool).tril(-1)
    scores = x[:, :, None] * x[:, None, :] + torch.where(mask, 0.0, float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    safe = torch.where(mask.any(-1)[:, None], weights, 0.0)
    return {"mean": (safe @ x[:, :, None])[..., 0], "std": x.exp()}


def test_a_gradient_of_nan_is_refused(tmp_path):
    path = trace_file(tmp_path, attention, torch.ones(4, 3))
    error = refused(ModelError, path, data_file(tmp_path), "The gradient is NaN")
    assert "although the outputs are finite" in str(error)
    assert "A fully masked attention row" in str(error)


def test_a_fused_transformer_layer_has_no_backward_pass(tmp_path):
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)
    body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = body

        def forward(self, x):
            h = self.body(x).mean(1)
            return {"mean": h, "std": h.exp()}

    for parameter in body.parameters():
        parameter.requires_grad_(False)
    path = trace_file(tmp_path, Net().eval(), torch.ones(4, 5, 4))
    data = data_file(tmp_path, x=np.ones((9, 5, 4), np.float32))
    refused(NotDifferentiable, path, data, "set_fastpath_enabled(False)")


def test_parameters_are_audited_without_a_gradient(tmp_path):
    text = TEXT + "{ r = Round(x)  mean = Add(r, r)  std = Exp(r) }"
    path = onnx_file(tmp_path, text)
    model = opened(path, data_file(tmp_path), space="parameters", **NORMAL)
    assert model.gates.forward_error < 1e-6
    assert model.gates.derivative_error is None


def test_the_census_is_that_of_the_outputs_in_use(tmp_path):
    text = TEXT.replace(") {", ", float[n,3] hard) {").rstrip() + "{ hard = Round(x) "
    text = text.replace("float[n,3] std)", "float[n,3] std, float[n,3] hard)")
    path = onnx_file(tmp_path, text + " mean = Tanh(x)  std = Exp(x) }")
    assert opened(path, data_file(tmp_path), family="normal").gates.stops == ()
    assert onnx.load(path).graph.output[2].name == "hard"
