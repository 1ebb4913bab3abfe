"""What people save: rows alone, nested results, inputs that expressions read."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.ground.errors import ConfigError, InputError

from .saved import data_file, jacobian, onnx_file, opened, script_file, trace_file

NORMAL = {"family": "normal"}


class Alone(torch.nn.Module):
    """[d] in, dictionary out: one input without a batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.inner(x.unsqueeze(0)).squeeze(0)
        return {"mean": out[:2], "log_std": out[2:]}


def test_a_file_of_one_input_without_a_batch_runs_row_by_row(tmp_path):
    torch.manual_seed(0)
    module = Alone()
    data = data_file(tmp_path)
    model = opened(script_file(tmp_path, module), data)
    assert model.network.rows == 0
    phi, found = jacobian(model)
    x = torch.from_numpy(np.load(data)["x"])
    weight = module.inner.weight.detach().double()
    out = (module.inner(x)).detach().double()
    torch.testing.assert_close(
        phi, torch.cat([out[:, :2], out[:, 2:].exp()], 1), rtol=1e-5, atol=1e-6
    )
    exact = torch.cat(
        [
            weight[:2].expand(len(x), 2, 3),
            out[:, 2:, None].exp() * weight[2:],
        ],
        1,
    )
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)


class Nested(torch.nn.Module):
    def forward(
        self, x: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
        return (x, x.exp()), x * 2


def test_nested_results_are_flattened_and_named(tmp_path):
    model = opened(
        script_file(tmp_path, Nested()),
        data_file(tmp_path),
        family="normal",
        parameters={"loc": "output_1", "scale": "output_0_1"},
    )
    assert [port.name for port in model.outputs] == [
        "output_0_0",
        "output_0_1",
        "output_1",
    ]
    phi, _ = jacobian(model)
    x = torch.from_numpy(np.load(model.inputs.path)["x"]).double()
    torch.testing.assert_close(
        phi, torch.cat([2 * x, x.exp()], 1), rtol=1e-5, atol=1e-6
    )


class Optional(torch.nn.Module):
    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, power: float = 2.0
    ) -> dict[str, torch.Tensor]:
        if mask is not None:
            x = x * mask
        return {"mean": x.abs() ** power, "std": x.exp()}


def test_arguments_with_defaults_keep_them_and_outputs_have_places(tmp_path):
    data = data_file(tmp_path)
    model = opened(
        script_file(tmp_path, Optional()),
        data,
        family="normal",
        parameters={"loc": "output_0", "scale": "output_1"},
    )
    assert {name: str(e) for name, e in model.head.parameters.items()} == {
        "loc": "mean",
        "scale": "std",
    }
    phi, _ = jacobian(model)
    x = torch.from_numpy(np.load(data)["x"]).double()
    torch.testing.assert_close(phi[:, :3], x**2, rtol=1e-5, atol=1e-6)


def test_a_frozen_module_in_double_takes_double(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()).double()
    frozen = torch.jit.freeze(torch.jit.script(module.eval()))
    torch.jit.save(frozen, tmp_path / "frozen.pt")
    model = opened(
        tmp_path / "frozen.pt",
        data_file(tmp_path),
        family="normal",
        parameters={"loc": "output[:, :2]", "scale": "exp(output[:, 2:])"},
    )
    assert model.network.dtype == torch.float64


def scalars(tmp_path, kind=".pt2"):
    class Scaled(torch.nn.Module):
        def forward(self, x, *, temperature, steps):
            return x * temperature, (x * steps).exp()

    rows = torch.export.Dim("rows", min=1, max=4096)
    program = torch.export.export(
        Scaled(),
        (torch.ones(4, 3),),
        {"temperature": 1.5, "steps": 2},
        dynamic_shapes={"x": {0: rows}, "temperature": None, "steps": None},
    )
    path = tmp_path / f"scalars{kind}"
    torch.export.save(program, path)
    return path


SCALED = {**NORMAL, "parameters": {"loc": "output_0", "scale": "output_1"}}


def test_scalars_of_an_exported_program_are_its_constants(tmp_path):
    data = data_file(tmp_path)
    phi, _ = jacobian(opened(scalars(tmp_path), data, **SCALED))
    x = torch.from_numpy(np.load(data)["x"]).double()
    exact = torch.cat([1.5 * x, (2 * x).exp()], 1)
    torch.testing.assert_close(phi, exact, rtol=1e-5, atol=1e-6)
    again = opened(scalars(tmp_path), data, held={"temperature": "1.5"}, **SCALED)
    torch.testing.assert_close(jacobian(again)[0], phi)


