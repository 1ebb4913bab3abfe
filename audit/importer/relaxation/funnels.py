"""Maxima of windows, and the curve that reads them, passed in one step.

A tournament of maxima narrows k elements to one, and a curve of straight pieces that
never falls may read that. All lines on the way have slopes of [0, ∞), so that the sign
of a coefficient a is the same at each step: for a > 0 all are the lines above, for
a < 0 all those below. With A± [B, k, *out] the products of their slopes (s and 1 − s of
b + s (a − b) for the larger of a and b) and T± the levels added up,

    a f(v) ≤ Σ_i a A±_i v_i + a T±,

one pass over the elements instead of one for each step.

**Rounding.** What each step adds is in T±, by its own bound (`bounds`). A product of n
slopes is off by n roundings, which moves the bound by at most 3 n 2⁻⁵³ A_i |v_i|; for
up to ten steps that is below γ A_i |v_i|, γ ≥ 32 · 2⁻⁵³. The rounding of the elements
themselves is the same once more, and their bias is there, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.relaxation.passing import Pair
from audit.importer.relaxation.spans import Spans
from audit.importer.relaxation.tape import Affine, Larger
from audit.importer.relaxation.tournaments import Funnel


def passed(funnel: Funnel, spans: Spans, form: tuple[Tensor, Tensor] | None) -> Pair:
    """Return the lines of a tournament: slope, turn [B, k, *out], level, gap [B, *out].

    Args:
        funnel: the tournament.
        spans: with the lines of its steps, and what is rounded.
        form: c and r of the elements, where functionals go to u from there; else they
            add their bias and rounding.
    """
    above, below = _Side(spans, funnel, 1.0), _Side(spans, funnel, -1.0)
    far = torch.maximum(above.slope, below.slope)
    if form is None:
        entry = spans.tape.entries[funnel.at]
        assert isinstance(entry, Affine)
        centre, rest = entry.bias, spans.rounding(funnel.at)
    else:
        centre, rest = form
    slack = (far * (rest + spans.slack(funnel.at))).sum(1)
    if centre is not None:
        for side in (above, below):
            side.level = side.level + (side.slope * centre).sum(1)
    return Pair(
        (above.slope + below.slope) / 2,
        (above.slope - below.slope) / 2,
        (above.level + below.level) / 2,
        (above.level - below.level) / 2 + slack,
    )


class _Side:
    """The lines above (sign 1) or below (sign −1) of all steps as one.

    slope: A± [B, k, *out]. level: T± [B, *out], raised or lowered by what is rounded.
    """

    def __init__(self, spans: Spans, funnel: Funnel, sign: float) -> None:
        self.spans, self.sign = spans, sign
        last = spans.tape.values[funnel.maxima[-1]]
        self.slope, self.level = torch.ones_like(last), torch.zeros_like(last[:, 0])
        if funnel.curve is not None:
            slope, level = self._line(funnel.curve)
            self.slope, self.level = slope.unsqueeze(1), level
        for index in reversed(funnel.maxima):
            self._widen(index)

    def _line(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the line of a curve with its rounding, on this side."""
        lines, rounding = self.spans.lines(index), self.spans.rounding(index)
        if self.sign > 0:
            return lines.above, lines.above_level + rounding
        return lines.below, lines.below_level - rounding

    def _widen(self, index: int) -> None:
        """Go back over a maximum b + relu(a − b)."""
        entry = self.spans.tape.entries[index]
        assert isinstance(entry, Larger)
        slope, level = self._line(entry.inputs[1])
        own, rest = self.slope[:, : entry.half], self.slope[:, entry.half :]
        level = level + self.sign * self.spans.rounding(index)[:, : entry.half]
        self.level = self.level + (own * level).sum(1)
        self.slope = torch.cat([own * slope, own * (1 - slope), rest], dim=1)
