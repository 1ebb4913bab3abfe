"""Products with packed weights, written as their unpacking and a product.

com.microsoft's MatMulNBits holds a matrix of weights of 2, 4 or 8 bits in bytes, with a
scale and a zero point for each block of a column. What it multiplies stays real, so it
is A Wᵀ + b with weights that no input moves: everything that knows a product knows it.
"""

from __future__ import annotations

from audit.importer.cleanup import OWN
from audit.importer.program import Function, Node, Reference

_INPUTS = ("A", "B", "scales", "zero_points", "g_idx", "bias")
_SIZES = ("K", "N", "bits", "block_size")
_OPSET = 13  # of the product and the sum


def parted(node: Node) -> Function | None:
    """Return the body of a product with packed weights; None for any other node."""
    if (node.domain, node.op) != ("com.microsoft", "MatMulNBits"):
        return None
    biased = len(node.inputs) == len(_INPUTS) and bool(node.inputs[-1])
    product = "product" if biased else "Y"
    sizes = {name: Reference(name) for name in _SIZES}
    nodes = [
        Node("UnpackedWeights", _INPUTS[1:5], ("W",), sizes, "weights", OWN, 1),
        Node("MatMul", ("A", "W"), (product,), name="product", opset=_OPSET),
    ]
    if biased:
        nodes.append(Node("Add", (product, "bias"), ("Y",), name="sum", opset=_OPSET))
    return Function(_INPUTS, ("Y",), tuple(nodes), {})
