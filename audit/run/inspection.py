"""`robaudit inspect`: what a file is, how it would be read, and why.

With data the model is opened as a scan would open it, and every gate runs. Without, the
declared inputs and outputs and the metadata have to do.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace

from audit.config import ModelConfig, ScanConfig
from audit.ground import watch
from audit.ground.errors import AuditError, ConfigError, ModelError
from audit.measure.preparation import prepared_for, settings_of
from audit.measure.records import file_records
from audit.models.contract import Item, Settings
from audit.models.head import resolve_head
from audit.models.implicit.layout import split_stated
from audit.models.implicit.roles import resolve_implicit_head, resolve_implicit_roles
from audit.models.kinds import resolve_contract
from audit.models.metadata import metadata_notes
from audit.models.names import IMPLICIT, options_of
from audit.models.network import Network, Port
from audit.models.opening import (
    OpenModel,
    checked,
    network_of,
    open_unchecked,
    pass_gates,
)
from audit.models.proposals import suggested_config
from audit.models.roles import resolve_roles
from audit.models.suggestions import range_of
from audit.reports.inspected import Inspection
from audit.reports.planned import with_plan
from audit.run.work import crew

_PLAIN = (
    *("contract", "target", "noise", "noise_in_graph", "sampler", "draws"),
    *("input_layout", "target_space", "batch_axis", "members", "rows", "space"),
)


def inspect(config: ScanConfig, network: Network | None = None) -> Inspection:
    """Look into a model file, and into the data if there are any.

    Args:
        config: everything there is to know.
        network: the model, where it is open already; None: the file of `config`.

    Raises:
        AuditError: the file cannot be read at all, or it does not fit the data.
    """
    config = with_plan(config)
    with watch.opening(config.model.path, config.open_timeout):
        return _inspected(config, settings_of(config), network)


def _inspected(
    config: ScanConfig, settings: Settings, given: Network | None
) -> Inspection:
    network = network_of(settings, given)
    if config.data:
        try:
            return _with_data(*_gated(settings, config.data, given), config)
        except (ConfigError, ModelError) as error:
            return _with_open_questions(network, config, error)
    items, warnings = _declared(settings, network)
    warnings += _out_of_place(network, items)
    notes = [*warnings, "without DATA the gates do not run: give some rows to be sure"]
    verdict = _by_operators(settings, network, items)
    return _describe(network, network.outputs, items, config, verdict, notes)


def _out_of_place(network: Network, items: list[Item]) -> list[str]:
    """Say what the metadata hold that is not theirs to say."""
    found = {item.name: item.value for item in items}
    implicit = found.get("contract", "parameters") != "parameters"
    family = IMPLICIT if implicit else found.get("family")
    if family is None:
        return []
    return [text for _, text in metadata_notes(network.metadata, options_of(family))]


def _by_operators(settings: Settings, network: Network, items: list[Item]) -> str:
    """Say what the operators between condition and outputs let through."""
    known = {item.name: item.value for item in items}
    if network.census is None or "condition" not in known:
        return "not tried"
    census = network.census
    if "input layout" in known:
        census = split_stated(settings, network)[0].census or census
    found = census(known["condition"], _names(network))
    if found.quantised:
        return f"no: {found.quantised[0]} is quantised"
    if found.connected and not found.complete:
        return "not tried"
    if found.connected:
        return "yes, by its operators"
    return f"no: it stops at {found.stops[0]}" if found.stops else "no"


def _gated(
    settings: Settings, data: str, network: Network | None
) -> tuple[OpenModel, str]:
    """Open a model, and say whether it passes the gates or why not."""
    model = open_unchecked(settings, data, network)
    try:
        return pass_gates(model), "yes"
    except ModelError as error:
        return model, f"no: {error}"


def _with_data(model: OpenModel, verdict: str, config: ScanConfig) -> Inspection:
    notes = [*_outside(model), *(message for _, message in model.gates.warnings)]
    found = _describe(
        model.network, model.outputs, list(model.items), config, verdict, notes
    )
    gates = model.gates.record()
    found = replace(
        found, forward_error=model.forward_error, gates=gates, ranges=_ranges(model)
    )
    return _with_plan(found, model, config) if verdict == "yes" else found


def _with_plan(found: Inspection, model: OpenModel, config: ScanConfig) -> Inspection:
    """Return an inspection with the plan of its scan, or why that would stop."""
    try:
        opened = checked(settings_of(config), model, model.gates)
        prepared = prepared_for(config, False, opened)
        threads = crew(config, prepared)
    except AuditError as error:
        said = f"a scan would stop: {error}"
        return replace(found, warnings=[*found.warnings, said])
    plan = replace(prepared.questions.plan, threads=threads)
    return replace(found, plan=plan.record())


def _with_open_questions(
    network: Network, config: ScanConfig, error: AuditError
) -> Inspection:
    """Return what is known where a scan would stop, and a command that goes on."""
    suggested = suggested_config(network, config)
    if suggested is not None:
        changed, why = suggested
        try:
            found = _with_data(
                *_gated(settings_of(changed), config.data, network), changed
            )
        except AuditError:
            found = None
        if found is not None:
            notes = [f"open: {error}", f"the command below is a suggestion: {why}"]
            return replace(found, warnings=[*notes, *found.warnings])
    items, warnings = _declared(settings_of(config), network)
    notes = [str(error), *(w for w in warnings if not w.startswith(error.given))]
    return _describe(network, network.outputs, items, config, "not tried", notes)


def _ranges(model: OpenModel) -> dict[str, tuple[float, float]]:
    """Return the least and the largest number of each tensor on the rows tried."""
    codes = {port.name for port in model.network.inputs if port.coded}
    given = {n: v for n, v in model.probe.values.items() if n not in codes}
    tensors = {**given, **model.probe.outputs}
    found = {name: range_of(value) for name, value in tensors.items()}
    return {name: ends for name, ends in found.items() if ends is not None}


def _describe(
    network: Network,
    outputs: tuple[Port, ...],
    items: list[Item],
    config: ScanConfig,
    differentiable: str,
    warnings: list[str],
) -> Inspection:
    opset = network.details.get("opset")
    return Inspection(
        network.format,
        file_records(network),
        network.weights_sha256,
        opset if isinstance(opset, int) else None,
        [(p.name, p.declared, p.shape or ()) for p in network.inputs],
        [(p.name, p.dtype, p.shape or ()) for p in outputs],
        next((i.value for i in items if i.name == "contract"), "parameters"),
        [(item.name, item.value, item.origin) for item in items],
        differentiable,
        scan_command(config),
        warnings=warnings,
    )


def _declared(settings: Settings, network: Network) -> tuple[list[Item], list[str]]:
    """Resolve what the declarations alone tell, and what they leave open."""
    items: list[Item] = []
    warnings = []
    try:
        items += _resolved(settings, network)
    except ConfigError as error:
        warnings.append(str(error))
    return items, warnings


def _resolved(settings: Settings, network: Network) -> Iterator[Item]:
    """Yield the items of the contract in order, until one cannot be told."""
    contract = resolve_contract(settings, network)
    if contract.value == "parameters":
        yield from resolve_roles(settings, network, ()).items
        yield from resolve_head(settings, network, _names(network)).items
        return
    yield contract
    network, layout = split_stated(settings, network)
    yield from layout
    roles = resolve_implicit_roles(settings, network, (), contract.value)
    yield from roles.items
    names = _names(network)
    yield from resolve_implicit_head(settings, network, names, roles).items


def _names(network: Network) -> list[str]:
    return [port.name for port in network.outputs]


def _outside(model: OpenModel) -> list[str]:
    phi = model.density.parameter_map(*model.rows(model.probe_index()))
    broken = model.density.family.violations(phi)
    return [f"on the rows tried, {why}" for why, rows in broken.items() if rows.any()]


def scan_command(config: ScanConfig) -> str:
    """Return the scan command to paste."""
    parts = ["robaudit", "scan", config.model.path, config.data or "DATA.npz"]
    parts += _flags(config.model)
    if settings_of(config).finite_differences:
        parts += ["--method", config.method]
    return shlex.join(parts)


def _flags(model: ModelConfig) -> list[str]:
    flags = ["--family", model.family] if model.family else []
    for name, text in model.parameters.items():
        flags += ["--param", f"{name}={text}"]
    for name, value in model.options.items():
        flags += ["--option", f"{name}={value}"]
    if model.condition:
        key = f"={model.condition_key}" if model.condition_key else ""
        flags += ["--condition", model.condition + key]
    for name, value in model.held.items():
        flags += ["--held", f"{name}={value}"]
    for name in _PLAIN:
        value = getattr(model, name)
        if value is not None and value != "input":
            flags += ["--" + name.replace("_", "-"), str(value)]
    return [*flags, "--trust-model"] if model.trust_model else flags
