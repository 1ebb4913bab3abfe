"""A file of witnesses that anybody can replay: x, δ, both predictions, and D.

An npz with W rows, one for each divergence, input and size. The model's inputs are in
it under their own names, x among them, so that it is the data of the model; what is
about the witnesses has names that begin with `witness.`:

    witness.about       JSON in UTF-8, as bytes: what the file is, the model's hashes
                        and contract, the names of the divergences, the key of the noise
    witness.index       of the input in the data [W]
    witness.divergence  which one of the names [W]
    witness.size        ε [W], of the norm p
    witness.p           1, 2 or ∞ [W]
    witness.delta       δ [W, d], in the inputs' own units
    witness.phi, witness.phi_moved    φ(x) and φ(x + δ) [W, p]
    witness.value, witness.error      D and its standard error [W]
    witness.unit        one unit of each feature [d], or of each witness's [W, d]; 0
                        where it may not move
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks.balls import NORMS, Ball
from audit.families.interface import Family
from audit.geometry.divergence import Divergence
from audit.ground.errors import ConfigError, InputError
from audit.ground.storage.arrays import Array, read_arrays
from audit.nodes.noise import Noise
from audit.verify.exact import outside

KIND, VERSION = "robaudit.witness", 1
PREFIX = "witness."
_NUMBERS = ("index", "divergence", "size", "p", "value", "error")
_WIDE = ("delta", "phi", "phi_moved")
_EXPECTED = "Expected a file that robaudit scan wrote with --witness"
_NEXT = "Write it again with robaudit scan MODEL DATA --witness FILE"
_SAYS = ("asked", "divergences", "family", "method", "model", "noise")
ROWS = (*_NUMBERS, *_WIDE)


@dataclass(frozen=True)
class WitnessFile:
    """What a file says.

    Args:
        path: it. about: its JSON. columns: what it holds, by name without prefix.
    """

    path: str
    about: Mapping[str, Any]
    columns: Mapping[str, NDArray[np.float64]]

    def noise(self, rows: NDArray[np.intp]) -> Noise:
        """Return the randomness of some of its rows."""
        index = self.columns["index"][rows].astype(np.int64)
        key = self.about["noise"]
        return Noise(key["seed"], index, key["draws"], key["sampling"])

    def lengths(self, rows: Tensor) -> Tensor:
        """Return ‖u‖_p [W] of δ = S u at some rows; ∞ where a masked feature moves."""
        unit = torch.from_numpy(self.columns["unit"])
        delta = torch.from_numpy(self.columns["delta"])[rows]
        p = torch.from_numpy(self.columns["p"])[rows]
        if unit.dim() > 1:  # rows have their own
            u = torch.where(delta == 0, 0.0, delta / unit[rows])
            return self._norms(u, p)
        free = unit > 0
        u = delta[:, free] / unit[free]
        found = self._norms(u, p)
        moves = (delta[:, ~free] != 0).any(dim=1)
        return torch.where(moves, torch.inf, found)

    @staticmethod
    def _norms(u: Tensor, p: Tensor) -> Tensor:
        """Return ‖u‖_p [W] of u [W, m], each by its own p; ∞ where u is."""
        found = torch.full_like(p, torch.nan)
        for norm in NORMS.values():
            found = torch.where(p == norm, Ball(norm).norm(u), found)
        return found


def read_witness(path: str) -> WitnessFile:
    """Read a file of witnesses.

    Raises:
        InputError: there is none, it is damaged, or it is something else.
    """
    try:
        arrays = read_arrays(path)
    except FileNotFoundError:
        raise InputError(f"There is no file '{path}'", _EXPECTED, _NEXT) from None
    about = _read_about(path, arrays)
    lacking = [name for name in (*ROWS, "unit") if f"{PREFIX}{name}" not in arrays]
    if lacking:
        raise _broken(path, f"has no '{PREFIX}{lacking[0]}'")
    columns = {
        name: np.asarray(arrays[f"{PREFIX}{name}"], np.float64)
        for name in (*ROWS, "unit")
    }
    rows = len(columns["index"]) if columns["index"].ndim == 1 else 0
    for name in ROWS:
        wide = name in _WIDE
        shape = columns[name].shape
        if not rows or len(shape) != 1 + wide or shape[0] != rows:
            raise _broken(path, f"holds '{PREFIX}{name}' of shape {list(shape)}")
    unnamed = ~np.isin(columns["divergence"], np.arange(len(about["divergences"])))
    if unnamed.any() or not np.isin(columns["p"], list(NORMS.values())).all():
        raise _broken(path, "holds a divergence or a norm that it does not name")
    if not ((columns["size"] > 0) & np.isfinite(columns["size"])).all():
        raise _broken(path, "holds a size that is no finite number above zero")
    unit = columns["unit"]
    if not ((unit >= 0) & np.isfinite(unit)).all() or not (unit > 0).any():
        raise _broken(path, "has a unit that is no finite number from zero on")
    moved = columns["delta"].shape
    if unit.shape not in (moved, moved[1:]):
        raise _broken(path, "has a δ of another length than its units")
    if columns["phi"].shape != columns["phi_moved"].shape:
        raise _broken(path, "has φ(x) and φ(x + δ) of different lengths")
    return WitnessFile(path, about, columns)


def value_of(
    divergence: Divergence, family: Family, phi: Tensor, moved: Tensor, noise: Noise
) -> tuple[Tensor, Tensor]:
    """Return D(q_φ ‖ q_φ') [W] and its error, row by row; ∞ where φ' is no member.

    Args:
        divergence: it.
        family: of both laws.
        phi: φ [W, p].
        moved: φ' [W, p].
        noise: of the rows.

    Raises:
        ConfigError: no exact value is known.
    """
    laws = family.reference(divergence, phi, noise)
    if laws is None:
        raise ConfigError(
            f"No exact value of {divergence.name} is known for {family.name}",
            "A witness is worth an exact value",
            "Replay another divergence",
        )
    apart = outside(family, moved.unsqueeze(1)).squeeze(1)
    others = torch.where(apart.unsqueeze(1), phi, moved)
    rows = torch.arange(len(phi), device=phi.device)
    value, error = (one.squeeze(1) for one in laws(rows, others.unsqueeze(1)))
    return value.masked_fill(apart, torch.inf), error.masked_fill(apart, 0.0)


def _read_about(path: str, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return the JSON of a file."""
    stored = arrays.get(f"{PREFIX}about")
    if stored is None or stored.dtype != np.uint8:
        raise InputError(f"'{path}' is no file of witnesses", _EXPECTED, _NEXT)
    try:
        about = json.loads(stored.tobytes().decode("utf-8"))
        kind, version = about["kind"], about["version"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise _broken(path, f"has a '{PREFIX}about' that cannot be read") from None
    if (kind, version) != (KIND, VERSION):
        said = f"is of the kind {kind!r}, version {version!r}"
        raise _broken(path, f"{said}, and not {KIND!r}, version {VERSION}")
    lacking = [name for name in _SAYS if name not in about]
    if lacking:
        raise _broken(path, f"does not say its {lacking[0]}")
    found: dict[str, Any] = about
    return found


def _broken(path: str, said: str) -> InputError:
    return InputError(f"The file of witnesses '{path}' {said}", _EXPECTED, _NEXT)
