"""Paths that no system can hold: said in words wherever one is first looked at.

Not even whether such a file exists can be asked, so any part of a command may be the
first to meet one. A NUL is refused where settings are read (`layers`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from audit.ground.errors import ConfigError


@contextmanager
def short_names() -> Iterator[None]:
    """Say in three parts that a path is longer than the system takes.

    Raises:
        ConfigError: an OSError said so in the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ConfigError(
            f"The name '{error.filename}' is longer than the system takes",
            "Expected the path of a file or a folder",
            "Give a shorter one",
        ) from error
