"""One option: how it is read, shown on the command line and explained."""

from __future__ import annotations

from dataclasses import dataclass

from audit.config.readers import Reader

MODEL, MEASURE, ESTIMATOR = "Model and contract", "What is measured", "Estimation"
SUBSET, RUN, GATE = "Which inputs", "Resources", "Gate"


@dataclass(frozen=True)
class Option:
    """How one option is read, shown on the command line and explained."""

    read: Reader
    meaning: str
    metavar: str = ""
    """What its value looks like; "" for a flag without a value."""
    flag: str = ""
    """Its names on the command line where they are not `--its-name`."""
    many: bool = False
    """Whether it may be given more than once."""
    file_only: bool = False
    """Whether it is written in a file, where changes are reviewed, and nowhere else."""
    names_file: bool = False
    """Whether its value may name a file, whose bytes count and not its name."""
    only_words: bool = False
    """Whether its value is what something is called, and no number hangs on it."""
    panel: str = ""
    """The heading under which `--help` shows it."""

    @property
    def changes(self) -> str:
        """What another value changes: a `number`, `limit`, `run` or only `words`."""
        if self.only_words:
            return "words"
        return {RUN: "run", GATE: "limit"}.get(self.panel, "number")
