"""What a call of a file takes that does not say: rows, one row, or a row by itself.

TorchScript declares no shapes. A file takes rows if every output has as many of them,
for two different numbers. If not, it is given one row with a batch of one, which every
output has to have too, and then one row without a batch axis. A size that is baked into
the file shows in the words of its failure: it is then run in blocks of that size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import torch

from audit.ground.errors import InputError
from audit.models.batching import any_batch, one_call
from audit.models.network import Network, Values, carried

_LARGEST = 4096  # block that is tried
_TRIES = 8
_SIZES = re.compile(r"\b\d{1,4}\b")  # numbers that may be one
_ASKED = re.compile(r"shape '\[(\d{1,4})\b")


def settled(network: Network, condition: str, values: Values) -> Network:
    """Return a network that knows how many rows one call of it takes.

    Returns:
        The network itself where rows go in and out, or where nothing else does better.
    """
    event, port = tuple(values[condition].shape[1:]), network.input(condition)
    rows = len(values[condition])
    if port.shape is not None and (port.fixed_batch or len(port.shape) == len(event)):
        return network
    sizes = {rows, rows - 1 if rows > 1 else 2}
    failures: list[str] = []
    tried = [(n, _shapes(network, condition, _of(values, n), failures)) for n in sizes]
    if all(_are_rows(shapes, n) for n, shapes in tried):
        return network
    if all(_hold(shapes, n) for n, shapes in tried):
        return network  # the rows are there, on another axis
    alone = (1, 0) if port.shape is None else (1,)
    taken = [n for n, shapes in tried if n > 1 and _are_rows(shapes, n)]
    for size in (*alone, *taken, *_baked(failures)):
        other = carried(network, lambda each, size=size: replace(each, rows=size))  # type: ignore[misc]
        if _are_rows(_shapes(other, condition, values, []), rows):
            return other
    return network


def _of(values: Values, rows: int) -> Values:
    """Return so many rows, the first one again where there are not enough."""
    index = torch.arange(rows) % len(next(iter(values.values())))
    return {name: value[index] for name, value in values.items()}


def _shapes(
    network: Network, condition: str, values: Values, failures: list[str]
) -> list[tuple[int, ...]] | None:
    """Return the shapes of the outputs for these rows; None where there are none.

    Raises:
        InputError: the data's rows do not go together.
    """
    event = tuple(values[condition].shape[1:])
    try:
        with torch.no_grad():
            if network.rows == 1 and not _has_one_row(network, condition, values):
                return None
            outputs = any_batch(network, condition, event)(values)
    except InputError:
        raise
    except Exception as error:  # a saved program raises whatever it likes
        failures.append(str(error).strip())
        return None
    return [tuple(value.shape) for value in outputs.values()]


def _are_rows(shapes: list[tuple[int, ...]] | None, rows: int) -> bool:
    """Whether every output has one for each row."""
    return shapes is not None and all(
        shape[:1] == (rows,) and 0 not in shape for shape in shapes
    )


def _hold(shapes: list[tuple[int, ...]] | None, rows: int) -> bool:
    """Whether every output has the rows on some axis."""
    return shapes is not None and all(rows in shape for shape in shapes)


def _has_one_row(network: Network, condition: str, values: Values) -> bool:
    """Whether every output of a batch of one has one row."""
    event = tuple(values[condition].shape[1:])
    outputs = network.call(one_call(network, condition, event, values))
    return all(value.shape[:1] == (1,) for value in outputs.values())


def _baked(failures: list[str]) -> Iterator[int]:
    """Yield the numbers in the last words of a failure that a batch could have.

    The first number of a shape that something was to be put in is the likeliest.
    """
    words = " ".join(text.splitlines()[-1] for text in failures if text)
    numbers = [*_ASKED.findall(words), *_SIZES.findall(words)]
    found = dict.fromkeys(int(n) for n in numbers)
    yield from [n for n in found if 2 <= n <= _LARGEST][:_TRIES]
