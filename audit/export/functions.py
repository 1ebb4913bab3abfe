"""A function and the modules it reaches, as one module.

`lambda x: Normal(net(x), 1)` computes with `net` and does not hold it. To be audited
without a change to `net` it is rebuilt on copies: what its closure and the globals it
names hold of modules and tensors becomes a part of one module, which is copied, frozen
and turned to float64 as any other, and each call runs the same code on these parts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import CellType, FunctionType

from torch import Tensor, nn


class Function(nn.Module):
    """A callable as a module.

    Args:
        function: anything that can be called and is no module.
        seen: the functions that are being looked into.
    """

    def __init__(
        self, function: Callable[..., object], seen: frozenset[int] = frozenset()
    ) -> None:
        super().__init__()
        if isinstance(function, partial) and isinstance(function.func, FunctionType):
            inner = Function(function.func, seen)
            function = partial(inner, *function.args, **function.keywords)
        self.function = function
        self.parts = nn.ModuleDict()
        self.places: dict[str, str] = {}
        for place, value in reached(function):
            self._keep(place, value, seen | {id(function)})

    def _keep(self, place: str, value: object, seen: frozenset[int]) -> None:
        """Make a module, a tensor or another function a part of this one."""
        name = f"part_{len(self.places)}"
        if isinstance(value, FunctionType):
            inner = None if id(value) in seen else Function(value, seen)
            if inner is None or not inner.places:
                return
            value = inner
        self.places[place] = name
        if isinstance(value, Tensor):
            self.register_buffer(name, value.detach())
        elif isinstance(value, nn.Module):
            self.parts[name] = value

    def forward(self, *inputs: object, **others: object) -> object:
        """Call the function with the parts as they are now."""
        if not isinstance(self.function, FunctionType):
            return self.function(*inputs, **others)
        return self._bound(self.function)(*inputs, **others)

    @property
    def signature(self) -> inspect.Signature:
        """What the function takes.

        Raises:
            ValueError, TypeError: it does not say.
        """
        own = self.function
        if isinstance(own, partial) and isinstance(own.func, Function):
            own = partial(own.func.function, *own.args, **own.keywords)
        return inspect.signature(own)

    def _bound(self, function: FunctionType) -> FunctionType:
        parts = {place: self._part(name) for place, name in self.places.items()}
        inside = {p[7:]: v for p, v in parts.items() if p.startswith("global.")}
        cells = function.__closure__ or ()
        closure = tuple(
            CellType(parts[f"closure.{name}"]) if f"closure.{name}" in parts else cell
            for name, cell in zip(function.__code__.co_freevars, cells, strict=True)
        )
        bound = FunctionType(
            function.__code__,
            {**function.__globals__, **inside} if inside else function.__globals__,
            function.__name__,
            function.__defaults__,
            closure,
        )
        bound.__kwdefaults__ = function.__kwdefaults__
        return bound

    def _part(self, name: str) -> object:
        return self.parts[name] if name in self.parts else getattr(self, name)


def reached(function: object) -> Iterator[tuple[str, object]]:
    """Yield the modules, tensors and functions that a callable computes with.

    Yields:
        (where it is, "closure.net", what it is).
    """
    for place, value in _held(function):
        if isinstance(value, (nn.Module, Tensor)) or (
            isinstance(value, FunctionType) and isinstance(function, FunctionType)
        ):
            yield place, value


def _held(function: object) -> Iterator[tuple[str, object]]:
    if isinstance(function, FunctionType):
        cells = function.__closure__ or ()
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
            try:
                yield f"closure.{name}", cell.cell_contents
            except ValueError:  # it is not bound yet
                continue
        for name in function.__code__.co_names:
            value = function.__globals__.get(name)
            ours = not isinstance(value, FunctionType) or (
                value.__module__ == function.__module__
            )
            if value is not None and ours:
                yield f"global.{name}", value
    elif isinstance(function, partial):
        yield from _numbered((function.func, *function.args))
        yield from function.keywords.items()
    else:
        owner = getattr(function, "__self__", None)
        yield "self", owner
        thing = owner if owner is not None else function
        yield from getattr(thing, "__dict__", {}).items()


def _numbered(values: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    yield from ((str(place), value) for place, value in enumerate(values))
