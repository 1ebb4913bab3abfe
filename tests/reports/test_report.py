"""The report: what it holds, its bytes, its schema, and reading it back."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from audit.ground.errors import ConfigError
from audit.reports.audited import Derivative
from audit.reports.build import build_report
from audit.reports.json import read_report, report_schema, to_json
from audit.reports.measured import Worst
from audit.reports.report import Report
from audit.reports.values import Values
from reports.synthetic import CONFIG, EIGENVALUES, LIMITS, measured_of, report_of


def test_a_report_comes_back_from_json_as_it_was(gated, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(to_json(gated))
    again = read_report(str(path))
    assert again == gated
    assert to_json(again) == to_json(gated)


def test_json_is_strict_sorted_and_ends_with_a_newline(gated):
    text = to_json(gated)

    def refuse(name):
        raise AssertionError(name)

    data = json.loads(text, parse_constant=refuse)
    assert text.endswith("}\n")
    assert json.dumps(data, sort_keys=True) == json.dumps(data)


def test_equal_scans_give_equal_bytes_apart_from_run():
    first, second = measured_of(EIGENVALUES), measured_of(EIGENVALUES)
    second.run = {"seconds": 99}
    config = replace(CONFIG, batch_size=7, workers=2, memory=5)
    texts = [
        to_json(build_report(measured, c).model_copy(update={"run": {}}))
        for measured, c in ((first, CONFIG), (second, config))
    ]
    assert texts[0] == texts[1]


def test_what_was_not_measured_is_null_with_a_reason(report):
    summary = report.divergences["kl"].summary["gaussian_realised"]
    assert (summary.n, summary.n_not_measured, summary.n_checked) == (3, 3, 3)
    assert summary.reason is None
    column = report.inputs.columns["kl"]["gaussian_realised"]
    assert [value is None for value in column] == [True, False] * 3
    assert report.checked.index == [2, 4, 6]
    assert report.checked.weights == [2.0, 2.0, 2.0]


def test_a_column_without_any_value_has_null_statistics():
    measured = measured_of(EIGENVALUES)
    measured.columns["kl"]["linear"] = Values.unmeasured(6, "too dark")
    summary = build_report(measured, CONFIG).divergences["kl"].summary["linear"]
    assert (summary.n, summary.mean, summary.p95, summary.histogram) == (0,) + 3 * (
        None,
    )
    assert (summary.reason, summary.n_not_measured) == ("too dark (6)", 6)


def test_infinite_values_are_values(tmp_path):
    measured = measured_of(EIGENVALUES)
    trace = np.array([1.0, np.inf, 2.0, 3.0, 4.0, 5.0])
    why = {"too bright": np.isinf(trace)}
    measured.columns["kl"]["trace"] = Values.of(trace, None, why)
    report = build_report(measured, CONFIG)
    summary = report.divergences["kl"].summary["trace"]
    assert (summary.n, summary.n_infinite, summary.n_not_measured) == (6, 1, 0)
    assert (summary.mean, summary.max, summary.p50) == (np.inf, np.inf, 3.5)
    assert (summary.reason, summary.infinite_reason) == (None, "too bright (1)")
    path = tmp_path / "r.json"
    path.write_text(to_json(report))
    assert json.loads(path.read_text())["inputs"]["kl"]["trace"][1] == "Infinity"
    assert read_report(str(path)) == report


def test_what_the_scan_adds_may_be_numpy_and_not_finite():
    measured = measured_of(EIGENVALUES)
    measured.run = {"seconds": np.float32(2), "rate": np.nan, "sizes": (np.int64(1),)}
    unknown = Derivative(method="reverse mode", forward_error=np.inf)
    measured.model = measured.model.model_copy(update={"derivative": unknown})
    data = json.loads(to_json(build_report(measured, CONFIG)))
    assert data["run"] == {"seconds": 2.0, "rate": None, "sizes": [1]}
    assert data["model"]["derivative"]["forward_error"] is None


def test_units_follow_the_divergence(report):
    units = {
        name: {q: s.unit for q, s in divergence.summary.items()}
        for name, divergence in report.divergences.items()
    }
    assert units["kl"]["trace"] == "nat/δ²"
    assert units["kl"]["gaussian_realised"] == "nat"
    assert units["quantile"]["gaussian"] == "θ²"
    assert units["kl"]["radius"] == "δ"


def test_inputs_are_listed_up_to_ten_thousand():
    values = np.random.default_rng(0).lognormal(size=10_001)
    assert report_of(values[:10_000]).inputs.index[-1] == 10_000
    big = report_of(values)
    assert big.inputs is None
    assert len(to_json(big)) < 40_000


def test_directions_of_large_inputs_are_left_to_the_rows_file():
    measured = measured_of(EIGENVALUES)
    measured.worst[0] = Worst(6, {"kl": np.ones((1, 65, 64))})
    report = build_report(measured, CONFIG)
    assert report.worst[0].directions["kl"] is None
    assert report.worst[1].directions["kl"][0] == [1.0, 0.0, 0.0, 0.0]


def test_settings_have_values_and_origins(gated):
    assert gated.config["family"].model_dump() == {
        "value": "normal",
        "origin": "command line",
        "files": {},
    }
    assert gated.config["model"].value == "models/[old]/net.onnx"
    assert gated.config["attacks"].value[0] == "gaussian:sigma=0.1"
    assert gated.config["max"].value["kl.gaussian.p95"] == 0.05
    assert not {"batch_size", "workers", "memory", "device"} & set(gated.config)


def test_a_fingerprint_knows_what_was_measured_and_nothing_else():
    base = build_report(measured_of(EIGENVALUES), CONFIG)
    gated = report_of(EIGENVALUES, *LIMITS)
    assert gated.fingerprint == base.fingerprint
    moved = replace(CONFIG, model=replace(CONFIG.model, path="elsewhere.onnx"))
    assert build_report(measured_of(EIGENVALUES), moved).fingerprint == base.fingerprint
    seeded = replace(CONFIG, seed=1)
    assert (
        build_report(measured_of(EIGENVALUES), seeded).fingerprint != base.fingerprint
    )


def test_the_order_of_divergences_survives_json(tmp_path):
    config = replace(CONFIG, divergences=("quantile", "kl"))
    report = build_report(measured_of(EIGENVALUES), config)
    path = tmp_path / "r.json"
    path.write_text(to_json(report))
    assert read_report(str(path)).ranked == ["quantile", "kl"]


def test_the_schema_describes_the_report(gated):
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(to_json(gated)), schema)


def test_the_schema_names_every_part(gated):
    schema = report_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) == set(json.loads(to_json(gated)))
    assert schema["properties"]["schema_version"]["default"] == "1.1"


def test_fields_of_a_later_schema_are_ignored(gated, tmp_path):
    data = json.loads(to_json(gated)) | {"schema_version": "1.7", "novelty": 1}
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data))
    assert read_report(str(path)).schema_version == "1.7"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not a robaudit report: content"),
        ("{", "is not a robaudit report"),
        ("[]", "is not a robaudit report"),
        ("{}", "is not a robaudit report: tool: Field required"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, content, words):
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_report(str(path))


def test_a_report_of_another_schema_is_refused(gated, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(to_json(gated.model_copy(update={"schema_version": "2.0"})))
    with pytest.raises(ConfigError, match=r"has report schema 2.0.*reads 1.1"):
        read_report(str(path))


def test_a_missing_report_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_report(str(tmp_path / "no.json"))


def test_nan_cannot_enter_a_report(gated):
    with pytest.raises(ValueError, match="NaN is no number"):
        Report.model_validate(
            gated.model_dump()
            | {"worst": [{"index": 1, "kl": {"trace": float("nan")}}]}
        )


def test_attacks_are_named_by_their_labels_and_divergences_stand_as_asked(report):
    said = ["gaussian:sigma=0.1", "mine=fixed_norm:norm=0.2", "worst_case"]
    names = {"hellinger": None, "kl": None, "own": None, "alien": None}
    setting = report.config["attacks"]
    config = {
        "attacks": setting.model_copy(update={"value": said}),
        "divergences": setting.model_copy(update={"value": ["own", "kl"]}),
    }
    one = report.divergences["kl"]
    other = report.model_copy(
        update={"config": config, "divergences": dict.fromkeys(names, one)}
    )
    assert other.attacks == {
        "gaussian": "gaussian:sigma=0.1",
        "mine": "fixed_norm:norm=0.2",
        "worst_case": "worst_case",
    }
    assert other.ranked == ["own", "kl", "alien", "hellinger"]