def test_another_value_of_such_a_scalar_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"was exported for temperature=1\.5"):
        opened(
            scalars(tmp_path), data_file(tmp_path), held={"temperature": "2"}, **SCALED
        )


# inputs by name


def test_an_expression_reads_the_condition_and_a_key_of_the_data(tmp_path):
    data = data_file(tmp_path, size=np.arange(1.0, 13.0, dtype=np.float32))
    path = trace_file(tmp_path, lambda x: {"shift": x.sin()}, torch.ones(4, 3))
    model = opened(
        path,
        data,
        family="normal",
        parameters={"loc": "x + shift", "scale": "size"},
    )
    phi, found = jacobian(model)
    x = torch.from_numpy(np.load(data)["x"]).double()
    torch.testing.assert_close(phi[:, :3], x + x.sin(), rtol=1e-5, atol=1e-6)
    assert phi[:, 3:].tolist() == [[float(i)] * 3 for i in range(1, 13)]
    exact = torch.diag_embed(1 + x.cos())
    torch.testing.assert_close(found[:, :3], exact, rtol=1e-5, atol=1e-5)
    assert not found[:, 3:].any()


def test_the_condition_is_read_by_the_name_that_is_perturbed(tmp_path):
    """By its key in the data it would stay where it is, and its share be missed."""
    arrays = dict(np.load(data_file(tmp_path)))
    np.savez(tmp_path / "other.npz", features=arrays["x"])
    path = trace_file(tmp_path, lambda x: {"shift": x.sin()}, torch.ones(4, 3))
    said = {"family": "normal", "condition": "x", "condition_key": "features"}
    scale = {"scale": "exp(shift)"}
    with pytest.raises(ConfigError, match="Write x for it"):
        opened(
            path,
            str(tmp_path / "other.npz"),
            parameters={"loc": "features + shift", **scale},
            **said,
        )
    model = opened(
        path,
        str(tmp_path / "other.npz"),
        parameters={"loc": "x + shift", **scale},
        **said,
    )
    x = torch.from_numpy(arrays["x"]).double()
    exact = torch.diag_embed(1 + x.cos())
    torch.testing.assert_close(jacobian(model)[1][:, :3], exact, rtol=1e-5, atol=1e-5)


def test_a_name_that_is_nowhere_is_refused(tmp_path):
    path = trace_file(tmp_path, lambda x: {"shift": x.sin()}, torch.ones(4, 3))
    with pytest.raises(ConfigError, match="reads 'nothing'"):
        opened(
            path,
            data_file(tmp_path),
            family="normal",
            parameters={"loc": "nothing", "scale": "exp(shift)"},
        )


# one input for each column

COLUMNS = "g (float[n,1] age, float[n,1] fare, int64[n,1] sex) => (float[n,1] mean, "
COLUMNS += "float[n,1] std) { s = Cast<to: int = 1>(sex)  a = Mul(age, fare) "
COLUMNS += " mean = Add(a, s)  std = Exp(fare) }"


def columns(tmp_path):
    rng = np.random.default_rng(0)
    values = {
        "age": rng.normal(size=(12, 1)).astype(np.float32),
        "fare": rng.normal(size=(12, 1)).astype(np.float32),
        "sex": rng.integers(0, 2, (12, 1)),
    }
    np.savez(tmp_path / "columns.npz", **values)
    return tmp_path / "columns.npz", values


@pytest.mark.parametrize("text", ["age,fare", "fare, age", "all"])
def test_several_inputs_are_perturbed_together(tmp_path, text):
    data, values = columns(tmp_path)
    model = opened(onnx_file(tmp_path, COLUMNS), str(data), condition=text)
    phi, found = jacobian(model)
    age, fare = (torch.from_numpy(values[n]).double() for n in ("age", "fare"))
    mean = age * fare + torch.from_numpy(values["sex"])
    torch.testing.assert_close(phi[:, :1], mean, rtol=1e-5, atol=1e-6)
    by_name = {"age": fare, "fare": age}
    order = ["age", "fare"] if text == "all" else [n.strip() for n in text.split(",")]
    exact = torch.cat([by_name[n] for n in order], 1)
    torch.testing.assert_close(found[:, 0], exact, rtol=1e-5, atol=1e-6)
    assert model.inputs.arrays[model.roles.condition].names == order


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age,sex", "'sex', which holds integers"),
        ("age,other", "'other', which is no input"),
        ("age,age", "'age' twice"),
    ],
)
def test_what_cannot_be_perturbed_together_is_named(tmp_path, text, words):
    data, _ = columns(tmp_path)
    with pytest.raises(ConfigError, match=words):
        opened(onnx_file(tmp_path, COLUMNS), str(data), condition=text)


