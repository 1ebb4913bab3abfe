"""Whether a TorchScript module computes with numbers of few bits on the way.

A module that was quantised may bring no derivative, or that of another way around what
is quantised, or one that takes rounding as the identity. None is that of the file. The
other operators that stop a derivative are not looked for here: whether a type is an
integer one shows only when the module runs, so the census is not complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from audit.models.network import Census


def script_census(
    module: torch.jit.ScriptModule,
    methods: Sequence[str],
    condition: str,
    outputs: Sequence[str],
) -> Census:
    """Return the operators that round to few bits what depends on the condition.

    Args:
        module: the loaded module.
        methods: those that are called.
        condition: the name of an argument.
        outputs: what is read; methods other than `forward` are outputs by their names.
    """
    wanted = [m for m in methods if m == "forward" or m in outputs]
    found = dict.fromkeys(
        kind for method in wanted for kind in _quantised(module, method, condition)
    )
    return Census(True, (), tuple(found), complete=False)


def _quantised(
    module: torch.jit.ScriptModule, method: str, condition: str
) -> Iterator[str]:
    called = module._c._get_method(method)
    graph = called.graph.copy()
    torch._C._jit_pass_inline(graph)
    rounding = [node for node in _nodes(graph) if _rounds(node.kind())]
    if not rounding:
        return
    names = [argument.name for argument in called.schema.arguments]
    reached = {
        value.debugName()
        for name, value in zip(names, graph.inputs(), strict=True)
        if name == condition
    }
    before = -1
    while len(reached) > before:  # the state of a loop comes round again
        before = len(reached)
        _spread(graph, reached)
    for node in rounding:
        if _reads(node, reached):
            yield node.kind()


def _rounds(kind: str) -> bool:
    rounds = kind.startswith("quantized::") or "quantize" in kind
    return rounds and "dequantize" not in kind


def _nodes(block: torch._C.Block) -> Iterator[torch._C.Node]:
    """Yield every node, those of inner blocks too."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _reads(node: torch._C.Node, reached: set[str]) -> bool:
    return any(value.debugName() in reached for value in node.inputs())


def _spread(block: torch._C.Block, reached: set[str]) -> None:
    """Follow what depends on the values reached; a node with blocks as a whole."""
    for node in block.nodes():
        blocks = list(node.blocks())
        entered = _reads(node, reached)
        for inner in blocks:
            if entered:
                reached.update(value.debugName() for value in inner.inputs())
            _spread(inner, reached)
        results = [value for inner in blocks for value in inner.outputs()]
        if entered or any(value.debugName() in reached for value in results):
            reached.update(value.debugName() for value in node.outputs())
            for inner in blocks:
                reached.update(value.debugName() for value in inner.inputs())
