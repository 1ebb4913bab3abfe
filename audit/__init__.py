"""Audit the local robustness of saved, or live, conditional density models.

    import audit
    report = audit.scan(model, x, family="normal", max={"kl.gaussian.p95": 0.05})

`scan`, `inspect`, `check` and `local_form` are the command line's pipeline on files or
on objects in memory (see `audit.api`). Nothing is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.api.calls import check, inspect, local_form, scan
    from audit.api.report import Report
    from audit.formats.progress import shown as progress
    from audit.ground.errors import (
        AuditError,
        ConfigError,
        InputError,
        ModelError,
        NothingAudited,
    )
    from audit.ground.version import __version__

__all__ = [
    "AuditError",
    "ConfigError",
    "InputError",
    "ModelError",
    "NothingAudited",
    "Report",
    "__version__",
    "check",
    "inspect",
    "local_form",
    "progress",
    "scan",
]
_PLACES = {
    **dict.fromkeys(("check", "inspect", "local_form", "scan"), "audit.api.calls"),
    "Report": "audit.api.report",
    "__version__": "audit.ground.version",
    "progress": "audit.formats.progress",
}
_NAMES = {"progress": "shown"}
_ERRORS = "audit.ground.errors"


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'audit' has no attribute '{name}'")
    place = import_module(_PLACES.get(name, _ERRORS))
    found = getattr(place, _NAMES.get(name, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
