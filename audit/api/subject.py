"""What a call asks about, made ready for the pipeline: model, data, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import torch

from audit import ConfigError
from audit.api.data import DataFile, data_file
from audit.api.given import Given, given_in_files
from audit.api.words import in_python
from audit.config import ScanConfig, from_call, override, with_waivers
from audit.config.option import GATE
from audit.config.options import OPTIONS
from audit.export.live import Network, open_live
from audit.reports.baseline import with_baseline
from audit.reports.report import Report as Record
from audit.run.calling import model_settings

CALL = "call"


@dataclass(frozen=True)
class Asked:
    """A call, ready to be answered.

    Args:
        config: everything there is to know.
        network: the model, if it is no file.
        data: what the data are called in a report; "" for a file.
        names: what settings are called that are no files of the user's.
    """

    config: ScanConfig
    network: Network | None
    data: str
    names: Mapping[str, str]

    def named(self, record: Record) -> Record:
        """Return a report that names what was in memory, and no temporary files."""
        config = dict(record.config)
        for name, one in record.config.items():
            for path, said in self.names.items():
                if isinstance(one.value, str) and path in one.value:
                    config[name] = one.model_copy(update={"value": said})
        if not self.data:
            return record.model_copy(update={"config": config})
        config["data"] = record.config["data"].model_copy(update={"value": self.data})
        data = record.data.model_copy(update={"source": self.data})
        return record.model_copy(update={"data": data, "config": config})


@contextmanager
def asked(model: object, data: object, settings: Mapping[str, Any]) -> Iterator[Asked]:
    """Make a call ready; what it needs on the disk is there while the block runs.

    A caller may record no gradients or round to 16 bits (`torch.no_grad`,
    `inference_mode`, `autocast`): the block runs as by itself.

    Args:
        model: a path, or what `open_live` takes.
        data: see `data_file`; None: no data, which only an inspection can do without.
        settings: the keywords.

    Raises:
        AuditError: one of its kinds, in Python's words.
    """
    with _plain_torch(), given_in_files(settings) as given:
        if data is None:
            with in_python(given.names):
                yield _asked(model, DataFile(""), given)
            return
        with (
            data_file(data, _key(settings)) as file,
            in_python({**file.names, **given.names}),
        ):
            yield _asked(model, file, given)


@contextmanager
def _plain_torch() -> Iterator[None]:
    """Run with gradients and in full precision, whatever a caller has set."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


def _asked(model: object, data: DataFile, given: Given) -> Asked:
    saved = isinstance(model, (str, PathLike))
    name = str(fspath(model)) if isinstance(model, (str, PathLike)) else title(model)
    if not name:
        raise ConfigError(
            "The model is an empty text",
            "Expected the path of a saved model, or a live one",
            "Pass for example 'model.onnx'",
        )
    config = override(ScanConfig(), CALL, model=name, data=data.path or None)
    plain = {key: _plain(value) for key, value in given.settings.items()}
    _refuse_no_inputs(plain.get("index"))
    config = with_waivers(with_baseline(from_call(config, plain)))
    live = None if saved else open_live(model, model_settings(config), data.path)
    return Asked(config, live, data.label, given.names)


def _refuse_no_inputs(index: object) -> None:
    """Refuse a selection that selects nothing: without a selection all are audited."""
    if index is not None and not isinstance(index, int) and not index:
        raise ConfigError(
            f"index= is {index!r}, which selects no input",
            "Expected the numbers of one input at least",
            "Leave index= out to audit all inputs",
        )


def title(model: object) -> str:
    """Return what a live model is called in a report."""
    name = getattr(model, "__name__", "") or type(model).__name__
    return f"{name.strip('<>')} (live)"


def _key(settings: Mapping[str, Any]) -> str:
    """Return the name of an array that has none: that of the condition."""
    asked = settings.get("condition")
    name, _, key = (asked if isinstance(asked, str) else "").partition("=")
    return key or name or "x"


def _plain(value: object) -> object:
    """Return a setting without the types of numpy, torch and pathlib."""
    if isinstance(value, PathLike):
        return str(fspath(value))
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def limits_of(settings: Mapping[str, Any]) -> ScanConfig:
    """Return the configuration of a check: limits alone.

    Raises:
        ConfigError: a keyword is no option of the gate, or makes no sense.
    """
    names = [name for name, option in OPTIONS.items() if option.panel == GATE]
    values = {key: _plain(value) for key, value in settings.items()}
    return with_baseline(from_call(ScanConfig(), values, names))
