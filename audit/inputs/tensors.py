"""Tensors that torch.save wrote: one, or a dictionary of them; nothing else is read."""

from __future__ import annotations

import io
import re

from audit.ground.errors import InputError
from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Arrays
from audit.inputs.reading import broken, whole

_OBJECT = re.compile(r"Unsupported global: GLOBAL (\S+)")  # in the words of torch


def open_tensors(path: str, memory: int = MEMORY) -> Arrays:
    """Read tensors by their names; a tensor alone is called `x`.

    Raises:
        InputError: it is damaged, or holds something that is no tensor.
        ConfigError: it takes more than `memory`.
    """
    import torch

    data, sha256 = whole(path, memory)
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a broken pickle raises whatever it likes
        if (held := _OBJECT.search(str(error))) is not None:
            raise InputError(
                f"The data file '{path}' is no readable file of tensors: it holds a "
                f"{held[1]}",
                "Expected tensors alone: a pickle of other objects can run code",
                "Save the tensors: torch.save({'x': tensor}, path)",
            ) from None
        raise broken(path, "file of tensors", error) from None
    named = found if isinstance(found, dict) else {"x": found}
    arrays: dict[str, Array] = {}
    for name, value in named.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"In '{path}', '{name}' is a {type(value).__name__}",
                "Expected a tensor, or a dictionary of tensors",
                "Save the tensors alone with torch.save",
            )
        wide = value.float() if value.dtype == torch.bfloat16 else value
        arrays[str(name)] = wide.detach().numpy()
    return Arrays(path, arrays, sha256)
