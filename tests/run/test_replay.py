"""`robaudit replay`: witnesses of the sample models in three formats, and bad files."""

import json
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from scans import FORMATS, SAMPLES, sample, written
from typer.testing import CliRunner
from verify.selftest.planted import onnx_text
from verify.sited import sited

from audit.cli import app
from audit.config import ModelConfig, ScanConfig
from audit.measure.preparation import settings_of
from audit.reports.files import atomic_file
from audit.verify.keeping import Found, save_witness
from audit.verify.witness import ascend

SIZES = torch.tensor([0.05, 0.3]).double()
CASES = (
    *((name, suffix) for name in ("heteroscedastic", "counts") for suffix in FORMATS),
    ("digits_cnn", ".onnx"),
    ("digits_cnn", ".pt"),
    ("sunspots_gru", ".onnx"),
    ("posterior_forward_kl", ".pt2"),
    ("mixture", ".onnx"),
)


@cache
def witnesses(name, suffix, p):
    """Return the file of the witnesses of eight inputs as bytes, and how many."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "w.npz"
        count = kept_of(sample(name, suffix, divergences=("kl",)), path, p)
        return path.read_bytes(), count


def kept(path, name="heteroscedastic", suffix=".onnx", p=2.0):
    """Write the witnesses of eight inputs, and return how many."""
    written_bytes, count = witnesses(name, suffix, p)
    path.write_bytes(written_bytes)
    return count


def kept_of(config, path, p=2.0):
    exact, local, prepared = sited(config, 8)
    found = ascend(exact, local, SIZES, p)
    one = Found(prepared.questions.divergences[0], exact, found)
    return save_witness(path, [one], prepared.model, settings_of(config))


def replayed(path, model, *words):
    return CliRunner().invoke(app, ["replay", str(path), str(model), *words])


def changed(path, **columns):
    """Rewrite some columns of a file of witnesses."""
    with np.load(path) as stored:
        arrays = dict(stored)
    for name, change in columns.items():
        arrays[f"witness.{name}"] = change(arrays[f"witness.{name}"])
    with atomic_file(path) as file:
        np.savez(file, **arrays)


def said(**changes):
    """Return a change of what a file says of itself."""

    def change(stored):
        about = json.loads(stored.tobytes())
        return np.frombuffer(json.dumps(about | changes).encode(), np.uint8)

    return change


@pytest.mark.sweep(4)
@pytest.mark.parametrize(("name", "suffix"), CASES)
def test_every_witness_holds_by_the_referee_alone(name, suffix, tmp_path):
    path = tmp_path / "w.npz"
    count = kept(path, name, suffix)
    assert count == 16
    result = replayed(path, SAMPLES / f"{name}{suffix}")
    assert result.exit_code == 0, result.output
    assert "16 witnesses" in result.output
    who = "onnxruntime" if suffix == ".onnx" else "loaded afresh"
    assert who in " ".join(result.output.split())


def test_a_witness_of_reverse_kl_holds_by_the_same_draws(tmp_path):
    """A mixture in the plane is drawn from at x + δ: so it is again, by the key."""

    def heads(x):
        zero = 0 * x[:, :2]
        loc = torch.stack([x[:, :2], x[:, 1:3] + 2], dim=1)
        return x[:, :2], loc, torch.stack([torch.exp(x[:, 2:] / 3) + zero, 1 + zero], 1)

    x = np.random.default_rng(1).normal(size=(8, 3))
    parameters = {"logits": "output_0", "loc": "output_1", "scale": "output_2"}
    model = {"family": "mixture:normal", "parameters": parameters}
    config = written(tmp_path, heads, x, model, divergences=("reverse_kl",))
    path = tmp_path / "w.npz"
    kept_of(config, path)
    result = replayed(path, config.model.path)
    assert result.exit_code == 0, result.output
    assert "16 witnesses" in result.output
    changed(path, value=lambda value: 1.01 * value)
    assert replayed(path, config.model.path).exit_code == 1


def test_a_file_says_what_plain_numpy_finds_in_it(tmp_path):
    """KL of normals from φ and φ' alone; δ within its size; x is the data's."""
    path = tmp_path / "w.npz"
    kept(path, suffix=".pt", p=float("inf"))
    with np.load(path) as file, np.load(SAMPLES / "heteroscedastic.npz") as data:
        (m, s), (k, t) = file["witness.phi"].T, file["witness.phi_moved"].T
        kl = np.log(t / s) + (s**2 + (m - k) ** 2) / (2 * t**2) - 0.5
        np.testing.assert_allclose(file["witness.value"], kl, rtol=1e-9)
        reach = np.abs(file["witness.delta"]).max(axis=1)
        assert (reach <= file["witness.size"] * (1 + 1e-6)).all()
        index = file["witness.index"].astype(int)
        np.testing.assert_array_equal(file["x"], data["x"][index])


@pytest.mark.parametrize(
    ("column", "change", "why"),
    [
        ("value", lambda v: v * 1.001, "D is another"),
        ("value", lambda v: v * np.inf, "D is another"),
        ("value", lambda v: v * np.nan, "D is another"),
        ("delta", lambda v: v * 0.9, "D is another"),
        ("delta", lambda v: v * 1.1, "longer than its size"),
        ("phi", lambda v: v + 0.01, "φ(x) is another"),
        ("phi_moved", lambda v: v + 0.01, "φ(x + δ) is another"),
    ],
)
def test_a_witness_that_does_not_hold_exits_1(column, change, why, tmp_path):
    path = tmp_path / "w.npz"
    kept(path)
    changed(path, **{column: change})
    result = replayed(path, SAMPLES / "heteroscedastic.onnx")
    assert result.exit_code == 1
    assert why in " ".join(result.output.split())


def test_one_bad_witness_among_many_is_named(tmp_path):
    path = tmp_path / "w.npz"
    kept(path)

    def one(values):
        values = values.copy()
        values[5] *= 2
        return values

    changed(path, value=one)
    result = replayed(path, SAMPLES / "heteroscedastic.onnx")
    assert result.exit_code == 1
    assert "7 of 8 hold" in result.output
    assert "16 witnesses" in result.output
    assert "1 do not hold" in " ".join(result.output.split())


SATURATED = """head (float[n, 1] x) => (float[n, 1] probs) {
    h = Neg(x)  e = Exp(h)  s = Add(e, one)  probs = Reciprocal(s)
}"""


def saturated(folder, h):
    """Return a Bernoulli law of p = 1/(1 + e^(−x)) at x = h, written out as it is."""
    model = onnx_text(folder, SATURATED, one=np.ones(1, np.float32))
    x = np.asarray(h, np.float32)[:, None]
    np.savez(folder / "data.npz", x=x)
    stated = {"family": "bernoulli", "parameters": {"probs": "probs"}}
    model = ModelConfig(str(model), **stated)
    data = str(folder / "data.npz")
    return ScanConfig(model=model, data=data, divergences=("kl",), verify=0)


def of_logits(h, k):
    """KL of Bernoulli laws from their logits: no probability near one is rounded."""
    soft = np.logaddexp(0, h), np.logaddexp(0, k)
    p, rest = np.exp(h - soft[0]), np.exp(-soft[0])
    return p * ((h - soft[0]) - (k - soft[1])) + rest * (soft[1] - soft[0])


def test_a_saturated_probability_is_judged_by_what_float32_can_tell(tmp_path):
    """1 − p of e⁻¹⁴ is 14 units of float32: its last digit moves D by a tenth."""
    config = saturated(tmp_path, np.linspace(13.0, 16.0, 8))
    path = tmp_path / "w.npz"
    kept_of(config, path)
    with np.load(path) as file:
        x, value = file["x"][:, 0].astype(float), file["witness.value"]
        moved = x + file["witness.delta"][:, 0]
    np.testing.assert_allclose(value, of_logits(x, moved), rtol=1e-4)
    result = replayed(path, config.model.path)
    text = " ".join(result.output.split())
    assert result.exit_code == 0, text
    assert "only to the last digits of the predictions" in text
    assert "16 witnesses by onnxruntime: all hold" in text
    changed(path, value=lambda v: 3.0 * v)
    assert replayed(path, config.model.path).exit_code == 1


def in_eights(stored):
    """Return the same bytes, and spaces behind, as numbers of another type."""
    text = stored.tobytes()
    return np.frombuffer(text + b" " * (-len(text) % 8), np.int64)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"nothing"), "neither npz nor npy"),
        (lambda path: np.savez(path, x=np.ones(3)), "no file of witnesses"),
        (lambda path: changed(path, about=said(version=9)), "version 9"),
        (lambda path: changed(path, about=lambda b: b[:20]), "cannot be read"),
        (lambda path: changed(path, about=in_eights), "no file of witnesses"),
        (lambda path: changed(path, phi=lambda v: v[:3]), "of shape"),
        (lambda path: changed(path, delta=lambda v: v[:, :0]), "another length"),
        (lambda path: changed(path, p=lambda v: 0 * v + 3), "does not name"),
        (lambda path: changed(path, divergence=lambda v: v + 4), "does not name"),
        (lambda path: changed(path, size=lambda v: v * np.nan), "no finite number"),
        (lambda path: changed(path, size=lambda v: v * np.inf), "no finite number"),
        (lambda path: changed(path, unit=lambda v: v * np.nan), "no finite number"),
        (lambda path: changed(path, unit=lambda v: 0 * v), "no finite number"),
        (lambda path: changed(path, unit=lambda v: -v), "no finite number"),
        (lambda path: path.unlink(), "There is no file"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(make, words, tmp_path):
    path = tmp_path / "w.npz"
    kept(path)
    make(path)
    result = replayed(path, SAMPLES / "heteroscedastic.onnx")
    assert result.exit_code == 3
    assert words in " ".join(result.output.split())


def test_another_model_is_refused_by_its_hash(tmp_path):
    path = tmp_path / "w.npz"
    kept(path)
    result = replayed(path, SAMPLES / "heteroscedastic_fisher.onnx")
    assert result.exit_code == 3
    assert "of another model" in result.output


def test_a_file_is_the_same_bytes_each_time(tmp_path):
    one, other = tmp_path / "a.npz", tmp_path / "b.npz"
    for path in (one, other):
        kept_of(sample("heteroscedastic", divergences=("kl",)), path)
    assert one.read_bytes() == other.read_bytes()
    assert zipfile.ZipFile(one).testzip() is None


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, float("inf")])
@pytest.mark.parametrize("name", ["linear_gaussian", "digits_cnn", "mixture"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_witness_holds_in_every_norm(p, name, suffix, tmp_path):
    path = tmp_path / "w.npz"
    kept(path, name, suffix, p)
    assert replayed(path, SAMPLES / f"{name}{suffix}").exit_code == 0


def test_a_witness_is_kept_with_the_input_that_the_network_sees(tmp_path):
    """Of data with more digits than the file computes with, it sees the rounded x."""
    with np.load(SAMPLES / "heteroscedastic.npz") as data:
        x = data["x"][:8].astype(float) * (1 + 1e-9)
    seen = x.astype(np.float32)
    assert x.dtype == np.float64
    assert (x != seen).any(axis=1).all()
    np.savez(tmp_path / "data.npz", x=x)
    config = sample("heteroscedastic", divergences=("kl",))
    config = replace(config, data=str(tmp_path / "data.npz"))
    path = tmp_path / "w.npz"
    kept_of(config, path)
    with np.load(path) as file:
        index = file["witness.index"].astype(int)
        np.testing.assert_array_equal(file["x"], seen[index].astype(np.float64))
        moved = file["x"] + file["witness.delta"]
        np.testing.assert_array_equal(moved, moved.astype(np.float32))
