"""A scan before its first number: the model, which rows are audited, what is searched.

What cannot work is refused here, before a block is measured: options that do not go
together, a folder that does not exist, a target that does not fit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from audit.config import ScanConfig
from audit.ground import stages, watch
from audit.ground.errors import ConfigError
from audit.measure.preparation import Prepared, prepare
from audit.models.network import Network
from audit.reports.keys import check_config
from audit.run.engines import ENGINES
from audit.run.engines.threads import torch_threads
from audit.run.folder import check_options, refuse_open
from audit.run.overwriting import keep_inputs
from audit.run.targets import refuse_early
from audit.run.work import threads_inside, threads_of
from audit.verify import Ladder, ladder_of


@dataclass(frozen=True)
class Opened:
    """The model, and which rows are audited."""

    config: ScanConfig
    prepared: Prepared
    started: float
    names: list[str] | None
    """Of the features, if the data name them."""
    ladder: Ladder
    """The sizes that are searched for worst cases."""

    @property
    def total(self) -> int:
        """How many rows are audited."""
        return len(self.prepared.selected)


@contextmanager
def open_scan(config: ScanConfig, network: Network | None = None) -> Iterator[Opened]:
    """Open the model; torch has as many threads of its own as the scan gives it."""
    own = torch.get_num_threads()
    with torch_threads(1):
        opened = _opened(config, network)
        torch.set_num_threads(threads_inside(config, opened.prepared, own))
        yield opened


def _opened(config: ScanConfig, network: Network | None) -> Opened:
    started = time.time()
    check_config(config)
    check_options(config)
    _refuse_no_folder(config.witness)
    keep_inputs(config)
    ENGINES[config.engine]  # a name that is none, or a broken one, is said now
    if network is not None:
        refuse_open(config)
    stages.stage(stages.OPEN)
    with watch.opening(config.model.path, config.open_timeout):
        prepared = prepare(config, True, network)
    refuse_early(config, prepared)
    threads_of(config, prepared)  # more than there may be are refused now
    names = _feature_names(prepared, config.memory)
    ladder = ladder_of(prepared.questions, config.sizes, config.norm)
    return Opened(config, prepared, started, names, ladder)


def _refuse_no_folder(path: str | None) -> None:
    """Refuse, before anything is measured, a file whose folder does not exist."""
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise ConfigError(
            f"Witnesses were to be kept in '{path}', whose folder does not exist",
            "Expected a folder to write a file into",
            "Create it, or correct --witness",
        )


def _feature_names(prepared: Prepared, memory: int) -> list[str] | None:
    """Return the names of what is perturbed, where that is the data."""
    model = prepared.model
    if model.space != "input":
        return None
    return model.inputs.feature_names(model.event, memory)
