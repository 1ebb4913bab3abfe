"""The coordinates that a family asks for, on a tape.

    value       the parameter itself
    log         its logarithm; of exp(v) that is v, of softplus(v) one curve
    logit       log p/(1−p); of sigmoid(v) it is v
    logits      the parameter, up to a number that all classes share
    log_probs   the logarithm up to such a number; of softmax(v) it is v

Copies, multiples and square roots between a link and its logarithm are looked through.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from audit.importer.relaxation import (
    Affine,
    Bend,
    Moving,
    Operand,
    Softened,
    Tape,
    refusal,
)
from audit.importer.relaxation import functions as curves
from audit.importer.relaxation.affine import scaled
from audit.importer.relaxation.copies import copied
from audit.models.density import ConditionalDensity

_SOFT = ("softplus", "softplus_switched")
_SHARED = ("logits", "log_probs")  # coordinates up to a number that classes share
_AGREE = 1e-9  # of η; what an exporter folds in float32 is another network


def coordinate(tape: Tape, value: Operand, kind: str) -> Operand:
    """Return a parameter in the coordinate that its family asks for.

    Raises:
        NoCertificate: a softmax or sigmoid is where none is looked through.
    """
    if isinstance(value, Softened):
        if value.log == (kind == "logits") and kind in ("logits", "log_probs"):
            return Moving(value.at)
        raise refusal("a softmax whose logits are not the law's own")
    if isinstance(value, Tensor):
        return in_coordinate(value, kind)
    assert isinstance(value, Moving)
    if kind in ("value", "logits"):
        return value
    if kind == "logit":
        found = _inverse(tape, value.at, ("sigmoid",))
        return Moving(tape.bend(value.at, curves.LOGIT) if found is None else found)
    found = _inverse(tape, value.at, ("exp", *_SOFT))
    return Moving(tape.bend(value.at, curves.LOG) if found is None else found)


def in_coordinate(value: Tensor, kind: str) -> Tensor:
    """Return numbers in a coordinate."""
    if kind in ("log", "log_probs"):
        return value.log()
    return torch.logit(value) if kind == "logit" else value


def _inverse(tape: Tape, at: int, links: tuple[str, ...]) -> int | None:
    """Return the logarithm (or logit) of a value as what its link was given."""
    entry = tape.entries[at]
    if isinstance(entry, Bend):
        return _of_bend(tape, entry, links)
    if not isinstance(entry, Affine) or len(entry.inputs) != 1:
        return None
    if entry.index is not None and bool((entry.index >= 0).all()):
        inner = _inverse(tape, entry.inputs[0], links)
        return None if inner is None else copied(tape, [inner], entry.run, "a copy")
    alpha, beta = entry.factor or (0.0, 0.0)
    if alpha > 0 and beta == 0 and "exp" in links:
        inner = _inverse(tape, entry.inputs[0], links)
        shift = tape.x.new_tensor(alpha).log()
        one = tape.x.new_ones(())
        return None if inner is None else scaled(tape, inner, one, shift, "a factor")
    return None


def _of_bend(tape: Tape, entry: Bend, links: tuple[str, ...]) -> int | None:
    name = entry.curve.name
    if name == "sqrt" and "exp" in links:
        inner = _inverse(tape, entry.input, links)
        half = tape.x.new_tensor(0.5)
        return None if inner is None else scaled(tape, inner, half, None, "a root")
    if name not in links:
        return None
    if name in _SOFT:
        curve = curves.log_of(entry.curve)
        return None if curve is None else tape.bend(entry.input, curve)
    return entry.input


def check_same(
    density: ConditionalDensity, x: Tensor, held: Mapping[str, Tensor], ours: Tensor
) -> None:
    """Raise where η of the tape is not that of the file, beyond rounding.

    Args:
        density: of the file.
        x: [B, d].
        held: its other inputs.
        ours: η(x) [B, q] on the tape.

    Raises:
        NoCertificate: an exporter has made another network of the file.
    """
    family, kinds = density.family, density.family.enclosed_as
    parameters = family.unpack(density.parameter_map(x, held))
    own = {n: in_coordinate(v, kinds[n]) for n, v in parameters.items()}
    theirs = family.pack(own)
    if set(kinds.values()) & set(_SHARED):
        theirs, ours = (torch.log_softmax(v, dim=-1) for v in (theirs, ours))
    apart = (theirs - ours).abs() / theirs.abs().clamp_min(1)
    blur = family.pack({n: _blur(v, kinds[n]) for n, v in parameters.items()})
    if not bool((apart <= _AGREE + blur).all()):
        raise refusal(
            "the graph that was exported from the file gives other parameters, "
            f"{float(apart.max()):.0e} off"
        )


def _blur(value: Tensor, kind: str) -> Tensor:
    """Return by how much a coordinate is off for the rounding of its parameter."""
    if kind != "logit":
        return torch.zeros_like(value)
    return 2.0**-50 / (value * (1 - value))  # d logit p = dp / (p (1 − p))
