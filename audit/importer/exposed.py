"""A graph whose random operators draw from an input: `--noise-in-graph`.

    file      θ = f(x), with RandomNormalLike, Dropout, … inside
    exposed   θ = f(x, z), z [rows, m] of independent numbers of one law

All random operators that the outputs depend on share one input z; each takes its own
columns of it, in the shape it would have drawn, and what it made of them is written
with ordinary operators (`drawing`). The law of z is normal as soon as one operator
draws normal numbers; uniform ones are then u = Φ(z) = (1 + erf(z / √2)) / 2.

An operator that draws for each row has the rows as its first axis. One whose shape is
fixed, such as the weights of a Bayesian layer, draws once a call; so that every input
has noise of its own, such a file is given one row a call. The law of θ at each x is the
same: the rows of a call only share noise with each other, or no longer do.

The graph is rewritten as a message of ONNX, so that our importer and onnxruntime, its
referee, read one and the same.

Source of u = Φ(z): the probability integral transform, Devroye, Non-Uniform Random
Variate Generation (1986), section II.2.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from audit.ground.errors import ConfigError, NotInference
from audit.importer.drawing import ALONE, LIKE, Axes, Draw, Reading
from audit.importer.rewriting import Exposure, Writer
from audit.importer.source import OnnxFile

_OLDEST = 13  # opset that the operators written here have had their form since
_TRIED = ("noise", "base_noise", "noise_in_graph")


class ExposedFile(OnnxFile):
    """A file on the disk, its random operators made an input.

    Args:
        path: where it is.
        inside: tensors inside the graph that are asked for; () for its outputs.

    Raises:
        ModelError: it is missing, or no regular file.
    """

    def __init__(self, path: str | Path, inside: Collection[str] = ()) -> None:
        super().__init__(path)
        self._inside = set(inside)

    def message(self) -> ModelProto:
        """Return the rewritten message.

        Raises:
            ConfigError: the file draws nothing.
            NotInference: what it draws cannot be an input.
            ModelError: it is damaged or has changed.
        """
        copy = ModelProto()
        copy.CopyFrom(self._rewritten[0])
        return copy

    @property
    def exposure(self) -> Exposure:
        """The input that was made."""
        return self._rewritten[1]

    @cached_property
    def _rewritten(self) -> tuple[ModelProto, Exposure]:
        proto = super().message()
        wanted = self._inside or {output.name for output in proto.graph.output}
        return expose(proto, wanted, self.path.name)


def expose(
    proto: ModelProto, wanted: Collection[str], name: str
) -> tuple[ModelProto, Exposure]:
    """Return a graph with its random operators as an input, and what it is.

    Args:
        proto: the model.
        wanted: the tensors that are read.
        name: of the file, for messages.

    Raises:
        ConfigError: no random operator lies on the way to them.
        NotInference: one cannot be an input.
    """
    if _draws_in_functions(proto):
        proto = onnx.inliner.inline_local_functions(proto)
    reading = Reading(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    draws = reading.draws(set(wanted))
    if not draws:
        raise ConfigError(
            f"--noise-in-graph was given, and no output of '{name}' depends on a "
            "random operator",
            f"Expected {', '.join((*ALONE, *LIKE))}, or Dropout in training mode",
            "Leave it out",
        )
    _refuse_old(proto, draws[0])
    law = "normal" if any(draw.law == "normal" for draw in draws) else "uniform"
    calls = [draw for draw in draws if _is_call(draw, proto)]
    one_row = bool(calls)
    first: int | str | None = draws[0].shape[0] if draws[0].shape else 1
    counts = [math.prod(_of_a_row(draw, proto)) for draw in draws]
    exposure = Exposure(
        _free_name(proto),
        law,
        sum(counts),
        tuple(draw.label for draw in draws),
        one_row,
    )
    writer = Writer(exposure, _kind(draws, reading), reading)
    new = _written(proto, writer, draws, counts, 1 if one_row else first)
    if calls:
        _fix_rows(new, calls[0], set(_given(proto)))
    return new, exposure


def _written(
    proto: ModelProto,
    writer: Writer,
    draws: list[Draw],
    counts: list[int],
    first: int | str | None,
) -> ModelProto:
    """Return the graph with each draw replaced by operators on its columns."""
    drawn = {_made_by(draw.node): i for i, draw in enumerate(draws)}
    nodes = []
    for node in proto.graph.node:
        i = drawn.get(_made_by(node))
        if i is None:
            nodes.append(node)
        else:
            nodes += writer.written(draws[i], sum(counts[:i]), counts[i])
    new = ModelProto()
    new.CopyFrom(proto)
    del new.graph.node[:]
    new.graph.node.extend(nodes)
    new.graph.input.append(writer.port(first))
    return new


def _made_by(node: NodeProto) -> str:
    """Return the first tensor that a node makes."""
    return next((name for name in node.output if name), "")


def _kind(draws: list[Draw], reading: Reading) -> int:
    """Return the element type of the input: double where one draw's is."""
    kinds = {reading.type_of(_made_by(draw.node)) for draw in draws}
    double = TensorProto.DOUBLE in kinds
    return int(TensorProto.DOUBLE if double else TensorProto.FLOAT)


