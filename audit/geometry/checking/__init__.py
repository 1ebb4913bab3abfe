"""The laws of every divergence, to run over a new one.

    check_divergence(SHIFT, law, phi)

The law has to be one of which the divergence knows exact values, or draws to estimate
them from: without either there is nothing to hold its root against, and that is said. A
few laws of different shape tell more than one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audit.families import build_family
from audit.families.interface import Family
from audit.geometry.checking import forms, values
from audit.geometry.checking.subject import Subject
from audit.geometry.contract import checked
from audit.geometry.divergence import Divergence
from audit.ground.checking import answering, keep


def it_says_what_it_is(it: Subject) -> None:
    """It has a name, a unit and a positive constant."""
    law, divergence = "it has a name, a unit and a positive constant", it.divergence
    named = bool(divergence.name and divergence.unit)
    it.demand(named, law, "texts", divergence)
    it.demand(divergence.scale > 0, law, "c > 0", divergence.scale)


LAWS: tuple[Callable[[Subject], None], ...] = (
    it_says_what_it_is,
    forms.its_root_is_wide_and_alone,
    values.its_values_are_those_of_a_divergence,
    forms.its_form_predicts_its_values,
    *values.LAWS,
)


def check_divergence(
    divergence: Divergence | Callable[[], Divergence],
    law: Family | None = None,
    phi: Tensor | None = None,
) -> None:
    """Hold a divergence to the laws of robaudit's own suite.

    Args:
        divergence: it, or the function that makes it.
        law: of which it knows exact values; by default normal ones in two dimensions.
        phi: parameters of some members [N, p].

    Raises:
        LawBroken: names the law, the parameters, what was expected and what found.
        BrokenPlugin: it is no divergence, or its root has another shape.
    """
    if not isinstance(divergence, Divergence):
        name = getattr(divergence, "__qualname__", repr(divergence))
        with answering(name, "it makes a Divergence"):
            divergence = checked(divergence(), divergence, Divergence)
    if law is None or phi is None:
        law, phi = _normals()
    it = Subject(divergence, law, phi.to(torch.float64))
    keep(LAWS, it, divergence.name, it.where)


def _normals() -> tuple[Family, Tensor]:
    rows = [[0.3, -1.2, 0.5, 1.4], [2.0, 0.1, 2.5, 0.8]]
    law = build_family("normal", {"loc": (2,), "scale": (2,)})
    return law, torch.tensor(rows, dtype=torch.float64)
