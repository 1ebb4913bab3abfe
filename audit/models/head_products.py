"""Products with dφ/do, of φ as a function of a file's outputs o.

Where each φ_j is a function of one number of the outputs they are its slopes; else
autograd's, a column at a time, through the head alone: uᵀ dφ/do is a backward pass, and
its derivative by u, along t, is dφ/do t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from audit.importer.sweep import NotSwept
from audit.importer.values import Value
from audit.linalg.cotangents import all_pulled_back
from audit.models.swept_head import Parameters, Sources, scales_of

Places = Tensor | slice
Tangents = Sequence[Tensor | None]
"""Of each output [n, K, *row], in order; None where it does not move."""


class HeadProducts(Protocol):
    """Products with dφ/do at n inputs, in float64."""

    def pulled(self, vectors: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return uᵀ dφ/do [n, K, *row] of each output, of the type asked for.

        Args:
            vectors: u [n, K, p].
            dtype: of the network.
        """

    def pushed(self, tangents: Tangents, lead: Sequence[int]) -> Tensor:
        """Return dφ/do t [n, K, p].

        Args:
            tangents: t.
            lead: (n, K).
        """

    def taken(self, rows: slice) -> HeadProducts | None:
        """Return those at some of the inputs; None where one graph is that of all."""


def head_products(
    parameters: Parameters, outputs: Mapping[str, Value], sources: Sources | None
) -> tuple[Tensor, HeadProducts]:
    """Return φ [n, p] in float64, and the products with its slopes by the outputs.

    Raises:
        NotSwept: an output is no tensor.
    """
    values = {n: v.detach() for n, v in outputs.items() if isinstance(v, Tensor)}
    if len(values) < len(outputs):
        raise NotSwept("an output is no tensor")
    if sources is not None:
        phi, scale = scales_of(parameters, values, sources)
        return phi, Single(tuple(values.values()), sources, scale)
    leaves = tuple(v.double().requires_grad_() for v in values.values())
    with torch.enable_grad():
        phi = parameters(dict(zip(values, leaves, strict=True)))
    return phi.detach(), Whole(leaves, phi)


@dataclass(frozen=True)
class Single:
    """Each φ_j is a function of one number.

    Args:
        outputs: their values, in order.
        sources: which number each φ_j is made of.
        scale: its slopes [n, p].
    """

    outputs: tuple[Tensor, ...]
    sources: Sources
    scale: Tensor

    @cached_property
    def _places(self) -> list[tuple[Places, Places]]:
        """Of each output: which φ_j it makes, and of which of its numbers."""
        output, element = (
            torch.tensor(numbers, device=self.scale.device)
            for numbers in (self.sources.output, self.sources.element)
        )
        rows = [(output == k).nonzero()[:, 0] for k in range(len(self.outputs))]
        return [(_places(own), _places(element[own])) for own in rows]

    def pulled(self, vectors: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return uᵀ dφ/do of each output."""
        scaled = vectors * self.scale.unsqueeze(1)
        found = []
        for value, (rows, elements) in zip(self.outputs, self._places, strict=True):
            g = scaled.new_zeros(*vectors.shape[:2], value[0].numel(), dtype=dtype)
            g[:, :, elements] = scaled[:, :, rows].to(dtype)
            found.append(g.reshape(*vectors.shape[:2], *value.shape[1:]))
        return found

    def pushed(self, tangents: Tangents, lead: Sequence[int]) -> Tensor:
        """Return dφ/do t."""
        parts = [
            (rows, t.reshape(*lead, -1)[:, :, elements], self.scale[:, rows])
            for t, (rows, elements) in zip(tangents, self._places, strict=True)
            if t is not None
        ]
        if len(parts) == 1 and parts[0][1].shape[2] == self.scale.shape[1]:
            _, own, scale = parts[0]
            return own * scale.unsqueeze(1)  # of float64, as the scale is
        found = self.scale.new_zeros(*lead, self.scale.shape[1])
        for rows, own, scale in parts:
            found[:, :, rows] = own * scale.unsqueeze(1)
        return found

    def taken(self, rows: slice) -> Single:
        """Return those at some of the inputs."""
        return replace(self, scale=self.scale[rows])


def _places(index: Tensor) -> Places:
    """Return ascending neighbours as a slice: nothing is gathered then."""
    first = int(index[0]) if len(index) else 0
    last = first + len(index)
    neighbours = bool((index == torch.arange(first, last).to(index)).all())
    return slice(first, last) if neighbours else index


@dataclass(frozen=True)
class Whole:
    """φ mixes numbers of its outputs: by its graph.

    Args:
        leaves: the outputs' values in float64.
        phi: [n, p], made of them.
    """

    leaves: tuple[Tensor, ...]
    phi: Tensor

    def pulled(self, vectors: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return uᵀ dφ/do of each output, by a pass for each column."""
        n, columns, _ = vectors.shape
        found = [
            leaf.new_zeros(n, columns, *leaf.shape[1:], dtype=dtype)
            for leaf in self.leaves
        ]
        for k, u in enumerate(vectors.unbind(dim=1)):
            pulled = all_pulled_back(self.phi, self.leaves, u, keep=True)
            for own, gradient in zip(found, pulled, strict=True):
                if gradient is not None:
                    own[:, k] = gradient
        return found

    def pushed(self, tangents: Tangents, lead: Sequence[int]) -> Tensor:
        """Return dφ/do t, by a pass for each column."""
        u, pulled = self._pullback
        pairs = [
            (g, t)
            for g, t in zip(pulled, tangents, strict=True)
            if g is not None and g.requires_grad and t is not None
        ]
        found = self.phi.new_zeros(*lead, self.phi.shape[1], requires_grad=False)
        if not pairs:
            return found
        for k in range(lead[1]):
            with torch.enable_grad():
                total = torch.stack([(g * t[:, k]).sum() for g, t in pairs]).sum()
            (column,) = torch.autograd.grad(total, u, retain_graph=True)
            found[:, k] = column
        return found

    def taken(self, rows: slice) -> None:
        """Return nothing: one graph is that of all inputs, a pass for each column."""

    @cached_property
    def _pullback(self) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Return u = 0 [n, p], and uᵀ dφ/do of each output as functions of it."""
        u = torch.zeros_like(self.phi, requires_grad=True)
        leaves = self.leaves
        return u, all_pulled_back(self.phi, leaves, u, keep=True, create=True)
