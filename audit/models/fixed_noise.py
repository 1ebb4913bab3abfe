"""A network without its noise input, which has fixed values for all inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import ModelError
from audit.models.network import Call, Network, Port, Values, carried
from audit.nodes.base_laws import BASE_LAWS
from audit.nodes.noise import Noise


def points_of(network: Network, count: int) -> Tensor:
    """Return z [S, m], drawn by the seed alone.

    They are numbers of single precision, so that a file has the same masks in double.
    """
    details = network.details
    noise = Noise(int(str(details["seed"])), np.zeros(1, np.int64), count)
    uniforms = noise.uniforms(int(str(details["count"])))[:, 0]
    return BASE_LAWS[str(details["law"])].quantile(uniforms).float().double()


def with_noise(network: Network, points: Tensor, stacked: bool) -> Network:
    """Return the network without its noise input, which has these values."""
    given = _Given(str(network.details["noise"]), points, stacked, _rows_of(network))

    def change(each: Network) -> Network:
        dtype = each.dtype_of(given.name)
        return each.rewired(
            lambda call: given.call(call, dtype),
            inputs=tuple(p for p in each.inputs if p.name != given.name),
            outputs=tuple(given.port(port) for port in each.outputs),
            details={**each.details, "masks": len(points) if stacked else 0},
            behind=None,
        )

    return carried(network, change)


def _rows_of(network: Network) -> str:
    """Return the input whose first axis has the rows of a call, "" where it is one."""
    noise = network.input(str(network.details["noise"]))
    if noise.fixed_batch == 1:
        return ""
    others = (port for port in network.required if port.name != noise.name)
    found = next((p.name for p in others if p.shape and p.fixed_batch is None), "")
    if noise.fixed_batch is not None or not found:
        raise ModelError(
            f"The file takes {noise.fixed_batch or 'an unknown number of'} rows a call",
            "Noise can be fixed where a call takes one row, or any number",
            "Export the model with a dynamic batch axis",
        )
    return found


@dataclass(frozen=True)
class _Given:
    """Noise that has its values.

    Args:
        name: of the input. points: z [S, m].
        stacked: whether all S are run, and stacked; else there is one.
        rows: the input that tells how many rows a call has; "" for one.
    """

    name: str
    points: Tensor
    stacked: bool
    rows: str

    def port(self, port: Port) -> Port:
        """Return an output as it is declared now."""
        if not self.stacked or not port.shape:
            return port
        return replace(port, shape=(port.shape[0], len(self.points), *port.shape[1:]))

    def call(self, call: Call, dtype: torch.dtype) -> Call:
        """Return the call without the noise."""

        def run(values: Values) -> dict[str, Tensor]:
            first = next(iter(values.values()))
            points = self.points.to(first.device, dtype)
            rows = len(values[self.rows]) if self.rows else 1
            found = [call({**values, self.name: z.expand(rows, -1)}) for z in points]
            if not self.stacked:
                return found[0]
            return {n: torch.stack([f[n] for f in found], dim=1) for n in found[0]}

        return run
