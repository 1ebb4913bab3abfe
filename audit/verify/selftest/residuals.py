"""The data's own θ under the law as it is read, and under other readings of it.

An honest model is often over- or under-confident, so a variance of the standardised
residuals that is not one proves no mistake: the sample posterior that was trained by
reverse KL has one of 28. A wrong reading leaves other traces. If a log-variance is read
as a log-standard deviation, σ is read as σ², and the errors grow like the *root* of
what is read; read as they were meant, they are as large as the law says. Three
log-likelihoods are compared:

    stated     Σ log q(θ) as it is read
    meant      Σ log q(θ) with the parameter as another reading means it: nothing fitted
    rescaled   Σ log q(θ) with the parameter times the best constant factor, or moved
               by a constant, where that is better (`rivals`)

Another reading is called a mistake where three things hold:

1. `meant` is 0.25 nats a row above `stated`, and 25 nats in all. Were the law as it is
   read true, a likelihood ratio of e²⁵ would have a chance below e⁻²⁵ (Markov), however
   heavy the tails. A paired z would not do: one outlier of a variance that is read 100
   times too small makes its standard error as large as its mean.
2. `meant` is what that law itself expects, −H, its own negative entropy: within 0.5
   nats a row, or a fiftieth of how far `stated` is from what *it* expects. A model that
   is wrong in its own way (reverse KL: 26 nats better with √Σ, and still 1.5 of 28.8
   nats off) does not become right by another reading.
3. `meant` is 10 nats above `rescaled`, which was fitted to these θ and covers every
   constant over- or under-confidence. Where what is read hardly varies among the rows,
   a constant factor and a power are the same thing and the two can only tie; then it is
   enough not to fall short where the factor is at least two, or to fall 5 nats short
   where it is three: with nothing fitted it has hit what has a range of decades. A
   location and a scale that were exchanged (`swaps`), and θ or x in other units, have
   to be 10 nats above what is fitted by the scale.

Data in other units than those of training, and classes in another order, are readings
of the same kind (`units`); θ of other rows are told by pairs (`pairing`).

Where another reading explains θ better, but a factor does as well, that is said and
passes. A mistake that leaves θ nearly as likely (σ near one, where σ² is σ) is not
seen, and fewer than 20 rows are not judged.

References:
    Royall, Statistical Evidence (1997), section 1.4: P(ratio ≥ k) ≤ 1/k.
    Gneiting, Balabdaoui & Raftery, Probabilistic forecasts, calibration and sharpness,
    JRSS B 69 (2007).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.pairing import strangers
from audit.verify.selftest.pairs import CANNOT, Rows, rows_with_theta
from audit.verify.selftest.readings import Reading, readings_of
from audit.verify.selftest.rivals import rescaled, scale_of
from audit.verify.selftest.subject import Subject, outside
from audit.verify.selftest.swaps import TODO, WHAT, exchanged, swaps_of
from audit.verify.selftest.units import Other, others_of

NAME = "residuals"
_BETTER, _RATIO = 0.25, 25.0  # nats: a row, and in all
_NEEDED = ((3.0, -5.0), (2.0, 0.0), (0.0, 10.0))  # from a factor on: nats in all
_EXPECTED, _LEFT = 0.5, 0.02  # nats a row, or of how far the stated law is off


def residuals(it: Subject) -> Finding:
    """Hold the data's own θ against the law, as it is read and otherwise."""
    if it.targets is None:
        return inapplicable(NAME, "the data hold no θ (--target-key names it)")
    if not it.family.parametric:
        return inapplicable(NAME, "the file names no parameters to be misread")
    rows = rows_with_theta(it, it.targets)
    if isinstance(rows, str):
        return inapplicable(NAME, rows)
    try:
        stated, expected = rows.log_likelihood(rows.phi), rows.expected(rows.phi)
    except CANNOT:
        return inapplicable(NAME, f"{rows.family.name} has no density at these θ")
    impossible = int((~torch.isfinite(stated)).sum())
    if 2 * impossible > len(stated):
        return _impossible(rows, impossible)
    numbers = _numbers(rows, stated, expected)
    best = max(_better(rows, stated), default=None, key=lambda found: found.gain)
    apart = _strangers(rows, best)
    if apart is not None:
        return _unpaired(*apart, numbers)
    if best is None:
        tied = next(_tied(rows, stated), "no usual misreading explains θ better")
        return passed(NAME, _fine(numbers, impossible, len(stated), tied), **numbers)
    return failed(
        NAME,
        f"'{best.name}': {best.what}, probably: read so, the data's own θ are "
        f"{best.gain:.2g} nats a row more likely" + _variance_then(rows, best.rows),
        best.todo,
        gain=best.gain,
        **numbers,
    )


