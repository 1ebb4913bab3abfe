"""Where a family's coordinates may go when x is perturbed, from the file's own graph.

The graph, the expressions of the head and the links of the coordinates are one tape;
the bounds are those of `audit.importer.relaxation`, over the balls of many inputs. They
are about the graph with its constants as float64 has them, in real arithmetic: a change
is taken from an enclosure of η(x), not from its rounded value. A file of another
format is exported to a graph in memory; that it gives the parameters of the file itself
is looked at, at every input.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from audit.families.enclosures import Expansion
from audit.importer.relaxation import (
    Ball,
    Moving,
    Operand,
    Relaxed,
    Tape,
    read,
    refusal,
)
from audit.importer.relaxation.affine import copied
from audit.models.batching import layout_of
from audit.models.opened import OpenModel
from audit.models.tape_coordinates import check_same, coordinate
from audit.models.writing_tapes import Writer


@dataclass(frozen=True)
class Enclosed:
    """Coordinates η of B inputs, each in a ball of its own.

    Args:
        relaxed: the tape over the balls. at: η's place on it.
        fixed: the parameters that do not move.
    """

    relaxed: Relaxed
    at: int
    fixed: Set[str]

    @property
    def centre(self) -> Tensor:
        """η(x) [B, q]."""
        return self.relaxed.tape.values[self.at]

    @property
    def reach(self) -> Tensor:
        """ε [B]."""
        return self.relaxed.ball.reach

    @property
    def power(self) -> float:
        """The norm's p."""
        return self.relaxed.ball.power

    @cached_property
    def _point(self) -> Relaxed:
        """The tape over balls of size 0."""
        ball = self.relaxed.ball
        nowhere = replace(ball, reach=torch.zeros_like(ball.reach))
        return Relaxed(self.relaxed.tape, nowhere, tight=False)

    @cached_property
    def _jacobian(self) -> Tensor:
        """J [B, q, m]; any numbers prove a bound, these make it tight."""
        eta = self.centre
        eye = torch.eye(eta.shape[1], dtype=eta.dtype, device=eta.device)
        slopes = self.relaxed.derivative(self.at, eye.unsqueeze(1))
        return slopes.transpose(0, 1).expand(len(eta), -1, -1)

    def above(self, weights: Tensor) -> Tensor:
        """Return upper bounds [B, K] on w·Δη, w [B or 1, K, q]; they hold for u = 0."""
        w = weights.transpose(0, 1)
        top = self.relaxed.upper(self.at, w).top()
        return self._beyond(top, self._start(w)).T

    def expand(self, weights: Tensor) -> Expansion:
        """Return both bounds and the expansion of w·Δη, w [B or 1, K, q]."""
        w, count = weights.transpose(0, 1), weights.shape[1]
        both = torch.cat([w, -w])
        planes = self.relaxed.upper(self.at, both)
        start = self._start(both)
        slopes = weights @ self._jacobian
        signed = torch.cat([slopes, -slopes], dim=1).transpose(0, 1)
        top = self._beyond(planes.top(), start)
        rest = self._beyond(planes.top(signed), start)
        return Expansion(
            top[:count].T,
            -top[count:].T,
            slopes,
            torch.maximum(rest[:count], rest[count:]).T,
        )

    def _start(self, w: Tensor) -> Tensor:
        """Return a lower bound on w·η(x) [K, B] in real arithmetic.

        `centre` is rounded on its way, and a change is taken from where η really is.
        """
        return -self._point.upper(self.at, -w).top()

    @staticmethod
    def _beyond(top: Tensor, start: Tensor) -> Tensor:
        """Return top − start [K, B], rounded up; 0 is among the changes."""
        slack = 2.0**-52 * (top.abs() + start.abs())
        return (top - start + slack).clamp_min(0)


def enclose(
    model: OpenModel,
    x: Tensor,
    held: Mapping[str, Tensor],
    ball: tuple[Tensor, float, Tensor, Tensor],
) -> Enclosed:
    """Return where the coordinates of a model's law go.

    Args:
        model: in float64.
        x: what is perturbed [B, d].
        held: the other inputs of these rows.
        ball: ε [B], p, the features that move [m], and the unit of each [m].

    Raises:
        NoCertificate: nothing is proven for this file or family, with the reason.
    """
    family = model.density.family
    if model.head.masks:
        raise refusal("the law is a mixture over masks or members")
    if not set(family.parameters) <= set(family.enclosed_as):
        raise refusal(f"the family {family.name} has none")
    x = x.double()
    with torch.no_grad():
        tape = Tape(x.reshape(-1, *model.event))
        values = _parameters(model, tape, held)
        kinds = family.enclosed_as
        found = {
            name: coordinate(tape, values[name], kinds[name])
            for name in family.parameters
        }
        moving = [name for name, v in found.items() if isinstance(v, Moving)]
        if not moving:
            raise refusal("no parameter of the law depends on what is perturbed")
        at = _packed(model, tape, found)
        check_same(model.density, x, held, tape.values[at])
        relaxed = Relaxed(tape, Ball(tape.x, *ball))
    return Enclosed(relaxed, at, frozenset(found) - set(moving))


def _packed(model: OpenModel, tape: Tape, found: Mapping[str, Operand]) -> int:
    """Append η, the coordinates laid out as φ."""
    family = model.density.family
    inputs = [v.at for v in found.values() if isinstance(v, Moving)]

    def run(*moving: Tensor) -> Tensor:
        rest = iter(moving)
        given = {
            n: next(rest) if isinstance(v, Moving) else v for n, v in found.items()
        }
        return family.pack(given)  # type: ignore[arg-type]

    return copied(tape, inputs, run, "the family's layout")


def _parameters(
    model: OpenModel, tape: Tape, held: Mapping[str, Tensor]
) -> dict[str, Operand]:
    """Return the family's parameters on the tape."""
    if model.space == "parameters":
        family = model.density.family
        return {
            name: Moving(copied(tape, [0], lambda v, n=name: family.unpack(v)[n], name))
            for name in family.parameters
        }
    writer = Writer(tape, _outputs(model, tape, held))
    return {n: writer(text) for n, text in model.head.parameters.items()}


def _outputs(
    model: OpenModel, tape: Tape, held: Mapping[str, Tensor]
) -> dict[str, Operand]:
    """Return the file's outputs, and the inputs that expressions read."""
    network, condition = model.network, model.roles.condition
    if network.dtype != torch.float64:
        raise refusal("the file does not run in float64")
    if model.by_differences or network.details.get("derivative"):
        raise refusal("the file is run without its exact derivatives")
    layout = layout_of(network, condition, model.event)
    if layout.rows is not None:
        raise refusal("the file takes a batch of a fixed size only")
    graph = model.graph
    if graph is None or condition not in graph.input_names:
        raise refusal("this file has no graph of operators")
    own = {n: v for n, v in held.items() if n not in network.beside}
    placed = layout.place({condition: tape.x, **own})
    found = read(graph, tape, condition, placed)
    passed = {n: Moving(0) if n == condition else held[n] for n in network.passed}
    return {**found, **passed}
