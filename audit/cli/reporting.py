"""The commands that only read reports."""

from __future__ import annotations

COMMANDS = ()