class _Better(NamedTuple):
    """Another reading that explains θ better.

    Args:
        gain: nats a row.
        name: of the parameter that is read wrongly.
        what: was probably mistaken. todo: what to write instead.
        rows: as they were meant.
    """

    gain: float
    name: str
    what: str
    todo: str
    rows: Rows


def _better(rows: Rows, stated: Tensor) -> Iterator[_Better]:
    """Yield all readings that are better."""
    for name, reading in readings_of(rows.family):
        gain = _gain(rows, name, reading, stated)
        if gain is not None:
            phi = rows.changed(name, reading.change)
            yield _Better(gain, name, reading.what, reading.todo, rows.with_phi(phi))
    for loc, scale in swaps_of(rows.family):
        for phi in exchanged(rows, loc, scale):
            meant = _meant(rows, phi, stated)
            if meant is not None and _beats(rows, meant, scale):
                gain = float((meant - stated)[torch.isfinite(stated)].mean())
                what, todo = WHAT.format(scale), TODO.format(loc, scale)
                yield _Better(gain, loc, what, todo, rows.with_phi(phi))

    for other in others_of(rows):
        found = _as_meant(rows, stated, other)
        if found is not None:
            yield found


def _tied(rows: Rows, stated: Tensor) -> Iterator[str]:
    """Yield the readings that explain θ better, but no better than a factor."""
    for name, reading in readings_of(rows.family):
        phi = rows.changed(name, reading.change)
        if reading.scaled and _meant(rows, phi, stated) is not None:
            factor = rescaled(rows, name)[0]
            yield (
                f"these θ are as likely if '{name}' is {factor:.2g} times what is read "
                f"as if {reading.what}: to be told apart it would have to vary more "
                "among the rows; look at its expression"
            )


def _as_meant(rows: Rows, stated: Tensor, other: Other) -> _Better | None:
    """Return data in other units or another order, if they are a better reading."""
    meant = other.rows.log_likelihood(other.rows.phi) + other.shift
    if bool(outside(rows.family, other.rows.phi).any()):
        return None
    then = rows.expected(other.rows.phi) + other.shift
    if not _explains(rows, stated, meant, then, other.paid):
        return None
    scale = scale_of(rows.family)
    if scale is not None and not _beats(rows, meant, scale):
        return None
    gain = float((meant - stated)[torch.isfinite(stated)].mean())
    return _Better(gain, other.name, other.what, other.todo, other.rows)


def _gain(rows: Rows, name: str, reading: Reading, stated: Tensor) -> float | None:
    """Return the nats a row that another reading gains; None if it is no mistake."""
    meant = _meant(rows, rows.changed(name, reading.change), stated)
    if meant is None:
        return None
    mean = float((meant - stated)[torch.isfinite(stated)].mean())
    if not reading.scaled:
        return mean
    factor, rival = rescaled(rows, name)
    beyond = float((meant - rival).sum())
    size = max(factor, 1 / factor)
    needed = next(nats for least, nats in _NEEDED if size >= least)
    return mean if beyond >= needed else None


