"""Gate (c): a row of the outputs depends on its own row of the inputs alone.

Reverse mode sums over the batch, so a row that reads its neighbours would get their
derivatives too. Three looks: the row run alone, the row among other neighbours, and
the gradient of one row with respect to the others, which must be exactly zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.ground.errors import AuditError, ModelError
from audit.models.gates.subject import Subject, relative_error

_ALONE = 4  # rows that are run by themselves


def row_independence(subject: Subject, precise: Subject | None) -> float:
    """Return the largest change of a row by the rest of its batch.

    Args:
        subject: the file on real rows.
        precise: the same in float64, which tells an interaction from rounding: the
            rounding of a matrix product depends on the number of its rows.

    Raises:
        ModelError: rows interact, or the first axis of an output is not the batch.
    """
    _refuse_other_axes(subject)
    if subject.rows == 1:
        pair = _with_another(subject)
        if pair is None:
            return 0.0
        subject, precise = pair, precise and _with_another(precise)
    worst = _worst(subject)
    if not worst.error <= subject.tolerance:
        arbiter = worst if precise is None else _worst(precise)
        if not arbiter.error <= (precise or subject).tolerance:
            raise _interaction(worst)
    return worst.error


def _with_another(subject: Subject) -> Subject | None:
    """Return the only row beside another one; None for a file that takes no two."""
    values = {
        name: value.repeat_interleave(2, 0) for name, value in subject.values.items()
    }
    x = values[subject.condition].clone()
    x[1] = 1.5 * x[1] + 0.5
    values[subject.condition] = x
    try:
        with torch.no_grad():
            outputs = subject.call(values)
    except (AuditError, RuntimeError):
        return None  # no batch of it has two rows that could interact
    return replace(subject, values=values, outputs=outputs)


Sizes = Mapping[str, Tensor | None]  # of each output that is used


@dataclass(frozen=True)
class _Change:
    """By how much a row of an output changes, of its size, and when."""

    error: float
    output: str
    when: str


def _worst(subject: Subject) -> _Change:
    sizes = {name: _size(subject.outputs[name]) for name in subject.used}
    found = [*_alone(subject, sizes), *_among_others(subject, sizes)]
    found.append(_gradient_of_others(subject))
    return max(found, key=lambda change: change.error)


def _refuse_other_axes(subject: Subject) -> None:
    for name in subject.used:
        output = subject.outputs[name]
        if output.dim() and len(output) == subject.rows:
            continue
        raise ModelError(
            f"The output '{name}' has the shape {list(output.shape)} for "
            f"{subject.rows} rows of input",
            "Expected one row of output for each row of input, on the first axis",
            f"{_other_axis(output.shape, subject.rows)} the model with the batch as "
            "the first axis (a size that the exporter wrote into a Reshape is one it "
            "saw as fixed), or " + _ONE_BY_ONE,
        )


def _other_axis(shape: Sequence[int], rows: int) -> str:
    """Return the verb, after the option for rows that lie on another axis."""
    if rows not in shape:
        return "Export"
    return f"Pass --batch-axis {list(shape).index(rows)}, export"


def _alone(subject: Subject, sizes: Sizes) -> Iterator[_Change]:
    for i in range(min(subject.rows, _ALONE)):
        with torch.no_grad():
            alone = subject.call({n: v[i : i + 1] for n, v in subject.values.items()})
        for name, size in sizes.items():
            own = subject.outputs[name][i : i + 1]
            error = relative_error(own, alone[name][:1], size)
            yield _Change(error, name, "the other rows of it are left out")


def _among_others(subject: Subject, sizes: Sizes) -> Iterator[_Change]:
    """Keep the first row and replace the others by it."""
    same = {n: v[:1].expand_as(v).contiguous() for n, v in subject.values.items()}
    with torch.no_grad():
        outputs = subject.call(same)
    for name, size in sizes.items():
        error = relative_error(subject.outputs[name][:1], outputs[name][:1], size)
        yield _Change(error, name, "the other rows of it are replaced")


def _size(output: Tensor) -> Tensor | None:
    """Return the root mean square of the finite numbers; None without any."""
    finite = output.double()[output.isfinite()]
    return finite.square().mean().sqrt() if finite.numel() else None


def _gradient_of_others(subject: Subject) -> _Change:
    """Return the gradient of row 0 on the others, relative to that on itself."""
    x = subject.values[subject.condition].detach().clone().requires_grad_()
    outputs = subject.call({**subject.values, subject.condition: x})
    rows = [outputs[name][0].double().sum() for name in subject.used]
    error = _off_diagonal(torch.stack(rows).sum(), x)
    return _Change(error, subject.used[0], "another row moves (its gradient)")


def _off_diagonal(total: Tensor, x: Tensor) -> float:
    if not total.requires_grad:
        return 0.0
    try:
        (gradient,) = torch.autograd.grad(total, x, allow_unused=True)
    except RuntimeError:
        return 0.0  # there is no backward pass: the gate of the gradient says so
    if gradient is None:
        return 0.0
    sizes = gradient.abs().nan_to_num(0, 0, 0)  # 0 · ∞ at a row says nothing of others
    others, own = sizes[1:].max(), sizes[0].max()
    return float(others / own) if bool(others) else 0.0


_ONE_BY_ONE = (
    "pass --rows one, or save the data with an axis of one after the first "
    "(x[:, None]): the file then gets each input by itself"
)


def _interaction(worst: _Change) -> ModelError:
    return ModelError(
        f"The rows of a batch interact: a row of '{worst.output}' changes by "
        f"{worst.error:.1e} of its size when {worst.when}",
        "Expected f(x)[i] = f(x[i]); batch normalisation in training mode, attention "
        "over the batch and solvers that choose their steps for all rows break it",
        "Export the model in evaluation mode (model.eval()), a solver with fixed steps "
        "or tighter tolerances; if rows interact by design, " + _ONE_BY_ONE,
    )
