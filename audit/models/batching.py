"""Run a file on many rows, whatever batch it was saved with.

Everything outside this module is row-major: each input is [rows, ...]. Here the rows
are put where the file has them. A file with a symbolic batch axis takes any number;
one saved with a batch of one, or with none, is run row by row: by `torch.func.vmap`
where every operator has a batching rule, by a loop where not. A fixed batch of B > 1 is
filled up by repeating its last row, and so is one that must have one of some sizes
(a multiple of eight, at least 16, at most 1024). A held input may have the batch
elsewhere (the state of a recurrent layer: [layers, batch, size]) or nowhere (a sample
rate). What a file that declares no shapes takes is found by `trying`. Inputs that
expressions read come out again as they went in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from audit.ground.errors import AuditError, InputError
from audit.models.network import Call, Network, Port, Values


@dataclass(frozen=True)
class Layout:
    """How the rows lie in a call of the file.

    Args:
        rows: of one call: a number, 0 for a file without a batch axis, None for any.
        axes: input -> the axis of its rows; None where one value serves all of them.
        ranks: input -> its number of axes, where declared.
    """

    rows: int | None
    axes: Mapping[str, int | None]
    ranks: Mapping[str, int]

    def row_shape(self, port: Port) -> tuple[int, ...]:
        """Return the shape of one row of an input; 1 for sizes that are left open."""
        sizes = [axis if isinstance(axis, int) else 1 for axis in port.shape or ()]
        axis = self.axes[port.name]
        if sizes and axis is not None and not (self.rows == 1 and axis == 0):
            del sizes[axis]
        return tuple(sizes)

    def place(self, values: Values) -> dict[str, Tensor]:
        """Turn row-major inputs into those of one call of the file."""
        return {n: self._placed(n, value) for n, value in values.items()}

    def _placed(self, name: str, value: Tensor) -> Tensor:
        axis, rank = self.axes[name], self.ranks.get(name)
        if axis is None:
            return _one_for_all(name, value)
        if value.dim() - 1 == rank and value.shape[axis + 1] == 1:
            value = value.squeeze(axis + 1)  # each row came with its batch of one
        return value.movedim(0, axis)


def layout_of(network: Network, condition: str, event: tuple[int, ...]) -> Layout:
    """Return how the rows lie in the file's inputs.

    Raises:
        InputError: the data's rows do not have the shape the file declares.
    """
    port = network.input(condition)
    ranks = {p.name: len(p.shape) for p in network.inputs if p.shape is not None}
    if port.shape is None:
        axis = None if network.rows == 0 else 0
        return Layout(network.rows, {p.name: axis for p in network.inputs}, ranks)
    unbatched = len(port.shape) == len(event)
    if not _fits(port.shape if unbatched else port.shape[1:], event):
        raise _wrong_shape(port, event)
    if not unbatched and port.fixed_batch == 0:
        raise _no_rows(port)
    rows = 0 if unbatched else network.rows or port.fixed_batch
    alone = rows in (0, 1)
    axes = {
        p.name: None if alone else _batch_axis(p, port.shape[0]) for p in network.inputs
    }
    return Layout(rows, axes | {condition: None if unbatched else 0}, ranks)


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
    layout = layout_of(network, condition, event)
    sizes = network.input(condition).batches
    size = sizes or _one_size(layout.rows or 1)
    call: Call = partial(_in_batches, network.call, layout, size)
    if layout.rows is None and sizes is None:
        call = lambda values: network.call(layout.place(values))  # noqa: E731
    elif layout.rows is not None and layout.rows <= 1:
        vectorise = vectorise and network.rows is None
        call = _Rows(network.call, layout, condition, vectorise)
    if not network.passed:
        return call

    def passing(values: Values) -> dict[str, Tensor]:
        own = {n: v for n, v in values.items() if n not in network.beside}
        return {**{name: values[name] for name in network.passed}, **call(own)}

    return passing


def one_call(
    network: Network, condition: str, event: tuple[int, ...], values: Values
) -> Values:
    """Return row-major inputs as the file takes them, as many rows as one call has."""
    layout = layout_of(network, condition, event)
    values = {n: v for n, v in values.items() if n not in network.beside}
    sizes = network.input(condition).batches
    if layout.rows is None and sizes is None:
        return layout.place(values)
    if layout.rows is not None and layout.rows <= 1:
        row = {name: value[0] for name, value in values.items()}
        return _one_row(row, layout, condition)
    sizes = sizes or _one_size(layout.rows or 1)
    return layout.place({n: v[_filled(len(v), sizes)[0]] for n, v in values.items()})


class _Rows:
    """One row a call; vectorised by vmap until an operator refuses it."""

    def __init__(
        self, call: Call, layout: Layout, condition: str, vectorise: bool
    ) -> None:
        self._call, self._layout, self._condition = call, layout, condition
        self._vectorise = vectorise

    def __call__(self, values: Values) -> dict[str, Tensor]:
        if self._vectorise:
            try:
                return self._all_at_once(values)
            except (RuntimeError, ValueError, NotImplementedError, AuditError):
                self._vectorise = False
        rows = len(values[self._condition])
        results = [self._one({n: v[i] for n, v in values.items()}) for i in range(rows)]
        return {name: torch.stack([r[name] for r in results]) for name in results[0]}

    def _all_at_once(self, values: Values) -> dict[str, Tensor]:
        """Map over what differs between rows; what is equal stays a plain number."""
        shared = {
            name: value[0]
            for name, value in values.items()
            if name != self._condition and _is_constant(value)
        }
        moving = {name: value for name, value in values.items() if name not in shared}
        return dict(torch.func.vmap(lambda row: self._one({**row, **shared}))(moving))

    def _one(self, row: Values) -> dict[str, Tensor]:
        outputs = self._call(_one_row(row, self._layout, self._condition))
        if self._layout.rows == 0:
            return outputs
        return {name: value.squeeze(0) for name, value in outputs.items()}


def _in_batches(
    call: Call, layout: Layout, sizes: range, values: Values
) -> dict[str, Tensor]:
    """Call with batches of some sizes, the last filled up with its last row."""
    rows = len(next(iter(values.values())))
    parts = [
        call(layout.place({n: v[index] for n, v in values.items()}))
        for index in _filled(rows, sizes)
    ]
    return {name: torch.cat([p[name] for p in parts])[:rows] for name in parts[0]}


def _one_size(rows: int) -> range:
    return range(rows, rows + 1)


def _filled(rows: int, sizes: range) -> Tensor:
    """Return the rows of each call [calls, size]: few calls, and each of one size."""
    places = -(-(rows - sizes.start) // sizes.step)  # the first size that holds them
    size = sizes[min(max(places, 0), len(sizes) - 1)]
    return torch.arange(-(-rows // size) * size).clamp_max(rows - 1).reshape(-1, size)


def _one_row(row: Values, layout: Layout, condition: str) -> dict[str, Tensor]:
    """Return one row as the file takes it: with the axes it declares."""
    return {
        name: value.unsqueeze(0)
        if _lacks_axis(name, value, layout, condition)
        else value
        for name, value in row.items()
    }


def _lacks_axis(name: str, value: Tensor, layout: Layout, condition: str) -> bool:
    if name == condition:
        return layout.rows == 1
    if name not in layout.ranks:
        return layout.rows == 1
    return value.dim() < layout.ranks[name]


def _batch_axis(port: Port, batch: int | str | None) -> int | None:
    """Return which axis of an input has the batch of the condition's first axis."""
    if port.shape is None:
        return 0
    if isinstance(batch, str) and batch in port.shape:
        return port.shape.index(batch)
    if isinstance(batch, int):
        return port.shape.index(batch) if batch in port.shape else None
    free = [i for i, axis in enumerate(port.shape) if not isinstance(axis, int)]
    return free[0] if free else None


