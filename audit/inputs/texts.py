"""Arrays of text, as codes: what a file looks up by name is held, and never perturbed.

The texts of an input are its vocabulary, sorted; a row holds their places in it. Nobody
between the data and the file sees anything but integers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.ground.errors import InputError
from audit.ground.storage.arrays import Array

Vocabulary = tuple[str, ...]


def coded(where: str, name: str, array: Array) -> tuple[NDArray[np.int64], Vocabulary]:
    """Return the codes of texts, of their shape, and what they stand for.

    A column [N] of a table is [N, 1].

    Args:
        where: the array, in words.
        name: the model's input.
        array: of texts.

    Raises:
        InputError: it holds something else.
    """
    texts = np.asarray(array)
    known = texts.dtype.kind == "U" or all(isinstance(t, str) for t in texts.flat)
    missing = [place for place, text in enumerate(texts.flat) if text is None]
    if missing:
        row, rows = missing[0] * len(texts) // texts.size, len(texts)
        raise InputError(
            f"{where} has no text in {len(missing)} of {texts.size} places, first in "
            f"row {row} of {rows}",
            f"Expected text for the model's input '{name}', in every row",
            "Leave these rows out, or fill them as the model's own pipeline does",
        )
    if not known or not texts.size:
        raise InputError(
            f"{where} has dtype {texts.dtype}",
            f"Expected text for the model's input '{name}', in every row",
            "Save it as text, such as array.astype(str)",
        )
    vocabulary, codes = np.unique(texts.astype(str), return_inverse=True)
    return codes.reshape(texts.shape).astype(np.int64), tuple(vocabulary.tolist())


def spelled(codes: NDArray[np.int64], vocabulary: Vocabulary) -> NDArray[np.str_]:
    """Return the texts of some codes."""
    return np.array(vocabulary, dtype=np.str_)[codes]
