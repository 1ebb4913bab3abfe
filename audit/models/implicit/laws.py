"""A file as functions of (θ, φ) and (z, φ), row by row.

φ [R, p + c] holds what the rest of the computation reads, each row flattened: the
condition itself, or the tensors of a cut; and then the held inputs, the context. All
of it is float64 (whole numbers up to 2^53 survive). A row of a call is one draw of one
input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer import Graph
from audit.linalg.stored import LinearOperator
from audit.models.contract import Head
from audit.models.density import DifferentiableMap, Values
from audit.models.network import Call, Network

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Slot:
    """An input, or a tensor of a cut, and the shape of one row of it."""

    name: str
    shape: Shape

    @property
    def size(self) -> int:
        """The numbers in one row."""
        return math.prod(self.shape)


def no_graph(outputs: tuple[str, ...]) -> Graph | None:
    """Return None: there is no graph."""
    return None


@dataclass(frozen=True)
class FileLaw:
    """What a file computes from φ and a draw.

    Args:
        network: the file, for its types and its device.
        head: how its outputs are read.
        calls: outputs -> the computation of these alone.
        main: what φ begins with. held: what follows.
        target: θ, where the file takes it. noise: z, where it does.
        graphs: outputs -> the graph of these alone, None where there is none.
    """

    network: Network
    head: Head
    calls: Callable[[tuple[str, ...]], Call]
    main: tuple[Slot, ...]
    held: tuple[Slot, ...]
    target: Slot | None
    noise: Slot | None
    graphs: Callable[[tuple[str, ...]], Graph | None] = no_graph

    @property
    def size(self) -> int:
        """p, the numbers of φ without the context."""
        return sum(slot.size for slot in self.main)

    def log_density(self, targets: Tensor, phi: Tensor) -> Tensor:
        """Return log q [R] at θ [R, n]."""
        assert self.target is not None
        return self._run("log_prob", phi, self.target, targets).reshape(len(phi))

    def transport(self, noise: Tensor, phi: Tensor) -> Tensor:
        """Return θ [R, n] = T(φ, z) for z [R, m]."""
        assert self.noise is not None
        return self._run("sample", phi, self.noise, noise).reshape(len(phi), -1)

    def _run(self, output: str, phi: Tensor, slot: Slot, drawn: Tensor) -> Tensor:
        cast = self.values(phi, slot, drawn)
        return evaluate(self.head, output, self.calls(read_by(self.head, output))(cast))

    def values(self, phi: Tensor, slot: Slot, drawn: Tensor) -> dict[str, Tensor]:
        """Return the inputs of a call at φ [R, p + c] and draws [R, …] of a slot."""
        rows = len(phi)
        values = _unpacked((*self.main, *self.held), phi)
        values[slot.name] = drawn.reshape(rows, *slot.shape)
        for other in (self.target, self.noise):
            if other is not None and other.name not in values:
                values[other.name] = phi.new_zeros(1).expand(rows, *other.shape)
        return {name: self._cast(name, value) for name, value in values.items()}

    def _cast(self, name: str, value: Tensor) -> Tensor:
        known = {port.name for port in self.network.inputs}
        own = self.network
        return value.to(own.device, own.dtype_of(name) if name in known else own.dtype)

    def context(self, held: Values) -> Tensor | None:
        """Return held inputs as context [N, c]; None if there are none."""
        parts = [held[s.name].double().reshape(-1, s.size) for s in self.held]
        return torch.cat(parts, dim=1) if parts else None


def _unpacked(slots: tuple[Slot, ...], phi: Tensor) -> dict[str, Tensor]:
    """Return the values [R, *shape] that the rows of φ hold one after the other."""
    parts = torch.split(phi, [slot.size for slot in slots], dim=1)
    return {
        slot.name: part.reshape(len(phi), *slot.shape)
        for slot, part in zip(slots, parts, strict=True)
    }


@dataclass(frozen=True)
class ContextMap:
    """A map x -> φ with the held inputs appended; they have no derivative.

    The Jacobian has the p rows of the inner map.
    """

    inner: DifferentiableMap
    law: FileLaw

    def __call__(self, x: Tensor, held: Values) -> Tensor:
        """Return φ [N, p + c]."""
        return self._with(self.inner(x, held), held)

    def linearize(self, x: Tensor, held: Values) -> tuple[Tensor, LinearOperator]:
        """Return φ [N, p + c] and the Jacobian [N, p, d] of its first p numbers."""
        phi, jacobian = self.inner.linearize(x, held)
        return self._with(phi, held), jacobian

    def _with(self, phi: Tensor, held: Values) -> Tensor:
        context = self.law.context(held)
        wide = phi.double()
        return wide if context is None else torch.cat([wide, context], dim=1)


def evaluate(head: Head, output: str, outputs: Values) -> Tensor:
    """Return what the head reads from the file's outputs, in float64."""
    names = read_by(head, output)
    wide: Mapping[str, Tensor] = {name: outputs[name].double() for name in names}
    return head.parameters[output](wide)


def read_by(head: Head, *outputs: str) -> tuple[str, ...]:
    """Return the names of the file's outputs that some of the head's need."""
    names = [n for output in outputs for n in sorted(head.parameters[output].names)]
    return tuple(dict.fromkeys(name.removeprefix("@") for name in names))
