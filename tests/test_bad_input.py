"""Bad input: each a paragraph that says what to do next, and its exit code."""

import pickle
import re
import zipfile
from contextlib import suppress

import numpy as np
import onnx
import pytest
import torch
from models.saved import data_file, onnx_file, opened, script_file, trace_file
from scans import FORMATS, SAMPLES
from torch import nn
from typer.testing import CliRunner

from audit.cli import app
from audit.ground.errors import AuditError

TEXT = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "
TEXT += "{ mean = Tanh(x) std = Exp(x) }"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty folder; return its code and what it said, unwrapped."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        said = re.sub(r"\s+", " ", result.stderr + result.stdout)
        assert "internal error" not in said.lower(), said
        assert "Traceback" not in said
        return result.exit_code, said

    return run


@pytest.fixture
def files(tmp_path):
    return onnx_file(tmp_path, TEXT), data_file(tmp_path)


def refused(found, code, *words):
    """Check the code and the words, and that a message is a paragraph of sentences."""
    assert found[0] == code, found
    for each in words:
        assert re.search(each, found[1]), found[1]
    assert found[1].strip().endswith((".", "?")), found[1]


# Files


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".ts", ".pt2"])
def test_a_missing_file(run, files, suffix):
    found = run("scan", f"nowhere{suffix}", files[1])
    refused(
        found, 3, f"There is no model file 'nowhere{suffix}'", "Check the path of MODEL"
    )


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".ts", ".pt2"])
def test_an_empty_file(run, files, tmp_path, suffix):
    (tmp_path / f"empty{suffix}").touch()
    found = run("scan", f"empty{suffix}", files[1])
    refused(
        found, 3, f"The model file 'empty{suffix}' is empty", "Save or copy it again"
    )


def test_a_folder(run, files, tmp_path):
    (tmp_path / "model").mkdir()
    refused(run("scan", tmp_path / "model", files[1]), 3, "is a folder")


@pytest.mark.parametrize("name", ["model.h5", "model.pth", "model"])
def test_another_suffix(run, files, tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    refused(
        run("scan", name, files[1]),
        2,
        r"\.onnx, \.pt, \.ts, \.pt2",
        "export it to ONNX",
    )


@pytest.mark.parametrize("method", ["auto", "finite-difference"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_protobuf(run, files, method, part):
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[: int(part * len(whole))])
    refused(run("scan", *files, "--method", method), 3, "model.onnx", "again")


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".pt2"])
@pytest.mark.parametrize(
    "content", [b"\x00" * 64, b"not a model\n" * 9, b"PK\x03\x04broken"]
)
def test_bytes_that_are_no_model(run, files, tmp_path, suffix, content):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    refused(run("scan", path, files[1]), 3, "'.*bad", "(again|audited)")


@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
def test_a_truncated_archive(run, files, tmp_path, part):
    whole = script_file(tmp_path, nn.Linear(3, 2)).read_bytes()
    for name in ("cut.pt", "cut.pt2"):
        (tmp_path / name).write_bytes(whole[: int(part * len(whole))])
        refused(
            run("scan", name, files[1]),
            3,
            f"'{name}' is no zip archive",
            "save it again",
        )


def test_an_archive_with_broken_members(run, files, tmp_path):
    path = script_file(tmp_path, nn.Linear(3, 2))
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        code = next(i for i in archive.infolist() if i.filename.endswith(".py"))
    start = code.header_offset + 200
    whole[start : start + 40] = bytes(40)
    path.write_bytes(whole)
    refused(run("scan", path, files[1]), 3, r"model\.pt")


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_an_archive_of_something_else(run, files, tmp_path, suffix):
    path = tmp_path / f"other{suffix}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    refused(run("scan", path, files[1]), 3, "one top folder.*Expected what torch")


@pytest.mark.parametrize("name", ["model.pt2", "model.onnx", "model.ckpt"])
def test_the_wrong_suffix_is_no_obstacle_and_is_said(run, files, tmp_path, name):
    script_file(tmp_path, nn.Linear(3, 2), name)
    words = ("--family", "normal", "--param", "loc=output", "--param", "scale=1.0")
    code, text = run("scan", tmp_path / name, files[1], *words)[:2]
    assert code == 0, text
    assert f"'{name}' is TorchScript" in " ".join(text.split())


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("suffix", [".pt", ".ts", ".pt2"])
@pytest.mark.parametrize(
    "kind", ["module", "state_dict", "payload", "raw pickle", "old"]
)
def test_a_pickle_is_refused_without_being_read(run, files, tmp_path, suffix, kind):
    path, mark = tmp_path / f"pickled{suffix}", tmp_path / "ran"
    saved = {
        "module": nn.Linear(3, 2),
        "state_dict": nn.Linear(3, 2).state_dict(),
        "payload": {"weights": Payload(mark)},
        "old": {"weights": Payload(mark)},
        "raw pickle": Payload(mark),
    }[kind]
    if kind == "raw pickle":
        path.write_bytes(pickle.dumps(saved))
    else:
        torch.save(saved, path, _use_new_zipfile_serialization=kind != "old")
    found = run("scan", path, files[1])
    refused(
        found,
        3,
        "(holds pickled Python objects|holds a state dict|is no zip archive)",
        "save",
    )
    assert not mark.exists()
    found = run("scan", path, files[1], "--trust-model")
    refused(found, 3, "pickled")
    assert not mark.exists()


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files_are_refused_in_words(tmp_path, suffix):
    """Files with a few bytes changed, lost or added open, or are refused."""
    whole = (SAMPLES / f"heteroscedastic{suffix}").read_bytes()
    data, path = str(SAMPLES / "heteroscedastic.npz"), tmp_path / f"damaged{suffix}"
    for seed in range(50):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        for start in rng.integers(0, len(whole), 1 + seed % 4).tolist():
            lost = start + int(rng.integers(0, 20)) * (seed % 2)
            damaged[start : max(lost, start + 1)] = rng.bytes(1 + seed % 3)
        path.write_bytes(damaged)
        with suppress(AuditError):
            opened(path, data)


