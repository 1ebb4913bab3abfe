"""Settings in memory: arrays for masks, units and bounds, a report as baseline.

The pipeline reads these from files, whose bytes count and not their names. So they are
written to temporary ones, equal arrays to equal bytes, which are gone with the call;
errors and the report name them by what they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import ConfigError
from audit.api.data import as_array, label_of, write_arrays
from audit.api.report import Report
from audit.reports.report import Report as Record

_SHAPES = {
    "mask": "booleans in the shape of one input, a slice such as slice(0, 3) or '0:3'",
    "units": "positive numbers in the shape of one input, or of all, a word such as "
    "'std'",
    "bounds": "a pair (lower, upper) of numbers or arrays, or a dict of both",
}


@dataclass(frozen=True)
class Given:
    """Settings as the pipeline reads them.

    Args:
        settings: the keywords, with paths in the place of what is in memory.
        names: what to call these paths.
    """

    settings: dict[str, Any]
    names: dict[str, str] = field(default_factory=dict)


@contextmanager
def given_in_files(settings: Mapping[str, Any]) -> Iterator[Given]:
    """Give the settings that are in memory as files while the block runs.

    Raises:
        ConfigError: one of them is no array of numbers.
    """
    with tempfile.TemporaryDirectory(
        prefix="robaudit-", ignore_cleanup_errors=True
    ) as folder:
        found = Given(dict(settings))
        for name, kept in _KEPT.items():
            value = settings.get(name)
            if value is not None and not isinstance(value, (str, Path)):
                found.settings[name] = kept(name, value, Path(folder), found.names)
        yield found


def _array(name: str, value: object, folder: Path, names: dict[str, str]) -> object:
    """Return the path of an array, or a slice as text."""
    if isinstance(value, slice):
        ends = (value.start, value.stop, value.step)
        return ":".join("" if end is None else str(end) for end in ends)
    path, array = str(folder / f"{name}.npz"), _numbers(name, value)
    write_arrays(path, {name: array})
    names[path] = label_of(value, array)
    return path


def _bounds(name: str, value: Any, folder: Path, names: dict[str, str]) -> object:  # noqa: ANN401
    """Return two numbers as text, or the path of two arrays."""
    ends = ("lower", "upper")
    pair = value
    if isinstance(value, Mapping):
        pair = [value[end] for end in ends if end in value]
    several = hasattr(pair, "__len__") and getattr(pair, "ndim", 1) > 0
    if not several or len(pair) != len(ends):
        raise _no_numbers(name, value)
    arrays = {end: _numbers(name, one) for end, one in zip(ends, pair, strict=True)}
    if not any(array.ndim for array in arrays.values()):
        return ",".join(repr(float(array)) for array in arrays.values())
    path = str(folder / f"{name}.npz")
    write_arrays(path, arrays)
    shapes = (
        label_of(one, array) for one, array in zip(pair, arrays.values(), strict=True)
    )
    names[path] = " and ".join(shapes)
    return path


def _report(name: str, value: object, folder: Path, names: dict[str, str]) -> object:
    """Return the path of a report, with its rows beside it where it lists none."""
    report = Report(value) if isinstance(value, Record) else value
    if not isinstance(report, Report):
        raise ConfigError(
            f"{name}= was given a {type(value).__name__}",
            "Expected what audit.scan returns, or the path of a saved report",
            "Pass one of these",
        )
    path = str(folder / f"{name}.json")
    report.save(path)
    names[path] = "report in memory"
    if report.record.inputs is None and report.recorded is not None:
        report.save(folder / f"{name}.npz")  # beside it, where it is looked for
    return path


_KEPT: dict[str, Callable[[str, Any, Path, dict[str, str]], object]] = {
    "mask": _array,
    "units": _array,
    "bounds": _bounds,
    "baseline": _report,
}


def _numbers(name: str, value: object) -> NDArray[Any]:
    """Return an array of numbers or booleans."""
    try:
        found = np.asarray(value) if np.isscalar(value) else as_array(value, name)
    except ConfigError:
        raise _no_numbers(name, value) from None
    if found.dtype.kind not in "biuf":
        raise _no_numbers(name, value)
    return found


def _no_numbers(name: str, value: object) -> ConfigError:
    return ConfigError(
        f"{name}= was given a {type(value).__name__} that holds no such numbers",
        f"Expected {_SHAPES[name]}, or the path of a file",
        "Pass one of these",
    )
