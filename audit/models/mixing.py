"""Outputs that look like a mixture: weights [N, K] beside K laws of equal shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from audit.models.expressions import quoted
from audit.models.names import named_expression, stem_of

_SUM = 1e-3  # how far from one probabilities may add up
_WEIGHTS = (
    *("pi", "pis", "weights", "weight", "mixture_weights", "mixing", "mix", "alpha"),
    *("mixture_logits", "mixing_logits", "weight_logits", "pi_logits", "logit_pi"),
)


def mixtures_by_names(
    outputs: Mapping[str, Tensor], named: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """Yield parameters of mixtures: weights that no parameter is called by, and laws.

    Args:
        outputs: name -> values [N, ...].
        named: parameter -> expression, of the outputs whose names say what they are.
    """
    rest = {n: v for n, v in outputs.items() if named_expression(n) is not None}
    others = {n: v for n, v in outputs.items() if n not in rest}
    for name, weights in others.items():
        called = stem_of(name) in _WEIGHTS or _adds_up(weights)
        if rest and called and _of_components(weights, rest):
            yield {_kind(weights): quoted(name), **named}


def mixtures_by_shapes(outputs: Mapping[str, Tensor]) -> Iterator[dict[str, str]]:
    """Yield weights, locations and scales of three outputs without telling names."""
    if len(outputs) != 3:
        return
    for name, weights in outputs.items():
        rest = {n: v for n, v in outputs.items() if n != name}
        (loc, first), (scale, second) = rest.items()
        alike = first.shape == second.shape and _of_components(weights, rest)
        if not (_adds_up(weights) and alike):
            continue
        positive = bool((second > 0).all())
        text = quoted(scale) if positive else f"exp({quoted(scale)})"
        yield {"probs": quoted(name), "loc": quoted(loc), "scale": text}


def _of_components(weights: Tensor, rest: Mapping[str, Tensor]) -> bool:
    """Tell whether there is one law for each weight, K of them and more than one."""
    if weights.dim() != 2 or weights.shape[1] < 2:
        return False
    return all(v.dim() >= 2 and v.shape[1] == weights.shape[1] for v in rest.values())


def _adds_up(values: Tensor) -> bool:
    return (
        values.dim() == 2
        and bool((values >= 0).all())
        and bool(((values.sum(-1) - 1).abs() < _SUM).all())
    )


def _kind(weights: Tensor) -> str:
    return "probs" if _adds_up(weights) else "logits"
