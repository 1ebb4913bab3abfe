"""Quantised graphs, on request with the straight-through derivative.

Rounding has derivative zero, so a graph of QuantizeLinear / DequantizeLinear pairs has
none at all. The straight-through rule takes the pair as the identity where it does not
saturate, and as a constant where it does. The numbers of the forward pass stay those
of the file.
"""

from __future__ import annotations

from dataclasses import replace

from audit.importer.cleanup import OWN
from audit.importer.program import Node, Program


def straight_through(program: Program) -> Program:
    """Replace each DequantizeLinear of a QuantizeLinear by one FakeQuantize.

    Pairs inside subgraphs are replaced too.
    """
    makers = {
        node.outputs[0]: node for node in program.nodes if node.op == "QuantizeLinear"
    }
    nodes = []
    for outer in program.nodes:
        bodies = {key: straight_through(body) for key, body in outer.bodies()}
        node = outer.with_bodies(bodies) if bodies else outer
        maker = makers.get(node.inputs[0]) if node.op == "DequantizeLinear" else None
        nodes.append(_joined(maker, node) if maker and _undoes(maker, node) else node)
    return replace(program, nodes=tuple(nodes))


def _undoes(quantize: Node, dequantize: Node) -> bool:
    """Return whether both have the same scale, zero point and granularity."""
    same_inputs = quantize.inputs[1:] == dequantize.inputs[1:]
    return same_inputs and all(
        quantize.attributes.get(key) == dequantize.attributes.get(key)
        for key in ("axis", "block_size")
    )


def _joined(quantize: Node, dequantize: Node) -> Node:
    attributes = dict(quantize.attributes)
    if "output_dtype" in dequantize.attributes:
        attributes["real_dtype"] = dequantize.attributes["output_dtype"]
    return replace(
        dequantize,
        op="FakeQuantize",
        domain=OWN,
        inputs=quantize.inputs,
        attributes=attributes,
    )
