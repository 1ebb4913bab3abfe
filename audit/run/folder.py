"""A run on the disk: which parts are there, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.config import ScanConfig
from audit.ground.errors import ConfigError, Incomplete, InputError, cause
from audit.ground.storage.temporary import sweep
from audit.reports.files import check_writable
from audit.run.engines.cluster import check_cluster, cluster_of
from audit.run.manifest import NAME, Manifest, exists, read_manifest
from audit.run.parts import Damaged, Tree, read_part, write_part
from audit.run.plan import Job, read_shard


@dataclass(frozen=True)
class Run:
    """A folder and its manifest: plain data, for any worker."""

    folder: str
    manifest: Manifest

    @property
    def jobs(self) -> list[Job]:
        """The jobs of the run, in order."""
        return self.manifest.jobs

    def path(self, job: Job) -> Path:
        """Return the part file of a job."""
        return Path(self.folder) / f"part-{job.start:010d}-{job.stop:010d}.npz"

    def write(self, job: Job, answers: Tree) -> None:
        """Keep a job's answers.

        Raises:
            InputError: the folder cannot be written or the disk is full.
        """
        write_part(self.path(job), {"run": self.manifest.digest, "answers": answers})

    def read(self, job: Job) -> dict[str, Any]:
        """Return a job's answers.

        Raises:
            FileNotFoundError: they are not there.
            Damaged: they are not what was written, or another run's.
        """
        part = read_part(self.path(job))
        if part.get("run") != self.manifest.digest:
            raise Damaged("it belongs to another run")
        answers: dict[str, Any] = part.get("answers", {})
        try:
            rows = len(answers["index"]) + len(answers["skipped"])
        except (LookupError, TypeError) as error:
            raise Damaged(cause(error)) from None
        if rows != job.rows:
            raise Damaged("it does not hold the rows of its name")
        return answers

    def seen(self) -> tuple[int, int] | None:
        """Return what tells this folder from one of its name on another machine.

        Its manifest was written once: when, to the nanosecond, and its bytes. None
        where there is no such folder.
        """
        try:
            found = (Path(self.folder) / NAME).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def sound(self, job: Job) -> bool:
        """Tell whether a job is done: its part is there, whole and of this run.

        Raises:
            InputError: the part may not be read.
        """
        try:
            self.read(job)
        except (FileNotFoundError, Damaged):
            return False
        except OSError as error:
            raise InputError(
                f"'{self.path(job)}' cannot be read: {error.strerror}",
                "Expected a part that may be read",
                "Check who may read the folder",
            ) from None
        return True

    def sweep(self) -> None:
        """Remove what killed processes left half-written."""
        sweep(Path(self.folder))

    def missing(self, jobs: Iterable[Job] | None = None) -> list[Job]:
        """Return the jobs that are not done; damaged parts are not."""
        wanted = self.jobs if jobs is None else jobs
        return [job for job in wanted if not self.sound(job)]

    def taken(self, job: Job) -> dict[str, Any]:
        """Return the answers of a job that was found sound.

        Raises:
            Incomplete: something happened to the part since then.
        """
        try:
            return self.read(job)
        except (OSError, Damaged) as error:
            raise Incomplete(
                f"'{self.path(job)}' was lost while it was read: {error}",
                "Expected a part that stays as it is",
                "Measure it again with --resume",
            ) from None


def open_folder(folder: str) -> Run:
    """Open a run that is there.

    Raises:
        ConfigError: there is none.
    """
    return Run(folder, read_manifest(folder))


def refuse_open(config: ScanConfig) -> None:
    """Refuse options that have a model opened again, of one that is no file.

    Raises:
        ConfigError: one of them was given.
    """
    asked = {
        f"--workers {config.workers}": config.workers > 1,
        f"--engine {config.engine}": cluster_of(config) is not None,
        "--run-dir": config.run_dir is not None,
        "--shard": config.shard is not None,
    }
    for option in (name for name, given in asked.items() if given):
        raise ConfigError(
            f"{option} was given for a model that is no file",
            "Other processes open the model for themselves, and need one to open",
            "Leave it out, or export the model and give its path",
        )


def check_options(config: ScanConfig) -> None:
    """Refuse, before anything is opened, options of runs that cannot be obeyed.

    Raises:
        ConfigError: --resume or --shard without --run-dir, a folder that cannot be
            written, or that holds a run which nobody asked to resume; a cluster that
            cannot be used.
        AuditError: a cluster that does not answer.
    """
    check_cluster(config)
    shard = read_shard(config.shard) if config.shard is not None else None
    if config.run_dir is None:
        given = "--resume" if config.resume else "--shard" if shard else ""
        if given:
            raise ConfigError(
                f"{given} was given without a folder",
                "Expected the folder of the run, which keeps its finished parts",
                f"Add --run-dir FOLDER to {given}",
            )
        return
    _check_folder(config.run_dir)
    if exists(config.run_dir) and not (config.resume or shard):
        raise ConfigError(
            f"'{config.run_dir}' already holds a run",
            "Expected a new folder, or --resume to go on with it",
            "Pass --resume, or choose another --run-dir",
        )


def _check_folder(folder: str) -> None:
    if "://" in folder:
        raise ConfigError(
            f"--run-dir is '{folder}'",
            "Expected a folder of a disk: parts appear there whole, and are locked",
            "Name a folder here; with --engine ray the parts of all nodes come there",
        )
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ConfigError(
            f"--run-dir is '{folder}', which is a file",
            "Expected a folder, or the name of a new one",
            "Choose another --run-dir",
        )
    check_writable(path / NAME if path.is_dir() else path)
