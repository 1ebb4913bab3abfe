"""MLflow: models by reference, and the library that logs and fetches.

`models:/NAME/VERSION`, `models:/NAME@ALIAS` and `runs:/ID/PATH` name files of a
tracking server or store (mlflow.org, "Model Registry" and "Artifact Stores"). What one
names is fetched once into a folder of this process and goes with it, so that what is
checked is what is loaded; a report names the file by its reference and never by that
folder. A fetched file is a stranger's like any other: nothing that MLflow says of it is
believed but which file the model is.
"""

from __future__ import annotations

import logging
import os
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from audit.ground.documents import read_yaml
from audit.ground.errors import ConfigError, ModelError, boundary, cause
from audit.ground.storage.temporary import TemporaryFolder

SCHEMES = ("models:/", "runs:/")
SUFFIXES = (".onnx", ".pt2", ".pt", ".ts")
CARD = "MLmodel"
"""The file by which MLflow says what a model's folder holds."""
_SHOWN = 8
_fetched: dict[str, tuple[TemporaryFolder, Path]] = {}


def is_reference(path: str) -> bool:
    """Tell whether a model is named by a reference, and not by a path."""
    return str(path).startswith(SCHEMES)


def mlflow_for(what: str) -> Any:  # noqa: ANN401
    """Return the module `mlflow`.

    Args:
        what: what it is needed for, a clause ("'models:/a/1' was given").

    Raises:
        ConfigError: it is not installed.
    """
    if find_spec("mlflow") is None:
        raise ConfigError(
            f"{what}, and mlflow is not installed",
            "Expected it: a tracking store is read and written through its own library",
            "Run pip install 'robaudit[mlflow]'",
        )
    # The bars of its downloads would stand in the log of a gate.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    module = import_module("mlflow")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return module


def located(path: str) -> Path:
    """Return where a model's file lies: the path itself, or what a reference names.

    Raises:
        ConfigError: mlflow is not installed.
        ModelError: the reference leads nowhere, or to no single model file.
    """
    if not is_reference(path):
        return Path(path)
    if path not in _fetched:
        folder = TemporaryFolder(Path(tempfile.gettempdir()), "robaudit-mlflow-")
        _fetched[path] = folder, _model_in(path, _download(path, folder.path / "model"))
    return _fetched[path][1]


def shown(path: str | Path) -> str:
    """Return a file as a report names it: what was fetched by its reference."""
    for reference, (folder, file) in _fetched.items():
        if Path(path) == file and file.name == reference.rpartition("/")[2]:
            return reference
        if Path(path).is_relative_to(folder.path):
            return f"{reference.rstrip('/')}/{Path(path).name}"
    return str(path)


def _download(reference: str, folder: Path) -> Path:
    """Fetch what a reference names, and return its copy."""
    library = mlflow_for(f"'{reference}' was given")
    folder.mkdir()
    try:
        fetched = import_module(f"{library.__name__}.artifacts").download_artifacts(
            artifact_uri=reference, dst_path=str(folder)
        )
    except Exception as error:  # a client raises what its store and network raise
        where = library.get_tracking_uri()
        raise ModelError(
            f"'{reference}' cannot be fetched from '{where}' ({cause(error)})",
            "Expected models:/NAME/VERSION, models:/NAME@ALIAS or runs:/ID/PATH of it",
            "Check the reference, and MLFLOW_TRACKING_URI",
        ) from None
    return Path(fetched)


def _model_in(reference: str, fetched: Path) -> Path:
    """Return the model's file: what was fetched, or the one of a model's folder."""
    if fetched.is_file():
        return fetched
    named = _named_by_card(reference, fetched)
    if named is not None:
        return named
    files = sorted(p for p in fetched.rglob("*") if p.is_file())
    found = [path for path in files if path.suffix in SUFFIXES]
    if len(found) == 1:
        return found[0]
    names = [str(path.relative_to(fetched)) for path in found or files]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise ModelError(
        f"'{reference}' is a folder of {', '.join(names[:_SHOWN]) or 'nothing'}{more}",
        f"Expected a model of MLflow's flavour onnx, or one {', '.join(SUFFIXES)} file",
        "Name the file, runs:/ID/PATH/model.onnx; a pickled module has to be exported "
        "first (mlflow.onnx.log_model, torch.onnx.export)",
    )


def _named_by_card(reference: str, folder: Path) -> Path | None:
    """Return the ONNX file that a model's card names; None where it names none."""
    card = folder / CARD
    if not card.is_file():
        return None
    said, todo = "Expected what MLflow writes", "Log the model again"
    with boundary(f"'{CARD}' of '{reference}' is damaged", said, todo, ModelError):
        flavours = read_yaml(card.read_text(encoding="utf-8"))[0]["flavors"]
        if "onnx" not in flavours:
            return None
        file = (folder / str(flavours["onnx"]["data"])).resolve()
        if not file.is_relative_to(folder.resolve()) or not file.is_file():
            missing = f"'{CARD}' of '{reference}' names a file that it lacks"
            raise ModelError(missing, said, todo)
    return file
