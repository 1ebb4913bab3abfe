"""What the inputs and outputs of a density or a sampler are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from audit.ground.errors import ConfigError
from audit.models.contract import Head, Item, Roles, Settings
from audit.models.expressions import Expression, quoted
from audit.models.head import check_outputs
from audit.models.implicit.joint import SAMPLER_OUTPUT
from audit.models.kinds import (
    LOG_PROBS,
    NOISES,
    SAMPLES,
    TARGETS,
    named,
    role_of,
    told_by,
)
from audit.models.names import IMPLICIT
from audit.models.network import Network
from audit.models.roles import resolve_roles

LAWS = ("normal", "uniform", "logistic")


def resolve_implicit_roles(
    settings: Settings, network: Network, keys: Sequence[str], contract: str
) -> Roles:
    """Decide which input is x, θ and z, and what the others are held at.

    Raises:
        ConfigError: one is missing or ambiguous, or the law of z is not said.
    """
    items: list[Item] = []
    target = _target(settings, network, contract)
    noise, base = _noise(settings, network, contract)
    items += [item for item in (target, noise, base) if item is not None]
    drawn = {item.value for item in (target, noise) if item is not None}
    rest = tuple(port for port in network.inputs if port.name not in drawn)
    roles = resolve_roles(settings, replace(network, inputs=rest), keys)
    return replace(
        roles,
        items=(*roles.items, *items),
        target=None if target is None else target.value,
        noise=None if noise is None else noise.value,
        base=None if base is None else base.value,
    )


def _target(settings: Settings, network: Network, contract: str) -> Item | None:
    if contract != "density":
        return None
    found = role_of("target", settings.model.target, settings, network, TARGETS)
    if found is not None:
        return found
    raise ConfigError(
        f"The model has the inputs {_inputs(network)}",
        "A density log q(θ|x) takes θ as an input",
        "Say which with --target NAME; one input that holds both is split by "
        "--input-layout theta:0:4,x:4:6",
    )


def _noise(
    settings: Settings, network: Network, contract: str
) -> tuple[Item | None, Item | None]:
    """Return the input of the base noise and its law."""
    made = network.details.get("noise")
    if made is not None:
        origin = told_by("noise_in_graph", settings)
        of_it = Item("base law", str(network.details["law"]), origin)
        return Item("noise", str(made), origin), of_it
    name, law = split_noise(settings.model.noise)
    found = role_of("noise", name, settings, network, NOISES)
    if found is None:
        if contract == "transport":
            raise ConfigError(
                f"The model has the inputs {_inputs(network)}",
                "A sampler θ = T(x, z) takes base noise z as an input",
                "Say which, and its law, with --noise NAME:normal",
            )
        return None, None
    stated = network.metadata.get("noise")
    told = stated.get(found.value) if isinstance(stated, Mapping) else None
    if law is not None:
        return found, Item("base law", law, settings.origin("noise"))
    if told is not None:
        return found, Item("base law", str(told), "metadata")
    raise ConfigError(
        f"The law of the base noise '{found.value}' is not known",
        f"Expected {', '.join(LAWS)}, or a key of the data that holds draws of it",
        f"Pass --noise {found.value}:normal",
    )


def split_noise(text: str | None) -> tuple[str | None, str | None]:
    """Split NAME:LAW; a name alone leaves the law to the metadata."""
    if text is None:
        return None, None
    name, _, law = text.rpartition(":")
    return (name, law) if name else (law, None)


def _inputs(network: Network) -> str:
    return ", ".join(port.name for port in network.inputs) or "none"


def resolve_implicit_head(
    settings: Settings, network: Network, outputs: Sequence[str], roles: Roles
) -> Head:
    """Decide which outputs are log q(θ|x) and θ.

    Raises:
        ConfigError: none, or several, could be.
    """
    contract = "density" if roles.target is not None else "transport"
    wanted: dict[str, Sequence[str]] = {}
    if contract == "density":
        wanted["log_prob"] = LOG_PROBS
    if roles.noise is not None:
        wanted["sample"] = SAMPLES
    told = network.metadata.get("outputs")
    in_file = dict(told) if isinstance(told, Mapping) else {}
    own = [name for name in outputs if name != SAMPLER_OUTPUT]
    items, texts = [], {}
    for role, known in wanted.items():
        if role == "sample" and SAMPLER_OUTPUT in outputs:
            item = Item("param sample", SAMPLER_OUTPUT, told_by("sampler", settings))
        else:
            item = _output(role, known, settings, in_file, own)
        items.append(item)
        texts[role] = Expression(item.value)
        check_outputs({role: texts[role]}, outputs)
    return Head(IMPLICIT, texts, {}, tuple(items), contract)


def _output(
    role: str,
    known: Sequence[str],
    settings: Settings,
    in_file: Mapping[str, object],
    outputs: Sequence[str],
) -> Item:
    label = f"param {role}"
    if role in settings.model.parameters:
        text = settings.model.parameters[role]
        return Item(label, text, settings.origin("parameters"))
    if role in in_file:
        return Item(label, _quoted(str(in_file[role])), "metadata")
    found = named(outputs, known)
    if len(found) == 1:
        return Item(label, _quoted(found[0]), "names")
    if len(outputs) == 1:
        return Item(label, _quoted(outputs[0]), "only output")
    what = "log q(θ|x)" if role == "log_prob" else "θ = T(x, z)"
    raise ConfigError(
        f"The model has the outputs {', '.join(outputs)}",
        f"One of them is {what}",
        f"Say which with --param {role}=NAME",
    )


def _quoted(name: str) -> str:
    return name if "(" in name else quoted(name)
