"""An ONNX file as the standard's own reference runs it: the second referee.

onnxruntime has no kernels in double, bfloat16 or other types for some operators. The
reference evaluator of `onnx` is slow and knows them all; it is independent of us too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx.reference import ReferenceEvaluator

LACKING = ("NOT_IMPLEMENTED", "Could not find an implementation", "not support")
"""What its errors say: "GRU operator does not support double yet", "Batchwise
recurrent operations (layout == 1) are not supported"."""


class Reference:
    """A message run by `onnx.reference`.

    Args:
        proto: the file, with every tensor in it.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._proto = proto

    @cached_property
    def _evaluator(self) -> ReferenceEvaluator:
        from onnx.reference import ReferenceEvaluator  # 40 ms that few files need

        return ReferenceEvaluator(self._proto)

    def __call__(self, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, object]:
        """Return every output by name."""
        with np.errstate(all="ignore"):
            results = self._evaluator.run(None, dict(arrays))
        names = [output.name for output in self._proto.graph.output]
        return dict(zip(names, results, strict=True))


def is_lacking(error: Exception) -> bool:
    """Whether onnxruntime says that it has no kernel, not that the file is wrong."""
    return any(words in str(error) for words in LACKING)
