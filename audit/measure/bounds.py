"""The valid range of the inputs: `--bounds lo,hi`, or a file with both by feature.

It holds every input that is measured; those of each block are looked at, so that the
answer does not depend on which are checked against exact values.

Bounds are in the inputs' own units, and what they bound is x + δ. With δ = S u each
free feature has lower ≤ x + s u ≤ upper, an interval for u that contains 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.geometry.frame import Frame
from audit.ground.errors import ConfigError, InputError
from audit.ground.storage.arrays import Array, read_arrays
from audit.nodes.noise import Noise

Event = tuple[int, ...]
_EXPECTED = (
    "Expected lo,hi, or an .npz with the arrays lower and upper that broadcast to one "
    "input"
)


class Place(Protocol):
    """Inputs that are about to be moved."""

    @property
    def frame(self) -> Frame:
        """In which they move."""

    @property
    def x(self) -> Tensor:
        """[n, d]."""

    @property
    def noise(self) -> Noise:
        """With their index."""


@dataclass(frozen=True)
class Bounds:
    """lower ≤ x + δ ≤ upper, for each of the d features of an input [d]; ±∞: none."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def box(self, site: Place) -> tuple[Tensor, Tensor]:
        """Return the ends of u [n, m] each.

        Raises:
            ConfigError: an input lies outside of the bounds.
        """
        frame, x = site.frame, site.x.double()
        self.require(x, site.noise.index)
        lower, upper = self._ends(x)
        free = x[:, frame.free]
        moves = frame.unit > 0  # what does not move is everywhere between the ends
        low = torch.where(moves, (lower[frame.free] - free) / frame.unit, -torch.inf)
        high = torch.where(moves, (upper[frame.free] - free) / frame.unit, torch.inf)
        return low.clamp_max(0.0), high.clamp_min(0.0)

    def require(self, x: Tensor, index: NDArray[np.int64]) -> None:
        """Refuse inputs x [n, d] that lie outside.

        Raises:
            ConfigError: one does; it is named by its index [n].
        """
        lower, upper = self._ends(x)
        outside = (x < lower) | (x > upper)
        if bool(outside.any()):
            row, feature = outside.nonzero()[0].tolist()
            raise ConfigError(
                f"--bounds exclude input {index[row]}: its feature "
                f"{feature} is {float(x[row, feature]):g}, outside of "
                f"[{float(lower[feature]):g}, {float(upper[feature]):g}]",
                "The valid range holds every input that is audited, in the inputs' own "
                "units",
                "Widen --bounds, or leave the input out with --index",
            )

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        ends = (torch.from_numpy(end) for end in (self.lower, self.upper))
        lower, upper = (end.to(x.device) for end in ends)
        return lower, upper


def read_bounds(text: str, event: Event) -> Bounds:
    """Return the bounds that an option spells, for inputs of the shape `event`.

    Raises:
        ConfigError: they cannot be read, do not fit, or leave nothing between them.
    """
    pair = _pair(text)
    ends = (np.array(pair[0]), np.array(pair[1])) if pair else _stored(text)
    try:
        lower, upper = (
            np.array(np.broadcast_to(np.asarray(end, np.float64), event)).ravel()
            for end in ends
        )
    except (ValueError, TypeError):
        shapes = " and ".join(str(list(end.shape)) for end in ends)
        said = f"have the shapes {shapes}: one input has {list(event)}"
        raise _wrong(text, said) from None
    if np.isnan(lower).any() or np.isnan(upper).any():
        raise _wrong(text, "hold NaN")
    if (lower >= upper).any():
        where = int(np.argmax(lower >= upper))
        said = f"leave nothing between {lower[where]:g} and {upper[where]:g}"
        raise _wrong(text, f"{said} (feature {where})")
    return Bounds(lower, upper)


def _pair(text: str) -> tuple[float, float] | None:
    """Return the two numbers of "lo,hi"; None where it is none."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return None if math.isnan(low) or math.isnan(high) else (low, high)


def _stored(text: str) -> tuple[Array, Array]:
    try:
        found = read_arrays(text)
    except (InputError, OSError) as error:
        said = error.given if isinstance(error, InputError) else str(error.strerror)
        raise ConfigError(
            f"--bounds {text} cannot be read ({said})", _EXPECTED, "Correct --bounds"
        ) from None
    if not {"lower", "upper"} <= set(found):
        keys = ", ".join(sorted(key for key in found if key)) or "none"
        raise _wrong(text, f"have the keys {keys}")
    return found["lower"], found["upper"]


def _wrong(text: str, said: str) -> ConfigError:
    return ConfigError(f"--bounds {text} {said}", _EXPECTED, "Correct --bounds")
