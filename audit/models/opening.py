"""From settings to a density ready to be audited: open, probe, resolve, check."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from audit.ground import stages
from audit.ground.errors import ConfigError
from audit.models.class_axes import reading_notes
from audit.models.class_names import with_class_names
from audit.models.contract import Settings
from audit.models.files import cuts_of, open_network
from audit.models.gates import Findings, Subject, examine
from audit.models.gates.effort import FREE, Effort, effort_of
from audit.models.kinds import resolve_contract
from audit.models.metadata import metadata_notes
from audit.models.names import options_of, unread_levels
from audit.models.network import Network, Values
from audit.models.onnx_file import STRAIGHT_THROUGH
from audit.models.opened import REVERSE_MODE, OpenModel
from audit.models.parametric import as_samples, open_parametric
from audit.models.swept import with_sweep

_AS_IF = (
    STRAIGHT_THROUGH,
    "derivatives are taken as if quantisation did not round: an estimate that no gate "
    "can check; trust the realised values beside the predicted ones",
)
__all__ = [
    "OpenModel",
    "checked",
    "open_model",
    "open_network",
    "open_unchecked",
    "pass_gates",
]


def open_model(
    settings: Settings,
    data: str,
    network: Network | None = None,
    gates: Findings | None = None,
) -> OpenModel:
    """Open a model and its data, resolve the contract and pass every gate.

    Args:
        settings: what the user said.
        data: where the inputs are.
        network: the model, where it is open already; None: the file of `settings`.
        gates: what they measured, where this file has passed them; None: pass them.

    Raises:
        AuditError: one of its kinds, for whatever is missing, ambiguous or broken.
    """
    return checked(settings, open_unchecked(settings, data, network), gates)


def checked(
    settings: Settings, model: OpenModel, gates: Findings | None = None
) -> OpenModel:
    """Return an open model with its gates passed, in the precision of the audit.

    Raises:
        ModelError: a gate is closed, or the file does not run in float64.
    """
    opened = pass_gates(model) if gates is None else replace(model, gates=gates)
    wide = settings.model.dtype == "float64"
    opened = opened.in_float64() if wide else opened
    return with_sweep(opened, settings.rows, settings.slopes)


def open_unchecked(
    settings: Settings, data: str, network: Network | None = None
) -> OpenModel:
    """Open a model and its data and resolve the contract; no gate is passed.

    Raises:
        AuditError: one of its kinds, for whatever is missing or ambiguous.
    """
    return with_class_names(settings, _opened(settings, data, network))


def _opened(settings: Settings, data: str, network: Network | None) -> OpenModel:
    network = network_of(settings, network)
    contract = resolve_contract(settings, network)
    if contract.value == "density" and settings.model.noise_in_graph is not None:
        raise ConfigError(
            "--noise-in-graph was given for a density log q(θ|x)",
            "It belongs to files that draw samples, or parameters under dropout",
            "Leave it out: --draws or --sampler give the density its θ",
        )
    if contract.value == "parameters":
        return open_parametric(settings, data, network)
    if contract.value == "samples":
        return open_parametric(as_samples(settings), data, network)
    from audit.models.implicit.opening import open_implicit  # 45 modules, if needed

    return open_implicit(settings, data, network, contract)


def network_of(settings: Settings, network: Network | None) -> Network:
    """Return a network that is open already, or that of the file.

    Raises:
        ConfigError: something was asked for that needs an ONNX file.
        ModelError: the file cannot be opened.
    """
    if network is None:
        return open_network(settings)
    inside = cuts_of(settings)
    exposed = settings.model.noise_in_graph is not None
    if inside or exposed or settings.straight_through:
        what = f"'@{min(inside)}'" if inside else "--method straight-through"
        what = "--noise-in-graph" if exposed else what
        raise ConfigError(
            f"{what} was asked of a model that is no file",
            "Only ONNX graphs have named tensors inside, random operators, and pairs "
            "of QuantizeLinear and DequantizeLinear",
            "Export the model to ONNX and give its path, or leave this out",
        )
    return network


def pass_gates(model: OpenModel) -> OpenModel:
    """Return the model with what the gates measured.

    Raises:
        ModelError: a gate is closed.
    """
    stages.stage(stages.GATES)
    estimated = model.derivative == STRAIGHT_THROUGH
    by_gradient = estimated or model.derivative == REVERSE_MODE
    subject = _in_numbers(model)
    by_gradient = by_gradient and model.space == "input"
    found = examine(subject, by_gradient, estimated, lambda: _effort(model))
    notes = metadata_notes(model.network.metadata, options_of(model.head.family))
    notes = (*notes, *reading_notes(model.head, model.density.family))
    read = frozenset(model.subject.used)
    unread = unread_levels(model.head.family, list(model.probe.outputs), read)
    notes = (*notes, *(("not_read", text) for text in unread))
    notes = (_AS_IF, *notes) if estimated else notes
    told = model.network.details.get("told")
    notes = (("format", str(told)), *notes) if told else notes
    drawn = model.network.details.get("exposed")
    notes = (("noise_in_graph", str(drawn)), *notes) if drawn else notes
    referee = str(model.network.details.get("referee", ""))
    found = replace(found, warnings=(*found.warnings, *notes), referee=referee)
    return replace(model, gates=found)


def _effort(model: OpenModel) -> Effort:
    return effort_of(model.work if model.takes(FREE) else 0.0)


def _in_numbers(model: OpenModel) -> Subject:
    """Return what the gates look at, with numbers where members have infinities."""
    subject, family = model.subject, model.density.family

    def parameters(outputs: Values) -> Tensor:
        return family.finite(subject.parameters(outputs))

    return replace(subject, parameters=parameters)
