"""What was found at some inputs: a frozen record that measuring returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.measure.mean_form import MeanForm, summed
from audit.reports.values import Floats, Values, join

Columns = Mapping[str, Mapping[str, Values]]

LEADERS = 10
"""The most sensitive inputs, of which every direction is kept."""


@dataclass(frozen=True)
class Answers:
    """The answers for n inputs, as plain data.

    Shapes: index [n]; columns: divergence -> quantity -> [n]; directions [n, K, d],
    zero where no direction moves anything; eigenvalues [n, K], NaN where there is none
    beside an infinite one. leaders: the most sensitive inputs with every direction,
    where those of the others were let go. coordinates: of θ, their shares of the top
    direction's cost [n, C], NaN where there are none. means: sums of the forms of all
    inputs, or of those of the blocks that these are of.
    """

    index: NDArray[np.int64]
    columns: Columns = field(default_factory=dict)
    directions: Mapping[str, Floats] = field(default_factory=dict)
    eigenvalues: Mapping[str, Floats] = field(default_factory=dict)
    skipped: tuple[tuple[int, str], ...] = ()
    leaders: Answers | None = None
    coordinates: Mapping[str, Floats] = field(default_factory=dict)
    means: Mapping[str, MeanForm] = field(default_factory=dict)

    @property
    def ranking(self) -> tuple[str, str]:
        """The divergence and the quantity by which inputs are ranked."""
        name, found = next(iter(self.columns.items()))
        return name, "eigenvalue" if "eigenvalue" in found else "linear"

    @property
    def sensitivity(self) -> Floats:
        """The first divergence's worst case [n]."""
        name, quantity = self.ranking
        return self.columns[name][quantity].numbers

    def leading(self) -> Answers:
        """Return the directions of the most sensitive inputs, in the order of all."""
        if not self.columns:
            return self
        ranked = np.nan_to_num(self.sensitivity, nan=-np.inf, posinf=np.inf)
        places = np.argsort(-ranked, kind="stable")[:LEADERS]
        name, quantity = self.ranking
        only = {name: {quantity: self.columns[name][quantity]}}
        bare = replace(self, columns=only, skipped=(), leaders=None, means={})
        return bare.take(np.sort(places))

    def take(self, rows: NDArray[np.intp]) -> Answers:
        """Return the answers of some rows."""
        return replace(
            self,
            index=self.index[rows],
            columns={
                name: {q: values.take(rows) for q, values in columns.items()}
                for name, columns in self.columns.items()
            },
            directions={name: v[rows] for name, v in self.directions.items()},
            eigenvalues={name: v[rows] for name, v in self.eigenvalues.items()},
            coordinates={name: v[rows] for name, v in self.coordinates.items()},
        )

    def placed(self, rows: NDArray[np.intp], newer: Answers) -> Answers:
        """Return the answers with those of some rows from the first ones of others."""
        first = np.arange(len(rows))
        columns = {
            name: {
                q: v.placed(rows, newer.columns[name][q].take(first))
                for q, v in found.items()
            }
            for name, found in self.columns.items()
        }
        return replace(
            self,
            columns=columns,
            directions=_placed(self.directions, rows, newer.directions),
            eigenvalues=_placed(self.eigenvalues, rows, newer.eigenvalues),
            coordinates=_placed(self.coordinates, rows, newer.coordinates),
        )

    def plain(self) -> dict[str, Any]:
        """Return arrays, lists and mappings of them, as a part file keeps them."""
        columns = {
            name: {q: values.plain() for q, values in found.items()}
            for name, found in self.columns.items()
        }
        leaders = None if self.leaders is None else self.leaders.plain()
        skipped = list(self.skipped)
        return {
            **vars(self),
            "columns": columns,
            "skipped": skipped,
            "leaders": leaders,
            "means": {name: mean.plain() for name, mean in self.means.items()},
        }

    @classmethod
    def from_plain(cls, kept: Mapping[str, Any]) -> Answers:
        """Return what `plain` gave."""
        columns = {
            name: {q: Values.from_plain(values) for q, values in found.items()}
            for name, found in kept["columns"].items()
        }
        skipped = tuple((int(index), str(why)) for index, why in kept["skipped"])
        leaders = None if kept["leaders"] is None else cls.from_plain(kept["leaders"])
        means = {name: MeanForm.from_plain(m) for name, m in kept["means"].items()}
        own: dict[str, Any] = {
            "columns": columns,
            "skipped": skipped,
            "leaders": leaders,
            "means": means,
        }
        return cls(**{**kept, **own})


def joined(parts: Sequence[Answers]) -> Answers:
    """Return the answers of several blocks as one; empty blocks have no columns."""
    full = [part for part in parts if part.columns]
    skipped = tuple(one for part in parts for one in part.skipped)
    if not full:
        return replace(parts[-1], skipped=skipped)
    return Answers(
        np.concatenate([part.index for part in full]),
        {
            name: {q: join([p.columns[name][q] for p in full]) for q in found}
            for name, found in full[0].columns.items()
        },
        stacked([part.directions for part in full]),
        stacked([part.eigenvalues for part in full]),
        skipped,
        _leaders(full),
        stacked([part.coordinates for part in full]),
        {name: summed([part.means[name] for part in full]) for name in full[0].means},
    )


def _leaders(parts: Sequence[Answers]) -> Answers | None:
    """Return the leaders of all parts among their leaders."""
    if any(part.leaders is None for part in parts):
        return None
    return joined([part.leaders for part in parts if part.leaders]).leading()


def stacked(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return arrays one after the other, by name."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _placed(
    older: Mapping[str, Floats], rows: NDArray[np.intp], newer: Mapping[str, Floats]
) -> dict[str, Floats]:
    found = {}
    for name, values in older.items():
        found[name] = values.copy()
        found[name][rows] = newer[name][: len(rows)]
    return found
