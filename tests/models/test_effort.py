"""Files whose passes are dear: fewer differences, and what is wrong is still seen."""

import math

import numpy as np
import pytest
import torch

from audit.ground.errors import ModelError
from audit.importer import registry
from audit.models.gates import agreement, effort, examine
from audit.models.gates.effort import FREE, FULL, LEAST, Effort, effort_of
from audit.models.onnx_file import load

from .saved import data_file, onnx_file, opened
from .subjects import CPU, subject_of

D = 40
TEXT = f"g (float[n,{D}] x) => (float[n,2] loc, float[n,2] log_scale) "
TEXT += "{ h = MatMul(x, a) t = Tanh(h) loc = MatMul(t, b) log_scale = Identity(t) }"
RNG = np.random.default_rng(0)
WEIGHTS = {
    "a": RNG.normal(size=(D, 2)).astype(np.float32) / 6,
    "b": np.eye(2, dtype=np.float32),
}


def test_cheap_files_are_looked_at_in_full_and_dear_ones_are_never_below_the_least():
    assert effort_of(0.0) == effort_of(FREE) == FULL == Effort(8, 8)
    assert effort_of(2 * FREE) == Effort(8, 4)
    assert effort_of(math.inf) == LEAST == Effort(4, 2)


@pytest.mark.parametrize(("work", "points"), [(2**31, 64), (2**8, 8)])
def test_the_work_of_a_graph_decides(tmp_path, monkeypatch, work, points):
    """A row of the file takes 2 · (D + 2) products and a few additions."""
    seen, plain = [], agreement._differences

    def counting(function, x, held, slopes, step, v):
        seen.append(len(x) * v.shape[1])
        return plain(function, x, held, slopes, step, v)

    monkeypatch.setattr(agreement, "_differences", counting)
    monkeypatch.setattr(effort, "_WORK", work)
    monkeypatch.setattr("audit.models.opening.FREE", work / 64)
    path = onnx_file(tmp_path, TEXT, **WEIGHTS)
    opened(path, data_file(tmp_path, x=RNG.normal(size=(12, D))), family="normal")
    assert set(seen) == {points}


def test_a_wrong_derivative_is_refused_by_the_least_effort(tmp_path, monkeypatch):
    x = torch.from_numpy(RNG.normal(size=(8, D)).astype(np.float32))
    path = onnx_file(tmp_path, TEXT, **WEIGHTS)

    def look():
        subject = subject_of(load(path, CPU, False, frozenset()), x)
        return examine(subject, True, effort=lambda: LEAST)

    assert look().derivative_error_float64 < 1e-6
    for entry in registry._OPERATORS[("", "Tanh")]:

        def wrong(x, run=entry.run):
            value = run(x)
            return value.detach() + 0.99 * (value - value.detach())

        monkeypatch.setitem(entry.__dict__, "run", wrong)
    with pytest.raises(ModelError, match="The derivative differs"):
        look()
