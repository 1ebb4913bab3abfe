"""Sentences on predictions apart from exact values, or untold, and stuck searches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from audit.linalg.intervals.controlled import HEAVY
from audit.linalg.intervals.pilots import LEVELS
from audit.reports.doubts import CARRIED
from audit.reports.found import Verification
from audit.reports.roles import REALISED, named
from audit.verify.attacks import TOLERANCE
from audit.verify.columns import Compared
from audit.verify.sites import Notes
from audit.verify.worst_cases import WorstCases

FEW = 0.1  # of the inputs: on so many a mean of light tails looks carried by chance


def parted_notes(summary: Mapping[str, Mapping[str, Verification]]) -> Notes:
    """Return warnings where most predictions are off, or all of them together.

    Args:
        summary: divergence -> attack label, or "radius" -> exact over predicted.
    """
    notes = []
    for name, found in summary.items():
        for label, one in found.items():
            message = _parting(f"{name} {label}", label, one)
            if message:
                notes.append((f"parted_{name}", message))
    return tuple(notes)


def carried_notes(name: str, compared: Sequence[Compared]) -> Notes:
    """Return warnings where the mean over an attack is a matter of luck.

    Args:
        name: of a divergence.
        compared: its predictions and exact values, of all sites.
    """
    notes = []
    for label in dict.fromkeys(one.label for one in compared):
        own = [one for one in compared if one.label == label]
        carried, n = sum(one.carried for one in own), sum(len(o.exact) for o in own)
        if carried > FEW * n:
            notes.append(
                (
                    f"{CARRIED}_{name}_{label}",
                    f"{name} {label}: on {carried} of {n} checked inputs one of "
                    f"{LEVELS[-1]} pairs of perturbations moves the mean by more than "
                    f"{100 * HEAVY:.0f} %: its tail is not seen, and the mean may be "
                    "far larger, or infinite; read a smaller or a bounded attack",
                )
            )
    return tuple(notes)


def _parting(subject: str, label: str, found: Verification) -> str:
    """Return in which way a prediction and its exact values are apart; "" if not."""
    if label == "radius":
        ratio = found.ratio_p50
        if ratio is None or abs(ratio - 1) <= TOLERANCE:
            return ""
        if ratio == math.inf:
            return (
                f"{subject}: τ is not reached on half of the checked inputs, where the "
                "second-order radius says it is: read critical_radius"
            )
        return (
            f"{subject}: the exact radius is {ratio:.3g} times the second-order one in "
            "the median; they are apart: read critical_radius"
        )
    why = "(the attack is too large for a local number, or the model jumps)"
    if 2 * found.parted > found.n:
        return (
            f"{subject}: on {found.parted} of {found.n} checked inputs the realised "
            f"value is more than 10 % from the predicted one: read "
            f"{named(label, REALISED)} "
            f"{why}"
        )
    if found.pooled is not None and abs(found.pooled - 1) > TOLERANCE:
        return (
            f"{subject}: over all {found.n} checked inputs the realised value is "
            f"{found.pooled:.3g} times the predicted one; they are apart, though noise "
            f"hides it on most of them: read "
            f"{named(label, REALISED)} {why}"
        )
    return ""


def stuck_notes(name: str, parts: Sequence[WorstCases]) -> Notes:
    """Return a note where searches gained nothing on starts that are too low."""
    found = [one for part in parts for one in _stuck(part)]
    count = sum(int(rows.sum()) for rows, _ in found)
    if not count:
        return ()
    by = " and ".join(sorted({by for rows, by in found if bool(rows.any())}))
    total = sum(len(rows) for rows, _ in found)
    message = (
        f"{name}: on {count} of {total} inputs the {by} never improved on its starts, "
        "and these are more than 10 % below the prediction: the witness is the best of "
        "them"
    )
    return ((f"stuck_{name}", message),)


def _stuck(part: WorstCases) -> list[tuple[torch.Tensor, str]]:
    """Return where any of a site's searches is stuck [n], and how these search."""
    if not part.stuck:
        return []
    rows = torch.stack([*part.stuck.values()]).any(dim=0)
    ways = {
        found.by for ball, found in part.witnesses.items() if part.stuck[ball].any()
    }
    return [(rows, " and ".join(sorted(ways)))]
