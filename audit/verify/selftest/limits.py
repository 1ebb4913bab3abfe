"""The form is the limit of the exact divergence: D(x, x ± ε v) / (c ε² λ) -> 1.

v is the worst direction, ε falls by factors of four from a fraction of the radius at
which the form is τ, and D is the mean over both signs, whose error is of order ε²: the
third-order terms cancel. Far out the ratio is not one because the divergence is not
quadratic, and far in because D is a difference of nearly equal numbers. In between it
has to stay at one, so the two neighbouring sizes count at which it is nearest to it.

The input is moved by a thousandth of its own size first, at random. Where a ReLU or a
maximum is exactly at its kink, both sides of it have other derivatives, and no form is
a limit; images with a constant background are full of such ties. The nearest of m
kinks is then about 1/m of that move away, and the smallest steps are shorter.

Where a law is all but certain, that radius says nothing of the law's own scale: none is
taken for more than a hundred times the input's size.

An input whose form is τ within a millionth of its own size is not judged: quantiles
that jump from one mode of a mixture to another move at such a rate that the divergence
is quadratic for no step that has digits.

The parameters of a law may be all digits that D has: a probability 1 − 1e-15 is known
to a tenth of what it lacks. So D is taken once more where the last digit of φ' is
another. Sizes at which that moves D by too much tell nothing, and an input without two
neighbouring ones that do is not judged.

Allowed are 1e-3 where D is known in closed form and the file runs in float64, and six
and a half times what the last digit moves. Where the file does not, D is blurred by
its rounding: 0.1. Where D and the form are means over draws of θ, both take the same
draws, so their own errors cancel and what is left is the estimators' difference: 0.1,
or six and a half standard errors of D where these are more (a normal's tail of 4e-11 on
each side, so that with three inputs and two divergences a false alarm has a chance
below 1e-9).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.geometry.divergence import Divergence
from audit.verify.exact import Exact, exact_at
from audit.verify.local import local_law
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.subject import Subject, largest, outside
from audit.verify.sites import Site, lengths_of, site_at

NAME = "exact_divergence"
_START, _STEP, _SIZES = 0.05, 4.0, 10
_JITTER = 1e-3
_STEEP, _FAR = 1e-6, 100.0  # of an input's own size
_STREAM = 11  # of the noise
_CLOSED, _BLURRED = 1e-3, 0.1
_ERRORS = 6.5
_LASTS = (torch.finfo(torch.float64).eps, -torch.finfo(torch.float64).eps)
_TOGETHER = 2**20  # numbers of φ' at which D is taken at once


def exact_divergence(it: Subject) -> Finding:
    """Compare the exact divergence at small steps with the form."""
    if not len(it.inputs):
        return inapplicable(NAME, "no input can be measured")
    site = _jittered(it)
    if site is None:
        return inapplicable(NAME, "next to the inputs there is no member of the family")
    numbers, wrong = {}, {}
    for divergence in it.questions.divergences:
        found = _nearest(divergence, site, it)
        if found is None:
            continue
        numbers[divergence.name] = found.error
        if not found.error <= found.allowed:
            wrong[divergence.name] = found.error
    if not numbers:
        return inapplicable(
            NAME,
            "no exact divergence is known, no form is finite and not too steep, or no "
            "step moves more than the last digits of the parameters",
        )
    if not wrong:
        said = f"D(x, x ± εv) tends to the form within {largest(numbers)[1]:.0e}"
        return passed(NAME, said, **numbers)
    name, worst = largest(wrong)
    other = "audit with --method finite-difference and "
    other = "" if it.model.by_differences else other
    return failed(
        NAME,
        f"the exact {name} at small steps is not the form: they stay {worst:.1e} apart",
        "the derivative of the file or a formula of the family is wrong, or the model "
        f"goes in steps: {other}read the realised columns",
        **numbers,
    )


@dataclass(frozen=True)
class _Nearest:
    """How near the ratio comes to one at the worst input, and how near it has to."""

    error: float
    allowed: float


def _jittered(it: Subject) -> Site | None:
    """Return the inputs a little beside themselves; None where nothing is left."""
    model = it.in_double[0]
    asked = replace(it.questions, draws=it.noise().draws, rel_error=None)
    (x, held), noise = model.rows(it.inputs), asked.noise(it.inputs)
    frame, free = asked.frame.at(it.inputs), len(asked.frame.free)
    u = noise.normals((free,), _STREAM).to(x.device) / free**0.5
    sizes = _JITTER * lengths_of(frame, x).unsqueeze(1)
    beside = x.double() + frame.push(sizes * u)
    site = site_at(model, asked, it.inputs, beside, held)
    lost = bool(outside(model.density.family, site.point.phi).any())
    return None if lost else site


def _nearest(divergence: Divergence, site: Site, it: Subject) -> _Nearest | None:
    """Return how near the ratio comes to one; None where there is no ratio."""
    exact, local = exact_at(divergence, site), local_law(divergence, site)
    radius = local.radius(it.questions.tau)
    judged = torch.isfinite(radius) & (radius > _STEEP * site.lengths())
    rows = (local.directed & judged).nonzero()[:, 0]
    if exact is None or not len(rows):
        return None
    ladder = _START / _STEP ** torch.arange(_SIZES, device=radius.device)
    start = torch.minimum(radius, _FAR * site.lengths())[rows]
    sizes = start.unsqueeze(1) * ladder  # [k, S]
    u = (sizes.unsqueeze(-1) * local.worst[rows].unsqueeze(1)).double()
    moved = site.moved(rows, torch.cat([u, -u], 1))
    found = exact.against(rows, moved)
    values, errors = (_mean_of_signs(part) for part in found)
    predicted = local.at(rows, u)
    off = (values / predicted - 1).abs().nan_to_num(torch.inf, torch.inf)
    closed = not exact.laws.sampled and not local.sampled and it.is_double
    if closed:
        errors = _mean_of_signs(_blur(exact, rows, moved, found[0]))
    return _at_worst(off, _ERRORS * errors / predicted, closed)


def _at_worst(off: Tensor, noise: Tensor, closed: bool) -> _Nearest | None:
    """Return how near the ratio comes to one at the worst input; None where untold.

    Args:
        off: of the ratio from one, by input and size [k, S].
        noise: what is allowed for noise there [k, S].
        closed: whether D has no other noise than that of its last digits.
    """
    told = noise <= _BLURRED if closed else torch.ones_like(off, dtype=torch.bool)
    told = told[:, 1:] & told[:, :-1]
    pairs = torch.maximum(off[:, 1:], off[:, :-1]).masked_fill(~told, torch.inf)
    nearest, place = pairs.min(dim=1)
    noise = noise[:, 1:].gather(1, place[:, None]).squeeze(1).nan_to_num(nan=0.0)
    allowed = noise.clamp_min(_CLOSED if closed else _BLURRED)
    judged = told.any(dim=1).nonzero()[:, 0]
    if not len(judged):
        return None
    worst = judged[(nearest / allowed)[judged].argmax()]
    return _Nearest(float(nearest[worst]), float(allowed[worst]))


def _blur(exact: Exact, rows: Tensor, moved: Tensor, values: Tensor) -> Tensor:
    """Return how far the last digit of φ' [k, K, p] moves D(φ ‖ φ') [k, K]."""
    signs = torch.ones_like(moved[0, 0])
    signs[1::2] = -1
    ways = torch.stack([last * w for w in (signs.abs(), signs) for last in _LASTS])
    most = torch.zeros_like(values)
    for some in torch.split(ways, max(1, _TOGETHER // moved.numel())):
        others = moved.unsqueeze(1) * (1 + some.unsqueeze(1))  # [k, S, K, p]
        found, _ = exact.against(rows, others.flatten(1, 2))
        found = found.reshape(len(rows), len(some), -1)
        apart = (found - values.unsqueeze(1)).abs()
        apart = apart.where(apart.isfinite(), 0.0)  # not where φ' leaves the family
        most = torch.maximum(most, apart.amax(dim=1))
    return most


def _mean_of_signs(values: Tensor) -> Tensor:
    above, below = values.chunk(2, dim=1)
    return (above + below) / 2