# Data


def test_a_missing_data_file(run, files):
    refused(run("scan", files[0], "none.npz"), 3, "There is no data file 'none.npz'")


def test_a_wrong_key(run, files, tmp_path):
    np.savez(tmp_path / "keys.npz", a=np.ones((4, 3)), b=np.ones((4, 3)))
    found = run("scan", files[0], tmp_path / "keys.npz")
    refused(found, 3, "has no key 'x'", "Its keys are a, b", "--condition x=KEY")
    found = run("scan", files[0], f"{tmp_path / 'keys.npz'}::c")
    refused(found, 3, "has no key 'c'")


def test_a_wrong_shape(run, files, tmp_path):
    found = run("scan", files[0], data_file(tmp_path, d=5))
    refused(found, 3, r"shape \[5\]", r"x float32\[n, 3\]", "Reshape the data")


@pytest.mark.parametrize("array", [np.array([["a"] * 3]), np.ones((2, 3), complex)])
def test_a_wrong_dtype(run, files, tmp_path, array):
    np.savez(tmp_path / "typed.npz", x=array)
    refused(
        run("scan", files[0], tmp_path / "typed.npz"), 3, "has dtype", "real numbers"
    )


def test_no_rows(run, files, tmp_path):
    np.savez(tmp_path / "empty.npz", x=np.ones((0, 3)))
    refused(run("scan", files[0], tmp_path / "empty.npz"), 5, "has no rows")


def test_nan_inputs_are_skipped_and_counted(run, files, tmp_path):
    x = np.ones((5, 3), np.float32) * np.arange(5)[:, None]
    x[1, 2], x[3, 0] = np.nan, np.inf
    np.savez(tmp_path / "nan.npz", x=x)
    words = ("scan", files[0], tmp_path / "nan.npz", "-o", tmp_path / "r.json")
    code, said = run(*words)
    assert code == 4, said
    report = (tmp_path / "r.json").read_text()
    assert re.search(r"input 'x' holds nan at \[2\]", report)
    assert re.search(r"input 'x' holds inf at \[0\]", report)
    assert '"n_skipped": 2' in report
    assert "NaN" not in report
    assert run(*words, "--max-skipped", "2")[0] == 0
    assert run(*words, "--max-skipped", "1")[0] == 4


def test_nothing_but_nan(run, files, tmp_path):
    np.savez(tmp_path / "nan.npz", x=np.full((5, 3), np.nan))
    refused(
        run("scan", files[0], tmp_path / "nan.npz"), 5, "Every row", "Clean the data"
    )


# Outputs


def scanned(run, tmp_path, function, x, *options):
    """Scan a traced function of two columns; return the code and the reasons."""
    path = trace_file(tmp_path, function, torch.ones(4, x.shape[1]))
    np.savez(tmp_path / "x.npz", x=x.astype(np.float32))
    report = tmp_path / "r.json"
    found = run("scan", path, tmp_path / "x.npz", *options, "-o", report)
    return found, report.read_text() if report.exists() else ""


X = np.array([[1.0, 2.0], [-1.0, 1.0], [3.0, 1.0]])


def test_outputs_that_are_not_finite_are_skipped(run, tmp_path):
    def head(x):
        return {"loc": torch.log(x[:, :1]), "scale": 1 + x[:, 1:] ** 2}

    found, report = scanned(run, tmp_path, head, X, "--family", "normal")
    assert found[0] == 4, found
    assert '"n_skipped": 1' in report
    assert "loc" in report
    assert "finite" in report


def test_a_negative_scale_is_skipped(run, tmp_path):
    def head(x):
        return {"loc": x[:, 1:], "scale": x[:, :1]}

    found, report = scanned(run, tmp_path, head, X, "--family", "normal")
    assert found[0] == 4, found
    assert '"n_skipped": 1' in report
    assert re.search(r'"reason": "[^"]*scale[^"]*"', report), report[-900:]


