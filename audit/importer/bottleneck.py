"""Cutting a graph at its bottleneck, so that the embedding runs once for each input.

A conditional density log q(θ | x) or sampler T(x, z) is in most files an embedding
h(x), wide and deep, before a small head g(h, θ). A Monte-Carlo estimate asks for the
derivative in x at S draws of θ. By the chain rule that is ∂g/∂h at S draws, and one
Jacobian ∂h/∂x. So a graph is cut along tensors h that depend on x alone and that stand
on every way from x to where θ comes in.

**Cost.** A derivative in reverse mode is one pass forward and about two backward. With
`before` and `after` multiply-adds per row on either side of a cut of p numbers:

    whole     3 S (before + after)
    cut       before (1 + 2 min(p, S))  +  3 S after  +  p S

The embedding runs forward once and backward for each of the p numbers or each of the S
gradients, whichever are fewer; the p S is for carrying S gradients. Since
1 + 2 min(p, S) < 3 S, of two cuts of one width the later is the better. A cut is worth
its trouble when it saves a tenth. The counts are static (`flops`): a file is cut at the
same place always.

**Candidates** (`candidates`). The frontier: the last tensors that depend on x alone.
The narrowest cut there is other than x itself (`mincut`). And the cheapest of the sets
of tensors that are alive between two nodes, in the file's order, which include every
single tensor that all ways go through.

**What may be cut.** A floating tensor with the rows along axis 0 and the other axes
fixed, whose row i depends on row i alone. That is seen (`observed`) in runs of the
example. Whole numbers made from x (the index of a largest element) cannot be cut, but
what follows from them can. No number of rows crosses the cut: shapes of the other side
are put together anew (`halves`), from the rows of a cut tensor and from the other
sizes, which are those of the example. So the part after never asks for the shape of x,
and x is an input of it only where x itself is among the tensors cut. Before a cut is
handed out it is tried: both parts together must give what the whole gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from torch import Tensor

from audit.ground.errors import InputError, ModelError
from audit.importer import observed
from audit.importer.anatomy import Anatomy, look
from audit.importer.candidates import candidates, cost
from audit.importer.graph import Graph
from audit.importer.halves import Half, build, half
from audit.importer.observed import Rows
from audit.importer.program import ValueInfo

WORTH = 0.9  # of the cost of the whole: a cut has to be cheaper than that


@dataclass(frozen=True)
class Bottleneck:
    """A graph in two parts.

    Args:
        before: the condition, then held inputs that it needs -> the cut tensors.
        after: the cut tensors, then other and held inputs that it needs -> the outputs
            asked for. Both say in `input_names` what they take.
        tensors: names of the cut tensors, in order.
        shapes: of one row of each.
        width: numbers in one row of all of them together, p.
        flops_before: multiply-adds per row in the part before.
        flops_after: multiply-adds per row in the part after.
    """

    before: Graph
    after: Graph
    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    width: int
    flops_before: float
    flops_after: float


def find_bottleneck(
    graph: Graph,
    condition: str,
    others: Sequence[str],
    outputs: Sequence[str],
    example: Mapping[str, Tensor],
    draws: int,
) -> Bottleneck | None:
    """Cut a graph where evaluating it at many draws becomes cheapest.

    Args:
        graph: the whole.
        condition: the input that the embedding is of.
        others: inputs that differ from draw to draw (θ, z). The rest is held: it
            belongs to the row, and both parts may ask for it.
        outputs: names of the outputs wanted.
        example: a few rows of every input.
        draws: S, how many draws there will be for each input.

    Returns:
        None where no cut saves a tenth of the work, or none is possible.

    Raises:
        InputError: the graph has no such inputs, or the example no rows.
        ModelError: the graph has no such outputs.
    """
    _check(graph, condition, others, example)
    whole = graph.pruned(outputs)
    rows = observed.few_rows(example, condition)
    try:
        anatomy = look(whole, condition, others, rows)
        cuts = _ranked(anatomy, max(1, draws)) if anatomy else []
        found = (_taken_apart(cut) for cut in cuts)
        tried = (each for each in found if _holds(whole, each, condition, rows))
        return next(tried, None)
    except ModelError:  # three rows, or two, are more than the graph takes
        return None


@dataclass(frozen=True)
class Cut:
    """A set of tensors, in order, and the parts on either side."""

    anatomy: Anatomy
    tensors: tuple[str, ...]
    before: Half
    after: Half

    @property
    def width(self) -> int:
        """Numbers in one row of the tensors."""
        return sum(map(self.anatomy.width, self.tensors))

    @property
    def flops(self) -> tuple[float, float]:
        """Multiply-adds per row on either side."""
        counts = self.anatomy.flops
        before, after = (
            sum(counts[index] for index in part.kept if index not in part.shapes)
            for part in (self.before, self.after)
        )
        return before, after


def _ranked(anatomy: Anatomy, draws: int) -> list[Cut]:
    """Return the cuts that are worth it, the cheapest first."""
    limit = WORTH * cost(0.0, sum(anatomy.flops), 0, draws)
    cuts = list(_cuts(anatomy, draws))
    prices = [cost(*cut.flops, cut.width, draws) for cut in cuts]
    order = sorted(range(len(cuts)), key=prices.__getitem__)
    return [cuts[i] for i in order if prices[i] < limit]


def _cuts(anatomy: Anatomy, draws: int) -> Iterator[Cut]:
    """Yield every candidate with its two parts."""
    wanted = anatomy.graph.output_names
    for names in dict.fromkeys(candidates(anatomy, draws)):
        source, given = {anatomy.condition}, set(names)
        before = half(anatomy.influence, names, source, anatomy.theirs)
        after = half(anatomy.influence, wanted, given, anatomy.touched)
        yield Cut(anatomy, names, before, after)


def _taken_apart(cut: Cut) -> Bottleneck:
    """Build the graphs of a cut."""
    program = cut.anatomy.graph.program
    shapes = tuple(cut.anatomy.seen.three[name][1:] for name in cut.tensors)
    declared = {info.name: info for info in program.inputs}
    tensors = tuple(
        declared.get(name, ValueInfo(name, shape=("rows", *shape)))
        for name, shape in zip(cut.tensors, shapes, strict=True)
    )
    x = (declared[cut.anatomy.condition],)
    return Bottleneck(
        _part(cut.anatomy, cut.before, x, tensors),
        _part(cut.anatomy, cut.after, tensors, program.outputs),
        cut.tensors,
        shapes,
        sum(map(prod, shapes)),
        *cut.flops,
    )


def _part(
    anatomy: Anatomy,
    part: Half,
    inputs: tuple[ValueInfo, ...],
    outputs: tuple[ValueInfo, ...],
) -> Graph:
    """Return one part as a graph, with the inputs of the whole that it needs."""
    program = anatomy.graph.program
    given = {info.name for info in inputs}
    nodes, constants = build(program, part, given, inputs[0].name, anatomy.seen)
    built = replace(program, nodes=nodes, constants=constants, outputs=outputs)
    needed = set(replace(built, inputs=()).free_names())
    more = tuple(i for i in program.inputs if i.name in needed - given)
    return anatomy.graph.with_program(replace(built, inputs=inputs + more))


def _holds(graph: Graph, found: Bottleneck, condition: str, rows: Rows) -> bool:
    """Try a cut: two draws for each row, the embedding of each row once."""
    if condition in {*found.after.input_names} - {*found.tensors}:
        return False
    picked = [0, 0, 1, 1, 2, 2]
    twice = observed.taken(rows, picked)
    cut = dict(zip(found.tensors, observed.run(found.before, rows), strict=True))
    parts = observed.run(found.after, twice | observed.taken(cut, picked))
    return all(map(observed.same, observed.run(graph, twice), parts))


def _check(
    graph: Graph, condition: str, others: Sequence[str], example: Mapping[str, Tensor]
) -> None:
    for name in (condition, *others):
        if name not in graph.input_names or name not in example:
            raise InputError(
                f"'{name}' is not an input of the graph, or not in the example",
                f"Expected one of {', '.join(graph.input_names)}",
                "Pass a few rows of every input of the graph",
            )
