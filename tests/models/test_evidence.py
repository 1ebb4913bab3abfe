"""What could not be compared has not passed: the evidence behind a derivative."""

import numpy as np
import pytest
import torch
from scans import scan
from torch import nn

from audit.config import ModelConfig, ScanConfig
from audit.ground.errors import ModelError, NotDifferentiable
from audit.importer import registry
from audit.models.gates.agreement import Differences, compare, compare_jacobians
from audit.models.gates.slopes import Stored
from audit.models.gates.subject import worst_error
from audit.reports.gate import UNTRUSTED
from models.saved import data_file, onnx_file, opened, script_file, trace_file
from models.test_planted import wrong

NO_FLOAT64 = "audit.models.gates.referee.precise_of"
TEXT = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "
CODE = "derivative_unverified"


def gates(path, data, **options):
    return opened(path, data, **({"family": "normal"} | options)).gates


def codes(found):
    return [code for code, _ in found.warnings]


def report_of(path, data):
    model = ModelConfig(str(path), family="normal")
    return scan(ScanConfig(model=model, data=data, divergences=("kl",), verify=0))


@pytest.fixture
def no_float64(monkeypatch):
    monkeypatch.setattr(NO_FLOAT64, lambda subject: None)


# --- comparisons that cannot be made --------------------------------------------------


def far_away(tmp_path, offset=1e7):
    """Numbers so large that float32 differences are rounding alone."""
    body = "{ t = Tanh(x)  mean = Add(t, c)  e = Exp(x)  std = Add(e, c) }"
    c = np.full((1, 3), offset, np.float32)
    return onnx_file(tmp_path, TEXT + body, c=c)


def test_differences_of_rounding_alone_vouch_for_nothing(tmp_path, no_float64):
    path = far_away(tmp_path)
    with pytest.raises(ModelError) as error:
        gates(path, data_file(tmp_path))
    said = str(error.value)
    assert said.startswith("The derivative could not be compared with central diff")
    assert "it does not run in float64, and through onnxruntime noise, or a" in said
    assert "Use --method finite-difference, which estimates its own error" in said


def test_a_wrong_derivative_does_not_pass_behind_noise(tmp_path, monkeypatch):
    path, data = far_away(tmp_path), data_file(tmp_path)
    for entry in registry._OPERATORS[("", "Tanh")]:
        run = entry.run
        monkeypatch.setitem(entry.__dict__, "run", lambda x, run=run: wrong(run(x)))
    with pytest.raises(ModelError, match="its float64 run by"):
        gates(path, data)
    monkeypatch.setattr(NO_FLOAT64, lambda subject: None)
    with pytest.raises(ModelError, match="could not be compared"):
        gates(path, data)


def test_where_float64_vouches_the_hidden_comparison_is_named(tmp_path):
    found = gates(far_away(tmp_path), data_file(tmp_path))
    assert codes(found) == ["derivative_hidden"]
    assert "through onnxruntime say nothing about the" in found.warnings[0][1]
    assert found.derivative_evidence == "central differences through its float64 run"
    assert found.derivative_error is None


@pytest.mark.parametrize("float64", [True, False])
def test_points_beside_a_row_without_a_number_vouch_for_nothing(
    tmp_path, monkeypatch, float64
):
    """log(x − 1) a thousandth above the edge: a step of a hundredth has no value."""
    body = "{ a = Sub(x, one)  mean = Log(a)  std = Exp(x) }"
    path = onnx_file(tmp_path, TEXT + body, one=np.ones((1, 3), np.float32))
    data = data_file(tmp_path, x=np.full((12, 3), 1.001, np.float32))
    if float64:
        assert codes(gates(path, data)) == ["derivative_hidden"]
        return
    monkeypatch.setattr(NO_FLOAT64, lambda subject: None)
    with pytest.raises(ModelError, match="a value that is not finite, hides every"):
        gates(path, data)


class Shortened(nn.Module):
    """Casts to float32 whatever it is asked for."""

    def forward(self, x):
        h = torch.tanh(x.float())
        return {"mean": h.to(x.dtype), "std": torch.exp(x.float()).to(x.dtype)}


def test_a_float64_run_of_float32_numbers_vouches_for_nothing(tmp_path):
    found = gates(script_file(tmp_path, Shortened()), data_file(tmp_path))
    assert found.derivative_evidence == (
        "central differences through the file's own forward pass"
    )
    assert found.derivative_error < 5e-3
    assert codes(found) in ([], ["derivative_hidden"])


