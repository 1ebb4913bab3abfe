"""A gate before a law: with probability π its draws are those of a component.

π is given as `probs` or `logits`, or 1 − π, the probability of the atom, as `gate` or
`gate_logits`. A component's parameter of the same name begins with `component.`, as in
mixtures; with `gate` there is no need of that for `probs` and `logits`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audit.families import FAMILIES
from audit.families.parameters import Shapes, either
from audit.families.roles import Role
from audit.families.trials import Bernoulli
from audit.families.univariate import Parameters, Univariate
from audit.ground.errors import ConfigError

PREFIX = "component."
GATES = ("gate", "gate_logits", "probs", "logits")


class Gated(Univariate):
    """Independent coordinates, each an atom at 0 or a draw of `component`.

    Args:
        kind: what the name begins with.
        component: the name of a registered family of independent coordinates.
        shapes: the gate's and the component's parameters.
        options: of the component.

    Raises:
        ConfigError: the gate is missing, or the component is no such family.
    """

    def __init__(
        self, kind: str, component: str, shapes: Shapes, **options: object
    ) -> None:
        self.kind = kind
        gate = next((name for name in GATES if name in shapes), None)
        if gate is None:
            raise ConfigError(
                f"The family {kind}:{component} was given the parameters "
                + ", ".join(shapes),
                "It takes probs or logits, the probability of the component, or gate "
                "or gate_logits, that of the atom, and the component's parameters",
                "Name the gate with --param probs=EXPRESSION",
            )
        own = {n: s for n, s in shapes.items() if n != gate}
        made = FAMILIES[component](
            {name.removeprefix(PREFIX): shape for name, shape in own.items()}, **options
        )
        if not isinstance(made, Univariate):
            raise ConfigError(
                f"The family {kind}:{component} is not one of independent numbers",
                f"{kind}: takes a family of one number, such as log_normal or poisson",
                "Choose another component",
            )
        self.made_of, self.component, self.gate = (component,), made, gate
        link = "logits" if gate.endswith("logits") else "probs"
        self.coin = Bernoulli({link: ()})
        names = {name.removeprefix(PREFIX): name for name in own}
        self.parameters = (gate, *(names[name] for name in made.parameters))
        self.shapes = {name: tuple(shapes[name]) for name in self.parameters}
        self.settings = dict(options)
        self._event_shape = self._broadcast(shapes[gate], made.event_shape)

    def role(self, name: str) -> Role | None:
        """Return what a parameter is for: the gate's, or the component's own."""
        if name == self.gate:
            return Role.WEIGHTS
        return self.component.role(name.removeprefix(PREFIX))

    def _broadcast(
        self, gate: tuple[int, ...], event: tuple[int, ...]
    ) -> tuple[int, ...]:
        try:
            return tuple(np.broadcast_shapes(gate, event))
        except ValueError:
            raise ConfigError(
                f"The gate of {self.name} has the shape {gate}",
                f"The component's coordinates have {event}",
                "Give one probability for each coordinate, or one for all",
            ) from None

    @property
    def name(self) -> str:
        """The kind, a colon and the component's name."""
        return f"{self.kind}:{self.component.name}"

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return those of the gate and of the component."""
        first, *own = self.split(phi)
        of_component = self.component.violations(torch.cat(own, -1))
        return either(self.coin.violations(first), of_component)

    def opened(self, parameters: Parameters) -> tuple[Tensor, Parameters]:
        """Return the coin's parameter and those of the component."""
        return parameters[0], parameters[1:]

    def sides(self, coin: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log probabilities [...] of the atom and of the component."""
        failure, success = self.coin.one_trial((coin,))
        return (
            (success, failure) if self.gate.startswith("gate") else (failure, success)
        )

    def side_changes(self, coin: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much they grow, accurate for small steps."""
        failure, success = self.coin.changes((coin,), (other,))
        return (
            (success, failure) if self.gate.startswith("gate") else (failure, success)
        )

    def side_slope(self, coin: Tensor) -> Tensor:
        """Return dπ / d coin [...], π the probability of the component."""
        slope = self.coin.scale((coin,))
        return -slope if self.gate.startswith("gate") else slope
