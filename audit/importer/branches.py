"""Branches that a Where does not take: no derivative comes of them.

Where(x > 0, √x, 0) is 0 at all x < 0, and its derivative is 0 there, where the chain
rule says 0 · NaN. At an x at which the condition c holds or fails strictly it does so
all around x, and f is the branch that is taken. What the other is made of, as far as
that goes element by element, is computed of values held at x:

    Where(c, f(u), b) = Where(c, f(Held(u)), b),   d Held(u) = 0 if not c, strictly

Held(u) is u to the last bit, and a cotangent that comes back to it from there is put to
zero, NaN or not. A condition is strict where the numbers that it compares differ by a
finite amount and move continuously with the inputs (`conditions`). Where they are equal
two branches may meet, as in Where(x ≠ 0, (eˣ − 1)/x, 1) at 0: nothing is held there,
the chain rule's 0 · ∞ stays, and x is refused. A condition whose strictness cannot be
read off the graph holds nothing. Neither does a graph of choices in choices, many deep,
as of iterations that are written out: copies of copies would outgrow the file.

Source of the problem: "How to avoid NaN gradients when using where", JAX FAQ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from audit.importer.cleanup import OWN, live
from audit.importer.conditions import ALWAYS, Conditions
from audit.importer.program import Node

_STEEP = frozenset(
    (
        *("Sqrt", "Log", "Reciprocal", "Div", "Pow", "Exp", "Sinh", "Cosh", "Tan"),
        *("Acos", "Acosh", "Asin", "Atanh"),
    )
)
"""Operators that have an infinite slope or none at some number."""
_POINTWISE = _STEEP | frozenset(
    (
        *("Add", "Sub", "Mul", "Neg", "Abs", "Sum", "Mean", "Max", "Min", "Clip"),
        *("Identity", "Cast", "CastLike", "Where", "Sin", "Cos", "Atan", "Asinh"),
        *("Tanh", "Erf", "Sigmoid", "Softplus", "Softsign", "Relu", "LeakyRelu"),
        *("Elu", "Selu", "Celu", "Gelu", "Swish", "Mish", "HardSigmoid", "HardSwish"),
        *("ThresholdedRelu", "PRelu", "FallingSigmoid"),
    )
)
_MOST, _ROOM = 8, 256  # nodes for each of the file's, and some more
_SINCE = 9  # the opset of the first Where; from 7 on operators broadcast as NumPy does


def held(
    nodes: Sequence[Node], conditions: Conditions, wanted: Sequence[str]
) -> Sequence[Node]:
    """Return the nodes with what a Where leaves computed of values that are held.

    Args:
        nodes: in an order in which they run, which is kept.
        conditions: what is known of them.
        wanted: the tensors that they are to make.
    """
    steep = any(node.op in _STEEP for node in nodes)
    if not steep or not any(_is_where(node) for node in nodes):
        return nodes
    writer = _Writer(conditions)
    found: list[Node] = []
    for node in nodes:
        found += writer.written(node)
        if len(found) > _MOST * len(nodes) + _ROOM:
            return nodes
    return live(found, wanted) if len(found) > len(nodes) else nodes


def _is_where(node: Node) -> bool:
    return (node.op, node.domain) == ("Where", "") and node.opset >= _SINCE


@dataclass
class _Writer:
    """Writes the nodes before each Where.

    Args:
        conditions: what is known of the graph.
        makers: tensor -> the node that makes it, of those written so far.
        copies: the tensors of copies, which move as what they are copies of does.
    """

    conditions: Conditions
    makers: dict[str, Node] = field(default_factory=dict)
    copies: set[str] = field(default_factory=set)

    def _moves(self, name: str) -> bool:
        return name in self.copies or self.conditions.moves(name)

    def written(self, node: Node) -> list[Node]:
        """Return what takes the place of a node, the next one of the graph."""
        found = [*self._branches(node), node] if _is_where(node) else [node]
        if len(found) > 1:
            found[-1] = replace(
                node, inputs=(node.inputs[0], *self._names(node, found[:-1]))
            )
        for one in found:
            self.makers |= {name: one for name in one.outputs if name}
        return found

    def _names(self, node: Node, new: Iterable[Node]) -> Iterator[str]:
        """Yield the names of the branches of a Where, those of copies where made."""
        made = {name for one in new for name in one.outputs}
        for place in (1, 2):
            copy = _copied(node.inputs[place], node, place)
            yield copy if copy in made else node.inputs[place]

    def _branches(self, node: Node) -> list[Node]:
        """Return the nodes that a Where needs before it; none where it stays."""
        chains = {place: self._chain(node, place) for place in (1, 2)}
        steep = {k: chain for k, chain in chains.items() if self._is_steep(chain)}
        strict = self.conditions.strict(node.inputs[0]) if steep else None
        if strict is None or _dead(node, min(steep)) in self.makers:
            return []
        found, sure = strict
        found = [one for one in found if one.outputs[0] not in self.makers]
        for place, chain in steep.items():
            dead = _dead(node, place)
            found += _left(node, sure, place, dead)
            copy = list(self._held_chain(node, place, chain, dead))
            self.copies.update(name for one in copy for name in one.outputs)
            found += copy
        return found

    def _chain(self, node: Node, place: int) -> list[Node]:
        """Return the elementwise operators that make a branch, in their order."""
        found: dict[str, Node] = {}
        waiting = [node.inputs[place]]
        while waiting:
            maker = self.makers.get(waiting.pop())
            if maker is None or maker.outputs[0] in found:
                continue
            pointwise = maker.op in _POINTWISE and not maker.domain
            if pointwise and self._moves(maker.outputs[0]):
                found[maker.outputs[0]] = maker
                waiting += maker.inputs
        return [self.makers[name] for name in self.makers if name in found]

    def _is_steep(self, chain: Sequence[Node]) -> bool:
        """Whether a branch may have no finite slope at some number."""
        return any(node.op in _STEEP and self._may_be(node) for node in chain)

    def _may_be(self, node: Node) -> bool:
        if node.op not in ("Div", "Pow"):
            return True
        moves = self._moves(node.inputs[1])
        if moves or node.op == "Div":
            return moves
        power = self.conditions.number(node.inputs[1])
        return power is None or power < 1 or power != round(power)

    def _held_chain(
        self, node: Node, place: int, chain: Sequence[Node], dead: str
    ) -> Iterator[Node]:
        """Yield a copy of a chain that reads held values."""
        inner = {name for one in chain for name in one.outputs}
        holding: set[str] = set()
        for one in chain:
            first = 1 if one.op == "Where" else 0
            inputs = list(one.inputs)
            for k, name in enumerate(inputs):
                if name in inner:
                    inputs[k] = _copied(name, node, place)
                elif k >= first and name and self._moves(name):
                    inputs[k] = _copied(name, node, place)
                    if name not in holding:
                        holding.add(name)
                        yield Node("Held", (name, dead), (inputs[k],), {}, "", OWN, 1)
            output = _copied(one.outputs[0], node, place)
            yield replace(one, inputs=tuple(inputs), outputs=(output,))


def _copied(name: str, node: Node, place: int) -> str:
    return f"{name}/of/{node.outputs[0]}/{place}"


def _dead(node: Node, place: int) -> str:
    return f"{node.outputs[0]}/left/{place}"


def _left(node: Node, sure: str, place: int, dead: str) -> Iterator[Node]:
    """Yield the nodes of where a branch is strictly not taken."""
    condition, opset = node.inputs[0], node.opset
    if place == 1:
        taken, condition = condition, f"{dead}/not"
        yield Node("Not", (taken,), (condition,), opset=opset)
    if sure == ALWAYS:
        yield Node("Identity", (condition,), (dead,), opset=opset)
    else:
        yield Node("And", (condition, sure), (dead,), opset=opset)
