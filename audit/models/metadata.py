"""The contract that travels inside a model file.

Every format has room for a text under the key `robaudit`: ONNX in `metadata_props`,
TorchScript and `.pt2` in an extra file. The text is a YAML document:

    family: normal
    parameters: {loc: mean, scale: exp(log_std)}
    levels: [0.1, 0.5, 0.9]           # any other key is an option of the family
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from audit.errors import ModelError

KEY = "robaudit"


def read_metadata(text: str | bytes | None, path: Path) -> dict[str, object]:
    """Parse the document found in a file; {} if there is none.

    Raises:
        ModelError: the text is no YAML mapping.
    """
    if not text:
        return {}
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        document = str(error).splitlines()[0]
    if isinstance(document, Mapping):
        return {str(name): value for name, value in document.items()}
    raise ModelError(
        f"The metadata '{KEY}' in '{path.name}' is no YAML mapping ({document})",
        "Expected keys such as family and parameters",
        "Save the model again, or remove the entry and pass --family and --param",
    )
