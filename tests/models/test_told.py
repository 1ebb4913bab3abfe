"""Formats are told by content: each for what it is, with the one next step."""

import gzip
import json
import shutil
import struct
import zipfile

import numpy as np
import onnx
import pytest
import torch
from google.protobuf import json_format, text_format

from audit.ground.errors import ConfigError, ModelError
from audit.models.told import misnamed, told_by_content

from .saved import Head, data_file, graph, jacobian, opened, pt2_file, script_file

MODEL = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "
MODEL += "{ mean = Sin(x)  std = Exp(x) }"


def proto():
    return graph(MODEL)


def module_file(path):
    torch.save(Head(), path)


def weights_file(path):
    torch.save(Head().state_dict(), path)


def safetensors_file(path):
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)


def inductor_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/archive_format", "pt2")
        archive.writestr("model/data/aotinductor/model/model.wrapper.so", b"\x7fELF")


def text_file(path):
    path.write_text(text_format.MessageToString(proto()))


def onnx_text_file(path):
    path.write_text(onnx.printer.to_text(proto()))


def keras_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")


def zipped_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("deep/net.onnx", proto().SerializeToString())
        archive.writestr("deep/net.onnx.data", b"")


STRANGERS = [
    (zipped_file, "zip archive that holds net.onnx", "Unpack it"),
    (lambda path: onnx.save(proto(), path, "json"), "ONNX in JSON form", "onnx.load"),
    (
        lambda path: path.write_text(json_format.MessageToJson(proto(), indent=None)),
        "ONNX in JSON form",
        "onnx.load",
    ),
    (weights_file, "holds a state dict", "Load the weights into the module"),
    (module_file, "holds pickled Python objects", "save it with torch.export.save"),
    (safetensors_file, "weights alone .safetensors.", "Load the weights"),
    (inductor_file, "AOTInductor package", "Export the model it was made of"),
    (
        lambda path: path.write_bytes(struct.pack("<I", 28) + b"ET12" + b"\0" * 99),
        "ExecuTorch program",
        "Export the model it was made of",
    ),
    (
        lambda path: path.write_bytes(struct.pack("<I", 28) + b"TFL3" + b"\0" * 99),
        "TensorFlow Lite",
        "tf2onnx",
    ),
    (
        lambda path: path.write_bytes(gzip.compress(proto().SerializeToString())),
        "compressed by gzip",
        "gunzip",
    ),
    (text_file, "ONNX in text form", "onnx.save"),
    (onnx_text_file, "ONNX in text form", "parse_model"),
    (
        lambda path: path.write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
        ),
        "git-lfs pointer",
        "git lfs pull",
    ),
    (
        lambda path: path.write_text("\n<!DOCTYPE html><html><body>404</body></html>"),
        "web page",
        "Download the file itself",
    ),
    (lambda path: np.savez(path.open("wb"), x=np.ones(2)), "npz of arrays", "first"),
    (lambda path: np.save(path.open("wb"), np.ones(2)), "NumPy array", "first"),
    (keras_file, "Keras model", "tf2onnx"),
    (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "HDF5", "tf2onnx"),
]


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".pt2", ".ckpt"])
@pytest.mark.parametrize(("make", "what", "step"), STRANGERS)
def test_a_file_that_is_no_model_is_named_with_one_next_step(
    tmp_path, make, what, step, suffix
):
    path = tmp_path / f"file{suffix}"
    make(path)
    with pytest.raises(ModelError, match=what) as error:
        told_by_content(path)
    assert step in error.value.next_step
    assert "\n" not in str(error.value)


def models(tmp_path):
    onnx.save(proto(), tmp_path / "model.onnx")
    yield tmp_path / "model.onnx", ".onnx"
    yield script_file(tmp_path, Head(), "script.pt"), ".pt"
    yield pt2_file(tmp_path, Head(), torch.ones(4, 3)), ".pt2"


@pytest.mark.parametrize(
    "suffix", [".onnx", ".pt", ".pt2", ".pth", ".ckpt", ".pth.tar"]
)
def test_a_model_is_told_whatever_its_suffix(tmp_path, suffix):
    for path, kind in models(tmp_path):
        other = path.with_name(f"{path.stem}_other{suffix}")
        shutil.copy(path, other)
        assert told_by_content(other) == kind
        assert bool(misnamed(other, kind)) == (suffix != kind)


def test_torchscript_by_another_name_is_audited_as_what_it_is(tmp_path):
    path = script_file(tmp_path, Head(), "named.pt2")
    data = data_file(tmp_path)
    model = opened(path, data, family="normal")
    assert model.network.format == "torchscript"
    assert ("format", misnamed(path, ".pt")) in model.gates.warnings
    same = opened(script_file(tmp_path, Head(), "same.pt"), data, family="normal")
    for ours, theirs in zip(jacobian(model), jacobian(same), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_nothing_tells_lists_the_formats(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"\x00\x01\x02" * 100)
    with pytest.raises(ConfigError, match=r"Expected ONNX, TorchScript"):
        told_by_content(path)


@pytest.mark.parametrize("suffix", [".ckpt", ".pth.tar"])
def test_a_damaged_archive_that_nothing_names_is_said_to_be_one(tmp_path, suffix):
    path = script_file(tmp_path, Head(), f"cut{suffix}")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelError, match="begins like a zip archive and is no zip"):
        told_by_content(path)
    named = path.rename(tmp_path / "cut.pt")
    assert told_by_content(named) == ".pt"  # its loader says what is wrong


def test_an_archive_in_which_readers_differ_is_not_told(tmp_path):
    path = script_file(tmp_path, Head(), "twice.ckpt")
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(path, "a") as archive,
    ):
        archive.writestr(archive.namelist()[0], b"another")
    with pytest.raises(ModelError, match="two members of the same name"):
        told_by_content(path)
