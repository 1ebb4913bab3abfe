"""What every family can do, in one table: a law is tested wherever it applies.

No test asks the code whether a law applies and skips it if not; it asks this table.
`test_table` holds the code to it in both directions: what the table grants exists, what
it denies is refused in the words it gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Expected:
    """What one example can do.

    Args:
        fisher: how F is known.
        transport: how G is known; infinite: no second moment, in any row.
        fisher_words: what a refusal of F says.
        transport_words: what a refusal of G says.
        sampler: whether torch draws by the very map of G. "another map" exceeds G,
            "hidden" by less than draws show, "none" cannot be differentiated, "" has
            no finite G to compare with.
        linear: whether the quantile distance has a linear law.
        kl: whether KL and Rényi are known exactly. "one way": only a law of larger
            support has a finite KL to this one.
        shannon: whether the Jensen-Shannon divergence is known exactly; "alone": for
            one coordinate only.
        distance: whether E(T − T')² is known exactly.
        bound: whether there is a complete-data bound.
        wider: signs of a step of parameters that gives a larger support or a heavier
            tail; for the opposite step the Rényi divergence of order above one is
            infinite. Empty where small steps of either sign are finite.
    """

    fisher: Literal["closed", "quadrature", "sampled", "refused"] = "closed"
    transport: Literal["closed", "quadrature", "refused", "infinite"] = "closed"
    fisher_words: str = ""
    transport_words: str = ""
    sampler: Literal["", "same map", "another map", "hidden", "none"] = "same map"
    linear: bool = False
    kl: Literal["exact", "one way", "none"] = "exact"
    shannon: Literal["exact", "alone", "none"] = "alone"
    distance: bool = True
    bound: bool = False
    wider: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_fisher(self) -> bool:
        return self.fisher in {"closed", "quadrature"}

    @property
    def has_transport(self) -> bool:
        return self.transport in {"closed", "quadrature"}


CLOSED = Expected()
QUADRATURE = Expected(transport="quadrature")
NO_TRANSPORT = Expected(transport="refused", sampler="", distance=False)
COUNTS = Expected(
    transport="refused",
    transport_words="is discrete: its quantile function is a step function",
    sampler="",
    linear=True,
)
CLASSES = replace(
    NO_TRANSPORT,
    transport_words="neither an order nor a cost of mistaking one for another",
    shannon="exact",
)
GAUSSIAN = Expected(shannon="none")
QUANTILES = Expected(
    fisher="refused",
    fisher_words="It knows quantiles at a few levels, not a density",
    kl="none",
    shannon="none",
)
LINE_MIXTURE = Expected(
    fisher="quadrature",
    transport="quadrature",
    sampler="none",
    shannon="exact",
    bound=True,
)
MIXTURE = replace(
    NO_TRANSPORT,
    fisher="sampled",
    transport_words="Only a mixture of one continuous number has one map",
    kl="none",
    shannon="none",
    bound=True,
)

SUMMED_MIXTURE = replace(COUNTS, shannon="exact", bound=True)
LIMITED = replace(
    NO_TRANSPORT,
    fisher="quadrature",
    transport_words="the map of the others is not computed",
)
HURDLE = replace(
    NO_TRANSPORT,
    transport_words="A step of its gate moves mass from the atom",
    shannon="none",
)

EXPECTED = {
    "bernoulli(probs)": COUNTS,
    "bernoulli(logits)": COUNTS,
    "beta(concentration1,concentration0)": QUADRATURE,
    "binomial(probs)": COUNTS,
    "binomial(logits)": COUNTS,
    "categorical(probs)": CLASSES,
    "categorical(logits)": CLASSES,
    "cauchy(loc,scale)": Expected(transport="infinite", sampler=""),
    "dirichlet(concentration)": replace(
        NO_TRANSPORT,
        transport_words="On the simplex the map from noise to draws is not unique",
        shannon="none",
    ),
    "exponential(rate)": CLOSED,
    "gamma(concentration,rate)": QUADRATURE,
    "geometric(probs)": COUNTS,
    "geometric(logits)": COUNTS,
    "gumbel(loc,scale)": Expected(wider={"scale": 1}),
    "half_normal(scale)": CLOSED,
    "inverse_gamma(concentration,rate)": QUADRATURE,
    "laplace(loc,scale)": CLOSED,
    "log_normal(loc,scale)": CLOSED,
    "logistic(loc,scale)": CLOSED,
    "low_rank_multivariate_normal(loc,cov_factor,cov_diag)": GAUSSIAN,
    "multivariate_normal(loc,scale_tril)": GAUSSIAN,
    "multivariate_normal(loc,covariance_matrix)": GAUSSIAN,
    "multivariate_normal(loc,precision_matrix)": GAUSSIAN,
    "multinomial(probs)": replace(CLASSES, shannon="none"),
    "multinomial(logits)": replace(CLASSES, shannon="none"),
    "negative_binomial(total_count,probs)": replace(COUNTS, fisher="quadrature"),
    "negative_binomial(total_count,logits)": replace(COUNTS, fisher="quadrature"),
    "normal(loc,scale)": CLOSED,
    "one_hot_categorical(probs)": CLASSES,
    "one_hot_categorical(logits)": CLASSES,
    "pareto(alpha)": CLOSED,
    "pareto(scale,alpha)": Expected(
        fisher="refused",
        fisher_words="it moves the support, and log q has no score there",
        kl="one way",
        shannon="none",
        wider={"scale": -1},
    ),
    "poisson(rate)": COUNTS,
    "quantile(quantiles) linear": QUANTILES,
    "quantile(quantiles) step": QUANTILES,
    # torch divides a normal draw by a chi draw: two noises, not one level
    "student_t(df,loc,scale)": replace(QUADRATURE, sampler="another map"),
    "uniform(low,high)": Expected(
        fisher="refused",
        fisher_words="low and high move the support",
        kl="one way",
        wider={"low": -1, "high": 1},
    ),
    # torch draws by rejection
    "von_mises(loc,concentration)": Expected(transport="quadrature", sampler="none"),
    "weibull(scale,concentration)": Expected(wider={"concentration": -1}),
    # torch chooses a component first
    "mixture:normal(logits,loc,scale)": LINE_MIXTURE,
    "mixture:gamma(probs,concentration,rate)": LINE_MIXTURE,
    "mixture:normal(logits,loc,scale) in two dimensions": MIXTURE,
    "mixture:bernoulli(probs,component.logits)": MIXTURE,
    "mixture:poisson(probs,rate)": SUMMED_MIXTURE,
    "mixture:negative_binomial(logits,total_count,component.probs)": SUMMED_MIXTURE,
    "censored:normal(loc,scale)": LIMITED,
    "truncated:gamma(concentration,rate)": LIMITED,
    "hurdle:log_normal(probs,loc,scale)": HURDLE,
    "hurdle:gamma(gate_logits,concentration,rate)": HURDLE,
    "zero_inflated:poisson(gate,rate)": COUNTS,
    "zero_inflated:negative_binomial(logits,total_count,component.probs)": COUNTS,
    # as a Student-t's; the levels share two of its directions, which hides by how much
    "transformed:student_t(df,loc,scale,target_loc,target_scale)": replace(
        QUADRATURE, sampler="hidden"
    ),
    "transformed:gamma(concentration,rate,target_scale)": QUADRATURE,
    "transformed:normal(loc,scale) of log": QUADRATURE,
    "transformed:laplace(loc,scale,target_loc) of logit": QUADRATURE,
    "ordinal(loc,cutpoints)": replace(COUNTS, shannon="exact"),
    "discrete_hazard(probs)": replace(COUNTS, shannon="exact"),
    "discrete_hazard(logits)": replace(COUNTS, shannon="exact"),
    # as a Student-t's, but the scale's share of ∂/∂α hides by how much
    "evidential(loc,nu,alpha,beta)": replace(QUADRATURE, sampler="hidden"),
    "samples(samples)": Expected(
        fisher="refused",
        fisher_words="not the density that they come from",
        kl="none",
        shannon="none",
    ),
    "normal,gamma(0.loc,0.scale,1.concentration,1.rate)": replace(
        QUADRATURE, shannon="none"
    ),
}
