"""The contract: each source, its precedence, and what it says when it is in doubt."""

from pathlib import Path

import pytest
import torch

from audit.config import ModelConfig, ScanConfig
from audit.config.options import OPTIONS, flag_names
from audit.ground.errors import AuditError, ConfigError, InputError, ModelError
from audit.models.contract import Settings, hold
from audit.models.head import resolve_head
from audit.models.metadata import DESCRIBES, metadata_notes, read_metadata
from audit.models.names import NAMES, parameterizations
from audit.models.network import Network, Port
from audit.models.roles import resolve_roles
from audit.run.inspection import inspect
from audit.run.scan import scan
from models.saved import data_file, onnx_file


def network(inputs=("x",), metadata=None):
    ports = [
        p if isinstance(p, Port) else Port(p, "float32", (None, 3)) for p in inputs
    ]
    return Network(
        format="onnx",
        files=(),
        inputs=tuple(ports),
        outputs=(),
        call=dict,
        weights_sha256="",
        dtype=torch.float32,
        device=torch.device("cpu"),
        again=lambda: None,
        double=lambda: None,
        metadata=metadata or {},
    )


def settings(**options):
    return Settings(ModelConfig(**options), dict.fromkeys(options, "command line"))


def head(outputs, metadata=None, **options):
    found = resolve_head(settings(**options), network(metadata=metadata), outputs)
    return found.family, {n: str(text) for n, text in found.parameters.items()}


def origins(found):
    return {item.name: item.origin for item in found.items}


# Roles


def test_the_only_input_is_the_condition():
    found = resolve_roles(settings(), network(("features_0",)), ())
    assert (found.condition, origins(found)) == (
        "features_0",
        {"condition": "only input"},
    )


def test_one_usual_name_among_several_is_the_condition_and_keys_hold_the_others():
    found = resolve_roles(settings(), network(("h", "x")), ("x", "h"))
    assert (found.condition, found.held) == ("x", {"h": "h"})
    assert origins(found) == {"condition": "names", "held h": "key of the data"}


def test_flags_come_before_metadata_and_both_before_names():
    stated = {"condition": "h", "held": {"x": 0}}
    by_file = resolve_roles(settings(), network(("h", "x"), stated), ())
    assert (by_file.condition, by_file.held) == ("h", {"x": "0"})
    assert origins(by_file) == {"condition": "metadata", "held x": "metadata"}
    said = settings(condition="x", held={"h": "1"})
    by_user = resolve_roles(said, network(("h", "x"), {"condition": "h"}), ())
    assert (by_user.condition, by_user.held) == ("x", {"h": "1"})
    assert set(origins(by_user).values()) == {"command line"}


def test_x_is_an_alias_of_the_only_free_input():
    found = resolve_roles(settings(condition="x"), network(("input.1",)), ())
    assert found.condition == "input.1"


def test_two_candidates_for_the_condition_are_listed():
    with pytest.raises(ConfigError) as error:
        resolve_roles(settings(), network(("x", "input")), ())
    assert str(error.value) == (
        "The model has 2 inputs: x, input. One of them is the condition, the input "
        "that is perturbed. Say which with --condition NAME, and the others with "
        "--held NAME=VALUE."
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"condition": "y"}, r"The model has no input 'y'\. Its inputs are x, h"),
        (
            {"condition": "x", "held": {"y": "0"}},
            "no input 'y'.*Name one of them with --held",
        ),
        (
            {"condition": "x"},
            r"The model input 'h' has no value.*--held h=KEY.*--held h=0",
        ),
    ],
)
def test_roles_that_are_missing_or_unknown_are_named(options, words):
    with pytest.raises(ConfigError, match=words):
        resolve_roles(settings(**options), network(("x", "h")), ())


@pytest.mark.parametrize(
    ("kind", "step"),
    [("int64", "after the embedding"), ("uint8", "float32"), ("bool", "embedding")],
)
def test_an_integer_condition_is_refused(kind, step):
    with pytest.raises(
        ModelError, match=f"'tokens' has type {kind}.*no gradient passes"
    ) as error:
        resolve_roles(settings(), network((Port("tokens", kind, (None, 3)),)), ())
    assert step in error.value.next_step


