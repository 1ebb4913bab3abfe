"""What all tests share. Each of two processes computes on one thread.

Processes that tests start, and the workers that run them, keep compiled modules beside
pytest's own cache where the environment forbids to keep them beside their sources: a
process of `robaudit scan` is a fifth cheaper then. The tree of commands is built once
for all runs of a command within a test's process, as it is in a process of its own, and
so is the table of operators that `torch.onnx.export` would read anew in each call.
"""

import gc
import os
import sys
from collections import defaultdict
from contextlib import suppress
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, and for subprocesses
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # each process would compile anew
    folder = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(folder))

import hypothesis
import pytest
import typer.testing
from _pytest.pathlib import import_path
from reports.synthetic import CONFIG, EIGENVALUES, LIMITS, measured_of, report_of

from audit.ground.collector import resting

typer.testing._get_command = cache(typer.testing._get_command)
gc.set_threshold(50_000, 20, 20)  # tests make little garbage: look for it seldom

# How long an example takes is the machine's affair, and no law of a test
slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=slow)
hypothesis.settings.load_profile("suite")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Search for no garbage while tests are collected, nor in what that made."""
    with resting():
        if os.environ.get("PYTEST_XDIST_WORKER", "gw0")[-1] in "13579":
            import_backwards(session.config)
        return (yield)


def import_backwards(config):
    """Import the tests of whole folders, the last first, as every other worker does.

    Each worker imports all tests, and rewrites their assertions unless that is kept
    from before. Two that go the same way do it twice; these meet in the middle.
    """
    for folder in filter(Path.is_dir, map(Path, config.args)):
        for path in sorted(folder.rglob("test_*.py"), reverse=True):
            with suppress(Exception, pytest.skip.Exception):  # told when it is its turn
                import_path(
                    path, root=config.rootpath, consider_namespace_packages=False
                )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave to the slow suite what `sweep(every, by=None)` says of a test's cases.

    A case stays in the default suite where the places of its values in their lists (or
    that of the argument named by `by`) sum to a multiple of `every`: of one list each
    n-th, of a product of lists a diagonal, on which each value of each list is met if
    another list is at least `every` long.
    """
    places = defaultdict(dict)
    for item in items:
        if (mark := item.get_closest_marker("sweep")) is None:
            continue
        found = {}
        for names in lists_of(item):
            seen = places[item.nodeid.partition("[")[0], names]
            value = tuple(id(item.callspec.params[name]) for name in names)
            found[names] = seen.setdefault(value, len(seen))
        by = mark.kwargs.get("by")
        if sum(n for k, n in found.items() if by is None or by in k) % mark.args[0]:
            item.add_marker("slow")


def pytest_runtest_setup():
    """Keep torch's table of operators, half a second each, once a test has loaded it.

    Only a table of translations that is handed over would write into it.
    """
    module = sys.modules.get("torch.onnx._internal.exporter._registration")
    made = getattr(module, "ONNXRegistry", None)
    if made is not None and not isinstance(vars(made)["from_torchlib"], staticmethod):
        made.from_torchlib = staticmethod(cache(made.from_torchlib))


def lists_of(item):
    """Return the names that each list of cases of a test is for."""
    found = []
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0]
        names = names.split(",") if isinstance(names, str) else names
        found.append(tuple(name.strip() for name in names))
    fixtures = set(item.callspec.params).difference(*found)
    return [*found, *((name,) for name in sorted(fixtures))]


@pytest.fixture
def config():
    return CONFIG


@pytest.fixture
def measured():
    return measured_of(EIGENVALUES)


@pytest.fixture
def report():
    """One skipped input, no limits."""
    return report_of(EIGENVALUES)


@pytest.fixture
def gated():
    """One limit that fails, one that holds, one that warns and is borderline."""
    return report_of(EIGENVALUES, *LIMITS)
