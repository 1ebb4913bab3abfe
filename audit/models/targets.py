"""The data's own θ, to hold a model against: `--target-key`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.families.observed import tells_support
from audit.ground.errors import ConfigError, InputError
from audit.inputs import Inputs, list_keys, open_inputs, split_spec
from audit.models.opened import OpenModel

_WITHOUT = "or leave --target-key out"


def read_targets(
    model: OpenModel, key: str, index: NDArray[np.int64], memory: int
) -> Tensor:
    """Return θ of some inputs [n, *event] in float64, on the model's device.

    Args:
        model: the open model.
        key: of the data file.
        index: the inputs [n].
        memory: bytes that a compressed array may take.

    Raises:
        ConfigError: the data have no such key.
        InputError: θ has another shape, is not finite, or no law of the family has it;
            or the data changed since they were opened.
    """
    path = model.inputs.path
    found = list_keys(path)
    if key not in found:
        raise ConfigError(
            f"--target-key {key} was given, and '{path}' has no such key",
            "Its keys are " + (", ".join(sorted(found)) or "none"),
            f"Name the one that holds θ, {_WITHOUT}",
        )
    opened = open_inputs(path, {"θ": key}, memory)
    _check_file(model, opened)
    event = model.density.family.event_shape
    rows = opened.take("θ", index)
    theta = torch.from_numpy(rows.astype(np.float64))
    theta = _shaped(theta, key, event)
    bad = ~torch.isfinite(theta).unsqueeze(-1).flatten(1).all(dim=1)
    if bool(bad.any()):
        raise InputError(
            f"In '{path}', θ '{key}' of input {index[int(bad.nonzero()[0])]} is not "
            f"finite ({int(bad.sum())} of {len(theta)} rows)",
            "Expected a number for every coordinate of θ",
            f"Clean the data, audit other inputs with --index, {_WITHOUT}",
        )
    return theta.to(model.network.device)


def read_beside(
    data: str, key: str, rows: int, memory: int, required: bool
) -> NDArray[np.generic] | None:
    """Return the array [N, ...] that the data hold under a key.

    Args:
        data: the data, as the user named them.
        key: of the array.
        rows: N, of the model's inputs.
        memory: bytes that compressed arrays may take.
        required: whether it has to be there.

    Returns:
        None where it is not there and need not be.

    Raises:
        InputError: it is not there, is no array of numbers, or has another length.
    """
    path = split_spec(data)[0]
    known = list_keys(path)
    if key not in known:
        if not required:
            return None
        raise InputError(
            f"'{path}' has no key '{key}' for --target-key",
            "Its keys are " + (", ".join(sorted(known)) or "none"),
            "Name the one that holds θ, or leave the option out",
        )
    found = open_inputs(path, {key: key}, memory)
    if found.n != rows:
        raise InputError(
            f"In '{path}' the key '{key}' has {found.n} rows, the model's input {rows}",
            "Expected one θ for each input",
            "Save both with the same rows, or name another --target-key",
        )
    return found.take(key, np.arange(rows))


def _check_file(model: OpenModel, opened: Inputs) -> None:
    if opened.sha256 != model.inputs.sha256:
        raise InputError(
            f"'{model.inputs.path}' changed while the scan ran",
            "θ and the inputs have to come from the same bytes",
            "Scan again while nobody writes them",
        )
    if opened.n != model.inputs.n:
        raise InputError(
            f"θ has {opened.n} rows, and there are {model.inputs.n} inputs",
            "Expected one θ for every input",
            f"Correct the data, {_WITHOUT}",
        )


def _shaped(theta: Tensor, key: str, event: tuple[int, ...]) -> Tensor:
    """Return θ [n, *event]; axes of length one may be missing or too many."""
    given = tuple(theta.shape[1:])
    if [s for s in given if s != 1] != [s for s in event if s != 1]:
        raise InputError(
            f"θ '{key}' has the shape {list(given)} for one input",
            f"The model's law has θ of the shape {list(event)}",
            f"Name another key with --target-key, {_WITHOUT}",
        )
    return theta.reshape(len(theta), *event)


def check_support(
    model: OpenModel, phi: Tensor, theta: Tensor, index: NDArray[np.int64]
) -> None:
    """Refuse θ that no law of the family has, or no law of the model.

    Args:
        model: the open model.
        phi: φ [n, p] at the inputs.
        theta: [n, *event].
        index: of the inputs [n].

    Raises:
        InputError: names the first such input.
        ConfigError: the family has no density.
    """
    family = model.density.family
    try:
        outside = torch.isneginf(family.log_likelihood(theta.unsqueeze(0), phi)[0])
    except NotImplementedError:
        raise ConfigError(
            f"--target-key was given for the family {family.name}",
            "A likelihood takes a density, and it has none",
            "Leave --target-key out",
        ) from None
    fixed = family.parametric and tells_support(family.distribution(phi[:1]))
    if bool(outside.all()) or (fixed and bool(outside.any())):
        row = int(outside.nonzero()[0])
        law = family.name if family.parametric else "the file's density"
        raise InputError(
            f"θ of input {index[row]} is {_short(theta[row])}, which {law} excludes "
            f"({int(outside.sum())} of {len(theta)} rows)",
            "Expected values that the law can take: classes counted from 0, counts "
            "that are whole, scales that are positive",
            f"Check --target-key and the units of θ, {_WITHOUT}",
        )


def _short(theta: Tensor) -> str:
    values = [f"{value:g}" for value in theta.reshape(-1)[:4].tolist()]
    more = ", …" if theta.numel() > 4 else ""
    return values[0] if theta.numel() == 1 else f"[{', '.join(values)}{more}]"
