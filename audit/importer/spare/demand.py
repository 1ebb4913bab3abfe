"""Which numbers of a program are needed, and where each is made: once.

A number is made by the first step that names it. Going backwards from the outputs, a
step makes the lanes that hold what is needed of its own; what these are made of is
needed in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.importer.spare.computing import Followed
from audit.importer.spare.work import Lanes, Work


@dataclass(frozen=True)
class Task:
    """A step, and the lanes of it that are made; None for all."""

    work: Work
    lanes: Lanes | None


def tasks(found: Followed, outputs: tuple[int, ...]) -> list[Task]:
    """Return what has to be computed for some slots, in order."""
    home: dict[int, int] = {}
    marks = found.table.marks
    for place, work in enumerate(found.works):
        for name in work.result.names.reshape(-1).tolist():
            if not marks[name]:
                home.setdefault(name, place)
    needed: set[int] = set()
    for slot in outputs:
        needed.update(found.named[slot].names.reshape(-1).tolist())
    made: list[Task] = []
    for place in range(len(found.works) - 1, -1, -1):
        work = found.works[place]
        names = work.result.names
        flat = [
            name in needed and home.get(name) == place
            for name in names.reshape(-1).tolist()
        ]
        mask = np.array(flat, bool).reshape(names.shape)
        if not mask.any():
            continue
        lanes = work.lanes(mask)
        made.append(Task(work, lanes))
        for want in work.wants(lanes).values():
            needed.update(want.value.names.reshape(-1).tolist())
    return made[::-1]
