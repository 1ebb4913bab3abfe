"""What this process may use of the machine: cores and memory.

A container or a batch system gives a process less than the machine has: an affinity
mask, a quota of CPU time, a limit on memory. The smaller one holds. Where nothing can
be read (another system, no /proc) the number is None, and nobody guesses one.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst (`cpu.max`, `memory.max`,
`memory.current`, `memory.stat`), cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def usable_cores(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """Return how many cores this process may keep busy, at least one.

    Args:
        proc: where the kernel tells of processes.
        groups: where it tells of control groups.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # a system without affinity masks
        cores = os.cpu_count() or 1
    quotas = [_quota(folder) for folder in _folders("cpu", proc, groups)]
    whole = [math.ceil(quota) for quota in quotas if quota is not None]
    return max(1, min([cores, *whole]))


def free_memory(proc: Path = _PROC, groups: Path = _GROUPS) -> int | None:
    """Return the bytes that this process may still take; None where nothing tells.

    What the kernel can take back (caches of files) counts as free.
    """
    rows = map(str.split, _read(proc / "meminfo").splitlines())
    found = [int(row[1]) * 1024 for row in rows if row[:1] == ["MemAvailable:"]]
    left = [_left(folder) for folder in _folders("memory", proc, groups)]
    found += [bytes_ for bytes_ in left if bytes_ is not None]
    return max(0, min(found)) if found else None


def _folders(controller: str, proc: Path, groups: Path) -> Iterator[Path]:
    """Yield the folders of our group and of those above it, in both versions."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        root = groups / controller if controller in names.split(",") else groups
        if names and controller not in names.split(","):
            continue
        folder = root / path.lstrip("/")
        while True:
            yield folder
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent


def _quota(folder: Path) -> float | None:
    """Return the cores of a group's quota of CPU time; None: it has none."""
    words = _read(folder / "cpu.max").split()
    if len(words) != 2:
        words = [
            _read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
        ]
    try:
        quota, period = float(words[0]), float(words[1])
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _left(folder: Path) -> int | None:
    """Return what a group's limit on memory leaves; None: it has none."""
    for limit, used, key in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, taken = int(_read(folder / limit)), int(_read(folder / used))
        except ValueError:
            continue
        rows = (line.split() for line in _read(folder / "memory.stat").splitlines())
        stat = {row[0]: row[1] for row in rows if len(row) == 2}
        return most - taken + int(stat.get(key, 0))
    return None


def _read(path: Path) -> str:
    """Return a small file of the kernel; "" where there is none to read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
