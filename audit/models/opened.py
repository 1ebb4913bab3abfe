"""A file, its data and its contract, ready to be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.ground.errors import AuditError
from audit.importer import Graph
from audit.importer.observed import work_of
from audit.inputs import Inputs
from audit.models.contract import Head, Item, Roles
from audit.models.density import ConditionalDensity, DifferentiableMap, Linearized
from audit.models.gates import Findings, Subject
from audit.models.network import Network, Port
from audit.models.probing import Probe, finite_rows
from audit.models.torch_work import bound_of

if TYPE_CHECKING:
    from audit.importer.relaxation import Tape

REVERSE_MODE = "batched reverse mode"


@dataclass(frozen=True)
class OpenModel:
    """A file, its data and its contract, ready to be measured.

    Args:
        probe: the file, in the precision of the audit, on the data.
        head: how outputs become parameters.
        density: q(θ|x) on what is perturbed: the flattened condition, or φ.
        event: the shape of one of them.
        parameters_of: the network's own map, condition -> φ.
        subject: what the gates look at.
        assemble: puts the same density together on another probe.
        space: what is perturbed, "input" or "parameters".
        by_differences: whether derivatives are taken by finite differences.
        gates: what the gates measured.
        bottleneck: what is run once for each input, and not for each draw.
        items: every decision of the contract, with who made it.
        swept: condition -> φ and all of J by the reverse sweep of the graph; None where
            autograd takes it. unswept: why it does.
        slopes: of a sampler, whether ∂T/∂φ is swept, and why; None where there is none.
    """

    probe: Probe
    head: Head
    density: ConditionalDensity
    event: tuple[int, ...]
    parameters_of: DifferentiableMap
    subject: Subject
    assemble: Callable[[Probe], OpenModel]
    space: str = "input"
    by_differences: bool = False
    gates: Findings = field(default_factory=Findings)
    bottleneck: str = ""
    items: tuple[Item, ...] = ()
    swept: Linearized | None = None
    unswept: str = ""
    slopes: tuple[bool, str] | None = None
    products: Linearized | None = None
    """Condition -> φ and products with J by the sweep; None where autograd has them."""
    class_names: tuple[str, ...] = ()
    """Of a classifier whose classes are named; else none."""

    @property
    def network(self) -> Network:
        """The file."""
        return self.probe.network

    @property
    def inputs(self) -> Inputs:
        """The data, by the model's input names."""
        return self.probe.inputs

    @property
    def roles(self) -> Roles:
        """Which input is perturbed."""
        return self.probe.roles

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The file's outputs as they came out of the probe."""
        return tuple(_port(name, value) for name, value in self.probe.outputs.items())

    @property
    def forward_error(self) -> float | None:
        """The largest relative difference from another run of the file."""
        return self.gates.forward_error

    @property
    def derivative(self) -> str:
        """How derivatives are taken, as the report names it."""
        if self.by_differences:
            return "finite_difference"
        return str(self.network.details.get("derivative", REVERSE_MODE))

    @property
    def rounding(self) -> float:
        """The relative rounding of the entries of a Jacobian."""
        exact = self.space == "parameters" or self.network.dtype == torch.float64
        in_double = exact and not self.by_differences
        return torch.finfo(torch.float64 if in_double else torch.float32).eps

    @cached_property
    def graph(self) -> Graph | None:
        """The file as an imported graph, in its precision; None if there is none."""
        make = self.network.graph
        beside = self.network.beside
        own = {n: v for n, v in self.probe.values.items() if n not in beside}
        return None if make is None else make(own)

    @cached_property
    def written(self) -> dict[int, tuple[Tape, frozenset[str]]]:
        """The tape of the most inputs that was written of it (`enclosing`)."""
        return {}

    @cached_property
    def work(self) -> float:
        """The multiply-adds of one input; 0 where no graph tells."""
        try:
            graph, condition = self.graph, self.roles.condition
            if graph is None:
                return 0.0
            return work_of(graph, self.probe.values, condition)
        except (AuditError, RuntimeError):
            return 0.0

    def takes(self, work: float) -> bool:
        """Tell whether an input takes so many multiply-adds, by a graph if need be."""
        return self._bound >= work and self.work >= work

    @cached_property
    def _bound(self) -> float:
        """What the multiply-adds of one input do not exceed; ∞ where a graph tells."""
        if self.network.format == "onnx" or self.network.graph is None:
            return inf
        row = self.subject.first(1)
        try:
            return bound_of(lambda: self.subject.call(row))
        except (AuditError, RuntimeError):
            return inf

    def rows(self, index: NDArray[np.int64]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is perturbed [n, d] and the held inputs of some rows.

        Not-finite numbers become zero: those rows are skipped, and must not disturb
        the others.
        """
        values = self.probe.take(index)
        x = torch.nan_to_num(values.pop(self.roles.condition), posinf=0.0, neginf=0.0)
        x = x.reshape(len(index), -1)
        in_parameters = self.space == "parameters"
        return (self.parameters_of(x, values) if in_parameters else x), values

    def perturbed(self, index: NDArray[np.int64]) -> NDArray[np.generic]:
        """Return what is perturbed at some rows [n, *event], as a scan sees it."""
        parts = np.split(index, range(1024, len(index), 1024))
        with torch.no_grad():
            rows = [plain(self.rows(part)[0]) for part in parts]
        return np.concatenate(rows).reshape(len(index), *self.event)

    def probe_index(self) -> NDArray[np.int64]:
        """Return the first rows without NaN or infinity."""
        return finite_rows(self.inputs)

    def in_float64(self) -> OpenModel:
        """Return the same model run in float64, where the file allows it.

        Raises:
            ModelError: it does not.
        """
        return self if self.network.dtype == torch.float64 else self._double

    @cached_property
    def _double(self) -> OpenModel:
        opened = self.assemble(replace(self.probe, network=self.network.double()))
        return replace(opened, gates=self.gates)


def _port(name: str, value: Tensor) -> Port:
    return Port(name, str(value.dtype).removeprefix("torch."), (None, *value.shape[1:]))


def plain(values: Tensor) -> NDArray[np.generic]:
    """Return numbers for numpy, which has no bfloat16: those are float32 then."""
    short = values.dtype == torch.bfloat16
    found: NDArray[np.generic] = (values.float() if short else values).cpu().numpy()
    return found
