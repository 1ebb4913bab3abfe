"""Do two reports ask the same question? Only then their numbers can be compared."""

from __future__ import annotations

import re

from audit.ground.errors import ConfigError
from audit.reports.identity import key_of
from audit.reports.keys import split_key
from audit.reports.report import Report
from audit.reports.roles import base_name, sized

_WORST_CASE = re.compile(r"(\w[\w-]*=)?worst_case(:|$)")
"""An attack whose realised value is found by an ascent, which --bounds cut."""


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


def other_inputs(old: Report, new: Report) -> str:
    """Return why the inputs of two reports are not the same ones; "" if they are.

    A key that nobody gave is the name of the model's input, if the data have that.
    """
    if old.data.sha256 != new.data.sha256:
        return "they audited different data files"
    keys = [_key(report) for report in (old, new)]
    if keys[0] != keys[1]:
        return f"they audited different arrays of the data: {keys[0]} and {keys[1]}"
    return ""


def other_ball(old: Report, new: Report, quantity: str) -> str:
    """Return why two reports looked for worst cases in different balls; "" if alike."""
    attack = new.attacks.get(base_name(quantity), "")
    by_ascent = _WORST_CASE.match(attack) is not None
    options = ("norm", "bounds") if sized(quantity) else ("bounds",) * by_ascent
    for option in options:
        differs, words = _differs(old, new, option)
        if differs:
            return words
    return ""


def other_attack(old: Report, new: Report, quantity: str) -> str:
    """Return which two attacks share no more than a label; "" if they are one."""
    label = base_name(quantity)
    said = [report.attacks.get(label) for report in (old, new)]
    if said[0] != said[1]:
        return f"{said[0]} of the baseline with {said[1]}"
    digests = [_digest(report, said[0]) for report in (old, new)]
    if digests[0] != digests[1]:
        return f"{said[0]} with a file of the same name and other bytes"
    return ""


def refuse_other_size(
    old: Report, new: Report, key: str, names: tuple[str, str]
) -> None:
    """Refuse a change of a number between two attacks, or in two balls.

    Raises:
        ConfigError: they share no more than a label, or an option of the ball differs.
    """
    quantity = split_key(key)[1]
    other = other_attack(old, new, quantity)
    if other:
        raise ConfigError(
            f"The limit on a change of '{key}' compares {other}",
            "Expected one attack under the label",
            "Scan the baseline again with the same --attack",
        )
    words = other_ball(old, new, quantity)
    refuse_if(bool(words), words, names)


def _digest(report: Report, spec: str | None) -> str:
    """Return the digest of the file that an attack names; "" for none."""
    files = report.config["attacks"].files if "attacks" in report.config else {}
    return next((d for path, d in files.items() if spec and path in spec), "")


def _key(report: Report) -> str | None:
    given = value_of(report, "condition_key")
    asked = key_of(report.data.source, None if given is None else str(given))
    named = value_of(report, "condition")
    names = [one.name for one in report.model.inputs]
    alone = names[0] if len(names) == 1 else None
    return None if asked in (named, alone) else asked


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
            "Expected two reports that ask the same question",
            "Audit both models on the same data with the same settings",
        )


def value_of(report: Report, option: str) -> object:
    """Return what an option was set to; None where the report has none."""
    setting = report.config.get(option)
    return setting.value if setting else None
