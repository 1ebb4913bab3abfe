"""The report: schema 1.1, what `-o report.json` holds (DESIGN section 4).

All that changes from run to run sits in `run`; the rest is the same bytes for the
same model, data, settings and seed. Numbers are those of the extended real line: JSON
has no ∞, so it is the text "Infinity". A number that could not be measured is null and
its reason stands beside it.

Reports of schema 1.0 are read by `json`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from audit.config.settings import DEFAULT_DIVERGENCES
from audit.reports.audited import Data, Model, Setting
from audit.reports.found import UnderAttack
from audit.reports.judged import Check
from audit.reports.listed import Checked, Inputs, WorstInput
from audit.reports.portraits import Portrait
from audit.reports.record import Record
from audit.reports.summaries import Divergence

SCHEMA_VERSION = "1.1"


class Tool(Record):
    """Who wrote the report."""

    name: str = "robaudit"
    version: str


class Skipped(Record):
    """An input that could not be measured."""

    index: int
    reason: str


class Warned(Record):
    """Something the reader should know."""

    code: str
    message: str


class Report(Record):
    """The result of one scan."""

    schema_version: str = SCHEMA_VERSION
    tool: Tool
    verdict: Literal["pass", "fail", "none"] = "none"
    exit_code: int = 0
    fingerprint: str
    model: Model
    data: Data
    config: dict[str, Setting]
    divergences: dict[str, Divergence]
    inputs: Inputs | None
    """Null beyond 10,000 inputs: then only the rows file lists them."""
    checked: Checked | None = None
    under_attack: UnderAttack | None = None
    """Null unless --target-key names the θ of the data."""
    worst: list[WorstInput]
    portraits: list[Portrait] = Field(default_factory=list)
    """Of the worst inputs, in their order; empty where nothing was checked."""
    checks: list[Check] = Field(default_factory=list)
    skipped: list[Skipped]
    warnings: list[Warned]
    run: dict[str, Any]

    @property
    def attacks(self) -> dict[str, str]:
        """Label -> specification of the attacks, "gaussian" -> "gaussian:sigma=0.1"."""
        setting = self.config.get("attacks")
        specs = [str(spec) for spec in setting.value] if setting else []
        found: dict[str, str] = {}
        for spec in specs:
            label, _, kind = spec.partition(":")[0].partition("=")
            found[label] = spec[len(label) + 1 :] if kind else spec
        return found

    @property
    def ranked(self) -> list[str]:
        """The divergences in the order they were asked for (JSON sorts its keys)."""
        setting = self.config.get("divergences")
        asked = [str(name) for name in setting.value or ()] if setting else []
        order = {name: rank for rank, name in enumerate(asked or DEFAULT_DIVERGENCES)}
        return sorted(
            self.divergences, key=lambda name: (order.get(name, len(order)), name)
        )