# samples


def test_samples_that_share_their_noise_are_a_transport(tmp_path):
    torch.manual_seed(0)
    noise = torch.randn(1, 8, 3)
    path = trace_file(
        tmp_path, lambda x: x[:, None] + noise * x[:, None].exp(), torch.ones(4, 3)
    )
    data = data_file(tmp_path)
    model = opened(path, data, contract="samples")
    phi, found = jacobian(model)
    x = torch.from_numpy(np.load(data)["x"]).double()
    root = model.density.family.transport_root(phi)
    tensor = torch.einsum("nip,npd->nid", root.dense(), found)
    exact = (1 + noise.double() * x[:, None].exp()).square().mean(1)
    torch.testing.assert_close(
        (tensor.mT @ tensor).diagonal(dim1=1, dim2=2), exact, rtol=1e-4, atol=1e-5
    )


# a referee for types that onnxruntime has no kernel for


def test_a_double_operator_without_a_kernel_has_the_second_referee(tmp_path):
    nodes = [
        helper.make_node("Softplus", ["x"], ["std"]),
        helper.make_node("Identity", ["x"], ["mean"]),
    ]
    ports = [
        helper.make_tensor_value_info(n, TensorProto.DOUBLE, ["n", 3])
        for n in ("x", "mean", "std")
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "double.onnx")
    found = opened(tmp_path / "double.onnx", data_file(tmp_path), family="normal")
    assert found.network.reference.name == "onnx.reference"
    assert found.gates.forward_error < 1e-12
    assert found.gates.derivative_evidence.endswith("and onnx.reference")


@pytest.mark.parametrize("kind", ["double GRU", "RNN with the batch first"])
def test_a_recurrent_operator_onnxruntime_refuses_has_the_second_referee(
    kind, tmp_path
):
    """From h = 0: the RNN is tanh(W x), and the GRU (1 − σ(U x)) tanh(W x)."""
    single = kind.startswith("RNN")
    dtype = np.float32 if single else np.float64
    element = TensorProto.FLOAT if single else TensorProto.DOUBLE
    random = np.random.default_rng(0)
    w = random.normal(size=(1, 3 if single else 9, 3)).astype(dtype)
    stored = {"w": w, "r": np.zeros((1, len(w[0]), 3), dtype)}
    op, layout = ("RNN", {"layout": 1}) if single else ("GRU", {})
    last = ["h", "time"] if single else ["h", "first"]
    stored |= {"first": np.array([0]), "time": np.array([1])}
    nodes = [
        helper.make_node("Unsqueeze", ["x", "time" if single else "first"], ["t"]),
        helper.make_node(op, ["t", "w", "r"], ["", "h"], hidden_size=3, **layout),
        helper.make_node("Squeeze", last, ["mean"]),
        helper.make_node("Exp", ["mean"], ["std"]),
    ]
    ports = [
        helper.make_tensor_value_info(n, element, ["n", 3])
        for n in ("x", "mean", "std")
    ]
    named = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], named)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "cell.onnx")
    found = opened(tmp_path / "cell.onnx", data_file(tmp_path), family="normal")
    assert found.network.reference.name == "onnx.reference"
    x, _ = found.rows(np.arange(4))
    z = x.double().numpy() @ w[0].astype(float).T
    mean = np.tanh(z) if single else np.tanh(z[:, 6:]) / (1 + np.exp(z[:, :3]))
    phi = jacobian(found)[0].numpy()[:4]
    np.testing.assert_allclose(phi[:, :3], mean, rtol=1e-5, atol=1e-6)


# maps of classes


def test_a_map_of_classes_is_a_matrix(tmp_path):
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"]),
        helper.make_node(
            "ZipMap",
            ["p"],
            ["probs"],
            domain="ai.onnx.ml",
            classlabels_int64s=[2, 0, 1],
        ),
    ]
    row = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    out = helper.make_value_info("probs", helper.make_sequence_type_proto(row))
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]), out]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports), tmp_path / "map.onnx")
    data = data_file(tmp_path)
    model = opened(
        tmp_path / "map.onnx",
        data,
        family="categorical",
        parameters={"probs": "probs"},
    )
    found = model.subject.outputs["probs"]
    x = torch.from_numpy(np.load(data)["x"])
    exact = x.softmax(-1)[:, [1, 2, 0]]  # ascending classes 0, 1, 2
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6)
