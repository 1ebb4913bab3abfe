"""The laws of every loader, to run over a new one.

check_loader(load, "model.toy", {"x": x})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from audit.ground.checking import answering, demand
from audit.models import Loader
from audit.models.network import Network, to_tensors

_CLOSE = 1e-4  # relative, between float32 and float64


def check_loader(
    load: Loader,
    path: str | Path,
    inputs: Mapping[str, ArrayLike],
    *,
    trusted: bool = False,
) -> None:
    """Hold a loader to the laws of robaudit's own suite.

    Args:
        load: (path, device, trusted, cuts) -> Network.
        path: a saved model.
        inputs: a few rows of each of its inputs, by name.
        trusted: whether its loading may run code.

    Raises:
        LawBroken: names the law, what was expected and what found.
    """
    name = getattr(load, "__qualname__", repr(load))
    with answering(name, "a loader opens a file as a Network, which runs on its rows"):
        _check(name, load, path, inputs, trusted)


def _check(
    name: str,
    load: Loader,
    path: str | Path,
    inputs: Mapping[str, ArrayLike],
    trusted: bool,
) -> None:
    found = load(Path(path), torch.device("cpu"), trusted, frozenset())
    law = "a loader gives a Network"
    demand(isinstance(found, Network), name, law, "Network", type(found).__name__)
    declared, given = {port.name for port in found.required}, set(inputs)
    law = "the network declares its inputs"
    demand(declared <= given, name, law, sorted(given), sorted(declared))
    law = "the files that it read are named, with the digest of their bytes"
    demand(bool(found.files), name, law, "at least one", found.files)
    arrays = {key: np.asarray(value) for key, value in inputs.items()}
    values = to_tensors(arrays, found)
    _computes(name, found, values)
    _is_loaded_again(name, found, values)


def _computes(name: str, network: Network, values: Mapping[str, Tensor]) -> None:
    once, again = network.call(values), network.call(values)
    law = "equal inputs give equal outputs, by name"
    same = bool(once) and all(torch.equal(once[key], again[key]) for key in once)
    demand(same, name, law, once, again)
    outputs = {port.name for port in network.outputs}
    law = "the outputs are those that it declares"
    demand(outputs <= set(once), name, law, sorted(outputs), sorted(once))
    moved = {
        key: value.clone().requires_grad_() if value.is_floating_point() else value
        for key, value in values.items()
    }
    results = [v for v in network.call(moved).values() if v.is_floating_point()]
    law = "a gradient passes from a floating input to an output"
    demand(any(v.requires_grad for v in results), name, law, "a gradient", "none")
    own = {v.dtype for v in results}
    law = "it computes in the type that it says"
    demand(network.dtype in own, name, law, network.dtype, own)


def _is_loaded_again(name: str, network: Network, values: Mapping[str, Tensor]) -> None:
    again, double = network.again(), network.double()
    law = "weights_sha256 is that of the weights, however often they are loaded"
    digests = network.weights_sha256, again.weights_sha256
    demand(digests[0] == digests[1] != "", name, law, *digests)
    law = "double computes the same in float64"
    demand(double.dtype == torch.float64, name, law, torch.float64, double.dtype)
    wide = {k: v.double() if v.is_floating_point() else v for k, v in values.items()}
    here, there = network.call(values), double.call(wide)
    for key, value in here.items():
        gap = (there[key] - value).abs().max() / value.abs().max().clamp_min(1e-30)
        demand(bool(gap < _CLOSE), name, law, value.tolist(), there[key].tolist())
