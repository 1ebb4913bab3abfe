"""TorchScript files (`.pt`, `.ts`).

The optimising executor is off: with it results depend on how often a module ran
before, and forward tangents turn to silent zeros after a backward pass (pytorch issues
73972, 84681). TorchScript is deprecated upstream; `.pt2` and ONNX are its successors.

A module is run in the mode in which it was saved, as a file of another format is: one
saved in training mode, with dropout or batch norm inside, fails its gates.

A module with the methods `log_prob` or `sample` is called through them; each is an
output under its own name. Any other is called through `forward`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.jit._fuser import optimized_execution

from audit.ground.errors import InputError, ModelError, boundary, cause
from audit.ground.storage import StoredFile
from audit.importer import Graph
from audit.models.identity import hash_values
from audit.models.metadata import KEY, read_metadata
from audit.models.network import Call, Network, Port, Values, taken_once
from audit.models.outputs import name_outputs
from audit.models.script_census import script_census
from audit.models.torch_constants import script_values
from audit.models.torch_to_graph import graph_of_module
from audit.models.untrusted import checked_script, stored_model

METHODS = ("log_prob", "sample")  # of a module that is a density with its sampler


def load(
    path: Path, device: torch.device, trusted: bool, cuts: frozenset[str]
) -> Network:
    """Open a TorchScript file.

    Raises:
        ModelError: it is no TorchScript, could run code, or is damaged.
    """
    refuse_cuts(path, cuts)
    with boundary(
        f"'{path.name}' cannot be read as TorchScript",
        "Expected what torch.jit.save writes",
        "Save the module again",
        ModelError,
    ):
        stored = stored_model(path)
        opened = partial(_open, stored, device, trusted)
        return _network(_Source("torchscript", (stored,), opened, device), None)


def live_network(
    module: torch.jit.ScriptModule, device: torch.device, details: Mapping[str, object]
) -> Network:
    """Return a ScriptModule that is in memory: as a file of it would be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = module.save_to_buffer()

    def opened() -> tuple[torch.jit.ScriptModule, str]:
        return _loaded(kept, device, {}).eval(), ""

    return _network(_Source("live", (), opened, device, details), None)


@dataclass(frozen=True)
class _Source:
    """Where a module comes from: `open` gives a new one, and its metadata's text."""

    format: str
    files: tuple[StoredFile, ...]
    open: Callable[[], tuple[torch.jit.ScriptModule, str]]
    device: torch.device
    details: Mapping[str, object] = field(default_factory=dict)


def refuse_cuts(path: Path, cuts: frozenset[str]) -> None:
    """Raise if tensors inside the graph are asked for: only ONNX names them."""
    if cuts:
        raise ModelError(
            f"The expression reads '@{min(cuts)}', a tensor inside '{path.name}'",
            "Only ONNX files can be cut at an internal tensor",
            "Export the model to ONNX, or return that tensor as an output",
        )


def _network(source: _Source, dtype: torch.dtype | None, weights: str = "") -> Network:
    """Return a module of a source, in a type, whose hash may be known."""
    module, text = source.open()
    state = [] if dtype and weights else list(script_values(module))
    own = dtype or own_dtype([value for _, value in state if isinstance(value, Tensor)])
    digest = weights or hash_values(state)
    if dtype is not None:
        module = module.to(dtype)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    methods = _methods(module)
    ports = _ports(module, methods)
    names = [port.name for port in ports if port.default is None]

    def part(outputs: tuple[str, ...]) -> Call:
        wanted = [m for m in methods if m in outputs] or methods
        return partial(_run, module, wanted)

    def graph(example: Values) -> Graph | None:
        if methods != ["forward"] or not set(example) <= set(names):
            return None  # exporters know of no other method, and of required inputs
        outputs = list(_run(module, methods, example))
        return graph_of_module(module, names, outputs, example, source.device)

    return Network(
        format=source.format,
        files=source.files,
        inputs=ports,
        outputs=tuple(Port(name) for name in methods if name != "forward"),
        call=partial(_run, module, methods),
        weights_sha256=digest,
        dtype=own,
        device=source.device,
        again=lambda: _network(source, None),
        double=cache(lambda: _network(source, torch.float64, digest)),
        metadata=read_metadata(text, source.files[0].path) if text else {},
        details=source.details,
        census=taken_once(partial(script_census, module, methods)),
        part=part if len(methods) > 1 else None,
        graph=graph,
        shared=True,
    )


