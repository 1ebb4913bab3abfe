"""Which kind of mixture a component makes."""

from __future__ import annotations

from audit.families.count_mixture import CountMixture
from audit.families.interface import Shapes
from audit.families.line_mixture import LineMixture
from audit.families.mixture import Mixture


def build_mixture(component: str, shapes: Shapes, **options: object) -> Mixture:
    """A mixture of laws: by quadrature or sums for one number, else by draws.

    Raises:
        UnknownName: no family has the component's name.
        ConfigError: parameters, shapes or options do not fit it.
    """
    mixture = Mixture(component, shapes, **options)
    for kind in (LineMixture, CountMixture):
        if kind.fits(mixture):
            return kind(component, shapes, **options)
    return mixture