# --- some of the parameters -----------------------------------------------------------


def half_hidden(tmp_path):
    body = "{ t = Tanh(x)  mean = Add(t, c)  std = Exp(x) }"
    c = np.array([[0, 0, 1e7]], np.float32)
    return onnx_file(tmp_path, TEXT + body, c=c)


def test_a_parameter_that_nothing_vouches_for_leaves_no_verdict(tmp_path, no_float64):
    path, data = half_hidden(tmp_path), data_file(tmp_path)
    found = gates(path, data)
    assert codes(found) == [CODE]
    assert "derivative of 1 of 6 parameters could not be comp" in found.warnings[0][1]
    report = report_of(path, data)
    assert CODE in UNTRUSTED
    assert report.exit_code == 4


def test_float64_speaks_for_the_parameters_that_float32_hides(tmp_path):
    assert codes(gates(half_hidden(tmp_path), data_file(tmp_path))) == []


@pytest.mark.usefixtures("no_float64")
def test_a_wider_step_tells_where_the_first_is_hidden(tmp_path):
    """Of 12000 + tanh a step of a hundredth is rounding, and one of a tenth is not."""
    path, data = far_away(tmp_path, 1.2e4), data_file(tmp_path)
    found = gates(path, data)
    assert CODE not in codes(found)
    assert found.derivative_evidence == "central differences through onnxruntime"


# --- a gradient of zero ---------------------------------------------------------------


class Steps(nn.Module):
    """Rounded all the way; a gradient arrives, and is zero."""

    def forward(self, x):
        h = torch.round(x * 3)
        return {"mean": h, "std": torch.exp(h / 10)}


class Constant(nn.Module):
    def forward(self, x):
        return {"mean": 0 * x, "std": torch.exp(0 * x)}


class Flat(nn.Module):
    def forward(self, x):
        h = torch.relu(x - 100)
        return {"mean": h, "std": torch.exp(h)}


def test_steps_that_no_census_tells_of_leave_no_verdict(tmp_path):
    path, data = script_file(tmp_path, Steps()), data_file(tmp_path)
    found = gates(path, data)
    assert codes(found) == [CODE]
    assert (
        "gradient is zero at every row tried, and the outputs" in found.warnings[0][1]
    )
    with pytest.raises(NotDifferentiable, match="zero at every audited input"):
        report_of(path, data)


@pytest.mark.parametrize("module", [Constant(), Flat()])
def test_what_does_not_move_at_all_is_at_rest(tmp_path, module):
    assert codes(gates(script_file(tmp_path, module), data_file(tmp_path))) == []


def test_a_plateau_between_differentiable_operators_is_one(tmp_path):
    body = "{ a = Sub(x, big)  r = Relu(a)  mean = Tanh(r)  std = Exp(r) }"
    path = onnx_file(tmp_path, TEXT + body, big=np.full((1, 3), 3.5, np.float32))
    assert codes(gates(path, data_file(tmp_path))) == []


# --- which rows are looked at ---------------------------------------------------------


@pytest.mark.parametrize("first", [np.float32(-200), np.float32("nan")])
def test_rows_at_rest_or_without_a_number_do_not_hide_a_wrong_one(
    tmp_path, monkeypatch, first
):
    """Of 32 rows the first 20 say nothing: softplus is zero, or log has no value."""
    body = "{ a = Softplus(x)  mean = Tanh(a)  s = Sqrt(a)  std = Exp(mean) }"
    if np.isnan(first):
        body = "{ a = Softplus(x)  mean = Log(x)  std = Exp(a) }"
    x = np.abs(np.random.default_rng(0).normal(size=(32, 3))).astype(np.float32) + 0.1
    x[:20] = -200 if not np.isnan(first) else -x[:20]
    path, data = onnx_file(tmp_path, TEXT + body), data_file(tmp_path, x=x)
    assert codes(gates(path, data)) == []
    for entry in registry._OPERATORS[("", "Softplus")]:
        run = entry.run
        monkeypatch.setitem(entry.__dict__, "run", lambda x, run=run: wrong(run(x)))
    with pytest.raises(ModelError, match="The derivative differs from central"):
        gates(path, data)


