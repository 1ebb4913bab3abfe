"""The operators that are followed, by how their numbers depend on their operands'."""

from __future__ import annotations

from audit.importer.cleanup import OWN
from audit.importer.plan import Step

POINTWISE = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Where", "Clip"),
        *("Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sign", "Floor", "Ceil"),
        *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Softplus"),
        *("Softsign", "Swish", "Gelu", "Erf", "HardSigmoid", "Sin", "Cos", "Atan"),
        *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "IsNaN"),
        *("And", "Or", "Not", "Xor", "Cast", "FallingSigmoid"),
    )
)
MOVEMENTS = frozenset(
    (
        *("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Identity"),
        *("Slice", "Split", "Gather", "Concat", "Expand", "Tile", "Pad"),
    )
)
REDUCTIONS = frozenset(
    (
        *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"),
        *("ReduceLogSumExp", "ReduceL2", "ReduceSumSquare"),
    )
)
RUNNING = frozenset(("Softmax", "LogSoftmax", "GuardedSoftmax", "CumSum"))
PRODUCTS = frozenset(("Gemm", "MatMul"))
PICK = "GatherElements"


def is_kind(step: Step, kind: frozenset[str]) -> bool:
    """Whether a step's operator is one of these, of the standard or of cleaning up."""
    return step.node.domain in ("", "ai.onnx", OWN) and step.node.op in kind
