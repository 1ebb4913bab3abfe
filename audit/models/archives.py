"""Look into a torch archive before anything in it may run.

Loading TorchScript runs a scripted `__setstate__`, which can call `torch.save` and
write files; `torch.export.load` unpickles sample inputs, which is arbitrary Python. So
the zip is read as text first, and what could act is named. A file that is a plain
pickle (a whole `nn.Module`, a `state_dict`) is never unpickled.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path, PurePosixPath

import torch

from audit.errors import ModelError

_ACTS = ("torch.save", "from_file", "__setstate__")
_OPERATORS = re.compile(r"\bops\.([A-Za-z_]\w*)\.")
_OWN_OPERATORS = {"aten", "prim", "prims", "quantized"}


def torchscript_findings(path: Path) -> list[str]:
    """Return what in a TorchScript archive could act while loading or running.

    Raises:
        ModelError: the file is no TorchScript archive.
    """
    with _open(path, "torch.jit.save(torch.jit.script(model), path)") as archive:
        code = [m for m in archive.namelist() if "code" in PurePosixPath(m).parts[1:-1]]
        if not any(
            PurePosixPath(m).name == "constants.pkl" for m in archive.namelist()
        ):
            raise _pickled(path)
        sources = {m: archive.read(m).decode("utf-8", "replace") for m in code}
    found = []
    for member, source in sources.items():
        found += [f"{word} in {member}" for word in _ACTS if word in source]
        foreign = set(_OPERATORS.findall(source)) - _OWN_OPERATORS
        found += [f"operators torch.ops.{name} in {member}" for name in sorted(foreign)]
    return found


def exported_findings(path: Path) -> list[str]:
    """Return the pickles in a `.pt2` archive that hold more than plain tensors.

    Raises:
        ModelError: the file is no torch.export archive.
    """
    with _open(
        path, "torch.export.save(torch.export.export(model, …), path)"
    ) as archive:
        names = archive.namelist()
        if not any(
            n.endswith((".json", "serialized_exported_program.json")) for n in names
        ):
            raise _pickled(path)
        members = {
            n: archive.read(n) for n in names if n.endswith((".pt", ".pkl", ".pth"))
        }
        configs = [archive.read(n) for n in names if n.endswith("_config.json")]
    found = [
        f"a pickle in {name}" for name, data in members.items() if not _plain(data)
    ]
    if any(re.search(rb'"use_pickle":\s*true', config) for config in configs):
        found.append("weights stored as pickles (use_pickle)")
    return found


def refuse_untrusted(path: Path, findings: list[str], trusted: bool) -> None:
    """Raise unless nothing was found or the user vouches for the file.

    Raises:
        ModelError: something was found and `trusted` is false.
    """
    if findings and not trusted:
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        raise ModelError(
            f"'{path.name}' can run code when it is loaded: {findings[0]}{more}",
            "A file from elsewhere should hold tensors and operators only",
            "If you made it or trust its author, pass --trust-model; else ask for ONNX",
        )


def _open(path: Path, how: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError):
        raise ModelError(
            f"'{path.name}' is no zip archive, so no saved torch program",
            f"Expected what {how} writes",
            "A pickled module or a file cut short cannot be audited: save it again",
        ) from None


def _pickled(path: Path) -> ModelError:
    return ModelError(
        f"'{path.name}' holds pickled Python objects (torch.save), not a program",
        "Expected TorchScript, a torch.export archive (.pt2) or ONNX",
        "Load it in your own code and save it with torch.export.save or "
        "torch.onnx.export",
    )


def _plain(data: bytes) -> bool:
    """Whether bytes unpickle as tensors and containers alone, and nothing else."""
    if not data:
        return True
    try:
        torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        return False
    return True
