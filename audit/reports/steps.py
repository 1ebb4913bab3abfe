"""How much a number may change from a baseline: a share of it, or an amount."""

from __future__ import annotations

from dataclasses import dataclass


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

    def beyond(self, old: float) -> float:
        """Return the change in the number's own unit that is allowed from `old`."""
        return self.allowed * (abs(old) if self.share else 1.0)
