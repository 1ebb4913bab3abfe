"""Waivers: a broken limit that is known, for a reason, until a day.

While a waiver holds, its limit warns instead of failing. When it has expired the limit
fails again and says so. A limit on a number and one on its change are two: a waiver
names with `limit: max_increase` that it is of the latter, where a key has both. So are
a maximum and a minimum of one number: what is known of one says nothing of the other,
and a waiver names which. Of several of one limit the one that holds longest decides. A
limit that only warns stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date

from audit.config.settings import ScanConfig, Threshold, Waiver
from audit.ground.errors import ConfigError, boundary

_EXPIRED = "waiver expired on"


@boundary(
    "The waivers cannot be read",
    "Expected {key, until, reason} for a limit that is set",
    "Correct the waiver",
    ConfigError,
)
def with_waivers(config: ScanConfig, today: date | None = None) -> ScanConfig:
    """Return `config` with its waivers applied to its limits.

    Args:
        config: limits and waivers.
        today: the day to judge by; default: this one.

    Raises:
        ConfigError: a waiver names no limit, so that it hides nothing any more; or
            both ends of a number, of which one failure is known.
    """
    if not config.thresholds:
        return config
    day = (today or date.today()).isoformat()
    limits = list(config.thresholds)
    for waiver in sorted(config.waivers, key=lambda one: one.until):
        places = _waived_by(waiver, limits)
        if not places:
            which = f"{waiver.limit} " if waiver.limit else ""
            raise ConfigError(
                f"{waiver.source}: '{waiver.key}' is waived, and no {which}limit has "
                "that key",
                "A waiver lifts a limit that is set",
                "Remove the waiver",
            )
        _refuse_both_ends(waiver, {limits[k].kind for k in places})
        for k in places:
            limits[k] = _waived(limits[k], waiver, day)
    return replace(config, thresholds=tuple(limits))


def _waived_by(waiver: Waiver, limits: Sequence[Threshold]) -> list[int]:
    """Return which limits a waiver hides: a limit on a change is another limit."""
    own = [k for k, limit in enumerate(limits) if limit.key == waiver.key]
    if waiver.limit:
        return [k for k in own if limits[k].kind == waiver.limit]
    return [k for k in own if not limits[k].step] or own


def _refuse_both_ends(waiver: Waiver, kinds: Collection[str]) -> None:
    if len(kinds) > 1:
        both = " and ".join(sorted(kinds))
        raise ConfigError(
            f"{waiver.source}: '{waiver.key}' is waived, and has limits {both}",
            "A waiver lifts one of them, which it names",
            f"Add to the waiver limit: {max(kinds)}, or limit: {min(kinds)}, or write "
            "one for each",
        )


def is_expired(said: str) -> bool:
    """Tell whether what a limit says of its waiver is that it holds no more."""
    return said.startswith(_EXPIRED)


def _waived(limit: Threshold, waiver: Waiver, day: str) -> Threshold:
    """Return a limit under a waiver; one that only warns has nothing to be waived."""
    if limit.level == "warn" and not limit.waiver:
        return limit
    if waiver.until < day:
        said = f"{_EXPIRED} {waiver.until}: {waiver.reason}"
        return replace(limit, waiver=said)
    said = f"waived until {waiver.until}: {waiver.reason}"
    return replace(limit, level="warn", waiver=said)
