"""The sbi posterior of a linear-Gaussian simulator, against its own file and the truth.

The exported file is run by onnxruntime alone: draws from its sampler, central
differences of its log-density. No code of the audit takes part on that side.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from audit.config import ModelConfig, ScanConfig
from audit.run.scan import scan

FOLDER = Path(__file__).parent.parent / "sample_models"
MODEL, DATA = FOLDER / "linear_posterior.onnx", FOLDER / "linear_posterior.npz"
ROWS, DRAWS, STEP = 8, 4000, 1e-2


@pytest.fixture(scope="module")
def session():
    return onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def x():
    with np.load(DATA) as data:
        return data["x"][:ROWS].astype(np.float32)


@pytest.fixture(scope="module")
def report():
    config = ScanConfig(
        model=ModelConfig(path=str(MODEL)),
        data=str(DATA),
        index=tuple(range(ROWS)),
        verify=0,
    )
    return scan(config)


def log_prob(session, x, theta, z):
    return session.run(["log_prob"], {"x": x, "theta": theta, "z": z})[0]


def information(session, x):
    """Return scores' second moments [2, 2] of one input, and the error of its trace."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((DRAWS, 2)).astype(np.float32)
    many = np.repeat(x[None], DRAWS, axis=0)
    (theta,) = session.run(["sample"], {"x": many, "theta": z, "z": z})
    scores = []
    for axis in np.eye(2, dtype=np.float32) * STEP:
        up = log_prob(session, many + axis, theta, z)
        down = log_prob(session, many - axis, theta, z)
        scores.append((up.astype(float) - down) / (2 * STEP))
    scores = np.stack(scores, axis=1)
    lengths = (scores**2).sum(axis=1)
    return scores.T @ scores / DRAWS, lengths.std() / np.sqrt(DRAWS)


def test_the_audit_agrees_with_differences_of_the_exported_file(session, x, report):
    kl = report.inputs.model_extra["kl"]
    for i in range(ROWS):
        matrix, error = information(session, x[i])
        ours, own = kl["trace"][i], kl["trace_se"][i]
        assert abs(ours - np.trace(matrix)) < 4 * np.hypot(error, own)
        top = np.linalg.eigvalsh(matrix)[-1]
        assert kl["eigenvalue_lower"][i] < top + 4 * error
        assert kl["eigenvalue_upper"][i] > top - 4 * error


def test_the_posterior_is_near_the_true_one_whose_information_is_five(report):
    """The network is trained, not exact: 5 I to a tenth."""
    kl = report.inputs.model_extra["kl"]
    assert np.median(kl["trace"]) == pytest.approx(10.0, rel=0.1)
    assert np.median(kl["eigenvalue"]) == pytest.approx(5.0, rel=0.1)


def test_the_density_integrates_to_one_and_its_draws_belong_to_it(report):
    kl = report.inputs.model_extra["kl"]
    mean, error = np.array(kl["score_mean"]), np.array(kl["score_mean_se"])
    assert (mean < 5 * error + 0.02 * np.sqrt(kl["trace"])).all()
    assert not any("score_mean" in warning.code for warning in report.warnings)
