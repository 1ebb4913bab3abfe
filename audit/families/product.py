"""Independent families side by side: `normal,gamma`.

θ is the concatenation of the parts' θ, flattened; φ is the concatenation of their φ.
Divergences and squared distances add up, and metric tensors are block diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families import build_family
from audit.families.block_diagonal import Blocks, blocks_of
from audit.families.concatenated import Concatenated
from audit.families.interface import Family
from audit.families.parameters import Shapes
from audit.families.roles import Role
from audit.ground.errors import ConfigError
from audit.linalg.operators import Diagonal
from audit.linalg.stored import LinearOperator

T = TypeVar("T")


class Product(Family):
    """Parts in their order; parameter `loc` of the first part is `0.loc`."""

    parameterizations = ()

    def __init__(
        self,
        names: Sequence[str],
        shapes: Shapes,
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

    def role(self, name: str) -> Role | None:
        """Return what a part's parameter is for, `0.loc` of the first."""
        place, _, own = name.partition(".")
        return self.parts[int(place)].role(own)

    def coordinate_of_each(self) -> Tensor | None:
        """Return the parts' coordinates one after the other; None if one has none."""
        found, first = [], 0
        for part in self.parts:
            own = part.coordinate_of_each()
            if own is None:
                return None
            found.append(own + first)
            first += math.prod(part.event_shape)
        return torch.cat(found)

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
        return blocks_of([part.fisher_root(own) for part, own in self._split(phi)])

    def complete_fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the parts' bounds, or their exact roots where there is no bound."""
        bounds = [part.complete_fisher_root(own) for part, own in self._split(phi)]
        if all(bound is None for bound in bounds):
            return None
        return blocks_of(
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

    def tail_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the parts' roots, zero for parts that assume nothing."""
        roots = [(part.tail_root(own), own) for part, own in self._split(phi)]
        if all(root is None for root, _ in roots):
            return None
        zeros = [Diagonal(torch.zeros_like(own)) for _, own in roots]
        pairs = zip(roots, zeros, strict=True)
        return Blocks([zero if root is None else root for (root, _), zero in pairs])

    def linear_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the block diagonal root; None unless every part is discrete."""
        return blocks_of([part.linear_root(own) for part, own in self._split(phi)])

    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum [N], in nats."""
        return self._total(lambda part, a, b: part.kl(a, b), phi, other)

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
