"""A torch module in memory as a network: it works on copies, and changes nothing.

What is copied is put into evaluation mode, its parameters ask for no gradient, and
`again` makes another copy of what was given at first, so that a module which remembers
its calls is found out.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from audit.ground.errors import ModelError
from audit.models.exported import retype
from audit.models.identity import hash_values
from audit.models.network import Call, Network, Port, Values
from audit.models.outputs import name_outputs
from audit.models.torch_to_graph import graph_of_module
from audit.models.torchscript import METHODS, fitted, own_dtype

REFEREE = "a fresh copy of the live module (onnxruntime would need a file)"
Wrap = Callable[[nn.Module], nn.Module]
Part = Callable[[nn.Module, tuple[str, ...]], Call | None]
_PLAIN = (bool, int, float, str)
_NUMBERS = (*_PLAIN, Tensor)


@dataclass(frozen=True)
class Live:
    """A module as it was given, and how it is read.

    Args:
        module: a copy of it that nobody runs.
        device: where its copies run.
        wrap: what is made of a copy before it is run.
        ports: its inputs; None: as the signature of what is run says.
        document: the contract that it brings.
        part: (what is run, outputs) -> what computes these alone, where that is less.
    """

    module: nn.Module
    device: torch.device
    wrap: Wrap = field(default=lambda module: module)
    ports: tuple[Port, ...] | None = None
    document: Mapping[str, object] = field(default_factory=dict)
    part: Part | None = None

    def network(self, dtype: torch.dtype | None = None) -> Network:
        """Return the module as a network of its own type, or of another.

        Raises:
            ModelError: it cannot be copied, or its signature says nothing.
        """
        found = still(self.module).to(self.device)
        own = dtype or own_dtype([tensor for _, tensor in _state(found)])
        digest = hash_values(described(found))
        module = self.wrap(found if dtype is None else retyped(found, dtype))
        module = module if dtype is None else module.to(dtype)
        called = Called.of(module, self.ports)
        ports = self.ports or called.ports
        part, names = self.part, [p.name for p in ports if p.default is None]
        return Network(
            format="live",
            files=(),
            inputs=ports,
            outputs=tuple(Port(name) for name in called.methods if name != "forward"),
            call=called.named,
            weights_sha256=digest,
            dtype=own,
            device=self.device,
            again=self.network,
            double=cache(lambda: self.network(torch.float64)),
            metadata=self.document,
            details={"referee": REFEREE},
            part=part and (lambda outputs: part(module, outputs) or called.named),
            graph=lambda example: graph_of_module(
                module, names, list(called.named(example)), example, self.device
            ),
        )


@dataclass(frozen=True)
class Called:
    """A module as a function of named tensors.

    Args:
        module: what is called.
        methods: its methods, each with its arguments.
    """

    module: nn.Module
    methods: Mapping[str, Sequence[Argument]]

    @classmethod
    def of(cls, module: nn.Module, ports: Sequence[Port] | None = None) -> Called:
        """Return a module with the arguments that are known, or that it declares.

        Raises:
            ModelError: it has nothing to call.
        """
        if ports is not None:
            return cls(module, {"forward": [Argument(port.name) for port in ports]})
        methods = methods_of(module)
        return cls(module, {name: arguments_of(module, name) for name in methods})

    @property
    def ports(self) -> tuple[Port, ...]:
        """The arguments of all methods, those with a default last.

        Raises:
            ModelError: a signature does not name them.
        """
        found: dict[str, Port] = {}
        for one in (each for known in self.methods.values() for each in known):
            if one.name not in found or one.default is None:
                found[one.name] = Port(one.name, default=one.default)
        if found and all(port.default is not None for port in found.values()):
            name = next(iter(found))  # of forward(self, x=None) the first one counts
            found[name] = replace(found[name], default=None)
        if found:
            return tuple(sorted(found.values(), key=lambda p: p.default is not None))
        raise ModelError(
            f"The {type(self.module).__name__} does not say what inputs it takes",
            "Expected a forward(x, ...) with named arguments",
            "Wrap it in a function whose arguments have names: lambda x: model(x)",
        )

    def results(self, values: Values) -> dict[str, object]:
        """Return what each method gives, whatever it is."""
        return {name: self._result(name, values) for name in self.methods}

    def named(self, values: Values) -> dict[str, Tensor]:
        """Return forward's outputs by name, or one for each method.

        Raises:
            ModelError: something other than a tensor came out, or nothing.
        """
        found: dict[str, Tensor] = {}
        for name, result in self.results(values).items():
            found |= name_outputs(result if name == "forward" else {name: result})
        if not found:
            raise ModelError(
                "The model gives nothing back: its outputs hold no tensor",
                "Expected a distribution or its parameters",
                "Return one of these",
            )
        return found

    def _result(self, method: str, values: Values) -> object:
        inputs: list[object] = []
        others: dict[str, object] = {}
        for place, one in enumerate(self.methods[method]):
            if one.name not in values:
                continue  # it has its default
            value = fitted(one.name, one.declared, values[one.name])
            if one.by_name or len(inputs) < place:
                others[one.name] = value
            else:
                inputs.append(value)
        run = self.module if method == "forward" else getattr(self.module, method)
        return run(*inputs, **others)


@dataclass(frozen=True)
class Argument:
    """One argument of a method, by its name and its annotation."""

    name: str
    declared: str = ""
    default: str | None = None
    by_name: bool = False


def still(module: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose parameters ask for no gradient.

    Raises:
        ModelError: it cannot be copied.
    """
    try:
        found = copy.deepcopy(module)
    except Exception as error:  # whatever a part of it raises
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"The {type(module).__name__} cannot be copied ({reason})",
            "A scan works on a copy, so that it changes nothing",
            "Keep no result of a computation in the module (detach() it), or save the "
            "model and give the path",
        ) from None
    with contextlib.suppress(NotImplementedError):  # torch.export fixes the mode
        found.eval()
    for parameter in found.parameters():
        parameter.requires_grad_(False)
    return found


