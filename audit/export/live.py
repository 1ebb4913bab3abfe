"""A live model as a network: modules, functions, distributions, trained estimators.

    module or function -> tensors       read as a file is: family=, parameters=, names
    module or function -> distribution  the parameters of its family, else its density
    zuko, nflows, sbi                   as `export_posterior` would write them

What is returned has the contract inside that an exported file would have. Nothing that
was given is changed: all of it works on copies.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch import distributions as td

from audit.export.contracts import density_contract, mixture_contract
from audit.export.densities import Density, unvalidated
from audit.export.estimators import take_apart
from audit.export.functions import Function
from audit.export.general import General
from audit.export.mixtures import Components
from audit.export.named import Named, Parameters, named_law
from audit.export.roles import Role, require_parameters, require_told, told_by
from audit.export.routes import known_route, refusal
from audit.ground.errors import AuditError, ConfigError, ModelError
from audit.models.contract import Settings
from audit.models.expressions import quoted
from audit.models.files import device_of
from audit.models.live import REFEREE, Called, Live, Wrap, still
from audit.models.network import Call, Network, Port, Values
from audit.models.probing import first_rows, list_keys
from audit.models.torchscript import live_network, own_dtype

__all__ = ["Network", "open_live"]
NOISE = "z"  # an input of a density beside the condition and the target


def open_live(model: object, settings: Settings, data: str = "") -> Network:
    """Return a live model as a network, with its contract if it brings one.

    Args:
        model: a module, a function, or an estimator of zuko, nflows or sbi.
        settings: what the user said; its device is where the model runs.
        data: the inputs, on some of which it is tried; "" if there are none.

    Raises:
        ConfigError: it is none of these.
        ModelError: it cannot be copied, or gives nothing that can be audited.
        InputError: the data cannot be read.
    """
    device = device_of(settings.model.device)
    if isinstance(model, torch.jit.ScriptModule):
        return live_network(model, device, {"referee": REFEREE})
    told = told_by(model)
    module = as_module(told.estimator)
    estimator = is_estimator(module)
    role = told.role or Role.POSTERIOR
    ports = (Port(role.condition),) if estimator else None
    live = Live(still(module), device, ports=ports)
    network = live.network()
    rows = first_rows(settings, data, network) if data else None
    if rows is None:
        return network
    condition, values = rows
    require_parameters(told, list_keys(data))
    require_told(told, told.role, tuple(values[condition].shape[1:]))
    if estimator:
        return _taken_apart(live, *rows).network()
    return _with_contract(live, *rows).network()


def as_module(model: object) -> nn.Module:
    """Return a module, or a function as one.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(model, nn.Module):
        return model
    if callable(model) and not isinstance(model, type):
        return Function(model)
    if known_route(model):
        raise refusal(model)
    of_class = isinstance(model, type)
    name = model.__name__ if isinstance(model, type) else type(model).__name__
    what = f"the class {name}" if of_class else f"of the type {name}"
    raise ConfigError(
        f"The model is {'None' if model is None else what}",
        "Expected a path, a torch module, a function of x that returns a torch "
        "distribution, or an estimator of zuko, nflows or sbi",
        "Pass an instance of it" if of_class else "Pass one of these",
    )


def is_estimator(module: nn.Module) -> bool:
    """Tell whether a module is one of nflows or sbi, known by the names of classes."""
    kinds = type(module).__mro__
    of_sbi = any(kind.__module__.startswith("sbi.") for kind in kinds)
    of_nflows = any(kind.__name__ == "Flow" for kind in kinds)
    return of_sbi or (of_nflows and hasattr(module, "_distribution"))


def _with_contract(live: Live, condition: str, values: dict[str, Tensor]) -> Live:
    """Return the module with the contract that its distribution brings, if any."""
    law = _tried(still(live.module).to(live.device), values)
    if not isinstance(law, td.Distribution):
        return live
    found = named_law(law)
    if found is not None:
        return _named(live, found, condition)
    if len(values) > 1:
        raise ModelError(
            f"The model takes {', '.join(values)} and returns a {type(law).__name__}",
            "With several inputs, expected a distribution of a family with a name here",
            "Return one such, or fix the others: lambda x: model(x, 0)",
        )
    if hasattr(law, "base") and (hasattr(law, "transform") or hasattr(law, "logits")):
        return _taken_apart(live, condition, values)  # as zuko has them
    return _density(live, lambda module: General(module, law), condition, values)


def _tried(module: nn.Module, values: Values) -> object:
    """Return what forward gives; None where it cannot run: the pipeline says why."""
    try:
        with torch.no_grad(), unvalidated():
            return Called.of(module).results(values).get("forward")
    except AuditError:
        raise
    except Exception:  # whatever a part of it raises
        return None


def _named(live: Live, found: Named, condition: str) -> Live:
    names = {name: quoted(name) for name in found.values}
    document: dict[str, object] = {
        "family": found.family,
        "parameters": names,
        "condition": condition,
    }
    return replace(
        live,
        wrap=lambda module: Parameters(module, found.family),
        document=document | found.options,
    )


def _taken_apart(live: Live, condition: str, values: dict[str, Tensor]) -> Live:
    """Return an estimator as `export_posterior` would write it."""
    x = values[condition]

    def wrap(module: nn.Module) -> nn.Module:
        dtype = own_dtype([*module.parameters(), *module.buffers()])
        with torch.no_grad(), unvalidated():
            return take_apart(module, x.to(dtype))[0].eval()

    inside = wrap(still(live.module).to(live.device))
    if isinstance(inside, Density):
        return _density(live, wrap, condition, values)
    assert isinstance(inside, Components)
    with torch.no_grad(), unvalidated():
        document = mixture_contract(inside, list(inside(x)))
    ports = (Port(condition),)
    document["condition"] = condition
    return replace(live, wrap=wrap, ports=ports, document=document)


def _density(live: Live, wrap: Wrap, condition: str, values: dict[str, Tensor]) -> Live:
    """Return a density and its sampler, with the sizes of θ and z."""
    inside = wrap(still(live.module).to(live.device))
    assert isinstance(inside, Density)
    rows = (None, inside.size)
    role = next((r for r in Role if r.condition == condition), Role.POSTERIOR)
    target = role.target
    ports = [Port(condition, shape=(None, *values[condition].shape[1:]))]
    ports += [Port(target, shape=rows)] + [Port(NOISE, shape=rows)] * bool(inside.law)
    space = {"target_space": inside.space} if inside.space else {}
    document = density_contract(inside if inside.law else None, space, role)
    document["condition"] = condition

    def part(module: nn.Module, outputs: tuple[str, ...]) -> Call | None:
        assert isinstance(module, Density)
        found: dict[tuple[str, ...], Call] = {
            ("log_prob",): lambda v: {
                "log_prob": module.log_prob(v[condition], v[target])
            },
            ("sample",): lambda v: {"sample": module.sample(v[condition], v[NOISE])},
        }
        return found.get(outputs)

    return replace(live, wrap=wrap, ports=tuple(ports), document=document, part=part)
