"""Masks, units, bounds and a baseline that are in memory, beside the same in files."""

import numpy as np
import pytest
import torch
from scans import SAMPLES

import audit

MODEL, DATA = SAMPLES / "heteroscedastic.onnx", SAMPLES / "heteroscedastic.npz"
FREE = np.arange(10) % 3 == 0
SIZES = np.linspace(0.5, 2.0, 10)
FEW = {"limit": 6, "verify": 2, "divergences": ["kl"]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mask", FREE),
        ("mask", FREE.tolist()),
        ("mask", torch.from_numpy(FREE)),
        ("units", SIZES),
        ("units", torch.from_numpy(SIZES)),
    ],
)
def test_an_array_is_its_file(name, value, tmp_path):
    path = tmp_path / f"{name}.npy"
    np.save(path, np.asarray(value))
    one = audit.scan(MODEL, DATA, **{name: value}, **FEW)
    other = audit.scan(MODEL, DATA, **{name: path}, **FEW)
    for column in ("kl.trace", "kl.eigenvalue", "kl.critical_radius"):
        np.testing.assert_array_equal(one.rows[column], other.rows[column])
    kind = "tensor" if torch.is_tensor(value) else "array"
    shown = one.record.config[name].value
    assert shown == f"{kind} (10,) {np.asarray(value).dtype}"


def test_a_masked_trace_is_that_of_the_free_columns():
    """tr F_x of the features that are free: θ ~ N(wᵀx, 1) has λ = tr = Σ w²."""
    w = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    x = np.random.default_rng(0).normal(size=(5, 3))

    def law(x):
        return torch.distributions.Normal(x.double() @ w, 1.0)

    free = np.array([True, False, True])
    found = audit.scan(law, x, mask=free, divergences=["kl"])
    np.testing.assert_allclose(found.rows["kl.trace"], 1.0 + 9.0, rtol=1e-6)
    found = audit.scan(law, x, mask=slice(1, None), divergences=["kl"])
    np.testing.assert_allclose(found.rows["kl.trace"], 4.0 + 9.0, rtol=1e-6)
    found = audit.scan(law, x, units=[2.0, 1.0, 0.5], divergences=["kl"])
    np.testing.assert_allclose(found.rows["kl.trace"], 4.0 + 4.0 + 2.25, rtol=1e-6)
    form = audit.local_form(law, x, mask=free)
    assert form.root.shape[2] == 2


@pytest.mark.parametrize(
    "given",
    [
        (-3.0, 0.5),
        (np.full(3, -3.0), np.full(3, 0.5)),
        {"lower": -3.0, "upper": np.full(3, 0.5)},
        np.array([[-3.0] * 3, [0.5] * 3]),
    ],
)
def test_bounds_are_kept_by_every_witness(given):
    """Along w ∝ (1, 0, 0) x₀ may grow by 0.5 and fall by 3: KL is at most 3²/2."""
    x = np.zeros((4, 3))

    def law(x):
        return torch.distributions.Normal(x.double()[:, :1], 1.0)

    found = audit.scan(law, x, bounds=given, sizes=[10.0], divergences=["kl"])
    np.testing.assert_allclose(found.rows["kl.witness@10"], 4.5, rtol=1e-6)


def place_law(x):
    return torch.distributions.Normal(x.double()[:, :1], 1.0)


@pytest.mark.parametrize("outside", [0, 17, 39])
def test_every_input_that_is_audited_lies_within_the_bounds(outside):
    """Whichever is looked at closely: here none is."""
    x = np.full((40, 3), 2.0)
    x[outside, 1] = 3.5
    few = {"divergences": ["kl"], "verify": 0, "sizes": "off", "batch_size": 16}
    with pytest.raises(audit.AuditError, match=f"exclude input {outside}: its feature"):
        audit.scan(place_law, x, bounds=(1.0, 3.0), **few)
    rest = [k for k in range(40) if k != outside]
    assert audit.scan(place_law, x, bounds=(1.0, 3.0), index=rest, **few).verdict


