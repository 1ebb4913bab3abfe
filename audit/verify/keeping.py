"""Writing a file of witnesses (`witness_file` says what is in it).

x and x + δ are numbers of the type that the file computes in, and δ is their
difference: what a runtime is given is then exactly what was measured, in float64 where
the file allows it. Inputs for which no value is a number are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.geometry.divergence import Divergence
from audit.ground.errors import ConfigError
from audit.ground.storage.arrays import Array
from audit.ground.storage.npz import pack
from audit.measure.answers import stacked
from audit.models.contract import Settings
from audit.models.opening import OpenModel
from audit.reports.files import atomic_file
from audit.verify.exact import Exact
from audit.verify.sites import Site
from audit.verify.witness import Witness
from audit.verify.witness_file import KIND, PREFIX, VERSION, value_of

_PASS = 1024  # rows in one pass of the network


@dataclass(frozen=True)
class Found:
    """Witnesses of one divergence at one site."""

    divergence: Divergence
    exact: Exact
    witness: Witness


def save_witness(
    path: str | Path, found: Sequence[Found], model: OpenModel, settings: Settings
) -> int:
    """Write witnesses, whole or not at all, and return how many there are.

    Args:
        path: of the file.
        found: of every divergence and site, in any norms.
        model: as the audit opened it, in the type of the file.
        settings: what the user said about it.

    Raises:
        ConfigError: the law is known by functions of the file alone, or there is none.
        InputError: the file cannot be written.
    """
    if not model.density.family.parametric or model.head.contract != "parameters":
        raise ConfigError(
            f"Witnesses were to be kept of the contract {model.head.contract}",
            "A witness is replayed from the parameters of a named family",
            "Leave out --witness; the values are in the rows file (-o rows.npz)",
        )
    if not found:
        raise ConfigError(
            "There is no witness to keep",
            "Expected an attack worst_case:norm=…, and inputs that are checked",
            "Add --attack worst_case:norm=0.1, or --verify 64",
        )
    names = list(dict.fromkeys(one.divergence.name for one in found))
    columns = stacked(
        [_of_divergence(code, name, found, model) for code, name in enumerate(names)]
    )
    units = found[0].exact.site.questions.frame.at(columns[f"{PREFIX}index"])
    shape = (*units.unit.shape[:-1], -1)
    columns[f"{PREFIX}unit"] = units.units(model.event).reshape(shape)
    said = json.dumps(_about(found[0], names, model, settings), sort_keys=True)
    columns[f"{PREFIX}about"] = np.frombuffer(said.encode(), np.uint8)
    with atomic_file(path) as file:
        pack(file, columns)
    return len(columns[f"{PREFIX}index"])


def _of_divergence(
    code: int, name: str, found: Sequence[Found], model: OpenModel
) -> dict[str, Array]:
    """Return the rows of one divergence, their D taken together."""
    own = [one for one in found if one.divergence.name == name]
    columns = stacked([_predictions(one, model) for one in own])
    site = own[0].exact.site
    index = columns[f"{PREFIX}index"]
    phi, moved = (
        torch.from_numpy(columns[f"{PREFIX}{key}"]).to(site.x.device)
        for key in ("phi", "phi_moved")
    )
    value, error = value_of(
        own[0].divergence, site.point.family, phi, moved, site.noise.of(index)
    )
    return columns | {
        f"{PREFIX}divergence": np.full(len(index), code),
        f"{PREFIX}value": value.cpu().numpy(),
        f"{PREFIX}error": error.cpu().numpy(),
    }


def _predictions(found: Found, model: OpenModel) -> dict[str, Array]:
    """Return the rows of one site, all but D."""
    site, witness = found.exact.site, found.witness
    places = (~witness.value.isnan()).nonzero()
    rows, sizes = places[:, 0], places[:, 1]
    index = site.noise.index[rows.cpu().numpy()]
    x, moved = _points(site, rows, witness.u[rows, sizes], model)
    size = witness.size[rows, sizes]
    columns = {
        "index": torch.from_numpy(index),
        "size": size,
        "p": torch.full_like(size, witness.p),
        "delta": moved - x,
        "phi": _predicted(site, rows, x),
        "phi_moved": _predicted(site, rows, moved),
    }
    named = {f"{PREFIX}{name}": one.cpu().numpy() for name, one in columns.items()}
    return named | _inputs(model, index, x)


def _points(
    site: Site, rows: Tensor, u: Tensor, model: OpenModel
) -> tuple[Tensor, Tensor]:
    """Return x and x + δ [W, d] as numbers of the file's own type, in float64.

    x + δ is rounded towards x: no feature moves further than in δ, in any norm.
    """
    x, delta = site.x[rows].double(), site.frame.taken(rows).push(u)
    if model.space == "parameters":
        return x, x + delta
    own = model.network.dtype_of(model.roles.condition)
    start = x.to(own)
    moved = (start.double() + delta).to(own)
    further = (moved.double() - start.double()).abs() > delta.abs()
    moved = torch.where(further, torch.nextafter(moved, start), moved)
    return start.double(), moved.double()


def _predicted(site: Site, rows: Tensor, x: Tensor) -> Tensor:
    held = {name: values[rows] for name, values in site.held.items()}
    parts = [
        site.model.density.parameter_map(
            x[i : i + _PASS], {name: v[i : i + _PASS] for name, v in held.items()}
        )
        for i in range(0, len(x), _PASS)
    ]
    return torch.cat(parts)


def _inputs(model: OpenModel, index: NDArray[np.int64], x: Tensor) -> dict[str, Array]:
    """Return the model's inputs at some rows, with x as it was rounded."""
    inputs, condition = model.inputs, model.roles.condition
    arrays = {name: inputs.saved(name, index) for name in inputs.arrays}
    if model.space == "input":
        shape = arrays[condition].shape
        arrays[condition] = x.cpu().numpy().reshape(shape)
    source = inputs.arrays[condition]
    if isinstance(source, np.ndarray):
        return arrays
    whole = arrays.pop(condition)  # of several inputs that are perturbed together
    sizes = [math.prod(part.shape[1:]) for part in source.arrays.values()]
    parts = np.split(whole, np.cumsum(sizes)[:-1], axis=1)
    for (name, part), columns in zip(source.arrays.items(), parts, strict=True):
        arrays[name] = columns.reshape(len(index), *part.shape[1:])
    return arrays


def _about(
    found: Found, names: Sequence[str], model: OpenModel, settings: Settings
) -> dict[str, Any]:
    """Return what the file says of itself, as JSON takes it."""
    noise, network, family = found.exact.site.noise, model.network, found.exact.site
    held = {
        name: name if name in model.inputs.arrays else value
        for name, value in model.roles.held.items()
    }
    asked = asdict(settings.model) | {
        "condition": model.roles.condition,
        "condition_key": None,
        "held": held,
        "path": "",
        "trust_model": False,  # that is for whoever replays it to say
    }
    return {
        "kind": KIND,
        "version": VERSION,
        "divergences": list(names),
        "family": family.point.family.name,
        "asked": asked,
        "method": settings.method,
        "model": {
            "format": network.format,
            "weights_sha256": network.weights_sha256,
            "files": [[file.path.name, file.sha256] for file in network.files],
        },
        "noise": {
            "seed": noise.seed,
            "draws": noise.draws,
            "sampling": noise.sampling,
        },
    }
