"""The training scripts of the samples, without the libraries of their data sets."""

import importlib
import sys
import types
import warnings
from importlib.machinery import ModuleSpec

import pytest
from scans import SAMPLES


@pytest.fixture
def samples(monkeypatch):
    """Make the training scripts importable where their data sets are not installed."""
    for library in ("sklearn", "statsmodels"):
        sets = types.ModuleType(f"{library}.datasets")
        sets.__getattr__ = lambda name: None
        package = types.ModuleType(library)
        package.datasets = sets
        package.__spec__ = ModuleSpec(library, None)  # torch asks for it
        monkeypatch.setitem(sys.modules, library, package)
        monkeypatch.setitem(sys.modules, f"{library}.datasets", sets)
    monkeypatch.syspath_prepend(str(SAMPLES))
    for script in SAMPLES.glob("*.py"):  # a package of our tests may have the name
        monkeypatch.delitem(sys.modules, script.stem, raising=False)
    known = set(sys.modules)
    with warnings.catch_warnings():
        yield importlib.import_module
    for other in set(sys.modules) - known:
        if str(getattr(sys.modules[other], "__file__", "")).startswith(str(SAMPLES)):
            del sys.modules[other]