def _beats(rows: Rows, meant: Tensor, scale: str) -> bool:
    """Tell whether log q(θ) [n] is above what is fitted to these θ by a scale."""
    return float((meant - rescaled(rows, scale)[1]).sum()) >= _NEEDED[-1][1]


def _meant(rows: Rows, phi: Tensor, stated: Tensor) -> Tensor | None:
    """Return log q(θ) [n] at φ as another reading means it, if it is a better one.

    None where it is hardly more likely, or not what that law itself expects.
    """
    meant = rows.log_likelihood(phi)
    if bool(outside(rows.family, phi).any()):
        return None
    better = _explains(rows, stated, meant, rows.expected(phi))
    return meant if better else None


def _explains(
    rows: Rows, stated: Tensor, meant: Tensor, expected: float, paid: float = 0.0
) -> bool:
    """Tell whether log q(θ) [n] as meant is better than as stated, and as expected.

    Args:
        rows: as they are read.
        stated: log q(θ).
        meant: the same as it was meant.
        expected: what the law that was meant expects of them.
        paid: nats beside the usual that choosing it costs.
    """
    possible = torch.isfinite(stated)
    if not bool(torch.isfinite(meant).all()):
        return False
    gain = (meant - stated)[possible]
    if float(gain.mean()) < _BETTER or float(gain.sum()) < _RATIO + paid:
        return False
    off = abs(float(stated[possible].mean()) - rows.expected(rows.phi))
    return abs(float(meant.mean()) - expected) <= max(_EXPECTED, _LEFT * off)


def _fine(numbers: dict[str, float], impossible: int, count: int, said: str) -> str:
    if "variance" in numbers:
        variance = numbers["variance"]
        said = f"standardised residuals have the variance {variance:.3g}; " + said
    if impossible:
        said = f"{impossible} of {count} θ are impossible under the law; " + said
    return said


def _variance_then(rows: Rows, meant: Rows) -> str:
    then = meant.variance(meant.phi)
    now = rows.variance(rows.phi)
    if then is None or now is None:
        return ""
    return (
        f", and their standardised residuals have the variance {then:.3g} instead of "
        f"{now:.3g}"
    )


def _strangers(rows: Rows, best: _Better | None) -> tuple[float, float] | None:
    """Return the shares of pairs that tell that θ is of other rows; None if not.

    A better reading is none of θ that are strangers to x under it too.
    """
    try:
        return strangers(rows, () if best is None else (best.rows,))
    except CANNOT:
        return None


def _unpaired(seen: float, expected: float, numbers: dict[str, float]) -> Finding:
    return failed(
        NAME,
        "the θ of the data have nothing to do with the x of their own rows: another "
        f"row's x explains them as well on {100 * (1 - seen):.0f} % of pairs, by the "
        f"law on {100 * (1 - expected):.0f} %: rows of θ in another order than those "
        "of x, or θ of other inputs",
        "save x and θ in one order (shuffle both by one permutation), or name the key "
        "of θ with --target-key",
        own_share=seen,
        own_share_expected=expected,
        **numbers,
    )


def _impossible(rows: Rows, count: int) -> Finding:
    return failed(
        NAME,
        f"{count} of {len(rows.phi)} θ of the data are impossible under "
        f"{rows.family.name}: another family, another unit of θ, or another key",
        "name the key of θ with --target-key, or the family with --family",
        rows=float(len(rows.phi)),
    )


def _numbers(rows: Rows, stated: Tensor, expected: float) -> dict[str, float]:
    possible = stated[torch.isfinite(stated)]
    found = {
        "rows": float(len(rows.phi)),
        "log_likelihood": float(possible.mean()),
        "expected": expected,
    }
    variance = rows.variance(rows.phi)
    found |= {} if variance is None else {"variance": variance}
    return {name: value for name, value in found.items() if math.isfinite(value)}
