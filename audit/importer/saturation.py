"""Logarithms of probabilities, written so that nothing is lost where they saturate.

    log σ(x) = −softplus(−x)        1 − σ(x) = σ(−x)
    log(1 − σ(x)) = −softplus(x)    log softmax(x) = log_softmax(x)
    1 / (1 + eˣ) = σ(−x)            y / (1 + eˣ) = y σ(−x)

The right sides are the left ones, by σ(−x) = 1 − σ(x) and softplus(x) = log(1 + eˣ),
and keep every digit: in float32 σ(x) is 1 from x = 17 on, 1 − σ(x) has one digit left
at 15, and its logarithm is −inf soon after, with no derivative. A logarithm goes
through products, quotients and concatenations of what it can be taken of so: logit σ(x)
is x again. A sigmoid spelled out is 0 where eˣ overflows, and its derivative
−eˣ / (1 + eˣ)² is ∞ / ∞ there. Elsewhere it has all its digits, which y (1 − y) of a
sigmoid y near one has not: it becomes an operator of our own, whose derivative is
−σ(x) σ(−x).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from audit.importer.binding import constant_of
from audit.importer.cleanup import OWN
from audit.importer.program import Node
from audit.importer.values import Host

_THROUGH = {"Mul": "Add", "Div": "Sub", "Concat": "Concat"}  # f -> log f of the logs
_REWRITTEN = ("Log", "Sub", "Div", "Reciprocal")
FALLING = "FallingSigmoid"  # 1 / (1 + eˣ)
_SINCE = 7  # the opset from which these operators broadcast as NumPy does


def unsaturated(nodes: Sequence[Node], constants: Mapping[str, Host]) -> list[Node]:
    """Return the nodes with sigmoids and logarithms of probabilities in those forms.

    Args:
        nodes: in an order in which they run; which is kept.
        constants: of the graph, by name.
    """
    if not any(_is(node, op) for node in nodes for op in _REWRITTEN):
        return list(nodes)
    writer = _Writer(constants)
    return [one for node in nodes for one in writer.written(node)]


def _is(node: Node, op: str) -> bool:
    return (node.op, node.domain) == (op, "") and node.opset >= _SINCE


@dataclass
class _Writer:
    """Writes nodes for nodes.

    Args:
        constants: of the graph.
        makers: tensor -> the node of the file that makes it, of those that were seen.
        made: the nodes that take the place of the current one.
    """

    constants: Mapping[str, Host]
    makers: dict[str, Node] = field(default_factory=dict)
    made: list[Node] = field(default_factory=list)

    def written(self, node: Node) -> list[Node]:
        """Return what takes the place of a node, the next one of the graph."""
        self.made = []
        self.makers |= dict.fromkeys(node.outputs, node)
        if _is(node, "Log") and self._has_log(node.inputs[0]):
            self._log(node.inputs[0], node.outputs[0], node)
        elif (x := self._complement(node)) is not None:
            self._falling(x, node)
        elif (x := self._spelled_out(node)) is not None:
            self._spelled(x, node)
        return self.made or [node]

    def _falling(self, x: str, at: Node) -> None:
        """Write σ(−x) in the place of a node."""
        self._end(at, "Sigmoid", (self._new(at, "Neg", (x,)),), at.outputs[0])

    def _spelled(self, x: str, at: Node) -> None:
        """Write y / (1 + eˣ), and remember the sigmoid of −x that it is made of."""
        alone = at.op == "Reciprocal" or self._is_one(at.inputs[0])
        output = at.outputs[0] if alone else f"{at.outputs[0]}:{FALLING}"
        minus = (self._new(at, "Neg", (x,)),)
        falling = Node(FALLING, (x,), (output,), {}, at.name, OWN, at.opset)
        self.made.append(falling)
        self.makers[output] = replace(falling, op="Sigmoid", inputs=minus, domain="")
        if not alone:
            self._end(at, "Mul", (at.inputs[0], output), at.outputs[0])
            self.makers[at.outputs[0]] = self.made[-1]

    def _has_log(self, name: str) -> bool:
        node = self.makers.get(name)
        if node is None:
            return False
        if _is(node, "Sigmoid") or _is(node, "Softmax"):
            return True
        if any(_is(node, op) for op in _THROUGH):
            return all(map(self._has_log, node.inputs))
        return self._complement(node) is not None

    def _complement(self, node: Node) -> str | None:
        """Return x of a node that computes 1 − σ(x), else None."""
        if not _is(node, "Sub") or not self._is_one(node.inputs[0]):
            return None
        inner = self.makers.get(node.inputs[1])
        return inner.inputs[0] if inner is not None and _is(inner, "Sigmoid") else None

    def _spelled_out(self, node: Node) -> str | None:
        """Return x of a node that divides by 1 + eˣ, else None."""
        if not _is(node, "Reciprocal") and not _is(node, "Div"):
            return None
        total = self.makers.get(node.inputs[-1])
        if total is None or not _is(total, "Add"):
            return None
        for power, one in (total.inputs, reversed(total.inputs)):
            inner = self.makers.get(power)
            if inner is not None and _is(inner, "Exp") and self._is_one(one):
                return inner.inputs[0]
        return None

    def _is_one(self, name: str) -> bool:
        """Whether a constant is a single one, of a shape that broadcasts to any."""
        made, value = self.makers.get(name), self.constants.get(name)
        if made is not None and _is(made, "Constant"):
            value = constant_of(made)
        if value is None or value.size != 1 or value.ndim > 1:
            return False
        return bool(value.reshape(()) == 1)

    def _log(self, name: str, output: str, at: Node) -> None:
        """Write the logarithm of a tensor that has one, as `output`."""
        node = self.makers[name]
        x = self._complement(node)
        if _is(node, "Softmax"):
            self.made.append(
                replace(node, op="LogSoftmax", outputs=(output,), name=at.name)
            )
        elif x is not None:
            self._end(at, "Neg", (self._new(at, "Softplus", (x,)),), output)
        elif _is(node, "Sigmoid"):
            minus = self._new(at, "Neg", node.inputs)
            self._end(at, "Neg", (self._new(at, "Softplus", (minus,)),), output)
        else:
            logs = tuple(f"{output}:log:{i}" for i in range(len(node.inputs)))
            for inner, log in zip(node.inputs, logs, strict=True):
                self._log(inner, log, at)
            op, attributes = _THROUGH[node.op], dict(node.attributes)
            self._end(at, op, logs, output, attributes if op == "Concat" else {})

    def _new(self, at: Node, op: str, inputs: tuple[str, ...]) -> str:
        name = f"{at.outputs[0]}:{op}:{len(self.made)}"
        self._end(at, op, inputs, name)
        return name

    def _end(
        self,
        at: Node,
        op: str,
        inputs: tuple[str, ...],
        output: str,
        attributes: dict[str, object] | None = None,
    ) -> None:
        node = Node(op, inputs, (output,), attributes or {}, at.name, "", at.opset)
        self.made.append(node)
