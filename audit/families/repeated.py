"""Independent laws of one family side by side, for families whose event has axes.

A sequence of T classifications has logits [N, T, K]: q is a product of T categorical
laws (frames of a tagger or of CTC, actions of a MultiDiscrete policy). The last axes of
a parameter are one law's own, as many as the family says; axes before them are places,
row-major. Divergences and squared distances add up over places, and metric tensors are
block diagonal:

    D(⊗ q_t ‖ ⊗ q'_t) = Σ_t D(q_t ‖ q'_t)   (KL, Rényi),   F = diag(F_1, …, F_T).

φ [N, T p] is that of the places, one after the other. All places are asked at once, as
N T laws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.block_diagonal import Repeats
from audit.families.concatenated import Folded
from audit.families.interface import Family
from audit.families.tensors import Estimation, Tensors
from audit.ground.errors import ConfigError
from audit.linalg.stored import LinearOperator

Shape = tuple[int, ...]
Ask = Callable[[Tensor, Tensor], Tensor | None]


def places_of(own: Mapping[str, int], shapes: Mapping[str, Shape]) -> Shape:
    """Return the axes before a law's own; () where there are none.

    Args:
        own: parameter -> how many axes one law's has, at least one.
        shapes: parameter -> shape without the batch axis.

    Raises:
        ConfigError: two parameters have different places.
    """
    found = {
        name: tuple(shape[: len(shape) - own[name]])
        for name, shape in shapes.items()
        if name in own and len(shape) > own[name]
    }
    if len(set(found.values())) > 1:
        raise ConfigError(
            "The parameters have different axes before those of one law: "
            + ", ".join(f"{n} {shapes[n]}" for n in found),
            "Expected the same places of all, e.g. [T, K] for T laws on K classes",
            "Reshape the outputs, see robaudit explain expressions",
        )
    return next(iter(found.values()), ())


class Repeated(Family):
    """One law for each place.

    Args:
        build: shapes -> the family of one place.
        own: parameter -> how many axes it has for one law.
        shapes: of the parameters; one without places is shared by all of them.
    """

    parameterizations = ()

    def __init__(
        self,
        build: Callable[[Mapping[str, Shape]], Family],
        own: Mapping[str, int],
        shapes: Mapping[str, Shape],
    ) -> None:
        self.places, self._build, self._own = places_of(own, shapes), build, own
        places = self.places
        shared = {
            name
            for name, shape in shapes.items()
            if len(shape) <= own.get(name, 0) or tuple(shape[: len(places)]) != places
        }
        inner = {
            name: tuple(shape) if name in shared else tuple(shape[len(places) :])
            for name, shape in shapes.items()
        }
        self.one, self._shared = build(inner), frozenset(shared)
        self.parameters = tuple(name for name in self.one.parameters if name in shapes)
        self.shapes = {name: tuple(shapes[name]) for name in self.parameters}
        self.settings = self.one.settings
        self.discrete = self.one.discrete
        self.transport_name = f"{self.one.transport_name}, of each place"

    @property
    def name(self) -> str:
        """The name of the family of one place."""
        return self.one.name

    @property
    def count(self) -> int:
        """T."""
        return math.prod(self.places)

    @property
    def size(self) -> int:
        """T p."""
        return self.count * self.one.size

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The places and the axes of one event."""
        return (*self.places, *self.one.event_shape)

    def reshaped(self, shapes: Mapping[str, Shape]) -> Family:
        """Return the same law with other shapes of its parameters."""
        return Repeated(self._build, self._own, shapes)

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return φ [N, T p]."""
        rows = len(next(iter(values.values())))
        flat = {}
        for name in self.parameters:
            value = values[name]
            if name in self._shared:
                value = value.unsqueeze(1).expand(rows, self.count, *value.shape[1:])
            own = self.one.shapes[name]
            flat[name] = value.reshape(rows * self.count, *own)
        return self.one.pack(flat).reshape(rows, self.size)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the parameters [N, *places, …]."""
        found = self.one.unpack(self._flat(phi))
        return {
            name: value.reshape(*phi.shape[:-1], *self.places, *value.shape[1:])
            for name, value in found.items()
        }

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape `event_shape`."""
        return Folded(self.one.distribution(self._flat(phi)), self.places)

    def finite(self, phi: Tensor) -> Tensor:
        """Return φ with numbers at every place."""
        return self.one.finite(self._flat(phi)).reshape(phi.shape)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: at one of the places."""
        return self._anywhere(self.one.violations(self._flat(phi)), phi)

    def transport_caveat(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the caveats of any place."""
        return self._anywhere(self.one.transport_caveat(self._flat(phi)), phi)

    def estimation(self, tensor: Tensors, phi: Tensor, draws: int) -> Estimation:
        """Return how a tensor is found, and how the axes are read."""
        found = super().estimation(tensor, phi, draws)
        axes = " x ".join(map(str, self.places))
        note = (
            f"{axes} independent {self.name} laws side by side: the axes of an output "
            "before those of one law are places"
        )
        return Estimation(found.kind, found.draws, (*found.notes, note))

    def fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the block diagonal root; None if it has to be sampled."""
        return self._blocks(self.one.fisher_root(self._flat(phi)))

    def complete_fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the block diagonal of the bounds."""
        return self._blocks(self.one.complete_fisher_root(self._flat(phi)))

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return the block diagonal root."""
        return Repeats(self.one.transport_root(self._flat(phi)), self.count)

    def wasserstein_root(self, phi: Tensor) -> LinearOperator:
        """Return the block diagonal root."""
        return Repeats(self.one.wasserstein_root(self._flat(phi)), self.count)

    def linear_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the block diagonal root."""
        return self._blocks(self.one.linear_root(self._flat(phi)))

    def tail_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the block diagonal root."""
        return self._blocks(self.one.tail_root(self._flat(phi)))

    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum [N], in nats."""
        return self._total(self.one.kl, phi, other)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor | None:
        """Return the sum [N]."""
        return self._total(lambda a, b: self.one.renyi(a, b, alpha), phi, other)

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return it for a single place [N]: it does not add up over several."""
        return None if self.count > 1 else self.one.jensen_shannon(phi, other)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum [N]."""
        return self._total(self.one.transport_distance, phi, other)

    def wasserstein_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum [N]."""
        return self._total(self.one.wasserstein_distance, phi, other)

    def _flat(self, phi: Tensor) -> Tensor:
        return phi.reshape(-1, self.one.size)

    def _blocks(self, root: LinearOperator | None) -> LinearOperator | None:
        return None if root is None else Repeats(root, self.count)

    def _anywhere(self, found: dict[str, Tensor], phi: Tensor) -> dict[str, Tensor]:
        shape = (*phi.shape[:-1], self.count)
        return {why: wrong.reshape(shape).any(-1) for why, wrong in found.items()}

    def _total(self, ask: Ask, phi: Tensor, other: Tensor) -> Tensor | None:
        phi, other = torch.broadcast_tensors(phi, other)  # type: ignore[no-untyped-call]
        found = ask(self._flat(phi), self._flat(other))
        if found is None:
            return None
        return found.reshape(*phi.shape[:-1], self.count).sum(-1)
