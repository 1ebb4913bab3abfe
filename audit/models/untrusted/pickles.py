"""The pickles of TorchScript, followed without making anything.

torch's C++ unpickler runs no Python, but it believes what it reads: a tensor may claim
more numbers than its record has, or strides that lead out of it, and then it is made of
whatever lies behind in memory; a memo of four thousand million entries is allocated.
So the same few instructions that torch writes are carried out here on stand-ins, with
Python's care: nothing is popped that is not there, every storage is as long as its
record, and every tensor stays within its storage.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from audit.models.untrusted.stand_ins import (
    SCALES,
    Container,
    Global,
    PickleFault,
    Storage,
    is_count,
    quantised,
    refuse_deep,
    view,
)

_BYTES = {
    **dict.fromkeys(("Byte", "Char", "Bool", "QInt8", "QUInt8", "QUInt4x2"), 1),
    **dict.fromkeys(("Short", "Half", "BFloat16"), 2),
    **dict.fromkeys(("Int", "Float", "QInt32", "ComplexHalf"), 4),
    **dict.fromkeys(("Long", "Double", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
_STORAGES = {f"torch.{kind}Storage": size for kind, size in _BYTES.items()}
_LISTS = {
    f"torch.jit._pickle.build_{k}list" for k in ("int", "bool", "tensor", "double")
}
_TAG = "torch.jit._pickle.restore_type_tag"
_VIEW, _QUANTISED = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_qtensor"
_OTHERS = {"builtins.complex", "collections.OrderedDict", "torch.device"}
_KNOWN = {*_STORAGES, *_LISTS, _TAG, _VIEW, _QUANTISED, *_OTHERS}
_KNOWN |= {SCALES, "torch.per_tensor_affine"}
_CPP = "__torch__.torch.classes."
_OWN_CPP = tuple(f"{_CPP}{name}." for name in ("quantized", "rnn", "sparse"))


def check_pickle(data: bytes, folder: str, sizes: Mapping[str, int]) -> None:
    """Follow a pickle of a TorchScript archive to its end.

    Args:
        data: it.
        folder: where its records are, "data" or "constants".
        sizes: the bytes of every member of the archive, by its name in lower case.

    Raises:
        PickleFault: torch could not load it, or should not.
    """
    try:
        refuse_deep(_Machine(folder, sizes).run(data))
    except PickleFault:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        raise PickleFault("is damaged") from None


class _Machine:
    """The stack and the memo of an unpickler; what it makes are stand-ins."""

    def __init__(self, folder: str, sizes: Mapping[str, int]) -> None:
        self._folder, self._sizes = folder, sizes
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: list[Any] = []

    def run(self, data: bytes) -> Any:  # noqa: ANN401
        """Return what a pickle makes.

        Raises:
            PickleFault: torch could not load it, or should not.
        """
        end = 0
        for opcode, argument, place in pickletools.genops(data):
            if (place == 0) != (opcode.name == "PROTO"):
                raise PickleFault("is in another form than torch writes")
            self.step(opcode.name, argument)
            end = place or 0
        if end != len(data) - 1 or self._below or len(self.stack) != 1:
            raise PickleFault("does not end as torch ends one")
        return self.stack[0]

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """Carry out one instruction.

        Raises:
            PickleFault: torch writes no such instruction.
        """
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _MADE:
            self.stack.append(_MADE[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise PickleFault(f"has the instruction {name}, which torch does not write")

    def proto(self, version: int) -> None:
        if version != 2:
            raise PickleFault(f"is of protocol {version}, and torch writes 2")

    def mark(self, _: None) -> None:
        self._below.append(self.stack)
        self.stack = []

    def put(self, place: int) -> None:
        """Remember the top; torch numbers what it remembers one after the other."""
        if place > len(self._memo):
            raise PickleFault("has a memo with gaps")
        self._memo[place : place + 1] = [self.stack[-1]]

    def get(self, place: int) -> None:
        self.stack.append(self._memo[place])

    def tuple(self, count: int | None) -> None:
        items = self._marked() if count is None else self._popped(count)
        self.stack.append(tuple(items))

    def collect(self, _: None) -> None:
        self.stack.append(Container(self._marked()))

    def extend(self, count: int | None) -> None:
        items = self._marked() if count is None else self._popped(count)
        self.stack[-1].items.extend(items)

    def pairs(self, count: int | None) -> None:
        items = self._marked() if count is None else self._popped(count)
        if len(items) % 2:
            raise PickleFault("has a key without a value")
        self.stack[-1].items.extend(items)

    def globals(self, text: str) -> None:
        found = Global(text.replace(" ", "."))
        foreign = found.name.startswith(_CPP) and not found.name.startswith(_OWN_CPP)
        if foreign or not (found.is_class or found.name in _KNOWN):
            raise PickleFault(f"names {found.name[:60]}")
        self.stack.append(found)

    def newobj(self, _: None) -> None:
        """Drop the empty arguments: `build` makes the object of its class."""
        arguments = self.stack.pop()
        if arguments != () or not self.stack[-1].is_class:
            raise PickleFault("makes something that is no object of the program")

    def build(self, _: None) -> None:
        state, kind = self.stack.pop(), self.stack.pop()
        if not kind.is_class:
            raise PickleFault("makes something that is no object of the program")
        self.stack.append(Container([state]))

    def reduce(self, _: None) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_result(function.name, arguments))

    def persistent(self, _: None) -> None:
        """Take a storage from its record, which must be as long as it says."""
        word, kind, key, device, count = self.stack.pop()
        if word != "storage" or not is_count(count) or device.startswith("meta"):
            raise PickleFault("has a storage in another form than torch writes")
        size = self._sizes.get(f"{self._folder}/{key}".lower(), 0)
        if size != count * _STORAGES[kind.name]:
            raise PickleFault(
                f"says that '{self._folder}/{key}' holds {count} numbers, and it has "
                f"{size} bytes"
            )
        self.stack.append(Storage(count))

    def _marked(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _popped(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise PickleFault("is damaged")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items


def _result(name: str, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Return what a function makes of its arguments."""
    if name == _VIEW:
        return view(*arguments[:4])
    if name == _QUANTISED:
        return quantised(*arguments[:5])
    if name in _LISTS or name == _TAG:
        if not isinstance(arguments[0], Container):
            raise PickleFault("has a list that is none")
        return arguments[0]
    if name in _OTHERS:
        return None
    return Container(list(arguments))


_PUSHED = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINUNICODE8"}
_PUSHED |= {"BINFLOAT"}
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": lambda: Container([]),
    "EMPTY_DICT": lambda: Container([]),
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.proto,
    "STOP": lambda _machine, _: None,
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": _Machine.tuple,
    "TUPLE1": lambda machine, _: machine.tuple(1),
    "TUPLE2": lambda machine, _: machine.tuple(2),
    "TUPLE3": lambda machine, _: machine.tuple(3),
    "LIST": _Machine.collect,
    "APPENDS": _Machine.extend,
    "APPEND": lambda machine, _: machine.extend(1),
    "SETITEMS": _Machine.pairs,
    "SETITEM": lambda machine, _: machine.pairs(2),
    "GLOBAL": _Machine.globals,
    "NEWOBJ": _Machine.newobj,
    "BUILD": _Machine.build,
    "REDUCE": _Machine.reduce,
    "BINPERSID": _Machine.persistent,
}
