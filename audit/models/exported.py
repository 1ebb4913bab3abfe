"""torch.export archives (`.pt2`).

The archive's graph is turned into a module. For float64 the exporter's guards (they
insist on its own types) are left out, and casts between floating types that it wrote
down are widened, so that the whole graph runs in one precision.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.fx import GraphModule
from torch.fx.node import Argument, map_aggregate
from torch.utils._pytree import tree_unflatten

from audit.ground.errors import InputError, ModelError, boundary, cause
from audit.ground.storage import StoredFile
from audit.importer import Graph
from audit.models.exported_census import exported_census
from audit.models.exported_control import run_plainly
from audit.models.identity import hash_values
from audit.models.metadata import KEY, read_metadata
from audit.models.network import Call, Network, Port, Values, taken_once
from audit.models.outputs import name_outputs
from audit.models.probing import baked_device
from audit.models.torch_constants import program_values
from audit.models.torch_to_graph import graph_of_module
from audit.models.torchscript import own_dtype, own_error, refuse_cuts
from audit.models.untrusted import checked_program, stored_model

_ALWAYS = 2  # rows: the least that a tracer writes down for any number of them


def load(
    path: Path, device: torch.device, trusted: bool, cuts: frozenset[str]
) -> Network:
    """Open a torch.export archive.

    Raises:
        ModelError: it is no such archive, could run code, or is damaged.
    """
    refuse_cuts(path, cuts)
    with boundary(
        f"'{path.name}' cannot be read as a torch.export archive",
        "Expected what torch.export.save writes",
        "Export it again with the torch installed here, or to ONNX",
        ModelError,
    ):
        return _network(stored_model(path), device, trusted, None)


def _open(stored: StoredFile, trusted: bool) -> tuple[ExportedProgram, str]:
    """Load an archive that has been looked into, and the metadata's text."""
    content = io.BytesIO(checked_program(stored, trusted))
    extra = {KEY: ""}
    try:
        with _without_log():
            return torch.export.load(content, extra_files=extra), extra[KEY]
    except Exception as error:  # the loader raises whatever its parts raise
        device = baked_device(str(error))
        if device:
            raise ModelError(
                f"'{stored.path.name}' was saved from the device {device}, which is "
                f"not here ({cause(error)})",
                "Expected a program whose numbers lie where they can be loaded",
                "Export it again after model.cpu(), with an example on the CPU, or "
                f"scan it where there is a {device} device",
            ) from None
        raise ModelError(
            f"'{stored.path.name}' does not load ({cause(error)})",
            f"Expected what torch.export.save of torch {torch.__version__} or older "
            "writes",
            "Export it again with the torch installed here, or to ONNX",
        ) from None


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Keep torch from logging the trace of an error that it raises as well."""
    logger = logging.getLogger("torch.export")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


class _Export:
    """The program as a graph, made when it is first asked for: that takes seconds."""

    def __init__(self, program: ExportedProgram, device: torch.device) -> None:
        self._program, self._device = program, device
        self._made: list[Graph | None] = []

    def __call__(self, inputs: list[str], outputs: list[str]) -> Graph | None:
        """Return the graph, None if the program does not export."""
        if not self._made:
            made = graph_of_module(self._program, inputs, outputs, {}, self._device)
            self._made.append(made)
        return self._made[0]


def _network(
    stored: StoredFile,
    device: torch.device,
    trusted: bool,
    dtype: torch.dtype | None,
    export: _Export | None = None,
) -> Network:
    program, text = _open(stored, trusted)
    export = export or _Export(program, device)
    state = [*program.named_parameters(), *program.named_buffers()]
    own = dtype or own_dtype([tensor for _, tensor in state])
    digest = hash_values(program_values(program))
    module = program.module(check_guards=dtype is None)
    assert isinstance(module, GraphModule)
    run_plainly(module)
    if dtype is not None:
        retype(module, dtype)
    module.to(device).requires_grad_(False)
    ports, constants = _ports(program, dtype), _constants(program)

    def graph(_: Values) -> Graph | None:
        names = [port.name for port in ports if port.name not in constants]
        found = export(names, _results(program))
        return found if dtype is None or found is None else found.to(dtype)

    return Network(
        format="pt2",
        files=(stored,),
        inputs=ports,
        outputs=(),
        call=_calling(program, module, constants),
        weights_sha256=digest,
        dtype=own,
        device=device,
        again=lambda: _network(stored, device, trusted, None),
        double=cache(lambda: _network(stored, device, trusted, torch.float64, export)),
        metadata=read_metadata(text, stored.path),
        census=taken_once(partial(exported_census, program.graph)),
        graph=graph,
        shared=True,
    )


def _calling(
    program: ExportedProgram, module: GraphModule, constants: Mapping[str, object]
) -> Call:
    """Return the module as a function of the program's arguments by name."""
    names, checks = _arguments(program), _checks(module)

    def call(values: Values) -> dict[str, Tensor]:
        flat = [
            _kept(name, constants[name], values) if name in constants else values[name]
            for name in names
        ]
        arguments, named = tree_unflatten(flat, program.call_spec.in_spec)
        try:
            found = module(*arguments, **named)
        except RuntimeError as error:
            if str(error) in checks:
                raise own_error(error, values) from None
            raise
        return name_outputs(found)

    return call


