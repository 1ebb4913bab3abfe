"""What the gates look at, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.models.batching import any_batch, one_call
from audit.models.gates.effort import FULL, Effort
from audit.models.maps import AutogradMap
from audit.models.network import Call, Network, Values

Parameters = Callable[[Values], Tensor]

# Of the output's root mean square, by the file's own type.
_TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 5e-2, torch.float64: 1e-8}
_DEFAULT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Subject:
    """A file on a few real rows.

    Args:
        network: the file, in its own type.
        condition: the perturbed input.
        values: inputs of n rows, in the types the file declares.
        outputs: what the file made of them.
        call: the network on any number of rows.
        parameters: the file's outputs -> φ [n, p].
        used: the outputs that φ is made of.
        effort: how many differences are taken of it.
    """

    network: Network
    condition: str
    values: Values
    outputs: Mapping[str, Tensor]
    call: Call
    parameters: Parameters
    used: tuple[str, ...]
    effort: Effort = FULL

    @property
    def rows(self) -> int:
        """The number of rows, n."""
        return len(self.values[self.condition])

    def first(self, rows: int) -> dict[str, Tensor]:
        """Return the inputs of the first rows."""
        return {name: value[:rows] for name, value in self.values.items()}

    def flat(self, rows: int) -> Tensor:
        """Return the condition of the first rows [rows, d]."""
        return self.values[self.condition][:rows].reshape(rows, -1)

    def held(self, rows: int) -> dict[str, Tensor]:
        """Return the other inputs of the first rows."""
        found = self.first(rows)
        del found[self.condition]
        return found

    def taken(self, index: Tensor) -> Subject:
        """Return the same on some of the rows."""
        values = {name: value[index] for name, value in self.values.items()}
        outputs = {name: self.outputs[name][index] for name in self.used}
        return replace(self, values=values, outputs=outputs)

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of one condition."""
        return tuple(self.values[self.condition].shape[1:])

    @property
    def tolerance(self) -> float:
        """How far equal values may differ, of their size, in the file's own type."""
        return _TOLERANCE.get(self.network.dtype, _DEFAULT_TOLERANCE)

    def map_of(self, call: Call, dtype: torch.dtype) -> AutogradMap:
        """Return condition -> φ through another run of the same file."""

        def function(x: Tensor, held: Values) -> Tensor:
            return self.parameters(call({self.condition: x, **held}))

        return AutogradMap(function, self.event, dtype)

    @property
    def referee_name(self) -> str:
        """Who runs the file beside us."""
        return str(getattr(self.network.reference, "name", "onnxruntime"))

    def referee(self) -> Call | None:
        """Return the file as onnxruntime runs it, on any number of rows."""
        if self.network.reference is None:
            return None
        other = replace(self.network, call=self.network.reference)
        return any_batch(other, self.condition, self.event, vectorise=False)


def precise_of(subject: Subject) -> Subject | None:
    """Return the file loaded again, in float64, on the same rows; None if it cannot be.

    The rows go in in reverse, so that a file which remembers its first input differs.
    """
    try:
        network = subject.network.double()
        return _again(subject, network)
    except (AuditError, RuntimeError):
        return None


def reloaded(subject: Subject) -> Subject:
    """Return the file loaded again as it is, on the same rows in reverse."""
    return _again(subject, subject.network.again())


def _again(subject: Subject, network: Network) -> Subject:
    call = any_batch(network, subject.condition, subject.event)
    values = {
        name: value.to(network.dtype) if value.is_floating_point() else value
        for name, value in subject.values.items()
    }
    with torch.no_grad():
        turned = call({name: value.flip(0) for name, value in values.items()})
    outputs = {name: value.flip(0) for name, value in turned.items()}
    return replace(subject, network=network, values=values, outputs=outputs, call=call)


@dataclass(frozen=True)
class Findings:
    """What the gates measured; None where a gate does not apply.

    Args:
        forward_error: largest difference of the outputs from an independent run.
        derivative_error: median difference of J v from central differences of that run.
        derivative_floor: how far central differences of two steps part: their noise.
        derivative_error_float64: the same through the file's own float64 run.
        derivative_evidence: which of these comparisons vouch for the derivative.
        row_interaction: largest change of a row by the other rows of the batch.
        stops: operators between condition and outputs that let no derivative through.
        warnings: (code, message) of what a reader has to know.
        referee: who ran the model a second time, where that is no runtime of files.
    """

    forward_error: float | None = None
    derivative_error: float | None = None
    derivative_floor: float | None = None
    derivative_error_float64: float | None = None
    derivative_evidence: str = ""
    row_interaction: float | None = None
    stops: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    referee: str = ""

    def record(self) -> dict[str, float | str]:
        """Return the findings by name, without those that do not apply."""
        numbers = {
            "forward_error": self.forward_error,
            "derivative_error": self.derivative_error,
            "derivative_floor": self.derivative_floor,
            "derivative_error_float64": self.derivative_error_float64,
            "row_interaction": self.row_interaction,
        }
        found: dict[str, float | str] = {
            name: value for name, value in numbers.items() if value is not None
        }
        if self.derivative_evidence:
            found["derivative_evidence"] = self.derivative_evidence
        if self.referee:
            found["referee"] = self.referee
        if self.stops:
            found["zero_derivative_operators"] = ", ".join(self.stops)
        return found


def relative_error(ours: Tensor, theirs: Tensor, scale: Tensor | None = None) -> float:
    """Return max |ours − theirs| over the RMS of theirs; NaN matches NaN."""
    a, b = ours.detach().double().cpu(), theirs.detach().double().cpu()
    if a.shape != b.shape:
        return float("inf")
    if torch.equal(a, b):
        return 0.0
    difference = torch.where(a.isnan() & b.isnan() | (a == b), 0.0, (a - b).abs())
    difference = difference.nan_to_num(nan=torch.inf, posinf=torch.inf)
    finite = b[b.isfinite()]
    own = finite.square().mean().sqrt() if finite.numel() else torch.ones(())
    size = max(float(own if scale is None else scale), 1e-30)
    return float(difference.max()) / size


def first_wrong(subject: Subject, condition: str | None) -> str:
    """Return ", first at OPERATOR" for the first that differs from onnxruntime.

    Args:
        subject: the file on real rows.
        condition: compare derivatives with respect to it; None: compare values.
    """
    found = located(subject, condition)
    return f", first at {found}" if found else ""


def located(subject: Subject, condition: str | None) -> str | None:
    """Return what `Network.locate` finds on the rows; "" where it cannot look."""
    network = subject.network
    if network.locate is None:
        return ""
    values = one_call(network, subject.condition, subject.event, subject.values)
    return network.locate(values, condition)


def worst_error(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], needed: Sequence[str]
) -> tuple[str, float]:
    """Return the output that differs most, and by how much of its size.

    Outputs that the contract does not read may differ: an unused state is no reason.

    Args:
        ours: outputs by name.
        theirs: those they are held against.
        needed: outputs that are compared; one that is not in both is infinitely off.
    """
    errors = {
        name: relative_error(ours[name], theirs[name])
        if name in ours and name in theirs
        else float("inf")
        for name in needed
    }
    worst = max(errors, key=lambda name: errors[name])
    return worst, errors[worst]
