"""Do two reports ask the same question? Only then their numbers can be compared."""

from __future__ import annotations

from audit.ground.errors import ConfigError
from audit.reports.report import Report


def refuse_unlike(old: Report, new: Report, names: tuple[str, str]) -> None:
    """Refuse reports of different questions.

    Raises:
        ConfigError: units, shape, τ, space or mask differ; files by their bytes.
    """
    shapes = [report.data.event_shape for report in (old, new)]
    words = f"their event shapes differ: {shapes[0]} and {shapes[1]}"
    refuse_if(shapes[0] != shapes[1], words, names)
    for option in ("units", "tau", "space", "mask"):
        differs, words = _differs(old, new, option)
        refuse_if(differs, words, names)


def _differs(old: Report, new: Report, option: str) -> tuple[bool, str]:
    """Return whether an option differs, and in which words."""
    given = [_asked(report, option) for report in (old, new)]
    if given[0] != given[1] and not all(_files(one, option) for one in (old, new)):
        return True, f"--{option} differs: {given[0]} and {given[1]}"
    digests = [_files(report, option) for report in (old, new)]
    words = f"the files of --{option} differ: {given[0]} and {given[1]} by their bytes"
    return all(digests) and digests[0] != digests[1], words


def _asked(report: Report, option: str) -> object:
    return report.data.units if option == "units" else value_of(report, option)


def _files(report: Report, option: str) -> list[str]:
    """Return the digests of an option's files; schema 1.0 has none."""
    setting = report.config.get(option)
    return list(setting.files.values()) if setting else []


def refuse_if(condition: bool, why: str, names: tuple[str, str]) -> None:
    """Refuse to compare two reports.

    Raises:
        ConfigError: the condition holds; says why.
    """
    if condition:
        raise ConfigError(
            f"'{names[0]}' and '{names[1]}' cannot be compared: {why}",
            next_step="Audit both models on the same data with the same settings",
        )


def value_of(report: Report, option: str) -> object:
    """Return what an option was set to; None where the report has none."""
    setting = report.config.get(option)
    return setting.value if setting else None
