"""Which tensor of an ONNX file a Softmax or Sigmoid made an output of."""

from __future__ import annotations

import onnx

from audit.importer import OnnxFile

_OPS = {"softmax": "Softmax", "sigmoid": "Sigmoid"}
_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
}


def behind(file: OnnxFile, output: str, link: str, axes: int) -> str | None:
    """Return the tensor that an output is the softmax or sigmoid of.

    Args:
        file: it.
        output: its name.
        link: "softmax" or "sigmoid".
        axes: how many the output has; a softmax must be over the last.

    Returns:
        None if it is made otherwise. Identity, and casts among floating types, may
        stand between the function and the output.
    """
    model = file.message()
    opset = max((o.version for o in model.opset_import if not o.domain), default=0)
    makers = {name: node for node in model.graph.node for name in node.output if name}
    node = makers.get(output)
    while node is not None and _keeps(node):
        node = makers.get(node.input[0])
    if node is None or node.domain or node.op_type != _OPS[link]:
        return None
    if link == "softmax" and _axis(node, opset) not in (-1, axes - 1):
        return None
    tensor = node.input[0]
    return tensor if tensor in makers else None


def _keeps(node: onnx.NodeProto) -> bool:
    """Return whether a node keeps values and shape."""
    if node.domain:
        return False
    if node.op_type == "Cast":
        return _attribute(node, "to", 0) in _FLOATS
    return bool(node.op_type == "Identity")


def _axis(node: onnx.NodeProto, opset: int) -> int:
    """Return the axis; before opset 13 it begins the axes that are taken together."""
    return _attribute(node, "axis", -1 if opset >= 13 else 1)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)
