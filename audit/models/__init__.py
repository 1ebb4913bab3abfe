"""From a saved file to a conditional density.

A loader takes (path, device, trusted, cuts) and returns a `Network`; which one, the
file's content tells. Third parties add one, for a suffix of their own, by the entry
point group `robaudit.loaders`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from audit.ground.plugins import called_with
from audit.ground.registry import Registry

if TYPE_CHECKING:
    import torch

    from audit.models.network import Network

Loader = Callable[["Path", "torch.device", bool, frozenset[str]], "Network"]


LOADERS: Registry[Loader] = Registry(
    "loaders",
    {
        ".onnx": "audit.models.onnx_file:load",
        ".pt": "audit.models.torchscript:load",
        ".ts": "audit.models.torchscript:load",
        ".pt2": "audit.models.exported:load",
    },
    called_with("path", "device", "trusted", "cuts"),
)
