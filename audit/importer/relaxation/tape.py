"""A function of x as a list of affine maps, curves and products, in their order.

A value is [B, *shape] with the rows of a batch first, and row i depends on row i of x
alone: that is looked at when an entry is made. Affine entries know their value, the sum
of the absolute values of the terms that make it (for rounding and for intervals) and
their transpose, which carries functionals back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from audit.ground.errors import NoCertificate
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.surfaces import Surface

Map = Callable[..., Tensor]
Back = Callable[[Tensor, "Tensor | None"], Sequence[Tensor]]


@dataclass(frozen=True)
class Source:
    """The perturbed input."""


@dataclass(frozen=True)
class Affine:
    """L(v₁, v₂, …) + b.

    Args:
        inputs: positions of v₁, v₂, … in the tape.
        run: values -> value [B, *out].
        absolute: magnitudes -> Σ |terms| without b [B, *out].
        back: functionals of the value [K, R, *out] -> those of each input, R = 1 or B;
            or [K, n, *out] and the row of the batch of each of n.
        along: tangents [m, R, *in] of the inputs -> L (t₁, t₂, …) [m, R, *out].
        bias: b [R, *out], None for zero.
        factor: (α, β) where it is α v + β for two numbers.
        index: of the elements that it copies, where it does nothing else.
        once: whether it copies each of them once, so that nothing is rounded.
        alike: whether it is made of each row by itself, and the same of all.
        across: Lᵀ [elements of out, elements of in], where it is such a product.
        signs: of the values of one shape that it adds up, where it does nothing else.
        mean: the axes, counted from the last, that it averages over and keeps as 1.
    """

    inputs: tuple[int, ...]
    run: Map
    absolute: Map
    back: Back
    along: Map
    bias: Tensor | None = None
    factor: tuple[float, float] | None = None
    index: Tensor | None = None
    once: bool = False
    alike: bool = False
    across: Tensor | None = None
    signs: tuple[float, ...] | None = None
    mean: tuple[int, ...] = ()


@dataclass(frozen=True)
class Larger(Affine):
    """The larger of two halves a and b of what stands side by side, and what is left.

    It is b + relu(a − b), and reads the elements and the rectified difference. What is
    known of both is put together in `forms` and `slopes`.

    Args:
        half: the number of elements of each half.
    """

    half: int = 0

    def parts(self, value: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return a, b and what is left of the elements along an axis."""
        left = value.shape[axis] - 2 * self.half
        sizes = [self.half, self.half, left]
        a, b, rest = torch.split_with_sizes(value, sizes, dim=axis)
        return a, b, rest


@dataclass(frozen=True)
class Bend:
    """A curve, element by element."""

    input: int
    curve: Curve


Entry = Source | Affine | Bend | Surface


@dataclass
class Tape:
    """Entries, with the value of each at the centre.

    Args:
        x: the centre [B, *event], float64.
    """

    x: Tensor
    entries: list[Entry] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.entries.append(Source())
        self.values.append(self.x)

    @property
    def rows(self) -> int:
        """The number of rows B."""
        return len(self.x)

    def affine(self, entry: Affine, what: str) -> int:
        """Append an affine map; `what` names it in a refusal.

        Raises:
            NoCertificate: rows of its value are not rows of the batch.
        """
        inputs = [self.values[i] for i in entry.inputs]
        value = entry.run(*inputs)
        if value.shape[:1] != (self.rows,) or not self._by_rows(entry, inputs):
            raise refusal(f"{what} mixes the rows of a batch, or moves their axis")
        return self._append(entry, value)

    def bend(self, source: int, curve: Curve) -> int:
        """Append a curve."""
        return self._append(Bend(source, curve), curve.value(self.values[source]))

    def surface(self, entry: Surface, what: str) -> int:
        """Append a surface; `what` names it in a refusal.

        Raises:
            NoCertificate: rows of its value are not rows of the batch.
        """
        values = [self.values[i] for i in entry.inputs]
        if any(len(value) != self.rows for value in values):
            raise refusal(f"{what} mixes the rows of a batch, or moves their axis")
        return self._append(entry, entry.run(*values))

    def ancestors(self, target: int, ends: Set[int] = frozenset()) -> set[int]:
        """Return the entries that a value is made of, its own among them.

        What those at some ends are made of is left out.
        """
        found = {target}
        for index in range(target, 0, -1):
            if index in found and index not in ends:
                found.update(read_by(self.entries[index]))
        return found

    def around(self, x: Tensor) -> Tape:
        """Return the same function at other inputs, as many [B, *event].

        Entries are made of shapes and constants alone, never of the numbers of x.
        """
        found = Tape(x)
        for entry in self.entries[1:]:
            known = [found.values[i] for i in read_by(entry)]
            if isinstance(entry, Bend):
                found._append(entry, entry.curve.value(*known))
            elif isinstance(entry, Affine | Surface):
                found._append(entry, entry.run(*known))
        return found

    def pruned(self, target: int) -> Tape:
        """Return a tape of what a value is made of alone, with that value as its last.

        It is where a tournament before a curve leaves the curve of each element.
        """
        found, places = Tape(self.x), {0: 0}
        for index in sorted(self.ancestors(target) - {0}):
            entry = self.entries[index]
            if isinstance(entry, Affine):
                inputs = tuple(places[i] for i in entry.inputs)
                entry = replace(entry, inputs=inputs)
            elif isinstance(entry, Bend):
                entry = replace(entry, input=places[entry.input])
            elif isinstance(entry, Surface):
                entry = entry.moved(tuple(places[i] for i in entry.inputs))
            places[index] = found._append(entry, self.values[index])
        return found

    def _append(self, entry: Entry, value: Tensor) -> int:
        self.entries.append(entry)
        self.values.append(value)
        return len(self.entries) - 1

    def _by_rows(self, entry: Affine, inputs: Sequence[Tensor]) -> bool:
        """Return whether row i of the value is made of row i of the inputs.

        Rows get labels: Σ_j |c_j| label_j is label_i Σ_j |c_j| in every row only where
        each row has terms of its own label; row i's could be a mixture by chance, the
        row of the largest label cannot. So every row gets the largest one in turn, up
        to three.
        """
        if self.rows == 1 or entry.alike or entry.index is not None:
            return True
        ones = entry.absolute(*(torch.ones_like(v) for v in inputs))
        for largest in range(min(self.rows, 3)):
            label = 1 + (torch.arange(self.rows, device=self.x.device) * 0.618) % 1
            label[largest] = 3.0
            marked = [_rows_of(label, v).expand_as(v).to(v) for v in inputs]
            expected = _rows_of(label, ones) * ones
            if not torch.allclose(entry.absolute(*marked), expected, 1e-6, 0.0):
                return False
        return True


def read_by(entry: Entry) -> tuple[int, ...]:
    """Return the values that an entry reads."""
    if isinstance(entry, Affine | Surface):
        return entry.inputs
    return (entry.input,) if isinstance(entry, Bend) else ()


def _rows_of(label: Tensor, value: Tensor) -> Tensor:
    return label.to(value).reshape(-1, *(1,) * (value.dim() - 1))


def refusal(why: str) -> NoCertificate:
    """Return the refusal of something in a network."""
    return NoCertificate(
        f"no certificate: {why}",
        "Expected a network of affine operators and known activations",
        "Read the witness instead, which needs no such thing",
    )
