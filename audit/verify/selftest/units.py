"""Data in other units, or in another order, than those that the model was made for.

A network that was trained on standardised numbers takes raw ones without a word. What
was meant is a known function of the data, with nothing fitted to θ:

    x standardised           (x − mean) / deviation, feature by feature, of these data
    x divided by 255         where the inputs are bytes: from 0 to 255
    θ standardised           q of (θ − mean) / deviation, with its own Jacobian
    classes in another order θ -> π(θ), the class that rows of each label are given

The order is the one thing that θ chose: of K! orders, so ln K! nats more are asked of
it. A feature that does not vary is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.verify.selftest.pairs import CANNOT, Rows

_BYTES = 255.0
_CLASSES = 256  # at most, whose order is looked for
_MORE = 1e-9  # of a log-likelihood: exchanges that gain less are none


class Other(NamedTuple):
    """The rows as they were probably meant.

    Args:
        name: of what is in other units. what: was mistaken. todo: what to do instead.
        rows: with φ, or θ, as it was meant.
        shift: of log q [n]: the Jacobian of θ. paid: nats that its choice costs.
    """

    name: str
    what: str
    todo: str
    rows: Rows
    shift: float = 0.0
    paid: float = 0.0


def others_of(rows: Rows) -> Iterator[Other]:
    """Yield the rows in other units and orders, where these are others."""
    yield from _inputs(rows)
    theta, deviation = _standardised(rows.theta)
    if theta.is_floating_point() and _moved(theta, rows.theta) and _real(rows):
        yield Other(
            "θ",
            "the θ of the data are not standardised as those that the model was "
            "trained on",
            "put θ of the data into the units of the model's outputs, or scale these "
            "with --param",
            replace(rows, theta=theta),
            -float(deviation.log().sum()),
        )
    yield from _classes(rows)


def _inputs(rows: Rows) -> Iterator[Other]:
    laws = rows.laws
    if laws is None or not rows.x.is_floating_point():
        return
    what = "the inputs are not {} as those that the model was trained on"
    todo = "{} x in the data as in training, or make that a part of the saved model"
    ways = [("standardised", "standardise", _standardised(rows.x)[0])]
    low, high = float(rows.x.min()), float(rows.x.max())
    if low >= 0 and _BYTES / 2 < high <= _BYTES:
        ways.append(("divided by 255", "divide", rows.x / _BYTES))
    for done, do, x in ways:
        if _moved(x, rows.x):
            with suppress(AuditError, RuntimeError):
                meant = replace(rows, phi=laws(x))
                yield Other("x", what.format(done), todo.format(do), meant)


def _classes(rows: Rows) -> Iterator[Other]:
    """Yield the rows with the classes in the order that the rows of each label say."""
    if rows.family.name != "categorical" or rows.theta[0].numel() != 1:
        return
    logits = rows.family.distribution(rows.phi).logits.reshape(len(rows.phi), -1)  # type: ignore[attr-defined]
    label, count = rows.theta.long().reshape(-1), logits.shape[1]
    if bool((label < 0).any() | (label >= count).any()):
        return
    if count > _CLASSES:
        return
    named = torch.nn.functional.one_hot(label, count).to(logits)
    order = _assigned(named.T @ logits.log_softmax(dim=1))
    if torch.equal(order[label], label):
        return
    yield Other(
        "θ",
        "the classes of the model are in another order than the labels of the data",
        "number the labels as the outputs of the model are (sorted names put '10' "
        "before '2')",
        replace(rows, theta=order[label].to(rows.theta).reshape(rows.theta.shape)),
        paid=math.lgamma(count + 1),
    )


def _assigned(total: Tensor) -> Tensor:
    """Return an order π [K] with a large Σ total[k, π(k)], better than any exchange.

    Begun with the largest excess over what a class and a label have on average.
    """
    count = len(total)
    excess = total - total.mean(dim=0) - total.mean(dim=1, keepdim=True)
    order = torch.arange(count, device=total.device)
    for _ in range(count):
        label, given = divmod(int(excess.argmax()), count)
        order[label] = given
        excess[label], excess[:, given] = -torch.inf, -torch.inf
    for _ in range(count * count):
        now = total[:, order]  # [k, b]: label k, given what b is
        own = now.diagonal()
        gain = now + now.T - own - own.unsqueeze(1)
        first, second = divmod(int(gain.argmax()), count)
        if float(gain[first, second]) <= _MORE * float(own.sum().abs()):
            break
        order[[first, second]] = order[[second, first]]
    return order


def _standardised(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values [n, ...] with mean 0 and deviation 1 in each place, and these."""
    deviation = values.double().std(dim=0, correction=0)
    moves = deviation > 0
    deviation = torch.where(moves, deviation, 1.0)
    mean = torch.where(moves, values.double().mean(dim=0), 0.0)
    return ((values - mean) / deviation).to(values), deviation


def _moved(values: Tensor, before: Tensor) -> bool:
    """Tell whether values are others than before by more than a few hundredths."""
    size = before.double().std(dim=0, correction=0).clamp_min(1e-300)
    return bool((((values - before).abs() / size).mean() > 0.05).item())


def _real(rows: Rows) -> bool:
    """Tell whether θ may be any real number, so that it may be standardised."""
    with suppress(*CANNOT):
        support = rows.family.distribution(rows.phi[:1]).support
        return bool(support.check(-rows.theta).all()) and not support.is_discrete  # type: ignore[union-attr]
    return False
