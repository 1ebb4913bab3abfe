"""A limit on a change is a limit on the number: the old one, and a step beyond it."""

import numpy as np
import pytest

from audit.config import ScanConfig, override
from audit.ground.errors import ConfigError
from audit.reports.baseline import Step, change_limits, with_baseline
from audit.reports.json import to_json
from reports.synthetic import CONFIG, EIGENVALUES, report_of

OLD = report_of(EIGENVALUES)
MAX = 40.0  # of kl.eigenvalue


@pytest.mark.parametrize(
    ("option", "step", "op", "bound"),
    [
        ("max_increase", "5%", "<=", 1.05 * MAX),
        ("max_increase", "2.5", "<=", MAX + 2.5),
        ("max_decrease", "5%", ">=", 0.95 * MAX),
        ("max_decrease", "2.5", ">=", MAX - 2.5),
        ("max_increase", "0", "<=", MAX),
        ("max_decrease", "0%", ">=", MAX),
    ],
)
def test_a_number_may_grow_above_and_shrink_below_the_old_one(option, step, op, bound):
    given = {option: [f"kl.eigenvalue.max={step}"]}
    config = override(ScanConfig(), "command line", **given)
    (found,) = change_limits(config, OLD)
    assert (found.key, found.op, found.step) == ("kl.eigenvalue.max", op, step)
    assert found.limit == pytest.approx(bound, rel=1e-14)


def test_nothing_changes_from_a_number_that_was_not_measured():
    config = override(ScanConfig(), "command line", max_increase=["kl.trace.p99=5%"])
    old = report_of(np.full(6, np.nan))
    with pytest.raises(ConfigError, match="did not measure") as refused:
        change_limits(config, old)
    assert "a change is counted from" in str(refused.value)


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("kl.trace.mean", {"units": "std"}, "--units differs: input and std"),
        ("kl.trace.mean", {"tau": 2.0}, "--tau differs: 1.0 and 2.0"),
        ("kl.trace.mean", {"mask": "0:2"}, "--mask differs: None and 0:2"),
        ("kl.gaussian.p95", {"attacks": ("gaussian:sigma=0.2",)}, "compares gaussian"),
        ("kl.trace.mean", {}, None),
        ("kl.trace.mean", {"attacks": ("gaussian:sigma=0.2",)}, None),
    ],
)
def test_a_baseline_of_another_question_is_refused_before_it_is_asked(
    tmp_path, key, change, words
):
    path = tmp_path / "old.json"
    path.write_text(to_json(OLD))
    given = {"max_increase": [f"{key}=5%"], "baseline": str(path), **change}
    config = override(CONFIG, "command line", **given)
    if words is None:
        assert len(with_baseline(config).thresholds) == 1
        return
    with pytest.raises(ConfigError, match=words) as refused:
        with_baseline(config)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("text", ["5%", "0.1%", "250%", "2.5", "1e-09"])
def test_a_step_is_written_as_it_is_read(text):
    step = Step.read(text)
    assert step.share is text.endswith("%")
    assert step.allowed == float(text.rstrip("%")) / (100 if step.share else 1)
    assert Step.read(str(step)) == step