def test_an_input_that_is_skipped_lies_nowhere():
    """Its missing numbers stand as zeros in its block, beyond these bounds."""
    x = np.full((5, 3), 2.0)
    x[2] = np.nan
    found = audit.scan(place_law, x, bounds=(1.0, 3.0), divergences=["kl"], verify=0)
    assert [one.index for one in found.record.skipped] == [2]


def test_a_report_is_a_baseline():
    """1.2 times the loc has 1.44 times the trace: + 44 %."""
    x = np.random.default_rng(0).normal(size=(40, 3))

    def law_of(scale):
        return lambda x: torch.distributions.Normal(scale * x.double()[:, :1], 1.0)

    old = audit.scan(law_of(1.0), x, divergences=["kl"])
    for baseline in (old, old.record):
        step = {"baseline": baseline, "max_increase": {"kl.trace.mean": "40%"}}
        new = audit.scan(law_of(1.2), x, divergences=["kl"], **step)
        assert new.verdict == "fail"
        assert new.record.checks[0].change.change == pytest.approx(0.44, rel=1e-6)
        assert new.record.config["baseline"].value == "report in memory"
        assert "robaudit-" not in new.record.model_dump_json()
    plain = audit.scan(law_of(1.2), x, divergences=["kl"])
    step["max_increase"] = {"kl.trace.mean": "45%"}
    assert audit.check(plain, **step).verdict == "pass"


def test_reports_in_memory_of_many_inputs_are_compared_input_by_input(
    tmp_path, monkeypatch
):
    """A report has changed by nothing from itself; rows of another lie beside."""
    x = np.random.default_rng(0).normal(size=(10_001, 2))

    def law_of(scale):
        return lambda x: torch.distributions.Normal(scale * x.double()[:, :1], 1.0)

    old, new = (
        audit.scan(law_of(scale), x, divergences=["kl"], verify=0, sizes="off")
        for scale in (1.0, 1.2)
    )
    assert old.record.inputs is None
    monkeypatch.chdir(tmp_path)
    new.save("report.npz")
    step = {"max_increase": {"kl.trace.mean": "45%"}, "gate": "upper", "baseline": old}
    (same,), (grown,) = (audit.check(r, **step).record.checks for r in (old, new))
    assert (same.change.change, same.change.ci95) == (0.0, (0.0, 0.0))
    assert grown.change.change == pytest.approx(0.44, rel=1e-6)
    assert {one.change.unpaired for one in (same, grown)} == {""}
    assert {one.status for one in (same, grown)} == {"pass"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mask": FREE[:3]}, r"mask=.*array \(3,\) bool.*shape \[3\].*does not fit"),
        ({"mask": np.array(["a"])}, "mask= was given a ndarray"),
        ({"mask": object()}, "mask= was given a object"),
        ({"units": -SIZES}, "units in 'array .10,. float64' are not all positive"),
        ({"bounds": (1.0, 2.0, 3.0)}, "bounds= was given a tuple"),
        ({"bounds": (2.0, 1.0)}, "leave nothing between"),
        ({"bounds": {"low": 1.0}}, "bounds= was given a dict"),
        ({"bounds": 3.0}, "bounds= was given a float"),
        ({"baseline": 3}, "baseline= was given a int"),
    ],
)
def test_what_does_not_fit_is_named_by_what_it_is(settings, said):
    with pytest.raises(audit.ConfigError, match=said) as caught:
        audit.scan(MODEL, DATA, **settings, **FEW)
    assert "robaudit-" not in str(caught.value)


def test_equal_arrays_are_equal_data_however_they_lie_in_memory():
    x = np.load(DATA)["x"][:6]
    by_columns, spread = np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]
    found = {
        audit.scan(MODEL, given, **FEW).record.data.sha256
        for given in (x, by_columns, spread)
    }
    assert len(found) == 1


@pytest.mark.parametrize("option", ["witness", "run_dir", "baseline"])
def test_a_number_is_no_path(option):
    with pytest.raises(audit.ConfigError, match=f"{option}= .*Expected .*path"):
        audit.scan(MODEL, DATA, **{option: 1.5}, **FEW)


def test_a_path_of_pathlib_is_one(tmp_path):
    audit.scan(MODEL, DATA, witness=tmp_path / "w.npz", sizes=[0.1], **FEW)
    assert (tmp_path / "w.npz").exists()
