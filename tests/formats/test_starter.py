"""The first robaudit.yaml reads back as what it says."""

from dataclasses import replace

import jsonschema
import pytest
import yaml
from reports.synthetic import CONFIG, EIGENVALUES, measured_of, report_of

from audit.config import ScanConfig, read_config
from audit.config.options import OPTIONS
from audit.config.schema import config_schema
from audit.formats.starter import read_margin, starter
from audit.ground.errors import ConfigError
from audit.reports.build import build_report
from audit.reports.checks import recheck


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "robaudit.yaml"
        path.write_text(text)
        return read_config(path)

    return read


def test_without_a_report_it_sets_nothing_and_names_every_option(read):
    text = starter()
    assert read(text) == ScanConfig()
    for name in OPTIONS:
        assert f"# {name}:" in text


def test_every_commented_default_is_the_default(read):
    lines = [
        line.removeprefix("# ")
        for line in starter().splitlines()
        if line.startswith("# ") and line[2:].split(": ")[0] in OPTIONS
    ]
    config = read("\n".join(lines))
    assert len(config.origins) > 20
    assert replace(config, origins={}) == ScanConfig()


def test_a_default_that_there_is_is_written():
    text, config = starter(), ScanConfig()
    parts = (config, config.model)
    values = {name: [getattr(p, name, None) for p in parts] for name in OPTIONS}
    known = [name for name, found in values.items() if found != [None, None]]
    assert {"device", "memory", "workers", "plan"} <= set(known)
    assert [name for name in known if f"# {name}: " not in text] == []


def test_a_report_gives_settings_and_limits_that_hold(read, report):
    config = read(starter(report))
    assert config.model.path == "models/[old]/net.onnx"
    assert config.model.family == "normal"
    assert (config.data, config.max_skipped) == ("data.npz", 1)
    limits = {t.key: t.limit for t in config.thresholds}
    assert limits["kl.gaussian.p95"] == pytest.approx(0.3)
    assert limits["kl.critical_radius.p05"] == pytest.approx(0.198, abs=0.002)
    assert recheck(report, config).exit_code == 0
    assert recheck(report_of(1.3 * EIGENVALUES), config).exit_code == 1


def test_without_a_margin_the_report_itself_still_holds(read, report):
    config = read(starter(report, 0.0))
    assert recheck(report, config).exit_code == 0


def test_settings_survive_the_round_trip(read):
    model = replace(
        CONFIG.model,
        parameters={"loc": "out[:, :2]", "scale": "exp(out[:, 2:])"},
        condition="x",
        condition_key="features",
        options={"levels": [0.1, 0.9]},
    )
    names = ("parameters", "condition", "options", "divergences", "seed")
    origins = {**CONFIG.origins, **dict.fromkeys(names, "command line")}
    config = replace(CONFIG, model=model, seed=3, origins=origins)
    again = read(starter(build_report(measured_of(EIGENVALUES), config)))
    assert again.model == config.model
    assert (again.divergences, again.seed) == (config.divergences, 3)


@pytest.mark.parametrize(("text", "share"), [("25%", 0.25), ("0.1", 0.1), ("0%", 0.0)])
def test_margins(text, share):
    assert read_margin(text) == share


@pytest.mark.parametrize("text", ["100%", "-1%", "much", "nan"])
def test_bad_margins(text):
    with pytest.raises(ConfigError, match="Expected a share"):
        read_margin(text)


def test_an_editor_finds_nothing_wrong_with_it(report):
    checker = jsonschema.Draft202012Validator(config_schema())
    for text in (starter(), starter(report)):
        found = yaml.safe_load(text) or {}
        assert [error.message for error in checker.iter_errors(found)] == []
    wrong = {"seeed": 1, "max": {"kl.trace.max": "x"}, "waivers": [{"key": "a"}]}
    assert len(list(checker.iter_errors(wrong))) == 4
