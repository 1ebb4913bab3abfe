"""An ONNX file, and all that is read of it: its message, and the tensors beside it.

Importer, referee and hash need the file at different times. Through this they read one
and the same: it is opened anew each time, and refused if it has changed.

onnxruntime would open what a model names by itself, devices and files of other folders
among it. So it is never told a path: it gets a message that holds every tensor. A
message ends at 2 GiB; what does not fit is handed over beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import (  # type: ignore[import-untyped]
    DecodeError,
    Message,
)
from onnx import ModelProto, TensorProto

from audit.ground.errors import ModelError
from audit.ground.machine import free_memory
from audit.ground.storage import StoredFile, followed
from audit.importer.external import ExternalFiles
from audit.importer.tensors import TensorReader, byte_size

MOST = 2**31 - 1  # bytes of a message
ROOM = 2**31 - 2**27  # of a message that is built here
FREE, REUSE = 2**28, 8  # bytes that tensors may take of a file: these, and so many fold
HELD = (
    4  # times that weights are in memory: as arrays, as tensors, and the referee's two
)
LARGE = 2**20  # bytes of a tensor; smaller ones may be shapes, which must lie within


class OnnxFile:
    """A file on the disk.

    Raises:
        ModelError: it is missing, or no regular file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._stored = _stored(self.path)
        except FileNotFoundError:
            raise ModelError(
                f"There is no file '{path}'", "Expected an ONNX file", "Check the path"
            ) from None
        except OSError as error:
            raise self._unreadable(error) from None
        self.tensors = TensorReader(ExternalFiles(self.path))
        self._weighed = False

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The file, and those beside it that tensors were read from so far."""
        return (self._stored, *self.tensors.files)

    def message(self) -> ModelProto:
        """Return what the file holds; tensors that lie outside stay there.

        Raises:
            ModelError: it is damaged or has changed.
        """
        if self._stored.size > MOST:
            raise self._unreadable(ValueError("it is larger than 2 GiB"))
        try:
            with self._stored.reading() as file:
                proto = onnx.load_model_from_string(file.read())
        except (DecodeError, OSError, ValueError) as error:
            raise self._unreadable(error) from None
        if not proto.HasField("graph"):
            raise ModelError(
                f"'{self.path}' holds no graph",
                "Expected an ONNX model",
                "Export the file again",
            )
        if not self._weighed:  # once: the file cannot change
            self._refuse_overuse(proto)
            self._refuse_too_much(proto)
            self._weighed = True
        return proto

    def _refuse_overuse(self, proto: ModelProto) -> None:
        """Raise if tensors take the same bytes of a file over and over.

        A small file could ask for any amount of memory that way.
        """
        taken: dict[StoredFile, int] = {}
        for tensor in filter(_is_outside, _tensors(proto)):
            file = self.tensors.file_of(tensor)
            taken[file] = taken.get(file, 0) + byte_size(tensor)
            if taken[file] > FREE + REUSE * file.size:
                raise ModelError(
                    f"The tensors of '{self.path.name}' take {taken[file]} bytes and "
                    f"more from '{file.path.name}', which has {file.size}",
                    f"Expected each byte to be used at most {REUSE} times",
                    "Do not use this model unless you know why it does that",
                )

    def _refuse_too_much(self, proto: ModelProto) -> None:
        """Raise if the weights do not fit into the memory that is free."""
        size = self._stored.size
        size += sum(byte_size(one) for one in filter(_is_outside, _tensors(proto)))
        free = free_memory() if size > FREE else None
        if free is not None and HELD * size > free:
            raise ModelError(
                f"The weights of '{self.path.name}' take {size / 2**30:.1f} GiB, and "
                f"{HELD} times that while they are computed with",
                f"Expected at most the {free / 2**30:.1f} GiB of memory that are free",
                "Use a machine with more, or export the part of the model that makes "
                "the distribution",
            )

    def whole(
        self, outputs: Sequence[str] = ()
    ) -> tuple[ModelProto, list[TensorProto]]:
        """Return the message with every tensor in it but those that do not fit.

        Args:
            outputs: tensors inside the graph that become further outputs.

        Raises:
            ModelError: it is damaged or has changed, or a tensor is not there.
        """
        proto = self.message()
        there = {output.name for output in proto.graph.output}
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in outputs if name not in there
        )
        large = _take_large(proto)
        for tensor in filter(_is_outside, _tensors(proto)):
            tensor.CopyFrom(self.tensors.inline(tensor))
        beside = [self.tensors.inline(tensor) for tensor in large]
        for tensor in large:
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value="given beside the message")
        proto.graph.initializer.extend(large)
        return proto, beside

    def _unreadable(self, error: Exception) -> ModelError:
        reason = getattr(error, "strerror", None) or error
        return ModelError(
            f"'{self.path}' is not a readable ONNX file ({reason})",
            "Expected a serialised ModelProto",
            "Export or download the file again; it may be truncated",
        )


def _stored(path: Path) -> StoredFile:
    """Return the file at a path, or the one that a link written as text leads to."""
    real = followed(path)
    return StoredFile.at(path if path.resolve() == real else real)


def _tensors(message: Message) -> Iterator[TensorProto]:
    """Yield every tensor of a message, in subgraphs, attributes and functions too."""
    for _, value in message.ListFields():
        parts = value if _is_repeated(value) else (value,)
        for part in parts:
            if isinstance(part, TensorProto):
                yield part
            elif isinstance(part, Message):
                yield from _tensors(part)


def _is_repeated(value: object) -> bool:
    return not isinstance(value, (Message, str, bytes, int, float))


def _is_outside(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _take_large(proto: ModelProto) -> list[TensorProto]:
    """Take from the graph what would not fit into one message, if it does not fit."""
    size = sum(byte_size(one) for one in filter(_is_outside, _tensors(proto)))
    if proto.ByteSize() + size <= ROOM:
        return []
    large = list[TensorProto]()
    others = list[TensorProto]()
    for tensor in proto.graph.initializer:
        is_large = _is_outside(tensor) and byte_size(tensor) >= LARGE
        copy = TensorProto()
        copy.CopyFrom(tensor)
        (large if is_large else others).append(copy)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(others)
    return large
