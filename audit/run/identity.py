"""What a run measures, as far as it can change a number: to compare, not to repeat.

It is the identity of `reports`, with the versions and the kind of device that compute:
these change the rounding, and the parts of a run are to be those of one scan. Packages
of third parties whose family, divergence, attack, loader or input reader is asked for
compute as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from audit.config import ScanConfig
from audit.config.options import OPTIONS, flag_names
from audit.ground.errors import ConfigError
from audit.ground.plugins import plugged
from audit.ground.storage import split_spec
from audit.ground.tracking import located
from audit.ground.version import __version__
from audit.reports.identity import question

Identity = dict[str, Any]


def identity(
    config: ScanConfig,
    model: list[str],
    data: str,
    libraries: Mapping[str, str],
    plan: Mapping[str, object] | None = None,
) -> Identity:
    """Return what is measured, and by what.

    Args:
        config: every option.
        model: the digests of the model's files.
        data: the digest of the data file.
        libraries: library -> version of those that compute.
        plan: how, as far as it shows in the rounding; None: by no plan.
    """
    return {
        **question(model, data, config),
        "versions": {"robaudit": __version__, **libraries},
        "device": config.model.device.partition(":")[0],
        "plan": dict(plan or {}),
    }


_SEPARATORS = re.compile(r"[,:\s]")


def packages(config: ScanConfig, family: str | None) -> dict[str, str]:
    """Return package -> version of the third parties that compute in a scan.

    Args:
        config: every option.
        family: the name of the model's family as it was found, such as
            "mixture:rayleigh"; None where the file computes its own law.
    """
    data = split_spec(config.data)[0]
    asked: dict[str, Collection[str]] = {
        "families": _SEPARATORS.split(family or ""),
        "divergences": [name.partition(":")[0] for name in config.divergences],
        "attacks": [attack.kind for attack in config.attacks],
        "loaders": [located(config.model.path).suffix],
        "inputs": [Path(data).suffix.lower()],
    }
    found = (
        plugin
        for kind, names in asked.items()
        for name, plugin in plugged(kind).items()
        if name in names
    )
    return {plugin.package: plugin.version or "unknown" for plugin in found}


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
    for name in {**stored["versions"], **given["versions"]}:
        old, now = (one["versions"].get(name) for one in (stored, given))
        if old is None:
            yield f"The run in '{folder}' was made without {name}, this is {now}"
        elif old != now:
            here = f"this is {now}" if now else "which is not used now"
            yield f"The run in '{folder}' was made with {name} {old}, {here}"
    for name in ("model", "data"):
        if stored[name] != given[name]:
            yield (
                f"The {name} is not the one of the run in '{folder}': its bytes differ"
            )
    for name, value in given["options"].items():
        old = stored["options"].get(name)
        if old != value and all("sha256:" in str(one) for one in (old, value)):
            flag = flag_names(name)[-1]
            yield f"A file of {flag} has changed since the run in '{folder}' began"
        elif old != value:
            yield f"The run in '{folder}' has {_said(name, old)}, not {_value(value)}"
    ours: Mapping[str, object] = given["plan"]
    theirs: Mapping[str, object] = stored.get("plan", ours)
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            old, now = (f"{name}={one.get(name, 'none')}" for one in (theirs, ours))
            yield f"The run in '{folder}' was planned with {old}, this with {now}"
    if stored["device"] != given["device"]:
        yield (
            f"The run in '{folder}' has --device {stored['device']}, not "
            f"{given['device']}"
        )


def _said(name: str, value: object) -> str:
    option = "condition" if name == "condition_key" else name
    return f"{flag_names(option)[-1] if option in OPTIONS else name} {_value(value)}"


def _value(value: object) -> str:
    if value is None or value in ([], {}):
        return "unset"
    return value if isinstance(value, str) else json.dumps(value)
