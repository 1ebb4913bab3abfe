"""The law: whatever a file holds, it is read, or refused in three parts, and soon."""

import random
import resource
import time
import zlib
from dataclasses import dataclass, field

from audit.ground.errors import AuditError

SECONDS = 10.0
MEMORY = (1 << 30) + (
    1 << 28
)  # bytes: --memory, as the readers here are given, and 1 GiB


@dataclass
class Counts:
    """What became of the mutations of one parser."""

    parser: str
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    grown: int = 0
    """Bytes that the process took beyond those at the start."""
    faults: list = field(default_factory=list)

    @property
    def mutations(self):
        return self.accepted + self.refused + len(self.faults)

    def add(self, outcome, took, data, said):
        self.slowest = max(self.slowest, took)
        if outcome == "accepted":
            self.accepted += 1
        elif outcome == "refused":
            self.refused += 1
        else:
            self.faults.append((said, data))

    def join(self, other):
        self.accepted += other.accepted
        self.refused += other.refused
        self.faults += other.faults
        self.slowest = max(self.slowest, other.slowest)
        self.grown = max(self.grown, other.grown)


def outcome_of(read, data, folder):
    """Return accepted, refused or fault; the seconds; and what was said."""
    began = time.perf_counter()
    try:
        read(data, folder)
        outcome, said = "accepted", ""
    except AuditError as error:
        parts = (error.given, error.expected, error.next_step)
        outcome, said = (
            ("refused" if all(parts) else "fault"),
            f"lacks a part: {error}"[:300],
        )
    except Exception as error:
        outcome, said = (
            "fault",
            f"{type(error).__name__}: {error}"[:300] + _place(error),
        )
    took = time.perf_counter() - began
    if took > SECONDS:
        outcome, said = "fault", f"took {took:.1f} s"
    return outcome, took, said


def _place(error):
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f" [{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}]"


def run(parser, first, count, folder):
    """Read mutations number `first` to `first + count` of a parser."""
    counts, seeds = Counts(parser.name), parser.seeds()
    before = peak()
    for number in range(first, first + count):
        rng = random.Random(zlib.crc32(parser.name.encode()) * 1_000_003 + number)
        data = parser.mutate(rng, seeds)
        outcome, took, said = outcome_of(parser.read, data, folder)
        counts.add(outcome, took, data, said)
        counts.grown = peak() - before
        if counts.grown > MEMORY:
            counts.faults.append((f"took {counts.grown >> 20} MiB", data))
            before = peak()
    return counts


def peak():
    """Return the most bytes that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
