"""What readers of data files share: a file read whole, a package, an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType

from audit.ground.errors import ConfigError, InputError
from audit.ground.storage import open_regular
from audit.ground.storage.arrays import unreadable
from audit.ground.storage.fingerprint import fingerprint

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of terminals, in words of other packages


def whole(path: str, memory: int) -> tuple[bytes, str]:
    """Return a file's bytes and their digest, for kinds that are read at once.

    Raises:
        InputError: it cannot be read.
        ConfigError: it takes more than `memory`.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            if size > memory:
                has = f"has {size / 2**30:.1f} GiB, and is read whole"
                raise too_large(f"The data file '{path}' {has}", memory)
            digest = fingerprint(file).sha256
            file.seek(0)
            return file.read(), digest
    except OSError as error:
        raise unreadable(path, error) from None


def too_large(given: str, memory: int) -> ConfigError:
    """Return the error about data that take more memory than there is to be."""
    return ConfigError(
        given,
        f"--memory allows {memory / 2**30:.1f} GiB",
        "Raise --memory, or save it with np.savez, which is read in place",
    )


def needs(path: str, extra: str, load: Callable[[], ModuleType]) -> ModuleType:
    """Return a package that reads a file.

    Raises:
        ConfigError: it is not installed; names the extra.
    """
    try:
        return load()
    except ImportError as error:
        raise ConfigError(
            f"Reading '{path}' takes {error.name or extra}, which is not installed",
            "The core reads .npz, .npy, .csv, .json, .pt and .safetensors",
            f"Run pip install 'robaudit[{extra}]', or save the data with np.savez",
        ) from None


def broken(path: str, kind: str, error: Exception) -> InputError:
    """Return the error for a file that its own package does not read."""
    reason = _COLOURS.sub("", str(error)).strip().partition("\n")[0]
    return InputError(
        f"The data file '{path}' is no readable {kind} ({reason})",
        f"Expected a complete {kind}",
        "Write or copy it again",
    )
