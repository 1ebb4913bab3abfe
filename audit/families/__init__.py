"""The parametric families an audit knows, and how one is built from a name.

normal               one family of FAMILIES
mixture:normal       a mixture of it: weights `logits` or `probs` [K], and the
component's own parameters [K, ...]
normal,gamma         independent families side by side; parameters are named by
position, `0.loc`, `0.scale`, `1.concentration`, `1.rate`, and
so are options, `1.levels`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from audit.ground.plugins import lacks_of_class
from audit.ground.registry import Registry

if TYPE_CHECKING:
    from audit.families.interface import Family


def _lacks(found: object) -> Iterable[str]:
    from audit.families.interface import Family

    return lacks_of_class(found, Family, "parameterizations")


FAMILIES: Registry[type[Family]] = Registry(
    "families",
    {
        "bernoulli": "audit.families.trials:Bernoulli",
        "beta": "audit.families.unit_interval:Beta",
        "binomial": "audit.families.trials:Binomial",
        "categorical": "audit.families.simplex:Categorical",
        "cauchy": "audit.families.location_scale:Cauchy",
        "dirichlet": "audit.families.dirichlet:Dirichlet",
        "exponential": "audit.families.lifetimes:Exponential",
        "gamma": "audit.families.gamma:Gamma",
        "geometric": "audit.families.waiting:Geometric",
        "gumbel": "audit.families.gumbel:Gumbel",
        "half_normal": "audit.families.positive:HalfNormal",
        "inverse_gamma": "audit.families.gamma:InverseGamma",
        "laplace": "audit.families.location_scale:Laplace",
        "log_normal": "audit.families.positive:LogNormal",
        "logistic": "audit.families.location_scale:Logistic",
        "low_rank_multivariate_normal": (
            "audit.families.low_rank_multivariate_normal:LowRankMultivariateNormal"
        ),
        "multivariate_normal": "audit.families.multivariate_normal:MultivariateNormal",
        "negative_binomial": "audit.families.negative_binomial:NegativeBinomial",
        "normal": "audit.families.location_scale:Normal",
        "one_hot_categorical": "audit.families.simplex:OneHotCategorical",
        "pareto": "audit.families.pareto:Pareto",
        "poisson": "audit.families.poisson:Poisson",
        "quantile": "audit.families.quantile:Quantile",
        "student_t": "audit.families.student:StudentT",
        "uniform": "audit.families.bounded:Uniform",
        "von_mises": "audit.families.circular:VonMises",
        "weibull": "audit.families.lifetimes:Weibull",
    },
    _lacks,
)


def build_family(
    name: str, shapes: Mapping[str, tuple[int, ...]], **options: object
) -> Family:
    """Return the family called `name`, with its parameters' shapes fixed.

    Raises:
        UnknownName: no family has that name.
        ConfigError: parameters, shapes or options do not fit it.
        BrokenPlugin: it is a third party's, and lacks something.
    """
    if "," in name:
        from audit.families.product import Product

        return Product(name.split(","), shapes, **options)
    if name.startswith("mixture:"):
        from audit.families.line_mixture import LineMixture
        from audit.families.mixture import Mixture

        component = name.removeprefix("mixture:")
        mixture = Mixture(component, shapes, **options)
        if LineMixture.fits(mixture):
            return LineMixture(component, shapes, **options)
        return mixture
    return FAMILIES[name](shapes, **options)
