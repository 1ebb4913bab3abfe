"""The frame of perturbations that the units and the mask of a scan ask for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from audit.config import ScanConfig
from audit.geometry.frame import MEASURED, build_frame, read_mask, read_units
from audit.geometry.row_frame import Frames, RowFrame, of_rows, of_table, statistic
from audit.ground.errors import ConfigError
from audit.models.opening import OpenModel

Notes = tuple[tuple[str, str], ...]  # (code, message)
_OF_ROW = (
    "perturbations are in units of each input's own level ({}), so every norm and "
    "radius is relative to it; what all inputs share in other units (the universal "
    "direction, the data's principal space) is not computed"
)


_OF_FILE = (
    "perturbations are in each input's own units, from the file, and so is every norm "
    "and radius; what all inputs share in other units (the universal direction, the "
    "data's principal space) is not computed"
)


def frame_of(config: ScanConfig, model: OpenModel) -> tuple[Frames, Notes]:
    """Return the frame, and what is to be said of it.

    Raises:
        ConfigError: units, or mask, and model do not go together, or nothing is free.
    """
    level = statistic(config.units)
    if level:
        return _own_frame(config, model, level)
    sizes = np.ones(model.event)
    notes: Notes = ()
    if config.units in MEASURED:
        sizes, notes = _measured(config.units, model)
    units = read_units(config.units, model.event, sizes, model.inputs.n)
    if units.shape != model.event:
        free, d = _free(config, model)
        return RowFrame(of_table(units), free, d), (("row_units", _OF_FILE),)
    mask = read_mask(config.mask, model.event) & (units > 0)
    if not mask.any():
        raise ConfigError(
            f"No feature is free: --units {config.units} gives all those of the mask "
            "a size of zero",
            "A deviation of zero is no unit",
            "Choose --units input, or other data",
        )
    return build_frame(units, mask, model.network.device), notes


def _own_frame(
    config: ScanConfig, model: OpenModel, level: str
) -> tuple[RowFrame, Notes]:
    """Return the frame of each row's own level, and what is to be said.

    Raises:
        ConfigError: what is perturbed are no rows of the data.
    """
    if model.space == "parameters":
        raise _no_data(config.units, "A row's own level is that of its features")
    free, d = _free(config, model)
    said = _OF_ROW.format(level)
    return RowFrame(of_rows(level, model.perturbed, d), free, d), (("row_units", said),)


def _free(config: ScanConfig, model: OpenModel) -> tuple[torch.Tensor, int]:
    """Return the free features [m] on the model's device, and d."""
    mask = read_mask(config.mask, model.event)
    free = torch.from_numpy(np.flatnonzero(mask)).to(model.network.device)
    return free, mask.size


def _no_data(units: str, why: str) -> ConfigError:
    return ConfigError(
        f"--units {units} was given with --space parameters",
        why,
        "Give the units of the parameters in a file: --units FILE",
    )


def _measured(units: str, model: OpenModel) -> tuple[NDArray[np.float64], Notes]:
    """Return each feature's deviation over the data [*event], and what is to be said.

    Raises:
        ConfigError: what is perturbed are no features of the data.
    """
    if model.space == "parameters":
        raise _no_data(units, "Deviations are those of the data's features")
    name = model.roles.condition
    found = {
        "std": model.inputs.standard_deviations,
        "mad": model.inputs.median_deviations,
    }[units](name)
    still = int((found == 0).sum())
    return found, (
        (("constant_features", _constant_note(units, still, found.size)),)
        if still
        else ()
    )


def _constant_note(units: str, still: int, size: int) -> str:
    what = {
        "std": "are constant in the data",
        "mad": "have one value in half of the data or more",
    }[units]
    return (
        f"{still} of {size} features {what}; with --units {units} they have no unit "
        "and are not perturbed"
    )
