"""Settings: four layers, one table of options, words for every slip."""

import pickle
from pathlib import Path

import pytest

from audit.config import (
    AttackConfig,
    ScanConfig,
    Threshold,
    from_environment,
    override,
    read_config,
    read_scans,
)
from audit.config.options import OPTIONS, flag_names
from audit.config.schema import config_schema
from audit.ground.errors import ConfigError


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="robaudit.yaml"):
        Path(name).write_text(text)
        return name

    return write


def test_the_first_layer_that_speaks_wins(write):
    file = read_config(write("family: gamma\nseed: 1\ntau: 2\ntop: 5"))
    environment = {"ROBAUDIT_SEED": "2", "ROBAUDIT_TAU": "3", "HOME": "/"}
    config = from_environment(file, environment)
    config = override(config, "command line", tau="4", family=None, attacks=[])
    assert (config.top, config.seed, config.tau) == (5, 2, 4.0)
    assert config.model.family == "gamma"
    assert config.origins == {
        "family": "robaudit.yaml",
        "top": "robaudit.yaml",
        "seed": "environment",
        "tau": "command line",
    }
    assert config.origin("method") == "default"


def test_a_file_sets_every_kind_of_option(write):
    config = read_config(
        write(
            """
            model: net.onnx
            data: x.npz::features
            family: quantile
            parameters: {quantiles: "out[:, :3]"}
            options: {levels: [1e-1, 0.5, 0.9]}
            condition: x=features
            held: {rate: 16000}
            divergences: [kl, "renyi:alpha=0.5"]
            attacks: ["weak=gaussian:sigma=0.01", "moments:file=noise.npz"]
            max-skipped: 3
            memory: 2GB
            batch_size: auto
            verify: 0
            index: [4, 2]
            trust_model: false
            max:
              kl.gaussian.p95: 1e-3
              kl.trace.max: {limit: 7, level: warn}
            min: {kl.radius.p05: 0.2}
            """
        )
    )
    assert config.model.path == "net.onnx"
    assert (config.model.condition, config.model.condition_key) == ("x", "features")
    assert config.model.options == {"levels": [0.1, 0.5, 0.9]}
    assert config.model.held == {"rate": "16000"}
    assert config.attacks == (
        AttackConfig("weak", "gaussian", {"sigma": "0.01"}),
        AttackConfig("moments", "moments", {"file": "noise.npz"}),
    )
    assert (config.max_skipped, config.memory) == (3, 2 * 10**9)
    assert (config.batch_size, config.verify, config.index) == (None, 0, (4, 2))
    assert config.thresholds == (
        Threshold("kl.gaussian.p95", "<=", 1e-3, "robaudit.yaml:18"),
        Threshold("kl.trace.max", "<=", 7.0, "robaudit.yaml:19", "warn"),
        Threshold("kl.radius.p05", ">=", 0.2, "robaudit.yaml:20"),
    )


def test_pyproject_has_a_table(write):
    text = '[tool.robaudit]\nfamily = "beta"\nmax-skipped = 2\n[other]\nfamily = "x"'
    config = read_config(write(text, "pyproject.toml"))
    assert (config.model.family, config.max_skipped) == ("beta", 2)
    assert config.origin("family") == "pyproject.toml"


def test_an_empty_file_changes_nothing(write):
    assert read_config(write("# nothing yet\n")) == ScanConfig()


def test_a_limit_on_the_command_line_joins_those_of_the_file(write):
    file = read_config(write("max: {kl.trace.max: 5, kl.gaussian.p95: 1}"))
    config = override(file, "command line", max=["kl.trace.max=6", "kl.trace.p99=2"])
    assert [(t.key, t.limit, t.source) for t in config.thresholds] == [
        ("kl.trace.max", 6.0, "--max kl.trace.max=6"),
        ("kl.gaussian.p95", 1.0, "robaudit.yaml:1"),
        ("kl.trace.p99", 2.0, "--max kl.trace.p99=2"),
    ]


