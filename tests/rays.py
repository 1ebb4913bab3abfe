"""Scans on Ray, for tests: a slow model, its commands, and jobs for an engine alone."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scans import written

ROOT = Path(__file__).parents[1]
STORE = 100 * 2**20  # bytes of shared memory of a node
PARTS = 60
_DEPTH, _WIDE = 100, 600


def slow_model(folder):
    """Save a model of which a part of two rows takes about a tenth of a second."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(_WIDE, _WIDE)))[0]
    turn, first = (
        torch.tensor(one, dtype=torch.float32)
        for one in (turn, rng.normal(size=(3, _WIDE)) / 2)
    )

    def head(x):
        hidden = x @ first
        for _ in range(_DEPTH):
            hidden = hidden + 0.05 * torch.tanh(hidden @ turn)
        return hidden[:, :2]

    x = rng.normal(size=(2 * PARTS, 3)).astype(np.float32)
    parameters = {"loc": "output[:, :1]", "scale": "exp(0.1*output[:, 1:])"}
    model = {"family": "normal", "parameters": parameters}
    return written(folder, head, x, model, verify=0, memory=600)


def command(folder, *more, python=sys.executable, **environment):
    """Begin a scan of the slow model into `run`, `r.json` and `rows.npz`."""
    words = ["scan", "head.pt", "head.npz", "--family", "normal", "--verify", 0]
    words += ["--param", "loc=output[:, :1]", "--param", "scale=exp(0.1*output[:, 1:])"]
    words += ["--memory", 600, "-q", "-o", "r.json", "-o", "rows.npz"]
    words += ["--run-dir", "run", "--resume", *more]
    paths = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [python, "-m", "audit", *map(str, words)],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **paths},
    )


def result_of(folder):
    """Return what a scan wrote, but for what tells one run from another."""
    report = json.loads((folder / "r.json").read_text())
    del report["run"]
    parts = {path.name: path.read_bytes() for path in parts_of(folder)}
    return json.dumps(report), (folder / "rows.npz").read_bytes(), parts


def parts_of(folder):
    return sorted((folder / "run").glob("part-*.npz"))


def wait_for(condition, patience=120):
    """Wait until something holds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


# Jobs for an engine alone


def make_slow(seconds):
    """Return a job that takes a while and says who did it."""
    return partial(_slow, seconds)


def _slow(seconds, job):
    time.sleep(seconds)
    return job * job, os.getpid()


def make_deadly(job):
    """Return jobs of which one ends its process."""
    return partial(_deadly, job)


def _deadly(deadly, job):
    if job == deadly:
        os._exit(9)
    return job


def make_greedy():
    """Return jobs whose answers take three megabytes each."""
    return _greedy


def _greedy(job):
    return np.full(400_000, job, dtype=np.float64)
