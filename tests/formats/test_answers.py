"""What a reader asks first: answered by numbers that the tests work out themselves."""

import re

import numpy as np
import pytest
import torch
from scans import attacks, columns, sample, scan
from torch.distributions import Normal, kl_divergence

import audit
from audit.config import override
from audit.formats import rendered
from audit.formats.answers import answers
from audit.formats.html.cards import cards
from audit.formats.layout import Style
from audit.formats.sides import notes
from audit.formats.table import render

ASKED = ["Worst input", "Why there", "Model or data", "Trust", "Limit", "Units", "Next"]
LIMIT = "kl.gaussian.p95=0.05"


def audited(name="heteroscedastic", **options):
    asked = {"limit": 20, "verify": "all", "sizes": (), **options}
    limits = asked.pop("max", [])
    return scan(override(sample(name, **asked), "command line", max=limits))


@pytest.fixture(scope="module")
def report():
    return audited(max=[LIMIT])


@pytest.fixture(scope="module")
def found(report):
    return dict(answers(report))


def test_every_question_is_answered_on_both_first_screens(report):
    assert [question for question, _ in answers(report)] == ASKED
    first = render(report, Style(100)).splitlines()[:24]
    page = rendered("html", report)
    for question in ASKED:
        assert any(line.startswith(f"{question} ") for line in first)
        assert (f"<dt>{question}</dt>" in page) == (question != "Limit")
    assert page.index("</dl>") < page.index("<h2>Limits</h2>")


def test_the_worst_input_is_that_of_the_largest_eigenvalue(report, found):
    table = columns(report)
    row = int(table["eigenvalue"].argmax())
    index = report.inputs.index[row]
    radius = table["critical_radius"][row]
    start = f"input {index}, moved by 1 nat at δ of norm {radius:.3g}, most along "
    assert found["Worst input"].startswith(start)
    delta = np.array(next(p.delta for p in report.portraits if p.index == index))
    steps = delta / np.linalg.norm(delta)
    order = np.argsort(-np.abs(steps))[:3]
    names = report.data.feature_names
    said = ", ".join(f"{names[k]} {steps[k]:+.2f}" for k in order)
    assert found["Worst input"].endswith(said)


def test_why_there_is_a_comparison_with_the_median_input(report, found):
    table = columns(report)
    row = int(table["eigenvalue"].argmax())
    told = [float(text) for text in re.findall(r"([\d.]+) times", found["Why there"])]
    for value, name in zip(told, ("model_norm", "map_norm"), strict=True):
        # with few inputs a quantile is one of them, the lower of the middle two
        middle = np.quantile(table[name], 0.5, method="inverted_cdf")
        other = np.quantile(table[name], 0.5)
        ratios = [table[name][row] / one for one in (middle, other)]
        assert any(value == pytest.approx(ratio, rel=6e-3) for ratio in ratios)


def test_trust_says_how_much_of_the_data_was_checked(report, found):
    warned = len(report.warnings)
    said = f"exact on 20 inputs (20 of 150 inputs audited); {warned} warning"
    assert found["Trust"].startswith(said)
    few = dict(answers(audited(verify=6)))["Trust"]
    assert few.startswith("exact on 6 of 20 inputs, second order elsewhere")
    none = dict(answers(audited(verify=0)))
    assert "none of them checked" in none["Trust"]
    assert ", to second order, most along" in none["Worst input"]


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_a_nat_is_a_move_of_a_normal_law(tau):
    said = dict(answers(audited(verify=0, tau=tau)))["Units"]
    sigma = float(re.search(r"moved by ([\d.]+) of its widths", said)[1])
    one, other = (
        Normal(torch.tensor(at, dtype=torch.float64), 3.0) for at in (0.0, 3 * sigma)
    )
    assert kl_divergence(one, other).item() == pytest.approx(tau, rel=0.01)
    assert said.startswith("δ in the inputs' own units; ")


def test_the_next_step_follows_from_the_verdict(report):
    assert dict(answers(report))["Limit"].startswith("pass: kl.gaussian.p95 = ")
    assert dict(answers(report))["Next"].startswith("hold a new model")
    failed = audited(max=["kl.gaussian.p95=0.001"])
    worst = failed.checks[0].offenders[0]
    step = f"robaudit show report.json --index {worst} (saved with -o report.json)"
    assert dict(answers(failed))["Next"] == step
    assert dict(answers(failed))["Limit"].startswith("fail: kl.gaussian.p95 = ")
    both = audited(max=["kl.trace.mean=1000", "kl.gaussian.p95=0.001"])
    assert dict(answers(both))["Limit"].startswith("1 of 2 limits held; fail: ")
    unset = dict(answers(audited(verify=0)))
    assert (unset["Limit"], unset["Next"][:11]) == ("none was set", "set a limit")
    open_ = dict(answers(audited(verify=0, max=[LIMIT])))
    assert open_["Next"] == "check more inputs: --verify all"


def test_a_limit_on_what_is_not_borne_out_names_the_number_to_limit():
    large = attacks(gaussian={"sigma": "0.1"})
    found = dict(answers(audited("digits_cnn", max=[LIMIT], attacks=large)))
    assert "limit kl.gaussian_realised" in found["Limit"]
    assert found["Next"].startswith("limit the checked number")
    assert re.search(r"class \d becomes class \d$", found["Worst input"])


def test_model_or_data_tells_a_common_direction_from_single_ones(report, found):
    shared = report.divergences["kl"].universal.universality
    assert shared > 0.5
    share = f"the model: one direction for all reaches {100 * shared:.0f} %"
    assert found["Model or data"].startswith(share)
    digits = audited("digits_cnn", limit=60, verify=2)
    apart = digits.divergences["kl"].universal.universality
    assert apart < 0.5
    assert dict(answers(digits))["Model or data"].startswith("single inputs: ")


@pytest.mark.parametrize("verify", [4, "all"])
def test_a_table_of_some_inputs_says_of_how_many(verify):
    found = audited(verify=verify, sizes=(0.1, 0.3))
    checked = 20 if verify == "all" else verify
    rungs = found.divergences["kl"].two_sided
    assert {rung.witness.n for rung in rungs} == {checked}
    said = f"checked on {checked} of 20 inputs (and weighted to all)"
    assert (said in notes(found, "kl")) is (checked < 20)
    for shown in (render(found, Style(200)), rendered("md", found).replace("\\", "")):
        below = re.search(r"witness ≤ truth.*?(?:quantile|###)", shown, re.DOTALL)
        assert (said in below[0]) is (checked < 20)


def test_a_card_without_a_critical_radius_says_so(report):
    few = audited(verify=2)
    *_, last = cards(few)
    assert "critical radius unknown" in last.said
    assert all("unknown" not in card.said for card in cards(report))


def test_an_input_that_nothing_moves_is_said_to_be_one():
    """KL(p, q) of two Bernoulli laws with p and q in [0.4, 0.6] is below 0.1 nat."""
    net = torch.nn.Linear(3, 1).double()
    x = np.random.default_rng(0).normal(size=(4, 3))
    law = {"family": "bernoulli", "parameters": {"probs": "0.5+0.1*tanh(output)"}}
    found = audit.scan(net, x, divergences=["kl"], **law).record
    assert found.worst[0].values["kl"]["critical_radius"] == np.inf
    said = dict(answers(found))["Worst input"]
    assert "not moved by 1 nat by any perturbation that was tried" in said