def _one_for_all(name: str, value: Tensor) -> Tensor:
    if not _is_constant(value):
        raise InputError(
            f"The held input '{name}' differs between the rows of the data",
            "The model takes one value of it for a whole batch",
            f"Pass --held {name}=VALUE, or export the model with a batch of one",
        )
    return value[0]


def _is_constant(value: Tensor) -> bool:
    return bool((value == value[:1]).all())


def _fits(declared: tuple[int | str | None, ...], event: tuple[int, ...]) -> bool:
    return len(declared) == len(event) and all(
        not isinstance(axis, int) or axis == size
        for axis, size in zip(declared, event, strict=True)
    )


def _no_rows(port: Port) -> InputError:
    return InputError(
        f"The model's input is {port}: it declares a batch of 0 rows",
        "Exporters write 0 for a size that they do not know, and runtimes take it at "
        "its word: no number of rows fits",
        "Declare the axis by a name: set dim_param = 'n' on it in the ONNX file, or "
        "export the model with a dynamic batch axis",
    )


def _wrong_shape(port: Port, event: tuple[int, ...]) -> InputError:
    return InputError(
        f"Each row of the data has the shape {list(event)}",
        f"The model's input is {port}, its first axis the batch",
        "Reshape the data, or name another array with --condition NAME=KEY (of a table "
        "its columns: DATA::a,b,c; --target-key sets that of θ aside)",
    )
