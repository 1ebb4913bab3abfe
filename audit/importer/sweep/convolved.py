"""Conv, and other operators that are linear in one operand and have the batch first.

The transpose of a convolution is a transposed one, with as much output padding as its
own sizes need; both run with the channels last in memory, where they are fastest, and
so does everything between them. Into few channels, those of an image, it is slow: there
it is taken by its taps (`thin`), and of wide strided windows by its phases (`phases`);
strided ones of small images take all rows of an input side by side (`strips`).
Any other linear operator is run on zeros, with the rows of all inputs as its batch, and
autograd takes its transpose once for all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.ops.windows import Windows, windows
from audit.importer.sweep.phases import Phases, phases_of
from audit.importer.sweep.pushed import Tangents, moving
from audit.importer.sweep.rows import Dense, Piece, dense
from audit.importer.sweep.rules import KeepsNothing, Kept, Rule, Site, only_piece, rule
from audit.importer.sweep.strips import Strips, strips_of
from audit.importer.sweep.thin import MOST, Thin, folded
from audit.importer.values import Value, integer

_TRANSPOSED: tuple[Callable[..., Tensor], ...] = (
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)


@rule("Conv")
def conv(site: Site) -> Rule | None:
    """Return the rule of a convolution with constant weights."""
    found = site.only()
    if found is None or found[0] != 0 or not site.others_fixed():
        return None
    _, place, out = found
    if not (place.plain and out.plain and 2 <= len(place.shape) <= 4):
        return None
    return Convolved(site)


@rule("ConvTranspose", "AveragePool", "GlobalAveragePool", "CumSum")
def linear(site: Site) -> Rule | None:
    """Return the rule of an operator that is linear in its first operand."""
    found = site.only()
    if found is None or found[0] != 0 or not site.others_fixed():
        return None
    if site.op == "CumSum" and integer(site.arguments[1]) % found[1].rank == 0:
        return None
    return Linear(site) if found[1].plain and found[2].plain else None


class Convolved:
    """A convolution."""

    def __init__(self, site: Site) -> None:
        self._run = site.step.run
        ((_, self._place),) = site.active.items()
        self._out = site.outputs[0]
        weight = site.arguments[1]
        assert isinstance(weight, Tensor)
        self._image = weight.dim() == 4
        self._weight = _last(weight) if self._image else weight
        self._where = _windows(site, self._place.shape[1:], tuple(weight.shape[2:]))
        self._group = int(site.attribute("group", 1))  # type: ignore[call-overload]
        self._thin: Thin | None = None
        self._phases: Phases | None = None
        self._strips: Strips | None = None
        if self._image and self._group == 1 and weight.shape[1] <= MOST:
            self._thin = Thin(weight, self._where, self._place.shape[1:])
            if set(self._where.dilations) == {1}:
                self._phases = phases_of(
                    weight,
                    self._where.strides,
                    [ends[0] for ends in self._where.pads],
                    self._place.shape[1:],
                )
        elif self._image and self._group == 1:
            _, high, wide = self._place.shape
            self._strips = strips_of(self._weight, self._where, (high, wide))
        self._wide = [
            n + sum(ends) + extra
            for n, ends, extra in zip(
                self._place.shape[1:], self._where.pads, self._where.extra, strict=True
            )
        ]

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value, with the channels last in memory."""
        if not self._image:
            return self._run(*arguments), ()
        x, _, *rest = arguments
        assert isinstance(x, Tensor)
        y = self._run(_last(x), self._weight, *rest)
        assert isinstance(y, Tensor)
        return _last(y), ()  # of one channel no layout is the last

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Return the transposed convolution of the cotangents."""
        piece = only_piece(given)
        whole = dense(piece, self._out.shape)
        if self._strips is not None and self._strips.worth(whole.g.shape[1]):
            rows = self._strips.pulled(whole.g)
            return [[Dense(whole.start, rows, owned=True)]]
        if self._thin is not None and self._phases is None:
            rows = self._thin.pulled(whole.g)
            return [[Dense(whole.start, rows, owned=True)]]
        g = folded(whole.g) if self._image else whole.g.flatten(0, 1)
        if self._phases is not None:
            pulled = self._phases.pulled(_last(g))
        else:
            pulled = self._pulled(_last(g) if self._image else g)
        rows = pulled.reshape(*whole.g.shape[:2], *pulled.shape[1:])
        return [[Dense(whole.start, rows, owned=True)]]

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Return the convolution of the tangents."""
        (t,) = moving(given)
        flat = t.flatten(0, 1)
        y = self._run(_last(flat) if self._image else flat, self._weight)
        assert isinstance(y, Tensor)
        return [y.reshape(*t.shape[:2], *y.shape[1:])]

    def _cropped(self, y: Tensor) -> Tensor:
        sizes = self._place.shape[1:]
        for axis, (n, ends) in enumerate(zip(sizes, self._where.pads, strict=True), 2):
            y = y.narrow(axis, ends[0], n)
        return y

    def _pulled(self, g: Tensor) -> Tensor:
        place, wide = self._where, self._wide
        inside = place.symmetric
        padding = place.padding if inside else (0,) * len(wide)
        reached = [
            (count - 1) * stride + (k - 1) * dilation + 1
            for count, stride, k, dilation in zip(
                g.shape[2:], place.strides, place.kernel, place.dilations, strict=True
            )
        ]
        more = [n - m for n, m in zip(wide, reached, strict=True)]
        y = _TRANSPOSED[len(wide) - 1](
            g, self._weight, None, place.strides, padding, more, self._group,
            place.dilations,
        )  # fmt: skip
        return y if inside else self._cropped(y)


class Linear(KeepsNothing):
    """An operator that is linear in its first operand, its batch on the first axis."""

    def __init__(self, site: Site) -> None:
        self._run, self._rest = site.step.run, site.arguments[1:]
        ((_, self._place),) = site.active.items()
        self._out = site.outputs[0]

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Take the transpose, all rows as one batch."""
        piece = only_piece(given)
        whole = dense(piece, self._out.shape)
        g = whole.g.flatten(0, 1)
        leaf = g.new_zeros(len(g), *self._place.shape).requires_grad_()
        with torch.enable_grad():
            y = self._run(leaf, *self._rest)
            assert isinstance(y, Tensor)
            total = (y * g.reshape(y.shape)).sum()
        (pulled,) = torch.autograd.grad(total, leaf)
        rows = pulled.reshape(*whole.g.shape[:2], *pulled.shape[1:])
        return [[Dense(whole.start, rows, owned=True)]]

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Run it on the tangents, without what it adds: a bias comes last."""
        (t,) = moving(given)
        y = self._run(t.flatten(0, 1), *self._rest[:1])
        assert isinstance(y, Tensor)
        return [y.reshape(*t.shape[:2], *y.shape[1:])]


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _windows(site: Site, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Windows:
    """Return where the windows of a convolution lie, as its forward places them."""

    def numbers(name: str) -> list[int] | None:
        found = site.attribute(name, None)
        assert found is None or isinstance(found, list)
        return found

    auto_pad = site.attribute("auto_pad", "NOTSET")
    text = auto_pad.decode() if isinstance(auto_pad, bytes) else str(auto_pad)
    return windows(
        sizes, kernel, numbers("strides"), numbers("dilations"), numbers("pads"), text
    )
