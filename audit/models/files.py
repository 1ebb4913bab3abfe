"""Open a model file: what it is, its content tells."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch

from audit.ground.errors import ConfigError, ModelError, cause
from audit.ground.plugins import fault
from audit.ground.tracking import located
from audit.models import LOADERS
from audit.models.contract import Settings
from audit.models.expressions import Expression
from audit.models.network import Network, carried
from audit.models.onnx_file import load_exposed, load_straight_through, load_values
from audit.models.told import misnamed, told_by_content


def open_network(settings: Settings, inside: Collection[str] = ()) -> Network:
    """Open the model file alone.

    Args:
        settings: what the user said.
        inside: tensors inside an ONNX graph that become outputs, beside those that
            expressions read as @name.

    Raises:
        ConfigError: nothing tells the format, or the device does not exist.
        ModelError: the file is missing, empty, damaged, not trusted, or no model; or a
            reference to MLflow leads to none.
    """
    path = located(settings.model.path)
    _look_at(path)
    device = device_of(settings.model.device)
    cuts, kind = cuts_of(settings) | frozenset(inside), told_by_content(path)
    network = _opened(path, kind, device, cuts, settings)
    note = misnamed(path, kind)
    if not note:
        return network
    return carried(
        network, lambda each: replace(each, details={**each.details, "told": note})
    )


def _opened(
    path: Path,
    kind: str,
    device: torch.device,
    cuts: frozenset[str],
    settings: Settings,
) -> Network:
    if settings.model.noise_in_graph is not None:
        return _exposed(path, kind, device, cuts, settings)
    if settings.finite_differences and kind == ".onnx":
        return load_values(path, device, cuts)
    if settings.straight_through:
        return _straight_through(path, kind, device, cuts)
    load = LOADERS[kind]
    if device.type == "cuda" and kind != ".onnx":
        torch.backends.cudnn.enabled = (
            False  # its GRUs have a gradient in training only
        )
    network = load(path, device, settings.model.trust_model, cuts)
    if not isinstance(network, Network):
        given = type(network).__name__
        raise fault("loaders", load, f"gives {given}, not a Network (audit.plugins)")
    return network


def _exposed(
    path: Path,
    kind: str,
    device: torch.device,
    cuts: frozenset[str],
    settings: Settings,
) -> Network:
    """Open a graph with its random operators drawing from an input."""
    seed = settings.model.noise_in_graph
    assert seed is not None
    if kind != ".onnx":
        raise ConfigError(
            f"--noise-in-graph was given for '{path.name}'",
            "It is for ONNX graphs, whose random operators can be made an input",
            "Export the model to ONNX, or save it with its noise as an input and name "
            "that with --noise",
        )
    if settings.finite_differences or settings.straight_through:
        raise ConfigError(
            f"--noise-in-graph was given with --method {settings.method}",
            "A graph that is rewritten is differentiated by the importer alone",
            "Leave --method out",
        )
    if settings.model.noise is not None:
        raise ConfigError(
            f"--noise {settings.model.noise} was given with --noise-in-graph {seed}",
            "A file has one base noise: an input of its own, or what its random "
            "operators draw",
            "Leave one of the two out; a file that has both is to be exported with "
            "all of its noise in one input",
        )
    return load_exposed(path, device, cuts, seed)


def _straight_through(
    path: Path, kind: str, device: torch.device, cuts: frozenset[str]
) -> Network:
    if kind == ".onnx":
        return load_straight_through(path, device, cuts)
    raise ConfigError(
        f"--method straight-through was given for '{path.name}'",
        "It is for quantised ONNX graphs (QuantizeLinear, DequantizeLinear)",
        "Leave --method out, or export the model to ONNX",
    )


def _look_at(path: Path) -> None:
    if not path.exists():
        raise ModelError(
            f"There is no model file '{path}'",
            "Expected " + ", ".join(LOADERS),
            "Check the path of MODEL",
        )
    if path.is_dir():
        raise ModelError(
            f"'{path}' is a folder", "Expected one file", "Give the file in it"
        )
    if not path.is_file():
        raise ModelError(
            f"'{path}' is a pipe or a device",
            "Expected a file, which is read more than once",
            "Write the model to a file",
        )
    if path.stat().st_size == 0:
        raise ModelError(
            f"The model file '{path}' is empty (0 bytes)",
            "Expected a saved model",
            "Save or copy it again",
        )


def device_of(name: str) -> torch.device:
    """Return a device that is there.

    Raises:
        ConfigError: it is not.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device '{name}' cannot be used ({cause(error)})",
            "Expected cpu, cuda or cuda:0",
            "Leave --device out to run on the CPU",
        ) from None
    if device.type == "cuda":
        compute_exactly()
    return device


def compute_exactly() -> None:
    """Let CUDA compute single precision as such, and the same each time.

    By default a convolution rounds its factors to 10 bits (TF32), which moves a third
    digit, and cuDNN chooses kernels whose sums depend on the order of threads.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def cuts_of(settings: Settings) -> frozenset[str]:
    """Return the internal tensors that --param expressions read as @name."""
    texts = map(Expression, settings.model.parameters.values())
    return frozenset(
        name[1:] for text in texts for name in text.names if name.startswith("@")
    )
