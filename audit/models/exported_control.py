"""Control flow of torch.export graphs, run as plain Python.

`torch.cond`, `while_loop`, `map` and `scan` stay in a program, as operators that take
graphs. Called outside a compiler, torch traces these graphs anew at each call, through
state that belongs to the whole process: it is slow, and two threads that do so at once
break each other. What they mean is short:

    cond(p, f, g, a)           f(a) if p, else g(a)
    while_loop(p, f, s, a)     s = f(s, a) as long as p(s, a)
    map(f, x, a)               f(xᵢ, a) for each i, stacked
    scan(f, s, x, a)           s, yᵢ = f(s, xᵢ, a) for each i; s and the yᵢ, stacked
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.fx import GraphModule

Body: TypeAlias = Callable[..., Sequence[Tensor]]


def _cond(
    predicate: Tensor | bool, then: Body, other: Body, operands: Sequence[Tensor]
) -> Sequence[Tensor]:
    return (then if bool(predicate) else other)(*operands)


def _while(
    condition: Callable[..., Tensor],
    body: Body,
    state: Sequence[Tensor],
    more: Sequence[Tensor],
) -> Sequence[Tensor]:
    while bool(_only(condition(*state, *more))):
        state = body(*state, *more)
    return state


def _only(value: Tensor | Sequence[Tensor]) -> Tensor:
    return value if isinstance(value, Tensor) else value[0]


def _map(body: Body, xs: Sequence[Tensor], more: Sequence[Tensor]) -> Sequence[Tensor]:
    found = [body(*x, *more) for x in zip(*xs, strict=True)]
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


def _scan(
    body: Body,
    state: Sequence[Tensor],
    xs: Sequence[Tensor],
    more: Sequence[Tensor] = (),
) -> Sequence[Tensor]:
    made = []
    for x in zip(*xs, strict=True):
        found = body(*state, *x, *more)
        state = found[: len(state)]
        made.append(found[len(state) :])
    return [*state, *(torch.stack(parts) for parts in zip(*made, strict=True))]


_PLAIN: dict[str, Callable[..., Sequence[Tensor]]] = {
    "cond": _cond,
    "while_loop": _while,
    "map_impl": _map,
    "scan": _scan,
}


def run_plainly(module: GraphModule) -> None:
    """Replace the control flow of a program by the loops and branches it means."""
    for part in module.modules():
        if not isinstance(part, GraphModule):
            continue
        changed = False
        for node in part.graph.nodes:
            plain = _plain(node.target) if node.op == "call_function" else None
            if plain is not None:
                node.target, changed = plain, True
        if changed:
            part.recompile()


def _plain(target: object) -> Callable[..., Sequence[Tensor]] | None:
    if not isinstance(target, torch._ops.HigherOrderOperator):
        return None
    return _PLAIN.get(str(target))