def _checks(module: GraphModule) -> set[str]:
    """Return what the program's own assertions say where they fail."""
    nodes = [node for node in module.graph.nodes if "_assert_" in str(node.target)]
    return {arg for node in nodes for arg in node.args if isinstance(arg, str)}


def _ports(program: ExportedProgram, dtype: torch.dtype | None) -> tuple[Port, ...]:
    wanted = set(_arguments(program))
    ports = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            value = node.meta.get("val")
            if isinstance(value, Tensor):
                floating = value.dtype.is_floating_point
                kind = dtype if dtype and floating else value.dtype
                shape = tuple(a if isinstance(a, int) else str(a) for a in value.shape)
                name = str(kind).removeprefix("torch.")
                batches = _batches(program, value) if value.dim() else None
                ports.append(Port(node.name, name, shape, batches=batches))
            else:
                ports.append(Port(node.name, default=str(value)))
    return tuple(sorted(ports, key=lambda port: port.default is not None))


def _batches(program: ExportedProgram, value: Tensor) -> range | None:
    """Return the sizes that the leading axis of an input may have; None: any.

    The exporter writes bounds of a size, and one that is a formula, a s + b with the
    size s of a dimension, has a as its step.
    """
    size = value.shape[0]
    if isinstance(size, int):
        return None
    formula = size.node.expr
    bounds = program.range_constraints.get(formula)
    symbols = list(formula.free_symbols)
    if bounds is None or len(symbols) != 1:
        return None
    first, second, third = (int(formula.subs(symbols[0], s)) for s in (1, 2, 3))
    step, lower = second - first, max(int(bounds.lower), 1)
    upper = int(bounds.upper) if bounds.upper < sys.maxsize else sys.maxsize
    if step == 1 and lower <= _ALWAYS and upper == sys.maxsize:
        return None
    straight = step > 0 and third - second == step
    if not straight:
        return None
    return range(lower + (first - lower) % step, upper + 1, step) or None


def _arguments(program: ExportedProgram) -> list[str]:
    """Return the names of what the program takes, flattened, in order."""
    specs = program.graph_signature.input_specs
    return [spec.arg.name for spec in specs if spec.kind is InputKind.USER_INPUT]


def _results(program: ExportedProgram) -> list[str]:
    """Return the names of what comes out, flattened, in order."""
    specs = program.graph_signature.output_specs
    given = [spec.arg for spec in specs if spec.kind is OutputKind.USER_OUTPUT]
    leaves = [
        arg.value if isinstance(arg, ConstantArgument) else torch.empty(0)
        for arg in given
    ]
    assert program.call_spec.out_spec is not None
    return list(name_outputs(tree_unflatten(leaves, program.call_spec.out_spec)))


def _constants(program: ExportedProgram) -> dict[str, object]:
    """Return the arguments that are no tensors: the program was made for one value."""
    return {
        spec.arg.name: spec.arg.value
        for spec in program.graph_signature.input_specs
        if isinstance(spec.arg, ConstantArgument)
    }


def _kept(name: str, value: object, values: Values) -> object:
    """Return the value that the program was made for."""
    if name in values and bool(torch.as_tensor(values[name] != value).any()):
        raise InputError(
            f"The input '{name}' is held at another value than {value}",
            f"The program was exported for {name}={value}, and has no other",
            f"Leave --held {name} out, or export it again",
        )
    return value


def retype(module: GraphModule, dtype: torch.dtype) -> None:
    """Convert weights and constants, and the casts between floating types."""
    module.to(dtype)
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor) and value.is_floating_point():
                setattr(part, name, value.to(dtype))
        if isinstance(part, GraphModule):
            _retype_calls(part, dtype)


def _retype_calls(module: GraphModule, dtype: torch.dtype) -> None:
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
            continue
        node.args = map_aggregate(node.args, lambda a: _wider(a, dtype))
        node.kwargs = map_aggregate(node.kwargs, lambda a: _wider(a, dtype))
    module.recompile()


def _wider(argument: Argument, dtype: torch.dtype) -> Argument:
    if isinstance(argument, torch.dtype) and argument.is_floating_point:
        return dtype
    return argument
