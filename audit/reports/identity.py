"""What was measured, as far as it can change a number: one identity for all uses.

A fingerprint, a run folder and a comparison ask the same question: is this the same
model, on the same data, with the same options? Files count by their bytes and not by
their names, whatever option names them. Limits and resources are no part of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from os.path import isfile
from pathlib import Path
from typing import Any

import numpy as np

from audit.config import AttackConfig, ScanConfig, Waiver
from audit.config.options import OPTIONS, POSITIONAL
from audit.ground.storage import split_spec
from audit.reports.audited import Setting
from audit.reports.report import Report

_NOT_OPTIONS = ("path", "model", "thresholds", "places", "origins")
_READ_WITH = {"condition_key": "condition"}
"""Setting -> the option that sets it too."""


def _written(waiver: Waiver) -> dict[str, str]:
    """Return a waiver as it was written: without `limit` where that was not said."""
    return {k: v for k, v in asdict(waiver).items() if v or k != "limit"}


def settings(config: ScanConfig) -> dict[str, Setting]:
    """Return every option that can change a number or a verdict, with its origin."""
    values: dict[str, Any] = {}
    for part in (config.model, config):
        values |= {f.name: getattr(part, f.name) for f in fields(part)}
    values |= {"attacks": [str(one) for one in config.attacks]}
    values |= {"waivers": [_written(waiver) for waiver in config.waivers]}
    for option, op in (("max", "<="), ("min", ">=")):
        limits = [one for one in config.thresholds if one.op == op and not one.step]
        values[option] = {limit.key: limit.limit for limit in limits}
    kept = {n: v for n, v in values.items() if n not in _NOT_OPTIONS and not _runs(n)}
    kept["model"] = config.model.path
    return {
        name: Setting(
            value=plain(kept[name]),
            origin=config.origin(_READ_WITH.get(name, name)),
            files=dict(_files(config, name)),
        )
        for name in sorted(kept)
    }


def asked(report: Report) -> dict[str, Any]:
    """Return option -> value of all that somebody set, as it would be written again."""
    kept = {
        name: setting.value
        for name, setting in report.config.items()
        if setting.origin != "default" and name in OPTIONS and setting.value is not None
    }
    key = report.config.get("condition_key")
    if key and key.value and "condition" in kept:
        kept["condition"] = f"{kept['condition']}={key.value}"
    return kept


def question(model: list[str], data: str, config: ScanConfig) -> dict[str, Any]:
    """Return what is measured, as plain data."""
    options = {
        name: by_bytes(setting)
        for name, setting in settings(config).items()
        if name not in POSITIONAL and changes_numbers(name)
    }
    options["condition_key"] = key_of(config.data, config.model.condition_key)
    found = {"model": model, "data": data, "options": options}
    whole: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return whole


def key_of(data: str, condition_key: str | None) -> str | None:
    """Return the key of the data that was asked for: DATA::KEY, or --condition x=KEY.

    The bytes of a file are the same whichever of its arrays is read.
    """
    return split_spec(data)[1] or condition_key


def fingerprint(model: list[str], data: str, config: ScanConfig) -> str:
    """Return a digest of what is measured; equal ones measured the same."""
    return digest(question(model, data, config))


def digest(found: object) -> str:
    """Return one digest of plain data."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def changes_numbers(name: str) -> bool:
    """Tell whether an option can change a number."""
    option = OPTIONS.get(_READ_WITH.get(name, name))
    return option is None or option.changes == "number"


def by_bytes(setting: Setting) -> object:
    """Return an option's value, with the digests of its files in place of paths."""
    return _replaced(setting.value, setting.files)


def _replaced(value: object, files: Mapping[str, str]) -> object:
    if isinstance(value, list):
        return [_replaced(item, files) for item in value]
    if isinstance(value, str):
        for path, found in files.items():
            value = value.replace(path, f"sha256:{found}")
    return value


def _runs(name: str) -> bool:
    return name in OPTIONS and OPTIONS[name].changes in ("run", "words")


def _files(config: ScanConfig, name: str) -> Iterator[tuple[str, str]]:
    """Yield (path, digest) of the files that an option names, model and data aside."""
    option = OPTIONS.get(name)
    if option is None or not option.names_file or name in POSITIONAL:
        return
    part = config.model if hasattr(config.model, name) else config
    for path in _paths(getattr(part, name)):
        if isfile(path):  # names of classes may be longer than a path
            with Path(path).open("rb") as file:
                yield path, hashlib.file_digest(file, "sha256").hexdigest()


def _paths(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        attacks = [one for one in value if isinstance(one, AttackConfig)]
        return [one.arguments["file"] for one in attacks if "file" in one.arguments]
    return []


def plain(value: object) -> object:
    """Return a value as JSON has it: lists, no numpy, null for what is not finite."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value