@pytest.mark.parametrize("value", ["16000", "0.5", "[1, 2]", "-1", "true"])
def test_a_held_value_is_a_number_or_a_list(value):
    assert hold(value, Port("sr")) is not None


@pytest.mark.parametrize("value", ["high", "{a: 1}", "[a, b]", "", "[", "2020-01-01"])
def test_a_held_value_of_another_kind_is_refused(value):
    with pytest.raises(InputError, match="Expected a key of the data file or a number"):
        hold(value, Port("sr"))


# The head


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_of_the_table_is_a_parameter_of_a_family(name):
    from audit.families import FAMILIES

    known = {
        p for f in FAMILIES if f != "mixture" for k in parameterizations(f) for p in k
    }
    assert NAMES[name][0] in known


@pytest.mark.parametrize(
    ("outputs", "family", "parameters"),
    [
        (["mean", "std"], "normal", {"loc": "mean", "scale": "std"}),
        (["mu", "log_std"], "normal", {"loc": "mu", "scale": "exp(log_std)"}),
        (["mean", "logvar"], "normal", {"loc": "mean", "scale": "exp(0.5 * logvar)"}),
        (["loc", "variance"], "normal", {"loc": "loc", "scale": "sqrt(variance)"}),
        (
            ["df", "loc", "scale"],
            "student_t",
            {"df": "df", "loc": "loc", "scale": "scale"},
        ),
        (
            ["Head/Mean:0", "head/log_std:0"],
            "normal",
            {"loc": '"Head/Mean:0"', "scale": 'exp("head/log_std:0")'},
        ),
        (["features", "mean", "std"], "normal", {"loc": "mean", "scale": "std"}),
        (["GPmean", "GPcovstd"], "normal", {"loc": "GPmean", "scale": "GPcovstd"}),
        (["mu", "log_stddev"], "normal", {"loc": "mu", "scale": "exp(log_stddev)"}),
        (["mu", "sd"], "normal", {"loc": "mu", "scale": "sd"}),
        (
            ["mean", "covariance"],
            "multivariate_normal",
            {"loc": "mean", "covariance_matrix": "covariance"},
        ),
    ],
)
def test_names_tell_the_family_where_they_leave_no_doubt(outputs, family, parameters):
    assert head(outputs) == (family, parameters)


@pytest.mark.parametrize(
    ("family", "outputs", "flags"),
    [
        ("gamma", ["alpha", "beta"], "concentration=alpha --param rate=beta"),
        ("gamma", ["rate", "shape"], "rate=rate --param concentration=shape"),
        ("beta", ["a", "b"], "concentration1=a --param concentration0=b"),
    ],
)
def test_what_books_call_parameters_is_proposed_and_not_taken(family, outputs, flags):
    with pytest.raises(ConfigError, match="do not name the parameters") as error:
        head(outputs, family=family)
    step = error.value.next_step
    assert step == f"Pass --param {flags} if that is what they are"


@pytest.mark.parametrize("family", ["bernoulli", "categorical"])
def test_logarithms_of_probabilities_are_no_logits(family):
    assert head(["log_probs"], family=family)[1] == {"probs": "exp(log_probs)"}
    assert head(["log_rate"], family="poisson")[1] == {"rate": "exp(log_rate)"}


def test_names_that_fit_several_families_list_them():
    with pytest.raises(ConfigError) as error:
        head(["loc", "scale"])
    assert "The file does not say its family. Its outputs are loc, scale; " in str(
        error.value
    )
    assert "they could be those of " in str(error.value)
    assert "normal" in str(error.value)
    assert "laplace" in str(error.value)
    assert "Pass --family" in error.value.next_step


def test_names_that_fit_nothing_say_so():
    with pytest.raises(ConfigError, match="are those of no family"):
        head(["out"])


def test_two_outputs_for_one_parameter_are_listed():
    with pytest.raises(ConfigError) as error:
        head(["mean", "mu", "std"], family="normal")
    assert str(error.value) == (
        "Two outputs could be 'loc': mean and mu. Expected one. Choose with --param "
        "loc=EXPRESSION."
    )


