"""From an open model to the run folder that keeps its answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from audit.config import ScanConfig
from audit.ground.errors import ConfigError
from audit.measure.plan import KRYLOV
from audit.measure.preparation import Prepared
from audit.measure.records import file_records
from audit.reports.rows import RowsWriter
from audit.run.folder import Run
from audit.run.identity import Identity, identity, packages, refuse_another
from audit.run.jobs import part_rows
from audit.run.manifest import Manifest, create, exists, plain_config, read_manifest
from audit.run.plan import read_shard


@dataclass(frozen=True)
class Asked:
    """What a manifest remembers beside what is measured."""

    config: ScanConfig
    """The settings before limits were worked out from a baseline and waivers."""
    command: tuple[str, ...] = ()
    """The words of the command line, without those of this process alone."""


def begin(
    config: ScanConfig,
    prepared: Prepared,
    total: int,
    rows: RowsWriter | None,
    asked: Asked,
) -> Run:
    """Open the run in --run-dir, or begin it, and see that it is ours.

    Args:
        config: everything there is to know.
        prepared: the open model.
        total: rows of the selection.
        rows: what takes every column, if a rows file is wanted.
        asked: what to remember.

    Raises:
        ConfigError: the folder holds a run of something else, or one that keeps less
            than is needed.
    """
    folder, ours = str(config.run_dir), identity_of(config, prepared)
    if exists(folder):
        manifest = read_manifest(folder)
    else:
        manifest = create(folder, _manifest(config, prepared, total, rows, asked, ours))
    run = Run(folder, manifest)
    check_run(run, ours, rows)
    run.sweep()
    return run


def _manifest(
    config: ScanConfig,
    prepared: Prepared,
    total: int,
    rows: RowsWriter | None,
    asked: Asked,
    ours: Identity,
) -> Manifest:
    shard = read_shard(config.shard) if config.shard else None
    whole = _needs_directions(rows) or shard is not None  # merge may be asked for rows
    return Manifest(
        identity=ours,
        total=total,
        job_rows=part_rows(config, prepared, whole, total, shard),
        block=prepared.block,
        directions=whole,
        shards=shard.of if shard else None,
        config=plain_config(replace(asked.config, resume=False, shard=None)),
        command=list(asked.command),
        folder=str(Path.cwd()),
    )


def identity_of(config: ScanConfig, prepared: Prepared) -> Identity:
    """Return what a scan measures, as far as it changes numbers.

    Whether Jacobians are stored may follow from --memory, and is part of it.
    """
    model = prepared.model
    if prepared.questions.matrix_free:
        config = replace(config, method=KRYLOV)
    files = [file.sha256 for file in file_records(model.network)]
    theirs = packages(config, model.head.family)
    libraries = {"torch": torch.__version__, **theirs}
    plan = prepared.questions.plan.rounding()
    return identity(config, files, model.inputs.sha256, libraries, plan)


def check_run(run: Run, ours: Identity, rows: RowsWriter | None) -> None:
    """Refuse a run of something else, or one that keeps less than is needed.

    Raises:
        ConfigError: says what differs or lacks.
    """
    refuse_another(run.folder, run.manifest.identity, ours)
    if _needs_directions(rows) and not run.manifest.directions:
        raise ConfigError(
            f"The run in '{run.folder}' keeps no directions, and a rows file needs "
            "those of every input",
            "Expected a run that was started with -o rows.npz, or in shards",
            "Write .csv instead, or start a run with the rows file in another "
            "--run-dir",
        )


def _needs_directions(rows: RowsWriter | None) -> bool:
    return rows is not None and rows.needs_directions


def in_blocks_of(run: Run, prepared: Prepared) -> Prepared:
    """Return the open model with the blocks of a run, on which rounding depends.

    Raises:
        ConfigError: --memory does not hold such a block now, or --plan fixes another.
    """
    block = run.manifest.block
    if prepared.questions.plan.chunk.fixed and prepared.block != block:
        raise ConfigError(
            f"--plan chunk={prepared.block} was given, and the run in '{run.folder}' "
            f"computes {block} inputs together",
            "Expected the chunk of the run: rounding depends on it",
            "Leave chunk out of --plan, or start a run in another --run-dir",
        )
    if prepared.block < block:
        raise ConfigError(
            f"--memory holds blocks of {prepared.block} inputs now; the run in "
            f"'{run.folder}' computes {block} together",
            "Expected as much memory as when it was started: rounding depends on the "
            "block",
            "Raise --memory, or start a run in another --run-dir",
        )
    return replace(prepared, block=block)
