"""zuko's inverses to the last digit of their type.

The flows of zuko whose transforms have no inverse in closed form (NAF, UNAF, BPF,
SOSPF, GF) find it by bisection of [−B, B] to 1e-6, in every type. In float64 a draw
T(x, z) then goes in steps, which hide its slope from differences and its last nine
digits from exact values. n halvings give n digits of the bracket: as many as the type
holds are enough, and in float32 those are what zuko takes already.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest import mock

import torch
from torch import Tensor

_PLACE, _NAME, _HALVINGS = "zuko.transforms", "bisection", "n"


@contextmanager
def to_the_last_digit() -> Iterator[None]:
    """Let zuko bisect to the last digit while a flow is inverted."""
    place: Any = sys.modules.get(_PLACE)
    if place is None or not hasattr(place, _NAME):
        yield
        return
    run = getattr(place, _NAME)

    @wraps(run)
    def bisection(*given: object, y: Tensor, **named: Any) -> Tensor:  # noqa: ANN401
        digits = math.ceil(-math.log2(torch.finfo(y.dtype).eps)) + 1
        named[_HALVINGS] = max(named.get(_HALVINGS, 0), digits)
        return run(*given, y=y, **named)  # type: ignore[no-any-return]

    with mock.patch.object(place, _NAME, bisection):
        yield
