"""Models whose local form is zero at every input: constant ones, and step functions.

A tree ensemble is piecewise constant: its derivative is 0 wherever there is one, and
says nothing. Exact values still tell how far the next step is. So where derivatives are
differences, and the worst perturbation is searched among exact values (the black-box
witness), a scan goes on. What it may be judged by are exact values alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from audit.config import ScanConfig
from audit.ground.errors import ConfigError, NotDifferentiable
from audit.reports.measured import Columns
from audit.reports.series import Series

EXACT = ("critical_radius", "witness@")
"""What the quantities of a step function that mean something begin with."""
REALISED = "_realised"
Notes = list[tuple[str, str]]  # (code, message)
_NOTE = (
    "the file is a step function: its local form is zero at every input and says "
    "nothing, and neither do radius, eigenvalue, trace and predicted costs; read "
    "critical_radius, the witness and the realised costs, which are exact values"
)


def still_notes(config: ScanConfig, columns: Columns) -> Notes:
    """Return what is to be said where a form is zero at every input.

    Args:
        config: whether exact values are searched, and what is judged.
        columns: divergence -> quantity -> values of all inputs.

    Raises:
        NotDifferentiable: nothing but the form would tell, and it is zero.
        ConfigError: the verdict would hang on the form.
    """
    if not any(_is_still(found) for found in columns.values()):
        return []
    searched = any(one.kind == "worst_case" for one in config.attacks)
    if config.method != "finite-difference" or not searched or config.verify == 0:
        raise NotDifferentiable(
            "The gradient of the distribution's parameters is zero at every audited "
            "input",
            "Expected a model that responds to its condition",
            "robaudit inspect names the operators that stop the gradient (rounding, "
            "argmax, comparisons); a constant model has nothing to audit, and of a "
            "step function --method finite-difference --attack worst_case:norm=0.5 "
            "finds the next step by exact values",
        )
    for limit in config.thresholds:
        quantity = limit.key.split(".")[1] if "." in limit.key else limit.key
        if not (quantity.startswith(EXACT) or quantity.endswith(REALISED)):
            raise ConfigError(
                f"The limit on {limit.key} judges a step function by its local form, "
                "which is zero at every input",
                "Expected limits on exact values: critical_radius, witness@SIZE or "
                "ATTACK_realised",
                "Change the limit, or leave it out",
            )
    return [("no_local_form", _NOTE)]


def _is_still(found: Mapping[str, Series]) -> bool:
    """Whether no input has a form other than zero."""
    norms = found.get("jacobian_norm")
    if norms is None or all(part.missing.all() for part in norms.parts()):
        norms = found.get("trace")
    return norms is not None and not any(
        np.any(part.numbers > 0) for part in norms.parts()
    )
