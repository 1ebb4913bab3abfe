"""The three formats, and every way a batch, a held input or a type can be stored."""

import hashlib
import zipfile

import numpy as np
import onnx
import pytest
import torch
from scans import DATA, FORMATS, SAMPLES

from audit.ground.errors import AuditError, InputError, ModelError
from audit.models.torch_to_graph import graph_of_module
from models.saved import (
    Function,
    Head,
    data_file,
    jacobian,
    onnx_file,
    opened,
    pt2_file,
    script_file,
    trace_file,
)

NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "exp(log_scale)"}}
LINEAR = "g (float[{n},3] x) => (float[{n},2] mean, float[{n},2] std) "
LINEAR += "{{ mean = MatMul(x, a)  e = Exp(x)  std = MatMul(e, b) }}"
WEIGHTS = {
    "a": np.arange(6, dtype=np.float32).reshape(3, 2) / 3,
    "b": np.ones((3, 2), np.float32),
}


@pytest.mark.parametrize(
    "name",
    [
        "linear_gaussian",
        "heteroscedastic",
        "digits_cnn",
        "sunspots_gru",
        "sunspots_quantiles",
        "mixture",
        "counts",
    ],
)
def test_the_formats_of_a_sample_model_are_one_function(name):
    data = str(SAMPLES / f"{DATA[name]}.npz")
    models = [opened(SAMPLES / f"{name}{suffix}", data) for suffix in FORMATS]
    exact = jacobian(models[0].in_float64())
    for model in models:
        assert str(model.head.family) == models[0].head.family
        for one, other in zip(jacobian(model), exact, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for model in models[1:]:
        if (name, model.network.format) == ("sunspots_quantiles", "torchscript"):
            with pytest.raises(ModelError, match="same dtype"):  # traced: float32 state
                model.in_float64()
            continue
        for one, other in zip(jacobian(model.in_float64()), exact, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6)


def test_derivatives_are_those_of_the_formula(tmp_path):
    head, data = Head(), data_file(tmp_path)
    x = torch.from_numpy(np.load(data)["x"]).double()
    slope = torch.cos(x)[:, None, :] * head.b.detach().double().T
    expected = torch.cat([head.a.detach().double().T.expand(12, 2, 3), slope], dim=1)
    for path in (script_file(tmp_path, head), pt2_file(tmp_path, head, x[:4].float())):
        model = opened(path, data, **NORMAL)
        phi, entries = jacobian(model)
        scale = phi[:, 2:, None]
        plain = torch.cat([entries[:, :2], entries[:, 2:] / scale], dim=1)
        torch.testing.assert_close(plain, expected, rtol=1e-5, atol=1e-5)
        phi, entries = jacobian(model.in_float64())
        plain = torch.cat([entries[:, :2], entries[:, 2:] / phi[:, 2:, None]], dim=1)
        torch.testing.assert_close(plain, expected, rtol=1e-12, atol=1e-12)


# Batches


@pytest.mark.parametrize("batch", ["n", 1, 5])
def test_any_saved_batch_gives_the_same_numbers(tmp_path, batch):
    data = data_file(tmp_path)
    free = opened(onnx_file(tmp_path, LINEAR.format(n="n"), **WEIGHTS), data)
    expected = jacobian(free)
    found = jacobian(
        opened(onnx_file(tmp_path, LINEAR.format(n=batch), **WEIGHTS), data)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_file_without_a_batch_axis_is_run_row_by_row(tmp_path):
    text = "g (float[3] x) => (float[2] mean, float[2] std) "
    text += "{ mean = MatMul(x, a)  e = Exp(x)  std = MatMul(e, b) }"
    data = data_file(tmp_path)
    alone = jacobian(opened(onnx_file(tmp_path, text, **WEIGHTS), data))
    batched = jacobian(
        opened(onnx_file(tmp_path, LINEAR.format(n="n"), **WEIGHTS), data)
    )
    for one, other in zip(alone, batched, strict=True):
        torch.testing.assert_close(one, other)


def test_a_recurrent_model_of_batch_one_is_its_dynamic_export(tmp_path):
    data = str(SAMPLES / "sunspots.npz")
    said = {"family": "student_t"}
    fixed = opened(SAMPLES / "sunspots_gru_batch1.onnx", data)
    free = opened(SAMPLES / "sunspots_gru.onnx", data)
    assert fixed.network.input(fixed.roles.condition).fixed_batch == 1
    assert fixed.head.family == said["family"]
    for one, other in zip(jacobian(fixed), jacobian(free), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_pt2_file_of_one_row(tmp_path):
    data = data_file(tmp_path)
    x = torch.from_numpy(np.load(data)["x"])
    fixed = opened(pt2_file(tmp_path, Head(), x[:1], False, "one.pt2"), data, **NORMAL)
    free = opened(pt2_file(tmp_path, Head(), x[:4]), data, **NORMAL)
    assert fixed.network.inputs[0].fixed_batch == 1
    assert fixed.work == free.work > 0
    for one, other in zip(jacobian(fixed), jacobian(free), strict=True):
        torch.testing.assert_close(one, other)


BATCHES = [
    (torch.export.Dim("n", min=1, max=20), range(1, 21)),
    (torch.export.Dim("n", min=12, max=24), range(12, 25)),
    (8 * torch.export.Dim("blocks", min=1, max=5), range(8, 41, 8)),
]


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """A file that takes any batch."""
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    return pt2_file(tmp_path_factory.mktemp("free"), Head(), x)


@pytest.fixture(scope="module", params=BATCHES, ids=lambda case: str(case[1]))
def some(request, tmp_path_factory):
    """A file that takes some batches, and which."""
    batch, sizes = request.param
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    return pt2_file(tmp_path_factory.mktemp("some"), Head(), x, batch), sizes


@pytest.mark.parametrize("rows", [1, 8, 50])
def test_a_pt2_file_of_some_batches(tmp_path, free, some, rows):
    """The same numbers as of a file that takes any."""
    data = data_file(tmp_path, n=rows)
    path, sizes = some
    models = [opened(one, data, **NORMAL) for one in (path, free)]
    assert [m.network.inputs[0].batches for m in models] == [sizes, None]
    for one, other in zip(*map(jacobian, models), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rows", [1, 8, 50])
def test_the_work_of_a_pt2_file_of_some_batches(tmp_path, free, some, rows):
    """It is that of a file that takes any; torch writes graphs of step 1."""
    data = data_file(tmp_path, n=rows)
    path, sizes = some
    work = [opened(one, data, **NORMAL).work for one in (path, free)]
    assert work[1] > 0
    assert work[0] == (work[1] if sizes.step == 1 else 0)


@pytest.mark.parametrize("condition", ["a", "b", "all"])
def test_numbers_are_the_rows_of_an_input_of_one_column(tmp_path, condition):
    """As exports of scikit-learn have them: [N] in the data is [n, 1] in the file."""
    text = "g (float[n,1] a, float[n,1] b) => (float[n,2] mean, float[n,2] std) "
    text += "{ c = Concat<axis = 1>(a, b)  mean = MatMul(c, w)  std = Exp(c) }"
    w = np.arange(4, dtype=np.float32).reshape(2, 2)
    path = onnx_file(tmp_path, text, w=w)
    a, b = np.linspace(-1, 1, 12, dtype="f4").reshape(2, 6)
    columns = {"a": a, "b": b}
    found = []
    for name, arrays in (
        ("flat", columns),
        ("upright", {key: value[:, None] for key, value in columns.items()}),
    ):
        (folder := tmp_path / name).mkdir()
        np.savez(folder / "data.npz", **arrays)
        model = opened(path, str(folder / "data.npz"), condition=condition)
        found.append(jacobian(model))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_rows_of_another_shape_are_refused(tmp_path):
    path = onnx_file(tmp_path, LINEAR.format(n="n"), **WEIGHTS)
    with pytest.raises(InputError) as error:
        opened(path, data_file(tmp_path, d=4))
    assert str(error.value) == (
        "Each row of the data has the shape [4]. The model's input is x float32[n, 3], "
        "its first axis the batch. Reshape the data, or name another array with "
        "--condition NAME=KEY (of a table its columns: DATA::a,b,c; --target-key sets "
        "that of θ aside)."
    )


def test_a_batch_that_is_baked_in_is_found_and_runs_in_blocks(tmp_path):
    def baked(x):
        return {"mean": x.reshape(4, 3), "std": x.reshape(4, 3).exp()}

    path, data = trace_file(tmp_path, baked, torch.ones(4, 3)), data_file(tmp_path)
    model = opened(path, data, family="normal")
    assert model.network.rows == 4
    phi, _ = jacobian(model)
    x = torch.from_numpy(np.load(data)["x"]).double()
    torch.testing.assert_close(phi, torch.cat([x, x.exp()], 1), rtol=1e-5, atol=1e-6)


def test_a_batch_that_is_baked_into_a_reshape_of_a_graph_is_found(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) {"
    text += " mean = Reshape(x, size) s = Exp(x) std = Reshape(s, size) }"
    path = onnx_file(tmp_path, text, size=np.array([5, 3]))
    data = data_file(tmp_path)
    model = opened(path, data, family="normal")
    assert model.network.rows == 5
    phi, _ = jacobian(model)
    x = torch.from_numpy(np.load(data)["x"]).double()
    torch.testing.assert_close(phi, torch.cat([x, x.exp()], 1), rtol=1e-5, atol=1e-6)


def test_a_batch_of_no_rows_is_explained_and_a_negative_one_is_any(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std)"
    path = onnx_file(tmp_path, text + " { mean = Tanh(x) std = Exp(x) }")
    for size in (0, -1):
        model = onnx.load(path)
        for one in (*model.graph.input, *model.graph.output):
            one.type.tensor_type.shape.dim[0].dim_value = size
        onnx.save(model, path)
        if size == 0:
            with pytest.raises(InputError, match=r"x float32\[0, 3\]: it declares"):
                opened(path, data_file(tmp_path), family="normal")
            continue
        phi, _ = jacobian(opened(path, data_file(tmp_path), family="normal"))
        x = torch.from_numpy(np.load(data_file(tmp_path))["x"]).double()
        exact = torch.cat([x.tanh(), x.exp()], 1)
        torch.testing.assert_close(phi, exact, rtol=1e-5, atol=1e-6)


def test_a_device_that_is_baked_in_is_named(tmp_path):
    class Baked(torch.nn.Module):
        def forward(self, x):
            offset = torch.zeros(3, device="cuda")
            return {"mean": x + offset, "std": x.exp()}

    path = script_file(tmp_path, Baked())
    if torch.cuda.is_available():
        pytest.skip("the device is there")
    with pytest.raises(ModelError, match="on the device cuda, which was baked in"):
        opened(path, data_file(tmp_path), family="normal")


def test_an_archive_from_a_device_that_is_not_here_says_so(tmp_path):
    """As torch writes it there: the device of each weight, in the archive's tables."""
    path = pt2_file(tmp_path, Head(), torch.ones(4, 3))
    moved = tmp_path / "moved.pt2"
    here, there = (
        f'"device": {{"type": "{kind}", "index": {index}}}'.encode()
        for kind, index in (("cpu", "null"), ("cuda", "0"))
    )
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(moved, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(here, there))
    if torch.cuda.is_available():
        pytest.skip("the device is there")
    with pytest.raises(ModelError, match=r"saved from the device cuda.*not here"):
        opened(moved, data_file(tmp_path), family="normal")


def test_a_shape_the_exporter_saw_as_fixed_is_explained(tmp_path):
    def baked(x):
        return {"mean": x.reshape(5000, 3), "std": x.reshape(5000, 3).exp()}

    path = trace_file(tmp_path, baked, torch.ones(5000, 3))
    with pytest.raises(ModelError, match=r"saw as fixed"):
        opened(path, data_file(tmp_path), family="normal")


def test_outputs_with_the_batch_elsewhere_are_refused(tmp_path):
    path = trace_file(
        tmp_path, lambda x: {"mean": x.T, "std": x.T.exp()}, torch.ones(4, 3)
    )
    with pytest.raises(ModelError, match=r"'mean' has the shape \[3, 12\] for 12 rows"):
        opened(path, data_file(tmp_path), family="normal")


# Held inputs

HELD = "g (float[n,3] x, float[n,2] h, int64[1] rate) "
HELD += "=> (float[n,2] mean, float[n,2] std) "
HELD += (
    "{ r = Cast<to: int = 1>(rate)  m = MatMul(x, a)  s = Add(m, h)  mean = Mul(s, r) "
)
HELD += " std = Exp(h) }"


def test_a_value_for_the_whole_batch_is_not_repeated(tmp_path):
    data = data_file(tmp_path, h=np.zeros((12, 2), np.float32))
    path = onnx_file(tmp_path, HELD, a=WEIGHTS["a"])
    model = opened(path, data, condition="x", held={"rate": "3"})
    x = np.load(data)["x"]
    phi, _ = jacobian(model)
    np.testing.assert_allclose(phi[:, :2], 3 * x @ WEIGHTS["a"], rtol=1e-5, atol=1e-6)
    rates = data_file(tmp_path, h=np.zeros((12, 2), np.float32), rate=np.arange(12))
    with pytest.raises(InputError, match="'rate' differs between the rows"):
        opened(path, rates, condition="x")


def refuse(function):
    raise NotImplementedError("no batching rule")


STATE = "g (float[{n},4,3] x, float[2,{n},5] state, int64 sr) => (float[{n},5] mean, "
STATE += "float[{n},5] std) {{ seq = Transpose<perm = [1, 0, 2]>(x) "
STATE += (
    " zero = Constant<value_ints = [0]>()  high = Constant<value = int64 {{8000}}>() "
)
STATE += " first = Gather<axis: int = 0>(state, zero) "
STATE += " y, last = GRU<hidden_size: int = 5>(seq, w, r, , , first) "
STATE += " h = Squeeze(last, zero)  fast = Greater(sr, high) "
STATE += " mean = Where(fast, h, zero_f)  std = Exp(h) }}"


@pytest.mark.parametrize("vectorised", [True, False])
def test_a_recurrent_state_and_a_sample_rate(tmp_path, vectorised, monkeypatch):
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(1, 15, 3)).astype(np.float32),
        "r": rng.normal(size=(1, 15, 5)).astype(np.float32),
        "zero_f": np.zeros((1, 5), np.float32),
    }
    if not vectorised:
        monkeypatch.setattr("torch.func.vmap", refuse)
    x = rng.normal(size=(20, 4, 3)).astype(np.float32)
    state = rng.normal(size=(20, 2, 5)).astype(np.float32)
    one_row = state[:, :, None]
    free = onnx_file(tmp_path, STATE.format(n="n"), **weights)
    data = data_file(tmp_path, x=x, state=state)
    expected = jacobian(opened(free, data, condition="x", held={"sr": "16000"}))
    data = data_file(tmp_path, x=x, state=one_row)
    with_unit_axis = jacobian(opened(free, data, condition="x", held={"sr": "16000"}))
    torch.testing.assert_close(with_unit_axis, expected)
    fixed = onnx_file(tmp_path, STATE.format(n=1), **weights)
    found = jacobian(opened(fixed, data, condition="x", held={"sr": "16000"}))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    still = opened(fixed, data, condition="x", held={"sr": "16000", "state": "0"})
    free = onnx_file(tmp_path, STATE.format(n="n"), **weights)
    whole = opened(free, data, condition="x", held={"sr": "16000", "state": "0"})
    for one, other in zip(jacobian(still), jacobian(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    slow = opened(fixed, data, condition="x", held={"sr": "8000", "state": "0"})
    assert not jacobian(slow)[1][:, :5].any()


def test_a_held_state_from_the_data_enters_its_row(tmp_path):
    text = "g (float[n,3] x, float[n,2] h) => (float[n,2] mean, float[n,2] std) "
    text += "{ m = MatMul(x, a)  mean = Mul(m, h)  std = Exp(h) }"
    state = np.random.default_rng(1).normal(size=(12, 2)).astype(np.float32)
    data = data_file(tmp_path, state=state, h=state)
    path = onnx_file(tmp_path, text, a=WEIGHTS["a"])
    by_key = opened(path, data, held={"h": "state"})
    by_name = opened(path, data)
    expected = WEIGHTS["a"].T * state[:, :, None]
    for model in (by_key, by_name):
        phi, entries = jacobian(model)
        np.testing.assert_allclose(entries[:, :2], expected, rtol=1e-5)
        np.testing.assert_allclose(phi[:, 2:], np.exp(state), rtol=1e-5)
    constant = opened(path, data, held={"h": "[2, -1]"})
    np.testing.assert_allclose(
        jacobian(constant)[1][:, :2],
        np.broadcast_to(WEIGHTS["a"].T * [[2], [-1]], (12, 2, 3)),
        rtol=1e-5,
    )


def test_a_held_value_of_the_wrong_shape_is_refused(tmp_path):
    text = "g (float[n,3] x, float[n,2] h) => (float[n,2] mean, float[n,2] std) "
    text += "{ m = MatMul(x, a)  mean = Mul(m, h)  std = Exp(h) }"
    path = onnx_file(tmp_path, text, a=WEIGHTS["a"])
    with pytest.raises(InputError, match=r"'h' was given a value of shape \(3,\)"):
        opened(path, data_file(tmp_path), held={"h": "[1, 2, 3]"})


# Inside the graph, metadata, external data


def test_a_tensor_inside_the_graph_is_read_with_an_at_sign(tmp_path):
    path = onnx_file(tmp_path, LINEAR.format(n="n"), **WEIGHTS)
    said = {"family": "normal", "parameters": {"loc": "mean", "scale": "@e[:, :2]"}}
    phi, _ = jacobian(opened(path, data_file(tmp_path), **said))
    x = np.load(data_file(tmp_path))["x"]
    np.testing.assert_allclose(phi[:, 2:], np.exp(x[:, :2]), rtol=1e-6)


def test_only_onnx_can_be_cut(tmp_path):
    said = {"family": "normal", "parameters": {"loc": "@e", "scale": "1"}}
    with pytest.raises(ModelError, match="Only ONNX files can be cut"):
        opened(script_file(tmp_path, Head()), data_file(tmp_path), **said)


CONTRACT = "family: normal\nparameters: {loc: loc, scale: exp(log_scale)}\n"


def test_every_format_carries_its_contract(tmp_path):
    text = LINEAR.format(n="n").replace("mean", "loc").replace("std", "log_scale")
    x = torch.ones(4, 3)
    for path in (
        onnx_file(tmp_path, text, {"robaudit": CONTRACT}, **WEIGHTS),
        script_file(tmp_path, Head(), _extra_files={"robaudit": CONTRACT}),
        pt2_file(tmp_path, Head(), x, extra_files={"robaudit": CONTRACT}),
    ):
        model = opened(path, data_file(tmp_path))
        assert {i.origin for i in model.items if i.name != "condition"} == {"metadata"}


def external(folder):
    text = "g (float[n,40] x) => (float[n,40] mean, float[n,40] std) "
    text += "{ mean = MatMul(x, a)  std = Exp(x) }"
    path = onnx_file(folder, text, a=np.eye(40, dtype=np.float32))
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="model.onnx.data"
    )
    return path


def test_external_data_are_read_and_hashed(tmp_path):
    path, data = external(tmp_path), data_file(tmp_path, d=40)
    model = opened(path, data)
    beside = tmp_path / "model.onnx.data"
    assert [file.path for file in model.network.files] == [path, beside]
    before = model.network.weights_sha256
    beside.write_bytes(bytes(64) + beside.read_bytes()[64:])
    assert opened(path, data).network.weights_sha256 != before
    assert hashlib.sha256(path.read_bytes())


def test_missing_external_data_have_their_own_message(tmp_path):
    path, data = external(tmp_path), data_file(tmp_path, d=40)
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx\.data"):
        opened(path, data)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link"])
def test_external_data_stay_in_the_folder(tmp_path, location):
    inner = tmp_path / "model"
    inner.mkdir()
    (tmp_path / "secret").write_bytes(bytes(6400))
    (inner / "link").symlink_to(tmp_path / "secret")
    path, data = external(inner), data_file(inner, d=40)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = location
    path.write_bytes(proto.SerializeToString())
    for method in ("auto", "finite-difference"):
        with pytest.raises(ModelError):
            opened(path, data, method)


# Types


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_other_floating_types_keep_their_type(tmp_path, kind):
    text = f"g ({kind}[n,3] x) => ({kind}[n,3] mean, {kind}[n,3] std) "
    text += "{ mean = Tanh(x)  std = Exp(x) }"
    model = opened(onnx_file(tmp_path, text), data_file(tmp_path))
    assert str(model.network.dtype).endswith({"double": "float64"}.get(kind, kind))
    assert model.in_float64().network.dtype == torch.float64


def test_weights_of_eight_bits_are_multiplied_by_the_inputs_themselves(tmp_path):
    # onnxruntime would round the inputs to 8 bits too, and be no referee
    text = "g (float[n,3] x) => (float[n,4] mean) { w = DequantizeLinear(few, step) "
    text += "mean = MatMul(x, w) }"
    few = np.random.default_rng(1).integers(-128, 128, (3, 4)).astype(np.int8)
    step = np.float32(0.02)
    path, data = onnx_file(tmp_path, text, few=few, step=step), data_file(tmp_path)
    said = {"family": "normal", "parameters": {"loc": "mean", "scale": "1"}}
    model = opened(path, data, **said)
    assert model.forward_error < 1e-6
    phi, _ = jacobian(model)
    exact = np.load(data)["x"].astype(float) @ (few * np.float64(step))
    np.testing.assert_allclose(phi[:, :4], exact, rtol=1e-5, atol=1e-5)


def test_float64_is_opened_when_asked_for(tmp_path):
    path = onnx_file(tmp_path, LINEAR.format(n="n"), **WEIGHTS)
    model = opened(path, data_file(tmp_path), dtype="float64")
    assert model.network.dtype == torch.float64
    assert model.forward_error < 1e-5
    assert model.gates.derivative_error_float64 < 1e-7


@pytest.mark.parametrize(
    "make",
    [
        lambda x: (x, x.exp()),
        lambda x: {"loc": x, "scale": x.exp()},
        lambda x: torch.cat([x, x.exp()], dim=1),
    ],
)
def test_outputs_of_modules_have_names(tmp_path, make):
    model = opened(
        trace_file(tmp_path, make, torch.ones(4, 3)),
        data_file(tmp_path),
        family="normal",
        parameters={
            (tuple): {"loc": "output_0", "scale": "output_1"},
            (dict): {"loc": "loc", "scale": "scale"},
            (torch.Tensor): {"loc": "output[:, :3]", "scale": "output[:, 3:]"},
        }[type(make(torch.ones(1, 3)))],
    )
    phi, _ = jacobian(model)
    x = torch.from_numpy(np.load(data_file(tmp_path))["x"]).double()
    torch.testing.assert_close(phi, torch.cat([x, x.exp()], 1), rtol=1e-5, atol=1e-6)


def test_an_output_that_is_no_tensor_is_named(tmp_path):
    path = script_file(tmp_path, ListOut())
    with pytest.raises(AuditError, match="output_1_0' is a int"):
        opened(path, data_file(tmp_path), family="normal")


class ListOut(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        return x, [1]


def test_functions_are_modules():
    assert Function(torch.exp)(torch.zeros(1)) == 1


def test_a_module_that_no_exporter_knows_prints_no_graph(capfd):
    # torch writes it to descriptor 1 in C++, past sys.stdout
    normed = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 2))
    x = torch.ones(4, 3)
    traced = torch.jit.trace(normed.eval(), x, check_trace=False)
    assert graph_of_module(traced, ["x"], ["out"], {"x": x}, x.device) is None
    assert capfd.readouterr() == ("", "")
