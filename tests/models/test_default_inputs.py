"""Inputs that have a value of their own, and who gives them another."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from scans import columns, scan
from torch import nn

from audit.config import ModelConfig, ScanConfig
from audit.ground.errors import ConfigError, InputError
from audit.importer import load_graph
from audit.run.inspection import inspect
from models.saved import data_file, graph, jacobian, onnx_file, opened, script_file

W = np.array([[0.5, -1.0, 0.25], [0.0, 2.0, 1.0], [1.0, 0.5, -0.5]], np.float32)
TEXT = "g (float[n,3] x, float[1] gain) => (float[n,3] mean, float[n,3] std) "
TEXT += "{ a = MatMul(x, w)  mean = Mul(a, gain)  std = Exp(x) }"
GAIN = np.array([1.5], np.float32)


@pytest.fixture
def path(tmp_path):
    return onnx_file(tmp_path, TEXT, gain=GAIN, w=W)


@pytest.fixture
def data(tmp_path):
    return data_file(tmp_path)


def with_gain(tmp_path, value=3.0):
    return data_file(tmp_path, gain=np.full((12, 1), value, np.float32))


GIVEN = {  # how to write data -> the gain that is in use, and who says so
    data_file: (1.5, "default of the file"),
    with_gain: (3.0, "key of the data"),
}
each_way = pytest.mark.parametrize("write", GIVEN, ids=["left out", "given"])


def slope(model, parameter=slice(0, 3)):
    """The Jacobian of loc, which is gain · W transposed."""
    return jacobian(model)[1][0, parameter].numpy()


def origins(model):
    return {i.name: (i.value, i.origin) for i in model.items if i.name != "condition"}


# --- the graph alone ------------------------------------------------------------------


def test_an_input_with_a_default_may_be_left_out_or_given():
    model = graph(TEXT, gain=GAIN, w=W)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    loaded = load_graph(model)
    assert (loaded.input_names, loaded.optional_names) == (("x",), ("gain",))
    other = np.array([-0.25], np.float32)
    for given in ({}, {"gain": other}):
        expected = session.run(None, {"x": x, **given})
        said = {name: torch.from_numpy(value) for name, value in given.items()}
        found = loaded(torch.from_numpy(x), **said)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)


def test_a_value_for_another_name_is_refused():
    with pytest.raises(InputError, match=r"a value for 'w'.*a default are gain"):
        load_graph(graph(TEXT, gain=GAIN, w=W))(torch.ones(2, 3), w=torch.ones(3, 3))


def test_before_ir_version_4_every_initialiser_is_listed_and_none_is_an_input():
    model = graph(TEXT, gain=GAIN, w=W)
    model.ir_version = 3
    w = onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [3, 3])
    model.graph.input.append(w)
    loaded = load_graph(model)
    assert (loaded.input_names, loaded.optional_names) == (("x",), ())


def test_a_derivative_with_respect_to_such_an_input_is_known_of():
    loaded = load_graph(graph(TEXT, gain=GAIN, w=W))
    assert loaded.reaches("gain", "mean")
    assert not loaded.reaches("gain", "std")
    assert [step.op for step in loaded.path_ops("gain", "mean")] == ["Mul"]


def test_parts_of_a_graph_keep_their_defaults():
    cut = load_graph(graph(TEXT, gain=GAIN, w=W)).with_outputs(["mean"])
    x, gain = torch.ones(2, 3), torch.tensor([4.0])
    (plain,), (more,) = cut(x), cut.to(torch.float64)(x, gain=gain)
    torch.testing.assert_close(more, plain.double() * 4 / 1.5)


# --- who gives the value --------------------------------------------------------------


def test_the_default_is_used_where_nobody_says_otherwise(path, data):
    model = opened(path, data, family="normal")
    np.testing.assert_allclose(slope(model), 1.5 * W.T, rtol=1e-6)
    assert origins(model)["held gain"] == ("1.5", "default of the file")


def test_data_that_hold_the_name_give_the_value(path, tmp_path):
    model = opened(path, with_gain(tmp_path), family="normal")
    np.testing.assert_allclose(slope(model), 3 * W.T, rtol=1e-6)
    assert origins(model)["held gain"] == ("gain", "key of the data")


def test_the_command_line_wins_over_data_and_metadata(tmp_path):
    told = {"robaudit": "{family: normal, held: {gain: 5}}"}
    path, data = onnx_file(tmp_path, TEXT, told, gain=GAIN, w=W), with_gain(tmp_path)
    by_file = opened(path, data)
    np.testing.assert_allclose(slope(by_file), 5 * W.T, rtol=1e-6)
    assert origins(by_file)["held gain"] == ("5", "metadata")
    said = opened(path, data, held={"gain": "-2"})
    np.testing.assert_allclose(slope(said), -2 * W.T, rtol=1e-6)
    assert origins(said)["held gain"] == ("-2", "command line")


def test_another_key_may_hold_it(path, tmp_path):
    data = data_file(tmp_path, k=np.full((12, 1), 7, np.float32))
    model = opened(path, data, family="normal", held={"gain": "k"})
    np.testing.assert_allclose(slope(model), 7 * W.T, rtol=1e-6)


def test_one_value_serves_a_whole_batch(path, tmp_path):
    several = np.arange(12, dtype=np.float32)[:, None]
    with pytest.raises(InputError, match="'gain' differs between the rows"):
        opened(path, data_file(tmp_path, gain=several), family="normal")


def test_a_single_number_of_the_data_is_one_of_all_rows(tmp_path):
    text = TEXT.replace("float[1] gain", "float gain")
    path = onnx_file(tmp_path, text, gain=np.array(1.5, np.float32), w=W)
    data = data_file(tmp_path, gain=np.float32(3.0))
    model = opened(path, data, family="normal")
    np.testing.assert_allclose(slope(model), 3 * W.T, rtol=1e-6)
    assert origins(model)["held gain"] == ("gain", "key of the data")


def test_it_may_be_what_is_perturbed(tmp_path):
    text = TEXT.replace("float[1] gain", "float[n,3] gain").replace("MatMul", "Mul")
    text = text.replace("std = Exp(x)", "std = Exp(gain)")
    path = onnx_file(tmp_path, text, gain=np.ones((1, 3), np.float32), w=W[:1])
    gain = np.random.default_rng(2).normal(size=(12, 3)).astype(np.float32)
    data = data_file(tmp_path, gain=gain)
    model = opened(path, data, family="normal", condition="gain")
    x = np.load(data)["x"]
    np.testing.assert_allclose(slope(model), np.diag(x[0] * W[0]), rtol=1e-5)
    assert origins(model)["held x"] == ("x", "key of the data")


@each_way
@pytest.mark.parametrize("method", ["auto", "finite-difference"])
def test_the_report_says_where_the_value_is_from(path, tmp_path, method, write):
    data, (gain, origin) = write(tmp_path), GIVEN[write]
    model = ModelConfig(str(path), family="normal")
    report = scan(ScanConfig(model=model, data=data, method=method, verify=0))
    assert report.model.origins["held gain"] == origin
    assert [tensor.name for tensor in report.model.inputs] == ["x", "gain"]
    x = np.load(data)["x"].astype(float)  # tr G of loc and of scale = exp x
    expected = np.exp(-2 * x) @ (gain**2 * (W**2).sum(axis=0)) + 2 * 3
    np.testing.assert_allclose(columns(report)["trace"], expected, rtol=1e-3)


def test_inspect_lists_it_with_its_default(path):
    found = inspect(ScanConfig(model=ModelConfig(str(path), family="normal")))
    assert [name for name, *_ in found.inputs] == ["x", "gain"]
    assert ("held gain", "1.5", "default of the file") in found.items


def test_a_larger_default_is_told_by_its_type_and_shape(tmp_path):
    text = TEXT.replace("float[1] gain", "float[1] gain, float[3,3] w")
    model = opened(onnx_file(tmp_path, text, gain=GAIN, w=W), data_file(tmp_path),
                   family="normal")  # fmt: skip
    assert origins(model)["held w"] == ("float32[3, 3]", "default of the file")


def test_weights_that_are_listed_as_inputs_play_no_role_by_their_names(tmp_path):
    text = TEXT.replace("float[1] gain", "float[1] theta, float[3,3] z")
    text = text.replace("gain", "theta").replace("w)", "z)").replace("mean", "sample")
    path = onnx_file(tmp_path, text, theta=GAIN, z=W)
    said = {"family": "normal", "parameters": {"loc": "sample", "scale": "std"}}
    model = opened(path, data_file(tmp_path), **said)
    assert model.head.contract == "parameters"
    told = inspect(ScanConfig(model=ModelConfig(str(path))))
    assert told.contract == "parameters"


# --- densities and samplers -----------------------------------------------------------

DENSITY = "g (float[n,3] x, float[n,3] theta, float[1] gain) => (float[n] log_prob) "
DENSITY += "{ h = MatMul(x, w)  t = Tanh(h)  m = Mul(t, gain)  d = Sub(theta, m) "
DENSITY += " s = Mul(d, d)  p = ReduceSum<keepdims: int = 0>(s, a)  q = Mul(p, h2) "
DENSITY += " log_prob = Add(q, c) }"
NUMBERS = {
    "gain": GAIN,
    "w": W,
    "a": np.array([1]),
    "h2": np.float32(-0.5),
    "c": np.float32(-1.5 * np.log(2 * np.pi)),
}
SAMPLER = "g (float[n,3] x, float[n,3] z, float[1] gain) => (float[n,3] sample) "
SAMPLER += "{ h = MatMul(x, w)  t = Tanh(h)  m = Mul(t, gain)  sample = Add(m, z) }"


def trace_of(gain, x):
    """Tr JᵀJ of θ = gain tanh(x W) + z, which is its Fisher information too."""
    slopes = 1 - np.tanh(x.astype(float) @ W) ** 2
    return gain**2 * np.einsum("nj,ij->n", slopes**2, W.astype(float) ** 2)


@pytest.fixture
def both(tmp_path):
    (tmp_path / "draws").mkdir()
    sampler = onnx_file(tmp_path / "draws", SAMPLER, gain=GAIN, w=W)
    return onnx_file(tmp_path, DENSITY, **NUMBERS), sampler


def config(path, data, **said):
    method = {"draws_per_input": 256, "verify": 0, "divergences": ("quantile",)}
    model = ModelConfig(str(path), **said)
    return ScanConfig(model=model, data=data, **method)


@each_way
@pytest.mark.parametrize("bottleneck", ["auto", "off"])
def test_a_sampler_takes_the_value_on_either_side_of_a_cut(
    both, tmp_path, bottleneck, write
):
    data, (gain, _) = write(tmp_path), GIVEN[write]
    said = config(both[1], data, noise="z:normal", contract="transport")
    report = scan(replace(said, bottleneck=bottleneck))
    found = columns(report, "quantile")["trace"]
    np.testing.assert_allclose(found, trace_of(gain, np.load(data)["x"]), rtol=1e-4)


def test_each_file_has_the_defaults_of_its_own(both, tmp_path):
    """What is said of the model's gain does not reach the sampler's."""
    density, sampler = both
    data = data_file(tmp_path)
    said = {"sampler": str(sampler), "noise": "z:normal", "held": {"gain": "9"}}
    report = scan(config(density, data, **said))
    found = columns(report, "quantile")["trace"]
    np.testing.assert_allclose(found, trace_of(1.5, np.load(data)["x"]), rtol=1e-4)


def test_a_value_that_both_files_would_take_is_refused(both, tmp_path):
    density, sampler = both
    said = {"sampler": str(sampler), "noise": "z:normal"}
    with pytest.raises(ConfigError, match="have an input 'gain'"):
        scan(config(density, with_gain(tmp_path), **said))


@pytest.mark.slow  # it draws by Markov chains: a density of three numbers, no sampler
def test_one_input_may_be_taken_apart_beside_it(tmp_path):
    text = DENSITY.replace("float[n,3] x, float[n,3] theta", "float[n,6] both")
    text = text.replace("{ h =", "{ theta, x = Split<axis: int = 1>(both) h =")
    path = onnx_file(tmp_path, text, **NUMBERS)
    model = opened(
        path, with_gain(tmp_path), contract="density", input_layout="theta:0:3,x:3:6"
    )
    assert origins(model)["held gain"] == ("gain", "key of the data")
    assert model.gates.derivative_error_float64 < 1e-6


# --- TorchScript: an argument with a default ------------------------------------------


class Optionals(nn.Module):
    def forward(
        self, x, gain: torch.Tensor | None = None, k: float = 2.0, plus: bool = False
    ):
        y = x * k
        if gain is not None:
            y = y * gain
        return {"mean": y + x if plus else y, "std": torch.exp(x)}


@each_way
def test_an_argument_of_a_script_may_be_left_out_or_given(tmp_path, write):
    path, data = script_file(tmp_path, Optionals()), write(tmp_path)
    gain, origin = GIVEN[write]
    gain = 1.0 if write is data_file else gain
    model = opened(path, data, family="normal")
    np.testing.assert_allclose(slope(model), 2 * gain * np.eye(3), rtol=1e-6)
    assert origins(model)["held k"] == ("2.0", "default of the file")
    assert origins(model)["held gain"][1] == origin
    said = opened(path, data, family="normal", held={"k": "4", "plus": "1"})
    expected = (4 * gain + 1) * np.eye(3)
    np.testing.assert_allclose(slope(said), expected, rtol=1e-6)


def test_a_number_of_a_script_is_one_for_all_rows(tmp_path):
    data = data_file(tmp_path, k=np.arange(12, dtype=np.float32))
    with pytest.raises(InputError, match="'k' differs between the rows"):
        opened(script_file(tmp_path, Optionals()), data, family="normal")
