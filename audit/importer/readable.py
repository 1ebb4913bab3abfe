"""What of a graph can be read where some of its operators cannot.

A policy returns an action that it sampled from its logits; an export keeps a noise
output that nobody reads. Where tensors inside are asked for (`@name`), whatever depends
on a refused operator goes, and these and the other outputs stay. Without such a request
nothing goes: what is left of the outputs could be read as another law.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from audit.ground.errors import UnsupportedOperator
from audit.importer import cleanup
from audit.importer.binding import operator_of
from audit.importer.paths import reads
from audit.importer.program import Node, Program, ValueInfo


def readable(program: Program, inside: Collection[str]) -> Program:
    """Return the program with the outputs that do not depend on a refused operator.

    Args:
        program: with function calls expanded.
        inside: tensors inside it that are asked for; they become outputs too.

    Raises:
        UnsupportedOperator: what is asked for depends on one; without a request, any
            output does.
    """
    refused, lost = _lost(program)
    known = [info.name for info in program.outputs]
    if lost.isdisjoint(known) and lost.isdisjoint(inside):
        return program
    if not inside or not lost.isdisjoint(inside):
        raise _unreadable(refused[0])
    kept = [info for info in program.outputs if info.name not in lost]
    asked = sorted(set(inside) - set(known))
    return replace(program, outputs=(*kept, *(ValueInfo(name) for name in asked)))


def _lost(program: Program) -> tuple[list[Node], set[str]]:
    """Return the refused nodes, and every value that depends on one."""
    refused: list[Node] = []
    lost: set[str] = set()
    for node in program.nodes:
        known = _is_known(node)
        if not known:
            refused.append(node)
        if not known or not lost.isdisjoint(reads(node)):
            lost.update(name for name in node.outputs if name)
    return refused, lost


def _is_known(node: Node) -> bool:
    """Whether a node and all nodes of its bodies have an operator."""
    if (node.op == "Constant" and not node.domain) or cleanup.passed_through(node):
        return True  # no operator runs for these
    try:
        operator_of(node)
    except UnsupportedOperator:
        return False
    return all(_is_known(each) for _, body in node.bodies() for each in body.nodes)


def _unreadable(node: Node) -> UnsupportedOperator:
    """Return the refusal of an operator, and the tensors that can be read before it."""
    try:
        operator_of(node)
    except UnsupportedOperator as error:
        names = [name for name in node.inputs if name]
        if not names:
            return error
        return UnsupportedOperator(
            error.given,
            error.expected,
            f"Read a tensor before it, --param NAME='@{names[0]}', where that is what "
            f"the law is made of; or: {error.next_step}",
        )
    inner = (each for _, body in node.bodies() for each in body.nodes)
    return _unreadable(next(each for each in inner if not _is_known(each)))
