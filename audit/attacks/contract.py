"""What a third party's attack has to give: looked at when it is built."""

from __future__ import annotations

import torch

from audit.ground.errors import AuditError, BrokenPlugin
from audit.ground.plugins import fault, is_ours
from audit.linalg.decompose import decompose
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import Matrix

_ROWS, _FEATURES = 2, 3


def look_at(attack: object, base: type) -> None:
    """Ask a third party's attack what it costs under a small form; ours are tested.

    Raises:
        BrokenPlugin: it does not say, or says something else than an Estimate [N].
    """
    if is_ours(attack):
        return
    if not isinstance(attack, base):
        raise _fault(attack, f"parses to {type(attack).__name__}, not to an attack")
    entries = torch.arange(1.0, 1 + _ROWS * 2 * _FEATURES, dtype=torch.float64)
    form = QuadraticForm(1.0, Matrix(entries.reshape(_ROWS, 2, _FEATURES)))
    try:
        found = attack.expected(form, decompose(form, 1))  # type: ignore[attr-defined]
    except AuditError:  # of another size, which data alone can tell
        return
    except Exception as error:
        raise _fault(attack, f"fails: expected raises {error!r}") from error
    shape = list(found.value.shape) if isinstance(found, Estimate) else None
    if shape != [_ROWS]:
        given = type(found).__name__ if shape is None else f"values of shape {shape}"
        raise _fault(attack, f"expects {given}, not an Estimate of shape [{_ROWS}]")


def _fault(attack: object, clause: str) -> BrokenPlugin:
    return fault("attacks", attack, clause)
