"""A scan is ready without the modules that few scans need: each costs its start."""

import subprocess
import sys

import pytest

LOADED = "import sys, audit.run.scan; print(*sys.modules)"


@pytest.fixture(scope="module")
def loaded():
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "audit.models.implicit.opening",  # of files that compute log q or draw θ
        "audit.importer.spare",
        "audit.verify.certificate",  # asked for by --sizes and certified:norm=ε
        "audit.models.enclosed",
        "numpy.ma",
    ],
)
def test_what_few_scans_need_is_imported_by_those(loaded, module):
    assert "audit.run.scan" in loaded
    assert module not in loaded
