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
scan(ScanConfig(model=ModelConfig(sys.argv[1]), data=sys.argv[2], limit=20))
print(*[name for name in {DEAR!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "names",
    [
        ("heteroscedastic_legacy.onnx", "heteroscedastic.npz"),
        ("digits_cnn.onnx", "digits_cnn.npz"),  # J by the sweep, held against autograd
    ],
)
def test_a_scan_of_an_onnx_file_imports_nothing_dear(names):
    command = [sys.executable, "-c", SCRIPT, *(str(SAMPLES / name) for name in names)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=True
    )
    assert done.stdout.split() == []
