"""What a run measures, as far as it can change a number: to compare, not to repeat.

Limits, paths, batch size, workers and memory are no part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audit import __version__
from audit.config import ScanConfig
from audit.config.options import OPTIONS, flag_names
from audit.errors import ConfigError
from audit.reports.build import settings

Identity = dict[str, Any]
_GATE = ("max", "min", "baseline", "max_increase", "max_decrease", "waivers", "gate")
NOT_MEASURED = ("model", "data", "max_skipped", "exit_zero", *_GATE)
"""Settings that change no number: paths (their bytes count) and limits."""


def identity(
    config: ScanConfig, model: list[str], data: str, libraries: Mapping[str, str]
) -> Identity:
    """Return what is measured.

    Args:
        config: every option.
        model: the digests of the model's files.
        data: the digest of the data file.
        libraries: library -> version of those that compute.
    """
    options = {
        name: setting.value
        for name, setting in settings(config).items()
        if name not in NOT_MEASURED
    }
    found = {
        "versions": {"robaudit": __version__, **libraries},
        "device": config.model.device.partition(":")[0],
        "model": model,
        "data": data,
        "files": {path: _digest(path) for path in _files(config)},
        "options": options,
    }
    plain: Identity = json.loads(json.dumps(found, default=str))
    return plain


def digest(found: Identity) -> str:
    """Return one digest of an identity; part files carry it."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def refuse_another(folder: str, stored: Identity, given: Identity) -> None:
    """Refuse to go on with a run that measures something else.

    Raises:
        ConfigError: names the option, version or file that differs.
    """
    difference = next(_differences(folder, stored, given), None)
    if difference:
        raise ConfigError(
            difference,
            "A run measures one model on one data file with one set of options",
            "Take those of the run, or another --run-dir",
        )


def _differences(folder: str, stored: Identity, given: Identity) -> Iterator[str]:
    for name, version in given["versions"].items():
        old = stored["versions"].get(name)
        if old != version:
            yield f"The run in '{folder}' was made with {name} {old}, this is {version}"
    for name in ("model", "data"):
        if stored[name] != given[name]:
            yield (
                f"The {name} is not the one of the run in '{folder}': its bytes differ"
            )
    for name, value in given["options"].items():
        old = stored["options"].get(name)
        if old != value:
            yield f"The run in '{folder}' has {_said(name, old)}, not {_value(value)}"
    if stored["device"] != given["device"]:
        yield (
            f"The run in '{folder}' has --device {stored['device']}, not "
            f"{given['device']}"
        )
    for path, value in given["files"].items():
        if stored["files"].get(path) != value:
            yield f"'{path}' has changed since the run in '{folder}' was started"


def _said(name: str, value: object) -> str:
    option = "condition" if name == "condition_key" else name
    return f"{flag_names(option)[-1] if option in OPTIONS else name} {_value(value)}"


def _value(value: object) -> str:
    if value is None or value in ([], {}):
        return "unset"
    return value if isinstance(value, str) else json.dumps(value)


def _files(config: ScanConfig) -> list[str]:
    """Return the files that options name, beside the model and the data."""
    named = [config.units, config.mask, config.model.sampler]
    named += [text for one in config.attacks for text in one.arguments.values()]
    return sorted({path for path in named if path and Path(path).is_file()})


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
