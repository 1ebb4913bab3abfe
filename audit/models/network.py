"""A saved file, opened: named tensors in, named tensors out.

What a network computes is not yet a distribution; the contract says that. All formats
look alike from here on. A network runs in its own dtype and device, and nothing in it
requires a gradient but what is put in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.ground.errors import ModelError
from audit.ground.storage import StoredFile
from audit.importer import Graph
from audit.models.class_maps import matrix_of

TEXT = "string"  # the type of an input of text
Values = Mapping[str, Tensor]
Call = Callable[[Values], dict[str, Tensor]]


@dataclass(frozen=True)
class Port:
    """An input or output as the file declares it.

    Args:
        name: the tensor's name.
        dtype: torch's name for its type ("float32"), `TEXT`, "" where undeclared.
        shape: its axes, numbers where fixed, names or None where not; None where the
            file does not say.
        default: of an input, the value it has where none is given, as text.
        coded: whether its integers are codes of texts (`texts`).
        batches: the sizes that its leading axis may have; None: any.
    """

    name: str
    dtype: str = ""
    shape: tuple[int | str | None, ...] | None = None
    default: str | None = None
    coded: bool = False
    batches: range | None = None

    def __str__(self) -> str:
        sizes = ["?" if a in (None, "") else str(a) for a in self.shape or ()]
        axes = "…" if self.shape is None else ", ".join(sizes)
        return f"{self.name} {self.dtype or '?'}[{axes}]"

    @property
    def fixed_batch(self) -> int | None:
        """The leading axis where it is a number, else None."""
        first = self.shape[0] if self.shape else None
        return first if isinstance(first, int) else None

    @property
    def is_integer(self) -> bool:
        """Whether it is declared as integers or booleans: no gradient passes."""
        return self.dtype.startswith(("int", "uint", "bool"))

    @property
    def declared(self) -> str:
        """Its type in the file."""
        return TEXT if self.coded else self.dtype

    @property
    def is_text(self) -> bool:
        """Whether it is declared as text."""
        return self.dtype == TEXT

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """Its type; None where undeclared.

        Raises:
            ModelError: it is text.
        """
        if self.is_text:
            raise ModelError(
                f"The input '{self.name}' holds text, and was to be given numbers",
                "Text is held from the data or at a value",
                f"Pass --held {self.name}=TEXT, or a key of the data",
            )
        found = getattr(torch, self.dtype) if self.dtype else None
        assert found is None or isinstance(found, torch.dtype)
        return found


@dataclass(frozen=True)
class Census:
    """Whether a derivative can pass from the condition to the outputs.

    Args:
        connected: some path consists of differentiable operators alone.
        stops: operators on the way that let no derivative through, in order.
        quantised: operators on the way that round to numbers of few bits or compute
            with such: what passes there is hidden from a derivative.
        complete: whether every operator that stops a derivative is known.
    """

    connected: bool
    stops: tuple[str, ...]
    quantised: tuple[str, ...] = ()
    complete: bool = True


Take = Callable[[str, Sequence[str]], Census]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A differentiable function of named tensors, and what its file says about it.

    Args:
        format: "onnx", "torchscript" or "pt2".
        files: the model file and what belongs to it (external data).
        inputs: in order, those that have defaults last.
        outputs: as declared; they may be empty where only a run can tell (TorchScript).
        call: inputs by name -> outputs by name.
        weights_sha256: hash of all it computes with, which survives a new export.
        dtype: the floating type the file computes in.
        device: where it computes.
        metadata: the contract found in the file, {} if none.
        details: what a reader may want to know besides (opset, operators), by name.
        again: loads the file once more, as it is.
        double: loads it once more, in float64.
        reference: the same file run by onnxruntime; None for other formats.
        census: (condition, outputs) -> what lies between them.
        locate: (inputs, condition) -> the first operator whose derivative with respect
            to the condition (None: whose value) is not onnxruntime's; "" if unknown.
            None: values differ, though each operator makes onnxruntime's of its inputs.
        behind: (output, link, axes of the output) -> the tensor inside whose link
            (softmax over the last axis, or sigmoid) it is; None if it is none.
        part: outputs -> the file computing these alone, where that is cheaper.
        graph: a few rows of every input -> the imported graph, None if there is none.
        passed: inputs that come out again, under their names, beside the outputs.
        beside: those of them that the file itself does not take.
        rows: of one call, where running it has shown that: 1, 0 for a file without a
            batch axis, B for a batch that is fixed; None where the shapes tell.
        shared: whether several threads may call it at the same time: it writes nothing
            but its results. Of code that nobody here knows, no.
    """

    format: str
    files: tuple[StoredFile, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    call: Call
    weights_sha256: str
    dtype: torch.dtype
    device: torch.device
    again: Callable[[], Network]
    double: Callable[[], Network]
    metadata: Mapping[str, object] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)
    reference: Call | None = None
    census: Take | None = None
    locate: Callable[[Values, str | None], str | None] | None = None
    behind: Callable[[str, str, int], str | None] | None = None
    part: Callable[[tuple[str, ...]], Call] | None = None
    graph: Callable[[Values], Graph | None] | None = None
    passed: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    rows: int | None = None
    shared: bool = False

    def dtype_of(self, name: str) -> torch.dtype:
        """Return the type an input takes: as declared, else the file's own."""
        return self.input(name).torch_dtype or self.dtype

    @property
    def required(self) -> tuple[Port, ...]:
        """The inputs that have no default."""
        return tuple(port for port in self.inputs if port.default is None)

    def only(self, outputs: Sequence[str]) -> Call:
        """Return the file as a call that gives these outputs, perhaps among others."""
        return self.call if self.part is None else self.part(tuple(outputs))

    def rewired(self, wire: Callable[[Call], Call], **known: Any) -> Network:  # noqa: ANN401
        """Return the file called in another way, and its referee likewise.

        Args:
            wire: the file's own call -> the other one.
            known: fields of the other network, by name; whatever looks into the file
                (`locate`, `part`, `graph`) is not known where it is not given.
        """
        changes: dict[str, Any] = dict.fromkeys(("locate", "part", "graph"))
        changes |= {"call": wire(self.call)} | known
        changes["reference"] = self.reference and wire(self.reference)
        return replace(self, **changes)

    def input(self, name: str) -> Port:
        """Return the input called `name`."""
        return next(port for port in self.inputs if port.name == name)


