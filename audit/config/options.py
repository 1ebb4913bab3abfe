"""The table of options: one row for each, whatever layer sets it.

An option's name is its key in `robaudit.yaml`, `ROBAUDIT_<NAME>` in the environment
and the keyword of `override`. A new option is a field in `settings` and a row of
`tables/options.txt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit.config import gate_readers, readers
from audit.config.readers import Reader
from audit.ground.tables import table


@dataclass(frozen=True)
class Option:
    """How one option is read, shown on the command line and explained."""

    read: Reader
    meaning: str
    metavar: str
    """What its value looks like; "" for a flag without a value."""
    panel: str
    """The heading under which `--help` shows it."""
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

    @property
    def changes(self) -> str:
        """What another value changes: a `number`, `limit`, `run` or only `words`."""
        if self.only_words:
            return "words"
        return {RUN: "run", GATE: "limit"}.get(self.panel, "number")


MODEL, MEASURE, ESTIMATOR = "Model and contract", "What is measured", "Estimation"
SUBSET, RUN, GATE = "Which inputs", "Resources", "Gate"
POSITIONAL = ("model", "data")


def _reader(words: str) -> Reader:
    """Return the reader of a row: "text", or one that is made, "integer 1 auto"."""
    name, *taken = words.split()
    if name == "integer":
        return readers.integer(int(taken[0]), *taken[1:])
    found: Any = getattr(readers, name, None) or getattr(gate_readers, name)
    made: Reader = found(*taken) if taken else found
    return made


def _option(panel: str, read: str, metavar: str, notes: str, meaning: str) -> Option:
    """Return the option of a row; a note is its flag, or a field that holds."""
    words = notes.split()
    flag = "".join(word for word in words if word.startswith("-"))
    holds = {word: True for word in words if word != flag}
    return Option(_reader(read), meaning, metavar, panel, flag, **holds)


OPTIONS = {name: _option(*row) for name, *row in table("audit.config", "options")}


def command_line_options() -> list[str]:
    """Return the options that have a place on the command line."""
    return [name for name, option in OPTIONS.items() if not option.file_only]


def flag_names(name: str) -> list[str]:
    """Return an option's names on the command line, e.g. ["-a", "--attack"]."""
    if name in POSITIONAL:
        return [name.upper()]
    option = OPTIONS.get(name)
    given = option.flag if option else ""
    return given.split("/") if given else ["--" + name.replace("_", "-")]
