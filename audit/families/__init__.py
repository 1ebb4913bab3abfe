"""The parametric families an audit knows, and how one is built from a name.

normal               one family of FAMILIES
mixture:normal       a mixture of it: weights `logits` or `probs` [K], and the
component's own parameters [K, ...]
hurdle:log_normal    an atom at 0 beside a density: the gate `probs` or `logits` (of the
component) or `gate` (of the atom), and the component's own parameters
zero_inflated:poisson  the same for counts, which have zeros of their own
normal,gamma         independent families side by side; parameters are named by
position, `0.loc`, `0.scale`, `1.concentration`, `1.rate`, and
so are options, `1.levels`
transformed:student_t  θ = target_loc + target_scale · y with y a draw of the component,
and with the option `of` the log or the logit of θ is that
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from audit.ground.errors import ConfigError
from audit.ground.plugins import lacks_of_class
from audit.ground.registry import Registry

if TYPE_CHECKING:
    from audit.families.interface import Family
    from audit.families.parameters import Shapes


OTHER_WORDS = {
    **dict.fromkeys(
        ("mdn", "gmm", "mog", "mixture", "mixturesamefamily"), "mixture:normal"
    ),
    **dict.fromkeys(("gaussian", "gauss", "diagonal_normal"), "normal"),
    **dict.fromkeys(
        ("mvn", "multivariatenormal", "full_normal"), "multivariate_normal"
    ),
    **dict.fromkeys(("softmax", "multiclass", "classifier", "classes"), "categorical"),
    **dict.fromkeys(("binary", "sigmoid", "logistic_regression"), "bernoulli"),
    **dict.fromkeys(("student", "studentt", "t"), "student_t"),
    **dict.fromkeys(("negbin", "nb", "neg_binomial"), "negative_binomial"),
    **dict.fromkeys(("ensemble", "particles"), "samples"),
    **dict.fromkeys(("quantiles", "pinball"), "quantile"),
    "zip": "zero_inflated:poisson",
    "zinb": "zero_inflated:negative_binomial",
}
"""What else a family is called, for the errors about a name that is not known."""


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
        "discrete_hazard": "audit.families.discrete_hazard:DiscreteHazard",
        "dirichlet": "audit.families.dirichlet:Dirichlet",
        "evidential": "audit.families.evidential:Evidential",
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
        "multinomial": "audit.families.multinomial:Multinomial",
        "multivariate_normal": "audit.families.multivariate_normal:MultivariateNormal",
        "negative_binomial": "audit.families.negative_binomial:NegativeBinomial",
        "normal": "audit.families.location_scale:Normal",
        "one_hot_categorical": "audit.families.simplex:OneHotCategorical",
        "ordinal": "audit.families.ordinal:Ordinal",
        "pareto": "audit.families.pareto:Pareto",
        "poisson": "audit.families.poisson:Poisson",
        "quantile": "audit.families.quantile:Quantile",
        "samples": "audit.families.samples:Samples",
        "student_t": "audit.families.student:StudentT",
        "uniform": "audit.families.bounded:Uniform",
        "von_mises": "audit.families.circular:VonMises",
        "weibull": "audit.families.lifetimes:Weibull",
    },
    _lacks,
    OTHER_WORDS,
)


COMPOSED: Registry[Callable[..., Family]] = Registry(
    "kinds of composed families",
    {
        "censored": "audit.families.cut:Censored",
        "hurdle": "audit.families.hurdle:Hurdle",
        "mixture": "audit.families.count_mixture:build_mixture",
        "transformed": "audit.families.transformed:Transformed",
        "truncated": "audit.families.cut:Truncated",
        "zero_inflated": "audit.families.zero_inflated:ZeroInflated",
    },
)


KIND_OPTIONS = {
    "censored": ("low", "high"),
    "transformed": ("of",),
    "truncated": ("low", "high"),
}


KIND_PARAMETERS = {"transformed": ("target_loc", "target_scale")}
"""Kind -> what it takes besides the component's parameters, each or none of them."""


MIXED = {"mixture": {"logits": 1, "probs": 1}}
"""Kind -> the axes of its own parameters for one law, as a family's `event_axes`."""


def composed_of(name: str) -> tuple[str, str]:
    """Return the kind of a composed family and its component: "mixture:normal".

    Of a named one they are its name and "".

    Raises:
        ConfigError: the component is composed itself.
    """
    kind, _, component = name.partition(":")
    if ":" in component:
        inner = component.rpartition(":")[2]
        raise ConfigError(
            f"The family {name} is made of {component}, which is made of {inner}",
            f"{kind}: takes one named family as its component, as in {kind}:{inner}",
            "Export the log-density of the whole law, log q(θ|x), and scan that "
            "(robaudit explain densities)",
        )
    return kind, component


def _require_known(
    name: str, known: tuple[str, ...], options: Mapping[str, object]
) -> None:
    """Raise where a composed family is given an option that no part of it takes."""
    if unknown := set(options) - set(known):
        raise ConfigError(
            f"The family {name} was given the option {min(unknown)!r}",
            f"It takes {', '.join(known) or 'none'}",
            "Correct its name, or remove the option",
        )


def build_family(name: str, shapes: Shapes, **options: object) -> Family:
    """Return the family called `name`, with its parameters' shapes fixed.

    Raises:
        UnknownName: no family has that name.
        ConfigError: parameters, shapes or options do not fit it.
        BrokenPlugin: it is a third party's, and lacks something.
    """
    if "," in name:
        from audit.families.product import Product

        return Product(name.split(","), shapes, **options)
    kind, component = composed_of(name)
    own = FAMILIES[name].event_axes if not component else MIXED.get(kind, {})
    if any(len(shape) > own.get(n, len(shape)) for n, shape in shapes.items()):
        from audit.families.repeated import Repeated

        def one(inner: Shapes) -> Family:
            return build_family(name, inner, **options)

        return Repeated(one, own, shapes)
    if component:
        _require_known(
            name, FAMILIES[component].options + KIND_OPTIONS.get(kind, ()), options
        )
        return COMPOSED[kind](component, shapes, **options)
    return FAMILIES[name](shapes, **options)
