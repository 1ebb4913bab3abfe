"""What a third party's attack has to give: looked at when it is built.

It is asked for what it costs under a small form, and for what that is held against: the
norms of an attack along the worst direction, or draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from audit.ground.errors import AuditError, BrokenPlugin
from audit.ground.plugins import fault, is_ours
from audit.linalg.decompose import decompose
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import Matrix

_ROWS, _FEATURES = 2, 3
_NORMALISED = 1e-9  # off one: a sum of weights


def look_at(attack: object, base: type) -> None:
    """Ask a third party's attack what it costs under a small form; ours are tested.

    Raises:
        BrokenPlugin: it does not say, or says something else than an Estimate [N],
            a cost below zero, or norms, draws or a mean that are no such things.
    """
    if is_ours(attack):
        return
    if not isinstance(attack, base):
        raise _fault(attack, f"parses to {type(attack).__name__}, not to an attack")
    for name, arguments, wrong in _HOOKS:
        hook = getattr(attack, name, None)
        if hook is None:
            continue
        try:
            found = hook(*arguments())
        except AuditError:  # of another size, which data alone can tell
            continue
        except Exception as error:
            raise _fault(attack, f"fails: {name} raises {error!r}") from error
        if clause := wrong(found):
            raise _fault(attack, clause)


def _form() -> tuple[Any, ...]:
    entries = torch.arange(1.0, 1 + _ROWS * 2 * _FEATURES, dtype=torch.float64)
    form = QuadraticForm(1.0, Matrix(entries.reshape(_ROWS, 2, _FEATURES)))
    return form, decompose(form, 1)


def _no_estimate(found: object) -> str:
    shape = list(found.value.shape) if isinstance(found, Estimate) else None
    if isinstance(found, Estimate) and shape == [_ROWS]:
        least = found.value.min().item()  # NaN where one is
        return "" if least >= 0 else f"expects a cost of {least:g} at these sizes"
    given = type(found).__name__ if shape is None else f"values of shape {shape}"
    return f"expects {given}, not an Estimate of shape [{_ROWS}]"


def _no_rule(found: object) -> str:
    """Return what is wrong with norms [M] and their weights [M]."""
    if not (isinstance(found, tuple) and len(found) == 2):
        return f"has sizes {type(found).__name__}, not a pair of norms and weights"
    norms, weights = (np.asarray(one) for one in found)
    if not norms.shape == weights.shape == (norms.size,):
        shapes = f"norms of shape {list(norms.shape)} and weights of {weights.shape}"
        return f"has sizes of {shapes}, not [M] both"
    if not (norms >= 0).all() or not abs(weights.sum() - 1) < _NORMALISED:
        return f"has norms below 0, or weights that sum to {weights.sum():g}, not to 1"
    return ""


def _no_draws(found: object) -> str:
    given, shape = type(found).__name__, list(getattr(found, "shape", []))
    if isinstance(found, np.ndarray) and shape == [_ROWS, _FEATURES]:
        return ""
    return f"draws {given} of shape {shape}, not an array [{_ROWS}, {_FEATURES}]"


def _no_size(found: object) -> str:
    if found is None or isinstance(found, float | int):
        return ""
    return f"has a mean_size that is a {type(found).__name__}, not a number or None"


_Hook = tuple[str, Callable[[], tuple[Any, ...]], Callable[[object], str]]
_HOOKS: tuple[_Hook, ...] = (
    ("expected", _form, _no_estimate),
    ("sizes", tuple, _no_rule),
    ("draw", lambda: (np.random.default_rng(0), _ROWS, _FEATURES), _no_draws),
    ("mean_size", lambda: (_FEATURES,), _no_size),
)


def _fault(attack: object, clause: str) -> BrokenPlugin:
    return fault("attacks", attack, clause)
