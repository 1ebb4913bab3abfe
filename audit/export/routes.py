"""What cannot be written as a density, and the route that works instead.

An estimator is known by the names of its classes, so that nothing has to be imported.
Papers: ratio estimation, Hermans, Begy & Louppe (2020); flow matching, Wildberger et
al. (2023); scores, Geffner, Papamakarios & Mnih (2023).
"""

from __future__ import annotations

from audit.ground.errors import ModelError

NOT_HERE = (
    "export_posterior takes a zuko flow or GMM, an nflows Flow, a trainer of sbi (NPE, "
    "NLE), what its train() returns or its DirectPosterior, or a module whose "
    "forward(x) returns a torch distribution"
)
_DISTIL = (
    "Train a flow (NPE) on the same simulations, or on draws of this posterior at many "
    "x, and export that"
)
_SOLVES = "solves a differential equation for each density, which no file holds"
_SAVED = (
    "Save a module of (θ, x) that returns {} + prior.log_prob(θ) as log_prob, and scan "
    "it with --contract density --unnormalised and --target-space of the prior's bounds"
)
BY_HAND = _SAVED.format("log q(x|θ)")
_RATIO = (
    "a ratio estimator (NRE), which knows log p(θ|x) up to the prior and to a constant "
    "that depends on x",
    _SAVED.format("log_ratio"),
)
ROUTES: dict[str, tuple[str, str]] = {  # class -> (what it is, the route)
    "RatioEstimator": _RATIO,
    "RatioEstimatorTrainer": _RATIO,
    "VectorFieldTrainer": (f"a trainer of FMPE or NPSE: it {_SOLVES}", _DISTIL),
    "MixedDensityEstimator": (
        "a density of numbers and classes together (MNLE, MNPE)",
        _SAVED.format("its log_prob"),
    ),
    "CategoricalMassEstimator": (
        "a law over classes",
        "Save a module that returns its logits, and scan it with --family categorical",
    ),
    "FlowMatchingEstimator": (
        f"trained by flow matching (FMPE): it {_SOLVES}",
        _DISTIL,
    ),
    "ConditionalScoreEstimator": (f"a score estimator (NPSE): it {_SOLVES}", _DISTIL),
    "VectorFieldPosterior": (f"a posterior of FMPE or NPSE: it {_SOLVES}", _DISTIL),
    "VIPosterior": ("fitted to one x: there is no input to perturb", _DISTIL),
    "MCMCPosterior": (
        "a Markov chain over a likelihood or a ratio, and no density of its own",
        f"{BY_HAND}. Or export the likelihood itself, by the trainer (NLE): its scan "
        "says what a change of θ does to the law of x",
    ),
    "RejectionPosterior": ("a sampler by rejection, without a density", _DISTIL),
    "ImportanceSamplingPosterior": ("a weighting of draws, without a map", _DISTIL),
    "EnsemblePosterior": (
        "an ensemble, a mixture of posteriors",
        "Export each of its posteriors, audit them one by one, and compare by "
        "robaudit diff",
    ),
    "DirectPosterior": (
        "a direct posterior that corrects or filters what its estimator says",
        "Export its posterior_estimator, and scan that: the correction is not in it",
    ),
}
"""A class, or one that inherits from it: the first of a class's line counts."""


def known_route(estimator: object) -> bool:
    """Tell whether an estimator is of a kind that is refused by its name."""
    return any(kind.__name__ in ROUTES for kind in type(estimator).__mro__)


def refusal(estimator: object) -> ModelError:
    """Return the error about an estimator that cannot be written."""
    kind = type(estimator)
    name = f"{kind.__module__}.{kind.__name__}"
    known = (ROUTES[k.__name__] for k in kind.__mro__ if k.__name__ in ROUTES)
    what, route = next(known, ("", "Pass the density estimator inside it"))
    said = f", {what}" if what else ""
    return ModelError(f"The estimator is a {name}{said}", NOT_HERE, route)
