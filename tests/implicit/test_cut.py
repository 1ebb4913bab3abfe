"""The bottleneck: what depends on x alone runs once, and the numbers stay."""

import numpy as np
import pytest
import torch
from scans import chunk, columns
from torch import nn

from implicit.laws import NORMAL, config_of, notes_of, onnx_file, report_of

INPUTS = {"x": 4, "theta": 2, "z": 2}
LOG_TWO_PI = 1.8378770664093453
OUTPUTS = ["log_prob", "sample"]
ROWS = np.random.default_rng(0).standard_normal((5, 4))


class Embedded(nn.Module):
    """A normal law whose mean and scale come from an embedding of x."""

    def __init__(self):
        super().__init__()
        layers = nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for layer in layers[::2]:
                layer.reset_parameters()
            last = nn.Linear(64, 4)
        self.embedding = nn.Sequential(*layers, last)

    def forward(self, x, theta, z):
        h = self.embedding(x)
        loc, log_scale = h[:, :2], 0.3 * torch.tanh(h[:, 2:])
        apart = (theta - loc) * torch.exp(-log_scale)
        log_prob = (
            -0.5 * apart.square().sum(-1) - log_scale.sum(-1) - 1.8378770664093453
        )
        return log_prob, loc + torch.exp(log_scale) * z


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    network = Embedded().eval()
    example = (torch.zeros(3, 4), torch.zeros(3, 2), torch.zeros(3, 2))
    torch.jit.script(network).save(str(folder / "m.pt"))
    rows = {0: torch.export.Dim("rows", min=1)}
    program = torch.export.export(network, example, dynamic_shapes=(rows, rows, rows))
    torch.export.save(program, folder / "m.pt2")
    onnx_file(folder / "m.onnx", network, INPUTS, OUTPUTS)
    return {kind: folder / f"m.{kind}" for kind in ("onnx", "pt", "pt2")}


def model_of(kind, dtype):
    names = {} if kind == "onnx" else {"log_prob": "output_0", "sample": "output_1"}
    space = {} if kind == "onnx" else {"target": "theta", "target_space": "t:real*2"}
    return NORMAL | {"dtype": dtype, "parameters": names} | space


def assert_equal(one, other, tolerance):
    """Hold two reports together; a grid over noise depends on φ, and so on the cut."""
    for name, least in (("kl", 0.0), ("quantile", 1e-6)):
        found, expected = columns(one, name), columns(other, name)
        assert set(found) == set(expected)
        for quantity in {"trace", "trace_se", "eigenvalue", "eigenvalue_se"} & set(
            found
        ):
            np.testing.assert_allclose(
                found[quantity],
                expected[quantity],
                max(tolerance, least),
                err_msg=quantity,
            )


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("dtype", "tolerance"), [("auto", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("kind", ["onnx", "pt", "pt2"])
def test_a_cut_changes_no_number(files, kind, dtype, tolerance):
    options = {"model": model_of(kind, dtype), "draws_per_input": 256}
    cut = report_of(files[kind], ROWS, **options)
    plain = report_of(files[kind], ROWS, bottleneck="off", **options)
    assert "runs once for each input" in notes_of(cut)
    assert "times fewer multiply-adds at 256 draws" in notes_of(cut)
    assert "the whole network runs for every draw, as --bottleneck off" in notes_of(
        plain
    )
    single = kind == "pt2"  # its graph holds Python's numbers in single precision
    assert_equal(cut, plain, max(tolerance, 1e-6) if single else tolerance)


@pytest.mark.slow  # each with and without a cut: above
def test_the_formats_are_one_law(files):
    options = {"draws_per_input": 256}
    reports = [
        report_of(files[kind], ROWS, model_of(kind, "float64"), **options)
        for kind in files
    ]
    for report in reports[1:]:
        assert_equal(report, reports[0], 1e-5)


@pytest.mark.parametrize("side", ["before", "after"])
def test_held_inputs_on_either_side_of_it(tmp_path, side):
    """A gain k of each row multiplies what the embedding reads, or what it gives."""
    inner = Embedded().eval()

    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner.embedding

        def forward(self, x, k, theta, z):
            h = self.inner(x * k) if side == "before" else k * self.inner(x)
            loc = h[:, :2]
            return -0.5 * (theta - loc).square().sum(-1), loc + z

    inputs = {"x": 4, "k": 1, "theta": 2, "z": 2}
    path = onnx_file(tmp_path / "held.onnx", Held(), inputs, OUTPUTS)
    k = np.linspace(0.5, 2, len(ROWS))[:, None].astype(np.float32)
    options = {"data": {"k": k}, "draws_per_input": 256}
    cut = report_of(path, ROWS, NORMAL, **options)
    plain = report_of(path, ROWS, NORMAL, bottleneck="off", **options)
    assert "runs once for each input" in notes_of(cut)
    assert_equal(cut, plain, 1e-5)
    truth = [_gain(side, x, k[i, 0]) for i, x in enumerate(ROWS)]
    np.testing.assert_allclose(columns(cut, "quantile")["trace"], truth, 1e-4)


def _gain(side, x, k):
    """Return ‖J‖² of the mean; with unit noise it is the transport tensor's trace."""
    network = Embedded().double()
    k = float(k)

    def mean(point):
        inside = point * k if side == "before" else point
        found = network.embedding(inside[None])[0, :2]
        return found if side == "before" else k * found

    point = torch.from_numpy(x)
    return torch.autograd.functional.jacobian(mean, point).square().sum().item()


def test_a_law_without_an_embedding_runs_whole(tmp_path):
    path = onnx_file(
        tmp_path / "bare.onnx",
        lambda x, theta, z: (-0.5 * (theta - x).square().sum(-1), x + z),
        {"x": 2, "theta": 2, "z": 2},
        OUTPUTS,
    )
    report = report_of(path, ROWS[:, :2], NORMAL)
    assert "runs for every draw: no part of it" in notes_of(report)


def test_the_saving_is_said_once(files):
    report = report_of(files["onnx"], ROWS, NORMAL)
    said = [notes_of(report, name) for name in ("kl", "quantile")]
    assert sum("multiply-adds" in notes for notes in said) == 1


def test_directions_are_those_of_the_input(files):
    """They are pulled through the embedding: their Rayleigh quotient is λ_max."""
    config = config_of(files["onnx"], ROWS, NORMAL, draws_per_input=4096)
    found = chunk(config)
    network = Embedded().double()
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((20000, 2)))
    for i, x in enumerate(ROWS):
        direction = torch.from_numpy(found.directions["quantile"][i, 0])
        step = 1e-5 * direction[None]
        point, z = torch.from_numpy(x)[None], noise
        blank = torch.zeros_like(z)
        moved = [
            network(at.expand(len(z), -1), blank, z)[1]
            for at in (point + step, point - step)
        ]
        size = ((moved[0] - moved[1]) / 2e-5).square().sum(-1).mean().item()
        largest = found.columns["quantile"]["eigenvalue"][i]
        assert size == pytest.approx(largest, rel=0.05)