def _is_call(draw: Draw, proto: ModelProto) -> bool:
    """Whether a shape has no axis for the rows: it is fixed, and no input's is."""
    if not draw.shape:
        return True
    first = draw.shape[0]
    fixed = {axes[0] for axes in _given(proto).values() if axes}
    return isinstance(first, int) and first not in fixed


def _of_a_row(draw: Draw, proto: ModelProto) -> list[int]:
    """Return the sizes of what a draw takes for each row of the input."""
    axes: Axes = draw.shape if _is_call(draw, proto) else draw.shape[1:]
    return [axis for axis in axes if isinstance(axis, int)]


def _given(proto: ModelProto) -> dict[str, Axes]:
    """Return the inputs that have to be given, and their shapes."""
    kept = {tensor.name for tensor in proto.graph.initializer}
    found = {}
    for info in proto.graph.input:
        if info.name not in kept:
            dims = info.type.tensor_type.shape.dim
            found[info.name] = tuple(
                int(d.dim_value) if d.HasField("dim_value") else d.dim_param or None
                for d in dims
            )
    return found


def _fix_rows(proto: ModelProto, call: Draw, given: set[str]) -> None:
    """Fix the rows of a call at one, and see that this is what comes out.

    Args:
        proto: rewritten. call: an operator that draws once a call.
        given: the inputs that the file had before.

    Raises:
        NotInference: which axis has the rows is not told, or the outputs of one row
            have another number of them, such as that of the exporter's batch.
    """
    shapes = [i.type.tensor_type.shape for i in proto.graph.input if i.name in given]
    firsts = [shape.dim[0] for shape in shapes if shape.dim]
    open_ones = [dim for dim in firsts if not dim.HasField("dim_value")]
    names = {dim.dim_param for dim in open_ones}
    if len(names) > 1 or (len(open_ones) > 1 and "" in names):
        raise _no_rows(call, "several inputs have open axes of different names")
    for dim in open_ones:
        dim.dim_value = 1
    _forget_shapes(proto)
    known = Reading(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    for output in proto.graph.output:
        axes = known.axes_of(output.name)
        if axes is None or not axes or axes[0] != 1:
            shown = "unknown" if not axes else str(axes[0] or "open")
            raise _no_rows(
                call, f"a call of one row gives '{output.name}' a first axis: {shown}"
            )


def _forget_shapes(proto: ModelProto) -> None:
    """Remove what was declared of tensors inside and of the outputs' first axes."""
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        kind = output.type.tensor_type
        if kind.HasField("shape"):
            kind.ClearField("shape")


def _no_rows(draw: Draw, why: str) -> NotInference:
    return NotInference(
        f"{draw.label}: it draws {list(draw.shape)}, with no axis for the rows, and "
        f"{why}",
        "Expected noise for each row, or noise of a fixed size in a graph that gives "
        "one row for one row",
        "Export the model with a dynamic batch axis, its noise drawn like a tensor "
        "that has it (torch.randn_like, torch.randn(len(x), …))",
    )


def _refuse_old(proto: ModelProto, draw: Draw) -> None:
    opset = max((o.version for o in proto.opset_import if not o.domain), default=0)
    if opset < _OLDEST:
        raise NotInference(
            f"{draw.label}: the file has opset {opset}",
            f"--noise-in-graph rewrites graphs of opset {_OLDEST} and newer",
            f"Export the model with opset {_OLDEST} or newer",
        )


def _draws_in_functions(proto: ModelProto) -> bool:
    random = (*LIKE, *ALONE, "Dropout")
    return any(node.op_type in random for f in proto.functions for node in f.node)


def _free_name(proto: ModelProto) -> str:
    """Return a name for the input that no tensor has."""
    graph = proto.graph
    taken = {info.name for info in (*graph.input, *graph.initializer)}
    taken |= {name for node in graph.node for name in node.output}
    tried = (*_TRIED, *(f"noise_in_graph_{i}" for i in range(len(taken) + 1)))
    return next(name for name in tried if name not in taken)
