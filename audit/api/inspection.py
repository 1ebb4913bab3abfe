"""What `audit.inspect` returns: plain data that shows itself as the command does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from audit.api.subject import Asked
from audit.api.words import said
from audit.formats.inspection import render
from audit.reports.inspected import Inspection


@dataclass(frozen=True, repr=False)
class Inspected(Inspection):
    """An inspection whose text is what `robaudit inspect` prints."""

    @classmethod
    def of(
        cls, found: Inspection, ready: Asked, settings: Mapping[str, Any]
    ) -> Inspected:
        """Return an inspection, with the call to make where the model is no file."""
        values = {one.name: getattr(found, one.name) for one in fields(Inspection)}
        if ready.network is not None or ready.data:
            options = "".join(f", {n}={value!r}" for n, value in settings.items())
            values["warnings"] = [said(one, {}) for one in found.warnings]
            values["scan_command"] = f"audit.scan(model, data{options})"
        return cls(**values)

    def __repr__(self) -> str:
        return render(self)
