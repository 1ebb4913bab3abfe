"""Deep networks: fewer inputs are checked, none is searched, and the report says so."""

import numpy as np
import pytest
from torch import nn

from audit import scan
from audit.verify import long
from audit.verify.long import CHECKED, LEAST, LONG, checked_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3)).astype(np.float32)


class Taking:
    """A model of so many multiply-adds."""

    def __init__(self, work):
        self.work = work

    def takes(self, work):
        return self.work >= work


@pytest.mark.parametrize(
    ("work", "count"), [(0, 64), (2**25, 64), (2**26, 32), (2**28, 8), (2**40, 8)]
)
def test_twice_the_work_is_half_the_inputs_down_to_the_least(work, count):
    assert checked_of(Taking(work)) == count
    assert CHECKED == 64
    assert LEAST == 8


def report_of(**asked):
    net = nn.Linear(3, 1)
    return scan(net, X, family="bernoulli", parameters={"logits": "output"}, **asked)


def warned(report):
    found = {one.code: one.message for one in report.record.warnings}
    return found.get("long_passes")


def test_a_scan_checks_fewer_inputs_of_it_and_says_so(monkeypatch):
    monkeypatch.setattr(long, "_SHORT", 0.1)
    monkeypatch.setattr(long, "LONG", 1)
    report = report_of()
    checked = report.record.divergences["kl"].summary["critical_radius"].n_checked
    assert checked == LEAST
    assert f"{LEAST} inputs are checked, and not 64" in warned(report)
    assert not any("witness" in name for name in report.rows)


def test_what_is_asked_for_is_done(monkeypatch):
    monkeypatch.setattr(long, "_SHORT", 0.1)
    monkeypatch.setattr(long, "LONG", 1)
    report = report_of(verify=12, sizes=[0.1])
    checked = report.record.divergences["kl"].summary["critical_radius"].n_checked
    assert checked == 12
    assert warned(report) is None
    assert any("witness@0.1" in name for name in report.rows)


def test_others_are_checked_as_ever():
    report = report_of()
    assert warned(report) is None
    assert any("witness" in name for name in report.rows)
    assert LONG == 2**27
