"""Products of matrices: Gemm and MatMul.

Y = X Wᵀ + b with a constant W [out, in]: g -> g W, for all rows of all inputs in one
product; a row of the identity is a row of W. Y = A B of values with the batch among the
leading axes: A's cotangents are g Bᵀ and B's are Aᵀ g, summed over what was broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from audit.importer.products import plain_times
from audit.importer.sweep.pushed import Tangents, moving
from audit.importer.sweep.rows import Axes, Dense, Piece, dense
from audit.importer.sweep.rules import (
    KeepsNothing,
    Kept,
    Place,
    Rule,
    Site,
    only_piece,
    rule,
)
from audit.importer.sweep.stretched import summed_to
from audit.importer.values import Value


@rule("Gemm")
def gemm(site: Site) -> Rule | None:
    """Return alpha X B + beta C with constants B and C."""
    found = site.only()
    if found is None or found[0] != 0 or not site.fixed[1]:
        return None
    joined = [(place.joined, place.striped) for place in found[1:]]
    if site.attribute("transA", 0) or found[1].axis or found[2].axis:
        return None
    if joined[0] != joined[1]:
        return None
    weight = site.arguments[1]
    assert isinstance(weight, Tensor)
    alpha = float(site.attribute("alpha", 1.0))  # type: ignore[arg-type]
    weight = weight if site.attribute("transB", 0) else weight.t()
    weight = weight if alpha == 1.0 else (alpha * weight).to(weight.dtype)
    return Weighted(site, weight.contiguous())


@rule("MatMul")
def mat_mul(site: Site) -> Rule | None:
    """Return A B; with a constant matrix B it is what Gemm is."""
    if list(site.outputs) != [0] or set(site.active) - {0, 1}:
        return None
    a, b = site.arguments[:2]
    assert isinstance(a, Tensor)
    assert isinstance(b, Tensor)
    out = site.outputs[0]
    found = site.only()
    if found is not None and found[0] == 0 and site.fixed[1] and b.dim() == 2:
        place = found[1]
        if place.rank < 2 or place.axis == place.rank - 1:
            return None
        if replace(place, shape=()) != replace(out, shape=()):
            return None
        return Weighted(site, b.t().contiguous())
    if min(a.dim(), b.dim()) < 2 or out.axis >= out.rank - 2:
        return None
    for place in site.active.values():
        if place.axis - place.rank != out.axis - out.rank:
            return None
        if (place.joined, place.striped) != (out.joined, out.striped):
            return None
    return Multiplied(site)


class Weighted(KeepsNothing):
    """X Wᵀ + b.

    Args:
        site: where it is.
        weight: W [out, in].
        image: of an input that a Reshape made of channels and pixels [C, H, W]: its
            cotangents come with the channels last in memory then.
    """

    def __init__(
        self, site: Site, weight: Tensor, image: tuple[int, ...] | None = None
    ) -> None:
        self.site, self.weight, self.image = site, weight, image
        self._run, self._out = site.step.run, site.outputs[0]
        self._back = weight if image is None else _channels_last(weight, image)
        self._turned = self._back.t().contiguous()

    def of_columns(self, columns: Tensor) -> Weighted:
        """Return the same where only some columns of X move."""
        return Weighted(self.site, self.weight[:, columns].contiguous())

    def of_image(self, image: tuple[int, ...]) -> Weighted:
        """Return the same after a Reshape of an image."""
        return Weighted(self.site, self.weight, image)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Return g W."""
        piece = only_piece(given)
        if isinstance(piece, Axes) and len(self._out.shape) == 1:
            g = self._back.index_select(0, piece.index).unsqueeze(0)
            if piece.scale is not None:
                g = g * piece.scale.unsqueeze(-1)
            start = piece.start
        else:
            whole = dense(piece, self._out.shape)
            g = plain_times(whole.g, self._back, self._turned)
            start = whole.start
        return [[Dense(start, self._shaped(g), owned=True)]]

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Return W t."""
        (t,) = moving(given)
        return [plain_times(t, self.weight.t())]

    def _shaped(self, g: Tensor) -> Tensor:
        if self.image is None:
            return g
        channels, height, width = self.image
        pixels = g.reshape(*g.shape[:2], height, width, channels)
        return pixels.permute(0, 1, 4, 2, 3)


def _channels_last(weight: Tensor, image: tuple[int, ...]) -> Tensor:
    """Return W with its columns, (C, H, W) in order, in the order (H, W, C)."""
    whole = weight.reshape(-1, *image).permute(0, 2, 3, 1)
    return whole.reshape(len(weight), -1).contiguous()


class Multiplied:
    """A B, both with the batch among the leading axes, or one a constant."""

    def __init__(self, site: Site) -> None:
        self._run, self._out = site.step.run, site.outputs[0]
        self._active: dict[int, Place] = dict(site.active)

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value and the other factor of each active one."""
        kept = []
        for position in self._active:
            other = arguments[1 - position]
            assert isinstance(other, Tensor)
            whole = other.reshape(*(1,) * (self._out.rank - other.dim()), *other.shape)
            kept.append(self._out.first(whole).unsqueeze(1))
        return self._run(*arguments), tuple(kept)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Return g Bᵀ and Aᵀ g."""
        piece = only_piece(given)
        whole = dense(piece, self._out.shape)
        found: list[list[Piece]] = []
        for other, (position, place) in zip(kept, self._active.items(), strict=True):
            g = whole.g @ other.mT if position == 0 else other.mT @ whole.g
            found.append([Dense(whole.start, summed_to(g, place.shape), owned=True)])
        return found
