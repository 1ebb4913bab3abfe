"""Two reports of the same inputs, compared input by input.

See `changes` for the change of a quantity and its interval: a change whose interval
holds zero is not told from noise, and printed as `~`.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.ground import stages
from audit.reports.alike import (
    other_attack,
    other_ball,
    other_inputs,
    refuse_if,
    refuse_unlike,
    value_of,
)
from audit.reports.changes import Change, Moved, Pair, change_of, most_moved
from audit.reports.report import Report
from audit.reports.roles import base_name
from audit.reports.stored import Stored, in_both, stands_for


@dataclass(frozen=True)
class Comparison:
    """Everything that changed between two reports."""

    old: str
    new: str
    n: int
    """Inputs in both."""
    notes: list[str]
    changes: list[Change]
    moved: list[Moved]
    """By the ratio of the first divergence's eigenvalue, the largest first."""
    measure: str
    """What `moved` is measured by, e.g. "kl.eigenvalue"."""


def compare(old: Stored, new: Stored) -> Comparison:
    """Compare a report with the one to judge, one column at a time.

    Raises:
        ConfigError: they cannot be compared; says why.
        InputError: a rows file cannot be read.
    """
    names = old.name, new.name
    others = other_inputs(old.report, new.report)
    refuse_if(bool(others), others, names)
    refuse_unlike(old.report, new.report, names)
    shared = [name for name in new.report.ranked if name in old.report.divergences]
    refuse_if(not shared, "they measured no divergence in common", names)
    index, *places = in_both(old, new)
    refuse_if(not len(index), "they have no input in common", names)
    measure = (shared[0], "eigenvalue")
    changes: list[Change] = []
    moved: list[Moved] = []
    pairs = _pairs(old.report, new.report, shared)
    stages.stage(stages.COMPARE, len(pairs), "quantities")
    for done, pair in enumerate(pairs):
        stages.reach(done)
        before, after = old.column(*pair)[places[0]], new.column(*pair)[places[1]]
        summary = new.report.divergences[pair[0]].summary[pair[1]]
        stands = None if summary.n_checked is None else stands_for(new.report, index)
        change = change_of(pair, summary.unit, before, after, stands)
        changes += [change] if change else []
        moved = most_moved(index, before, after) if pair == measure else moved
    notes = _notes(old.report, new.report)
    notes += _left_out(old.report, new.report, shared)
    if old.report.checked != new.report.checked:
        notes.append(
            "exact values were taken at other inputs, so what was checked is not "
            "compared; --verify all takes them at all inputs"
        )
    text = ".".join(measure)
    return Comparison(*names, len(index), notes, changes, moved, text)


def _pairs(old: Report, new: Report, shared: list[str]) -> list[Pair]:
    """Return the (divergence, quantity) that both reports measured at the same inputs.

    What was measured on a sample is compared where it is the same sample.
    """
    found = []
    for name in shared:
        for quantity, summary in new.divergences[name].summary.items():
            before = old.divergences[name].summary.get(quantity)
            if before is None:
                continue
            if other_ball(old, new, quantity) or other_attack(old, new, quantity):
                continue
            checked = (summary.n_checked, before.n_checked) != (None, None)
            if not checked or old.checked == new.checked:
                found.append((name, quantity))
    return found


def _left_out(old: Report, new: Report, shared: list[str]) -> list[str]:
    """Say which quantities of both reports are of two questions."""
    found: dict[str, None] = {}
    for name in shared:
        before = old.divergences[name].summary
        for quantity in new.divergences[name].summary:
            ball = other_ball(old, new, quantity)
            if ball:
                found[f"{ball}, so worst cases are not compared"] = None
            attack = quantity in before and other_attack(old, new, quantity)
            if attack:
                label = base_name(quantity)
                found[f"{label} is not compared: that would compare {attack}"] = None
    return list(found)


def _notes(old: Report, new: Report) -> list[str]:
    """Return what the reader should know before believing the comparison."""
    notes = []
    hashes = [
        [file.sha256 for file in model.files] or [str(model.weights_sha256)]
        for model in (old.model, new.model)
    ]
    if hashes[0] == hashes[1]:
        notes.append("both audited the same model file")
    for option in ("attacks", "seed", "draws_per_input", "dtype"):
        values = [value_of(report, option) for report in (old, new)]
        if values[0] != values[1]:
            notes.append(
                f"--{option.replace('_', '-')} was {values[0]}, is {values[1]}"
            )
    if (old.data.n_audited, new.data.n_audited) != (new.data.n_audited,) * 2:
        notes.append(
            f"{old.data.n_audited} inputs were audited before, {new.data.n_audited} now"
        )
    if old.model.parameters != new.model.parameters:
        notes.append("the parameters are read differently: compare no norms of φ")
    return [*notes, *_randomness(old, new)]


def _randomness(old: Report, new: Report) -> list[str]:
    """Say whether sampled numbers share their random numbers: noise is keyed by these.

    Per-input sampling errors differ from input to input, so the spread of the
    differences, and with it the interval, holds what is left of them.
    """
    sampled = [
        name
        for name in new.ranked
        if name in old.divergences
        and new.divergences[name].estimator == "monte_carlo"
        and old.divergences[name].estimator == "monte_carlo"
    ]
    if not sampled:
        return []
    where, draws = ", ".join(sampled), (_draws(old, sampled), _draws(new, sampled))
    if value_of(old, "seed") == value_of(new, "seed") and draws[0] == draws[1]:
        return [
            f"{where}: sampled with the same seed and draws, so most of the noise "
            "cancels input by input"
        ]
    bias = draws[0] != draws[1]
    return [
        f"{where}: sampled with other random numbers, so both reports' noise is in "
        "each difference and its interval is wider; scan with one --seed and one "
        "--draws-per-input to cancel it"
        + ("; the top eigenvalue's bias changes with the draws" if bias else "")
    ]


def _draws(report: Report, names: list[str]) -> list[int | None]:
    return [report.divergences[name].draws for name in names]
