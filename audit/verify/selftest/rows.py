"""A row of the outputs is that of its own row of inputs: f(x)[i] = f(x[i]).

Four batches that hold the same rows: in another order, in halves, one by one, and
among neighbours that are ten times larger. A weak interaction (a running mean with
little momentum, attention with a small weight) hides below the rounding of float32,
where the gate at opening looks; in float64 it does not. So the largest change is
taken in float64 where the file runs so, and may be 1e-9 of an output's size there; in
the file's own type, what its gate allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from audit.models.gates import Subject as Rows
from audit.models.gates.subject import precise_of, relative_error
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.subject import Subject, largest

NAME = "rows_alone"
_DOUBLE = 1e-9
_ROWS = 8
_WHEN = {
    "order": "the batch is put in another order",
    "halves": "the batch is cut in two",
    "alone": "it is run alone",
    "neighbours": "its neighbours are ten times larger",
}
Outputs = Mapping[str, Tensor]


def rows_alone(it: Subject) -> Finding:
    """Compare rows of one batch with the same rows of others."""
    own = it.model.subject
    if own.rows < 2:
        return inapplicable(NAME, "the data have a single row that is finite")
    few = own.taken(torch.arange(min(own.rows, _ROWS), device=own.network.device))
    exact = precise_of(few)
    rows = few if exact is None or own.network.dtype == torch.float64 else exact
    limit = _DOUBLE if rows.network.dtype == torch.float64 else own.tolerance
    errors = {name: _worst(rows, outputs) for name, outputs in _batches(rows)}
    if _worst(rows, _run(rows, rows.values)) > limit / 10:
        return inapplicable(NAME, "equal calls give other outputs: see runs_twice")
    when, worst = largest(errors)
    kind = str(rows.network.dtype).removeprefix("torch.")
    if worst <= limit:
        return passed(
            NAME, f"no row changes by more than {worst:.0e} in {kind}", **errors
        )
    return failed(
        NAME,
        f"rows of a batch interact: a row changes by {worst:.1e} of its size in {kind} "
        f"when {_WHEN[when]}: batch normalisation in training mode, attention over the "
        "batch, or a statistic of the batch",
        "call model.eval() and export again; if rows interact by design, save each "
        "input as a batch of one (x[:, None])",
        **errors,
    )


def _batches(rows: Rows) -> Iterator[tuple[str, Outputs]]:
    """Yield the outputs of the same rows, computed in other batches."""
    n, half = rows.rows, (rows.rows + 1) // 2
    order = torch.arange(n, device=rows.network.device).roll(1).flip(0)
    turned = _called(rows, lambda value: value[order])
    back = torch.argsort(order)
    yield "order", {name: value[back] for name, value in turned.items()}
    yield "halves", _joined(rows, [slice(0, half), slice(half, n)])
    yield "alone", _joined(rows, [slice(i, i + 1) for i in range(n)])
    many = {name: torch.cat([v, v]) for name, v in rows.values.items()}
    x = many[rows.condition]
    if x.is_floating_point():
        many[rows.condition] = torch.cat([x[:n], 10 * x[n:]])
    yield "neighbours", {k: v[:n] for k, v in _run(rows, many).items()}


def _called(rows: Rows, change: Callable[[Tensor], Tensor]) -> Outputs:
    return _run(rows, {name: change(value) for name, value in rows.values.items()})


def _joined(rows: Rows, parts: list[slice]) -> Outputs:
    found = [_called(rows, lambda value, part=part: value[part]) for part in parts]  # type: ignore[misc]
    return {name: torch.cat([one[name] for one in found]) for name in rows.used}


def _run(rows: Rows, values: Mapping[str, Tensor]) -> Outputs:
    with torch.no_grad():
        found = replace(rows, values=values).call(values)
    return {name: found[name] for name in rows.used}


def _worst(rows: Rows, outputs: Outputs) -> float:
    """Return the largest change of an output, of its root mean square."""
    return max(relative_error(outputs[name], rows.outputs[name]) for name in rows.used)