def test_parameters_without_names_are_asked_for():
    with pytest.raises(ConfigError) as error:
        head(["a", "b"], family="normal")
    assert str(error.value) == (
        "The outputs a, b do not name the parameters of normal. The family normal "
        "takes loc, scale. Pass --param NAME=EXPRESSION for each of them."
    )
    with pytest.raises(ConfigError, match=r"Pass --param rate=out\."):
        head(["out"], family="poisson")


STATED = {"family": "laplace", "parameters": {"loc": "a", "scale": "exp(b)"}}


def test_metadata_come_before_names():
    found = resolve_head(settings(), network(metadata=STATED), ["mean", "std"])
    assert found.family == "laplace"
    assert origins(found) == dict.fromkeys(
        ("family", "param loc", "param scale"), "metadata"
    )


def test_the_command_line_comes_before_metadata():
    said = {"family": "normal", "parameters": {"loc": "a", "scale": "2"}}
    found = resolve_head(settings(**said), network(metadata=STATED), ["a", "b"])
    assert found.family == "normal"
    assert set(origins(found).values()) == {"command line"}


def test_another_family_does_not_take_the_parameters_of_the_metadata():
    with pytest.raises(ConfigError, match="do not name the parameters of normal"):
        head(["a", "b"], STATED, family="normal")
    assert head(["a", "b"], STATED, family="laplace")[1] == STATED["parameters"]


def test_parameters_on_the_command_line_keep_the_family_of_the_metadata():
    said = {"loc": "b", "scale": "1"}
    assert head(["a", "b"], STATED, parameters=said) == ("laplace", said)


def test_outputs_that_are_called_like_numbers_are_not_numbers():
    said = {"family": "normal", "parameters": {"loc": "21", "scale": 'exp("23")'}}
    with pytest.raises(
        ConfigError, match=r"'21' reads 21, .*\(the outputs are 21, 23\)"
    ):
        head(["21", "23"], **said)
    told = {"family": "normal", "parameters": {"loc": 21, "scale": "23"}}
    with pytest.raises(ConfigError, match="'21' reads 21"):
        head(["21", "23"], told)
    fixed = {"loc": '"21"', "scale": "23.0"}
    assert head(["21", "23"], family="normal", parameters=fixed)[1] == fixed


def test_a_head_of_constants_has_nothing_to_audit():
    said = {"family": "normal", "parameters": {"loc": "0", "scale": "2.5"}}
    with pytest.raises(ConfigError, match="reads an output of the file: loc=0, scale="):
        head(["mean"], **said)
    one = {"loc": "mean", "scale": "2.5"}
    count = {"total_count": "10"}
    with pytest.raises(ConfigError, match="--option total_count=10: an option of bino"):
        head(["probs"], family="binomial", parameters=count)
    assert head(["mean"], family="normal", parameters=one)[1] == one


def test_the_hint_for_the_only_output_can_be_pasted():
    with pytest.raises(ConfigError) as error:
        head(["21"], family="poisson")
    assert """Pass --param rate='"21"'""" in str(error.value)


def test_options_come_from_metadata_and_from_flags():
    metadata = {"family": "quantile", "levels": [0.1, 0.9], "other": 1}
    said = settings(options={"other": 2}, parameters={"quantiles": "out"})
    found = resolve_head(said, network(metadata=metadata), ["out"])
    assert found.options == {"levels": [0.1, 0.9], "other": 2}
    assert origins(found)["option levels"] == "metadata"
    assert origins(found)["option other"] == "command line"


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("quantile", {"levels": [0.5], "interpolation": "linear"}),
        ("normal, quantile", {"1.levels": [0.5]}),
        ("mixture:binomial", {"total_count": 3}),
        ("normal", {}),
    ],
)
def test_of_a_files_options_those_of_its_family_are_taken(family, options):
    others = {"levels": [0.1], "0.levels": [0.1], "total_count": 9, "odd": 1}
    others = {name: value for name, value in others.items() if name not in options}
    told = {"family": family, "parameters": {"loc": "out"}, **others, **options}
    found = resolve_head(settings(), network(metadata=told), ["out"])
    assert found.options == options


# What a file may say of itself

SETTINGS = sorted(set(OPTIONS) - set(DESCRIBES))