@pytest.mark.parametrize("option", ["max_increase", "max_decrease"])
def test_a_limit_on_a_change_joins_those_of_the_file(write, option):
    file = read_config(write(f"{option}: {{kl.trace.max: 5%, kl.rank.mean: 1}}"))
    config = override(file, "command line", **{option: ["kl.trace.max=6%", "a.b.c=2"]})
    steps = {"kl.trace.max": "6%", "kl.rank.mean": "1", "a.b.c": "2"}
    assert getattr(config, option) == steps
    assert config.places == {f"{option} kl.rank.mean": "robaudit.yaml:1"}


def test_a_key_may_hold_an_equals_sign():
    config = override(ScanConfig(), "command line", max=["renyi:alpha=2.trace.mean=3"])
    assert config.thresholds[0].key == "renyi:alpha=2.trace.mean"


def test_lists_in_the_environment_have_semicolons():
    environment = {
        "ROBAUDIT_DIVERGENCES": "kl; hellinger",
        "ROBAUDIT_PARAMETERS": "loc=mean; scale=exp(log_std)",
        "ROBAUDIT_MAX": "kl.trace.max=3",
        "ROBAUDIT_CONFIG": "somewhere.yaml",
    }
    config = from_environment(ScanConfig(), environment)
    assert config.divergences == ("kl", "hellinger")
    assert config.model.parameters == {"loc": "mean", "scale": "exp(log_std)"}
    assert config.thresholds[0].source == "ROBAUDIT_MAX"


def test_values_may_be_typed_already():
    attacks = (AttackConfig("a", "gaussian", {"sigma": "1"}),)
    config = override(ScanConfig(), "test", attacks=attacks, top=2, index=7)
    assert (config.attacks, config.top, config.index) == (attacks, 2, (7,))


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("norm: 2", "norm", "2"),
        ("norm: 1", "norm", "1"),
        ("norm: .inf", "norm", "inf"),
        ("norm: inf", "norm", "inf"),
        ("bottleneck: off", "bottleneck", "off"),
        ("sizes: off", "sizes", ()),
        ("sizes: 0.5", "sizes", (0.5,)),
    ],
)
def test_a_word_may_be_what_yaml_takes_for_a_number_or_for_false(
    write, line, name, value
):
    found = read_config(write(line + "\n"))
    held = next(
        getattr(part, name)
        for part in (found, *vars(found).values())
        if hasattr(part, name)
    )
    assert held == value


def test_family_options_are_yaml_values():
    given = ["levels=[0.1, 5e-1]", "base=normal", "df=3"]
    config = override(ScanConfig(), "command line", options=given)
    assert config.model.options == {"levels": [0.1, 0.5], "base": "normal", "df": 3}


def test_a_config_is_plain_data():
    config = override(ScanConfig(), "test", max=["kl.trace.max=3"], held=["h=0"])
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    "text",
    ["gaussian:sigma=0.1", "weak=gaussian:sigma=0.1", "moments:file=a=b.npz", "flat"],
)
def test_an_attack_reads_what_it_prints(text):
    config = override(ScanConfig(), "test", attacks=[text])
    assert str(config.attacks[0]) == text


@pytest.mark.parametrize(
    ("given", "size"),
    [(5, 5), ("512MB", 512 * 10**6), ("2GiB", 2**31), ("1.5 kb", 1500), ("7", 7)],
)
def test_memory(given, size):
    assert override(ScanConfig(), "test", memory=given).memory == size


