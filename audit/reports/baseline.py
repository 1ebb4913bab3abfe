"""Limits on a change: `--baseline old.json --max-increase kl.gaussian.p95=5%`.

Before a scan the baseline is read and each limit on how much a number may grow or
shrink is written beside the others, with its step. When the new numbers are there,
`against` says how they changed, and the gate holds the change against the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from audit.config import ScanConfig, Threshold
from audit.ground.errors import ConfigError
from audit.ground.storage import split_spec
from audit.reports.derived import refuse_edited
from audit.reports.gate import find
from audit.reports.json import believed, read_report
from audit.reports.keys import split_key
from audit.reports.report import Report
from audit.reports.text import number


@dataclass(frozen=True)
class Step:
    """What a limit on a change allows.

    Args:
        allowed: the change, in the number's own unit or as a share of it.
        share: which of the two.
    """

    allowed: float
    share: bool

    @classmethod
    def read(cls, text: str) -> Step:
        """Read "5%" or an amount; the configuration has seen that it is a number."""
        share = text.endswith("%")
        return cls(float(text.rstrip("% ")) / (100 if share else 1), share)

    def __str__(self) -> str:
        """Return what `read` reads."""
        return f"{self.allowed * 100!r}%" if self.share else repr(self.allowed)

    def beyond(self, old: float) -> float:
        """Return the change in the number's own unit that is allowed from `old`."""
        return self.allowed * (abs(old) if self.share else 1.0)


def with_baseline(config: ScanConfig) -> ScanConfig:
    """Return `config` with its limits on a change among its limits.

    Raises:
        ConfigError: there is no baseline, or one that nothing is held against; it
            cannot be read, has no such number, or another one than its inputs have, or
            asked another question.
    """
    if not (config.max_increase or config.max_decrease):
        if config.baseline:
            raise ConfigError(
                f"--baseline {config.baseline} is given, and no limit is on a change",
                "Expected --max-increase or --max-decrease beside it",
                "Add for example --max-increase kl.gaussian.p95=5%, or leave the "
                "baseline out",
            )
        return config
    if not config.baseline:
        raise ConfigError(
            "A change is limited and there is nothing to compare with",
            "Expected an older report",
            "Add --baseline report.json",
        )
    path, _ = split_spec(config.baseline)
    with believed(path):
        old = read_report(path)
        limits = change_limits(config, old)
        refuse_edited(old, path, (limit.key for limit in limits))
    _refuse_unlike(old, config, path, limits)
    return replace(config, thresholds=(*config.thresholds, *limits))


def _refuse_unlike(
    old: Report, config: ScanConfig, path: str, limits: Iterable[Threshold]
) -> None:
    """Refuse a baseline of other settings, before anything is measured for it."""
    from audit.reports.alike import refuse_other_size, refuse_unlike
    from audit.reports.identity import settings  # numpy, which limits do not need

    data = old.data.model_copy(update={"units": config.units})
    asked = old.model_copy(update={"config": settings(config), "data": data})
    names = path, "this scan"
    refuse_unlike(old, asked, names)
    for limit in limits:
        refuse_other_size(old, asked, limit.key, names)


def change_limits(config: ScanConfig, old: Report) -> list[Threshold]:
    """Return the limits on a change, each with the number it amounts to.

    Raises:
        ConfigError: `old` does not have one of the numbers.
    """
    return [
        *_limits(old, config, "max_increase"),
        *_limits(old, config, "max_decrease"),
    ]


def _limits(old: Report, config: ScanConfig, option: str) -> list[Threshold]:
    found = []
    steps: Mapping[str, str] = getattr(config, option)
    for key, step in steps.items():
        divergence, quantity, statistic = split_key(key)
        summary = find(old, key, divergence, quantity)
        value = getattr(summary, statistic)
        if value is None:
            why = f" ({summary.reason})" if summary.reason else ""
            raise ConfigError(
                f"The baseline did not measure '{key}'{why}",
                "Expected the number that a change is counted from",
                "Limit the change of another number, or scan the baseline again so "
                "that it has this one",
            )
        grows = option == "max_increase"
        given = f"--{option.replace('_', '-')} {key}={step}"
        place = config.places.get(f"{option} {key}")
        source = f"{f'{place} {step}' if place else given} from {number(value)}"
        size = Step.read(step).beyond(value)
        bound = value + size if grows else value - size
        op = "<=" if grows else ">="
        found.append(Threshold(key, op, bound, source, step=step))
    return found
