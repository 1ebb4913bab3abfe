"""A likelihood network that is flat far out: refused in words, and then as advised."""

import math

import numpy as np
import pytest
import torch
from scans import columns
from scipy.integrate import quad

from audit.ground.errors import ModelError
from implicit.laws import onnx_file, report_of

SPACE = "rt:positive,choice:{-1,1}"
X = np.array([[0.3], [-0.5], [0.1]])
FLOOR = 1e-5


def log_density(x, theta):
    """A log-normal rt and a logistic choice, above a floor."""
    rt, choice = theta[:, :1], theta[:, 1:]
    log_q = -0.5 * ((rt.log() - x) / 0.4) ** 2 - rt.log()
    log_q = log_q - math.log(0.4 * math.sqrt(2 * math.pi))
    log_q = log_q + torch.nn.functional.logsigmoid(2 * x * choice)
    return log_q.clamp_min(math.log(FLOOR))


def truth(x, high):
    """Return F of the law confined to (0, high), by quadrature and differences."""

    def density(rt, c, at):
        bulk = math.exp(-0.5 * ((math.log(rt) - at) / 0.4) ** 2) / (
            rt * 0.4 * math.sqrt(2 * math.pi)
        )
        return max(bulk / (1 + math.exp(-2 * at * c)), FLOOR)

    def integral(function):
        return sum(
            quad(function, a, b, (c,), epsabs=1e-12, limit=200)[0]
            for c in (-1, 1)
            for a, b in ((1e-9, 0.1), (0.1, 1), (1, 5), (5, high))
        )

    h, total = 1e-4, integral(lambda t, c: density(t, c, x))

    def score(t, c):
        up, down = density(t, c, x + h), density(t, c, x - h)
        return (math.log(up) - math.log(down)) / (2 * h)

    mean = integral(lambda t, c: density(t, c, x) * score(t, c)) / total
    return integral(lambda t, c: density(t, c, x) * (score(t, c) - mean) ** 2) / total


def test_a_flat_tail_is_named_and_the_advice_holds(tmp_path):
    sizes = {"x": 1, "theta": 2}
    path = onnx_file(tmp_path / "l.onnx", log_density, sizes, ["log_prob"])
    with pytest.raises(ModelError, match=r"is flat above rt = .*, at -11\.5") as error:
        report_of(path, X, {"target_space": SPACE})
    assert "--target-space 'rt:interval(0,10),choice:{-1,1}'" in str(error.value)
    ended = {"target_space": "rt:interval(0,10),choice:{-1,1}"}
    report = report_of(path, X, ended, verify=0)
    wanted = [truth(float(x), 10) for x in X[:, 0]]
    np.testing.assert_allclose(columns(report, "kl")["trace"], wanted, rtol=2e-3)
