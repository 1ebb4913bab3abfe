"""What a scan does not import: seconds before the first number."""

import subprocess
import sys
from pathlib import Path

import pytest
from scans import SAMPLES

ROOT = Path(__file__).parents[2]
DEAR = (
    *("sympy", "mpmath", "scipy", "pandas", "pyarrow"),
    *("torch.onnx", "torch._dynamo", "torch._inductor"),
)
SCRIPT = f"""
import sys
from audit.config import ScanConfig, ModelConfig
from audit.run.scan import scan
for model, data in zip(sys.argv[1::2], sys.argv[2::2]):
    scan(ScanConfig(model=ModelConfig(model), data=data, limit=20))
print(*[name for name in {DEAR!r} if name in sys.modules])
"""
LOADED = "import sys, audit.run.scan; print(*sys.modules)"
NAMES = (
    *("heteroscedastic_legacy.onnx", "heteroscedastic.npz"),
    *("digits_cnn.onnx", "digits_cnn.npz"),  # J by the sweep, held against autograd
)


def printed(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    return done.stdout.split()


def test_a_scan_of_an_onnx_file_imports_nothing_dear():
    assert printed(SCRIPT, *(str(SAMPLES / name) for name in NAMES)) == []


@pytest.fixture(scope="module")
def loaded():
    return set(printed(LOADED))


@pytest.mark.parametrize(
    "module",
    [
        "audit.models.implicit.opening",  # of files that compute log q or draw θ
        "audit.importer.spare",
        "audit.verify.certificate",  # asked for by --sizes and certified:norm=ε
        "audit.models.enclosed",
        "numpy.ma",
        "sympy",
    ],
)
def test_what_few_scans_need_is_imported_by_those(loaded, module):
    assert "audit.run.scan" in loaded
    assert module not in loaded
