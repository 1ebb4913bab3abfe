"""Bounds on what a file from a stranger may ask for, checked before allocation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

import numpy as np

from audit.ground.errors import ModelError

MAX_ELEMENTS = 1 << 27  # 0.5 GiB of float32, in one tensor made by one operator
MAX_TEMPORARY = 1 << 29  # elements in a tensor on the way to a result
MAX_LISTED = 1 << 22  # numbers or strings handled one by one
MAX_CHARACTERS = 1 << 26  # in the strings of one tensor
MAX_TRIPS = 100_000  # rounds of all loops in one call, or steps of one sequence
MAX_STEPS = 500_000  # nodes run in the subgraphs of one call
MAX_FOLDED = 1 << 24  # elements kept when a constant is computed ahead
MAX_WORK = 1 << 30  # steps that an operator on strings may take
MAX_EXPANSION = 100_000  # nodes after the expansion of functions


def check_elements(shape: Iterable[int], what: str) -> None:
    """Refuse a tensor of more than `MAX_ELEMENTS` elements or of negative size."""
    _check_size(shape, what, MAX_ELEMENTS, "elements in a tensor made by one node")


def _check_size(shape: Iterable[int], what: str, most: int, of_what: str) -> None:
    sizes = [int(size) for size in shape]
    if any(size < 0 for size in sizes):
        raise ModelError(
            f"{what} would have the shape {sizes}",
            "Expected sizes >= 0",
            "Check the shapes of the inputs, or export the file again",
        )
    if prod(sizes) > most or max(sizes, default=0) > most:
        raise ModelError(
            f"{what} would have the shape {sizes}",
            f"Expected at most {most} {of_what}",
            "Lower the batch size, or do not use this file if you do not know it",
        )


def check_temporary(shape: Iterable[int], what: str) -> None:
    """Refuse a tensor of more than `MAX_TEMPORARY` elements on the way to a result."""
    _check_size(shape, what, MAX_TEMPORARY, "elements on the way to a result")


def check_listed(shape: Iterable[int], what: str) -> None:
    """Refuse more than `MAX_LISTED` items that are handled one by one."""
    _check_size(shape, what, MAX_LISTED, "items that are handled one by one")


def check_characters(count: int, what: str) -> None:
    """Refuse strings of more than `MAX_CHARACTERS` characters together."""
    _check_size([count], what, MAX_CHARACTERS, "characters in the strings of a tensor")


def check_broadcast(a: Sequence[int], b: Sequence[int], what: str) -> None:
    """Refuse two operands that would broadcast to more than `MAX_ELEMENTS`."""
    if prod(a) * prod(b) > MAX_ELEMENTS and a != b:
        check_elements(np.broadcast_shapes(tuple(a), tuple(b)), what)


def check_trips(trips: int, what: str) -> None:
    """Refuse a sequence of more than `MAX_TRIPS` steps."""
    if trips > MAX_TRIPS:
        raise ModelError(
            f"{what} would run {trips} times",
            f"Expected at most {MAX_TRIPS} rounds",
            "Do not use this file if you do not know it",
        )


def check_work(steps: int, what: str) -> None:
    """Refuse more than `MAX_WORK` steps."""
    if steps > MAX_WORK:
        raise ModelError(
            f"{what} would take {steps} steps",
            f"Expected at most {MAX_WORK}",
            "Do not use this file if you do not know it",
        )


_spent: ContextVar[dict[str, int] | None] = ContextVar("spent", default=None)


@contextmanager
def one_call() -> Iterator[None]:
    """Count what all loops do within one call of a graph together."""
    token = _spent.set({"rounds": 0, "steps": 0, "kept": 0})
    try:
        yield
    finally:
        _spent.reset(token)


def count_round(what: str) -> None:
    """Refuse more than `MAX_TRIPS` rounds of loops, nested ones included."""
    spent = _spent.get()
    if spent is not None:
        spent["rounds"] += 1
        check_trips(spent["rounds"], what)


def count_kept(elements: int, what: str) -> None:
    """Refuse more than `MAX_TEMPORARY` elements that one call keeps in sequences."""
    spent = _spent.get()
    if spent is not None:
        spent["kept"] += elements
        check_temporary([spent["kept"]], what)


def count_steps(steps: int) -> None:
    """Refuse more than `MAX_STEPS` nodes in subgraphs, however they are nested."""
    spent = _spent.get()
    if spent is not None:
        spent["steps"] += steps
        if spent["steps"] > MAX_STEPS:
            raise ModelError(
                f"Its subgraphs would run {spent['steps']} nodes in one call",
                f"Expected at most {MAX_STEPS}",
                "Do not use this file if you do not know it",
            )
