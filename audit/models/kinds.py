"""Which contract a file keeps, and who said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.ground.errors import ConfigError
from audit.models.contract import Item, Settings
from audit.models.names import stem_of
from audit.models.network import Network

CONTRACTS = ("parameters", "density", "transport", "samples")
TARGETS = ("theta", "target", "params", "value", "y")
NOISES = ("z", "noise", "eps", "epsilon", "latent")
LOG_PROBS = (
    *("log_prob", "log_probs", "logprob", "logp", "log_q"),
    *("log_density", "log_likelihood", "ll"),
)
SAMPLES = ("sample", "samples", "theta", "draw", "draws", "theta_sample")


def resolve_contract(settings: Settings, network: Network) -> Item:
    """Return the contract: stated, in the metadata, or told by options and names.

    Raises:
        ConfigError: the metadata name a contract that does not exist.
    """
    model = settings.model
    if model.contract is not None:
        return Item("contract", model.contract, settings.origin("contract"))
    told = network.metadata.get("contract")
    if told is not None:
        if told not in CONTRACTS:
            raise ConfigError(
                f"The file's metadata name the contract '{told}'",
                f"Expected one of {', '.join(CONTRACTS)}",
                "Correct the metadata, or pass --contract",
            )
        return Item("contract", str(told), "metadata")
    family = stated("family", settings, network)
    if family is not None:
        return Item("contract", "parameters", f"family ({family.origin})")
    for option in ("target", "sampler", "draws", "input_layout"):
        if getattr(model, option) is not None:
            return Item("contract", "density", told_by(option, settings))
    found = _by_names(settings, network)
    if found.value == "parameters" and model.target_space is not None:
        origin = told_by("target_space", settings)  # of samplers it is too
        return Item("contract", "density", origin)
    return found


def told_by(option: str, settings: Settings) -> str:
    """Return what a decision follows from, and who stated that."""
    return f"{option.replace('_', ' ')} ({settings.origin(option)})"


def stated(option: str, settings: Settings, network: Network) -> Item | None:
    """Return a text that the user or the file states, with who did; None if nobody."""
    said, told = getattr(settings.model, option), network.metadata.get(option)
    name = option.replace("_", " ")
    if said is not None:
        return Item(name, str(said), settings.origin(option))
    return None if told is None else Item(name, str(told), "metadata")


def no_such_input(name: str, network: Network, role: str) -> ConfigError:
    """Return the error for a name that is none of the file's inputs."""
    return ConfigError(
        f"The model has no input '{name}'",
        f"Its inputs are {', '.join(port.name for port in network.inputs)}",
        f"Name one of them with --{role}",
    )


def _by_names(settings: Settings, network: Network) -> Item:
    inputs = [port.name for port in network.required]
    outputs = [port.name for port in network.outputs]
    if named(outputs, LOG_PROBS) and named(inputs, TARGETS):
        return Item("contract", "density", "names")
    if settings.model.noise is not None:
        return Item("contract", "transport", told_by("noise", settings))
    if "noise" in network.details and named(outputs, SAMPLES):
        return Item("contract", "transport", "names")
    if named(inputs, NOISES) and named(outputs, SAMPLES):
        return Item("contract", "transport", "names")
    return Item("contract", "parameters", "default")


def named(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names that are among the known ones, scopes and case aside."""
    return [name for name in names if stem_of(name) in known]


def role_of(
    role: str,
    stated: str | None,
    settings: Settings,
    network: Network,
    known: Sequence[str],
) -> Item | None:
    """Return which input plays a role (target, noise); None if nothing tells."""
    inputs = [port.name for port in network.inputs]
    told = network.metadata.get(role)
    if isinstance(told, Mapping):
        told = next(iter(told), None)
    for value, origin in ((stated, settings.origin(role)), (told, "metadata")):
        if value is None:
            continue
        if value not in inputs:
            raise no_such_input(str(value), network, role)
        return Item(role, str(value), origin)
    found = named([port.name for port in network.required], known)
    return Item(role, found[0], "names") if len(found) == 1 else None
