"""Make every sample model again: `python sample_models/make_all.py FOLDER`.

Each script runs in a process of its own with a fixed hash seed (torch.jit.script walks
over sets), so that its bytes depend only on itself and on the versions installed.
Needs scikit-learn, statsmodels and onnxscript besides robaudit. Scripts that also need
zuko or sbi are left out where those are missing.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDS = {
    "train_linear_posterior.py": "sbi",
    "train_two_moons.py": "sbi",
    "train_zuko_nsf.py": "zuko",
}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    for script in sorted(HERE.glob("train_*.py")):
        library = NEEDS.get(script.name)
        if library and importlib.util.find_spec(library) is None:
            print(f"-- {script.name}: left out, needs {library}", flush=True)
            continue
        began = time.perf_counter()
        subprocess.run([sys.executable, script, folder], check=True, env=environment)
        print(f"-- {script.name}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
