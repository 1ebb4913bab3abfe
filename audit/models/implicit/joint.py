"""A density file and the file that draws from it, as one network.

The sampler's condition is the density's; its other inputs keep their names. What it
draws comes out as `sampler_output`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from torch import Tensor

from audit.ground.errors import ConfigError
from audit.models.contract import Head, Roles
from audit.models.identity import hash_values
from audit.models.network import Call, Census, Network, Port, Values

SAMPLER_OUTPUT = "sampler_output"


@dataclass(frozen=True)
class Sampler:
    """A file that draws θ = T(x, z), with its own names."""

    network: Network
    roles: Roles
    head: Head

    @property
    def others(self) -> tuple[Port, ...]:
        """Its inputs without the condition, and without those left at their default."""
        return tuple(
            port
            for port in self.network.inputs
            if port.name != self.roles.condition
            and (port.default is None or port.name in self.roles.held)
        )


def join(density: Network, condition: str, sampler: Sampler) -> Network:
    """Return both files as one network: x, θ, z -> what the first gives, and draws.

    Raises:
        ConfigError: an input of the sampler has the name of another of the density.
    """
    taken = {port.name for port in density.inputs}
    for port in sampler.others:
        if port.name in taken:
            raise ConfigError(
                f"Both the model and its sampler have an input '{port.name}'",
                "Inputs other than the condition need names of their own",
                "Export one of them with another name",
            )
    return _joined(density, sampler, condition)


def _joined(density: Network, sampler: Sampler, condition: str) -> Network:
    def merged(first: Call, second: Call) -> Call:
        draws = _drawing(sampler, second, condition)
        return lambda values: {**first(_own(density, values)), **draws(values)}

    def part(outputs: tuple[str, ...]) -> Call:
        if outputs == (SAMPLER_OUTPUT,):
            return _drawing(sampler, sampler.network.call, condition)
        own = density.only(tuple(n for n in outputs if n != SAMPLER_OUTPUT))
        if SAMPLER_OUTPUT in outputs:
            return merged(own, sampler.network.call)
        return lambda values: own(_own(density, values))

    def again(double: bool) -> Network:
        ours, theirs = (
            each.double() if double else each.again()
            for each in (density, sampler.network)
        )
        return _joined(ours, replace(sampler, network=theirs), condition)

    first, second = density.reference, sampler.network.reference
    name = sampler.network.files[0].path.name
    label = sampler.network.metadata.get("transport", f"the map of {name}")
    return replace(
        density,
        metadata={**density.metadata, "transport": label},
        files=(*density.files, *sampler.network.files),
        inputs=(*density.inputs, *sampler.others),
        outputs=(*density.outputs, Port(SAMPLER_OUTPUT)),
        weights_sha256=hash_values(
            ("", each.weights_sha256) for each in (density, sampler.network)
        ),
        call=merged(density.call, sampler.network.call),
        again=lambda: again(False),
        double=cache(lambda: again(True)),
        reference=first and second and merged(first, second),
        part=part,
        census=partial(_census, density, sampler),
        locate=None,
        graph=None,
        shared=density.shared and sampler.network.shared,
    )


def _census(
    density: Network, sampler: Sampler, condition: str, outputs: Sequence[str]
) -> Census:
    """Return what lies on the way in both files."""
    own = [name for name in outputs if name != SAMPLER_OUTPUT]
    found = [_census_of(density, condition, own)] if own else []
    if SAMPLER_OUTPUT in outputs:
        names = sampler.head.parameters["sample"].names
        read = sorted(name.removeprefix("@") for name in names)
        found.append(_census_of(sampler.network, sampler.roles.condition, read))
    return Census(
        any(each.connected for each in found),
        tuple(stop for each in found for stop in each.stops),
        tuple(name for each in found for name in each.quantised),
        all(each.complete for each in found),
    )


def _census_of(network: Network, condition: str, outputs: Sequence[str]) -> Census:
    unknown = Census(True, (), complete=False)
    return unknown if network.census is None else network.census(condition, outputs)


def _own(network: Network, values: Values) -> dict[str, Tensor]:
    names = [port.name for port in network.inputs]
    return {name: values[name] for name in names if name in values}


def _drawing(sampler: Sampler, call: Call, condition: str) -> Call:
    """Return the sampler under the joint names."""
    expression = sampler.head.parameters["sample"]

    def draw(values: Values) -> dict[str, Tensor]:
        own = {port.name: values[port.name] for port in sampler.others}
        own[sampler.roles.condition] = values[condition]
        return {SAMPLER_OUTPUT: expression(call(own))}

    return draw