def retyped(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a module with all its numbers in another type, constants included."""
    module.to(dtype)
    for part in module.modules():
        if isinstance(part, GraphModule):
            retype(part, dtype)
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor) and value.is_floating_point():
                setattr(part, name, value.to(dtype))
    return module


def methods_of(module: nn.Module) -> list[str]:
    """Return what is called: forward, or where there is none the methods of a density.

    Raises:
        ModelError: there is nothing to call.
    """
    if getattr(module.forward, "__name__", "") != "_forward_unimplemented":
        return ["forward"]
    found = [name for name in METHODS if callable(getattr(module, name, None))]
    if found:
        return found
    raise ModelError(
        f"The {type(module).__name__} has no forward",
        "Expected one, or the methods log_prob and sample",
        "Pass the module that computes the distribution",
    )


def arguments_of(module: nn.Module, method: str) -> list[Argument]:
    """Return the named arguments of a method; none where it does not say."""
    try:
        told = getattr(module, "signature", None)
        found = told or inspect.signature(getattr(module, method))
    except (TypeError, ValueError):
        return []
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        Argument(
            one.name,
            getattr(one.annotation, "__name__", str(one.annotation)),
            None if one.default is one.empty else str(one.default),
            one.kind is one.KEYWORD_ONLY,
        )
        for one in found.parameters.values()
        if one.kind not in several
    ]


def _state(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def described(module: nn.Module) -> Iterator[tuple[str, object]]:
    """Yield what a module computes with: its tensors, numbers, texts and classes."""
    for name, part in module.named_modules():
        yield name, type(part).__qualname__
        for key, value in sorted(vars(part).items()):
            if isinstance(value, _NUMBERS) and not key.startswith(("_", "training")):
                yield f"{name}.{key}", value
        code = getattr(getattr(part, "function", None), "__code__", None)
        if code is not None:
            yield f"{name}.code", [code.co_code, str(code.co_names)]
            yield f"{name}.constants", [one for one in code.co_consts if _is_plain(one)]
    yield from _state(module)


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN)
