"""TorchScript: the code of an archive, read as text.

Its interpreter knows few functions that touch the world (`torch.save`,
`torch.from_file`, operators of other libraries), and `__setstate__` runs while the file
loads. They are looked for as words, so that neither spaces, comments nor another
spelling of the namespace hide them.
"""

from __future__ import annotations

import re
from pathlib import Path

from audit.models.untrusted.archive import Archive

_ACTS = re.compile(r"(?<!\w)(save|from_file|__setstate__)(?!\w)")
_GAP = r"(?:\s|\\\n|#[^\n]*\n)*"
_OPERATORS = re.compile(rf"\bops{_GAP}\.{_GAP}(\w+)")
_REFLECTION = re.compile(rf"\bgetattr{_GAP}\({_GAP}(?:torch|ops)\b")
_OWN = {"aten", "prim", "prims", "quantized"}


def torchscript_findings(path: Path) -> list[str]:
    """Return what in a TorchScript archive could act while loading or running.

    Raises:
        ModelError: the file is no TorchScript archive.
    """
    archive = Archive(path, "torch.jit.save(torch.jit.script(model), path)")
    if "constants.pkl" not in archive.members:
        raise archive.pickled()
    found = []
    for member in archive.names(ends=(".py",)):
        source = archive.read(member).decode("utf-8", "replace")
        found += [
            f"{word} in {member}" for word in dict.fromkeys(_ACTS.findall(source))
        ]
        foreign = set(_OPERATORS.findall(source)) - _OWN
        found += [f"operators torch.ops.{name} in {member}" for name in sorted(foreign)]
        if _REFLECTION.search(source):
            found.append(f"a function looked up by name in {member}")
    return found
