"""Where the panels of a law go: each side of each bulk, surveyed once.

A tail is cut where what it still holds is nothing. Some laws no panels resolve, and
their integrals are NaN, not some number: a parameter is more than numbers hold, a bulk
is narrower than numbers of its size can tell, the mass (or moment) of a tail lies
beyond `LONGEST`, or a side would take more than `MOST` panels.

Shapes as in `lines`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.nodes.lines import Line
from audit.nodes.panels import MOST, Grading, Panels, grade, graded_edges, tail_reach

LONGEST = 1e150  # of a tail, in y
ROUNDING = 1e-6  # of a panel
FINEST = 1e-9  # width of a bulk over its distance from zero: rounding moves its nodes


@dataclass(frozen=True)
class Sides:
    """The sides of all bulks, seen from their centres by distances [M S, K].

    Shapes: center, width [M S], sign [S]; a law's sides follow each other.
    """

    line: Line
    log_density: Callable[[Tensor], Tensor]  # of y [M, K]
    center: Tensor
    width: Tensor
    sign: Tensor

    @classmethod
    def of(
        cls, line: Line, rows: Tensor, log_density: Callable[[Tensor], Tensor] | None
    ) -> Sides:
        """Return both sides of every bulk of laws [M, q]."""

        def own(y: Tensor) -> Tensor:
            return line.log_density(y, rows.unsqueeze(1))

        bulk = [part.repeat_interleave(2, dim=-1) for part in line.bulk(rows)]
        count = bulk[0].shape[-1]
        sign = bulk[0].new_tensor([-1.0, 1.0]).repeat(count // 2)
        center, width = (part.flatten() for part in bulk)
        return cls(line, log_density or own, center, width, sign)

    def _signed(self, steps: Tensor) -> Tensor:
        by_law = steps.reshape(-1, len(self.sign), steps.shape[-1])
        return (by_law * self.sign.unsqueeze(-1)).flatten(0, 1)

    def at(self, steps: Tensor) -> Tensor:
        """Return the log density [M S, K] at distances [M S, K]."""
        y = self.center.unsqueeze(-1) + self._signed(steps)
        by_law = y.reshape(-1, len(self.sign) * steps.shape[-1])
        return self.log_density(by_law).reshape(steps.shape)

    def reach(self, moment: int) -> Tensor:
        """Return how far tails of that moment reach [M S]; infinite if they do."""

        def log_mass(steps: Tensor) -> Tensor:
            signed, width = self._signed(steps), self.width.unsqueeze(-1)
            size = self.line.chart.log_size(signed, width)
            return self.at(steps) + steps.log() + moment * size.clamp_min(0)

        return tail_reach(log_mass, self.width, self.line.limit)

    def spans(self, grading: Grading) -> tuple[Span, ...]:
        """Return each side of all laws, with its part of a grading [M S, ...]."""
        count = len(self.sign)
        parts = (self.center, self.width, *grading)
        by_law = (part.reshape(-1, count, *part.shape[1:]) for part in parts)
        by_side = [part.transpose(0, 1).contiguous() for part in by_law]
        signs = [int(sign) for sign in self.sign]
        return tuple(
            Span(center, width, sign, Grading(t, cost))
            for center, width, sign, t, cost in zip(
                by_side[0], by_side[1], signs, by_side[2], by_side[3], strict=True
            )
        )


@dataclass(frozen=True)
class Span:
    """The side of a bulk, graded.

    Args:
        center: of the bulk [M]. width: of it [M]. sign: of the side.
        grading: how many panels it takes.
    """

    center: Tensor
    width: Tensor
    sign: int
    grading: Grading

    def take(self, places: Tensor) -> Span:
        """Return those of some laws."""
        grading = Grading(*(part[places] for part in self.grading))
        return Span(self.center[places], self.width[places], self.sign, grading)

    @property
    def edges(self) -> Tensor:
        """The edges [M, E + 1], from the centre outwards."""
        steps = graded_edges(self.width, self.grading)
        return self.center.unsqueeze(-1) + self.sign * steps

    def cost(self, y: Tensor) -> Tensor:
        """Return how many panels lie between the centre and places [M, K]."""
        steps = (self.sign * (y - self.center.unsqueeze(-1))).clamp_min(0)
        return self.grading.at(torch.asinh(steps / self.width.unsqueeze(-1)))


@dataclass(frozen=True)
class Survey:
    """Both sides of every bulk of some laws.

    Args:
        first: centre of the first bulk [M, 1]. limit: how far from it y may be.
        spans: the sides.
        endless: whether a tail does not end [M].
        lost: whether no panels are right [M].
    """

    first: Tensor
    limit: float
    spans: tuple[Span, ...]
    endless: Tensor
    lost: Tensor

    def __getitem__(self, places: Tensor) -> Survey:
        """Return those of some laws."""
        spans = tuple(span.take(places) for span in self.spans)
        flags = self.endless[places], self.lost[places]
        return Survey(self.first[places], self.limit, spans, *flags)


def survey(
    line: Line,
    rows: Tensor,
    moment: int = 0,
    log_density: Callable[[Tensor], Tensor] | None = None,
) -> Survey:
    """Survey laws [M, q], or another density where their bulks are.

    Laws that follow each other and are equal are surveyed once.

    Args:
        line: whose laws they are.
        rows: their parameters.
        moment: 0 where tails end when their mass is nothing, 2 for second moments.
        log_density: y [M, K] -> the other log density; the laws' own if None.
    """
    if log_density is None:
        first, owner = distinct_rows(rows)
        if len(first) < len(rows):
            return survey(line, rows[first], moment)[owner]
    center, width = line.bulk(rows)
    known = (width >= FINEST * center.abs()) & torch.isfinite(center + width)
    lost = ~(known.all(-1) & torch.isfinite(rows).all(-1))
    sides = Sides.of(line, rows, log_density)
    reach = sides.reach(moment)
    grading = grade(sides.at, sides.width, reach.clamp_max(LONGEST))
    fine = (reach <= LONGEST) & (grading.total <= MOST)
    fine, endless = (flag.reshape(len(rows), -1) for flag in (fine, torch.isinf(reach)))
    lost = lost | ~fine.all(-1)
    spans = sides.spans(grading)
    return Survey(center[:, :1], line.limit, spans, endless.any(-1), lost)


def distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows [M, q] that differ from the one before.

    Returns:
        Their places [U], and which of them each row is [M].
    """
    found = torch.unique_consecutive(rows, dim=0, return_inverse=True)
    owner = found[1]
    first = torch.ones_like(owner, dtype=torch.bool)
    first[1:] = owner.diff() > 0
    return first.nonzero()[:, 0], owner