def test_every_scale_negative_audits_nothing(run, tmp_path):
    def head(x):
        return {"loc": x[:, 1:], "scale": -torch.exp(x[:, :1])}

    found, _ = scanned(run, tmp_path, head, X, "--family", "normal")
    refused(found, 5, "Every one of the 3 inputs was skipped", "scale", "--param")


def test_probabilities_that_do_not_sum_to_one_are_skipped(run, tmp_path):
    def head(x):
        share = torch.sigmoid(x[:, :1])
        return {"probs": torch.cat([share, 1 - share + torch.relu(-x[:, :1])], dim=1)}

    found, report = scanned(run, tmp_path, head, X, "--family", "categorical")
    assert found[0] == 4, found
    assert '"n_skipped": 1' in report
    assert re.search("sum", report)


def test_an_integer_condition(run, files, tmp_path):
    text = "g (int64[n,3] tokens) => (float[n,3] mean, float[n,3] std) "
    text += "{ mean = Cast<to: int = 1>(tokens)  std = Exp(mean) }"
    path = onnx_file(tmp_path, text)
    found = run("scan", path, files[1])
    refused(
        found,
        3,
        "The condition 'tokens' has type int64",
        "no gradient passes",
        "embedding",
    )


# Names


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--family", "norml"], "norml.*Did you mean.*normal"),
        (["-d", "klx"], "klx.*Did you mean.*kl"),
        (["-a", "gausian:sigma=0.1"], "gausian.*Did you mean.*gaussian"),
        (["--max", "kl.gausian.p95=1"], "gausian.*Did you mean.*gaussian"),
        (["--max", "kl.gaussian.p96=1"], "p96.*known ones are.*p95.*Did you mean"),
        (["--dtype", "float99"], "float99.*float32"),
        (["--method", "magic"], "magic.*finite-difference"),
        (["--device", "gpu9"], "gpu9.*Leave --device out"),
        (["--condition", "y"], "no input 'y'.*Its inputs are x"),
        (["--held", "h=1"], "no input 'h'"),
        (
            ["--param", "loc=nope", "--param", "scale=1"],
            "reads 'nope'.*outputs are mean, std",
        ),
        (["--param", "loc=mean%2"], "grammar"),
        (["--contract", "nonsense"], "nonsense.*parameters"),
    ],
)
def test_unknown_names_are_usage_errors(run, files, words, expected):
    words = (
        words
        if "--family" in words or "--param" not in words
        else [*words, "--family", "normal"]
    )
    refused(run("scan", *files, *words), 2, expected)


def test_two_candidates_for_a_role(run, files, tmp_path):
    text = "g (float[n,3] a, float[n,3] b) => (float[n,3] mean, float[n,3] std) "
    text += "{ mean = Add(a, b)  std = Exp(b) }"
    path = onnx_file(tmp_path, text)
    found = run("scan", path, files[1])
    refused(found, 2, "The model has 2 inputs: a, b", "--condition NAME")
    text = TEXT.replace("float[n,3] std)", "float[n,3] std, float[n,3] mu)")
    path = onnx_file(tmp_path, text.replace("std = Exp(x)", "std = Exp(x) mu = Exp(x)"))
    found = run("scan", path, files[1], "--family", "normal")
    refused(
        found, 2, "Two outputs could be 'loc': mean and mu", "--param loc=EXPRESSION"
    )


# Graphs


def test_an_operator_nobody_knows(run, files, tmp_path):
    model = onnx.load(files[0])
    model.graph.node[0].op_type = "Frobnicate"
    model.graph.node[0].domain = "com.example"
    model.opset_import.add(domain="com.example", version=1)
    onnx.save(model, files[0])
    found = run("scan", *files)
    refused(found, 3, "Frobnicate")
    found = run("scan", *files, "--method", "finite-difference")
    refused(found, 3, "onnxruntime cannot open")


def test_a_graph_that_onnxruntime_refuses(run, tmp_path):
    path = onnx_file(tmp_path, TEXT)
    model = onnx.load(path)
    model.ir_version = 999
    onnx.save(model, path)
    found = run("scan", path, data_file(tmp_path))
    refused(found, 3, "onnxruntime cannot run", "export it again")


def test_a_module_that_raises(run, tmp_path):
    class Raises(nn.Module):
        def forward(self, x):
            if x.shape[0] > 0:
                raise ValueError("only on Tuesdays")
            return x

    path = script_file(tmp_path, Raises())
    found = run("scan", path, data_file(tmp_path))
    refused(found, 3, "cannot be run on the data", "Tuesdays")


def test_inspect_has_the_same_words(run, files):
    refused(run("inspect", "nowhere.onnx"), 3, "There is no model file")
    files[0].write_bytes(files[0].read_bytes()[:50])
    refused(run("inspect", *files), 3, "model.onnx")
