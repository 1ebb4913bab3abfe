"""dφ/dx by the reverse sweep of the imported program, and its oracle.

The Jacobian that a scan stores is taken by rules, all rows of a block at once, where
the file is a graph whose every step on the way has one, and J has rows enough to make
it cheaper. A program of torch is such a graph by its export, where that is asked for.
Autograd, a backward pass for each row, is the oracle: at opening both are held against
each other on the first rows. φ and J have to agree to 1e-5 of each input's ‖φ‖ and ‖J‖
where the network computes in float32, and to 1e-10 in float64; else autograd stays, and
the report says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from audit.families.implicit import ImplicitFamily
from audit.ground.errors import AuditError, cause
from audit.ground.memory import keep_freed_memory
from audit.importer.sweep import NotSwept, sweep_of
from audit.linalg.stored import Matrix, Scaled
from audit.models.batching import Layout, layout_of
from audit.models.density import Linearized, Values
from audit.models.gates import Subject
from audit.models.implicit.laws import ContextMap
from audit.models.implicit.slopes import swept_slopes
from audit.models.opened import OpenModel
from audit.models.swept_head import sources_of
from audit.models.swept_rows import TOLERANCE, SweptRows, apart

AUTO, SWEEP = "auto", "sweep"
_SLOPES = "every step of the map from noise has a rule"
_NO_SLOPES = "a step of the map has no rule, or its few coordinates do not pay for one"
_EXPORT = (
    "the file is a program of torch: it would have to be exported to a graph, which "
    "takes seconds and saves a third of a pass; rows=sweep does it"
)
_TRIED = 8  # rows that both are held against each other on
_ENTRIES = 2**22  # of their Jacobians
_LARGEST = 2**24  # numbers of one input's J; beyond, products are what is asked for


@dataclass(frozen=True)
class ByRules:
    """x -> φ and what is known of J, by rules on a graph.

    Args:
        rows: of J, from the inputs of the graph.
        inputs: the names of these, in order.
        condition: the perturbed one. event: the shape of one.
        layout: how rows lie in a call of the file.
        oracle: the same by autograd.
    """

    rows: SweptRows
    inputs: tuple[str, ...]
    condition: str
    event: tuple[int, ...]
    layout: Layout
    oracle: Linearized


@dataclass(frozen=True)
class SweptMap(ByRules):
    """x -> φ and J, stored."""

    def pulling(self, inputs: int) -> SweptMap:
        """Return the same map that pulls so many inputs back together."""
        return replace(self, rows=replace(self.rows, pull=inputs))

    def linearize(self, x: Tensor, held: Values) -> tuple[Tensor, Matrix]:
        """Return φ [N, p] in float64, and J [N, p, d] as it is stored.

        Where a file makes values of another shape of some inputs than it made at
        opening, these inputs are autograd's.
        """
        try:
            return self.swept(x, held)
        except NotSwept:
            phi, jacobian = self.oracle.linearize(x, held)
            return phi, Matrix(jacobian.dense())

    def swept(self, x: Tensor, held: Values) -> tuple[Tensor, Matrix]:
        """Return the same by rules alone.

        Raises:
            NotSwept: a value has another shape than at opening.
        """
        given = x.detach().to(self.rows.dtype).reshape(-1, *self.event)
        size = (len(x), self.rows.size, x.shape[1])
        entries = given.new_empty(size)

        def inputs(part: slice) -> list[Tensor]:
            own = {name: value[part] for name, value in held.items()}
            placed = self.layout.place({self.condition: given[part], **own})
            return [placed[name] for name in self.inputs]

        phi, scale = self.rows.fill(inputs, entries)
        if scale is None:
            return phi, Matrix(entries)
        if entries.dtype == torch.float64:
            return phi, Matrix(entries.mul_(scale.unsqueeze(-1)))
        return phi, Scaled(entries, scale)


def with_sweep(model: OpenModel, rows: str = AUTO, slopes: str = AUTO) -> OpenModel:
    """Return a model with its sweep, where there is one and it agrees with autograd.

    Args:
        model: its gates passed.
        rows: how J is to be taken: what is neither `auto` nor `sweep` needs no sweep,
            and `sweep` has it even where it does not pay.
        slopes: the same of a sampler.
    """
    keep_freed_memory()
    if isinstance(model.density.family, ImplicitFamily):
        return _with_slopes(model, model.density.family, slopes)
    if rows not in (AUTO, SWEEP):
        return replace(model, unswept=f"{rows} was asked for")
    made = _made(model, rows == SWEEP)
    if isinstance(made, str):
        return replace(model, unswept=made)
    found = _apart(model, made)
    if found <= TOLERANCE[made.rows.dtype]:
        return replace(model, swept=made)
    return _noted(model, found)


def _with_slopes(model: OpenModel, family: ImplicitFamily, asked: str) -> OpenModel:
    """Return a model whose map from noise is swept, likewise."""
    inner = model.density.parameter_map
    if not isinstance(inner, ContextMap) or model.space != "input":
        return model
    if inner.law.noise is None:
        return model
    if asked not in (AUTO, SWEEP):
        return replace(model, slopes=(False, f"{asked} was asked for"))
    subject = model.subject
    rows = min(_TRIED, subject.rows)
    held = subject.held(rows)
    for slot in (inner.law.target, inner.law.noise):
        if slot is not None:
            held.pop(slot.name, None)
    phi = inner(subject.flat(rows), held)
    made, found = swept_slopes(inner.law, family, phi, asked == SWEEP)
    if made is None:
        model = replace(model, slopes=(False, _NO_SLOPES))
        return _noted(model, found) if found else model
    density = replace(model.density, family=family.with_slopes(made))
    return replace(model, density=density, slopes=(True, _SLOPES))


def _noted(model: OpenModel, found: float) -> OpenModel:
    """Return a model that says how far its sweep was from autograd."""
    note = (
        f"the reverse sweep of the graph differs from autograd by {found:.1e} of the "
        "Jacobian on the first inputs: derivatives are taken by autograd"
    )
    warnings = (*model.gates.warnings, ("sweep_differs", note))
    why = f"the sweep differs from autograd by {found:.1e} of ‖J‖"
    gates = replace(model.gates, warnings=warnings)
    return replace(model, gates=gates, unswept=why)


def _made(model: OpenModel, always: bool) -> SweptMap | str:
    """Return the sweep of a model, unchecked; or why it does not apply.

    Args:
        model: its gates passed.
        always: whether it is wanted where it does not pay too.
    """
    p = model.density.family.size
    if p * model.density.d > _LARGEST:
        return f"J has more than {_LARGEST} numbers"
    found = graph_of_rows(model, always)
    if isinstance(found, str):
        return found
    rows, names, layout = found
    if rows.sweep.alone:
        return f"{rows.sweep.alone[0]} has no rule"
    if p < rows.sweep.worth and not always:
        return f"{p} rows do not pay for a sweep of these operators"
    subject, oracle = model.subject, model.density.parameter_map
    return SweptMap(rows, names, subject.condition, subject.event, layout, oracle)


def graph_of_rows(
    model: OpenModel, exported: bool = False
) -> tuple[SweptRows, tuple[str, ...], Layout] | str:
    """Return the sweep of a model's graph, its inputs and their layout; or why not.

    Args:
        model: its gates passed.
        exported: whether a program of torch may be exported to one.
    """
    network, subject = model.network, model.subject
    family, plain = model.density.family, model.space == "input"
    if not plain or model.by_differences or not family.parametric or model.head.masks:
        return "J is not that of outputs by one input"
    if network.passed or network.dtype not in TOLERANCE:
        return "the file is not run as a graph of operators with rules"
    if network.format != "onnx" and not exported:
        return _EXPORT
    graph = model.graph
    layout = layout_of(network, subject.condition, subject.event)
    if graph is None:
        return "the file does not export to a graph of operators"
    if layout.rows is not None or layout.axes[subject.condition] != 0:
        return "the file has no first axis of any number of rows"
    part = graph.with_outputs(subject.used)
    try:
        more, fewer = (_example(subject, layout, part.input_names, n) for n in (3, 2))
        sweep = sweep_of(part, [subject.condition], more, fewer)
    except (NotSwept, AuditError, RuntimeError, KeyError) as error:
        return cause(error)
    shapes = {name: tuple(subject.outputs[name].shape[1:]) for name in subject.used}
    rows = SweptRows(
        sweep,
        subject.used,
        subject.parameters,
        sources_of(model.head.parameters, family.pack, shapes),
        family.size,
        network.dtype,
    )
    return rows, part.input_names, layout


def _example(
    subject: Subject, layout: Layout, names: tuple[str, ...], rows: int
) -> list[Tensor]:
    """Return the inputs of a call with so many rows."""
    index = torch.from_numpy(np.resize(np.arange(subject.rows), rows))
    values = {n: v[index.to(v.device)] for n, v in subject.values.items()}
    placed = layout.place(values)
    return [placed[name] for name in names]


def _apart(model: OpenModel, made: SweptMap) -> float:
    """Return how far the sweep is from autograd on the first inputs, in φ and in J."""
    subject, entries = model.subject, made.rows.size * model.density.d
    tried = max(1, min(_TRIED, subject.rows, _ENTRIES // max(entries, 1)))
    x, held = subject.flat(tried), subject.held(tried)
    phi, oracle = model.density.parameter_map.linearize(x, held)
    try:
        value, own = made.swept(x, held)
    except (NotSwept, AuditError, RuntimeError):
        return float("inf")
    finite = model.density.family.finite
    return max(apart(finite(value), finite(phi)), apart(own.dense(), oracle.dense()))
