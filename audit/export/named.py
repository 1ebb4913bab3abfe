"""What a torch distribution is called here, and the parameters it is given by.

A law is known by its class: those of torch.distributions, and pyro's copies of them. A
subclass of another library may compute something else: it is taken for its base where
it leaves alone what makes the law (gluonts adds cdf and icdf).
`Independent` says which axes belong to one event; a family's parameters say it too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch import distributions as td

from audit.export.densities import Foreign, unvalidated
from audit.ground.errors import ModelError, UnknownName
from audit.models.names import options_of, parameterizations

_TWICE = ("logits", "probs")  # a mixture's weights have these names already
_BEFORE_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LIBRARIES = ("torch.distributions.", "pyro.distributions.")
_NOT_THE_LAW = {
    *("__init__", "__module__", "__doc__", "__repr__", "__firstlineno__"),
    *("__static_attributes__", "__annotations__", "__annotate_func__", "__dict__"),
    *("__weakref__", "__slots__"),
    *("cdf", "icdf", "mean", "mode", "variance", "stddev", "perplexity", "entropy"),
}
"""What a subclass may have of its own without being another law."""


@dataclass(frozen=True)
class Named:
    """A member of a family that has a name here.

    Args:
        family: its name, "normal" or "mixture:normal".
        values: parameter -> [N, ...].
        options: settings of the family that are one number for all rows.
    """

    family: str
    values: dict[str, Tensor]
    options: dict[str, float] = field(default_factory=dict)


def named_law(distribution: td.Distribution) -> Named | None:
    """Return a distribution as a member of a family; None if no family has it."""
    law = without_independent(distribution)
    if isinstance(law, td.MixtureSameFamily):
        return _mixture(law)
    of_pyro = type(law).__module__.startswith("pyro.distributions.")
    if of_pyro and (composed := _COMPOSED.get(type(law).__name__)):
        return composed(law)
    family = family_name(law)
    return None if family is None else _member(law, family)


def without_independent(law: Foreign) -> Foreign:
    """Return the distribution inside any number of `Independent`."""
    while hasattr(law, "reinterpreted_batch_ndims"):
        law = law.base_dist
    return law


def family_name(law: td.Distribution) -> str | None:
    """Return the family of a distribution's class; None if there is none."""
    above = list(type(law).__mro__)
    own = []
    while not above[0].__module__.startswith(_LIBRARIES):
        own.append(above.pop(0))
    kinds = [kind for kind in above if issubclass(kind, td.Distribution)]
    if own and not _leaves_the_law(own, kinds):
        return None
    for kind in kinds:
        name = _BEFORE_CAPITAL.sub("_", kind.__name__).lower()
        try:
            parameterizations(name)
        except UnknownName:
            continue
        return name
    return None


def _leaves_the_law(own: list[type], above: list[type]) -> bool:
    """Tell whether classes replace nothing of those above that makes their law."""
    known = {name for kind in above for name in vars(kind)}
    changed = {name for kind in own for name in vars(kind)} & known
    return len(above) > 1 and changed <= _NOT_THE_LAW


def _member(law: td.Distribution, family: str) -> Named | None:
    known = [
        names
        for names in parameterizations(family)
        if all(isinstance(getattr(law, name, None), Tensor) for name in names)
    ]
    if not known:
        return None
    names = min(known, key=_rank)
    values = {name: getattr(law, name) for name in names}
    others = [name for name in options_of(family) if name not in names]
    options = {name: constant(getattr(law, name, None)) for name in others}
    if any(value is None for value in options.values()):
        return None
    return Named(family, values, {n: v for n, v in options.items() if v is not None})


def _rank(names: Iterable[str]) -> tuple[int, bool, bool]:
    """Order ways to give a law: all its parameters, logits, a triangular factor."""
    found = set(names)
    return -len(found), "probs" in found, not found & {"logits", "scale_tril"}


def constant(value: object) -> float | None:
    """Return the one number that a setting has for all rows; None if there is none."""
    if isinstance(value, Tensor) and value.numel():
        first = value.reshape(-1)[0]
        return float(first) if bool((value == first).all()) else None
    return float(value) if isinstance(value, (int, float)) else None


def _mixture(law: td.MixtureSameFamily) -> Named | None:
    """Return a mixture with one set of weights [N, K] for each row."""
    found = named_law(law.component_distribution)
    weights = law.mixture_distribution.logits
    if found is None or weights.dim() != 2 or ":" in found.family:
        return None
    return _composed("mixture", weights, found)


def _composed(kind: str, logits: Tensor, component: Named) -> Named:
    """Return a law made of a component, with the kind's own logits."""
    own = {
        f"component.{name}" if name in _TWICE else name: value
        for name, value in component.values.items()
    }
    family = f"{kind}:{component.family}"
    return Named(family, {"logits": logits, **own}, component.options)


def _zero_inflated(law: Foreign) -> Named | None:
    """Return pyro's, whose gate opens for the atom: here it is the component's."""
    found = named_law(law.base_dist)
    if found is None:
        return None
    return _composed("zero_inflated", -law.gate_logits, found)


def _gamma_poisson(law: Foreign) -> Named:
    """Return the negative binomial that a Poisson of a gamma rate is: p = 1/(1 + β)."""
    values = {"total_count": law.concentration, "logits": -law.rate.log()}
    return Named("negative_binomial", values)


_COMPOSED: dict[str, Callable[[Foreign], Named | None]] = {
    "ZeroInflatedPoisson": _zero_inflated,
    "ZeroInflatedNegativeBinomial": _zero_inflated,
    "GammaPoisson": _gamma_poisson,
}
"""Classes of pyro -> the member of a family that has another name here."""


class Parameters(nn.Module):
    """A module that returns a distribution, as one that returns its parameters.

    Args:
        module: x -> a distribution of the family.
        family: its name.
    """

    def __init__(self, module: nn.Module, family: str) -> None:
        super().__init__()
        self.module, self.family = module, family

    @property
    def signature(self) -> inspect.Signature:
        """What the module takes."""
        told: inspect.Signature | None = getattr(self.module, "signature", None)
        return told or inspect.signature(self.module.forward)

    def forward(self, *inputs: Tensor, **others: object) -> dict[str, Tensor]:
        """Return the parameters by name.

        Raises:
            ModelError: this time another kind of distribution came out.
        """
        with unvalidated():
            law = self.module(*inputs, **others)
            found = named_law(law) if isinstance(law, td.Distribution) else None
        if found is None or found.family != self.family:
            given = type(law).__name__ if found is None else found.family
            raise ModelError(
                f"The model returned a {self.family} before and returns {given} now",
                "Expected one family of distributions for all inputs",
                "Audit the two apart",
            )
        return found.values
