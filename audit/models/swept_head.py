"""How φ is made of a file's outputs: element by element, or by all of them.

Most heads are slices of outputs behind functions of single numbers: each φ_j is a
function of one number o_s(j) of the outputs, and no two of the same. Then dφ/do is a
diagonal with a permutation, and rows of do/dx are rows of the identity pulled back,
scaled afterwards. Which number it is, is read off two runs of the head on labels, with
every function of a single number left out: a label that comes out is what went in.
Any other head is differentiated whole, a row of its Jacobian at a time or all at once.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.sweep import Axes, Dense, Piece
from audit.linalg.cotangents import all_pulled_back
from audit.models.expressions import Expression, applied
from audit.models.functions import FUNCTIONS

Parameters = Callable[[Mapping[str, Tensor]], Tensor]
_AT_ONCE = 2**21  # numbers of the copies that are differentiated together
_MOVING = ("cat", "stack", "reshape", "transpose")


class _Mixed(Exception):
    """A parameter is no function of a single number."""


@dataclass(frozen=True)
class Sources:
    """Which number of the outputs each φ_j is a function of.

    Args:
        output: position of the output, −1 where φ_j is a constant [p].
        element: flat, in a row of that output [p].
    """

    output: tuple[int, ...]
    element: tuple[int, ...]

    def axes(self, likes: Sequence[Tensor]) -> list[list[Piece]]:
        """Return the rows of the identity that φ reads, for each output."""
        found: list[list[Piece]] = [[] for _ in likes]
        ends = [
            j
            for j in range(1, len(self.output) + 1)
            if j == len(self.output) or self.output[j] != self.output[j - 1]
        ]
        for first, last in zip([0, *ends[:-1]], ends, strict=True):
            k = self.output[first]
            if k >= 0:
                like = likes[k]
                index = torch.tensor(self.element[first:last], device=like.device)
                found[k].append(Axes(first, index, None, like))
        return found


def sources_of(
    expressions: Mapping[str, Expression],
    pack: Parameters,
    shapes: Mapping[str, tuple[int, ...]],
) -> Sources | None:
    """Return which numbers φ is made of, None where it mixes them.

    Args:
        expressions: of the parameters.
        pack: parameters -> φ [n, p].
        shapes: of a row of each output, in order.
    """
    generator = torch.Generator().manual_seed(1)
    found = [_traced(expressions, pack, shapes, generator) for _ in range(2)]
    if found[0] is None or found[0] != found[1]:
        return None
    pairs = [p for p in zip(*found[0], strict=True) if p[0] >= 0]
    if len(set(pairs)) < len(pairs):
        return None  # two parameters of one number
    return Sources(*found[0])


def _traced(
    expressions: Mapping[str, Expression],
    pack: Parameters,
    shapes: Mapping[str, tuple[int, ...]],
    generator: torch.Generator,
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    labels = 1 + torch.rand(sum(sizes), generator=generator, dtype=torch.float64)
    parts = zip(shapes.items(), torch.split(labels, sizes), strict=True)
    named = {
        name: part.reshape(1, *shape).repeat(2, *(1,) * len(shape))
        for (name, shape), part in parts
    }
    try:
        values = {n: _labelled(text, named) for n, text in expressions.items()}
        phi = pack(values)[0]
    except (_Mixed, RuntimeError, ValueError, IndexError, KeyError):
        return None
    places = {float(label): place for place, label in enumerate(labels.tolist())}
    offsets = torch.tensor([0, *sizes]).cumsum(0).tolist()
    outputs, elements = [], []
    for number in phi.tolist():
        place = -1 if number == 0 else places.get(number)
        if place is None:
            return None
        k = -1 if place < 0 else sum(place >= end for end in offsets[1:])
        outputs.append(k)
        elements.append(0 if k < 0 else place - offsets[k])
    return tuple(outputs), tuple(elements)


def _labelled(expression: Expression, named: Mapping[str, Tensor]) -> Tensor:
    """Return where the numbers of a parameter come from, as labels; 0: a constant."""
    rows = next(iter(named.values()))

    def leaf(name: str | float) -> Tensor:
        if isinstance(name, float):
            return rows.new_zeros(())
        known = name if name in named else name.removeprefix("@")
        if known not in named:
            raise _Mixed(name)
        return named[known]

    def made(node: ast.expr, values: list[Tensor]) -> Tensor:
        moving = [value for value in values if value.dim()]
        if isinstance(node, ast.Subscript):
            return applied(node, values)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            name = node.func.id
            if name in _MOVING[:2] and len(moving) == len(values):
                return applied(node, values)
            single = FUNCTIONS[name].pointwise or name == "clamp"
            if not single:
                raise _Mixed(name)
        if len(moving) > 1:
            raise _Mixed("two values")
        return moving[0] if moving else values[0]

    found = expression.reduced(leaf, made)
    return found if found.dim() else found.expand(len(rows)).clone()


def scales_of(
    parameters: Parameters, outputs: Mapping[str, Tensor], sources: Sources
) -> tuple[Tensor, Tensor]:
    """Return φ [n, p] and dφ_j/do_s(j) [n, p] in float64."""
    leaves = {n: v.detach().double().requires_grad_() for n, v in outputs.items()}
    with torch.enable_grad():
        phi = parameters(leaves)
    found = all_pulled_back(phi, list(leaves.values()))
    scale = torch.zeros_like(phi)
    for k, gradient in enumerate(found):
        rows = [j for j, output in enumerate(sources.output) if output == k]
        if rows and gradient is not None:
            elements = [sources.element[j] for j in rows]
            flat = gradient.reshape(len(gradient), -1)
            scale[:, _span(rows)] = flat[:, _span(elements)]
    return phi.detach(), scale


def _span(places: list[int]) -> slice | list[int]:
    """Return places that follow each other as a slice, which is no copy."""
    first, last = places[0], places[-1] + 1
    return slice(first, last) if places == list(range(first, last)) else places


def cotangents_of(
    parameters: Parameters, outputs: Mapping[str, Tensor]
) -> tuple[Tensor, list[list[Piece]]]:
    """Return φ [n, p] in float64 and dφ/do [n, p, *row] of each output o."""
    n = len(next(iter(outputs.values())))
    with torch.no_grad():
        phi = parameters(outputs)
    p = phi.shape[1]
    widest = max(p, *(value.numel() // max(n, 1) for value in outputs.values()))
    together = max(1, min(n, _AT_ONCE // max(p * widest, 1)))
    found = [
        _copied(parameters, {k: v[at : at + together] for k, v in outputs.items()}, p)
        for at in range(0, n, together)
    ]
    rows = [torch.cat(parts) for parts in zip(*found, strict=True)]
    return phi, [[Dense(0, g)] for g in rows]


def _copied(
    parameters: Parameters, outputs: Mapping[str, Tensor], p: int
) -> list[Tensor]:
    """Return dφ/do [n, p, *row] by one backward pass through p copies of each row."""
    leaves = {
        name: value.detach().repeat_interleave(p, 0).requires_grad_()
        for name, value in outputs.items()
    }
    with torch.enable_grad():
        phi = parameters(leaves)
    eye = torch.eye(p, dtype=phi.dtype, device=phi.device).repeat(len(phi) // p, 1)
    found = all_pulled_back(phi, list(leaves.values()), eye)
    return [
        (torch.zeros_like(leaf) if gradient is None else gradient).reshape(
            -1, p, *leaf.shape[1:]
        )
        for gradient, leaf in zip(found, leaves.values(), strict=True)
    ]
