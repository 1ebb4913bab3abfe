"""Run a file on many rows, whatever batch it was saved with.

A file with a symbolic leading axis takes any number of rows. One saved with a batch of
one, or with no batch axis at all, is run row by row: by `torch.func.vmap` where every
operator has a batching rule, by a loop where not. A fixed batch of B > 1 is filled up
by repeating its last row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.errors import InputError
from audit.models.network import Call, Network, Port, Values


def any_batch(
    network: Network, condition: str, event: tuple[int, ...], vectorise: bool = True
) -> Call:
    """Return the network as a function of any number of rows.

    Args:
        network: the opened file.
        condition: its perturbed input.
        event: the shape of one row of the data.
        vectorise: whether vmap can run through the network (not through another
            runtime).

    Raises:
        InputError: the data's rows do not have the shape the file declares.
    """
    port = network.input(condition)
    if port.shape is None:
        return network.call
    unbatched = len(port.shape) == len(event)
    declared = port.shape if unbatched else port.shape[1:]
    if not _fits(declared, event):
        raise _wrong_shape(port, event)
    if unbatched:
        return _Rows(network.call, False, vectorise)
    size = port.fixed_batch
    if size is None:
        return network.call
    if size == 1:
        return _Rows(network.call, True, vectorise)
    return _Filled(network.call, size)


def legal_batches(network: Network, condition: str, values: Values) -> list[Values]:
    """Cut a few rows into calls that the file accepts as it is."""
    port = network.input(condition)
    rows = len(values[condition])
    if port.shape is not None and len(port.shape) == values[condition].dim() - 1:
        return [{n: v[i] for n, v in values.items()} for i in range(min(rows, 4))]
    size = port.fixed_batch
    if size is None:
        return [{n: v[:b] for n, v in values.items()} for b in sorted({1, 3, rows})]
    index = torch.arange(min(-(-rows // size), 4) * size).clamp_max(rows - 1)
    return [{n: v[take] for n, v in values.items()} for take in index.reshape(-1, size)]


class _Rows:
    """One row a call; vectorised by vmap until an operator refuses it."""

    def __init__(self, call: Call, batch_axis: bool, vectorise: bool) -> None:
        self._call, self._batch_axis = call, batch_axis
        self._vectorise = vectorise

    def __call__(self, values: Values) -> dict[str, Tensor]:
        if self._vectorise:
            try:
                return dict(torch.func.vmap(self._one)(dict(values)))
            except (RuntimeError, ValueError, NotImplementedError):
                self._vectorise = False
        rows = len(next(iter(values.values())))
        results = [self._one({n: v[i] for n, v in values.items()}) for i in range(rows)]
        return {name: torch.stack([r[name] for r in results]) for name in results[0]}

    def _one(self, row: Values) -> dict[str, Tensor]:
        if not self._batch_axis:
            return self._call(row)
        batch = self._call({name: value.unsqueeze(0) for name, value in row.items()})
        return {name: value.squeeze(0) for name, value in batch.items()}


class _Filled:
    """Batches of a fixed size, the last one filled up with copies of its last row."""

    def __init__(self, call: Call, size: int) -> None:
        self._call, self._size = call, size

    def __call__(self, values: Values) -> dict[str, Tensor]:
        rows = len(next(iter(values.values())))
        index = torch.arange(-(-rows // self._size) * self._size).clamp_max(rows - 1)
        parts = [
            self._call({name: value[take] for name, value in values.items()})
            for take in index.reshape(-1, self._size)
        ]
        return {name: torch.cat([p[name] for p in parts])[:rows] for name in parts[0]}


def _fits(declared: tuple[int | str | None, ...], event: tuple[int, ...]) -> bool:
    return len(declared) == len(event) and all(
        not isinstance(axis, int) or axis == size
        for axis, size in zip(declared, event, strict=True)
    )


def _wrong_shape(port: Port, event: tuple[int, ...]) -> InputError:
    return InputError(
        f"Each row of the data has the shape {list(event)}",
        f"The model's input is {port}, its first axis the batch",
        "Reshape the data, or name another array with --condition NAME=KEY",
    )
