"""What the outputs of a file could be, from names, shapes and ranges on real rows.

A suggestion is a family with an expression for each parameter under which every probed
row is a law of that family. It is shown, and never taken.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.families import build_family
from audit.families.interface import Family
from audit.ground.errors import AuditError
from audit.models.class_axes import at_places, readings
from audit.models.expressions import Expression, quoted
from audit.models.mixing import mixtures_by_names, mixtures_by_shapes
from audit.models.names import (
    NAMES,
    TEXTBOOK,
    families_with,
    named_expression,
    parameterizations,
    stem_of,
)

SUM = 1e-3  # how far from one probabilities may add up
_USUAL = (
    *("normal", "multivariate_normal", "categorical", "bernoulli"),
    *("gamma", "poisson", "negative_binomial"),
)
_GATES = ("gate", "gate_logits")  # of an atom at zero
_PRECISIONS = {
    **dict.fromkeys(("precision", "prec"), "1/sqrt({})"),
    **dict.fromkeys(("log_precision", "log_prec"), "exp(-0.5 * {})"),
}
"""The scale of a normal law by the names of 1/scale² and its logarithm."""


@dataclass(frozen=True)
class Suggestion:
    """A family and its parameters, and why they could be these.

    Args:
        family: its name.
        parameters: name -> expression.
        why: a clause.
    """

    family: str
    parameters: Mapping[str, str]
    why: str

    @property
    def flags(self) -> str:
        """The options that say so, quoted for a shell."""
        words = ["--family", self.family]
        for name, text in self.parameters.items():
            words += ["--param", f"{name}={text}"]
        return shlex.join(words)


def suggest(outputs: Mapping[str, Tensor]) -> Suggestion | None:
    """Return the first reading of the outputs that every row allows; None if none does.

    Args:
        outputs: of a few real rows.
    """
    real = {n: v.double() for n, v in outputs.items() if v.is_floating_point()}
    for found in _readings(real):
        for one in _at_places(found, real):
            if _fits(one, real):
                return one
    return None


def _fits(found: Suggestion, outputs: Mapping[str, Tensor]) -> bool:
    """Whether every row is a law of the family."""
    try:
        family, values = _read(found, outputs)
        broken = family.violations(family.pack(values)).values()
    except (AuditError, RuntimeError):
        return False
    return not any(bool(rows.any()) for rows in broken)


def _read(
    found: Suggestion, outputs: Mapping[str, Tensor]
) -> tuple[Family, dict[str, Tensor]]:
    values = {
        name: Expression(text)(outputs) for name, text in found.parameters.items()
    }
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    return build_family(found.family, shapes), values


def _at_places(
    found: Suggestion, outputs: Mapping[str, Tensor]
) -> Iterator[Suggestion]:
    """Yield a reading; of pictures, with the first and then the last axis its own."""
    try:
        family, _ = _read(found, outputs)
    except (AuditError, RuntimeError):
        return
    given = {name: Expression(text) for name, text in found.parameters.items()}
    pictures = at_places(given, family) if len(family.places) > 1 else []
    if not pictures:
        yield found
        return
    for axis, place in enumerate(("first", "last")):
        turned = {
            n: readings(found.parameters[n], shape)[axis] for n, shape in pictures
        }
        why = f"{found.why}, with the {place} axis of a picture for the classes"
        yield Suggestion(found.family, {**found.parameters, **turned}, why)


def _readings(outputs: Mapping[str, Tensor]) -> Iterator[Suggestion]:
    """Yield readings, the surest first."""
    if not outputs:
        return
    yield from _by_names(outputs)
    for parameters in mixtures_by_shapes(outputs):
        why = "weights that add up to one beside laws, loc and scale by their order"
        yield Suggestion("mixture:normal", parameters, why)
    yield from _by_ranges(outputs)
    yield from _by_shapes(outputs)
    name, *others = outputs
    unread = f"; {', '.join(map(repr, others))} would not be read" if others else ""
    yield Suggestion(
        "normal",
        {"loc": quoted(name), "scale": "1.0"},
        f"a point prediction '{name}', taken with errors of size 1{unread}",
    )


def _by_names(outputs: Mapping[str, Tensor]) -> Iterator[Suggestion]:
    yield from _by_own_names(outputs)
    yield from _by_textbooks(outputs)
    yield from _by_precision(outputs)
    named: dict[str, str] = {}
    for output in outputs:
        found = named_expression(output)
        if found is not None and found[0] not in named:
            named[found[0]] = found[1]
    if set(named) == {"scale"}:
        others = [n for n in outputs if named_expression(n) is None]
        if len(others) == 1:
            pair = {"loc": quoted(others[0]), **named}
            yield Suggestion("normal", pair, "an output beside its scale")
    gates = {stem_of(n): quoted(n) for n in outputs if stem_of(n) in _GATES}
    if len(gates) == 1:
        for family in _ordered(families_with(set(named))):
            for kind in ("zero_inflated", "hurdle"):
                why = "a gate beside parameters"
                yield Suggestion(f"{kind}:{family}", {**gates, **named}, why)
    weights = {"logits", "probs"} & set(named)
    if weights and set(named) - weights:
        rest = set(named) - weights
        for family in _ordered(families_with(rest)):
            yield Suggestion(f"mixture:{family}", named, "weights beside parameters")
    for parameters in mixtures_by_names(outputs, named):
        for family in _ordered(families_with(set(named))):
            yield Suggestion(f"mixture:{family}", parameters, "weights beside laws")
    for family in _ordered(families_with(set(named))):
        yield Suggestion(family, named, "the outputs' names")


def _by_own_names(outputs: Mapping[str, Tensor]) -> Iterator[Suggestion]:
    """Yield families of three parameters or more that all outputs are named after."""
    stems = {stem_of(output): quoted(output) for output in outputs}
    if len(stems) == len(outputs) >= 3:
        for family in _ordered(families_with(set(stems))):
            yield Suggestion(family, stems, "the outputs' names")


def _by_textbooks(outputs: Mapping[str, Tensor]) -> Iterator[Suggestion]:
    """Yield families whose parameters are called so in books; a beta law first."""
    for family in ("beta", *(name for name in TEXTBOOK if name != "beta")):
        known = {TEXTBOOK[family].get(stem_of(n), ""): quoted(n) for n in outputs}
        if set(known) in map(set, parameterizations(family)):
            yield Suggestion(family, known, "the outputs' names, as books have them")


def _by_precision(outputs: Mapping[str, Tensor]) -> Iterator[Suggestion]:
    """Yield the normal law of two outputs, the second named as a precision."""
    scales = {
        name: _PRECISIONS[stem_of(name)].format(quoted(name))
        for name in outputs
        if stem_of(name) in _PRECISIONS
    }
    if len(outputs) == 2 and len(scales) == 1:
        (loc,) = set(outputs) - set(scales)
        pair = {"loc": quoted(loc), "scale": next(iter(scales.values()))}
        yield Suggestion("normal", pair, "an output beside its precision, 1/scale²")


def _ordered(families: list[str]) -> list[str]:
    """Return the families, the usual ones first."""
    first = [name for name in _USUAL if name in families]
    return [*first, *(name for name in families if name not in first)]


def _by_ranges(outputs: Mapping[str, Tensor]) -> Iterator[Suggestion]:
    for name, value in outputs.items():
        text = quoted(name)
        inside = bool(((value >= 0) & (value <= 1)).all())
        if not inside:
            continue
        several = value.dim() >= 2 and value.shape[-1] > 1
        if several and bool(((value.sum(-1) - 1).abs() < SUM).all()):
            why = f"the rows of '{name}' add up to one"
            yield Suggestion("categorical", {"probs": text}, why)
        if value.dim() == 2 and stem_of(name) in ("hazard", "hazards"):
            why = f"the name '{name}', between 0 and 1"
            yield Suggestion("discrete_hazard", {"probs": text}, why)
        if len(outputs) == 1:
            why = f"'{name}' lies between 0 and 1"
            yield Suggestion("bernoulli", {"probs": text}, why)


def _by_shapes(outputs: Mapping[str, Tensor]) -> Iterator[Suggestion]:
    names = [name for name in outputs if stem_of(name) not in NAMES] or list(outputs)
    first = outputs[names[0]]
    alike = [quoted(n) for n in names if outputs[n].shape == first.shape]
    if len(alike) >= 3:
        parameters = dict(zip(("df", "loc", "scale"), alike, strict=False))
        yield Suggestion("student_t", parameters, "df, loc, scale by their order")
    if len(alike) >= 2:
        loc, second = alike[:2]
        why = "two outputs of one shape, "
        positive = {"loc": loc, "scale": second}
        if bool((outputs[second.strip('"')] > 0).all()):
            yield Suggestion("normal", positive, why + "the second positive")
        linked = {"loc": loc, "scale": f"exp({second})"}
        yield Suggestion("normal", linked, why + "the second a log scale")
    if len(outputs) == 1 and first.dim() >= 2 and first.shape[-1] % 2 == 0:
        half, text = first.shape[-1] // 2, quoted(names[0])
        parameters = {
            "loc": f"{text}[..., :{half}]",
            "scale": f"softplus({text}[..., {half}:])",
        }
        why = f"two halves of '{names[0]}', the second through softplus"
        yield Suggestion("normal", parameters, why)


def range_of(value: Tensor) -> tuple[float, float] | None:
    """Return the least and the largest finite number; None where there is none."""
    finite = value[torch.isfinite(value)] if value.is_floating_point() else value
    if finite.numel() == 0:
        return None
    return float(finite.min()), float(finite.max())
