"""TorchScript files (`.pt`, `.ts`).

The optimising executor is off: with it results depend on how often a module ran
before, and forward tangents turn to silent zeros after a backward pass (pytorch issues
73972, 84681). TorchScript is deprecated upstream; `.pt2` and ONNX are its successors.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.jit._fuser import optimized_execution

from audit.errors import ModelError
from audit.models.metadata import KEY, hash_tensors, read_metadata
from audit.models.network import Network, Port, Values
from audit.models.outputs import name_outputs
from audit.models.untrusted import refuse_untrusted, torchscript_findings


def load(
    path: Path, device: torch.device, trusted: bool, cuts: frozenset[str]
) -> Network:
    """Open a TorchScript file.

    Raises:
        ModelError: it is no TorchScript, could run code, or is damaged.
    """
    refuse_cuts(path, cuts)
    refuse_untrusted(path, torchscript_findings(path), trusted)
    return _network(path, device, None)


def refuse_cuts(path: Path, cuts: frozenset[str]) -> None:
    """Raise if tensors inside the graph are asked for: only ONNX names them."""
    if cuts:
        raise ModelError(
            f"The expression reads '@{min(cuts)}', a tensor inside '{path.name}'",
            "Only ONNX files can be cut at an internal tensor",
            "Export the model to ONNX, or return that tensor as an output",
        )


def _network(path: Path, device: torch.device, dtype: torch.dtype | None) -> Network:
    module, text = _open(path, device)
    state = [*module.named_parameters(), *module.named_buffers()]
    own = dtype or own_dtype([tensor for _, tensor in state])
    digest = hash_tensors(state)
    if dtype is not None:
        module = module.to(dtype)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    names = _argument_names(module)

    def call(values: Values) -> dict[str, Tensor]:
        with optimized_execution(False):
            return name_outputs(module(*(values[name] for name in names)))

    return Network(
        "torchscript",
        (path,),
        tuple(Port(name) for name in names),
        (),
        call,
        digest,
        own,
        device,
        lambda: _network(path, device, None),
        cache(lambda: _network(path, device, torch.float64)),
        read_metadata(text, path),
    )


def _argument_names(module: torch.jit.ScriptModule) -> list[str]:
    schema = module._c._get_method("forward").schema
    return [argument.name for argument in schema.arguments[1:]]


def _open(path: Path, device: torch.device) -> tuple[torch.jit.ScriptModule, str]:
    """Load a module that has been looked into, and the metadata's text."""
    torch.jit.set_fusion_strategy([])
    extra = {KEY: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            module = torch.jit.load(  # type: ignore[no-untyped-call]
                path, map_location=device, _extra_files=extra
            )
    except Exception as error:  # a broken archive raises whatever its parts raise
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"'{path.name}' does not load as TorchScript ({reason})",
            "Expected what torch.jit.save writes",
            "Save the module again",
        ) from None
    return module.eval(), extra[KEY]


def own_dtype(tensors: list[Tensor]) -> torch.dtype:
    """Return the floating type most parameters have; float32 if there are none."""
    sizes: dict[torch.dtype, int] = {}
    for tensor in tensors:
        if tensor.is_floating_point():
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
    return max(sizes, key=lambda dtype: sizes[dtype], default=torch.float32)
