"""Where a family's coordinates may go when x is perturbed, from the file's own graph.

The graph, the expressions of the head and the links of the coordinates are one tape;
the bounds are those of `audit.importer.relaxation`, over the balls of many inputs. They
are about the graph with its constants as float64 has them, in real arithmetic: a change
is taken from an enclosure of η(x), not from its rounded value. A file of another
format is exported to a graph in memory; that it gives the parameters of the file itself
is looked at, at every input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from audit.importer.relaxation import Moving, Operand, Tape, read, refusal
from audit.importer.relaxation.copies import copied
from audit.models.batching import layout_of
from audit.models.enclosed import Centred
from audit.models.opened import OpenModel
from audit.models.tape_coordinates import check_same, coordinate
from audit.models.writing_tapes import Writer

Written: TypeAlias = "tuple[Tape, frozenset[str]]"


def centred(
    model: OpenModel,
    x: Tensor,
    held: Mapping[str, Tensor],
    free: Tensor,
    unit: Tensor,
) -> Centred:
    """Return the coordinates of a model's law, to be enclosed.

    Args:
        model: in float64.
        x: what is perturbed [B, d].
        held: the other inputs of these rows.
        free: the features that move [m].
        unit: what one unit of u is in each of them, [m] or [B, m], float64.

    Raises:
        NoCertificate: nothing is proven for this file or family, with the reason.
    """
    x = x.double()
    with torch.no_grad():
        tape, fixed = _tape(model, x.reshape(-1, *model.event), held)
        at = len(tape.entries) - 1
        check_same(model.density, x, held, tape.values[at])
    return Centred(tape, at, fixed, free, unit)


def _tape(model: OpenModel, x: Tensor, held: Mapping[str, Tensor]) -> Written:
    """Return η as the last value of a tape, and the parameters that do not move.

    A tape is made of shapes and constants, and that of the most inputs is kept: the
    next ones, if they are as many, take their place on it. Not so where other inputs
    are held beside them, which are among the constants.
    """
    if held:
        return _written(model, x, held)
    known = model.written.get(len(x))
    if known is not None:
        return known[0].around(x), known[1]
    found = _written(model, x, held)
    if len(x) >= max(model.written, default=0):
        model.written.clear()
        model.written[len(x)] = found
    return found


def _written(model: OpenModel, x: Tensor, held: Mapping[str, Tensor]) -> Written:
    family = model.density.family
    if model.head.masks:
        raise refusal("the law is a mixture over masks or members")
    if not set(family.parameters) <= set(family.enclosed_as):
        raise refusal(f"the family {family.name} has none")
    tape, kinds = Tape(x), family.enclosed_as
    values = _parameters(model, tape, held)
    found = {
        name: coordinate(tape, values[name], kinds[name]) for name in family.parameters
    }
    moving = [name for name, v in found.items() if isinstance(v, Moving)]
    if not moving:
        raise refusal("no parameter of the law depends on what is perturbed")
    at = _packed(model, tape, found)
    return tape.pruned(at), frozenset(found) - set(moving)


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
