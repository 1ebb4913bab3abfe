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
from onnx.inliner import inline_local_functions

from audit.ground.errors import ConfigError, NotInference
from audit.importer.drawing import Draw, Reading
from audit.importer.noise_rows import fix_rows, given, is_call, of_a_row
from audit.importer.reaching import ALONE, LIKE
from audit.importer.refused_draws import label
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
        proto = inline_local_functions(proto)
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
    calls = [draw for draw in draws if is_call(draw, proto)]
    one_row = bool(calls)
    first: int | str | None = draws[0].shape[0] if draws[0].shape else 1
    counts = [math.prod(of_a_row(draw, proto)) for draw in draws]
    picks = reading.branching(draws)
    exposure = Exposure(
        _free_name(proto),
        law,
        sum(counts),
        tuple(draw.label for draw in draws),
        one_row,
        "" if picks is None else label(picks),
    )
    writer = Writer(exposure, _kind(draws, reading), reading)
    new = _written(proto, writer, draws, counts, 1 if one_row else first)
    if calls:
        fix_rows(new, calls[0], set(given(proto)))
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
