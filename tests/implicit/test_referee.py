"""Reports held against onnxruntime: differences of the file, at draws of our own."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from scans import attacks, columns, scan

from audit.run.scan import merge, scan_shard
from implicit.laws import NORMAL, X, config_of, onnx_file, report_of
from implicit.test_cut import INPUTS, OUTPUTS, ROWS, Embedded
from implicit.test_realised import mixture_law

STEP, DRAWS = 2e-2, 20000


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    path = tmp_path_factory.mktemp("referee") / "flow.onnx"
    return onnx_file(path, Embedded().eval(), INPUTS, OUTPUTS)


def differences(path, x):
    """Return central differences of log q and of T at numpy's draws, [S, d, 1 + n]."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    z = np.random.default_rng(7).standard_normal((DRAWS, 2)).astype(np.float32)

    def run(point, theta):
        at = np.broadcast_to(point, (DRAWS, len(point))).astype(np.float32)
        return session.run(OUTPUTS, {"x": at, "theta": theta, "z": z})

    theta = run(x, np.zeros_like(z))[1]
    found = []
    for axis in np.eye(len(x)):
        ahead, behind = (run(x + s * STEP * axis, theta) for s in (1, -1))
        slopes = [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]
        found.append(np.concatenate([slopes[0][:, None], slopes[1]], axis=1))
    return np.stack(found, axis=1).astype(np.float64)


def test_tensors_are_those_of_the_file_run_by_onnxruntime(flow):
    report = report_of(flow, ROWS, NORMAL, draws_per_input=4096)
    for i, x in enumerate(ROWS):
        slopes = differences(flow, x)
        tensors = {
            "kl": np.einsum("sd,se->de", slopes[:, :, 0], slopes[:, :, 0]),
            "quantile": np.einsum("sdn,sen->de", slopes[:, :, 1:], slopes[:, :, 1:]),
        }
        for name, tensor in tensors.items():
            found = columns(report, name)
            values = np.linalg.eigvalsh(tensor / DRAWS)
            trace = values.sum()
            none = np.zeros(len(ROWS))
            error = 4 * found.get("trace_se", none)[i] + 0.03 * trace
            assert abs(found["trace"][i] - trace) <= error
            lower, upper = (
                found.get(f"eigenvalue_{end}", found["eigenvalue"])[i]
                for end in ("lower", "upper")
            )
            assert lower <= 1.03 * values[-1]
            assert values[-1] <= 1.03 * upper


def test_a_map_with_steps_is_seen_to_part(tmp_path):
    """A mixture's sampler jumps between components: no derivative knows of it."""
    inputs = {"x": 3, "theta": 1, "z": 2}
    path = onnx_file(tmp_path / "mixture.onnx", mixture_law, inputs, OUTPUTS)
    large = attacks(random_direction={"max_norm": "1"})
    found = columns(report_of(path, X, NORMAL, verify=3, attacks=large), "quantile")
    assert (found["random_direction_parted"] == 1).all()
    assert (found["random_direction_ratio"] > 2).all()


def test_a_run_in_shards_gives_the_same_numbers(flow, tmp_path):
    config = config_of(flow, ROWS, NORMAL, rel_error=0.05, draws_per_input=64)
    plain = scan(config)
    shared = replace(config, run_dir=str(tmp_path / "run"), batch_size=2)
    for part in ("1/2", "2/2"):
        scan_shard(replace(shared, shard=part, resume=part == "2/2"))
    joined = merge(shared)
    for name in ("kl", "quantile"):
        one, other = columns(plain, name), columns(joined, name)
        for quantity, values in one.items():
            np.testing.assert_array_equal(values, other[quantity])
