"""Exports of activations whose constants ONNX would round to float32.

An attribute of an ONNX node is a float32, and 0.1 is none: a graph with it is another
network than a module that runs in float64. Where an exporter would write such a number
the activation is written with constants of float64 instead:

    leaky relu    PRelu with a constant slope
    elu           α elu₁(v) + (1 − α) relu(v)
    celu          α elu₁(v / α)
    hard sigmoid  v / 6 + ½, kept between 0 and 1

An RMS norm has no operator before opset 23, and is v · (mean v² + e)^(−½) · weight.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

OPSET = 18
_Written = Callable[..., Any]


@contextlib.contextmanager
def exact_slopes() -> Iterator[None]:
    """Have torch's exporter of scripts write these activations so, for a while."""
    exporter: Any = torch.onnx
    names = {f"aten::{name}": write for name, write in _WRITTEN.items()}
    for name, write in names.items():
        exporter.register_custom_op_symbolic(name, write, OPSET)
    try:
        yield
    finally:
        for name in names:
            exporter.unregister_custom_op_symbolic(name, OPSET)


def _constant(graph: Any, number: float) -> Any:  # noqa: ANN401
    return graph.op("Constant", value_t=torch.tensor(number, dtype=torch.float64))


def _number(value: Any) -> float:  # noqa: ANN401
    from torch.onnx import symbolic_helper

    return float(symbolic_helper._maybe_get_const(value, "f"))


def _exact(number: float) -> bool:
    """Tell whether float32 has a number."""
    return float(np.float32(number)) == number


def _leaky(graph: Any, v: Any, slope: float) -> Any:  # noqa: ANN401
    if _exact(slope):
        return graph.op("LeakyRelu", v, alpha_f=slope)
    return graph.op("PRelu", v, _constant(graph, slope))


def _leaky_relu(graph: Any, v: Any, slope: Any, inplace: Any = None) -> Any:  # noqa: ANN401
    return _leaky(graph, v, _number(slope))


def _rrelu(graph: Any, v: Any, low: Any, high: Any, train: Any, *_: Any) -> Any:  # noqa: ANN401
    ends = _number(low), _number(high)
    if not _number(train):
        return _leaky(graph, v, sum(ends) / 2)
    drawn = graph.op("RandomUniformLike", v, low_f=ends[0], high_f=ends[1])
    return graph.op("PRelu", v, drawn)


def _elu(graph: Any, v: Any, alpha: Any, scale: Any, inner: Any) -> Any:  # noqa: ANN401
    number = _number(alpha)
    if _number(scale) != 1 or _number(inner) != 1:
        raise NotImplementedError("an elu of two scales")
    if _exact(number):
        return graph.op("Elu", v, alpha_f=number)
    bent = graph.op("Mul", graph.op("Elu", v), _constant(graph, number))
    rest = graph.op("Mul", graph.op("Relu", v), _constant(graph, 1 - number))
    return graph.op("Add", bent, rest)


def _celu(graph: Any, v: Any, alpha: Any) -> Any:  # noqa: ANN401
    number = _constant(graph, _number(alpha))
    return graph.op("Mul", graph.op("Elu", graph.op("Div", v, number)), number)


def _hard_sigmoid(graph: Any, v: Any) -> Any:  # noqa: ANN401
    six, half, none, one = (_constant(graph, k) for k in (6.0, 0.5, 0.0, 1.0))
    line = graph.op("Add", graph.op("Div", v, six), half)
    return graph.op("Clip", line, none, one)


def _rms_norm(graph: Any, v: Any, shape: Any, weight: Any, epsilon: Any) -> Any:  # noqa: ANN401
    from torch.onnx import symbolic_helper

    count = len(symbolic_helper._maybe_get_const(shape, "is"))
    axes = graph.op("Constant", value_t=torch.arange(-count, 0))
    given = symbolic_helper._maybe_get_const(epsilon, "f")
    least = given if isinstance(given, float) else torch.finfo(torch.float64).eps
    square = graph.op("ReduceMean", graph.op("Mul", v, v), axes, keepdims_i=1)
    square = graph.op("Add", square, _constant(graph, least))
    found = graph.op("Mul", v, graph.op("Pow", square, _constant(graph, -0.5)))
    none = symbolic_helper._is_none(weight)
    return found if none else graph.op("Mul", found, weight)


_WRITTEN: dict[str, _Written] = {
    "leaky_relu": _leaky_relu,
    "leaky_relu_": _leaky_relu,
    "rrelu": _rrelu,
    "elu": _elu,
    "elu_": _elu,
    "celu": _celu,
    "hardsigmoid": _hard_sigmoid,
    "rms_norm": _rms_norm,
}
