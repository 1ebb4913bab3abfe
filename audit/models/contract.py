"""The contract `parameters`: what the file's outputs mean, and who said so.

Each item comes from the first source that speaks: command line, environment and
configuration (one `ModelConfig`, whose origins are known), metadata in the model file,
names. Names are taken only where they leave no doubt: `mean` with `log_std` is a
normal head, since a standard deviation is what a normal law is written in; `loc` with
`scale` could be six families, and is an error that lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from audit.config import ModelConfig
from audit.errors import ConfigError, InputError, ModelError
from audit.families import FAMILIES
from audit.models.expressions import Expression
from audit.models.network import Network, Port

CONDITION_NAMES = ("x", "condition", "input", "inputs", "observation", "features")

# Output name (lower case) -> (parameter, link). The name says what the number is.
NAMES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("loc", "mean", "mu"), ("loc", "")),
    **dict.fromkeys(("scale", "std", "sigma", "stddev"), ("scale", "")),
    **dict.fromkeys(("log_scale", "log_std", "log_sigma", "logstd"), ("scale", "exp")),
    **dict.fromkeys(("log_var", "logvar", "log_variance"), ("scale", "half_exp")),
    **dict.fromkeys(("var", "variance"), ("scale", "sqrt")),
    **dict.fromkeys(("df", "nu", "degrees_of_freedom"), ("df", "")),
    **dict.fromkeys(("probs", "probabilities", "probability"), ("probs", "")),
    **{
        name: (name, "")
        for name in (
            "logits",
            "rate",
            "concentration",
            "concentration0",
            "concentration1",
            "total_count",
            "scale_tril",
            "covariance_matrix",
            "precision_matrix",
            "cov_factor",
            "cov_diag",
            "quantiles",
            "low",
            "high",
        )
    },
}
_LINKED = {"": "{}", "exp": "exp({})", "half_exp": "exp(0.5 * {})", "sqrt": "sqrt({})"}
_NORMAL_SCALES = {"std", "stddev", "log_std", "logstd", "var", "variance", "log_var"}
_NORMAL_SCALES |= {"logvar", "log_variance"}


@dataclass(frozen=True)
class Item:
    """One decision of the contract, and who made it."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Settings:
    """What the user said about the model, and where each option was said."""

    model: ModelConfig
    origins: Mapping[str, str]

    def origin(self, option: str) -> str:
        """Return who set the option."""
        return self.origins.get(option, "settings")


@dataclass(frozen=True)
class Roles:
    """What each input of the file is: perturbed, or held at a value."""

    condition: str
    held: Mapping[str, str]
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Head:
    """The family and how its parameters are read from the outputs."""

    family: str
    parameters: Mapping[str, Expression]
    options: Mapping[str, object]
    items: tuple[Item, ...]


def resolve_roles(settings: Settings, network: Network, keys: Sequence[str]) -> Roles:
    """Decide which input is the condition and what the others are held at.

    Args:
        settings: what the user said.
        network: the opened file.
        keys: the keys of the data file, which may name inputs.

    Raises:
        ConfigError: a named input does not exist, or no single one can be chosen.
        ModelError: the condition is an integer input, so no gradient passes.
    """
    names = [port.name for port in network.inputs]
    held, items = _held(settings, network, keys)
    free = [name for name in names if name not in held]
    item = _condition(settings, network, free)
    for name in free:
        if name != item.value and name in keys:
            held[name] = name
            items.append(Item(f"held {name}", name, "key of the data"))
    missing = [name for name in free if name != item.value and name not in held]
    if missing:
        raise ConfigError(
            f"The model input '{missing[0]}' has no value",
            f"The perturbed input is '{item.value}'; every other one is held",
            f"Pass --held {missing[0]}=KEY with a key of the data, or "
            f"--held {missing[0]}=0",
        )
    _refuse_integers(network.input(item.value))
    return Roles(item.value, held, (item, *items))


