"""What a scan does not import: seconds before the first number."""

import subprocess
import sys
from pathlib import Path

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
    scan(ScanConfig(model=ModelConfig(model), data=data, limit=4))
print(*[name for name in {DEAR!r} if name in sys.modules])
"""


NAMES = (
    *("heteroscedastic_legacy.onnx", "heteroscedastic.npz"),
    *("digits_cnn.onnx", "digits_cnn.npz"),  # J by the sweep, held against autograd
)


def test_a_scan_of_an_onnx_file_imports_nothing_dear():
    command = [sys.executable, "-c", SCRIPT, *(str(SAMPLES / name) for name in NAMES)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=True
    )
    assert done.stdout.split() == []
