"""Keys of a gate, `divergence.quantity.statistic`, split and checked.

A divergence may hold dots (`renyi:alpha=0.5`), so a key is split from the right; a size
may hold one too (`kl.witness@0.1.p95`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from audit.config import ScanConfig, Threshold
from audit.config.settings import DEFAULT_DIVERGENCES
from audit.ground.errors import ConfigError, boundary
from audit.ground.registry import unknown
from audit.reports.quantities import (
    ATTACK_KINDS,
    QUANTITIES,
    STATISTICS,
    describe,
)
from audit.reports.roles import (
    CERTIFICATE,
    at_size,
    base_name,
    certificate_name,
    named,
    sized,
)

_KEY = re.compile(
    r"(?P<divergence>[^@]+)\.(?P<quantity>[^.@]+(@[^@]+)?)\.(?P<statistic>[^.]+)"
)
"""A divergence may hold dots, and so may the size that a quantity is measured at."""
_SYNONYMS = {
    "median": "p50",
    "average": "mean",
    "p5": "p05",
    "p1": "p01",
    "minimum": "min",
    "maximum": "max",
    "sd": "std",
}


def split_key(key: str) -> tuple[str, str, str]:
    """Return the divergence, the quantity and the statistic of a key.

    Raises:
        ConfigError: it does not have three parts, or the statistic is unknown.
    """
    found = _KEY.fullmatch(key)
    if found is None:
        raise ConfigError(
            f"The threshold key '{key}' does not have three parts",
            "Expected divergence.quantity.statistic",
            "Write it as kl.gaussian.p95",
        )
    divergence, quantity, statistic = found.group("divergence", "quantity", "statistic")
    if statistic not in STATISTICS:
        nearest = _SYNONYMS.get(statistic, statistic)
        _refuse(key, "statistics", nearest, STATISTICS, statistic)
    return divergence, quantity, statistic


@boundary(
    "The limits cannot be read",
    "Expected keys such as kl.gaussian.p95",
    "See robaudit explain",
    ConfigError,
)
def check_config(config: ScanConfig) -> None:
    """Refuse, before anything is measured, keys and labels that cannot mean anything.

    Raises:
        ConfigError: a threshold names a divergence that is not measured, an unknown
            quantity or statistic; or an attack's label is a quantity's name.
    """
    labels = [attack.label for attack in config.attacks]
    for attack in config.attacks:
        others = [label for label in labels if label != attack.label]
        taken = attack.label != attack.kind and describe(attack.label, others)
        if taken:
            raise ConfigError(
                f"The attack label '{attack.label}' is the name of a quantity, or of "
                "another attack",
                "Expected a name that says nothing else in a report",
                "Give the attack another label",
            )
    divergences = config.divergences or DEFAULT_DIVERGENCES
    check_keys(config.thresholds, divergences, labels, config.sizes)


def check_keys(
    thresholds: Iterable[Threshold],
    divergences: Collection[str],
    labels: Collection[str],
    sizes: Collection[float] | None = None,
) -> None:
    """Check the keys of `thresholds` against what will be measured.

    Args:
        thresholds: the limits.
        divergences: names of those that are measured.
        labels: labels of the attacks.
        sizes: at which witnesses are looked for; None: not known yet.

    Raises:
        ConfigError: a part of a key is unknown.
    """
    for threshold in thresholds:
        try:
            _check_key(threshold.key, divergences, labels)
            _check_size(threshold.key, labels, sizes)
        except ConfigError as error:
            in_file = threshold.source and not threshold.source.startswith("--")
            place = f"{threshold.source}: " if in_file else ""
            raise ConfigError(
                place + error.given, error.expected, error.next_step
            ) from None


def _check_key(key: str, divergences: Collection[str], labels: Collection[str]) -> None:
    divergence, quantity, _ = split_key(key)
    if divergence not in divergences:
        instead = f"Measure it too, -d {divergence}"
        _refuse(key, "divergences measured", divergence, divergences, instead=instead)
    base = base_name(quantity)
    absent = base in ATTACK_KINDS and base not in labels
    if absent or describe(quantity, labels) is None:
        names = {*(row.name for row in QUANTITIES), *labels}
        _refuse(key, "quantities", quantity, names)


def _check_size(
    key: str, labels: Collection[str], sizes: Collection[float] | None
) -> None:
    """Refuse a quantity of a size that is not looked at, or of none where it has some.

    The certificate of the attack `certified` is called by no size, and not by its name.
    """
    divergence, quantity, statistic = split_key(key)
    base, label = base_name(quantity), "certified"
    own = certificate_name(label)
    if quantity == named(label, CERTIFICATE):
        _refuse(key, "quantities", quantity, [own])
    at = sized(base)
    if at is None:
        at_some = any(row.at_sizes and row.name == base for row in QUANTITIES)
        if not at_some or (base == own and label in labels):
            return
        at = base, min(sizes) if sizes else 0.1
    elif base == at_size(*at) and (sizes is None or at[1] in sizes):
        return
    known = ", ".join(f"{size:g}" for size in sizes or ()) or "those of --sizes"
    meant = quantity.replace(base, at_size(*at), 1)
    raise ConfigError(
        f"In the threshold key '{key}', '{quantity}' is of no size that is looked at",
        f"Expected one of a size as it is printed; the sizes are {known}",
        f"Write {divergence}.{meant}.{statistic}, with --sizes {at[1]:g}",
    )


def _refuse(
    key: str,
    kind: str,
    near: str,
    names: Collection[str],
    shown: str = "",
    instead: str = "",
) -> None:
    """Refuse a part of a key; `instead` is the advice when no name is near."""
    _, expected, hint = unknown(kind, near, dict.fromkeys(names))
    given = f"In the threshold key '{key}', '{shown or near}' is not among the {kind}"
    close = hint.startswith("Did you mean")
    raise ConfigError(given, expected, hint if close or not instead else instead)
