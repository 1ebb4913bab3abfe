"""dφ/dx of a saved file by the sweep: beside plain torch, and beside its oracle."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from audit.families import build_family
from audit.importer.sweep import pointwise, program, way
from audit.models import swept, swept_rows
from audit.models.expressions import Expression
from audit.models.swept_head import sources_of
from tests.models.saved import data_file, onnx_file, opened

TEXT = """
g (float[n, 3] x) => (float[n, 8] out) {
    a = Gemm <transB = 1> (x, w, b)
    t = Tanh(a)
    out = MatMul(t, v)
}
"""
HEADS = {
    "slices": {"loc": "out[:, :4]", "scale": "softplus(out[:, 4:]) + 0.001"},
    "crossed": {"loc": "2 * out[:, 4:]", "scale": "exp(-out[:, :4])"},
    "mixed": {"loc": "out[:, :4]", "scale": "exp(out[:, 4:]) + out[:, :4] ** 2"},
    "with a constant": {"loc": "out", "scale": "1.5"},
}


def weights(dtype=np.float32):
    random = np.random.default_rng(1)
    return {
        "w": random.normal(size=(5, 3)).astype(dtype),
        "b": random.normal(size=5).astype(dtype),
        "v": random.normal(size=(5, 8)).astype(dtype),
    }


def plain(x, head):
    """φ of one input by torch alone, in float64."""
    w, b, v = (torch.from_numpy(value).double() for value in weights().values())
    out = torch.tanh(w @ x + b) @ v
    if head == "slices":
        return torch.cat([out[:4], functional.softplus(out[4:]) + 0.001])
    if head == "crossed":
        return torch.cat([2 * out[4:], torch.exp(-out[:4])])
    if head == "mixed":
        return torch.cat([out[:4], torch.exp(out[4:]) + out[:4] ** 2])
    return torch.cat([out, torch.full_like(out, 1.5)])


def model_of(folder, head, **options):
    text = TEXT
    path = onnx_file(folder, text, **weights())
    data = data_file(folder, n=40)
    return opened(path, data, family="normal", parameters=HEADS[head], **options)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("dtype", "error"), [("auto", 3e-6), ("float64", 1e-13)])
def test_the_jacobian_is_that_of_plain_torch(head, dtype, error, tmp_path):
    model = model_of(tmp_path, head, dtype=dtype)
    assert model.swept is not None
    assert (model.swept.rows.sources is None) == (head == "mixed")
    x, held = model.rows(np.arange(40))
    phi, jacobian = model.swept.linearize(x, held)
    rows = x.double()
    values = torch.stack([plain(row, head) for row in rows])
    slopes = torch.stack(
        [torch.func.jacrev(lambda r: plain(r, head))(row) for row in rows]
    )
    torch.testing.assert_close(phi, values, rtol=10 * error, atol=error)
    own = torch.float64 if dtype == "float64" else torch.float32
    assert jacobian.entries.dtype == own
    assert jacobian.dense().dtype == torch.float64
    apart = (jacobian.dense() - slopes).flatten(1).norm(dim=1)
    assert bool((apart <= error * slopes.flatten(1).norm(dim=1)).all())


def test_a_number_does_not_depend_on_how_many_go_together(tmp_path, monkeypatch):
    model = model_of(tmp_path, "slices")
    rows = model.rows(np.arange(40))
    _, whole = model.swept.linearize(*rows)
    monkeypatch.setattr(way, "_LAYERS", 1)
    monkeypatch.setattr(swept_rows, "_FORWARD", 1)
    assert model.swept.rows.forward_rows == model.swept.rows.backward_rows == 1
    _, one = model.swept.linearize(*rows)
    torch.testing.assert_close(one.dense(), whole.dense(), rtol=1e-5, atol=1e-6)


def test_a_wrong_rule_is_seen_and_said(tmp_path, monkeypatch):
    monkeypatch.setitem(pointwise.PARTIALS, "Tanh", lambda a, y, k: 1 - y)
    model = model_of(tmp_path, "slices")
    assert model.swept is None
    (note,) = [text for code, text in model.gates.warnings if code == "sweep_differs"]
    assert "derivatives are taken by autograd" in note


def test_a_nan_in_the_sweep_is_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(pointwise.PARTIALS, "Tanh", lambda a, y, k: y / 0.0 * 0.0)
    assert model_of(tmp_path, "slices").swept is None


def test_a_file_with_a_step_that_has_no_rule_stays_with_autograd(tmp_path):
    text = TEXT.replace("Tanh(a)", "LpNormalization <axis = 1> (a)")
    path = onnx_file(tmp_path, text, **weights())
    model = opened(
        path, data_file(tmp_path), family="normal", parameters=HEADS["slices"]
    )
    assert model.swept is None
    assert "sweep_differs" not in dict(model.gates.warnings)


def test_few_rows_stay_with_autograd(tmp_path):
    path = onnx_file(tmp_path, TEXT, **weights())
    parameters = {"loc": "out[:, :3]", "scale": "exp(out[:, 4:7])"}
    model = opened(path, data_file(tmp_path), family="normal", parameters=parameters)
    assert model.swept is None
    assert "sweep_differs" not in dict(model.gates.warnings)


def test_a_value_of_another_shape_is_refused_by_the_sweep(tmp_path):
    model = model_of(tmp_path, "slices")
    sweep = model.swept.rows.sweep
    path = replace(
        sweep.path,
        places={s: replace(p, shape=(9,)) for s, p in sweep.path.places.items()},
    )
    with pytest.raises(swept.NotSwept):
        replace(sweep, path=path).linearise([torch.zeros(4, 3)])


def test_inputs_of_another_shape_are_autograds(tmp_path, monkeypatch):
    model = model_of(tmp_path, "slices")
    x, held = model.rows(np.arange(6))
    _, known = model.density.parameter_map.linearize(x, held)

    def refuse(*_):
        raise swept.NotSwept

    monkeypatch.setattr(program.Sweep, "_check", refuse)
    _, found = model.swept.linearize(x, held)
    assert torch.equal(found.dense(), known.dense())


def found(family, shapes, **parameters):
    expressions = {name: Expression(text) for name, text in parameters.items()}
    law = build_family(family, dict.fromkeys(parameters, (2,)))
    return sources_of(expressions, law.pack, shapes)


def test_which_number_each_parameter_is_made_of():
    shapes = {"a": (2, 3), "b": (2,)}
    own = found("normal", shapes, loc="a[:, 1, 1:]", scale="clamp(exp(b / 2), min=1)")
    assert own.output == (0, 0, 1, 1)
    assert own.element == (4, 5, 0, 1)
    own = found("normal", shapes, loc="cat(b[:, 1:], a[:, 0, :1])", scale="2")
    assert own.output == (1, 0, -1, -1)
    assert own.element[:2] == (1, 0)


@pytest.mark.parametrize(
    "text",
    ["softmax(b)", "a[:, 0, :2] * b", "cumsum(b)", "a[:, 0, :2]", "b ** a[:, 0, :2]"],
)
def test_parameters_that_are_made_of_several_numbers(text):
    """The fourth is one number twice: it is read for loc as well."""
    shapes = {"a": (2, 3), "b": (2,)}
    assert found("normal", shapes, loc="a[:, 0, 1:]", scale=text) is None
