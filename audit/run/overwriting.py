"""What a scan writes is never what it reads."""

from __future__ import annotations

from collections.abc import Iterable
from os.path import exists, samefile

from audit.config import ScanConfig
from audit.ground.errors import ConfigError
from audit.ground.storage import split_spec

_READ = ("mask", "units", "bounds")


def keep_inputs(config: ScanConfig, files: Iterable[str] = ()) -> None:
    """Refuse to write over a file that the scan reads.

    Args:
        config: of the scan, with the file that witnesses are kept in.
        files: that are written besides.

    Raises:
        ConfigError: names both.
    """
    read = {"model": config.model.path, "data": split_spec(config.data)[0]}
    read["--sampler"] = config.model.sampler or ""
    read |= {f"--{name}": getattr(config, name) or "" for name in _READ}
    for path in (*files, *filter(None, [config.witness])):
        for name, source in read.items():
            if source and exists(path) and exists(source) and samefile(path, source):
                raise ConfigError(
                    f"The output '{path}' is the scan's own input, {name} '{source}'",
                    "Expected a file that nothing is read from: it is written over",
                    "Name another output",
                )
