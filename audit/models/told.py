"""Formats are told by content; a suffix is a hint.

A file that is no model, or none that can be differentiated, is named for what it is,
with the one next step.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from audit.ground.errors import ConfigError, ModelError
from audit.ground.storage import Member, ZipFault, open_regular, read_members, unpacked
from audit.models import LOADERS

HEAD = 4096
OWN = (".onnx", ".pt", ".ts", ".pt2")
NAMES = {".onnx": "ONNX", ".pt": "TorchScript", ".pt2": "a torch.export archive"}
_TORCH = (
    "Load the weights into the module in your own code and save that with "
    "torch.onnx.export or torch.export.save"
)
_AGAIN = "Export the model it was made of with torch.onnx.export"
_MAX_PICKLE = 1 << 26

# What a file begins with (or has from its fifth byte on) -> what it is, the next step.
_BEGINS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "is compressed by gzip", "Run gunzip on it first"),
    (
        b"version https://git-lfs",
        "is a git-lfs pointer, not the file that it points to",
        "Run git lfs pull in its repository",
    ),
    (
        b"\x89HDF\r\n",
        "is an HDF5 file, such as Keras writes",
        "Convert it with tf2onnx",
    ),
    (b"ir_version:", "is ONNX in text form", "Convert it: onnx.save(onnx.load(...))"),
    (b"\x93NUMPY", "is a NumPy array", "Give the model first, then the data"),
)
_FIFTH: tuple[tuple[bytes, str, str], ...] = (
    (b"ET", "is an ExecuTorch program", _AGAIN),
    (b"TFL3", "is a TensorFlow Lite program", "Convert it with tf2onnx"),
    (b"ORTM", "is onnxruntime's own format", "Give the .onnx file it was made of"),
)
_JSON = ([b"{", b'"ir_version"'], [b"{", b'"irVersion"'])
_PROGRAM = re.compile(r"models/[^/]+\.json")


def told_by_content(path: Path) -> str:
    """Return the suffix of the loader for a file.

    Raises:
        ModelError: it is something else, which the message names.
        ConfigError: neither content nor suffix tells.
    """
    if path.suffix in LOADERS and path.suffix not in OWN:
        return path.suffix  # somebody else's
    with open_regular(path) as file:
        head = file.read(HEAD)
    found = _archive(path) if head[:4] == b"PK\x03\x04" else _single(path, head)
    if found is not None:
        return found
    if path.suffix in LOADERS:
        return path.suffix
    raise ConfigError(
        f"'{path.name}' is of no format that its first bytes tell",
        "Expected ONNX, TorchScript or a torch.export archive; by their names "
        + ", ".join(LOADERS),
        "If it is a model, export it to ONNX (torch.onnx.export)",
    )


def misnamed(path: Path, kind: str) -> str:
    """Return a sentence where the suffix says something else; "" where it does not."""
    own = ".pt" if path.suffix == ".ts" else path.suffix
    if own == kind or kind not in NAMES:
        return ""
    return f"'{path.name}' is {NAMES[kind]}: formats are told by content"


def _archive(path: Path) -> str | None:
    """Return what is in a zip; None where its loader may say.

    Raises:
        ModelError: it is something else, or damaged and nothing says what it was.
    """
    try:
        with open_regular(path) as file:
            members = {member.name: member for member in read_members(file)}
            return _content(path, file, members)
    except ZipFault as fault:
        if path.suffix in LOADERS:
            return None  # which says the same, and what to do
        step = "Save or copy it again"
        raise _is(path, f"begins like a zip archive and {fault}", step) from None


def _content(path: Path, file: BinaryIO, whole: Mapping[str, Member]) -> str | None:
    names = {name.partition("/")[2]: name for name in whole}
    if "constants.pkl" in names:
        return ".pt"
    if any(_PROGRAM.fullmatch(name) for name in names):
        return ".pt2"
    if any("aotinductor" in name.split("/")[:-1] for name in names):
        raise _is(path, "is an AOTInductor package: compiled code", _AGAIN)
    if "data.pkl" in names:
        raise _pickled(path, file, whole[names["data.pkl"]])
    if whole and all(name.endswith(".npy") for name in whole):
        raise _is(path, "is an .npz of arrays", "Give the model first, then the data")
    if (inside := next((n for n in whole if n.endswith(".onnx")), None)) is not None:
        held = f"is a zip archive that holds {inside.rpartition('/')[2]}"
        raise _is(path, held, "Unpack it, and give the file in it")
    if "config.json" in whole:
        raise _is(path, "is a Keras model", "Convert it with tf2onnx")
    return None


def _pickled(path: Path, file: BinaryIO, member: Member) -> ModelError:
    """Return the error for what torch.save wrote: weights, or a module of Python."""
    if member.size < _MAX_PICKLE and _only_tensors(unpacked(file, member)):
        what = "holds a state dict (torch.save): weights without the program that "
        return _is(path, what + "uses them", _TORCH)
    return _is(
        path,
        "holds pickled Python objects (torch.save), not a program",
        "Load it in your own code and save it with torch.export.save or "
        "torch.onnx.export",
    )


def _only_tensors(data: bytes) -> bool:
    """Whether a pickle makes tensors and containers alone; it is not run."""
    try:
        named = [arg for op, arg, _ in pickletools.genops(data) if op.name == "GLOBAL"]
    except Exception:  # a broken pickle raises whatever it likes
        return False
    plain = ("torch._utils ", "torch ", "collections OrderedDict")
    return all(str(name).startswith(plain) for name in named)


def _single(path: Path, head: bytes) -> str | None:
    """Return the format of a file that is no archive; None where nothing tells."""
    for words, what, step in _BEGINS:
        if head.lstrip().startswith(words):
            raise _is(path, what, step)
    for words, what, step in _FIFTH:
        if head[4:].startswith(words):
            raise _is(path, what, step)
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise _is(
            path,
            "is a web page, not the file that was asked for",
            "Download the file itself (its raw or resolve link)",
        )
    tokens = head.replace(b"<", b" < ").replace(b":", b" : ").split()
    if tokens[:3] == [b"<", b"ir_version", b":"]:
        raise _is(path, "is ONNX in text form", "Convert it: onnx.parser.parse_model")
    if head.replace(b"{", b" { ").replace(b":", b" : ").split()[:2] in _JSON:
        step = "Convert it: onnx.save(onnx.load('model.json'), 'model.onnx')"
        raise _is(path, "is ONNX in JSON form", step)
    if _is_safetensors(path, head):
        raise _is(path, "holds weights alone (safetensors), without a program", _TORCH)
    if head[:1] == b"\x80" and path.suffix not in OWN:
        raise _is(path, "is a Python pickle, not a program", _TORCH)
    starts_like_onnx = head[:1] == b"\x08" and 0 < head[1] < 32
    return ".onnx" if starts_like_onnx else None


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Whether a file begins with the size of a JSON header that it holds."""
    size = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= size <= path.stat().st_size - 8


def _is(path: Path, what: str, step: str) -> ModelError:
    return ModelError(
        f"'{path.name}' {what}",
        "Expected a program: ONNX, TorchScript or a torch.export archive (.pt2)",
        step,
    )
