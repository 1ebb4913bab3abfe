"""How many multiply-adds a node costs, counted from shapes and not from a clock.

A count is the same on every machine and every day, so that the same file is always cut
at the same place. Products of matrices and convolutions are counted exactly; another
operator costs one for each number it writes, a reduction one for each it reads, a view
nothing. A subgraph hides its shapes: it is taken to read its constants once, and to
write as much at each node as the control-flow node does, in every round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from audit.importer.binding import constant_of
from audit.importer.program import Node, Program

Shape = tuple[int, ...]
VIEWS = (
    *("Shape", "Size", "Constant", "Identity", "Reshape", "Flatten", "Squeeze"),
    *("Unsqueeze", "Expand", "ExpandDims", "Dropout", "CastLike"),
)
READERS = ("Reduce", "Global", "Arg", "MaxPool", "AveragePool", "LpPool")


def multiply_adds(node: Node, shapes: Mapping[str, Shape]) -> float:
    """Return the multiply-adds of one call.

    Args:
        node: the call.
        shapes: the shapes of the tensors in the graph, as far as they are known.
    """
    reads = [shapes.get(name, ()) if name else () for name in node.inputs]
    written = [shapes[name] for name in node.outputs if name in shapes]
    if node.op in VIEWS:
        return 0.0
    if any(True for _ in node.bodies()):
        return _subgraphs(node, reads, written)
    count = _COUNTS.get(node.op)
    if count is not None and written and len(reads) > 1:
        return float(count(node, reads, written[0]))
    if node.op.startswith(READERS) and reads:
        return float(prod(reads[0]))
    return float(sum(prod(shape) for shape in written))


def _matmul(node: Node, reads: Sequence[Shape], written: Shape) -> int:
    a = reads[0]
    turned = node.attributes.get("transA", 0)
    return prod(written) * (a[-2 if turned and len(a) > 1 else -1] if a else 1)


def _qlinear_matmul(node: Node, reads: Sequence[Shape], written: Shape) -> int:
    return prod(written) * (reads[0][-1] if reads[0] else 1)


def _conv(node: Node, reads: Sequence[Shape], written: Shape) -> int:
    return prod(written) * prod(reads[1][1:])


def _qlinear_conv(node: Node, reads: Sequence[Shape], written: Shape) -> int:
    return prod(written) * prod(reads[3][1:])


def _conv_transpose(node: Node, reads: Sequence[Shape], written: Shape) -> int:
    return prod(reads[0]) * prod(reads[1][1:])


def _recurrent(node: Node, reads: Sequence[Shape], written: Shape) -> int:
    """Every weight meets every step of every row once: X [T, B, I] or [B, T, I]."""
    return prod(reads[0][:2]) * sum(prod(shape) for shape in reads[1:3])


def _attention(node: Node, reads: Sequence[Shape], written: Shape) -> int:
    """Scores and their mixture: each query meets each key twice."""
    keys = reads[1] if len(reads[1]) > 2 else reads[0]
    return 2 * prod(written) * (keys[-2] if len(keys) > 1 else 1)


def _einsum(node: Node, reads: Sequence[Shape], written: Shape) -> int:
    """The product of the sizes of all letters; an ellipsis counts by the output."""
    equation = str(node.attributes.get("equation", "")).replace(" ", "")
    left, _, right = equation.partition("->")
    sizes: dict[str, int] = {}
    for term, shape in zip(left.split(","), reads, strict=False):
        head, _, tail = term.partition("...")
        sizes |= dict(zip(head, shape, strict=False))
        sizes |= dict(zip(reversed(tail), reversed(shape), strict=False))
    summed = (size for letter, size in sizes.items() if right and letter not in right)
    return prod(written) * prod(summed)


def _subgraphs(node: Node, reads: Sequence[Shape], written: Sequence[Shape]) -> float:
    size = max((prod(shape) for shape in (*reads, *written)), default=0)
    inside = max(_inside(body, size) for _, body in node.bodies())
    return float(inside * _rounds(node, reads, written))


def _inside(body: Program, size: int) -> float:
    """Count one round, where every node handles `size` numbers."""
    total = 0.0
    for node in body.nodes:
        if node.op == "Constant":
            continue
        inner = [_inside(part, size) for _, part in node.bodies()]
        total += max(inner, default=0.0) + size * _fan(node, body)
    return total


def _fan(node: Node, body: Program) -> int:
    """How many products a written number takes: the rows of a constant matrix."""
    if node.op not in ("MatMul", "Gemm") or len(node.inputs) < 2:
        return 0 if node.op in VIEWS else 1
    weight = body.constants.get(node.inputs[1])
    if weight is None or weight.ndim < 2:
        return 1
    return int(weight.shape[-1 if node.attributes.get("transB", 0) else -2])


def _rounds(node: Node, reads: Sequence[Shape], written: Sequence[Shape]) -> int:
    """A Scan goes along its last input; a Loop is taken to collect what it makes."""
    if node.op == "Scan" and reads:
        return max((shape[0] for shape in reads[-1:] if shape), default=1)
    if node.op == "Loop":
        states = len(node.inputs) - 2
        return max((shape[0] for shape in written[states:] if shape), default=1)
    return 1


def constant_shapes(program: Program) -> dict[str, Shape]:
    """Return the shapes of everything that is constant in a graph."""
    shapes = {name: tuple(value.shape) for name, value in program.constants.items()}
    for node in program.nodes:
        if node.op == "Constant" and not node.domain:
            shapes[node.outputs[0]] = tuple(constant_of(node).shape)
    return shapes


_COUNTS: dict[str, Callable[[Node, Sequence[Shape], Shape], int]] = {
    "MatMul": _matmul,
    "Gemm": _matmul,
    "FusedMatMul": _matmul,
    "TransposeMatMul": _matmul,
    "FusedGemm": _matmul,
    "MatMulInteger": _matmul,
    "MatMulIntegerToFloat": _matmul,
    "DynamicQuantizeMatMul": _matmul,
    "QLinearMatMul": _qlinear_matmul,
    "Conv": _conv,
    "FusedConv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _qlinear_conv,
    "ConvTranspose": _conv_transpose,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
    "Attention": _attention,
    "MultiHeadAttention": _attention,
    "Einsum": _einsum,
}
