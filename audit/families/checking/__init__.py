"""The laws of every family, to run over a new one.

    check_law(Rayleigh, {"scale": [[0.5], [2.0]]})

The parameters have to be members of the family, in the interior of it. What a law does
not know (a KL of None, a tensor that it refuses with NoFisher or NoTransport) is not
demanded of it; what it does know has to be true.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from audit.families.checking import counts, outcomes, scores, shapes, values
from audit.families.checking.subject import Subject
from audit.families.interface import Family
from audit.ground.checking import demand, keep
from audit.ground.errors import ConfigError, boundary
from audit.ground.plugins import lacks_of_class

LAWS: tuple[Callable[[Subject], None], ...] = (
    *shapes.LAWS,
    *scores.LAWS,
    *values.LAWS,
    *outcomes.LAWS,
    *counts.LAWS,
)


def check_law(
    law: Family | type[Family],
    examples: Mapping[str, object],
    *,
    tangent: Callable[[Tensor], Tensor] | None = None,
    but: Collection[str] = (),
    **options: object,
) -> None:
    """Hold a family to the laws of robaudit's own suite.

    Args:
        law: the class, or one of it with its shapes fixed.
        examples: parameter -> numbers [N, *shape] of N members, as tensors or lists.
        tangent: keeps a step of φ [N, p] within the family, where not every small
            step does: probabilities that sum to one take minus its mean.
        but: names of laws that do not apply, such as those of the real line to a law
            on a circle.
        options: the settings of a class, such as `levels`.

    Raises:
        LawBroken: names the law, the parameters, what was expected and what found.
        ConfigError: the examples are not numbers of all parameters, of two members.
    """
    _require_whole(law)
    it = subject_of(law, examples, tangent=tangent, **options)
    if len(it.phi) < _FEWEST:
        raise ConfigError("The examples are of one member", *_EXAMPLES)
    assert set(but) <= {holds.__name__ for holds in LAWS}, f"no laws: {but}"
    asked = (holds for holds in LAWS if holds.__name__ not in but)
    keep(asked, it, it.name, it.where)


def _require_whole(law: object) -> None:
    """Raise where a class lacks what a family must have."""
    kind = law if isinstance(law, type) else type(law)
    lacking = list(lacks_of_class(kind, Family, "parameterizations"))
    demand(
        not lacking,
        kind.__name__,
        "a family has every hook of its base (robaudit explain family-plugin)",
        "a whole family",
        f"it {', and '.join(lacking)}",
    )


_FEWEST = 2
_EXAMPLES = (
    "Expected parameter -> numbers [N, *shape], of the same N members for each, two at "
    "least: one does not tell whose numbers are whose",
    'Write them as {"scale": [[0.5], [2.0]]}',
)


def subject_of(
    law: Family | type[Family],
    examples: Mapping[str, object],
    *,
    tangent: Callable[[Tensor], Tensor] | None = None,
    **options: object,
) -> Subject:
    """Return a law as the checks take it; see `check_law`."""
    with boundary("The examples are no numbers", *_EXAMPLES, ConfigError):
        tensors = {
            name: torch.as_tensor(value, dtype=torch.float64)
            for name, value in examples.items()
        }
        lengths = {len(value) for value in tensors.values()}  # none of a single number
    if len(lengths) != 1:
        raise ConfigError(f"The examples are of {sorted(lengths)} members", *_EXAMPLES)
    if isinstance(law, type):
        shapes_ = {name: tuple(value.shape[1:]) for name, value in tensors.items()}
        law = law(shapes_, **options)
    return Subject(law, tensors, tangent or (lambda step: step))