def _held(
    settings: Settings, network: Network, keys: Sequence[str]
) -> tuple[dict[str, str], list[Item]]:
    stated = network.metadata.get("held", {})
    in_file = dict(stated) if isinstance(stated, Mapping) else {}
    held, items = {}, []
    for origin, source in (
        (network.format + " metadata", in_file),
        (settings.origin("held"), settings.model.held),
    ):
        for name, value in source.items():
            if name not in [port.name for port in network.inputs]:
                raise _no_such_input(name, network, "held")
            held[name] = str(value)
            items.append(Item(f"held {name}", str(value), origin))
    return held, items


def _condition(settings: Settings, network: Network, free: list[str]) -> Item:
    names = [port.name for port in network.inputs]
    stated = network.metadata.get("condition")
    for value, origin in (
        (settings.model.condition, settings.origin("condition")),
        (stated, "metadata"),
    ):
        if value is None:
            continue
        if value not in names and len(free) == 1 and value == "x":
            return Item("condition", free[0], origin)
        if value not in names:
            raise _no_such_input(str(value), network, "condition")
        return Item("condition", str(value), origin)
    if len(free) == 1:
        return Item("condition", free[0], "only input")
    known = [name for name in free if name.lower() in CONDITION_NAMES]
    if len(known) == 1:
        return Item("condition", known[0], "names")
    raise ConfigError(
        f"The model has {len(names)} inputs: {', '.join(names) or 'none'}",
        "One of them is the condition, the input that is perturbed",
        "Say which with --condition NAME, and the others with --held NAME=VALUE",
    )


def _no_such_input(name: str, network: Network, role: str) -> ConfigError:
    return ConfigError(
        f"The model has no input '{name}'",
        f"Its inputs are {', '.join(port.name for port in network.inputs)}",
        f"Name one of them with --{role}",
    )


def _refuse_integers(port: Port) -> None:
    if port.is_integer:
        raise ModelError(
            f"The condition '{port.name}' has type {port.dtype}",
            "A perturbation needs a floating-point input: no gradient passes integers",
            "Audit the part of the model after the embedding (cut the graph there), "
            "or choose another --condition",
        )


def resolve_head(settings: Settings, network: Network, outputs: Sequence[str]) -> Head:
    """Decide the family and its parameters.

    Raises:
        ConfigError: something is missing or ambiguous; the message lists what was
            seen and the option to give.
    """
    if settings.model.contract not in (None, "parameters"):
        raise ConfigError(
            f"The contract '{settings.model.contract}' was asked for",
            "This version audits files whose outputs are a family's parameters",
            "Pass --contract parameters with --family and --param",
        )
    parameters, origin = _stated_parameters(settings, network)
    family = _family(settings, network, parameters, outputs)
    if not parameters:
        parameters, origin = _parameters_by_name(family.value, outputs), "names"
    options = _options(settings, network)
    items = (
        family,
        *(Item(f"param {name}", text, origin) for name, text in parameters.items()),
        *(
            Item(f"option {name}", str(value), source)
            for name, (value, source) in options.items()
        ),
    )
    expressions = {name: Expression(text) for name, text in parameters.items()}
    values = {name: value for name, (value, _) in options.items()}
    return Head(family.value, expressions, values, items)


def _stated_parameters(
    settings: Settings, network: Network
) -> tuple[dict[str, str], str]:
    if settings.model.parameters:
        return dict(settings.model.parameters), settings.origin("parameters")
    stated = network.metadata.get("parameters")
    if settings.model.family is None and isinstance(stated, Mapping):
        return {str(n): str(text) for n, text in stated.items()}, "metadata"
    if (
        isinstance(stated, Mapping)
        and network.metadata.get("family") == settings.model.family
    ):
        return {str(n): str(text) for n, text in stated.items()}, "metadata"
    return {}, ""


def _options(settings: Settings, network: Network) -> dict[str, tuple[object, str]]:
    """Return the family's options and who stated each."""
    reserved = {"family", "parameters", "condition", "held", "contract", "space"}
    stated = {
        name: (value, "metadata")
        for name, value in network.metadata.items()
        if name not in reserved
    }
    origin = settings.origin("options")
    return stated | {n: (value, origin) for n, value in settings.model.options.items()}


