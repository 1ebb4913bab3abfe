"""Gate (a): the same values as an independent run of the file.

An ONNX file is run by onnxruntime, at batches of one, three and all probe rows. The
other formats have no second runtime: they are called twice and loaded afresh (in
float64 where the file allows it), which finds files that draw random numbers or
remember what they were given.
"""

from __future__ import annotations

import torch

from audit.errors import AuditError, ModelError
from audit.models.batching import any_batch
from audit.models.gates.subject import Subject, first_wrong, worst_error
from audit.models.network import Call, Network, Values


def forward_parity(subject: Subject, reopened: Network | None) -> float | None:
    """Return the largest relative difference from the other runs of the file.

    Args:
        subject: the file on real rows.
        reopened: the file loaded afresh, in float64; None where it cannot be.

    Raises:
        ModelError: the difference is above the tolerance, or onnxruntime fails.
    """
    referee = subject.referee()
    if referee is not None:
        sizes = sorted({1, min(3, subject.rows), subject.rows})
        return max(_parity(subject, referee, subject.first(rows)) for rows in sizes)
    error = None if reopened is None else _afresh(subject, reopened)
    return _afresh(subject, subject.network.again()) if error is None else error


def _parity(subject: Subject, reference: Call, values: Values) -> float:
    theirs = reference(values)
    with torch.no_grad():
        ours = subject.call(values)
    worst, error = worst_error(ours, theirs)
    if not error <= subject.tolerance:
        where = first_wrong(subject, None)
        raise ModelError(
            f"Our forward pass of '{worst}' differs from onnxruntime's by {error:.1e} "
            f"of its size{where}",
            f"Expected at most {subject.tolerance:.0e}: the derivative of another "
            "function is worse than none",
            "Please report the operator and its attributes; --method "
            "finite-difference needs onnxruntime alone",
        )
    return error


def refuse_whims(subject: Subject) -> None:
    """Call the file again with the same inputs.

    Raises:
        ModelError: other outputs come out.
    """
    with torch.no_grad():
        again = subject.call(subject.values)
    worst, error = worst_error(again, subject.outputs)
    if not error <= subject.tolerance:
        raise ModelError(
            f"The output '{worst}' changes by {error:.1e} of its size when the model "
            "is called again with the same inputs",
            "Expected a function of its inputs: no random numbers (dropout, "
            "sampling) and no memory of earlier calls",
            "Export the model in evaluation mode (model.eval()), with random numbers "
            "and state as inputs that --held can fix",
        )


def _afresh(subject: Subject, reopened: Network) -> float | None:
    """Compare with the file loaded again, which has not seen any other input.

    The rows come in reverse, so that a file which remembers its first input differs.
    """
    call = any_batch(reopened, subject.condition, subject.event)
    turned = {n: _as(v.flip(0), reopened) for n, v in subject.values.items()}
    try:
        with torch.no_grad():
            fresh = {name: value.flip(0) for name, value in call(turned).items()}
    except (AuditError, RuntimeError):
        return None  # the file does not run in float64: there is no second opinion
    worst, error = worst_error(subject.outputs, fresh)
    if not error <= 10 * subject.tolerance:
        raise ModelError(
            f"The output '{worst}' differs by {error:.1e} of its size when the file "
            f"is loaded again and run in {str(reopened.dtype).removeprefix('torch.')}",
            "Expected a function of its inputs that does not depend on earlier calls "
            "or on rounding",
            "Export the model in evaluation mode (model.eval()), without state that "
            "forward changes; or to ONNX, which has none",
        )
    return error


def _as(value: torch.Tensor, network: Network) -> torch.Tensor:
    return value.to(network.dtype) if value.is_floating_point() else value