BAD = [
    ("seed", "x", "--seed is x. Expected a whole number, at least 0"),
    ("seed", -1, "at least 0"),
    ("seed", True, "at least 0"),
    ("top", 0, "at least 1"),
    ("top", 2.5, "at least 1"),
    ("verify", "some", "at least 0, or auto"),
    ("tau", 0, "above zero"),
    ("tau", "nan", "finite"),
    ("tau", 1e-21, "Expected at least 1e-20: x and x"),
    ("tau", "much", "finite"),
    ("memory", "lots", '--memory is lots. Expected bytes above zero, such as "512MB"'),
    ("memory", 0, "above zero"),
    ("memory", True, "above zero"),
    (
        "method",
        "fast",
        "Expected one of: auto, exact, dense, krylov, finite-difference, "
        "straight-through",
    ),
    ("contract", "gan", "Expected one of: parameters, density, transport"),
    ("trust_model", "maybe", "--trust-model is maybe. Expected true or false"),
    ("family", ["normal"], "Expected text"),
    ("family", True, "Expected text"),
    ("divergences", {"kl": 1}, "--divergence is .*Expected a list"),
    ("parameters", ["loc"], "--param is .*Expected NAME=TEXT"),
    ("parameters", ["=loc"], "Expected NAME=TEXT"),
    ("options", ["levels"], "--option is .*Expected NAME=VALUE"),
    ("options", ["levels=[1"], "Expected a YAML value"),
    ("condition", "x=", "Expected NAME or NAME=KEY"),
    ("attacks", ["gaussian:0.1"], r"--attack is .*Expected \[LABEL=\]KIND:ARG=VALUE"),
    ("attacks", ["a.b=gaussian:sigma=1"], "Expected"),
    (
        "attacks",
        ["gaussian:sigma=1", "gaussian:sigma=2"],
        "Two attacks are labelled 'gaussian'; expected a label for each, such as weak=",
    ),
    ("max", ["kl.trace.max"], "--max is .*Expected KEY=V"),
    ("max", ["kl.trace.max=much"], "Expected a finite number"),
    ("min", {"kl.trace.max": {"limit": 1, "lvl": "warn"}}, "Expected 'limit' and"),
    ("min", {"kl.trace.max": {"level": "warn"}}, "Expected 'limit' and"),
    ("min", {"kl.trace.max": {"limit": 1, "level": "x"}}, "error, warn"),
    ("index", ["1,b"], "whole number"),
    ("max_increase", ["kl.trace.p95=-5%"], "--max-increase .*not negative"),
    ("max_decrease", ["kl.trace.p95=much"], "finite number"),
    ("max", ["kl.trace.p95=1", "kl.trace.p95 = 9"], "KEY=V once for 'kl.trace.p95'"),
    ("max_increase", ["kl.trace.p95=1", "kl.trace.p95=9%"], "once for 'kl.trace.p95'"),
    ("parameters", ["loc=a", "loc=b"], "Expected NAME=TEXT once for 'loc'"),
]


@pytest.mark.parametrize(("option", "value", "words"), BAD)
def test_a_bad_value_is_named_with_what_was_expected(option, value, words):
    with pytest.raises(ConfigError, match=words):
        override(ScanConfig(), "command line", **{option: value})


def test_a_file_error_names_the_line(write):
    with pytest.raises(ConfigError, match=r"robaudit.yaml:2: seed is x. Expected"):
        read_config(write("family: normal\nseed: x\n"))


def test_an_unknown_key_names_file_line_and_neighbour(write):
    words = r"robaudit.yaml:2: 'famly' is not among the options.*Did you mean 'family'"
    with pytest.raises(ConfigError, match=words):
        read_config(write("seed: 1\nfamly: normal\n"))


def test_an_unknown_variable_is_refused():
    words = "ROBAUDIT_MAX_SKIPED: .*Did you mean 'max_skipped'"
    with pytest.raises(ConfigError, match=words):
        from_environment(ScanConfig(), {"ROBAUDIT_MAX_SKIPED": "1"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "robaudit.yaml:.*not YAML"),
        ("- 1\n- 2", "holds list, not settings"),
        ("seed: 1\nseed: 2", "robaudit.yaml:2: 'seed' is set twice.*line 1"),
        ("max-skipped: 1\nmax_skipped: 2", "'max_skipped' is set twice"),
        ("max:\n  kl.trace.max: 1\n  kl.trace.max: 2", ":3: .*set twice"),
    ],
)
def test_a_malformed_file(write, text, words):
    # Keys are reported as written where they are doubled.
    with pytest.raises(ConfigError, match=words.replace("max_skipped", "max.skipped")):
        read_config(write(text))


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="There is no configuration file"):
        read_config(str(tmp_path / "no.yaml"))


