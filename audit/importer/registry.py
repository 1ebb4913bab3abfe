"""The table of operators: (domain, name, first opset) -> a function on tensors.

An operator is a plain function. Its positional parameters are the ONNX inputs, its
keyword-only parameters are the ONNX attributes with the defaults of the standard, so an
attribute that the function does not name is refused when the graph is loaded. A
parameter called `site` receives the `Site` of the call. Where versions differ, several
functions carry the same name with different `since`; the newest one that is not newer
than the graph's opset is used.

    @operator("MyOp", domain="com.example", zero_inputs=(1,))
    def my_op(x: Tensor, index: Tensor, *, alpha: float = 1.0) -> Tensor: ...

A package adds operators by an entry point of the group `robaudit.onnx_operators` that
names a module with such functions. A model file can add none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, TypeVar

import torch

from audit.ground.errors import NotInference, UnsupportedOperator
from audit.ground.plugins import plugged
from audit.importer.values import Policy, Value

if TYPE_CHECKING:
    from audit.importer.program import Node

Function = TypeVar("Function", bound=Callable[..., object])
DOMAIN_ALIASES = {"ai.onnx": ""}


@dataclass(frozen=True)
class Site:
    """Where an operator is called: its node, and how the graph is evaluated."""

    node: Node
    policy: Policy
    input_types: tuple[int | None, ...] = ()

    def input_type(self, position: int) -> int | None:
        """Return the declared element type of an input, where it is known."""
        known = self.input_types
        return known[position] if position < len(known) else None

    def wants(self, output: int) -> bool:
        """Return whether anybody named the output at this position."""
        return output < len(self.node.outputs) and bool(self.node.outputs[output])

    def dtype(self, onnx_type: int) -> torch.dtype:
        """Return the torch type for an ONNX element type."""
        return self.policy.dtype_of(onnx_type)

    def refuse(self, what: str, next_step: str = "") -> UnsupportedOperator:
        """Return the error for a form of this operator that is not implemented."""
        return UnsupportedOperator(
            f"{self.node.label}: {what}",
            "Expected a form of the operator that is implemented",
            next_step or "Export it otherwise, or use --method finite-difference",
        )

    def refuse_training(self) -> NotInference:
        """Return the error for an operator that is in training mode."""
        refused = self.refuse(
            "it is in training mode",
            "Export the model in eval mode; where its masks are meant to be drawn, as "
            "in Monte Carlo dropout, pass --noise-in-graph SEED",
        )
        return NotInference(refused.given, refused.expected, refused.next_step)


@dataclass(frozen=True)
class Operator:
    """One version of one operator, and what is known about its derivative.

    Args:
        host: positions of the inputs read as plain numbers (axes, sizes, ...).
        zero_derivative: no derivative passes, whichever the input.
        zero_inputs: positions of the inputs that no derivative passes through.
        zero_outputs: positions of the outputs that no derivative passes through.
        only: attribute -> the values that are implemented.
        pure: equal inputs give equal outputs, so calls may be folded and merged.
        quantised: it rounds to numbers of few bits or computes with such; where it
            lets no derivative pass, what passes is hidden from backward passes.
        bounded: it checks the sizes of what it makes by itself (see `foresight`).
    """

    domain: str
    name: str
    since: int
    run: Callable[..., Value]
    host: frozenset[int] = frozenset()
    zero_derivative: bool = False
    zero_inputs: frozenset[int] = frozenset()
    zero_outputs: frozenset[int] = frozenset()
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    pure: bool = True
    quantised: bool = False
    bounded: bool = False

    def passes(self, source: int, output: int) -> bool:
        """Return whether a derivative can pass from an input to an output."""
        blocked = source in self.zero_inputs or output in self.zero_outputs
        return not (self.zero_derivative or blocked)


_OPERATORS: dict[tuple[str, str], list[Operator]] = {}
_HOST: dict[str, Callable[..., Value]] = {}


def operator(
    *names: str,
    since: int = 1,
    domain: str = "",
    host: tuple[int, ...] = (),
    zero_derivative: bool = False,
    zero_inputs: tuple[int, ...] = (),
    zero_outputs: tuple[int, ...] = (),
    only: Mapping[str, tuple[object, ...]] | None = None,
    pure: bool = True,
    quantised: bool = False,
    bounded: bool = False,
) -> Callable[[Function], Function]:
    """Register a function under one or more operator names (see `Operator`)."""

    def register(function: Function) -> Function:
        flat = quantised and zero_derivative
        run = torch.no_grad()(function) if flat else function
        for name in names:
            entry = Operator(
                domain,
                name,
                since,
                run,  # type: ignore[arg-type]
                frozenset(host),
                zero_derivative,
                frozenset(zero_inputs),
                frozenset(zero_outputs),
                only or {},
                pure,
                quantised,
                bounded,
            )
            _OPERATORS.setdefault((domain, name), []).append(entry)
        return function

    return register


def host_operator(*names: str) -> Callable[[Function], Function]:
    """Register the NumPy twin of an operator, used for shape arithmetic."""

    def register(function: Function) -> Function:
        for name in names:
            _HOST[name] = function  # type: ignore[assignment]
        return function

    return register


def find(domain: str, name: str, opset: int) -> Operator | None:
    """Return the version of an operator that an opset means, or None."""
    _load_operators()
    versions = _OPERATORS.get((DOMAIN_ALIASES.get(domain, domain), name), [])
    known = [entry for entry in versions if entry.since <= opset]
    return max(known, key=lambda entry: entry.since, default=None)


def find_host(domain: str, name: str) -> Callable[..., Value] | None:
    """Return the NumPy twin of an operator of the default domain, or None."""
    _load_operators()
    return None if DOMAIN_ALIASES.get(domain, domain) else _HOST.get(name)


@cache
def _load_operators() -> None:
    package = import_module("audit.importer.ops")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    for plugin in plugged("onnx_operators").values():
        plugin.load()


@cache
def required_inputs(function: Callable[..., Value]) -> tuple[str, ...]:
    """Return the positional parameters, "" for those that may be absent."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return ()
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return tuple(
        "" if p.default is not p.empty or "None" in str(p.annotation) else p.name
        for p in parameters
        if p.kind in positional
    )


@cache
def is_variadic(function: Callable[..., Value]) -> bool:
    """Return whether a function takes any number of inputs (or does not say)."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return True
    return any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)


@cache
def attributes_of(function: Callable[..., Value]) -> dict[str, inspect.Parameter]:
    """Return the keyword-only parameters of a function: its attributes."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # a built-in of torch: it takes tensors only
        return {}
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
