"""Independent families side by side: `normal,gamma`.

θ is the concatenation of the parts' θ, flattened; φ is the concatenation of their φ.
Divergences and squared distances add up, and metric tensors are block diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.errors import ConfigError
from audit.families import build_family
from audit.families.interface import Family
from audit.linalg.operators import LinearOperator

T = TypeVar("T")


class Product(Family):
    """Parts in their order; parameter `loc` of the first part is `0.loc`."""

    parameterizations = ()

    def __init__(
        self,
        names: Sequence[str],
        shapes: Mapping[str, tuple[int, ...]],
        **options: object,
    ) -> None:
        split_shapes = _by_part(shapes, len(names), "parameter")
        split_options = _by_part(options, len(names), "option")
        self.parts = [
            build_family(name.strip(), part, **chosen)
            for name, part, chosen in zip(
                names, split_shapes, split_options, strict=True
            )
        ]
        self.parameters = tuple(
            f"{i}.{name}" for i, part in enumerate(self.parts) for name in part.shapes
        )
        self.shapes = {name: tuple(shapes[name]) for name in self.parameters}
        self.settings = dict(options)
        self.discrete = all(part.discrete for part in self.parts)
        self.transport_name = "; ".join(part.transport_name for part in self.parts)

    @property
    def name(self) -> str:
        """The names of the parts, joined by commas."""
        return ",".join(part.name for part in self.parts)

    @property
    def size(self) -> int:
        """The sum of the parts' sizes."""
        return sum(part.size for part in self.parts)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(n,), the numbers in the parts' θ together."""
        return (sum(math.prod(part.event_shape) for part in self.parts),)

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the parts' φ, concatenated."""
        packed = []
        for i, part in enumerate(self.parts):
            packed.append(part.pack({k: values[f"{i}.{k}"] for k in part.parameters}))
        return torch.cat(packed, dim=-1)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the parameters of every part, with its prefix."""
        return self._prefixed(lambda part, own: part.unpack(own), phi)

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape [n]."""
        laws = [part.distribution(own) for part, own in self._split(phi)]
        return Concatenated(laws)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the parts' violations, with their prefixes."""
        return self._prefixed(lambda part, own: part.violations(own), phi)

    def transport_caveat(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the parts' caveats, with their prefixes."""
        return self._prefixed(lambda part, own: part.transport_caveat(own), phi)

    def fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the block diagonal root; None if a part has to be sampled."""
        return _blocks([part.fisher_root(own) for part, own in self._split(phi)])

    def complete_fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the parts' bounds, or their exact roots where there is no bound."""
        bounds = [part.complete_fisher_root(own) for part, own in self._split(phi)]
        if all(bound is None for bound in bounds):
            return None
        return _blocks(
            [
                part.fisher_root(own) if bound is None else bound
                for bound, (part, own) in zip(bounds, self._split(phi), strict=True)
            ]
        )

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return the block diagonal root."""
        return Blocks([part.transport_root(own) for part, own in self._split(phi)])

    def wasserstein_root(self, phi: Tensor) -> LinearOperator:
        """Return the block diagonal root."""
        return Blocks([part.wasserstein_root(own) for part, own in self._split(phi)])

    def linear_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the block diagonal root; None unless every part is discrete."""
        return _blocks([part.linear_root(own) for part, own in self._split(phi)])

    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum [N], in nats."""
        return self._total(lambda part, a, b: part.kl(a, b), phi, other)

    def complete_kl_bound(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum [N] of the parts' bounds, or exact values without one."""

        def bound(part: Family, ours: Tensor, theirs: Tensor) -> Tensor | None:
            value = part.complete_kl_bound(ours, theirs)
            return part.kl(ours, theirs) if value is None else value

        if self.complete_fisher_root(phi) is None:
            return None
        return self._total(bound, phi, other)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor | None:
        """Return the sum [N]."""
        return self._total(lambda part, a, b: part.renyi(a, b, alpha), phi, other)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum [N]."""
        return self._total(lambda part, a, b: part.transport_distance(a, b), phi, other)

    def wasserstein_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum [N]."""
        return self._total(
            lambda part, a, b: part.wasserstein_distance(a, b), phi, other
        )

    def _split(self, phi: Tensor) -> list[tuple[Family, Tensor]]:
        start, found = 0, []
        for part in self.parts:
            found.append((part, phi[..., start : start + part.size]))
            start += part.size
        return found

    def _prefixed(
        self, ask: Callable[[Family, Tensor], dict[str, Tensor]], phi: Tensor
    ) -> dict[str, Tensor]:
        answers: dict[str, Tensor] = {}
        for i, (part, own) in enumerate(self._split(phi)):
            answers |= {f"{i}.{key}": value for key, value in ask(part, own).items()}
        return answers

    def _total(
        self,
        ask: Callable[[Family, Tensor, Tensor], Tensor | None],
        phi: Tensor,
        other: Tensor,
    ) -> Tensor | None:
        total = torch.zeros_like(phi[..., 0])
        pairs = zip(self._split(phi), self._split(other), strict=True)
        for (part, ours), (_, theirs) in pairs:
            value = ask(part, ours, theirs)
            if value is None:
                return None
            total = total + value
        return total


@dataclass(frozen=True)
class Blocks:
    """Block diagonal matrices, known by their blocks."""

    parts: Sequence[LinearOperator]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, sum of rows, sum of columns)."""
        shapes = [part.shape for part in self.parts]
        return shapes[0][0], sum(s[1] for s in shapes), sum(s[2] for s in shapes)

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        widths = [part.shape[2] for part in self.parts]
        return torch.cat(
            [
                part.matmat(piece)
                for part, piece in zip(self.parts, _cut(vectors, widths), strict=True)
            ],
            dim=1,
        )

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U."""
        heights = [part.shape[1] for part in self.parts]
        return torch.cat(
            [
                part.rmatmat(piece)
                for part, piece in zip(self.parts, _cut(vectors, heights), strict=True)
            ],
            dim=1,
        )

    def dense(self) -> Tensor:
        """Return A."""
        return _diagonal([part.dense() for part in self.parts])

    def gram(self) -> Tensor:
        """Return A Aᵀ, again block diagonal."""
        return _diagonal([part.gram() for part in self.parts])


