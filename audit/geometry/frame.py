"""The perturbation's own coordinates: which features move, and in which units.

δ = S u, where u has one entry for each free feature and S puts it in its place, times
the feature's unit. The pulled-back root becomes A S, the metric tensor Sᵀ G S (a
congruence), and every direction and norm of the report is one of u. With
`--units std` a norm of 0.1 is a tenth of a standard deviation; a masked feature does
not move at all, and d counts the free ones. Units may differ from row to row
(`row_frame`): then S belongs to a block of rows, and N matrices share their places.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.ground.errors import ConfigError, InputError, boundary
from audit.ground.storage.arrays import read_arrays
from audit.linalg.operators import Diagonal, Selection
from audit.linalg.stored import LinearOperator, Matrix

Event = tuple[int, ...]
MEASURED = ("std", "mad")  # units that come from the data


@dataclass(frozen=True)
class Frame:
    """S: u [N, m] -> δ [N, d].

    Args:
        unit: size of one unit of each free feature [m], in units of the input; [N, m]
            where rows have their own.
        free: indices of the free features [m] among the d flattened ones.
        d: the number of features.
    """

    unit: Tensor
    free: Tensor
    d: int

    def at(self, index: NDArray[np.int64]) -> Frame:
        """Return the frame of some rows of the data: all have the same."""
        return self

    def taken(self, rows: Tensor) -> Frame:
        """Return the frame of some of its rows, by their places [n]."""
        return self if self.alike else replace(self, unit=self.unit[rows])

    def pull(self, jacobian: LinearOperator) -> LinearOperator:
        """Return J S [N, p, m]; where J is the identity, S itself."""
        if isinstance(jacobian, Diagonal) and bool((jacobian.entries == 1).all()):
            return Selection(self.free, self.unit, jacobian.shape[0], self.d)
        if self.is_identity:
            return jacobian
        return Matrix(jacobian.dense()[:, :, self.free] * self.unit.unsqueeze(-2))

    def push(self, u: Tensor) -> Tensor:
        """Return δ = S u: [..., m] -> [..., d]; of own rows, [N, ..., m]."""
        if self.is_identity:
            return u
        delta = u.new_zeros(*u.shape[:-1], self.d)
        unit = self.unit
        if unit.dim() > 1:
            unit = unit.reshape(len(unit), *(1,) * (u.dim() - 2), -1)
        delta[..., self.free] = u * unit
        return delta

    def pulled_back(self, slopes: Tensor) -> Tensor:
        """Return Sᵀ g [N, m] of slopes by each of the features [N, d]."""
        return slopes if self.is_identity else slopes[:, self.free] * self.unit

    def in_units(self, delta: Tensor) -> Tensor:
        """Return u of the free features of δ [N, d]: [N, m]; 0/0 = 0."""
        u = delta[:, self.free] / self.unit
        return torch.where(delta[:, self.free] == 0, 0.0, u)

    def place(self, directions: Tensor) -> Tensor:
        """Put columns u [N, m, k] back at their features, in their units: [N, k, d]."""
        if len(self.free) == self.d:
            return directions.mT
        placed = directions.new_zeros(directions.shape[0], directions.shape[2], self.d)
        placed[:, :, self.free] = directions.mT
        return placed

    def units(self, event: Event) -> NDArray[np.float64]:
        """Return one unit of each feature [*event]; 0 where it may not move.

        Where rows have their own they are [N, *event].
        """
        placed = self.push(torch.ones_like(self.unit, dtype=torch.float64))
        found = np.asarray(placed.cpu().numpy(), np.float64)
        return found.reshape((*placed.shape[:-1], *event))

    def still(self) -> Tensor:
        """Return where a row has no unit other than zero [N]; [] for all alike."""
        return (self.unit == 0).all(-1)

    @property
    def alike(self) -> bool:
        """Whether all rows have the same units."""
        return self.unit.dim() == 1

    @cached_property
    def is_identity(self) -> bool:
        """Whether every feature is free and has unit size."""
        return len(self.free) == self.d and bool((self.unit == 1).all())


def build_frame(
    units: NDArray[np.float64], mask: NDArray[np.bool_], device: torch.device
) -> Frame:
    """Return the frame of per-feature units [*event] and a mask of free features."""
    free = torch.from_numpy(np.flatnonzero(mask))
    unit = torch.from_numpy(units.ravel())[free]
    return Frame(unit.to(device), free.to(device), units.size)


def read_units(
    text: str, event: Event, measured: NDArray[np.float64], n: int = 0
) -> NDArray[np.float64]:
    """Return the unit of each feature: `input` (1), `std`, `mad`, or a file's numbers.

    Args:
        text: the option.
        event: the shape of one input.
        measured: its features' deviations over the data [*event], where asked for.
        n: how many inputs the data have; a file may hold the units of each.

    Returns:
        [*event], or [n, *event].

    Raises:
        ConfigError: the file cannot be read, or holds something else than positive
            numbers that broadcast to the event, or to all of them.
    """
    if text == "input":
        return np.ones(event)
    if text in MEASURED:
        return measured
    units = _read_array(text, "units", "input, std, mad or")
    own = units.ndim == len(event) + 1 and len(units) == n
    try:
        shape = (n, *event) if own else event
        spread = np.broadcast_to(np.asarray(units, np.float64), shape)
    except Exception:  # text and structures are no numbers, other shapes do not fit
        raise _wrong_shape("units", text, units.shape, event, n) from None
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        raise ConfigError(
            f"The units in '{text}' are not all positive numbers",
            "A unit is the size of a perturbation that counts as 1 in its feature",
            "Use --mask for features that must not move",
        )
    return np.array(spread)


def read_mask(text: str | None, event: Event) -> NDArray[np.bool_]:
    """Return which features are free: all, those of a slice, or those of a file.

    Args:
        text: None, a slice of one input such as "0:3" or ":, 2:5", or a file of
            booleans in the event's shape.
        event: the shape of one input.

    Raises:
        ConfigError: the slice or file does not fit the event, or frees nothing.
    """
    if text is None:
        return np.ones(event, dtype=bool)
    mask = np.zeros(event, dtype=bool)
    index = _parse_slice(text)
    if index is not None:
        try:
            mask[index] = True
        except Exception:  # numpy raises of every kind for an index
            raise _wrong_shape("mask", text, (), event) from None
    else:
        stored = _read_array(text, "mask", "a slice such as 0:3, or")
        if stored.shape != event:
            raise _wrong_shape("mask", text, stored.shape, event)
        mask = stored.astype(bool)
    if not mask.any():
        raise ConfigError(
            f"The mask '{text}' frees no feature of an input of shape {list(event)}",
            "True (or the slice) marks the features that are perturbed",
            "Correct --mask",
        )
    return mask


def _parse_slice(text: str) -> tuple[int | slice, ...] | None:
    """Return the index that a text such as "0:3, 5" spells, None if it is none."""
    try:
        node = ast.parse(f"_[{text}]", mode="eval").body
        if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)):
            return None
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return tuple(_part(part) for part in parts)
    except Exception:  # the parser raises of every kind, also for what is too deep
        return None


def _part(node: ast.expr) -> int | slice:
    if isinstance(node, ast.Slice):
        ends = (node.lower, node.upper, node.step)
        return slice(*(None if end is None else _integer(end) for end in ends))
    return _integer(node)


def _integer(node: ast.expr) -> int:
    value = ast.literal_eval(node)
    if type(value) is not int:
        raise TypeError(f"{value!r} is no index")
    return value


def _read_array(text: str, option: str, also: str) -> NDArray[np.generic]:
    expected = f"Expected {also} an .npy file (or an .npz with one key)"
    said, step = f"--{option} {text} cannot be read", f"Correct --{option}"
    with boundary(said, expected, step, ConfigError):
        try:
            (found,) = read_arrays(text).values()
        except InputError as error:
            raise ConfigError(f"{said} ({error.given})", expected, step) from None
        if found.dtype.kind not in "biuf":
            raise ConfigError(f"{said} (it holds {found.dtype})", expected, step)
        return found


def _wrong_shape(
    option: str, text: str, shape: Event, event: Event, n: int = 0
) -> ConfigError:
    every = f", and all {n} of them {[n, *event]}" if n else ""
    has = f" has the shape {list(shape)}, which" if shape else ""
    return ConfigError(
        f"--{option} {text}{has} does not fit",
        f"One input has the shape {list(event)}{every}",
        f"Correct --{option}",
    )
