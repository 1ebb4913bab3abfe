"""README.md alone, in a fresh virtual environment: each of its commands, timed.

python -m tests.fresh some/new/folder

Copies what git tracks, runs every `robaudit` and `pip install` line of README.md but
the test suite, and its Python example as a notebook. What a gate would be given
(model.onnx, inputs.npz) is the sample model under these names.
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = "torch==2.13.0"
"""Installed first, as README says of machines without a GPU."""
NOTEBOOK = """\
import sys, nbformat
from nbclient import NotebookClient

book, cells = nbformat.v4.new_notebook(), sys.stdin.read().split("\\n\\n")
book.cells = [nbformat.v4.new_code_cell(text) for text in cells]
NotebookClient(book, timeout=300, kernel_name="python3").execute()
nbformat.write(book, "readme.ipynb")
"""


def commands(text):
    """The lines that README tells its readers to paste, without the tests."""
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    known = ("robaudit ", "pip install ")
    return [line for line in lines if line.startswith(known) and "pytest" not in line]


def timed(title, words, folder, allowed=(0,), **more):
    """Run one command and print how long it took."""
    began = time.monotonic()
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, **more
    )
    print(f"{time.monotonic() - began:7.1f} s  exit {done.returncode}  {title}")
    sys.stdout.flush()
    if done.returncode not in allowed:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])


def main(folder):
    folder.mkdir(parents=True)
    place, home = folder / "checkout", folder / "venv"
    place.mkdir()
    tracked = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x"], cwd=place, input=tracked.stdout, check=True)
    timed("python -m venv", [sys.executable, "-m", "venv", str(home)], folder)
    here = f"export PATH={home}/bin:$PATH PYTHONPATH= PIP_DISABLE_PIP_VERSION_CHECK=1; "

    def run(line, allowed=(0,), **more):
        shell = ["bash", "-euc", here + line]
        timed(line, shell, place, allowed, **more)

    run(f"pip install --quiet {TORCH}")
    shutil.copy(place / "sample_models/heteroscedastic.onnx", place / "model.onnx")
    shutil.copy(place / "sample_models/heteroscedastic.npz", place / "inputs.npz")
    text = (ROOT / "README.md").read_text("utf-8")
    for line in commands(text):
        run(line, (0, 1) if "--max" in line else (0,))
    print((place / "radius.svg").stat().st_size, "bytes in radius.svg")
    run("pip install --quiet nbclient ipykernel")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    run(f"python -c '{NOTEBOOK}'", input=example)
    print((place / "report.html").stat().st_size, "bytes in report.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
