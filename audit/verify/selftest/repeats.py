"""The same inputs give the same outputs, whatever was computed in between.

The file is called again at once, again after other inputs, and again after a backward
pass. What differs is told apart by torch's global generator: random numbers that the
file draws come out alike under the same seed, a memory of earlier calls does not.

Bits may differ where a sum is split among threads, so equal means within 64 units in
the last place of an output's own size: a hundred times less than the gate at opening
allows, and what no drift of a buffer stays below for long.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.models.gates import Subject as Rows
from audit.models.gates.subject import worst_error
from audit.verify.selftest.finding import Finding, failed, passed
from audit.verify.selftest.subject import Subject

NAME = "runs_twice"
_ULPS = 64
_SHARE = 0.01  # of the change, that is left under the same seed
_SEED = 20_240_301
_STATE = (
    "memory of earlier calls: a buffer changes when the model is called (running "
    "statistics in training mode, a counter, a cache)"
)
_RANDOM = (
    "random numbers drawn inside the model: dropout in training mode, or sampling in "
    "forward"
)
_FIX = {
    _STATE: "call model.eval(), make the state an input that --held fixes, and export "
    "again",
    _RANDOM: "call model.eval(), make the noise an input, and export again",
}


def runs_twice(it: Subject) -> Finding:
    """Call the file four times with the same inputs."""
    rows = it.model.subject
    first = rows.outputs
    errors = {
        "again": _change(rows, first, rows.values),
        "after_other_inputs": _after(rows, first, _others(rows)),
        "after_backward_pass": _after_backward(rows, first),
    }
    worst = max(errors.values(), key=lambda error: (error != error, error))
    if worst <= _ULPS * torch.finfo(rows.network.dtype).eps:
        same = "the same bits" if worst == 0 else f"the same within {worst:.0e}"
        return passed(NAME, f"four calls give {same}", **errors)
    why = _RANDOM if _seeded(rows) < _SHARE * worst else _STATE
    said = f"the outputs change by {worst:.1e} of their size between equal calls: "
    return failed(NAME, said + why, _FIX[why], **errors)


def _change(
    rows: Rows, first: Mapping[str, Tensor], values: Mapping[str, Tensor]
) -> float:
    with torch.no_grad():
        return worst_error(rows.call(values), first, rows.used)[1]


def _after(
    rows: Rows, first: Mapping[str, Tensor], others: Mapping[str, Tensor]
) -> float:
    """Return the change of the outputs after a call with other inputs."""
    with torch.no_grad():
        rows.call(others)
    return _change(rows, first, rows.values)


def _others(rows: Rows) -> dict[str, Tensor]:
    """Return the rows in another order, the condition moved and stretched."""
    turned = {name: value.flip(0) for name, value in rows.values.items()}
    x = turned[rows.condition]
    turned[rows.condition] = 1.5 * x + 0.25 if x.is_floating_point() else x
    return turned


def _after_backward(rows: Rows, first: Mapping[str, Tensor]) -> float:
    """Return the change of the outputs after a backward pass, where there is one."""
    function = rows.map_of(rows.call, rows.network.dtype)
    few = min(rows.rows, 4)
    try:
        phi, jacobian = function.linearize(rows.flat(few), rows.held(few))
        jacobian.pulled(torch.ones_like(phi).unsqueeze(2))
    except (AuditError, RuntimeError):
        return 0.0  # no backward pass: the gate of the gradient says so
    return _change(rows, first, rows.values)


def _seeded(rows: Rows) -> float:
    """Return the change between two calls that begin with the same seed."""
    found = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(_SEED)
            found.append(rows.call(rows.values))
    return worst_error(found[0], found[1], rows.used)[1]