def test_without_any_finite_row_the_rest_is_not_vouched_for(tmp_path):
    x = np.ones((40, 3), np.float32)
    x[:36] = -1  # more than are looked at
    path = onnx_file(tmp_path, TEXT + "{ mean = Log(x)  std = Exp(x) }")
    found = gates(path, data_file(tmp_path, x=x))
    assert codes(found) == [CODE]
    assert "not finite on any of the" in found.warnings[0][1]


# --- the gates before -----------------------------------------------------------------


class Norm(nn.Module):
    """Takes the mean of its batch away; of a single row nothing is left."""

    def forward(self, x):
        h = x - x.mean(dim=0, keepdim=True)
        return {"mean": x + h, "std": torch.exp(h)}


def test_a_single_row_of_data_does_not_hide_that_rows_interact(tmp_path):
    path = script_file(tmp_path, Norm())
    with pytest.raises(ModelError, match="rows of a batch interact"):
        gates(path, data_file(tmp_path, n=1))


def test_a_single_row_of_data_is_enough_for_a_sane_file(tmp_path):
    path = onnx_file(tmp_path, TEXT + "{ mean = Tanh(x)  std = Exp(x) }")
    assert codes(gates(path, data_file(tmp_path, n=1))) == []


def test_an_infinite_slope_at_one_row_does_not_hide_an_interaction(tmp_path):
    def faint(x):  # the values agree to the tolerance, the gradients do not
        other = torch.sin(1e6 * x.roll(1, 0)) * 2e-6
        return {"mean": x + other, "std": torch.exp(x) + torch.sqrt(x.abs())}

    path = trace_file(tmp_path, faint, torch.randn(4, 3))
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    x[5] = 0
    with pytest.raises(ModelError, match="another row moves"):
        gates(path, data_file(tmp_path, x=x))


def test_an_output_that_the_other_run_does_not_give_differs():
    one = {"a": torch.ones(2), "b": torch.ones(2)}
    assert worst_error(one, one, ("a",)) == ("a", 0.0)
    assert worst_error(one, {"a": torch.ones(2)}, ("a", "b")) == ("b", float("inf"))


# --- the number itself ----------------------------------------------------------------

X = torch.linspace(0.5, 1.5, 12, dtype=torch.float64).reshape(4, 3)
A = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], dtype=torch.float64)


def linear(x, held):
    return x @ A.T


def test_a_derivative_that_is_right_agrees_on_every_parameter():
    found = compare(linear, X, {}, Stored(A.expand(4, 2, 3)), 1e-2).agreement()
    assert found.error < 1e-12
    assert found.seen.tolist() == [True, True]


def test_the_error_is_that_of_the_parameters_together():
    off = A.clone()
    off[0] *= 1.1
    found = compare(linear, X, {}, Stored(off.expand(4, 2, 3)), 1e-2).agreement()
    assert 0.03 < found.error < 0.1
    only = torch.tensor([False, True])
    alone = compare(linear, X, {}, Stored(off.expand(4, 2, 3)), 1e-2).agreement(only)
    assert alone.error < 1e-12
    assert alone.seen.tolist() == [False, True]


def test_a_parameter_below_the_resolution_rests():
    def still(x, held):
        return torch.stack([x.sum(1), 1 + 1e-12 * x.sum(1)], dim=1)

    jacobian = torch.tensor([[1.0] * 3, [1e-12] * 3]).double().expand(4, 2, 3)
    found = compare(still, X, {}, Stored(jacobian), 1e-6).agreement()
    assert found.seen.tolist() == [True, False]
    found = compare(still, X, {}, Stored(jacobian), 1e-6, resolution=1e-8).agreement()
    assert found.seen.tolist() == [True, True]


def test_nothing_to_compare_is_no_agreement():
    nothing = torch.full((4, 2), torch.nan)
    found = Differences(
        nothing, nothing, nothing, torch.zeros(2), torch.zeros(2)
    ).agreement()
    assert not found.within(1.0)
    assert not found.above(0.0)
    assert not found.seen.any()


def test_jacobians_that_are_both_zero_agree():
    zero = torch.zeros(4, 2, 3, dtype=torch.float64)
    one = Stored(zero + 1)
    assert compare_jacobians(Stored(zero), Stored(zero), X).within(0.0)
    assert compare_jacobians(Stored(zero), one, X).above(0.5)
