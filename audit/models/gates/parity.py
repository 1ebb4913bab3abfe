"""Gate (a): the same values as an independent run of the file.

An ONNX file is run by onnxruntime, at batches of one, three and all probe rows. The
other formats have no second runtime: they are called twice and loaded afresh (in
float64 where the file allows it), which finds files that draw random numbers or
remember what they were given.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from audit.ground.errors import ModelError
from audit.models.gates.subject import (
    Subject,
    located,
    relative_error,
    reloaded,
    worst_error,
)
from audit.models.network import Call

_AMPLIFIED = 0.3  # of an output's size: more is no rounding


def forward_parity(subject: Subject, precise: Subject | None) -> float:
    """Return the largest relative difference from the other runs of the file.

    Args:
        subject: the file on real rows.
        precise: the same loaded afresh, in float64; None where it cannot be.

    Raises:
        ModelError: the difference is above the tolerance, or onnxruntime fails.
    """
    referee = subject.referee()
    if referee is None:
        return _afresh(subject, precise or reloaded(subject))
    sizes = sorted({1, min(3, subject.rows), subject.rows})
    return max(_parity(subject, precise, referee, rows) for rows in sizes)


def _parity(
    subject: Subject, precise: Subject | None, referee: Call, rows: int
) -> float:
    values = subject.first(rows)
    theirs = referee(values)
    with torch.no_grad():
        ours = subject.call(values)
    worst, error = worst_error(ours, theirs, subject.used)
    if error <= subject.tolerance or (
        worst in theirs and _is_rounding(ours[worst], theirs[worst], precise, worst)
    ):
        return error
    first = located(subject, None)
    if first is None and _is_exact(ours, precise, subject):
        return error
    _refuse_rounding(ours, theirs, precise, worst, subject)
    raise ModelError(
        f"Our forward pass of '{worst}' differs from {subject.referee_name}'s by "
        f"{error:.1e} of its size{f', first at {first}' if first else ''}",
        f"Expected at most {subject.tolerance:.0e}: the derivative of another function "
        "is worse than none",
        "Please report the operator and its attributes; --method finite-difference "
        "needs onnxruntime alone",
    )


def _is_rounding(
    ours: Tensor, theirs: Tensor, precise: Subject | None, name: str
) -> bool:
    """Whether both are as far from the float64 run: the model amplifies rounding.

    So is a difference below that of the next number to one: runtimes approximate the
    tails of a sigmoid to that.
    """
    apart = (ours.double() - theirs.double()).abs().max()
    if float(apart) <= torch.finfo(torch.float32).eps:
        return True
    if precise is None:
        return False
    exact = precise.outputs[name][: len(ours)]
    own, other = relative_error(ours, exact), relative_error(theirs, exact)
    return other <= min(10 * own, _AMPLIFIED)


def _refuse_rounding(
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    precise: Subject | None,
    name: str,
    subject: Subject,
) -> None:
    """Refuse a file whose own rounding is most of what it says.

    It is so where our float32 is as far from our float64 as others' is: an operator
    that is another one would be it in both.
    """
    if precise is None or name not in theirs:
        return
    exact = precise.outputs[name][: len(ours[name])]
    own, other = (relative_error(run[name], exact) for run in (ours, theirs))
    if not min(own, other) > subject.tolerance:
        return
    raise ModelError(
        f"Our forward pass of '{name}' differs from {subject.referee_name}'s, and both "
        f"differ from the float64 run, by {own:.1e} and {other:.1e} of its size: in "
        "float32 rounding is most of it",
        "Expected outputs that float32 carries: differences of large numbers, as in "
        "the variance of a Gaussian process, lose its digits",
        "Export the model in float64 (skl2onnx: DoubleTensorType)",
    )


def _is_exact(
    ours: Mapping[str, Tensor], precise: Subject | None, subject: Subject
) -> bool:
    """Whether our float32 is the float64 run: what differs is the other's rounding.

    That each operator is the other's, given its inputs, has been seen (`located`).
    """
    if precise is None:
        return False
    first = {name: value[: len(ours[name])] for name, value in precise.outputs.items()}
    return worst_error(ours, first, subject.used)[1] <= subject.tolerance


def refuse_whims(subject: Subject) -> None:
    """Call the file again with the same inputs.

    Raises:
        ModelError: other outputs come out, by more than rounding or by what is drawn.
    """
    again = _called(subject)
    worst, error = worst_error(again, subject.outputs, subject.used)
    if not error <= subject.tolerance or (error > 0 and _draws(subject)):
        raise ModelError(
            f"The output '{worst}' changes by {error:.1e} of its size when the model "
            "is called again with the same inputs",
            "Expected a function of its inputs: no random numbers (dropout, "
            "sampling) and no memory of earlier calls",
            "Export the model in evaluation mode (model.eval()), with random numbers "
            "and state as inputs that --held can fix",
        )


def _draws(subject: Subject) -> bool:
    """Whether outputs follow the random numbers, however little."""
    one, same, other = (_called(subject, seed) for seed in (0, 0, 1))
    steady = worst_error(same, one, subject.used)[1] == 0
    return steady and worst_error(other, one, subject.used)[1] > 0


def _called(subject: Subject, seed: int | None = None) -> dict[str, Tensor]:
    """Return the outputs of another call, with the random numbers of a seed."""
    with torch.no_grad(), torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return subject.call(subject.values)


def _afresh(subject: Subject, fresh: Subject) -> float:
    """Compare with the file loaded again, which has seen no other input."""
    worst, error = worst_error(subject.outputs, fresh.outputs, subject.used)
    if not error <= 10 * subject.tolerance:
        kind = str(fresh.network.dtype).removeprefix("torch.")
        raise ModelError(
            f"The output '{worst}' differs by {error:.1e} of its size when the file "
            f"is loaded again and run in {kind}",
            "Expected a function of its inputs that does not depend on earlier calls "
            "or on rounding",
            "Export the model in evaluation mode (model.eval()), without state that "
            "forward changes; or to ONNX, which has none",
        )
    return error
