"""Which conditional an estimator of sbi holds: q(θ|x), or q(x|θ).

sbi trains posteriors (NPE) and likelihoods (NLE) by the same classes of networks, and
nothing inside one of them says which of its two arguments is θ. What does say: the
trainer, by its class; a posterior, by the estimator it was built on; and the shapes,
where the conditions that were passed fit one of the arguments alone. Where none of
these speaks the question is asked: a file of the wrong conditional would hold numbers
that look right.

A likelihood is written with θ as its condition: a scan of it says what a change of θ
does to the law of x. What a change of x does to the posterior is another question, and
another file (`routes.BY_HAND`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from torch import Tensor, nn

from audit.export.densities import Foreign
from audit.export.routes import BY_HAND
from audit.ground.errors import ConfigError


class Role(Enum):
    """What a density is of, and given what: (condition, target)."""

    POSTERIOR = ("x", "theta")
    LIKELIHOOD = ("theta", "x")

    @property
    def condition(self) -> str:
        """What a scan perturbs, and the name of that input."""
        return self.value[0]

    @property
    def target(self) -> str:
        """What the density is over, and the name of that input."""
        return self.value[1]

    def names(self, values: dict[str, Foreign]) -> dict[str, Foreign]:
        """Return inputs called x and theta by the names that they have here."""
        own = {"x": self.condition, "theta": self.target}
        return {own.get(name, name): value for name, value in values.items()}


@dataclass(frozen=True)
class Told:
    """An estimator, what it came in, and what that tells of it."""

    estimator: Foreign
    role: Role | None = None
    prior: Foreign = None


def told_by(given: Foreign) -> Told:
    """Return the density estimator inside what sbi hands out.

    Raises:
        ConfigError: a trainer that has not trained yet.
    """
    kinds = {kind.__name__ for kind in type(given).__mro__}
    if type(given).__name__ == "DirectPosterior":
        return Told(given.posterior_estimator, Role.POSTERIOR, _prior(given))
    if "PosteriorEstimatorTrainer" in kinds:
        return Told(_trained(given), Role.POSTERIOR, _prior(given))
    if "LikelihoodEstimatorTrainer" in kinds:
        return Told(_trained(given), Role.LIKELIHOOD)
    return Told(given, None, getattr(given, "prior", None))


def _prior(given: Foreign) -> Foreign:
    return getattr(given, "prior", getattr(given, "_prior", None))


def _trained(trainer: Foreign) -> Foreign:
    estimator = getattr(trainer, "_neural_net", None)
    if isinstance(estimator, nn.Module):
        return estimator
    raise ConfigError(
        f"The trainer {type(trainer).__name__} has not trained an estimator",
        "Expected one after append_simulations(theta, x).train()",
        "Train it first",
    )


def chosen(word: str | None, told: Told) -> Role | None:
    """Return the role that was asked for, or that is told.

    Raises:
        ConfigError: the word is not known, or contradicts what was passed.
    """
    if word is None:
        return told.role
    known = {role.name.lower(): role for role in Role}
    if word not in known:
        raise ConfigError(
            f"role={word!r} was given",
            f"Expected {' or '.join(known)}",
            "posterior: a density of θ given x (NPE); likelihood: of x given θ (NLE)",
        )
    if told.role not in (None, known[word]):
        raise ConfigError(
            f"role='{word}' was given for a {told.role.name.lower()}",
            "An estimator holds one conditional, the one it was trained for",
            "Leave role= out",
        )
    return known[word]


def require_told(told: Told, role: Role | None, rows: Sequence[int] | None) -> None:
    """Raise where an estimator of sbi may as well be of the other conditional.

    Args:
        told: what is known of it.
        role: the role that was chosen, if any.
        rows: the shape of the conditions that were passed, if any.

    Raises:
        ConfigError: it cannot be told which one it is, or x is of the other one.
    """
    shapes = shapes_of(told.estimator)
    if role is not None or shapes is None:
        return
    over, given = shapes
    if rows is not None and over != given:
        if tuple(rows) != over:
            return
        raise ConfigError(
            f"The rows of x have shape {over}, and the {type(told.estimator).__name__} "
            f"is a density over such rows given ones of shape {given}",
            "Expected conditions: a likelihood q(x|θ) (NLE) has θ as its condition",
            "Pass role='likelihood' and parameters θ as x=, or the posterior's own "
            "estimator (NPE)",
        )
    raise ConfigError(
        f"A {type(told.estimator).__name__} of sbi is a posterior q(θ|x) (NPE) or a "
        f"likelihood q(x|θ) (NLE), and {_no_hint(over, given)}",
        "Expected to be told which, since a file of the other one looks the same",
        "Pass the trainer (the NPE or NLE object) or the posterior of build_posterior()"
        " instead of what train() returned; export_posterior also takes "
        "role='posterior' or role='likelihood'",
    )


def require_parameters(told: Told, keys: Sequence[str]) -> None:
    """Raise unless the data of a likelihood are called what they must be: θ.

    Raises:
        ConfigError: they are called otherwise.
    """
    if told.role is Role.LIKELIHOOD and told.role.condition not in keys:
        raise ConfigError(
            "The trainer's estimator is a likelihood q(x|θ), and the data are called "
            f"{', '.join(keys)}",
            "Expected the parameters θ, which are its condition",
            "Pass them as {'theta': θ}. For what a change of x does to the posterior: "
            + BY_HAND,
        )


def shapes_of(estimator: object) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return what an estimator of sbi is a density over, and given what."""
    kinds = type(estimator).__mro__
    if not any(kind.__module__.startswith("sbi.") for kind in kinds):
        return None
    found = [
        getattr(estimator, f"{name}_shape", None) for name in ("input", "condition")
    ]
    over, given = (None if shape is None else tuple(shape) for shape in found)
    return None if over is None or given is None else (over, given)


def _no_hint(over: tuple[int, ...], given: tuple[int, ...]) -> str:
    if over == given:
        return f"both of its arguments have shape {over}"
    return f"nothing here tells which of shapes {over} and {given} is θ's"


class OfParameters(nn.Module):
    """A density or a mixture whose condition is θ: inputs of these names."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, theta: Tensor, x: Tensor | None = None, z: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return what the module does of conditions θ."""
        values = [value for value in (theta, x, z) if value is not None]
        return self.module(*values)  # type: ignore[no-any-return]


def named_for(module: nn.Module, role: Role) -> nn.Module:
    """Return the module with the inputs' names of its role."""
    return OfParameters(module) if role is Role.LIKELIHOOD else module
