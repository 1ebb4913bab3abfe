"""Inputs of text: held from the data or at a value, against the closed form."""

import numpy as np
import onnx
import onnx.helper as make
import pytest
from scans import columns, scan
from typer.testing import CliRunner

from audit.cli import app
from audit.config import AttackConfig, ModelConfig, ScanConfig
from audit.ground.errors import AuditError, ConfigError, InputError
from audit.run.inspection import inspect

X = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
GAINS = {"red": 1.0, "blue": 2.0, "green": 3.0, "Ünter 7": 5.0}
COLOURS = np.array(["red", "blue", "green"] * 3)[:, None]
SAID = {"family": "normal", "parameters": {"loc": "loc", "scale": "1.0"}}


def file(folder, batch="n"):
    """θ ~ N(gain(colour) x, 1): tr F = 3 gain², whatever x."""
    real, text = onnx.TensorProto.FLOAT, onnx.TensorProto.STRING
    code = make.make_node(
        "LabelEncoder",
        ["colour"],
        ["code"],
        domain="ai.onnx.ml",
        keys_strings=list(GAINS),
        values_floats=list(GAINS.values()),
    )
    graph = make.make_graph(
        [code, make.make_node("Mul", ["x", "code"], ["loc"])],
        "g",
        [
            make.make_tensor_value_info("x", real, [batch, 3]),
            make.make_tensor_value_info("colour", text, [batch, 1]),
        ],
        [make.make_tensor_value_info("loc", real, [batch, 3])],
    )
    opsets = [make.make_opsetid("", 17), make.make_opsetid("ai.onnx.ml", 3)]
    path = folder / "coloured.onnx"
    onnx.save(make.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return str(path)


def data(folder, **arrays):
    np.savez(folder / "data.npz", x=X, **arrays)
    return str(folder / "data.npz")


def table(folder):
    rows = ["a,b,c,colour"] + [
        ",".join([*map(repr, map(float, x)), c])
        for x, c in zip(X, COLOURS[:, 0], strict=True)
    ]
    (folder / "data.csv").write_text("\n".join(rows))
    return str(folder / "data.csv")


def traces(path, source, **options):
    model = ModelConfig(path, **SAID, **options.pop("model", {}))
    config = ScanConfig(model=model, data=source, divergences=("kl",), **options)
    return columns(scan(config))


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("source", ["npz", "csv"])
def test_text_is_held_from_the_data(tmp_path, source, batch):
    where = data(tmp_path, colour=COLOURS) if source == "npz" else table(tmp_path)
    found = traces(file(tmp_path, batch), where, verify=4)
    gains = np.array([GAINS[c] for c in COLOURS[:, 0]])
    np.testing.assert_allclose(found["trace"], 3 * gains**2, rtol=1e-6)
    ratio = found["gaussian_ratio"]
    assert np.nanmax(np.abs(ratio - 1)) < 1e-4


@pytest.mark.parametrize("method", ["auto", "finite-difference"])
@pytest.mark.parametrize("colour", ["green", "Ünter 7", "0"])
def test_text_is_held_at_a_value(tmp_path, colour, method):
    """What looks like a number is text as well, and in no table: its default is −0."""
    path, where = file(tmp_path), data(tmp_path)
    held = {"held": {"colour": colour}}
    if colour not in GAINS:
        with pytest.raises(AuditError, match="zero"):
            traces(path, where, model=held, method=method)
        return
    found = traces(path, where, model=held, method=method, verify=0)
    loose = 1e-6 if method == "auto" else 1e-3
    np.testing.assert_allclose(found["trace"], 3 * GAINS[colour] ** 2, rtol=loose)


def test_inspect_shows_the_type_of_the_file(tmp_path):
    model = ModelConfig(file(tmp_path), **SAID)
    config = ScanConfig(model=model, data=data(tmp_path, colour=COLOURS))
    found = inspect(config)
    assert ("colour", "string", ("n", 1)) in found.inputs
    assert "colour" not in found.ranges
    assert ("held colour", "colour", "key of the data") in found.items


def test_a_kept_witness_holds_its_text(tmp_path):
    witness = tmp_path / "w.npz"
    attack = AttackConfig("worst_case", "worst_case", {"norm": "0.1"})
    path = file(tmp_path)
    traces(
        path,
        data(tmp_path, colour=COLOURS),
        attacks=(attack,),
        verify=9,
        witness=str(witness),
    )
    with np.load(witness) as stored:
        index = stored["witness.index"].astype(int)
        assert stored["colour"].tolist() == COLOURS[index].tolist()
    result = CliRunner().invoke(app, ["replay", str(witness), path])
    assert result.exit_code == 0, result.output


def test_what_is_no_text_is_refused_in_words(tmp_path):
    path = file(tmp_path)
    with pytest.raises(InputError, match="Expected text"):
        traces(path, data(tmp_path, colour=np.ones((9, 1))))
    with pytest.raises(ConfigError, match="--held colour=TEXT"):
        traces(path, data(tmp_path))
    with pytest.raises(ConfigError, match="'colour' holds text"):
        traces(path, data(tmp_path, colour=COLOURS), model={"condition": "colour"})
    with pytest.raises(ConfigError, match="which holds text"):
        traces(path, data(tmp_path, colour=COLOURS), model={"condition": "x,colour"})
    model = ModelConfig(path, contract="transport", noise="x:normal")
    with pytest.raises(ConfigError, match="holds text"):
        scan(ScanConfig(model=model, data=data(tmp_path, colour=COLOURS)))


def test_all_numbers_may_be_perturbed_beside_text(tmp_path):
    found = traces(
        file(tmp_path),
        data(tmp_path, colour=COLOURS),
        model={"condition": "all"},
        verify=0,
    )
    gains = np.array([GAINS[c] for c in COLOURS[:, 0]])
    np.testing.assert_allclose(found["trace"], 3 * gains**2, rtol=1e-6)


def test_an_output_of_text_is_left_out(tmp_path):
    """The file says the colour again beside loc."""
    path = file(tmp_path)
    model = onnx.load(path)
    model.graph.node.append(make.make_node("Identity", ["colour"], ["said"]))
    said = make.make_tensor_value_info("said", onnx.TensorProto.STRING, ["n", 1])
    model.graph.output.append(said)
    onnx.save(model, path)
    found = traces(path, data(tmp_path, colour=COLOURS))
    wanted = [3 * GAINS[c] ** 2 for c in COLOURS[:, 0]]
    np.testing.assert_allclose(found["trace"], wanted, rtol=1e-6)