def taken_once(census: Take) -> Take:
    """Return a census that looks once at each question; gates ask it several times."""

    @cache
    def known(condition: str, outputs: tuple[str, ...]) -> Census:
        return census(condition, outputs)

    return lambda condition, outputs: known(condition, tuple(outputs))


def carried(network: Network, change: Callable[[Network], Network]) -> Network:
    """Return a network after a change that survives loading it again, or in float64."""
    return replace(
        change(network),
        again=lambda: carried(network.again(), change),
        double=lambda: carried(network.double(), change),
    )


def calling(graph: Graph) -> Call:
    """Return a graph as a function of named tensors; other values are left out.

    An input that has a default may be given.
    """

    def call(values: Values) -> dict[str, Tensor]:
        optional = {n: values[n] for n in graph.optional_names if n in values}
        results = graph(*(values[name] for name in graph.input_names), **optional)
        named = {
            name: value if isinstance(value, Tensor) else matrix_of(value)
            for name, value in zip(graph.output_names, results, strict=True)
        }
        return {name: v for name, v in named.items() if v is not None}

    return call


def described(value: NDArray[np.generic]) -> str:
    """Return a value as text: the number if it is one, else its type and shape."""
    if value.size == 1:
        return str(value.reshape(-1)[0])
    return f"{value.dtype.name}{list(value.shape)}"


def to_tensors(
    arrays: Mapping[str, NDArray[np.generic]], network: Network
) -> dict[str, Tensor]:
    """Return arrays as tensors in the types the file declares, on its device."""
    tensors = {}
    for name, array in arrays.items():
        dtype = network.input(name).torch_dtype
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if dtype is None and tensor.is_floating_point():
            dtype = network.dtype
        tensors[name] = tensor.to(device=network.device, dtype=dtype)
    return tensors
