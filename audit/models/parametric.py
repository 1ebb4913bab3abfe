"""The contract `parameters`: the file's outputs are those of a named family."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from audit.families import build_family
from audit.families.contract import look_at
from audit.families.interface import Family
from audit.ground.errors import AuditError, ConfigError
from audit.models.class_axes import refuse_images
from audit.models.contract import Head, Settings
from audit.models.density import ConditionalDensity, DifferentiableMap, Values
from audit.models.differences import FiniteDifferenceMap
from audit.models.gates import Subject
from audit.models.head import resolve_head
from audit.models.logits import read_logits
from audit.models.maps import IdentityMap
from audit.models.masks import by_mask, fixed, masks_of, mixed, over_masks
from audit.models.members import read_by
from audit.models.network import Network
from audit.models.opened import OpenModel
from audit.models.passing import with_inputs
from audit.models.probing import Probe
from audit.models.source import probed
from audit.models.suggestions import suggest

_OTHERS = ("target", "noise", "sampler", "draws", "input_layout", "target_space")


def as_samples(settings: Settings) -> Settings:
    """Return the settings of the contract `samples`: a family of that name.

    Raises:
        ConfigError: another family is named.
    """
    if settings.model.family not in (None, "samples"):
        raise ConfigError(
            f"--contract samples was given with --family {settings.model.family}",
            "A file that returns samples names no family",
            "Leave one of the two out",
        )
    origins = {**settings.origins, "family": settings.origin("contract")}
    model = replace(settings.model, family="samples")
    return replace(settings, model=model, origins=origins)


def open_parametric(settings: Settings, data: str, network: Network) -> OpenModel:
    """Open the data, resolve the contract and put the density together.

    Raises:
        AuditError: one of its kinds, for whatever is missing or ambiguous.
    """
    _refuse_others(settings)
    if settings.model.noise_in_graph is not None:
        samples = settings.model.family == "samples"
        network = (fixed if samples else over_masks)(settings, network)
    probe, source = probed(settings, data, network)
    if settings.finite_differences:
        probe = _precise(probe)
    head = _head(settings, probe)
    if masks_of(probe.network) or settings.model.members is not None:
        return _of_masks(settings, head, probe)
    head, probe = read_logits(settings, head, probe)
    probe = with_inputs(head, probe, data, source.opened)
    space, differences = settings.model.space, settings.finite_differences
    return _assemble(head, space, differences, probe)


def _of_masks(settings: Settings, head: Head, probe: Probe) -> OpenModel:
    """Put the mixture over masks, or over members, together."""
    option, each = "--noise-in-graph", "mask"
    if settings.model.members is not None:
        option, each = "--members", "member"
        _refuse_members(settings)
    read = {name for text in head.parameters.values() for name in text.names}
    own = {name.removeprefix("@") for name in read} - {
        name.removeprefix("@") for name in probe.outputs
    }
    if own:
        raise ConfigError(
            f"{option} was given, and an expression reads '{min(own)}', which is no "
            "output of the file",
            f"Expected outputs, which each {each} has: {', '.join(probe.outputs)}",
            "Leave it out, or export a model that computes the expression itself",
        )
    return _assemble(mixed(settings, head, probe), "input", False, probe)


def _refuse_members(settings: Settings) -> None:
    """Refuse what an ensemble has not."""
    model = settings.model
    others = {
        "--noise-in-graph": model.noise_in_graph is not None,
        "--family samples": model.family == "samples",
        "--space parameters": model.space == "parameters",
    }
    for other, given in others.items():
        if given:
            raise ConfigError(
                f"--members was given with {other}",
                "An ensemble is the mixture of the laws that its members' parameters "
                "make, at each input",
                "Leave one of the two out",
            )


def _head(settings: Settings, probe: Probe) -> Head:
    """Resolve the head, or say what would fit the outputs."""
    try:
        head = resolve_head(settings, probe.network, list(probe.outputs))
        return _wholly_read(head, probe)
    except ConfigError as error:
        if masks_of(probe.network):
            raise ConfigError(
                error.given,
                error.expected,
                f"{error.next_step}; where the output is a draw of θ itself, pass "
                "--contract transport",
            ) from None
        found = None if settings.model.family else suggest(probe.outputs)
        if found is None or settings.model.parameters:
            raise
        raise ConfigError(
            error.given,
            error.expected,
            f"Pass {found.flags} if that is what they are ({found.why}); robaudit "
            "inspect MODEL DATA shows every tensor",
        ) from None


def _wholly_read(head: Head, probe: Probe) -> Head:
    """Return the head, unless names alone say its family and leave real outputs over.

    `mean` and `std` beside `weights` are a mixture, beside `dof` a Student's t: what
    names leave unread may be a parameter of another law.

    Raises:
        ConfigError: with the family to state where the others are no parameters.
    """
    said = {"family", *(f"param {name}" for name in head.parameters)}
    read = {
        name.removeprefix("@") for e in head.parameters.values() for name in e.names
    }
    if {item.origin for item in head.items if item.name in said} != {"names"}:
        return head
    left = [n for n, v in probe.outputs.items() if v.is_floating_point()]
    left = [name for name in left if name not in read]
    if left:
        names = ", ".join(f"'{name}'" for name in left)
        raise ConfigError(
            f"By the outputs' names the law is {head.family}, and {names} would not be "
            "read",
            "A family is taken from names only where every real output is a parameter",
            f"Pass --family {head.family} if {names} may be left out, else the family "
            "that takes them",
        )
    return head


def _precise(probe: Probe) -> Probe:
    """Return the file in float64, where differences are sharp; else as it is."""
    try:
        wide = replace(probe, network=probe.network.double())
        runs = bool(wide.outputs)
    except (AuditError, RuntimeError):
        return probe
    return wide if runs else probe


def _refuse_others(settings: Settings) -> None:
    """Refuse options of the other contracts; they must not be ignored in silence."""
    for name in _OTHERS:
        if getattr(settings.model, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} was given",
                "It belongs to the contracts density and transport; this file is read "
                "as the parameters of a family",
                "Leave it out, or pass --contract density or transport",
            )


def _assemble(head: Head, space: str, differences: bool, probe: Probe) -> OpenModel:
    """Put a density together."""
    values = _parameters(head, probe.outputs)
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    family = build_family(head.family, shapes, **head.options)
    refuse_images(head, family)
    look_at(family, values)
    subject = _subject(probe, head, family)
    outer = subject.map_of(subject.call, probe.network.dtype)
    own = FiniteDifferenceMap(outer) if differences else outer
    inner: DifferentiableMap = own
    event = probe.event
    if space == "parameters":
        inner, event = IdentityMap(), (family.size,)
    density = ConditionalDensity(inner, family, int(np.prod(event, dtype=int)))
    return OpenModel(
        probe,
        head,
        density,
        event,
        own,
        subject,
        partial(_assemble, head, space, differences),
        space,
        differences,
        items=(*head.items, *probe.roles.items),
    )


def _subject(probe: Probe, head: Head, family: Family) -> Subject:
    """Return what the gates look at; the family packs its parameters into φ."""

    def parameters(outputs: Values) -> Tensor:
        return family.pack(_parameters(head, outputs))

    return probe.subject(parameters, read_by(head, probe.outputs))


def _parameters(head: Head, outputs: Values) -> dict[str, Tensor]:
    wide = {name: value.double() for name, value in outputs.items()}
    if head.masks:
        return by_mask(head, wide)
    return {name: expression(wide) for name, expression in head.parameters.items()}
