"""Files whose rows are not on the first axis, and files that take one row at a time.

`--batch-axis 1`: outputs are time-major, [T, N, K]. Whether the condition is too cannot
be told where no shapes are declared, so it is tried: a call of n rows has to give every
output n rows on that axis, for two numbers n. That a file which takes [n, T, d] for [T,
n, d] would mix the rows is for the gate of row independence to see.

`--rows one`: the file gets one row a call, with a batch of one that its outputs lose
again. So do files whose first axis is their own, a set or a graph, or whose rows
interact by design.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.ground.errors import ConfigError, cause
from audit.models.batching import any_batch
from audit.models.network import Call, Network, Values, carried


def row_by_row(network: Network) -> Network:
    """Return the network run on one row a call, with a batch of one."""
    return carried(network, lambda each: replace(each, rows=1))


def with_batch_axis(
    network: Network, axis: int, condition: str, values: Values
) -> Network:
    """Return the network with its rows moved to the first axis.

    Args:
        network: the opened file.
        axis: of the rows in its outputs, and perhaps in its condition.
        condition: the perturbed input.
        values: a few rows of every input, rows first.

    Raises:
        ConfigError: neither way of giving it the condition puts rows on that axis.
    """
    if axis == 0:
        return network
    failures: list[str] = []
    for inputs in _condition_first(network, axis, condition, values):
        moved = _Moved(axis, condition if inputs else "")
        other = carried(network, moved.network)
        if all(_gives_rows(other, condition, values, n, failures) for n in (2, 3)):
            return other
    raise ConfigError(
        f"--batch-axis {axis} was given, and no call of the file has its rows on that "
        f"axis of every output ({failures[-1]})",
        f"Expected outputs [.., N, ..] with the rows on axis {axis}, for rows of the "
        f"condition on axis 0 or {axis}",
        "robaudit inspect shows the shapes; leave --batch-axis out where the rows come "
        "first",
    )


def _condition_first(
    network: Network, axis: int, condition: str, values: Values
) -> Iterator[bool]:
    """Yield whether the condition's rows are on that axis too, the likelier first."""
    if values[condition].dim() > axis:
        shape = network.input(condition).shape
        fixed = shape is not None and len(shape) > axis and isinstance(shape[axis], int)
        if not fixed:
            yield True
    yield False


def _gives_rows(
    network: Network, condition: str, values: Values, rows: int, failures: list[str]
) -> bool:
    """Whether so many rows come out on the first axis of every output."""
    index = torch.arange(rows) % len(values[condition])
    some = {name: value[index] for name, value in values.items()}
    try:
        with torch.no_grad():
            call = any_batch(network, condition, tuple(values[condition].shape[1:]))
            outputs = call(some)
    except Exception as error:  # a saved program raises whatever it likes
        failures.append(cause(error))
        return False
    shapes = {name: list(value.shape) for name, value in outputs.items()}
    failures.append(f"with rows first, {rows} rows give {shapes}")
    return all(shape[:1] == [rows] for shape in shapes.values())


@dataclass(frozen=True)
class _Moved:
    """Moves rows between the first axis and the file's own.

    Args:
        axis: of the rows.
        condition: the input they are moved in; "" for none.
    """

    axis: int
    condition: str

    def network(self, network: Network) -> Network:
        """Return the network, rows first."""
        locate = network.locate
        ports = tuple(
            replace(port, shape=_first(port.shape, self.axis))
            if port.name == self.condition
            else port
            for port in network.inputs
        )

        def moved_locate(values: Values, condition: str | None) -> str | None:
            assert locate is not None
            return locate(self.placed(values), condition)

        outputs = tuple(
            replace(port, shape=_first(port.shape, self.axis))
            for port in network.outputs
        )
        return network.rewired(
            self.call,
            inputs=ports,
            outputs=outputs,
            locate=locate and moved_locate,
        )

    def placed(self, values: Values) -> dict[str, Tensor]:
        """Return the inputs as the file has them."""
        return {
            name: value.movedim(0, self.axis) if name == self.condition else value
            for name, value in values.items()
        }

    def call(self, call: Call) -> Call:
        """Return the call, rows first; an output without that axis stays."""

        def moved(values: Values) -> dict[str, Tensor]:
            return {
                name: value.movedim(self.axis, 0) if value.dim() > self.axis else value
                for name, value in call(self.placed(values)).items()
            }

        return moved


def _first(
    shape: tuple[int | str | None, ...] | None, axis: int
) -> tuple[int | str | None, ...] | None:
    """Return a shape with that axis moved to the front."""
    if shape is None or len(shape) <= axis:
        return shape
    return (shape[axis], *shape[:axis], *shape[axis + 1 :])
