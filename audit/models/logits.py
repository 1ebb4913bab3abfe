"""Heads of probabilities, read by the logits that they were made of.

A Softmax or Sigmoid in float32 is exactly 0 from a gap of 104 nats on, and its logits
say by how much. What is read matters for exact divergences: a class of probability 0
that q' has and q has not is infinitely far, whether its logit is 104 or 1,000 below.
So where a parameter `probs` is the whole result of such a function, in the expression
or in an ONNX graph, the family is given `logits` instead. Identity and casts among
floating types may stand behind the function; a Clip may not, for it changes the law.
Of log p, which `probs=exp(...)` reads, the logits are log p themselves, or log p −
log(1 − p) of a single one.

The law is the same, and so is every number of it; factors that belong to the parameters
themselves (‖F‖, ‖J‖, alignment) are those of the logits. With `--space parameters` the
probabilities themselves are perturbed, and nothing is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from audit.ground.errors import AuditError
from audit.models.contract import Head, Item, Settings
from audit.models.expressions import Expression
from audit.models.files import open_network
from audit.models.functions import FUNCTIONS
from audit.models.probing import Probe

SOFTMAX = ("categorical", "multinomial", "one_hot_categorical")
SIGMOID = ("bernoulli", "binomial", "geometric", "negative_binomial")
READ_THROUGH = "read through its"
"""What the origin of logits says that stand for probabilities, before the link."""
CLOSE = 1e-3  # how far from the file's own a probability may be that we make again


@dataclass(frozen=True)
class Found:
    """A parameter that is the result of a link.

    Args:
        parameter: its name, ending in `probs`. link: softmax or sigmoid.
        expression: of the logits.
    """

    parameter: str
    link: str
    expression: Expression

    @property
    def logits(self) -> str:
        """The name of the parameter that takes its place."""
        return _logits_of(self.parameter)


def read_logits(settings: Settings, head: Head, probe: Probe) -> tuple[Head, Probe]:
    """Return the head with `logits` for `probs` where it can, the file cut there."""
    if settings.model.space == "parameters":
        return head, probe
    found = list(_candidates(head, probe))
    cuts = {
        name[1:] for each in found for name in each.expression.names if name[0] == "@"
    }
    try:
        cut = _cut(settings, probe, cuts) if cuts else probe
        same = [each for each in found if _is_same(each, head, probe, cut)]
    except AuditError:  # the cut is a courtesy: the head can be read as it stands
        return head, probe
    return (_with_logits(head, same), cut) if same else (head, probe)


def _cut(settings: Settings, probe: Probe, cuts: set[str]) -> Probe:
    network = probe.alike(open_network(settings, cuts))
    return replace(probe, network=network)


def _candidates(head: Head, probe: Probe) -> Iterator[Found]:
    for parameter, expression in head.parameters.items():
        link = _link_of(head.family, parameter)
        if link is None or _logits_of(parameter) in head.parameters:
            continue  # the gate's beside a component's own, under the other name
        inner = expression.argument_of(link) or _of_logarithm(expression, link)
        if inner is None and probe.network.behind is not None:
            name = expression.output(sliced=link == "sigmoid")
            ranks = {n: v.dim() for n, v in probe.outputs.items()}
            tensor = name and probe.network.behind(name, link, ranks.get(name, 0))
            inner = expression.reading(tensor) if tensor else None
        if inner is not None:
            yield Found(parameter, link, inner)


def _logits_of(parameter: str) -> str:
    return parameter.removesuffix("probs") + "logits"


def _of_logarithm(expression: Expression, link: str) -> Expression | None:
    """Return the logits of probabilities that are written exp(log p), else None."""
    log = expression.argument_of("exp")
    if log is None or link == "softmax":
        return log
    return Expression(f"({log.text}) - log(-expm1({log.text}))")


def _link_of(family: str, parameter: str) -> str | None:
    """Return which link makes a parameter `probs` of a family; None for others."""
    prefix, _, name = parameter.rpartition(".")
    if name != "probs":
        return None
    if "," in family:
        place, _, rest = parameter.partition(".")
        parts = family.split(",")
        known = place.isdigit() and int(place) < len(parts)
        return _link_of(parts[int(place)].strip(), rest) if known else None
    kind, _, component = family.partition(":")
    if component and kind in ("hurdle", "zero_inflated"):
        return "sigmoid"  # of the gate, or of a component that has one
    if component and kind != "mixture":
        return None
    if component:
        return "softmax" if not prefix else _link_of(component, name)
    if kind in SOFTMAX:
        return "softmax"
    return "sigmoid" if kind in SIGMOID else None


def _is_same(found: Found, head: Head, probe: Probe, cut: Probe) -> bool:
    """Return whether the link of the logits gives the file's own probabilities."""
    outputs, inside = (
        {name: value.double() for name, value in each.outputs.items()}
        for each in (probe, cut)
    )
    theirs = head.parameters[found.parameter](outputs)
    ours = FUNCTIONS[found.link](found.expression(inside))
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, 0.0, CLOSE)


def _with_logits(head: Head, found: list[Found]) -> Head:
    parameters, items = dict(head.parameters), list(head.items)
    for each in found:
        text = parameters.pop(each.parameter)
        parameters[each.logits] = each.expression
        for place, item in enumerate(items):
            if item.name == f"param {each.parameter}":
                origin = f"{item.origin}: {each.parameter}={text}, {READ_THROUGH} "
                items[place] = Item(
                    f"param {each.logits}", str(each.expression), origin + each.link
                )
    return replace(head, parameters=parameters, items=tuple(items))
