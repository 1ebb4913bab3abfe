"""A paper figure and a notebook from the commands of README.md alone, with their times.

`python -m tests.fresh FOLDER` does the same in a fresh virtual environment, from
`pip install` on; here the environment is that of the suite, and nothing is installed.
"""

import csv
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fresh import NOTEBOOK, ROOT, commands

pytestmark = pytest.mark.slow
README = (ROOT / "README.md").read_text("utf-8")
QUICK = 600.0
"""Seconds that each may take, on a machine that does other things too."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the sample models of a checkout, and a `robaudit` for PATH."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "sample_models").symlink_to(ROOT / "sample_models")
    for name in ("onnx", "npz"):
        target = {"onnx": "model.onnx", "npz": "inputs.npz"}[name]
        (folder / target).symlink_to(ROOT / f"sample_models/heteroscedastic.{name}")
    script = folder / "robaudit"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m audit "$@"\n')
    script.chmod(0o755)
    return folder


def timed(words, place, **more):
    """Run something there, and say how long it took."""
    began = time.monotonic()
    path = {"PATH": f"{place}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    home = {"HOME": str(place), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(
        words, cwd=place, env=path | home, capture_output=True, text=True, **more
    )
    spent = time.monotonic() - began
    print(f"{spent:.1f} s, exit {done.returncode}: {' '.join(words)[-90:]}")
    assert spent < QUICK
    return done


def test_a_figure_for_a_paper_comes_from_its_commands_alone(place):
    pytest.importorskip("matplotlib")
    lines = [line.removeprefix("pip install . && ") for line in commands(README)]
    asked = [line for line in lines if line.startswith("robaudit ")]
    assert any("--figure" in line for line in asked)
    for line in asked:
        done = timed(["bash", "-euc", line], place)
        gated = "--max" in line or "--min" in line
        assert done.returncode in ((0, 1) if gated else (0,)), done.stderr
    picture = (place / "radius.svg").read_text("utf-8")
    assert picture.count("<text") > 3  # words that a paper can search
    assert "radius" in re.sub(r"<!--.*?-->", "", picture, flags=re.DOTALL)
    with (place / "radius.svg.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head[:2] == ["series", "label"]
    counts = [float(row[3]) for row in rows if row[0] == "steps" and row[3]]
    report = json.loads((place / "report.json").read_text("utf-8"))
    assert sum(counts) == pytest.approx(report["data"]["n_audited"])


def test_a_notebook_comes_from_its_example_alone(place):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = timed([sys.executable, "-c", NOTEBOOK], place, input=example)
    assert done.returncode == 0, done.stderr[-2000:]
    book = nbformat.read(place / "readme.ipynb", as_version=4)
    assert len(book.cells) == len(example.split("\n\n"))
    assert not [o for c in book.cells for o in c.outputs if o.output_type == "error"]
    page = (place / "report.html").read_text("utf-8")
    assert "<dt>Worst input</dt>" in page
