"""Where the values of a graph are while its plan is built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import helper
from torch import Tensor

from audit.importer import cleanup
from audit.importer.limits import count_steps
from audit.importer.plan import Plan
from audit.importer.program import ValueInfo
from audit.importer.values import Host, Policy, Value, is_text, to_host


@dataclass
class Constant:
    """A value known before the run, as an array and as a tensor, made when asked."""

    policy: Policy
    array: Host | None = None
    tensor: Value = None

    def as_host(self) -> Host:
        """Return the constant as an array."""
        if self.array is None and isinstance(self.tensor, Tensor):
            self.array = to_host(self.tensor)
        array = np.asarray(self.array)
        return array.astype(self.policy.host_type(array.dtype), copy=False)

    def as_tensor(self) -> Value:
        """Return the constant as a tensor (strings stay arrays)."""
        if self.tensor is None and self.array is not None:
            text = is_text(self.array)
            self.tensor = self.array if text else self.policy.tensor(self.array)
        return self.tensor

    @property
    def onnx_type(self) -> int | None:
        """The element type in the file, None for a folded constant."""
        if self.array is None or is_text(self.array):
            return None
        return int(helper.np_dtype_to_tensor_dtype(self.array.dtype))

    def is_small(self) -> bool:
        """Return whether the constant can take part in shape arithmetic."""
        value = self.array if self.array is not None else self.tensor
        if isinstance(value, Tensor):
            return value.numel() <= cleanup.SMALL
        return isinstance(value, np.ndarray) and value.size <= cleanup.SMALL


@dataclass(frozen=True)
class Place:
    """Where a computed value is; `host` tells an array from a tensor."""

    slot: int
    host: bool = False


@dataclass(frozen=True)
class Body:
    """A subgraph as a function; the node hands it what it takes from outside."""

    plan: Plan
    outputs: tuple[ValueInfo, ...]
    captured: slice

    def __call__(self, *values: Value) -> tuple[Value, ...]:
        """Run the subgraph on its declared inputs followed by the captured ones."""
        count_steps(len(self.plan.steps))
        return self.plan(*values)
