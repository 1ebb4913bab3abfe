"""Look into a torch archive before anything in it may run.

Loading TorchScript runs a scripted `__setstate__`, which can write files; loading a
torch.export archive unpickles, and evaluates shape expressions, guards and argument
names as Python. So the zip is read as text and data first, and what could act is named.
What is not known to be harmless counts as a finding: the lists are of what may pass.

`checked_script` and `checked_program` return the bytes that were looked into, for the
loader: the file itself is not opened again.
"""

from __future__ import annotations

from pathlib import Path

from audit.ground.errors import ModelError
from audit.ground.storage import StoredFile
from audit.models.untrusted.archive import Archive
from audit.models.untrusted.exported import EXPORTED, exported_findings
from audit.models.untrusted.script import SCRIPT, torchscript_findings
from audit.models.untrusted.trees import with_plain_trees

__all__ = ["checked_program", "checked_script", "stored_model"]


def stored_model(path: Path) -> StoredFile:
    """Look at a model's file.

    Raises:
        ModelError: it is missing, or no regular file.
    """
    try:
        return StoredFile.at(path)
    except OSError as error:
        raise ModelError(
            f"'{path}' cannot be read: {error.strerror}",
            "Expected a saved model",
            "Check the path of MODEL",
        ) from None


def checked_script(stored: StoredFile, trusted: bool) -> bytes:
    """Return a TorchScript archive that may be loaded.

    Raises:
        ModelError: it is none, or something in it acts and `trusted` is false.
    """
    archive = Archive(stored, SCRIPT, trusted)
    _refuse(archive, torchscript_findings(archive), trusted)
    return archive.content


def checked_program(stored: StoredFile, trusted: bool) -> bytes:
    """Return a torch.export archive that may be loaded.

    Raises:
        ModelError: as `checked_script`.
    """
    archive = Archive(stored, EXPORTED, trusted)
    _refuse(archive, exported_findings(archive), trusted)
    return with_plain_trees(archive.content)


def _refuse(archive: Archive, findings: list[str], trusted: bool) -> None:
    if findings and not trusted:
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        what = findings[0] + more
        raise ModelError(
            f"'{archive.path.name}' can run code when it is loaded: {what}",
            "A file from elsewhere should hold tensors and operators only",
            "If you made it or trust its author, pass --trust-model; else ask for ONNX",
        )