@pytest.mark.parametrize("key", SETTINGS)
def test_a_file_does_not_set_what_is_asked_of_it(key):
    """Whatever option there is: it is the user's, or it is in the closed list."""
    written = key.replace("_", "-")
    ((code, message),) = metadata_notes({"family": "normal", written: 1}, ())
    assert code == "metadata_ignored"
    assert f"the file's metadata set {written}, which is for the one who" in message
    assert f"({flag_names(key)[-1]})" in message


def test_the_closed_list_holds_nothing_that_is_looked_at_or_tolerated():
    """Fields of the model that describe it; the rest says how it is audited."""
    told = {name for name in DESCRIBES if name in OPTIONS}
    assert told == {
        *("contract", "family", "parameters", "condition", "held", "target", "noise"),
        *("input_layout", "target_space", "classes"),
    }


def test_keys_that_mean_nothing_are_a_warning_with_a_hint():
    told = {"family": "quantile", "levels": [0.5], "level": 1, "author": "somebody"}
    first, second = metadata_notes(told, ("levels", "interpolation"))
    assert first == (
        "metadata_unknown",
        "the file's metadata say 'level', which means nothing here: ignored; did you "
        "mean 'levels'?",
    )
    assert second[1] == (
        "the file's metadata say 'author', which means nothing here: ignored"
    )
    assert metadata_notes(dict.fromkeys(DESCRIBES, ""), ()) == ()


def test_warnings_of_metadata_are_in_the_report(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "
    text += "{ mean = Tanh(x)  std = Exp(x) }"
    told = {"robaudit": "{family: normal, seed: 7, verify: 0, mood: good}"}
    path, data = onnx_file(tmp_path, text, told), data_file(tmp_path)
    report = scan(ScanConfig(model=ModelConfig(str(path)), data=data))
    found = {each.code: each.message for each in report.warnings}
    assert "set seed, verify, which is for" in found["metadata_ignored"]
    assert "'mood', which means nothing" in found["metadata_unknown"]
    assert report.model.origins["family"] == "metadata"
    told = inspect(ScanConfig(model=ModelConfig(str(path))))
    assert any("set seed, verify" in warning for warning in told.warnings)


def test_a_mixture_takes_its_weights_and_its_components_parameters():
    assert head(["logits", "mean", "std"], family="mixture:normal") == (
        "mixture:normal",
        {"logits": "logits", "loc": "mean", "scale": "std"},
    )
    assert ("probs", "loc", "scale") in parameterizations("mixture:normal")


def test_a_product_of_families_wants_its_expressions():
    with pytest.raises(AuditError, match=r"--param NAME=EXPRESSION"):
        head(["a", "b"], family="normal,poisson")
    said = {"loc": "a[:, :1]", "scale": "1", "rate": "exp(b)"}
    assert head(["a", "b"], family="normal,poisson", parameters=said)[1] == said


def test_an_unknown_family_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="normal") as error:
        head(["mean", "std"], family="norml")
    assert error.value.exit_code == 2


# Metadata


@pytest.mark.parametrize("text", ["", None, b""])
def test_no_metadata_are_no_contract(text):
    assert read_metadata(text, Path("m.onnx")) == {}


@pytest.mark.parametrize("text", ["normal", "[1, 2]", "a: [", "a: b: c", "\x00"])
def test_metadata_that_are_no_mapping_are_refused(text):
    with pytest.raises(ModelError, match=r"The metadata 'robaudit' in .* is no YAML"):
        read_metadata(text, Path("m.onnx"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("held: [1, 2]", "held: {NAME: VALUE}"),
        ("parameters: loc", "parameters: {NAME: VALUE}"),
        ("outputs: theta", "outputs: {NAME: VALUE}"),
        ("family: {a: b}", "family: TEXT"),
        ("contract: yes", "contract: TEXT"),
        ("noise: [z]", "noise: TEXT"),
    ],
)
def test_metadata_of_another_kind_are_refused(text, expected):
    with pytest.raises(ModelError) as error:
        read_metadata(text, Path("m.onnx"))
    assert f"in 'm.onnx' say {text.partition(':')[0]}: " in str(error.value)
    assert f"Expected {expected}" in str(error.value)


def test_a_name_that_is_a_number_is_a_name_in_metadata():
    assert read_metadata("{condition: 21, family: normal}", Path("m.onnx")) == {
        "condition": "21",
        "family": "normal",
    }
