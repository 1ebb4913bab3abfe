"""Features by their names, and what the worst directions do to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from audit.ground.printable import printable
from audit.reports.audited import Data
from audit.reports.report import Report
from audit.reports.text import count, shorten

NAME_WIDTH = 20
"""Characters of a feature's name where several share a line."""


def label(names: Sequence[str] | None, place: int, shape: Sequence[int]) -> str:
    """Return what to call the feature at `place`, row-major: its name, or "[0,2]"."""
    if names and place < len(names):
        return printable(names[place])
    parts = []
    for size in reversed(shape):
        parts.append(str(place % size))
        place //= size
    return f"[{','.join(reversed(parts))}]"


def largest(data: Data, values: object, wanted: int) -> list[tuple[str, float]]:
    """Return (feature, value) of the largest entries of an array in lists."""
    found, shape = list(entries(values)), _shape(values)
    order = sorted(range(len(found)), key=lambda place: -abs(found[place]))
    names = names_of(data, len(found))
    return [
        (shorten(label(names, k, shape), NAME_WIDTH), found[k])
        for k in order[:wanted]
        if abs(found[k]) >= 0.005
    ]


def names_of(data: Data, size: int) -> list[str] | None:
    """Return the names of `size` features; None if the data name others or none."""
    names = data.feature_names
    return names if names and len(names) == size else None


def _shape(values: object) -> tuple[int, ...]:
    if not isinstance(values, list):
        return ()
    return (len(values), *(_shape(values[0]) if values else ()))


def entries(values: object) -> Iterator[float]:
    """Yield the numbers of an array in lists, row-major."""
    if isinstance(values, list):
        for part in values:
            yield from entries(part)
    elif isinstance(values, int | float):
        yield float(values)


def sentence(report: Report, name: str) -> str:
    """Say which features the worst directions of all inputs move; "" if unknown."""
    found = report.divergences[name].features
    if found is None:
        return ""
    if found.mean_abs is None:
        return f"{name}: no mean |v| of each feature: {found.reason}"
    entries = largest(report.data, found.mean_abs, 5)
    top = ", ".join(f"{name_} {value:.2f}" for name_, value in entries)
    return (
        f"{name}: on average over {count(found.n, 'input')} the worst direction moves "
        f"most {top} (mean |v|)"
    )
