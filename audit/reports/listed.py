"""What a report lists input by input: values, their outcomes, the worst."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from audit.reports.record import Number, Record

MOST = 10_000
"""Audited inputs: a report of more lists none, see rows files."""


class Outcomes(Record):
    """What became of the values of one divergence that are not plain numbers.

    "Infinity" in a column is an infinite value, unless its input is at rest.
    """

    at_rest: list[int] = Field(default_factory=list)
    """Inputs where the form is zero: their zeros and infinities are limits."""
    not_measured: dict[str, dict[str, list[int]]] = Field(default_factory=dict)
    """Quantity -> reason -> inputs. Of a checked quantity only the checked ones."""


class Checked(Record):
    """The inputs where exact values were taken: the worst, and random others."""

    index: list[int]
    weights: list[float]
    """How many audited inputs each of them stands for."""
    strata: list[int]
    """0: among the most sensitive, all of which were taken; 1: drawn at random."""


class Inputs(Record):
    """Every scalar of every audited input: {index, DIVERGENCE: {QUANTITY: [N]}}."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, list[Number]]] = Field(init=False)
    index: list[int]
    outcomes: dict[str, Outcomes] = Field(default_factory=dict)

    @property
    def columns(self) -> dict[str, dict[str, list[Number]]]:
        """Divergence -> quantity -> values."""
        return self.__pydantic_extra__


class WorstInput(Record):
    """One of the most sensitive inputs: {index, DIVERGENCE: {QUANTITY: value}, ...}."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, Number]] = Field(init=False)
    index: int
    outcomes: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Divergence -> quantity -> what became of a value that is no finite number."""
    directions: dict[str, Any] = Field(default_factory=dict)
    """Divergence -> [K, *event]; null when an input is too large to print."""
    eigenvalues: dict[str, list[Number]] = Field(default_factory=dict)

    @property
    def values(self) -> dict[str, dict[str, Number]]:
        """Divergence -> quantity -> value."""
        return self.__pydantic_extra__