def test_a_binary_file(tmp_path):
    path = tmp_path / "robaudit.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(path)


TOML = """\
[project]
seed = "x"

[tool.robaudit] # settings
data = "d.npz"
top = 4
"seed" = {seed}
max-skipped = 3
[tool.robaudit.max]
"kl.trace.p95" = 1e-2
[tool.robaudit.max_increase]
kl."gaussian".p95 = "5%"
[tool.other]
seed = 3
"""


def test_toml_knows_its_lines_too(write):
    with pytest.raises(ConfigError, match=r"pyproject\.toml:7: seed is x"):
        read_config(write(TOML.format(seed='"x"'), "pyproject.toml"))
    found = read_config(
        write(TOML.format(seed=1).replace('kl."gaussian".p95', '"k.g.p95"'), "a.toml")
    )
    assert found.thresholds[0].source.endswith("a.toml:10")
    assert found.places["max_increase k.g.p95"].endswith("a.toml:12")
    with pytest.raises(ConfigError, match=r"a\.toml:8: 'max_skiped'"):
        read_config(write(TOML.format(seed=1).replace("skipped", "skiped"), "a.toml"))


def test_a_limit_on_a_change_knows_its_line_until_another_layer_speaks(write):
    config = read_config(write("max_increase:\n  kl.trace.p95: 5%\n"))
    (place,) = config.places.values()
    assert place.endswith("robaudit.yaml:2")
    assert (
        override(config, "command line", max_increase=["kl.trace.p95=1"]).places == {}
    )


def test_malformed_toml(write):
    with pytest.raises(ConfigError, match="is not TOML"):
        read_config(write("[tool", "pyproject.toml"))


SCANS = """\
data: d.npz
max: {kl.trace.max: 5}
scans:
  plain:
    model: a.onnx
  penalised:
    model: b.onnx
    max:
      kl.trace.max: 4
      kl.trace.mean: 1
"""


def test_scans_add_to_what_they_share(write):
    found = read_scans(write(SCANS))
    assert {name: c.model.path for name, c in found.items()} == {
        "plain": "a.onnx",
        "penalised": "b.onnx",
    }
    assert {c.data for c in found.values()} == {"d.npz"}
    limits = {t.key: (t.limit, t.source) for t in found["penalised"].thresholds}
    assert limits == {
        "kl.trace.max": (4.0, "robaudit.yaml:9"),
        "kl.trace.mean": (1.0, "robaudit.yaml:10"),
    }
    assert read_config("robaudit.yaml").model.path == ""
    assert read_scans(write("seed: 1")) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scans: [a]", "robaudit.yaml:1: scans holds no settings"),
        ("scans:\n  a:", "robaudit.yaml:2: scans.a holds no settings"),
        ("scans:\n  a/b: {seed: 1}", "robaudit.yaml:2: 'a/b' cannot name a scan"),
        ("scans:\n  a:\n    sed: 1", "robaudit.yaml:3: 'sed' is not among"),
        ("scans:\n  a: {scans: {b: {seed: 1}}}", "'scans' is not among the options"),
    ],
)
def test_bad_scans(write, text, words):
    with pytest.raises(ConfigError, match=words):
        read_scans(write(text))


def test_every_option_is_explained_and_has_a_schema():
    schema = config_schema()["properties"]
    for name, option in OPTIONS.items():
        assert option.meaning.endswith("."), name
        assert flag_names(name)
        assert {"type", "enum", "anyOf"} & set(schema[name]), name
