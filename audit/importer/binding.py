"""From a node to a function: its operator with the attributes filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from audit.ground.errors import ModelError, NotInference, UnsupportedOperator
from audit.importer import cleanup
from audit.importer.foresight import Foreseen
from audit.importer.places import Body
from audit.importer.program import Node, Reference
from audit.importer.refused import refusal
from audit.importer.registry import (
    Operator,
    Site,
    attributes_of,
    find,
    is_variadic,
    required_inputs,
)
from audit.importer.values import Host, Policy, Value


def operator_of(node: Node) -> Operator:
    """Return the operator that a node means.

    Raises:
        UnsupportedOperator: there is none, or not with this attribute.
    """
    entry = find(node.domain, node.op, node.opset)
    if entry is None:
        raise refusal(node) or UnsupportedOperator(
            f"{node.label} is not implemented",
            "Expected an operator of the table in audit/importer/ops",
            "Register it (audit/importer/registry.py says how), cut the graph "
            "before it, or use --method finite-difference",
        )
    for name, values in entry.only.items():
        if (given := node.attributes.get(name, values[0])) not in values:
            kind = NotInference if name == "training_mode" else UnsupportedOperator
            raise kind(
                f"{node.label}: {name}={given!r} is not implemented",
                f"Expected {name} in {list(values)}",
                "Export the model in inference mode",
            )
    return entry


def check_inputs(node: Node, entry: Operator) -> None:
    """Refuse a node with an input too many, or without one it cannot do without."""
    required = required_inputs(entry.run)
    if len(node.inputs) > len(required) and not is_variadic(entry.run):
        raise ModelError(
            f"{node.label} has {len(node.inputs)} inputs",
            f"Expected at most {len(required)}",
            "Export the file again",
        )
    given = [*node.inputs, *[""] * (len(required) - len(node.inputs))]
    for position, name in enumerate(required):
        if name and not given[position]:
            raise ModelError(
                f"{node.label} lacks its input number {position + 1} ('{name}')",
                "Expected it, the standard requires it",
                "The file is not valid ONNX (torch's legacy exporter writes some "
                "such files): export it again, with dynamo=True",
            )


def bind(
    node: Node,
    entry: Operator,
    policy: Policy,
    bodies: Mapping[str, Body] | None = None,
    types: tuple[int | None, ...] = (),
) -> Callable[..., Value]:
    """Return the operator's function with a node's attributes filled in."""
    run = bind_function(node, entry.run, policy, bodies, types)
    if len(node.inputs) < 2 or entry.bounded or bodies:
        return run
    return Foreseen(node, run)


def bind_function(
    node: Node,
    run: Callable[..., Value],
    policy: Policy,
    bodies: Mapping[str, Body] | None = None,
    types: tuple[int | None, ...] = (),
) -> Callable[..., Value]:
    """Fill in a function's keyword-only parameters; refuse what it does not know."""
    parameters = attributes_of(run)
    given = {k: v for k, v in node.attributes.items() if k not in cleanup.IGNORED}
    given |= bodies or {}
    for name, value in given.items():
        if name not in parameters or isinstance(value, Reference):
            raise UnsupportedOperator(
                f"{node.label}: the attribute '{name}' is unknown",
                f"Expected one of {sorted(parameters)}",
                "Export with a newer opset",
            )
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in {*given, "site"}
    ]
    if missing:
        raise ModelError(
            f"{node.label} lacks the attribute '{missing[0]}'",
            "Expected it, the standard requires it",
            "Export the file again",
        )
    if "site" in parameters:
        given["site"] = Site(node, policy, types)
    return partial(run, **given) if given else run


def constant_of(node: Node) -> Host:
    """Return the value of a Constant node, whichever attribute holds it."""
    kinds = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_string": object,
        "value_strings": object,
    }
    for key, value in node.attributes.items():
        if key in ("value", "sparse_value") and isinstance(value, np.ndarray):
            return value
        if key in kinds:
            try:
                return np.array(value, kinds[key])
            except (TypeError, ValueError, OverflowError):
                break
    raise ModelError(
        f"{node.label} has no value",
        "Expected the attribute 'value', or another of its kind",
        "Export the file again",
    )
