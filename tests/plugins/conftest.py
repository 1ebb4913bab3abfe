import json
import sys

import numpy as np
import onnx
import pytest
from models.saved import graph

from . import installed


@pytest.fixture(scope="module", autouse=True)
def plugins(tmp_path_factory):
    """Every package of this folder, installed for the tests beside it."""
    paths = installed.paths(tmp_path_factory.mktemp("installed"))
    sys.path[:0] = paths
    yield paths
    for path in paths:
        sys.path.remove(path)


ROWS = np.random.default_rng(0).normal(size=(6, 3))


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"x": ROWS.tolist()}))
    return str(path)


@pytest.fixture
def model(tmp_path):
    weights = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    made = graph(
        """model (float[N, 3] x) => (float[N, 2] scale) {
            h = MatMul(x, a)
            scale = Exp(h)
        }""",
        a=weights,
    )
    path = tmp_path / "rayleigh.onnx"
    onnx.save(made, path)
    return str(path)
