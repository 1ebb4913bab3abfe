"""How many inputs are computed together: what --memory holds, and what pays.

A chunk is a power of two whose derivatives lie within a last-level cache. Rounding
depends on it, so it follows from the shapes and --memory alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from audit.ground.errors import ConfigError
from audit.linalg.exact import FEATURES, ROWS
from audit.measure.plan import ASKED, KRYLOV, Choice, Shapes

COPIES = 4
"""Of an input's derivatives, that live at the same time."""
_CHUNK_BYTES = 2**24  # of derivatives: about a last-level cache
_CHUNK, _BY_PRODUCTS = 512, 32  # inputs, at the most
_LARGER, _FOLD = 1024, 4
"""The most where chunks of so many are several: what is done once for each weighs
less, and the last one, which is filled up, is a small part of all."""


def held(shapes: Shapes, rows: Choice, side: Choice | None) -> int:
    """Return how many inputs --memory holds, at least one.

    Raises:
        ConfigError: not one.
    """
    one, what = _one(shapes, rows, side)
    if one > shapes.memory:
        raise ConfigError(
            f"One input's {what} {in_bytes(one)}",
            f"--memory allows {in_bytes(shapes.memory)}",
            "Raise --memory, lower --draws-per-input where there are draws, leave side "
            "and rows out of --plan, or audit fewer features with --mask",
        )
    return shapes.memory // one


def _one(shapes: Shapes, rows: Choice, side: Choice | None) -> tuple[int, str]:
    """Return the bytes that an input takes at the most, and of what they are."""
    if rows.value == KRYLOV:
        return max(1, shapes.passes()), "passes and Krylov space take"
    longest = {ROWS: max(shapes.p, shapes.kept), FEATURES: shapes.free}
    size = longest.get(str(side.value) if side else "", 0)
    gram = size * size if size > min(shapes.p, shapes.free) else 0
    return COPIES * shapes.largest + 16 * gram, "derivatives, with their copies, take"


def chunk_of(
    shapes: Shapes, fixed: Mapping[str, str], rows: Choice, most: int
) -> Choice:
    """Return the inputs of a chunk.

    Args:
        shapes: of an input.
        fixed: key -> value of --plan.
        rows: how J is taken.
        most: the inputs that --memory holds.

    Raises:
        ConfigError: a chunk is fixed that is larger.
    """
    if "chunk" in fixed:
        given = int(fixed["chunk"])
        if given > most:
            raise ConfigError(
                f"--plan chunk={given} was given, and {most} inputs fit together",
                f"--memory allows {in_bytes(shapes.memory)}",
                "Raise --memory, or plan a smaller chunk",
            )
        return Choice(given, ASKED, True)
    if rows.value == KRYLOV:
        limits = {"so many go through one pass": _BY_PRODUCTS}
    else:
        one, fitting = in_bytes(shapes.usual), max(1, _CHUNK_BYTES // shapes.usual)
        limits = {
            f"so many, of {one} each, fit {in_bytes(_CHUNK_BYTES)}": fitting,
            "more make no product faster": _largest(shapes.total),
        }
    limits |= {"so many fit --memory": most, "so many are there": max(1, shapes.total)}
    why = min(limits, key=lambda name: limits[name])
    power = int(2 ** (limits[why].bit_length() - 1))
    return Choice(power, f"the power of two up to {limits[why]}: {why}")


def _largest(total: int) -> int:
    """Return the largest chunk of so many inputs that is worth it."""
    return _LARGER if total >= _FOLD * _LARGER else _CHUNK


def pull_of(shapes: Shapes, fixed: Mapping[str, str]) -> Choice:
    """Return the inputs that a sweep pulls back together.

    Raises:
        ConfigError: a number is fixed that takes more than --memory.
    """
    back, forward = shapes.together
    if "pull" not in fixed:
        why = f"by its widest step; {forward} run forward together"
        return Choice(back, why)
    given = int(fixed["pull"])
    if given * shapes.pulls > shapes.memory:
        raise ConfigError(
            f"--plan pull={given} takes {in_bytes(given * shapes.pulls)}",
            f"--memory allows {in_bytes(shapes.memory)}",
            "Raise --memory, or pull fewer inputs back together",
        )
    return Choice(given, ASKED, True)


def in_bytes(count: int) -> str:
    """Return bytes in words, to one decimal."""
    powers = ((30, "GiB"), (20, "MiB"), (10, "KiB"))
    for power, unit in powers:
        if count >= 2**power:
            return f"{count / 2**power:.1f} {unit}"
    return f"{count} bytes"