def _family(
    settings: Settings,
    network: Network,
    parameters: Mapping[str, str],
    outputs: Sequence[str],
) -> Item:
    if settings.model.family is not None:
        return Item("family", settings.model.family, settings.origin("family"))
    if "family" in network.metadata:
        return Item("family", str(network.metadata["family"]), "metadata")
    stems = [name for name in map(_stem, outputs) if name in NAMES]
    named = set(parameters) or {NAMES[stem][0] for stem in stems}
    fits = _families_with(named)
    if "normal" in fits and any(stem in _NORMAL_SCALES for stem in stems):
        fits = ["normal"]
    if len(fits) == 1:
        return Item("family", fits[0], "names")
    could = f"they could be those of {', '.join(fits)}" if fits else "no family fits"
    raise ConfigError(
        f"The file does not say its family. Its outputs are {', '.join(outputs)}; "
        + could,
        "A family is needed to read the outputs as a distribution",
        f"Pass --family {fits[0] if fits else 'normal'} (or another), and --param "
        "NAME=EXPRESSION for each of its parameters",
    )


def _families_with(named: set[str]) -> list[str]:
    """Return the families that take exactly these parameters."""
    return [
        name
        for name in FAMILIES
        if named
        and name != "mixture"
        and any(set(known) == named for known in parameterizations(name))
    ]


def _parameters_by_name(family: str, outputs: Sequence[str]) -> dict[str, str]:
    """Match the family's parameters with outputs whose names say what they are."""
    for known in parameterizations(family):
        found = {name: _expressions_for(name, outputs) for name in known}
        if all(found.values()):
            return {name: _only(name, texts) for name, texts in found.items()}
    wanted = " or ".join(", ".join(known) for known in parameterizations(family))
    if len(outputs) == 1 and all(len(k) == 1 for k in parameterizations(family)):
        hint = f"--param {parameterizations(family)[0][0]}={outputs[0]}"
    else:
        hint = "--param NAME=EXPRESSION for each of them"
    raise ConfigError(
        f"The outputs {', '.join(outputs)} do not name the parameters of {family}",
        f"The family {family} takes {wanted}",
        f"Pass {hint}",
    )


def _expressions_for(parameter: str, outputs: Sequence[str]) -> list[str]:
    texts = []
    for output in outputs:
        known, link = NAMES.get(_stem(output), ("", ""))
        if known == parameter:
            quoted = output if output.isidentifier() else f'"{output}"'
            texts.append(_LINKED[link].format(quoted))
    return texts


def _only(parameter: str, texts: list[str]) -> str:
    if len(texts) > 1:
        raise ConfigError(
            f"Two outputs could be '{parameter}': {' and '.join(texts)}",
            "Expected one",
            f"Choose with --param {parameter}=EXPRESSION",
        )
    return texts[0]


def _stem(output: str) -> str:
    """Return the name without scopes and indices: 'head/mean:0' -> 'mean'."""
    return output.rpartition("/")[2].partition(":")[0].lower()


def parameterizations(family: str) -> tuple[tuple[str, ...], ...]:
    """Return the sets of parameters a family can be given by.

    A mixture adds its weights to those of the component; a product of families has
    none that names could tell.
    """
    if "," in family:
        return ()
    kind, _, component = family.partition(":")
    if not component:
        return FAMILIES[kind].parameterizations
    inner = FAMILIES[component].parameterizations
    return tuple(
        (weights, *known) for weights in ("logits", "probs") for known in inner
    )


def hold(value: str, port: Port) -> object:
    """Return the constant a held input is given as text; it must be YAML numbers.

    Raises:
        InputError: it is no number or list of numbers.
    """
    constant = yaml.safe_load(value)
    if isinstance(constant, (int, float, list)):
        return constant
    raise InputError(
        f"The held input '{port.name}' was given as '{value}'",
        "Expected a key of the data file or a number (or a list of numbers)",
        f"Pass --held {port.name}=0 or --held {port.name}=KEY",
    )
