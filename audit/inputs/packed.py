"""Text that gzip packed: `.csv.gz`, `.tsv.gz`, `.json.gz`, `.jsonl.gz`.

It is unpacked as far as `--memory` allows and read as the kind that the name before
`.gz` says. The digest is of the packed file.
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

from audit.ground.errors import InputError
from audit.ground.storage.arrays import MEMORY
from audit.inputs.arrays import Arrays
from audit.inputs.csv import table_of
from audit.inputs.json import arrays_of
from audit.inputs.reading import broken, too_large, whole

_TABLES, _JSON = (".csv", ".tsv"), {".json": False, ".jsonl": True, ".ndjson": True}


def open_packed(path: str, memory: int = MEMORY) -> Arrays:
    """Read a table or arrays of a packed text.

    Raises:
        InputError: it is damaged, or of another kind.
        ConfigError: it takes more than `memory`, packed or unpacked.
    """
    kind = Path(path).with_suffix("").suffix.lower()
    if kind not in (*_TABLES, *_JSON):
        raise InputError(
            f"The data file '{path}' is packed, and its name does not say of what",
            f"Expected {', '.join(f'{known}.gz' for known in (*_TABLES, *_JSON))}",
            "Unpack it (gunzip), or name it so",
        )
    packed, sha256 = whole(path, memory)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            data = file.read(memory + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise broken(path, "gzip file", error) from None
    if len(data) > memory:
        has = f"has more than {memory / 2**30:.1f} GiB unpacked, and is read whole"
        raise too_large(f"The data file '{path}' {has}", memory)
    if kind in _TABLES:
        return table_of(path, data, sha256)
    return arrays_of(path, data, sha256, _JSON[kind])