class Concatenated(td.Distribution):
    """Independent draws side by side: batch shape [*batch], event shape [n]."""

    arg_constraints = {}  # noqa: RUF012 (the base class's own form)

    def __init__(self, laws: Sequence[td.Distribution]) -> None:
        self.laws = laws
        self.widths = [math.prod(law.event_shape) for law in laws]
        super().__init__(
            laws[0].batch_shape, torch.Size([sum(self.widths)]), validate_args=False
        )
        self.has_rsample = all(law.has_rsample for law in laws)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the sum of the parts' log densities."""
        total, start = torch.zeros_like(value[..., 0]), 0
        for law, width in zip(self.laws, self.widths, strict=True):
            piece = value[..., start : start + width]
            shape = (*piece.shape[:-1], *law.event_shape)
            total = total + law.log_prob(piece.reshape(shape))
            start += width
        return total

    def sample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Tensor:
        """Return draws [*sample, *batch, n]."""
        return self._joined([law.sample(torch.Size(sample_shape)) for law in self.laws])

    def rsample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Tensor:
        """Return differentiable draws [*sample, *batch, n]."""
        draws = [law.rsample(torch.Size(sample_shape)) for law in self.laws]
        return self._joined(draws)

    def _joined(self, draws: list[Tensor]) -> Tensor:
        flat = [
            draw.reshape(*draw.shape[: draw.dim() - len(law.event_shape)], -1)
            for draw, law in zip(draws, self.laws, strict=True)
        ]
        return torch.cat([part.to(torch.float64) for part in flat], dim=-1)


def _by_part(given: Mapping[str, T], count: int, what: str) -> list[dict[str, T]]:
    """Return what is meant for each part, without its prefix."""
    parts: list[dict[str, T]] = [{} for _ in range(count)]
    for key, value in given.items():
        prefix, _, name = key.partition(".")
        if not (prefix.isdigit() and int(prefix) < count and name):
            raise ConfigError(
                f"The product of {count} families was given the {what} {key!r}",
                f"Names begin with the family's place, 0. to {count - 1}.",
                f"Write it as 0.{key}, or with another place",
            )
        parts[int(prefix)][name] = value
    return parts


def _blocks(roots: Sequence[LinearOperator | None]) -> Blocks | None:
    known = [root for root in roots if root is not None]
    return Blocks(known) if len(known) == len(roots) else None


def _cut(vectors: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [vectors[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _diagonal(blocks: Sequence[Tensor]) -> Tensor:
    rows, columns = (sum(b.shape[i] for b in blocks) for i in (1, 2))
    whole = blocks[0].new_zeros(len(blocks[0]), rows, columns)
    row = column = 0
    for block in blocks:
        height, width = block.shape[1:]
        whole[:, row : row + height, column : column + width] = block
        row, column = row + height, column + width
    return whole
