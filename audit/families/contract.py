"""What a third party's family has to answer: looked at when it meets its first φ.

A hook that is half implemented would show as a wrong number, or as an error from deep
inside. Each is asked once, at parameters of the user's own model, and what it gives is
held against the shape that its contract names. Ours are tested, and not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from audit.families.interface import Family
from audit.ground.errors import AuditError, BrokenPlugin
from audit.ground.plugins import fault, is_ours


def look_at(law: Family, values: Mapping[str, Tensor]) -> None:
    """Ask a third party's family everything once.

    Args:
        law: the family, its shapes fixed.
        values: parameters of some inputs [N, *shape].

    Raises:
        BrokenPlugin: a hook fails, or gives something else than it has to.
    """
    if is_ours(law):
        return
    phi = _asked(law, "pack", lambda: law.pack(values))
    _expect(law, "pack", _shape(phi), [len(next(iter(values.values()))), law.size])
    if phi.dtype != torch.float64:
        raise _fault(law, f"packs into {phi.dtype}, not float64")
    found = _asked(law, "violations", lambda: law.violations(phi))
    for reason, wrong in found.items():
        _expect(law, f"violations '{reason}'", _shape(wrong), [len(phi)])
    outside = torch.stack([*found.values(), torch.zeros(len(phi)).bool()]).any(0)
    if not bool(outside.all()):
        _look_inside(law, phi[~outside].detach())


def _look_inside(law: Family, phi: Tensor) -> None:
    """Ask what a member of the family [N, p] tells."""
    count = len(phi)
    drawn = _asked(law, "distribution", lambda: law.distribution(phi))
    shape = [*drawn.batch_shape, *drawn.event_shape]
    _expect(law, "distribution", shape, [count, *law.event_shape])
    for name in ("fisher_root", "transport_root", "wasserstein_root", "linear_root"):
        root = _asked(law, name, getattr(law, name), phi)
        if root is not None:
            shape = list(getattr(root, "shape", ()))
            rows = shape[1] if len(shape) == 3 else "r"
            _expect(law, name, shape, [count, rows, law.size])
    for name in ("kl", "transport_distance", "wasserstein_distance"):
        values = _asked(law, name, getattr(law, name), phi, phi)
        if values is not None:
            _expect(law, name, _shape(values), [count])


def _asked(law: Family, hook: str, ask: Callable[..., Any], *given: Tensor) -> Any:  # noqa: ANN401
    """Return what a hook gives; None where it refuses with a reason."""
    try:
        return ask(*given)
    except BrokenPlugin:
        raise
    except AuditError:
        return None
    except Exception as error:
        words = str(error).partition("\n")[0]
        clause = f"fails: {hook} raises {type(error).__name__}: {words}"
        raise _fault(law, clause) from error


def _shape(found: object) -> list[int] | str:
    return list(found.shape) if isinstance(found, Tensor) else type(found).__name__


def _expect(law: Family, hook: str, shape: object, wanted: list[Any]) -> None:
    if shape != wanted:
        raise _fault(law, f"gives {hook} of shape {shape}, not {wanted}")


def _fault(law: Family, clause: str) -> BrokenPlugin:
    return fault("families", law, clause)