def _methods(module: torch.jit.ScriptModule) -> list[str]:
    """Return what is called: the methods of a density by their names, else forward."""
    known = set(module._c._method_names())
    return [name for name in METHODS if name in known] or ["forward"]


def _run(
    module: torch.jit.ScriptModule, methods: Sequence[str], values: Values
) -> dict[str, Tensor]:
    """Return what the methods give: forward's outputs, or one for each method."""
    found: dict[str, Tensor] = {}
    with optimized_execution(False):
        for method in methods:
            arguments = {
                argument.name: fitted(
                    argument.name, str(argument.type), values[argument.name]
                )
                for argument in _arguments(module, method)
                if not argument.has_default_value() or argument.name in values
            }
            result = _called(getattr(module, method), arguments)
            found |= name_outputs(result if method == "forward" else {method: result})
    return found


def _called(method: Callable[..., Any], arguments: Mapping[str, object]) -> Any:  # noqa: ANN401
    """Return what a method gives.

    Raises:
        ModelError: it raises an error of its own, such as an assertion. It may do so
            where it does not on the data: on one row alone, or on moved inputs.
    """
    try:
        return method(**arguments)
    except torch.jit.Error as error:
        raise own_error(error, arguments) from None


def own_error(error: Exception, arguments: Mapping[str, object]) -> ModelError:
    """Return what is said of an error that a saved program raises on purpose."""
    shapes = [
        f"{name} {list(value.shape)}"
        for name, value in arguments.items()
        if isinstance(value, Tensor)
    ]
    return ModelError(
        "The model cannot be run on the data, or on inputs close to them: it raises an "
        f"error of its own ({cause(error)})",
        f"It was given {', '.join(shapes)}; a scan calls it with any number of rows",
        "Save it in evaluation mode (model.eval()) and without such a check",
    )


def _arguments(module: torch.jit.ScriptModule, method: str) -> list[torch._C.Argument]:
    schema = module._c._get_method(method).schema
    return list(schema.arguments[1:])


def _ports(module: torch.jit.ScriptModule, methods: Sequence[str]) -> tuple[Port, ...]:
    """Return the arguments of all methods, those with a default last."""
    found: dict[str, Port] = {}
    for argument in (a for m in methods for a in _arguments(module, m)):
        optional = argument.has_default_value()
        default = str(argument.default_value) if optional else None
        if argument.name not in found or default is None:
            found[argument.name] = Port(argument.name, default=default)
    return tuple(sorted(found.values(), key=lambda port: port.default is not None))


def fitted(name: str, declared: str, value: Tensor) -> Tensor | float | int | bool:
    """Return a value as the argument takes it: a plain number is one for all rows.

    Args:
        name: of the argument.
        declared: its type, "float", "int", "bool" or any other.
        value: one for each row.

    Raises:
        InputError: the rows have different ones.
    """
    kinds: dict[str, type[float | int | bool]] = {"float": float, "int": int}
    kind = (kinds | {"bool": bool}).get(declared)
    if kind is None:
        return value
    first = value.reshape(-1)[0]
    if bool((value != first).any()):
        raise InputError(
            f"The held input '{name}' differs between the rows of the data",
            f"The model takes one {declared} for a whole batch",
            f"Pass --held {name}=VALUE",
        )
    return kind(first.item())


def _open(
    stored: StoredFile, device: torch.device, trusted: bool
) -> tuple[torch.jit.ScriptModule, str]:
    """Load a module that has been looked into, and the metadata's text."""
    content = checked_script(stored, trusted)
    extra = {KEY: ""}
    try:
        module = _loaded(content, device, extra)
    except Exception as error:  # a broken archive raises whatever its parts raise
        raise ModelError(
            f"'{stored.path.name}' does not load as TorchScript ({cause(error)})",
            "Expected what torch.jit.save writes",
            "Save the module again",
        ) from None
    return module, extra[KEY]


def _loaded(
    content: bytes, device: torch.device, extra: dict[str, str]
) -> torch.jit.ScriptModule:
    torch.jit.set_fusion_strategy([])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(content), map_location=device, _extra_files=extra
        )
    return module


def own_dtype(tensors: list[Tensor]) -> torch.dtype:
    """Return the floating type most parameters have; float32 if there are none."""
    sizes: dict[torch.dtype, int] = {}
    for tensor in tensors:
        if tensor.is_floating_point():
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
    return max(sizes, key=lambda dtype: sizes[dtype], default=torch.float32)
