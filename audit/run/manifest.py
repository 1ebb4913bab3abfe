"""The manifest of a run folder: written once, by whoever comes first."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    PositiveInt,
    ValidationError,
    model_validator,
)

from audit.config import AttackConfig, ModelConfig, ScanConfig, Threshold, Waiver
from audit.ground.errors import ConfigError, boundary
from audit.ground.storage.temporary import sweep_for, temporary_file
from audit.reports.files import unwritable
from audit.reports.identity import digest
from audit.run.identity import Identity
from audit.run.plan import Job, cut

_RECORDS: dict[str, type] = {
    "model": ModelConfig,
    "attacks": AttackConfig,
    "thresholds": Threshold,
    "waivers": Waiver,
}
NAME = "manifest.json"
MOST_JOBS = 10_000_000


class Manifest(BaseModel):
    """What is measured, how it is cut, and how to go on."""

    model_config = ConfigDict(frozen=True)

    format: Literal[2] = 2
    identity: Identity
    total: PositiveInt
    """Rows of the selection."""
    job_rows: PositiveInt
    block: PositiveInt
    """Rows that are computed together: numbers depend on it by rounding."""
    directions: bool
    """Whether parts hold every input's directions, for a rows file."""
    shards: PositiveInt | None = None
    config: dict[str, Any]
    """Every setting as it was asked for, before limits are worked out."""
    command: list[str] = []
    """The command that began the run, without --shard and --resume."""
    folder: str = ""
    """Where it was given: its paths are relative to this folder."""

    @model_validator(mode="after")
    def _has_few_jobs(self) -> Manifest:
        if self.total > MOST_JOBS * self.job_rows:
            raise ValueError(f"it has more than {MOST_JOBS} parts")
        return self

    @property
    def jobs(self) -> list[Job]:
        """The jobs of the run, in order."""
        return cut(self.total, self.job_rows)

    @property
    def digest(self) -> str:
        """What every part of this run carries."""
        return digest({**self.identity, "block": self.block})

    def asked(self) -> ScanConfig:
        """Return the configuration that the run was started with."""
        return stored_config(self.config)


def exists(folder: str) -> bool:
    """Tell whether a folder holds a run."""
    return (Path(folder) / NAME).exists()


def read_manifest(folder: str) -> Manifest:
    """Read the manifest of a run.

    Raises:
        ConfigError: there is none, or it is none of this version.
    """
    with boundary(
        f"'{Path(folder) / NAME}' is no manifest of this robaudit",
        "Expected the one that a scan with --run-dir wrote",
        "Start the run again in another folder",
        ConfigError,
    ):
        return _manifest(folder)


def _manifest(folder: str) -> Manifest:
    path = Path(folder) / NAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
        manifest.asked()
    except FileNotFoundError:
        raise ConfigError(
            f"'{folder}' holds no run",
            f"Expected a folder with a {NAME}",
            "Name the --run-dir of a scan",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"'{path}' cannot be read: {error.strerror}",
            "Expected the folder of a run",
            "Name the --run-dir of a scan",
        ) from None
    except (ValidationError, TypeError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ConfigError(
            f"'{path}' is no manifest of this robaudit: {said}",
            "Expected the one that a scan with --run-dir wrote",
            "Start the run again in another folder",
        ) from None
    return manifest


def create(folder: str, manifest: Manifest) -> Manifest:
    """Write the manifest if there is none, and return the one that is there.

    A hard link takes its name in one step and only once, over NFS too, so that of
    several processes exactly one writes.

    Raises:
        InputError: the folder cannot be written.
    """
    target = Path(folder) / NAME
    try:
        Path(folder).mkdir(exist_ok=True)
        sweep_for(target)
        handle, name = temporary_file(target)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(manifest.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        name.chmod(0o644)
        try:
            _claim(name, target)
        finally:
            name.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(target, error) from None
    return read_manifest(folder)


def _claim(name: Path, target: Path) -> None:
    """Give a file its name unless that is taken."""
    with contextlib.suppress(FileExistsError):
        try:
            os.link(name, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if not target.exists():
                name.replace(target)


def plain_config(config: ScanConfig) -> dict[str, Any]:
    """Return a configuration as JSON has it."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return plain


def stored_config(values: dict[str, Any]) -> ScanConfig:
    """Return the configuration that `plain_config` made plain.

    Raises:
        TypeError: these are not the fields of a configuration.
    """
    return ScanConfig(**{name: _setting(name, item) for name, item in values.items()})


def _setting(name: str, value: Any) -> Any:  # noqa: ANN401
    record = _RECORDS.get(name)
    if isinstance(value, list):
        return tuple(record(**item) if record else item for item in value)
    return record(**value) if record else value
