"""A sentence about inputs where the search for worst cases gained nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from audit.verify.sites import Notes
from audit.verify.worst_cases import WorstCases


def stuck_notes(name: str, parts: Sequence[WorstCases]) -> Notes:
    """Return a note where searches gained nothing on starts that are too low."""
    found = [one for part in parts for one in _of(part)]
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


def _of(part: WorstCases) -> list[tuple[torch.Tensor, str]]:
    """Return where any of a site's searches is stuck [n], and how these search."""
    if not part.stuck:
        return []
    rows = torch.stack([*part.stuck.values()]).any(dim=0)
    ways = {
        found.by for ball, found in part.witnesses.items() if part.stuck[ball].any()
    }
    return [(rows, " and ".join(sorted(ways)))]