def panels_of(*surveys: Survey, thin: bool = True) -> Panels:
    """Return panels that resolve all that was surveyed, inside the first's limit.

    Args:
        surveys: of laws [M] each.
        thin: whether edges that no bulk needs are left out, where there are several.
    """
    first, limit = surveys[0].first, surveys[0].limit
    spans = [span for each in surveys for span in each.spans]
    edges = torch.cat([span.edges for span in spans], dim=-1)
    inside = edges.clamp(first - limit, first + limit).sort(dim=-1).values
    return Panels(_thinned(inside, spans) if thin and len(spans) > 2 else inside)


def _thinned(edges: Tensor, spans: Sequence[Span]) -> Tensor:
    """Return some of the edges [M, E], as few as do, and every centre.

    The edges of several bulks together are more than any of them asks for. What is left
    holds at most one panel of each; rows that need fewer repeat the last edge.
    """
    costs = [span.cost(edges).diff(dim=-1).abs() for span in spans]
    whole = torch.stack(costs).amax(0).cumsum(-1)
    whole = torch.nn.functional.pad(whole, (1, 0))
    reach = whole + (1 + ROUNDING)
    after = torch.searchsorted(whole, reach, right=True) - 1
    centers = torch.stack([span.center for span in spans[::2]], dim=-1)
    center = torch.searchsorted(edges, centers.contiguous())
    is_center = torch.zeros_like(edges, dtype=torch.bool)
    is_center = is_center.scatter(-1, center.clamp_max(edges.shape[-1] - 1), True)
    return edges.gather(-1, _followed(after, is_center))


def _followed(after: Tensor, stops: Tensor) -> Tensor:
    """Return the places [M, K] from the first to the last, by steps to `after` [M, E].

    No step goes past a stop.
    """
    last = after.shape[-1] - 1
    places = torch.arange(last + 1, device=after.device).expand_as(after)
    ahead = torch.where(stops, places, last)
    ahead = ahead.flip(-1).cummin(-1).values.flip(-1)  # the next stop, or this place
    ahead = torch.nn.functional.pad(ahead[:, 1:], (0, 1), value=last)
    step = torch.minimum(torch.maximum(after, places + 1), ahead).clamp_max(last)
    found = [torch.zeros_like(places[:, :1])]
    while int(found[-1].min()) < last:
        found.append(step.gather(-1, found[-1]))
    return torch.cat(found, dim=-1)


def where_known(
    function: Callable[..., Tensor], lost: Tensor, *tables: Tensor | Survey
) -> Tensor:
    """Return function(*tables) [M, ...], NaN for the laws that are lost.

    Some other law takes their place, or one of them would ask for thousands of panels
    of all. If there is no other, the result is NaN [M].
    """
    if not bool(lost.any()):
        return function(*tables)
    if bool(lost.all()):
        return torch.full(lost.shape, torch.nan, dtype=torch.float64).to(lost.device)
    places = stand_ins(lost)
    values = function(*(table[places] for table in tables))
    return values.masked_fill(lost.reshape(-1, *(1,) * (values.dim() - 1)), torch.nan)


def stand_ins(lost: Tensor) -> Tensor:
    """Return each law's own place [M], or the first that is not lost for a lost one."""
    places = torch.arange(len(lost), device=lost.device)
    return torch.where(lost, (~lost).to(torch.uint8).argmax(), places)
